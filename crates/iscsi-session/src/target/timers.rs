//! What a connection does when nothing happens: it pings an initiator that is silent and gives up one that stays so (RFC 7143
//! section 7.14), and drops one that does not log out in time (section 11.9.1).
//!
//! In: the time, with every input. Out: when to look again.
//!
//! Invariant: hearing a PDU costs one store.

use super::assembly::Silence;
use super::session::{Session, SessionConfig};
use super::snack::Run;
use super::task::TaskId;
use super::transmit::Transmission;
use crate::{CloseReason, IscsiCondition, SessionType};
use iscsi_pdu::{AsyncEvent, StatSn};
use std::time::{Duration, Instant};

#[derive(Debug)]
enum Ping {
    None,
    /// Sent at a time that is not known yet.
    Sent,
    SentAt(Instant),
}

#[derive(Debug)]
pub(super) struct Timers {
    heard: Instant,
    ping: Ping,
    interval: Option<Duration>,
    timeout: Duration,
    pings: bool,
    /// A ping has asked to acknowledge the statuses before this one.
    asked: Option<StatSn>,
    /// When that may be asked again.
    ask_again: Option<Instant>,
    logout: Option<Instant>,
}

impl Timers {
    pub(super) fn new(session_type: SessionType, config: &SessionConfig, now: Instant) -> Self {
        Self {
            heard: now,
            ping: Ping::None,
            interval: config.ping_interval,
            timeout: config.ping_timeout,
            pings: session_type == SessionType::Normal,
            asked: None,
            ask_again: None,
            logout: None,
        }
    }

    /// A PDU has come.
    pub(super) fn hear(&mut self, now: Instant) {
        self.heard = now;
    }

    pub(super) fn hear_ping_answer(&mut self) {
        self.ping = Ping::None;
    }

    /// Whether a ping is to be sent now, to learn what the initiator has received. It counts as sent.
    pub(super) fn ping(&mut self) -> bool {
        let due = matches!(self.ping, Ping::None);
        if due {
            self.ping = Ping::Sent;
        }
        due
    }

    /// Whether a ping is to ask now to acknowledge the statuses before `next`. It counts as sent. The same is not asked again before
    /// its time-out, or before the initiator has got something again that it may have missed.
    pub(super) fn ask_to_acknowledge(&mut self, next: StatSn) -> bool {
        let due = self.asked != Some(next) && self.ping();
        if due {
            (self.asked, self.ask_again) = (Some(next), None);
        }
        due
    }

    pub(super) fn forget_asking(&mut self) {
        (self.asked, self.ask_again) = (None, None);
    }

    pub(super) fn expect_logout(&mut self, deadline: Instant) {
        self.logout = Some(deadline);
    }

    /// When there is something to do next; `now` is the last time that the session was told of. An answer to a ping counts as lost after
    /// `lost_after`, where PDUs get lost.
    pub(super) fn next(&self, now: Instant, lost_after: Option<Duration>) -> Option<Instant> {
        let all = [self.ping_due(now), self.ping_lost(lost_after), self.silence_ends(), self.ask_again, self.logout];
        all.into_iter().flatten().min()
    }

    fn ping_due(&self, now: Instant) -> Option<Instant> {
        match self.ping {
            Ping::None if self.pings => Some(self.heard + self.interval?),
            Ping::Sent => Some(now), // to learn the time
            _ => None,
        }
    }

    /// When the answer to a ping counts as lost, though the initiator has sent something since: another ping may have to ask then.
    fn ping_lost(&self, lost_after: Option<Duration>) -> Option<Instant> {
        match self.ping {
            Ping::SentAt(at) if self.heard > at => Some(at + lost_after?),
            _ => None,
        }
    }

    /// When an initiator counts as lost. One that sends anything is not silent.
    fn silence_ends(&self) -> Option<Instant> {
        match self.ping {
            Ping::SentAt(at) => Some(at.max(self.heard) + self.timeout),
            Ping::None if !self.pings => Some(self.heard + self.interval? + self.timeout),
            _ => None,
        }
    }
}

impl Session {
    pub(super) fn handle_timers(&mut self, now: Instant) {
        for at in 0..self.connections.len() {
            if self.connections[at].is_open() {
                self.handle_connection_timers(at, now);
            }
        }
        self.give_up_draining(now);
        self.give_up_recovery(now);
        if self.silence_at.is_some_and(|at| at <= now) && !self.is_closed() {
            self.silence_at = None;
            self.look_for_silence();
        }
    }

    /// After which time the answer to a ping counts as lost; none where no PDU is.
    pub(super) fn pings_lost_after(&self) -> Option<Duration> {
        self.recovers().then_some(self.config.sequence_timeout)
    }

    /// Data is waited for that may get lost.
    pub(super) fn watch_for_silence(&mut self) {
        if self.recovers() && self.silence_at.is_none() {
            self.silence_at = Some(self.now + self.config.sequence_timeout);
        }
    }

    /// RFC 7143 7.1.4.1: data that does not come counts as lost.
    fn look_for_silence(&mut self) {
        let looked: Vec<(TaskId, Silence)> =
            self.tasks.iter_mut().map(|(id, task)| (id, task.receive.look_for_silence())).collect();
        for (id, silence) in looked {
            if silence != Silence::Nothing {
                self.watch_for_silence();
            }
            match silence {
                Silence::Nothing | Silence::Waits => {}
                Silence::Repeats(r2t_sn) => self.repeat_r2t(id, r2t_sn),
                Silence::AsksAgain => self.pursue_data(id),
                Silence::Fails => self.fail_write(id, IscsiCondition::ProtocolServiceCrcError),
            }
        }
    }

    fn repeat_r2t(&mut self, id: TaskId, r2t_sn: u32) {
        if let Some(at) = self.tasks.get(id).and_then(|task| self.place_of(task)) {
            // RFC 7143 7.9: an initiator that has it already discards it.
            self.connections[at].transmit.push_again(Transmission::Data(id, Run { begin: r2t_sn, length: 1 }));
        }
    }

    fn handle_connection_timers(&mut self, at: usize, now: Instant) {
        let has_come = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        let lost_after = self.pings_lost_after();
        let connection = &mut self.connections[at];
        if has_come(connection.timers.logout) {
            // RFC 7143 11.9.1: the connection is dropped when the time for the logout is over.
            let parameters = [connection.cid.0, self.parameters.time_2_wait, 0];
            connection.transmit.push(Transmission::Async { event: AsyncEvent::ConnectionDrop, parameters });
            return self.end_connection(at, CloseReason::LogoutOverdue);
        }
        if has_come(connection.timers.silence_ends()) {
            return self.fail_connection(at, CloseReason::PeerSilent);
        }
        if has_come(connection.timers.ping_lost(lost_after)) {
            connection.timers.ping = Ping::None;
        }
        if has_come(connection.timers.ping_due(now)) {
            if connection.timers.ping() {
                connection.transmit.push_ping();
            }
            connection.timers.ping = Ping::SentAt(now);
            connection.timers.ask_again = connection.timers.asked.map(|_| now + self.config.sequence_timeout);
        }
        if has_come(connection.timers.ask_again) {
            connection.timers.forget_asking();
        }
    }
}
