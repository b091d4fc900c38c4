//! The one kind of lock that there is in this crate. READ and WRITE take none (see the tests), so that no core waits for another.

use parking_lot::{Mutex, MutexGuard};

/// A value that one thread at a time looks at.
#[derive(Debug, Default)]
pub(crate) struct Lock<T>(Mutex<T>);

impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// Waits until nobody else has the value.
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        #[cfg(test)]
        tests::count();
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::path::Path;
    use std::sync::Arc;

    use bytes::Bytes;

    use crate::cdb::Cdb;
    use crate::opcodes::{Field, Operation};
    use crate::{
        Begin, Geometry, IoOutput, LogicalUnitConfig, LogicalUnitNumber, Nexus, Segments, Status, Step, TargetDevice,
    };

    thread_local! {
        static TAKEN: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn count() {
        TAKEN.set(TAKEN.get() + 1);
    }

    /// Locks that this thread has taken for a command of one block.
    fn taken_for(nexus: &mut Nexus, operation: Operation) -> usize {
        let cdb = Cdb::new(operation);
        let cdb = cdb.try_with(Field::Blocks, 1).unwrap_or(cdb);
        let data = Bytes::from_static(&[0; 512]);
        let before = TAKEN.get();
        if let Begin::Task(mut task) = nexus.begin(LogicalUnitNumber::default(), cdb.as_bytes()) {
            let data_out =
                if task.data_out_length() > 0 { Segments::from_iter([data.clone()]) } else { Segments::new() };
            let output = if task.data_in_length() > 0 { IoOutput::Data(data) } else { IoOutput::Done };
            assert!(nexus.may_start(&task));
            assert!(matches!(nexus.start(&mut task, data_out), Step::Io(_)));
            let Step::Done(outcome) = nexus.resume(&mut task, Ok(output)) else { panic!("{operation:?} ends") };
            assert_eq!(outcome.status, Status::Good);
        }
        TAKEN.get() - before
    }

    #[test]
    fn reads_and_writes_take_none() {
        use Operation as Op;
        let config = LogicalUnitConfig::new(Geometry { block_size: 512, blocks: 8 }, "serial");
        let device = Arc::new(TargetDevice::new([(LogicalUnitNumber::default(), config)]).unwrap());
        let mut nexuses = ["one", "two"].map(|name| device.connect(name));
        for nexus in &mut nexuses {
            // The unit attention, and then what the nexus has.
            assert!(taken_for(nexus, Op::TestUnitReady) > 0);
            assert!(taken_for(nexus, Op::Read10) > 0);
        }
        for nexus in &mut nexuses {
            for operation in
                [Op::Read6, Op::Read10, Op::Read12, Op::Read16, Op::Write6, Op::Write10, Op::Write12, Op::Write16]
            {
                assert_eq!(taken_for(nexus, operation), 0, "{operation:?}");
            }
            device.handle_timeout(std::time::Instant::now());
            assert!(device.poll_upkeep().is_none());
            assert!(taken_for(nexus, Op::Inquiry) > 0);
        }
    }

    /// Whoever waits in another way is not counted.
    #[test]
    fn nothing_else_in_this_crate_waits() {
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        let mut files = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.ends_with("lock.rs") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let others =
                        ["parking_lot", "Mutex", "RwLock", "Condvar", "OnceLock", "LazyLock", "mpsc", "spin_loop"];
                    let found = others.into_iter().find(|other| text.contains(other));
                    assert_eq!(found, None, "{}: use crate::lock::Lock", path.display());
                    files += 1;
                }
            }
        }
        assert!(files > 50);
    }
}
