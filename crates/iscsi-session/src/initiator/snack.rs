//! What a connection knows to be missing, and the SNACKs that ask for it (RFC 7143 section 11.16).
//!
//! In: what is missing, and what has come. Out: SNACKs, and when to ask again.
//!
//! Invariants: of one task, and of the statuses, one question is open at a time; how long its answer is waited for follows from how long
//! answers take on the connection, and doubles with each round.

use super::connection::Connection;
use super::task::Requests;
use crate::round_trip::RoundTrip;
use iscsi_pdu::{InitiatorTaskTag, LunField, Pdu, Snack, StatSn, TargetTransferTag};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Most statuses that wait for one before them, and most bytes that they carry.
const HELD_MAX: usize = 256;
const HELD_BYTES_MAX: usize = 4 << 20;
/// How often the same is asked for again before the connection is given up.
const ROUNDS_MAX: u32 = 8;

/// What a SNACK is to say; its numbers are those of the moment when it goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The statuses from the first to before the second.
    Status(StatSn, StatSn),
    /// What is missing of a task's Data-In PDUs and R2Ts.
    Data(InitiatorTaskTag),
    /// Nothing: the Data-In PDUs so far have come.
    Acknowledgement(InitiatorTaskTag, LunField, TargetTransferTag),
}

/// A question whose answer is waited for.
#[derive(Debug)]
struct Question {
    wanted: Wanted,
    asked_at: Instant,
    /// When it is asked again.
    due: Option<Instant>,
    rounds: u32,
}

/// What a connection knows to be missing.
#[derive(Debug)]
pub(super) struct Recovery {
    /// Statuses that came too early, in their order.
    pub(super) held: VecDeque<(StatSn, Pdu)>,
    held_bytes: usize,
    /// Statuses before this one have been sent, and there was no room for some.
    dropped: Option<StatSn>,
    /// The statuses before this one are known to be missing, or wait, and were asked for.
    pub(super) asked: Option<StatSn>,
    wanted: VecDeque<Wanted>,
    questions: Vec<Question>,
    round_trip: RoundTrip,
    /// The longest that an answer is waited for.
    timeout_max: Duration,
    /// The last ping that waits for its answer, and when it was asked for.
    ping: Option<(InitiatorTaskTag, Instant)>,
}

impl Recovery {
    /// `timeout_max` is the longest that an answer is waited for.
    pub(super) fn new(timeout_max: Duration) -> Self {
        Self {
            held: VecDeque::new(),
            held_bytes: 0,
            dropped: None,
            asked: None,
            wanted: VecDeque::new(),
            questions: Vec::new(),
            round_trip: RoundTrip::default(),
            timeout_max,
            ping: None,
        }
    }

    /// Lets a status wait. If there is no room, all that come are dropped until none waits, and then asked for in one run. There is
    /// always room for the one that is expected.
    pub(super) fn hold(&mut self, exp_stat_sn: StatSn, stat_sn: StatSn, pdu: Pdu) {
        let bytes = self.held_bytes + data_bytes(&pdu);
        let place = self.held.iter().position(|(other, _)| !other.precedes(stat_sn)).unwrap_or(self.held.len());
        if let Some((_, held)) = self.held.get_mut(place).filter(|(other, _)| *other == stat_sn) {
            // RFC 7143 11.16.3: the last response of a task counts.
            if let Pdu::ScsiResponse(_) = pdu {
                self.held_bytes = bytes - data_bytes(held);
                *held = pdu;
            }
            return;
        }
        let has_room = self.dropped.is_none() && self.held.len() < HELD_MAX && bytes <= HELD_BYTES_MAX;
        if !has_room && stat_sn != exp_stat_sn {
            return self.drop_before(stat_sn.next());
        }
        self.held_bytes = bytes;
        self.held.insert(place, (stat_sn, pdu));
    }

    pub(super) fn pop(&mut self) -> Option<Pdu> {
        let (_, pdu) = self.held.pop_front()?;
        self.held_bytes -= data_bytes(&pdu);
        Some(pdu)
    }

    fn drop_before(&mut self, next: StatSn) {
        self.dropped = Some(self.dropped.map_or(next, |dropped| later(dropped, next)));
    }

    /// The end of the statuses that were dropped, once there is room for them.
    pub(super) fn take_dropped(&mut self) -> Option<StatSn> {
        if self.held.is_empty() { self.dropped.take() } else { None }
    }

    /// The first status of which nothing is known: that it waits, or that it was asked for.
    pub(super) fn unknown_from(&self, exp_stat_sn: StatSn) -> StatSn {
        let after_held = self.held.back().map(|(stat_sn, _)| stat_sn.next());
        after_held.into_iter().chain(self.asked).fold(exp_stat_sn, later)
    }

    /// Asks in one SNACK for all that was not asked for yet, unless there is no room for it.
    pub(super) fn ask_for_statuses(&mut self, now: Instant, begin: StatSn, end: StatSn) {
        if self.dropped.is_some() {
            return self.drop_before(end);
        }
        let unsent = self.wanted.iter().find_map(|wanted| match wanted {
            Wanted::Status(begin, _) => Some(*begin),
            _ => None,
        });
        self.asked = Some(end);
        self.ask(now, Wanted::Status(unsent.unwrap_or(begin), end));
    }

    /// Asks, and again after a time.
    pub(super) fn ask(&mut self, now: Instant, wanted: Wanted) {
        self.expect(now, wanted);
        self.want(wanted);
    }

    /// Waits for what was asked for, and asks again after a time. A question that is open stays so.
    pub(super) fn expect(&mut self, now: Instant, wanted: Wanted) {
        if !self.has_question(wanted) {
            let due = now.checked_add(self.timeout(0));
            self.questions.push(Question { wanted, asked_at: now, due, rounds: 0 });
        }
    }

    /// How long an answer is waited for on this connection that was asked for again so often.
    pub(super) fn timeout(&self, again: u32) -> Duration {
        self.round_trip.timeout(again, self.timeout_max)
    }

    /// When something is to be asked again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.questions.iter().filter_map(|question| question.due).min()
    }

    /// A question that is due counts as asked again now. Returns it, or nothing more of it if it was asked too often.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(Wanted, bool)> {
        let (round_trip, max) = (self.round_trip, self.timeout_max);
        let question = self.questions.iter_mut().find(|question| question.due.is_some_and(|due| due <= now))?;
        question.rounds += 1;
        question.due = now.checked_add(round_trip.timeout(question.rounds, max));
        Some((question.wanted, question.rounds <= ROUNDS_MAX))
    }

    /// Whether answers are waited for.
    pub(super) fn has_questions(&self) -> bool {
        !self.questions.is_empty()
    }

    pub(super) fn has_question(&self, wanted: Wanted) -> bool {
        self.questions.iter().any(|question| question.wanted.is_said_by(&wanted))
    }

    /// Something that was asked for has come. A question that goes on begins anew.
    pub(super) fn answer(&mut self, now: Instant, wanted: Wanted, goes_on: bool) {
        let Some(place) = self.questions.iter().position(|question| question.wanted.is_said_by(&wanted)) else {
            return;
        };
        let question = &mut self.questions[place];
        if question.rounds == 0 {
            self.round_trip.measure(now.saturating_duration_since(question.asked_at));
        }
        if goes_on {
            (question.rounds, question.asked_at) = (0, now);
            question.due = now.checked_add(self.round_trip.timeout(0, self.timeout_max));
        } else {
            self.questions.swap_remove(place);
        }
    }

    /// What was asked for has come and is damaged: it is due to be asked for again.
    pub(super) fn hasten(&mut self, now: Instant, wanted: Wanted) {
        for question in self.questions.iter_mut().filter(|question| question.wanted.is_said_by(&wanted)) {
            question.due = Some(now);
        }
    }

    /// Nobody waits for it any more.
    pub(super) fn drop_question(&mut self, wanted: Wanted) {
        self.questions.retain(|question| !question.wanted.is_said_by(&wanted));
    }

    /// A ping goes out.
    pub(super) fn expect_ping(&mut self, now: Instant, tag: InitiatorTaskTag) {
        self.ping = Some((tag, now));
    }

    /// A ping was answered.
    pub(super) fn hear_ping(&mut self, now: Instant, tag: InitiatorTaskTag) {
        if let Some((_, asked_at)) = self.ping.take_if(|(asked, _)| *asked == tag) {
            self.round_trip.measure(now.saturating_duration_since(asked_at));
        }
    }

    /// Wants the same once only, so that no more waits to be sent than there are tasks.
    pub(super) fn want(&mut self, wanted: Wanted) {
        self.wanted.retain(|other| !other.is_said_by(&wanted));
        self.wanted.push_back(wanted);
    }
}

impl Wanted {
    fn is_said_by(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Status(..), Self::Status(..)) => true,
            (Self::Data(tag), Self::Data(other)) => tag == other,
            (Self::Acknowledgement(tag, ..), Self::Acknowledgement(other, ..)) => tag == other,
            _ => false,
        }
    }
}

impl Connection {
    /// What is missing, at a level that asks for it.
    pub(super) fn recovery(&mut self) -> &mut Recovery {
        self.recovery.as_mut().expect("a connection on which PDUs are taken in their order")
    }

    // RFC 7143 4.2.5.1-5, 7.2.2-4, 11.16.2-3: from the first number that is missing, while it is missing; each connection asks for its own.
    // RFC 7143 11.16.4-2, 11.16.5-1, 11.16.6-1, 11.16.7-1
    /// The next SNACK. What has come in the meantime is not asked for.
    pub(super) fn next_snack(&mut self, requests: &mut Requests) -> Option<Snack> {
        let recovery = self.recovery.as_mut()?;
        while let Some(wanted) = recovery.wanted.pop_front() {
            let snack = match wanted {
                Wanted::Status(begin, end) if self.exp_stat_sn.precedes(end) => {
                    let begin = later(begin, self.exp_stat_sn);
                    Some(Snack::status(begin, begin.distance_to(end).unsigned_abs()))
                }
                Wanted::Status(..) => None,
                Wanted::Data(tag) => {
                    let task = requests.command(self.cid, tag).filter(|task| task.data.is_asked_for());
                    task.map(|task| match task.data.begin_repetition() {
                        Some(snack_tag) => Snack::r_data(tag, snack_tag),
                        // RFC 7143 11.16.7: no RunLength asks for all that was sent since.
                        None => Snack::data_r2t(tag, task.data.next_data_sn(), 0),
                    })
                }
                Wanted::Acknowledgement(tag, lun, transfer_tag) => {
                    let task = requests.command(self.cid, tag);
                    task.map(|task| Snack::data_ack(lun, transfer_tag, task.data.next_data_sn()))
                }
            };
            if let Some(snack) = snack {
                return Some(Snack { exp_stat_sn: self.exp_stat_sn, ..snack });
            }
        }
        None
    }

    /// When what is missing is asked for again.
    pub(super) fn recovery_timeout(&self) -> Option<Instant> {
        self.recovery.as_ref()?.poll_timeout()
    }

    /// The first statuses that are missing: before one that waits, or before the end of what was asked for.
    pub(super) fn missing_statuses(&self) -> Option<Wanted> {
        let recovery = self.recovery.as_ref()?;
        let mut next = self.exp_stat_sn;
        for (held, _) in &recovery.held {
            if next.precedes(*held) {
                return Some(Wanted::Status(next, *held));
            }
            next = held.next();
        }
        recovery.asked.filter(|asked| next.precedes(*asked)).map(|asked| Wanted::Status(next, asked))
    }

    pub(super) fn is_status_missing(&self) -> bool {
        self.missing_statuses().is_some()
    }
}

fn later(one: StatSn, other: StatSn) -> StatSn {
    if one.precedes(other) { other } else { one }
}

fn data_bytes(pdu: &Pdu) -> usize {
    match pdu {
        Pdu::ScsiResponse(pdu) => pdu.data.len(),
        Pdu::DataIn(pdu) => pdu.data.len(),
        Pdu::TextResponse(pdu) => pdu.data.len(),
        Pdu::NopIn(pdu) => pdu.data.len(),
        Pdu::AsyncMessage(pdu) => pdu.data.len(),
        _ => 0,
    }
}
