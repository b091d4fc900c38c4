//! One `fdatasync` for all requests that wait for one.

use super::medium::Medium;
use super::queue::Reply;
use crate::file::disk::write_error;
use parking_lot::Mutex;
use scsi_block::io::{IoError, IoOutput};

/// Requests whose data is written and is to become durable.
///
/// The first that comes syncs, for itself and for all that came before it began; those that come meanwhile wait for
/// the next sync, without a thread of their own.
#[derive(Default)]
pub(super) struct SyncGroup {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: Vec<Reply>,
    running: bool,
    /// A sync failed: what the kernel says from now on proves nothing.
    failed: bool,
}

impl SyncGroup {
    /// Answers `reply` once the medium is durable: in this call, or in that of the thread that syncs already.
    pub(super) fn join(&self, medium: &dyn Medium, reply: Reply) {
        let mut state = self.state.lock();
        state.waiting.push(reply);
        if state.running {
            return;
        }
        state.running = true;
        while !state.waiting.is_empty() {
            let batch = std::mem::take(&mut state.waiting);
            let failed = state.failed;
            drop(state);
            let synced = if failed { Err(IoError::Write) } else { medium.sync().map_err(write_error) };
            self.state.lock().failed |= synced.is_err();
            for reply in batch {
                reply.send(synced.map(|()| IoOutput::Done));
            }
            state = self.state.lock();
        }
        state.running = false;
    }
}
