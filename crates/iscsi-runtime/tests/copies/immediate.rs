//! Commands that want their answer before the work is done (IMMED), at a store whose writes and flushes end when the test says so.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::Instant;

use block_store::{BlockStore, IoId, MemoryStore, StoreQueue};
use parking_lot::Mutex;
use scsi_block::LogicalUnitConfig;
use scsi_block::io::{BlockIo, Geometry, IoDone};

use super::*;

const GEOMETRY: Geometry = Geometry { block_size: 512, blocks: 2048 };

/// A disk in memory that keeps writes and flushes for itself as long as it is closed.
#[derive(Debug)]
struct Gate {
    memory: Arc<MemoryStore>,
    is_closed: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
}

struct GateQueue {
    store: Arc<Gate>,
    inner: Box<dyn StoreQueue>,
    held: Vec<(IoId, BlockIo)>,
}

impl Gate {
    fn open(&self) {
        self.is_closed.store(false, Ordering::SeqCst);
        self.wakers.lock().iter().for_each(Waker::wake_by_ref);
    }
}

impl BlockStore for Gate {
    fn geometry(&self) -> Geometry {
        GEOMETRY
    }

    fn open_queue(self: Arc<Self>, waker: Waker) -> Box<dyn StoreQueue> {
        self.wakers.lock().push(waker.clone());
        Box::new(GateQueue { inner: Arc::clone(&self.memory).open_queue(waker), store: self, held: Vec::new() })
    }
}

impl StoreQueue for GateQueue {
    fn submit(&mut self, id: IoId, io: BlockIo) {
        match io {
            BlockIo::Write { .. } | BlockIo::Flush => self.held.push((id, io)),
            _ => self.inner.submit(id, io),
        }
    }

    fn poll(&mut self) -> Option<(IoId, IoDone)> {
        if !self.store.is_closed.load(Ordering::SeqCst) {
            self.held.drain(..).for_each(|(id, io)| self.inner.submit(id, io));
        }
        self.inner.poll()
    }
}

/// A disk whose blocks are their numbers, and a closed one.
fn serve_closed() -> (Arc<Gate>, Server, Client) {
    let memory = || Arc::new(MemoryStore::new(GEOMETRY));
    let gate = Arc::new(Gate { memory: memory(), is_closed: true.into(), wakers: Mutex::default() });
    let disk = |store, serial| Disk::new(store, LogicalUnitConfig::new(GEOMETRY, serial));
    let (server, client) = serve_disks([disk(memory(), "open"), disk(Arc::clone(&gate) as _, "closed")]);
    // Whoever opens a disk has heard its unit attention.
    let (from, _) = (client.disk(0).wait().unwrap(), client.disk(1).wait().unwrap());
    from.write(0, numbers(0..2048)).wait().unwrap();
    (gate, server, client)
}

fn numbers(blocks: std::ops::Range<usize>) -> Bytes {
    blocks.flat_map(|block| [block as u8 ^ (block >> 8) as u8; 512]).collect()
}

/// Asks until the answer is no longer that it goes on.
fn settled(mut ask: impl FnMut() -> CopyState) -> CopyState {
    let begin = Instant::now();
    loop {
        match ask() {
            CopyState::InProgress => assert!(begin.elapsed() < Duration::from_secs(20), "it does not end"),
            state => return state,
        }
    }
}

fn end(server: Server, client: Client) {
    client.logout().wait().unwrap();
    server.shutdown(Duration::from_secs(5)).unwrap();
}

#[test]
fn a_flush_is_answered_before_it_is_done_only_if_that_is_asked() {
    let (gate, server, client) = serve_closed();
    data(client.execute(request(1, &Cdb::synchronize_cache_immediately(), Transfer::None)).wait().unwrap());
    let mut waits = client.execute(request(1, &Cdb::synchronize_cache_10(), Transfer::None));
    data(client.execute(request(1, &Cdb::test_unit_ready(), Transfer::None)).wait().unwrap());
    assert!(Pin::new(&mut waits).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    gate.open();
    data(waits.wait().unwrap());
    end(server, client);
}

#[test]
fn a_copy_is_answered_before_it_is_done_and_tells_how_it_stands() {
    let (gate, server, client) = serve_closed();
    let cscd = |lun| Cscd { designator: name(&client, lun), block_size: 512 };
    let segment = Segment {
        source: 0,
        destination: 1,
        counts_destination: false,
        blocks: 300,
        source_lba: 3,
        destination_lba: 7,
    };
    let list =
        CopyList { identifier: Some(9), immediate: true, cscds: vec![cscd(0), cscd(1)], segments: vec![segment] };
    let bytes = list.encode_lid4();
    let copy = Cdb::extended_copy_lid4(bytes.len() as u32);
    data(client.execute(request(1, &copy, Transfer::Write(bytes.into()))).wait().unwrap());
    let state = || {
        let status = request(1, &Cdb::receive_copy_status_lid4(9, 512), Transfer::Read(512));
        CopyStatus::decode_lid4(&data(client.execute(status).wait().unwrap())).unwrap().state
    };
    assert_eq!(state(), CopyState::InProgress);
    gate.open();
    assert_eq!(settled(state), CopyState::Completed);
    assert!(client.disk(1).wait().unwrap().read(7, 300).wait().unwrap() == numbers(3..303));
    end(server, client);
}

#[test]
fn a_write_by_token_is_answered_before_it_is_done_and_tells_how_it_stands() {
    let (gate, server, client) = serve_closed();
    let list = PopulateTokenList { inactivity_seconds: 0, ranges: vec![Extent { lba: 3, blocks: 300 }] }.encode();
    let populate = Cdb::populate_token(1, list.len() as u32);
    data(client.execute(request(0, &populate, Transfer::Write(list.into()))).wait().unwrap());
    let told = |lun, identifier| {
        let ask = request(lun, &Cdb::receive_rod_token_information(identifier, 1024), Transfer::Read(1024));
        RodTokenInformation::decode(&data(client.execute(ask).wait().unwrap())).unwrap()
    };
    let token = told(0, 1).token.unwrap();
    let ranges = vec![Extent { lba: 7, blocks: 300 }];
    let list = WriteUsingTokenList { token, immediate: true, offset_blocks: 0, delete: false, ranges }.encode();
    let write = Cdb::write_using_token(2, list.len() as u32);
    data(client.execute(request(1, &write, Transfer::Write(list.into()))).wait().unwrap());
    assert_eq!(told(1, 2).state, CopyState::InProgress);
    gate.open();
    assert_eq!(settled(|| told(1, 2).state), CopyState::Completed);
    assert!(client.disk(1).wait().unwrap().read(7, 300).wait().unwrap() == numbers(3..303));
    end(server, client);
}
