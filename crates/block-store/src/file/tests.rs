//! A file store on a medium that does what a test says: which calls it makes, in what order, and what it makes of
//! their answers.

use super::medium::{Medium, Zeroing};
use super::*;
use crate::IoId;
use parking_lot::{Condvar, Mutex};
use rustix::io::Errno;
use scsi_block::io::{BlockIo, Extent, IoDone, IoError, IoOutput};
use std::io::IoSlice;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Wake;
use std::time::{Duration, Instant};

const BLOCKS: u64 = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Read,
    Write,
    Zero(Zeroing),
    Sync,
}

/// What the medium holds, what it is to answer, and what it was asked.
struct Script {
    bytes: Vec<u8>,
    calls: Vec<Call>,
    /// A read or write does no more than this.
    transfer_bytes_max: usize,
    read: Result<(), Errno>,
    read_cached: Result<usize, Errno>,
    write: Result<(), Errno>,
    zero: Result<(), Errno>,
    sync: Result<(), Errno>,
    /// Syncs wait while this is set.
    syncs_wait: bool,
}

#[derive(Clone)]
struct Fake(Arc<(Mutex<Script>, Condvar)>);

impl Fake {
    fn new() -> Self {
        let script = Script {
            bytes: vec![0; BLOCKS as usize * 512],
            calls: Vec::new(),
            transfer_bytes_max: usize::MAX,
            read: Ok(()),
            read_cached: Err(Errno::AGAIN),
            write: Ok(()),
            zero: Ok(()),
            sync: Ok(()),
            syncs_wait: false,
        };
        Self(Arc::new((Mutex::new(script), Condvar::new())))
    }

    fn set(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.0.0.lock());
        self.0.1.notify_all();
    }

    /// The calls since this was last asked.
    fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.0.0.lock().calls)
    }
}

impl Medium for Fake {
    fn read(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        let mut script = self.0.0.lock();
        script.calls.push(Call::Read);
        script.read?;
        let length = buffer.len().min(script.transfer_bytes_max);
        buffer[..length].copy_from_slice(&script.bytes[offset as usize..][..length]);
        Ok(length)
    }

    fn read_cached(&self, buffer: &mut [u8], _offset: u64) -> Result<usize, Errno> {
        buffer.fill(0xcc);
        self.0.0.lock().read_cached.map(|length| length.min(buffer.len()))
    }

    fn write(&self, data: &[IoSlice<'_>], offset: u64) -> Result<usize, Errno> {
        let mut script = self.0.0.lock();
        script.calls.push(Call::Write);
        script.write?;
        let mut bytes: Vec<u8> = data.iter().flat_map(|slice| slice.iter().copied()).collect();
        bytes.truncate(script.transfer_bytes_max);
        script.bytes[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn zero(&self, zeroing: Zeroing, offset: u64, length: u64) -> Result<(), Errno> {
        let mut script = self.0.0.lock();
        script.calls.push(Call::Zero(zeroing));
        script.zero?;
        script.bytes[offset as usize..][..length as usize].fill(0);
        Ok(())
    }

    fn seek(&self, _offset: u64, _hole: bool) -> Result<Option<u64>, Errno> {
        Err(Errno::INVAL)
    }

    fn extend(&self, bytes: u64) -> Result<(), Errno> {
        self.0.0.lock().bytes.resize(bytes as usize, 0);
        Ok(())
    }

    fn space(&self) -> Result<Option<(u64, u64)>, Errno> {
        Ok(None)
    }

    fn will_need(&self, _offset: u64, _length: u64) -> Result<(), Errno> {
        Ok(())
    }

    fn sync(&self) -> Result<(), Errno> {
        let mut script = self.0.0.lock();
        script.calls.push(Call::Sync);
        self.0.1.wait_while(&mut script, |script| script.syncs_wait);
        script.sync
    }
}

#[derive(Default)]
struct Wakes(AtomicU32);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

struct Bench {
    fake: Fake,
    wakes: Arc<Wakes>,
    queue: Box<dyn StoreQueue>,
}

impl Bench {
    fn new(workers: usize) -> Self {
        let fake = Fake::new();
        let options = FileOptions { workers, ..FileOptions::default() };
        let geometry = Geometry { block_size: 512, blocks: BLOCKS };
        let store = FileStore::new(Box::new(fake.clone()), geometry, &options).unwrap();
        let wakes = Arc::new(Wakes::default());
        let queue = Arc::new(store).open_queue(wakes.clone().into());
        Self { fake, wakes, queue }
    }

    /// The next end, within 10 s.
    fn end(&mut self) -> (IoId, IoDone) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(end) = self.queue.poll() {
                return end;
            }
            assert!(Instant::now() < deadline, "no end");
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    fn run(&mut self, io: BlockIo) -> IoDone {
        self.queue.submit(IoId(0), io);
        self.end().1
    }

    fn wait_for_call(&self, call: Call) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.fake.0.0.lock().calls.contains(&call) {
            assert!(Instant::now() < deadline, "no {call:?}");
            std::thread::sleep(Duration::from_micros(100));
        }
    }
}

fn write(lba: u64, durable: bool) -> BlockIo {
    let data = [vec![1; 512].into(), vec![2; 1024].into()].into_iter().collect();
    BlockIo::Write { lba, data, durable }
}

const EXTENT: Extent = Extent { lba: 8, blocks: 3 };

#[test]
fn durable_ends_follow_a_sync_and_others_do_not_wait_for_one() {
    let mut bench = Bench::new(1);
    assert_eq!(bench.run(write(0, false)), Ok(IoOutput::Done));
    assert_eq!(bench.fake.calls(), [Call::Write]);
    assert_eq!(bench.run(write(0, true)), Ok(IoOutput::Done));
    assert_eq!(bench.fake.calls(), [Call::Write, Call::Sync]);
    assert_eq!(bench.run(BlockIo::Flush), Ok(IoOutput::Done));
    assert_eq!(bench.fake.calls(), [Call::Sync]);
    let same = BlockIo::WriteSame { extent: EXTENT, block: None, unmap: true, durable: true };
    assert_eq!(bench.run(same), Ok(IoOutput::Done));
    assert_eq!(bench.fake.calls(), [Call::Zero(Zeroing::Release), Call::Sync]);
}

#[test]
fn no_durable_end_before_its_sync_has_returned() {
    let mut bench = Bench::new(2);
    bench.fake.set(|script| script.syncs_wait = true);
    bench.queue.submit(IoId(1), write(0, true));
    assert_eq!(bench.queue.poll(), None);
    bench.wait_for_call(Call::Sync);
    assert_eq!(bench.run(write(8, false)), Ok(IoOutput::Done), "others go on");
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(bench.queue.poll(), None);
    bench.fake.set(|script| script.syncs_wait = false);
    assert_eq!(bench.end(), (IoId(1), Ok(IoOutput::Done)));
}

#[test]
fn those_that_come_during_a_sync_share_the_next() {
    let mut bench = Bench::new(2);
    bench.fake.set(|script| script.syncs_wait = true);
    bench.queue.submit(IoId(0), BlockIo::Flush);
    assert_eq!(bench.queue.poll(), None);
    bench.wait_for_call(Call::Sync);
    for id in 1..=50 {
        bench.queue.submit(IoId(id), write(id * 8, true));
    }
    assert_eq!(bench.queue.poll(), None);
    while bench.fake.0.0.lock().calls.len() < 51 {
        std::thread::sleep(Duration::from_micros(100));
    }
    // The last one has written; let it reach the group, too.
    std::thread::sleep(Duration::from_millis(20));
    bench.fake.set(|script| script.syncs_wait = false);
    (0..=50).for_each(|_| assert_eq!(bench.end().1, Ok(IoOutput::Done)));
    let calls = bench.fake.calls();
    assert_eq!(calls.iter().filter(|&&call| call == Call::Sync).count(), 2);
    assert_eq!(calls.last(), Some(&Call::Sync));
}

#[test]
fn after_a_failed_sync_nothing_is_called_durable() {
    let mut bench = Bench::new(2);
    bench.fake.set(|script| script.sync = Err(Errno::NOSPC));
    assert_eq!(bench.run(write(0, true)), Err(IoError::NoSpace), "the error itself, once");
    bench.fake.set(|script| script.sync = Ok(()));
    bench.fake.calls();
    assert_eq!(bench.run(BlockIo::Flush), Err(IoError::Write));
    assert_eq!(bench.run(write(0, true)), Err(IoError::Write));
    assert_eq!(bench.fake.calls(), [Call::Write], "the kernel is not asked again");
    assert_eq!(bench.run(write(0, false)), Ok(IoOutput::Done));
    assert!(bench.run(BlockIo::Read(EXTENT)).is_ok());
}

#[test]
fn a_failed_write_is_no_failed_sync() {
    let mut bench = Bench::new(1);
    bench.fake.set(|script| script.write = Err(Errno::NOSPC));
    assert_eq!(bench.run(write(0, true)), Err(IoError::NoSpace));
    assert_eq!(bench.fake.calls(), [Call::Write]);
    bench.fake.set(|script| script.write = Ok(()));
    assert_eq!(bench.run(write(0, true)), Ok(IoOutput::Done));
}

#[test]
fn short_transfers_are_continued() {
    let mut bench = Bench::new(1);
    bench.fake.set(|script| script.transfer_bytes_max = 100);
    assert_eq!(bench.run(write(8, false)), Ok(IoOutput::Done));
    assert_eq!(bench.fake.calls(), [Call::Write; 16]);
    let expected = [[1; 512], [2; 512], [2; 512]].concat();
    assert_eq!(bench.run(BlockIo::Read(EXTENT)), Ok(IoOutput::Data(expected.into())));
}

#[test]
fn zeros_are_written_where_the_medium_cannot_make_them() {
    let mut bench = Bench::new(1);
    bench.run(write(8, false)).unwrap();
    bench.fake.set(|script| script.zero = Err(Errno::OPNOTSUPP));
    bench.fake.calls();
    assert_eq!(bench.run(BlockIo::Unmap([EXTENT].into_iter().collect())), Ok(IoOutput::Done));
    let expected = [Call::Zero(Zeroing::Release), Call::Zero(Zeroing::Keep), Call::Write];
    assert_eq!(bench.fake.calls(), expected);
    assert_eq!(bench.run(BlockIo::Read(EXTENT)), Ok(IoOutput::Data(vec![0; 1536].into())));

    bench.fake.set(|script| script.zero = Err(Errno::IO));
    let unmap = BlockIo::Unmap([EXTENT].into_iter().collect());
    assert_eq!(bench.run(unmap), Err(IoError::Write), "an error is not glossed over");
}

#[test]
fn errors_have_names() {
    let mut bench = Bench::new(1);
    for (error, read, write_end) in [
        (Errno::IO, IoError::Read, IoError::Write),
        (Errno::NOSPC, IoError::Read, IoError::NoSpace),
        (Errno::DQUOT, IoError::Read, IoError::NoSpace),
        (Errno::ROFS, IoError::Read, IoError::ReadOnly),
        (Errno::BADF, IoError::Read, IoError::ReadOnly),
        (Errno::NXIO, IoError::NotReady, IoError::NotReady),
    ] {
        bench.fake.set(|script| (script.read, script.write) = (Err(error), Err(error)));
        assert_eq!(bench.run(BlockIo::Read(EXTENT)), Err(read), "{error}");
        assert_eq!(bench.run(write(0, false)), Err(write_end), "{error}");
    }
}

#[test]
fn what_the_page_cache_has_needs_no_worker() {
    let mut bench = Bench::new(1);
    let cached = Ok(IoOutput::Data(vec![0xcc; 1536].into()));
    bench.fake.set(|script| script.read_cached = Ok(usize::MAX));
    bench.queue.submit(IoId(4), BlockIo::Read(EXTENT));
    assert_eq!(bench.queue.poll(), Some((IoId(4), cached)));
    assert_eq!(bench.fake.calls(), []);

    let from_medium = Ok(IoOutput::Data(vec![0; 1536].into()));
    for answer in [Ok(1000), Ok(0), Err(Errno::AGAIN), Err(Errno::IO), Err(Errno::OPNOTSUPP)] {
        bench.fake.set(|script| script.read_cached = answer);
        assert_eq!(bench.run(BlockIo::Read(EXTENT)), from_medium, "{answer:?}");
        assert_eq!(bench.fake.calls(), [Call::Read]);
    }
    bench.fake.set(|script| script.read_cached = Ok(usize::MAX));
    assert_eq!(bench.run(BlockIo::Read(EXTENT)), from_medium, "not tried after OPNOTSUPP");
}

#[test]
fn a_crowd_waits_its_turn() {
    let mut bench = Bench::new(3);
    for id in 0..1000 {
        bench.queue.submit(IoId(id), write(id % 100 * 8, false));
    }
    let mut ended = vec![false; 1000];
    for _ in 0..1000 {
        let (IoId(id), done) = bench.end();
        assert_eq!(done, Ok(IoOutput::Done));
        assert!(!std::mem::replace(&mut ended[id as usize], true));
    }
}

#[test]
fn a_batch_wakes_once() {
    let mut bench = Bench::new(3);
    for id in 0..100 {
        bench.queue.submit(IoId(id), write(id * 8, false));
    }
    assert_eq!(bench.queue.poll(), None);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(bench.wakes.0.load(Ordering::SeqCst), 1, "nobody fetched in between");
    (0..100).for_each(|_| assert!(bench.end().1.is_ok()));
}
