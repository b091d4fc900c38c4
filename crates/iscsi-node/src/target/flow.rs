//! How much read and write data one connection may have under way, and which tasks wait for room.
//!
//! In: tasks that want to begin. Out: those that may, in their order. The bounds are a connection's own, so that a peer that does
//! not read or write on one holds up no other.

use super::{DATA_IN_BYTES_MAX, DATA_OUT_BYTES_MAX};
use iscsi_session::target::TaskId;
use std::collections::VecDeque;

/// The data of the tasks of one connection.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// Tasks that wait until read data has left.
    pub(super) waiting: VecDeque<TaskId>,
    /// Read data that the store has been asked for, in bytes.
    pub(super) reading_bytes: usize,
    /// Tasks whose data is not asked for until that of others is written.
    pub(super) waiting_for_data: VecDeque<TaskId>,
    /// Write data that was asked for, of tasks that have not ended, in bytes.
    pub(super) asked_bytes: usize,
}

impl Flow {
    /// Whether a read that has just come may begin, since none waits before it.
    pub(super) fn may_read(&self, unsent_bytes: usize) -> bool {
        self.waiting.is_empty() && self.has_room_for_reads(unsent_bytes)
    }

    /// Whether the data of a write that has just come may be asked for, since none waits before it.
    pub(super) fn may_ask(&self) -> bool {
        self.waiting_for_data.is_empty() && self.has_room_for_writes()
    }

    /// Whether one more read may begin while `unsent_bytes` of read data wait for the peer.
    pub(super) fn has_room_for_reads(&self, unsent_bytes: usize) -> bool {
        unsent_bytes + self.reading_bytes < DATA_IN_BYTES_MAX
    }

    /// Whether the data of one more write may be asked for.
    pub(super) fn has_room_for_writes(&self) -> bool {
        self.asked_bytes < DATA_OUT_BYTES_MAX
    }
}
