//! One connection of the session, or the place for it: a port, and what the protocol has come to on it.

use iscsi_pdu::{Cid, InitiatorTaskTag};
use iscsi_session::LoginOutcome;
use iscsi_session::initiator::{Login, Session};
use iscsi_transport::{Digests, PduPort, PortError, ReceiveLimits};
use std::time::{Duration, Instant};

/// Logins that are sent elsewhere one after the other before the connection counts as failed.
const REDIRECTS_MAX: u8 = 5;

/// How many connections a session is to have, and when one is tried again that has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionPlan {
    /// Connections, if the target takes as many (MaxConnections); at least one.
    pub connections: u16,
    /// Delay after the first failure in a row. It doubles with each further one; a connection on which a command ends begins anew.
    pub delay_min: Duration,
    /// The longest delay.
    pub delay_max: Duration,
}

impl Default for ConnectionPlan {
    /// One connection; delays from 100 ms to 10 s.
    fn default() -> Self {
        Self { connections: 1, delay_min: Duration::from_millis(100), delay_max: Duration::from_secs(10) }
    }
}

impl ConnectionPlan {
    /// The delay after so many failures.
    fn delay(&self, failures: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
        self.delay_min.saturating_mul(1 << doublings.min(30)).min(self.delay_max)
    }
}

/// A port in use.
pub(super) struct Link<P> {
    /// No other link of the node has the same.
    pub(super) number: u32,
    pub(super) port: P,
    /// The login and its tag; none in the full feature phase.
    pub(super) login: Option<(Box<Login>, InitiatorTaskTag)>,
    /// Receiving stopped because the port could not take an answer.
    pub(super) stalled: bool,
    /// Why the port has failed.
    pub(super) failure: Option<PortError>,
}

impl<P: PduPort> Link<P> {
    // RFC 7143 11.12-1: nothing goes before it.
    // RFC 7143 4.2.4-3, 4.2.4-4: the login comes first, and the state for it is never entered again.
    /// A login begins on the port.
    pub(super) fn new(number: u32, mut port: P, begin: impl FnOnce(InitiatorTaskTag) -> Login) -> Self {
        port.set_receive_limits(ReceiveLimits::LOGIN);
        let tag = InitiatorTaskTag(port.reserve(0));
        Self { number, port, login: Some((Box::new(begin(tag)), tag)), stalled: false, failure: None }
    }

    /// No longer segment is sent than the port can, whatever the target takes.
    pub(super) fn bound(&self, outcome: &mut LoginOutcome) {
        let (agreed, port_max) =
            (&mut outcome.parameters.send_segment_bytes_max, self.port.capabilities().send_segment_bytes_max);
        *agreed = (*agreed).min(port_max);
    }

    // RFC 7143 13.1-2: digests protect what follows the login.
    /// The login has gone well.
    pub(super) fn end_login(&mut self, outcome: &LoginOutcome) {
        if let Some((_, tag)) = self.login.take() {
            self.port.release(tag.0);
        }
        let parameters = &outcome.parameters;
        self.port.set_digests(Digests { header: parameters.header_digest, data: parameters.data_digest });
        self.port.set_receive_limits(ReceiveLimits::of_segments(parameters.receive_segment_bytes_max));
    }

    /// Gives the port what there is to send, as far as it takes it. Returns how many PDUs that were.
    pub(super) fn transmit(&mut self, cid: Cid, mut session: Option<&mut Session>) -> usize {
        let mut queued = 0;
        while self.port.can_send() {
            let pdu = match (&mut self.login, &mut session) {
                (Some((login, _)), _) => login.poll_transmit(),
                (None, Some(session)) => session.poll_transmit(cid),
                (None, None) => None,
            };
            let Some(pdu) = pdu else { break };
            self.port.send(pdu.encode());
            queued += 1;
        }
        queued
    }
}

/// What stands in the place of a connection.
pub(super) enum State<P> {
    /// A port, with a login or the session on it.
    Open(Link<P>),
    /// The connection has ended, and the target may still work for it.
    Cleanup,
    /// A port will be wanted.
    Vacant(Instant),
    /// The owner was asked for a port.
    Wanted,
    /// None will come any more.
    Closed,
}

/// A connection of the session, or the place for one.
pub(super) struct Connection<P> {
    pub(super) cid: Cid,
    pub(super) state: State<P>,
    /// Ends since a command has ended on it.
    failures: u32,
    redirects: u8,
}

impl<P> Connection<P> {
    pub(super) fn new(cid: Cid, state: State<P>) -> Self {
        Self { cid, state, failures: 0, redirects: 0 }
    }

    pub(super) fn link(&self) -> Option<&Link<P>> {
        if let State::Open(link) = &self.state { Some(link) } else { None }
    }

    pub(super) fn link_mut(&mut self) -> Option<&mut Link<P>> {
        if let State::Open(link) = &mut self.state { Some(link) } else { None }
    }

    /// Whether PDUs of the session come and go on it.
    pub(super) fn is_full_feature(&self) -> bool {
        self.link().is_some_and(|link| link.login.is_none())
    }

    /// A command has ended on it.
    pub(super) fn handle_success(&mut self) {
        self.failures = 0;
    }

    /// It is gone: another is wanted in its place, the sooner the fewer have failed there.
    pub(super) fn vacate(&mut self, now: Instant, plan: &ConnectionPlan) {
        let due = now.checked_add(plan.delay(self.failures));
        self.failures = self.failures.saturating_add(1);
        self.redirects = 0;
        self.state = due.map_or(State::Closed, State::Vacant);
    }

    /// Its login was sent elsewhere. Whether it may follow.
    #[must_use]
    pub(super) fn follow(&mut self) -> bool {
        self.redirects += 1;
        self.state = State::Wanted;
        self.redirects <= REDIRECTS_MAX
    }

    /// No connection is to come in this place, unless one is open.
    pub(super) fn give_up(&mut self) {
        if !self.is_full_feature() {
            self.state = State::Closed;
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Open(Link { login: Some((login, _)), .. }) => login.poll_timeout(),
            State::Vacant(due) => Some(*due),
            State::Open(_) | State::Cleanup | State::Wanted | State::Closed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_bound_until_a_command_ends() {
        let plan = ConnectionPlan { delay_max: Duration::from_millis(350), ..ConnectionPlan::default() };
        let mut connection = Connection::<()>::new(Cid(1), State::Wanted);
        let now = Instant::now();
        let mut wait = |has_worked| {
            if has_worked {
                connection.handle_success();
            }
            connection.vacate(now, &plan);
            connection.poll_timeout().map(|due| (due - now).as_millis())
        };
        assert_eq!([false; 6].map(&mut wait), [0, 100, 200, 350, 350, 350].map(Some));
        assert_eq!([true, false, false].map(wait), [0, 100, 200].map(Some));
    }

    #[test]
    fn redirects_are_followed_so_far_and_no_further() {
        let mut connection = Connection::<()>::new(Cid(1), State::Wanted);
        assert!((0..REDIRECTS_MAX).all(|_| connection.follow()));
        assert!(!connection.follow());
        connection.vacate(Instant::now(), &ConnectionPlan::default());
        assert!(connection.follow());
    }
}
