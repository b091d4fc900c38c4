//! Requests that are sent again, from error recovery level 1: with their tag and their number, so that the target takes them once
//! (RFC 7143 sections 4.2.2.1 and 7.2.1). What has no number is not: a ping that was lost is given up.

use super::task::{Entry, Request};
use super::{Event, Session};
use crate::CloseReason;
use iscsi_pdu::{Cid, InitiatorTaskTag, RejectReason};
use std::time::Instant;

/// How often a command is sent again.
const RETRIES_MAX: u8 = 8;

/// Pings of one connection whose answers are waited for, from error recovery level 1.
const PINGS_MAX: usize = 4;

impl Session {
    /// One more ping is to go out on a connection. Of too many without an answer, the oldest is given up: it was lost, or its answer.
    pub(super) fn make_room_for_ping(&mut self, cid: Cid) {
        let sent = self.connections.get(cid).map_or(0, |connection| connection.requests_sent);
        let age = |entry: &Entry| if entry.is_sent() { sent.wrapping_sub(entry.sent_as) } else { 0 };
        let pings = self.pings(cid);
        if self.recovery_level > 0 && pings.len() >= PINGS_MAX {
            let oldest = pings.into_iter().max_by_key(|tag| self.requests.get(*tag).map(age));
            oldest.into_iter().for_each(|tag| self.give_up(tag));
        }
    }

    /// A ping was answered that was sent as this one: those before it on the connection were lost, since they are answered in order.
    pub(super) fn give_up_pings_before(&mut self, cid: Cid, sent_as: u32) {
        if self.recovery_level > 0 {
            let is_before = |entry: &Entry| entry.is_sent() && (sent_as.wrapping_sub(entry.sent_as) as i32) > 0;
            let mut lost = self.pings(cid);
            lost.retain(|tag| self.requests.get(*tag).is_some_and(is_before));
            lost.into_iter().for_each(|tag| self.give_up(tag));
        }
    }

    /// It is time for a ping. Where no PDU is lost, one that was not answered yet asks already: a target that never answers, but gives
    /// reasons to ask, would collect them.
    pub(super) fn want_ping(&mut self, cid: Cid) {
        if self.recovery_level > 0 || self.pings(cid).is_empty() {
            self.events.push_back(Event::PingDue { cid });
        }
    }

    fn pings(&self, cid: Cid) -> Vec<InitiatorTaskTag> {
        let is_ping = |entry: &Entry| entry.cid == cid && matches!(entry.request, Request::Ping(_));
        self.requests.iter().filter(|(_, entry)| is_ping(entry)).map(|(tag, _)| tag).collect()
    }

    // RFC 7143 7.2.1-1: the number that the target waits for.
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
            self.lose(now, cid, CloseReason::NotRecovered, self.default_retention());
        }
    }

    /// Whether a rejected command is sent again: only its data was bad (RFC 7143 section 7.8).
    pub(super) fn retry_rejected(&mut self, tag: InitiatorTaskTag, reason: RejectReason) -> bool {
        reason == RejectReason::DataDigestError && self.recovery_level > 0 && self.retry(tag)
    }

    // RFC 7143 4.2.2.1-14, 7.2.1-2, 7.2.1-3: the same on the same connection; no window reaches 2^31 beyond it.
    /// Sends a request again, with its tag and its number, and all its data. Not for ever.
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
            Request::Text(exchange) => exchange.ask_again(),
            Request::Plug(_) => {}
            Request::TaskManagement(_) | Request::Ping(_) | Request::Logout(_) => return false,
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
