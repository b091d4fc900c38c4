//! What ends the tasks of another session is answered only when their block I/O has come back: PREEMPT AND ABORT, LOGICAL UNIT RESET.

use block_store::{BlockStore, IoId, MemoryStore, StoreQueue};
use iscsi_runtime::{Client, ClientConfig, Disk, Request, Server, Target, Transfer};
use scsi_block::cdb::Cdb;
use scsi_block::io::{BlockIo, IoDone};
use scsi_block::reservations::{OutAction, OutList, ReservationType};
use scsi_block::{Geometry, LogicalUnitConfig, LogicalUnitNumber, Status};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::Duration;

const TARGET: &str = "iqn.2026-01.test:preempted";
/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// In this time what does not wait for block I/O is over.
const UNWAITED: Duration = Duration::from_millis(50);

/// A store that holds the ends of writes back as long as it is told to.
#[derive(Debug)]
struct HoldingStore {
    inner: Arc<dyn BlockStore>,
    holds: AtomicBool,
    /// Is told of each that is held.
    held: Sender<()>,
    wakers: Mutex<Vec<Waker>>,
}

struct HoldingQueue {
    store: Arc<HoldingStore>,
    inner: Box<dyn StoreQueue>,
    writes: Vec<IoId>,
    held: Vec<(IoId, IoDone)>,
}

impl BlockStore for HoldingStore {
    fn geometry(&self) -> Geometry {
        self.inner.geometry()
    }

    fn open_queue(self: Arc<Self>, waker: Waker) -> Box<dyn StoreQueue> {
        self.wakers.lock().unwrap().push(waker.clone());
        let inner = Arc::clone(&self.inner).open_queue(waker);
        Box::new(HoldingQueue { store: self, inner, writes: Vec::new(), held: Vec::new() })
    }
}

impl StoreQueue for HoldingQueue {
    fn submit(&mut self, id: IoId, io: BlockIo) {
        if matches!(io, BlockIo::Write { .. }) {
            self.writes.push(id);
        }
        self.inner.submit(id, io);
    }

    fn poll(&mut self) -> Option<(IoId, IoDone)> {
        while let Some((id, done)) = self.inner.poll() {
            let writes = self.writes.len();
            self.writes.retain(|other| *other != id);
            if self.writes.len() == writes {
                return Some((id, done));
            }
            self.held.push((id, done));
            let _ = self.store.held.send(());
        }
        if self.store.holds.load(Ordering::SeqCst) { None } else { self.held.pop() }
    }
}

struct Bench {
    _server: Server,
    address: String,
    store: Arc<HoldingStore>,
    held: Receiver<()>,
}

impl Bench {
    fn new() -> Self {
        let geometry = Geometry { block_size: 512, blocks: 2048 };
        let (sender, held) = mpsc::channel();
        let store = Arc::new(HoldingStore {
            inner: Arc::new(MemoryStore::new(geometry)),
            holds: AtomicBool::new(true),
            held: sender,
            wakers: Mutex::default(),
        });
        let disk = Disk::new(store.clone(), LogicalUnitConfig::new(geometry, "preempted"));
        let server = Server::builder()
            .listen(SocketAddr::from(([127, 0, 0, 1], 0)))
            .cores(2)
            .target(Target::new(TARGET).lun(0, disk))
            .start()
            .expect("the server starts");
        let address = server.addresses()[0].to_string();
        Self { _server: server, address, store, held }
    }

    fn host(&self, name: &str) -> Client {
        let config = ClientConfig::new(self.address.clone(), TARGET).initiator_name(name);
        let client = Client::connect(config).wait().expect("the login goes well");
        assert_eq!(status(&client, &Cdb::test_unit_ready(), Transfer::None), Status::CheckCondition);
        client
    }

    fn release(&self) {
        self.store.holds.store(false, Ordering::SeqCst);
        self.store.wakers.lock().unwrap().iter().for_each(Waker::wake_by_ref);
    }
}

fn request(cdb: &Cdb, transfer: Transfer) -> Request {
    Request::new(LogicalUnitNumber::from(0), cdb, transfer)
}

fn status(client: &Client, cdb: &Cdb, transfer: Transfer) -> Status {
    let completion = client.execute(request(cdb, transfer)).wait().expect("the command has an end");
    Status::try_from(completion.status).expect("the status is one")
}

fn persist(action: OutAction, key: u64, action_key: u64) -> (Cdb, Transfer) {
    let list = OutList { key, action_key, ..OutList::default() }.encode();
    let kind = Some(ReservationType::WriteExclusiveRegistrantsOnly);
    (Cdb::persist_out(action, kind, list.len() as u32), Transfer::Write(list.into()))
}

/// The write of one session is in the store, and the other does `end` to it: it must not be over before the write is.
fn check(end: impl FnOnce(&Client) + Send + 'static) {
    let bench = Bench::new();
    let (victim, other) = (bench.host("iqn.2026-01.test:victim"), bench.host("iqn.2026-01.test:other"));
    for (client, key) in [(&victim, 1), (&other, 2)] {
        let (cdb, list) = persist(OutAction::Register, 0, key);
        assert_eq!(status(client, &cdb, list), Status::Good);
    }
    let write = victim.execute(request(&Cdb::write_10(0, 1), Transfer::Write(vec![1; 512].into())));
    bench.held.recv_timeout(PATIENCE).expect("the write comes to the store");
    let (sender, ended) = mpsc::channel();
    std::thread::spawn(move || {
        end(&other);
        let _ = sender.send(());
    });
    let early = ended.recv_timeout(UNWAITED);
    assert_eq!(early, Err(RecvTimeoutError::Timeout), "a write of the other session is still in the store");
    bench.release();
    ended.recv_timeout(PATIENCE).expect("it ends well");
    drop(write);
}

#[test]
fn preempt_and_abort_waits_for_the_block_io_of_its_victims() {
    check(|client| {
        let (cdb, list) = persist(OutAction::PreemptAndAbort, 2, 1);
        assert_eq!(status(client, &cdb, list), Status::Good);
    });
}

#[test]
fn a_reset_waits_for_the_block_io_of_all() {
    check(|client| client.reset(0).wait().expect("the reset is done"));
}
