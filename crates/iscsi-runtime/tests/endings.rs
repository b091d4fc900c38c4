//! How servers and clients end: nothing that was acknowledged is left unflushed, nothing is left running.

use block_store::{BlockStore, IoId, MemoryStore, StoreQueue};
use bytes::Bytes;
use iscsi_pdu::Isid;
use iscsi_runtime::{Client, ClientConfig, ClientError, Disk, Server, ShutdownError, Target};
use parking_lot::Mutex;
use scsi_block::LogicalUnitConfig;
use scsi_block::io::{BlockIo, Geometry, IoDone, IoError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

const TARGET: &str = "iqn.2026-01.test:target";
const GEOMETRY: Geometry = Geometry { block_size: 512, blocks: 2048 };

/// A disk in memory that can be told to fail flushes, or to keep the ends of requests for itself.
#[derive(Debug)]
struct Stubborn {
    memory: Arc<MemoryStore>,
    fails_flush: bool,
    holds: AtomicBool,
    flushes: AtomicUsize,
    polls: AtomicUsize,
    wakers: Mutex<Vec<Waker>>,
}

impl Stubborn {
    fn new(fails_flush: bool) -> Arc<Self> {
        Arc::new(Self {
            memory: Arc::new(MemoryStore::new(GEOMETRY)),
            fails_flush,
            holds: AtomicBool::new(false),
            flushes: AtomicUsize::new(0),
            polls: AtomicUsize::new(0),
            wakers: Mutex::default(),
        })
    }

    fn disk(self: &Arc<Self>, serial: &str) -> Disk {
        Disk::new(Arc::clone(self) as _, LogicalUnitConfig { thin: true, ..LogicalUnitConfig::new(GEOMETRY, serial) })
    }

    fn release(&self) {
        self.holds.store(false, Ordering::SeqCst);
        self.wakers.lock().iter().for_each(Waker::wake_by_ref);
    }
}

impl BlockStore for Stubborn {
    fn geometry(&self) -> Geometry {
        GEOMETRY
    }

    fn open_queue(self: Arc<Self>, waker: Waker) -> Box<dyn StoreQueue> {
        self.wakers.lock().push(waker.clone());
        Box::new(StubbornQueue { inner: Arc::clone(&self.memory).open_queue(waker), store: self, failed: Vec::new() })
    }
}

struct StubbornQueue {
    store: Arc<Stubborn>,
    inner: Box<dyn StoreQueue>,
    failed: Vec<IoId>,
}

impl StoreQueue for StubbornQueue {
    fn submit(&mut self, id: IoId, io: BlockIo) {
        if io == BlockIo::Flush {
            self.store.flushes.fetch_add(1, Ordering::SeqCst);
            if self.store.fails_flush {
                return self.failed.push(id);
            }
        }
        self.inner.submit(id, io);
    }

    fn poll(&mut self) -> Option<(IoId, IoDone)> {
        self.store.polls.fetch_add(1, Ordering::SeqCst);
        if self.store.holds.load(Ordering::SeqCst) {
            return None;
        }
        self.failed.pop().map(|id| (id, Err(IoError::Write))).or_else(|| self.inner.poll())
    }
}

fn serve(disks: impl IntoIterator<Item = Disk>) -> Server {
    let target = disks.into_iter().zip(0..).fold(Target::new(TARGET), |target, (disk, lun)| target.lun(lun, disk));
    let local = "127.0.0.1:0".parse().expect("an address");
    Server::builder().listen(local).cores(1).connections_max(1).target(target).start().expect("the server starts")
}

fn config(server: &Server) -> ClientConfig {
    ClientConfig::new(server.addresses()[0].to_string(), TARGET)
}

/// Tries until the one place for a connection is free.
fn connect_soon(server: &Server) -> Client {
    let begin = Instant::now();
    loop {
        match Client::connect(config(server)).wait() {
            Ok(client) => return client,
            Err(error) => assert!(begin.elapsed() < Duration::from_secs(5), "{error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn every_store_is_flushed_even_if_another_cannot_be() {
    let (broken, sound) = (Stubborn::new(true), Stubborn::new(false));
    let server = serve([broken.disk("broken"), sound.disk("sound")]);
    let end = server.shutdown(Duration::ZERO);
    assert!(matches!(end, Err(ShutdownError::Flush { unit: 0, .. })), "{end:?}");
    assert_eq!(sound.flushes.load(Ordering::SeqCst), 1);
}

#[test]
fn a_server_that_waits_for_a_store_to_end_does_not_spin() {
    let store = Stubborn::new(false);
    let server = serve([store.disk("slow")]);
    let disk = Client::connect(config(&server)).wait().and_then(|client| client.disk(0).wait()).expect("a disk");
    store.holds.store(true, Ordering::SeqCst);
    let writing = std::thread::spawn({
        let disk = disk.clone();
        move || disk.write(0, Bytes::from(vec![1; 512])).wait()
    });
    std::thread::sleep(Duration::from_millis(100));
    let ending = std::thread::spawn(move || server.shutdown(Duration::ZERO));
    std::thread::sleep(Duration::from_millis(100));
    let before = store.polls.load(Ordering::SeqCst);
    std::thread::sleep(Duration::from_millis(300));
    let polls = store.polls.load(Ordering::SeqCst) - before;
    assert!(polls < 10, "asked {polls} times for what it was going to be told");
    assert!(!ending.is_finished(), "the write is still in the store");
    store.release();
    ending.join().expect("no panic").expect("a clean end");
    assert!(writing.join().expect("no panic").is_err(), "nobody has acknowledged the write");
}

// RFC 7143 11.14-5, 11.15-1: after the logout the one place for a connection is free.
#[test]
fn a_client_that_nobody_waited_for_leaves_no_session() {
    let server = serve([Disk::memory(1 << 20)]);
    drop(Client::connect(config(&server)));
    std::thread::sleep(Duration::from_millis(100));
    connect_soon(&server).logout().wait().expect("a clean logout");
}

/// RFC 7143 6.3.5-1, 7.15-1, 7.15-2: the same names and ISID, and TSIH zero.
#[test]
fn a_session_of_the_same_name_takes_the_place_of_the_first() {
    let target = Target::new(TARGET).lun(0, Disk::memory(1 << 20));
    let local = "127.0.0.1:0".parse().expect("an address");
    let server = Server::builder().listen(local).target(target).start().expect("the server starts");
    let connect = || Client::connect(config(&server).isid(Isid([0x80, 1, 2, 3, 0, 4]))).wait().expect("a session");
    let first = connect().disk(0).wait().expect("a disk");
    let second = connect().disk(0).wait().expect("a disk");
    assert!(first.read(0, 1).wait().is_err(), "the first session has ended");
    assert!(second.read(0, 1).wait().is_ok());
}

#[test]
fn what_was_asked_goes_on_when_everybody_has_gone() {
    let server = serve([Disk::memory(1 << 20)]);
    let client = Client::connect(config(&server)).wait().expect("a session");
    let disk = client.disk(0).wait().expect("a disk");
    for lba in 0..2048 {
        drop(disk.write(lba, Bytes::from(vec![7; 512])));
    }
    drop((client, disk));
    let disk = connect_soon(&server).disk(0).wait().expect("a disk");
    let read = disk.read(0, 2048).wait().expect("the disk is read");
    assert_eq!(read.iter().filter(|byte| **byte != 7).count(), 0);
}

/// RFC 7143 4.2.6-1: and the connection for the logout.
#[test]
fn a_logout_waits_for_what_was_asked_before() {
    let server = serve([Disk::memory(1 << 20)]);
    let client = Client::connect(config(&server)).wait().expect("a session");
    let disk = client.disk(0).wait().expect("a disk");
    let writes: Vec<_> = (0..2048).map(|lba| disk.write(lba, Bytes::from(vec![7; 512]))).collect();
    client.logout().wait().expect("a clean logout");
    for write in writes {
        write.wait().expect("it was asked before the logout");
    }
    assert!(disk.read(0, 1).wait().is_err(), "the session has ended");
}

#[test]
fn no_blocks_to_be_zeroed_are_no_blocks() {
    let server = serve([Disk::memory(1 << 20)]);
    let client = Client::connect(config(&server)).wait().expect("a session");
    let disk = client.disk(0).wait().expect("a disk");
    disk.write(5, Bytes::from(vec![7; 512])).wait().expect("a write");
    disk.write_zeroes(0, 0).wait().expect("nothing to do");
    assert_eq!(disk.read(5, 1).wait().expect("a read"), vec![7; 512]);
}

// RFC 7143 11.9.1-2, 11.9.1-3: not even for a command that does not end.
#[test]
fn a_logout_that_the_server_asks_for_comes_in_time() {
    let store = Stubborn::new(false);
    let server = serve([store.disk("slow")]);
    let client = Client::connect(config(&server)).wait().expect("a session");
    let disk = client.disk(0).wait().expect("a disk");
    store.holds.store(true, Ordering::SeqCst);
    let write = disk.write(0, Bytes::from(vec![1; 512]));
    let ending = std::thread::spawn(move || server.shutdown(Duration::from_secs(30)));
    std::thread::sleep(Duration::from_millis(300));
    // RFC 7143 11.9.1-4: no new command goes meanwhile.
    let late = disk.write(1, Bytes::from(vec![1; 512])).wait();
    assert!(matches!(late, Err(ClientError::Ended)), "{late:?}");
    assert!(write.wait().is_err(), "nobody has acknowledged the write");
    let end = client.ping(Bytes::new()).wait();
    assert!(matches!(end, Err(ClientError::Ended)), "logged out, not dropped: {end:?}");
    store.release();
    ending.join().expect("no panic").expect("a clean end");
}
