//! How full the stores of thin units are, looked at from time to time, and told to the units, which tell initiators.
//!
//! A thread of its own does it, since a store may have to wait for its file system.

use super::shared::Shared;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// The thread that looks. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct SpaceWatch {
    /// Dropped first, which ends the thread.
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl SpaceWatch {
    /// Looks once, and from then on every second.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub(super) fn start(shared: Arc<Shared>) -> io::Result<Self> {
        look(&shared);
        let (stop, stopped) = mpsc::channel();
        let run = move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(INTERVAL) {
                look(&shared);
            }
        };
        let thread = std::thread::Builder::new().name("iscsi-space".into()).spawn(run)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for SpaceWatch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Asks each store of a thin unit. The list of stores is not locked meanwhile.
fn look(shared: &Shared) {
    for (target, config) in shared.portal().targets.iter().enumerate() {
        let thin = config.device.logical_units().filter(|unit| unit.config.thin);
        for unit in thin {
            let store = shared.store(iscsi_node::target::StoreId { target, unit: unit.index });
            if let Some(space) = store.and_then(|store| store.space()) {
                config.device.set_space(unit.index, space);
            }
        }
    }
}
