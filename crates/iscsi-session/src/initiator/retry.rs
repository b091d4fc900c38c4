//! Commands that are sent again, from error recovery level 1: with their tag and their number, so that the target takes them once
//! (RFC 7143 sections 4.2.2.1 and 7.2.1).

use super::Session;
use super::task::{Entry, Request};
use crate::{CloseReason, Violation};
use iscsi_pdu::{Cid, InitiatorTaskTag, RejectReason};
use std::time::Instant;

/// How often a command is sent again.
const RETRIES_MAX: u8 = 8;

impl Session {
    /// A ping was answered: what was sent before it on the connection has been read, so that a command whose number is
    /// still expected was lost. It is sent again (RFC 7143 section 7.2.1).
    pub(super) fn find_lost_command(&mut self, now: Instant, cid: Cid, ping: u32) {
        // A target may keep what came after a task management function, and not count it, until it has answered that.
        let is_kept = |entry: &Entry| matches!(entry.request, Request::TaskManagement(_));
        if self.recovery_level == 0
            || !self.numbering.has_unacknowledged()
            || self.requests.iter().any(|(_, entry)| is_kept(entry))
        {
            return;
        }
        let expected = self.numbering.exp_cmd_sn();
        let is_before = |entry: &Entry| (ping.wrapping_sub(entry.sent_as) as i32) > 0;
        let is_lost =
            |entry: &Entry| entry.cid == cid && entry.is_sent() && entry.cmd_sn == expected && is_before(entry);
        let lost = self.requests.iter().find(|(_, entry)| is_lost(entry) && entry.request.has_number());
        if let Some((tag, _)) = lost
            && !self.retry(tag)
        {
            self.lose(now, cid, CloseReason::Violation(Violation::CommandGap), self.default_retention());
        }
    }

    /// Whether a rejected command is sent again: only its data was bad (RFC 7143 section 7.8).
    pub(super) fn retry_rejected(&mut self, tag: InitiatorTaskTag, reason: RejectReason) -> bool {
        reason == RejectReason::DataDigestError && self.recovery_level > 0 && self.retry(tag)
    }

    /// Sends a command again, with its tag and its number, and all its data. Not for ever, and a text cannot be told again.
    fn retry(&mut self, tag: InitiatorTaskTag) -> bool {
        let Some(entry) = self.requests.get_mut(tag) else { return false };
        if entry.retries == RETRIES_MAX {
            return false;
        }
        let connection = self.connections.known(entry.cid);
        if connection.outbox.has_request(tag) {
            return true;
        }
        match &mut entry.request {
            Request::Command(task) => {
                task.data.interrupt();
                connection.outbox.remove_data(tag);
            }
            Request::Plug(_) => {}
            _ => return false,
        }
        entry.retries += 1;
        connection.outbox.push_request(tag);
        true
    }

    /// The connection of the command that the target expects next, if it has been sent.
    pub(super) fn connection_of_expected(&self) -> Option<Cid> {
        let expected = self.numbering.exp_cmd_sn();
        let mut sent = self.requests.iter().filter(|(_, entry)| entry.is_sent() && entry.request.has_number());
        sent.find(|(_, entry)| entry.cmd_sn == expected).map(|(_, entry)| entry.cid)
    }
}
