//! One connection of a session: what belongs to it alone.
//!
//! Command numbers are the session's. Status numbers, digests, the lengths of segments, what waits to be sent, text exchanges and
//! clocks are the connection's (RFC 7143 sections 4.2.2.2, 4.2.5.1 and 11.10).

use super::SessionConfig;
use super::outbox::Outbox;
use super::snack::Recovery;
use super::state::{ConnectionState, ConnectionTransition};
use super::task::{Entry, Request, Standing};
use super::timers::{Retention, Timers};
use crate::{CloseReason, LoginOutcome, Parameters, Violation};
use iscsi_pdu::{Cid, InitiatorTaskTag, StatSn};
use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) cid: Cid,
    /// What holds here: the session's values, and those of this connection alone.
    pub(super) parameters: Parameters,
    pub(super) state: ConnectionState,
    /// The number that the next status must have.
    pub(super) exp_stat_sn: StatSn,
    pub(super) outbox: Outbox,
    /// Task management functions that were sent, and keep back the data of the tasks that they are to end.
    pub(super) halting: Vec<InitiatorTaskTag>,
    /// Text exchanges, one at a time (RFC 7143 section 11.10); the first is under way.
    pub(super) texts: VecDeque<InitiatorTaskTag>,
    pub(super) timers: Timers,
    /// What is missing; none at error recovery level 0.
    pub(super) recovery: Option<Box<Recovery>>,
    /// How many requests were sent.
    pub(super) requests_sent: u32,
    /// How many requests are allegiant to it, or will be.
    pub(super) requests: usize,
    /// What the connection in whose place it came has left goes on with the first PDU, which tells what the target has received.
    pub(super) adopts: bool,
    /// There was another of its CID before it.
    pub(super) is_successor: bool,
    /// Why it has ended.
    pub(super) reason: Option<CloseReason>,
}

impl Connection {
    pub(super) fn new(outcome: &LoginOutcome, parameters: Parameters, config: SessionConfig, now: Instant) -> Self {
        Self {
            cid: outcome.cid,
            recovery: (parameters.error_recovery_level > 0).then(|| Box::new(Recovery::new(config.ping_timeout))),
            parameters,
            state: ConnectionState::LoggedIn,
            exp_stat_sn: outcome.stat_sn,
            outbox: Outbox::default(),
            halting: Vec::new(),
            texts: VecDeque::new(),
            timers: Timers::new(config, outcome.session_type, now),
            requests_sent: 0,
            requests: 0,
            adopts: false,
            is_successor: false,
            reason: None,
        }
    }

    pub(super) fn make(&mut self, transition: ConnectionTransition) {
        self.state = self.state.after(transition);
    }

    /// Ends; the target remembers the connection for so long.
    pub(super) fn end(
        &mut self,
        now: Instant,
        transition: ConnectionTransition,
        reason: CloseReason,
        retention: Retention,
    ) {
        self.make(transition);
        self.reason = Some(reason);
        self.outbox.shut();
        self.recovery = None;
        match reason {
            CloseReason::Dropped { .. } | CloseReason::LoggedOut => self.timers.begin_cleanup(now, retention),
            _ => self.timers.begin_cleanup_untold(now, retention),
        }
    }

    // RFC 7143 7.9-3: at level 0 nothing asks for it again.
    /// Counts a status. At error recovery level 0 a lost one cannot be had again, and none comes twice; above, PDUs are put in
    /// order before.
    pub(super) fn count_status(&mut self, stat_sn: StatSn) -> Result<(), Violation> {
        if stat_sn != self.exp_stat_sn {
            return Err(Violation::StatSnOutOfOrder);
        }
        self.exp_stat_sn = stat_sn.next();
        Ok(())
    }

    /// Forgets a request that has ended or goes elsewhere.
    pub(super) fn forget(&mut self, tag: InitiatorTaskTag, entry: &Entry) {
        self.requests -= 1;
        if entry.standing == Standing::Queued || entry.retries > 0 {
            self.outbox.remove_request(tag);
        }
        match &entry.request {
            Request::Command(task) if task.data.has_data_to_send() => self.outbox.remove_data(tag),
            Request::TaskManagement(_) => self.halting.retain(|other| *other != tag),
            Request::Text(_) => self.texts.retain(|other| *other != tag),
            _ => {}
        }
    }
}

/// What a connection that joins a session goes by: the keys of a leading login hold for the whole session (RFC 7143 section 13).
pub(super) fn joined(session: &Parameters, own: &Parameters) -> Parameters {
    Parameters {
        header_digest: own.header_digest,
        data_digest: own.data_digest,
        receive_segment_bytes_max: own.receive_segment_bytes_max,
        send_segment_bytes_max: own.send_segment_bytes_max,
        ..session.clone()
    }
}

/// The connections of a session, as a rule one and never many: they are searched one by one. There is one as long as the
/// session has not ended.
#[derive(Debug, Default)]
pub(super) struct Connections {
    present: Vec<Connection>,
    /// The CIDs of those that were removed.
    past: BTreeSet<Cid>,
}

impl Connections {
    pub(super) fn push(&mut self, connection: Connection) {
        self.present.push(connection);
    }

    #[inline]
    pub(super) fn get(&self, cid: Cid) -> Option<&Connection> {
        self.iter().find(|connection| connection.cid == cid)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, cid: Cid) -> Option<&mut Connection> {
        self.iter_mut().find(|connection| connection.cid == cid)
    }

    /// The connection, which the caller has seen before.
    #[inline]
    pub(super) fn known(&mut self, cid: Cid) -> &mut Connection {
        self.get_mut(cid).expect("a connection is there as long as it is worked for")
    }

    pub(super) fn remove(&mut self, cid: Cid) {
        self.present.retain(|connection| connection.cid != cid);
        self.past.insert(cid);
    }

    /// Whether there is a connection with this CID, or was one.
    pub(super) fn has_had(&self, cid: Cid) -> bool {
        self.get(cid).is_some() || self.past.contains(&cid)
    }

    pub(super) fn clear(&mut self) {
        self.present.clear();
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Connection> {
        self.present.iter()
    }

    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, Connection> {
        self.present.iter_mut()
    }

    /// What was negotiated for the session.
    pub(super) fn session_parameters(&self) -> Option<&Parameters> {
        self.iter().next().map(|connection| &connection.parameters)
    }
}
