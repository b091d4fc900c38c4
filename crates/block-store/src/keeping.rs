//! A store whose unit's records are kept, above any other store.

use std::io;
use std::sync::Arc;
use std::task::Waker;

use parking_lot::Mutex;
use scsi_block::io::{BlockIo, Geometry, IoDone, IoOutput, Record, Space};

use crate::records::{RecordsError, UnitRecords};
use crate::workers::Workers;
use crate::{BlockStore, FileLock, IoId, StoreQueue};

/// A store with a place for the records of its unit. Requests about blocks go to the store below it.
#[derive(Debug)]
pub struct KeepingStore {
    inner: Arc<dyn BlockStore>,
    worker: Arc<Workers<Job>>,
}

/// A record on its way to the folder, and the queue that it came from.
struct Job {
    id: IoId,
    record: Record,
    ends: Arc<Ends>,
}

/// Records that have been kept or not, for one queue.
struct Ends {
    done: Mutex<Vec<(IoId, IoDone)>>,
    waker: Waker,
}

impl KeepingStore {
    /// `inner`, with the records of its unit.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn new(inner: Arc<dyn BlockStore>, records: UnitRecords) -> Result<Self, RecordsError> {
        let worker = Workers::start(1, move |Job { id, record, ends }: Job| {
            let done = records.keep(&record).map(|()| IoOutput::Done);
            ends.done.lock().push((id, done));
            ends.waker.wake_by_ref();
        });
        let worker = worker.map_err(RecordsError::Thread)?;
        Ok(Self { inner, worker: Arc::new(worker) })
    }
}

impl BlockStore for KeepingStore {
    fn geometry(&self) -> Geometry {
        self.inner.geometry()
    }

    fn atomic_bytes_max(&self) -> u32 {
        self.inner.atomic_bytes_max()
    }

    fn space(&self) -> Option<Space> {
        self.inner.space()
    }

    fn lock(&self) -> Option<FileLock> {
        self.inner.lock()
    }

    fn grow(&self, blocks: u64) -> io::Result<()> {
        self.inner.grow(blocks)
    }

    fn open_queue(self: Arc<Self>, waker: Waker) -> Box<dyn StoreQueue> {
        let inner = Arc::clone(&self.inner).open_queue(waker.clone());
        let ends = Arc::new(Ends { done: Mutex::default(), waker });
        Box::new(KeepingQueue { worker: Arc::clone(&self.worker), inner, ends, out: 0 })
    }
}

/// One core's way to a [`KeepingStore`].
struct KeepingQueue {
    worker: Arc<Workers<Job>>,
    inner: Box<dyn StoreQueue>,
    ends: Arc<Ends>,
    /// Records that have not come back.
    out: usize,
}

impl StoreQueue for KeepingQueue {
    fn submit(&mut self, id: IoId, io: BlockIo) {
        match io {
            BlockIo::Keep(record) => {
                self.out += 1;
                self.worker.push_all([Job { id, record, ends: Arc::clone(&self.ends) }].into_iter());
            }
            io => self.inner.submit(id, io),
        }
    }

    fn poll(&mut self) -> Option<(IoId, IoDone)> {
        if self.out > 0
            && let Some(end) = self.ends.done.lock().pop()
        {
            self.out -= 1;
            return Some(end);
        }
        self.inner.poll()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryStore, Records};
    use bytes::Bytes;
    use scsi_block::Extent;
    use std::sync::mpsc;
    use std::time::Duration;

    struct Wake(mpsc::SyncSender<()>);

    impl std::task::Wake for Wake {
        fn wake(self: Arc<Self>) {
            let _ = self.0.try_send(());
        }
    }

    #[test]
    fn records_go_to_the_folder_and_blocks_to_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let records = Arc::new(Records::open(folder.path()).unwrap());
        let memory = Arc::new(MemoryStore::new(Geometry { block_size: 512, blocks: 8 }));
        let store = Arc::new(KeepingStore::new(memory, records.of_unit("disk").unwrap()).unwrap());
        let (sender, woken) = mpsc::sync_channel(1);
        let mut queue = Arc::clone(&store).open_queue(Arc::new(Wake(sender)).into());
        let record = Record { name: "reservations", version: 1, content: Bytes::from_static(b"one") };
        queue.submit(IoId(1), BlockIo::Keep(record));
        queue.submit(IoId(2), BlockIo::Read(Extent { lba: 0, blocks: 1 }));
        let mut ends = Vec::new();
        while ends.len() < 2 {
            match queue.poll() {
                Some((id, done)) => ends.push((id.0, done.unwrap())),
                None => woken.recv_timeout(Duration::from_secs(20)).unwrap(),
            }
        }
        ends.sort_by_key(|(id, _)| *id);
        assert_eq!(ends[0], (1, IoOutput::Done));
        assert!(matches!(&ends[1], (2, IoOutput::Data(_))));
        store.grow(16).unwrap();
        assert_eq!(store.geometry().blocks, 16);
        drop((queue, store));
        assert_eq!(records.of_unit("disk").unwrap().load().unwrap()["reservations"], b"one"[..]);
    }
}
