//! Statuses that were sent and may be asked for again, until the initiator acknowledges them (RFC 7143 sections 4.2.2.2 and 7.1.3).
//!
//! In: what leaves with a StatSN, and ExpStatSN as it comes. Out: the same again.
//!
//! Invariants: nothing is kept at error recovery level 0; no more is kept than was configured, the oldest is forgotten first; what is
//! kept has the StatSNs just before the next one, without a gap.

use super::session::Session;
use super::task::{Stage, TaskId};
use iscsi_pdu::{Pdu, StatSn};
use std::collections::VecDeque;

/// A status that was sent.
#[derive(Debug)]
pub(super) enum Retained {
    /// It is made from its task again.
    Task(TaskId),
    Pdu(Box<Pdu>),
}

/// The statuses of one connection that were sent and not acknowledged.
#[derive(Debug, Default)]
pub(super) struct Retention {
    statuses: VecDeque<Retained>,
}

impl Retention {
    pub(super) fn is_empty(&self) -> bool {
        self.statuses.is_empty()
    }

    /// The status with this number, if it is kept; `next` is the one that will be used next.
    pub(super) fn get(&self, stat_sn: StatSn, next: StatSn) -> Option<&Retained> {
        let back = usize::try_from(stat_sn.distance_to(next)).ok()?;
        self.statuses.get(self.statuses.len().checked_sub(back)?)
    }

    fn tasks(&self) -> impl Iterator<Item = TaskId> {
        self.statuses.iter().filter_map(|status| match status {
            Retained::Task(id) => Some(*id),
            Retained::Pdu(_) => None,
        })
    }
}

impl Session {
    /// Whether PDUs can be sent again.
    pub(super) fn recovers(&self) -> bool {
        self.parameters.error_recovery_level > 0
    }

    /// The initiator says which status it expects on a connection.
    #[inline]
    pub(super) fn acknowledge(&mut self, at: usize, expected: StatSn) {
        let connection = &mut self.connections[at];
        connection.statuses.acknowledge(expected);
        if !connection.retention.is_empty() {
            self.release_acknowledged(at);
        }
    }

    #[cold]
    fn release_acknowledged(&mut self, at: usize) {
        let kept = self.connections[at].statuses.unacknowledged();
        while self.connections[at].retention.statuses.len() > kept {
            self.forget_oldest(at);
        }
    }

    /// Keeps a status that leaves.
    pub(super) fn retain(&mut self, at: usize, status: Retained) {
        let max = self.config.retained_statuses_max.max(1);
        let connection = &mut self.connections[at];
        connection.retention.statuses.push_back(status);
        let kept = connection.retention.statuses.len();
        // Whoever acknowledges nothing by itself is asked to.
        if kept == max / 2 && connection.timers.ping() {
            connection.transmit.push_ping();
        }
        if kept > max {
            self.forget_oldest(at);
        }
    }

    fn forget_oldest(&mut self, at: usize) {
        if let Some(Retained::Task(id)) = self.connections[at].retention.statuses.pop_front()
            && self.tasks.get(id).is_some_and(|task| task.has_left())
        {
            self.remove_task(id);
        }
    }

    /// Keeps a status that belongs to no SCSI task.
    pub(super) fn retain_pdu(&mut self, at: usize, pdu: &Pdu) {
        if self.recovers() {
            self.retain(at, Retained::Pdu(Box::new(pdu.clone())));
        }
    }

    /// A task whose status has left is kept with its data. The oldest data is forgotten if there is too much.
    pub(super) fn retain_task(&mut self, at: usize, id: TaskId) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        let Stage::Sending(outcome) = &mut task.stage else { return };
        self.retained_bytes += outcome.data_in.len();
        task.stage = Stage::Sent(std::mem::take(outcome));
        if self.retained_bytes > self.config.retained_data_bytes_max {
            self.forget_oldest_data(at);
        }
    }

    /// Forgets data, the oldest of the connection `at` first, until there is not too much.
    fn forget_oldest_data(&mut self, at: usize) {
        let connections = self.connections.iter().skip(at).chain(self.connections.iter().take(at));
        for id in connections.flat_map(|connection| connection.retention.tasks()) {
            if self.retained_bytes <= self.config.retained_data_bytes_max {
                break;
            }
            if let Some(task) = self.tasks.get_mut(id)
                && let Stage::Sent(outcome) = &mut task.stage
            {
                self.retained_bytes -= std::mem::take(&mut outcome.data_in).len();
            }
        }
    }
}
