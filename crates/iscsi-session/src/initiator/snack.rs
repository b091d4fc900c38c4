//! What a connection knows to be missing, and the SNACKs that ask for it (RFC 7143 section 11.16).

use super::connection::Connection;
use super::task::Requests;
use iscsi_pdu::{InitiatorTaskTag, LunField, Pdu, Snack, SnackType, StatSn, TargetTransferTag};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Most statuses that wait for one before them, and most bytes that they carry.
const HELD_MAX: usize = 256;
const HELD_BYTES_MAX: usize = 1 << 20;

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

/// What a connection knows to be missing.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// Statuses that came too early, in their order.
    pub(super) held: VecDeque<(StatSn, Pdu)>,
    held_bytes: usize,
    /// The statuses before this one are known to be missing, or wait, and were asked for.
    pub(super) asked: Option<StatSn>,
    wanted: VecDeque<Wanted>,
    /// When all that is missing was asked for last.
    pub(super) asked_at: Option<Instant>,
    /// How often the statuses from the first that is missing were asked for again.
    rounds: (StatSn, u32),
}

impl Recovery {
    /// Lets a status wait; one for which there is no room will be asked for again.
    pub(super) fn hold(&mut self, stat_sn: StatSn, pdu: Pdu) {
        let bytes = self.held_bytes + data_bytes(&pdu);
        let place = self.held.iter().position(|(other, _)| !other.precedes(stat_sn)).unwrap_or(self.held.len());
        let is_held = self.held.get(place).is_some_and(|(other, _)| *other == stat_sn);
        if !is_held && self.held.len() < HELD_MAX && bytes <= HELD_BYTES_MAX {
            self.held_bytes = bytes;
            self.held.insert(place, (stat_sn, pdu));
        }
    }

    pub(super) fn pop(&mut self) -> Option<Pdu> {
        let (_, pdu) = self.held.pop_front()?;
        self.held_bytes -= data_bytes(&pdu);
        Some(pdu)
    }

    /// The first status of which nothing is known: that it waits, or that it was asked for.
    pub(super) fn unknown_from(&self, exp_stat_sn: StatSn) -> StatSn {
        let after_held = self.held.back().map(|(stat_sn, _)| stat_sn.next());
        after_held.into_iter().chain(self.asked).fold(exp_stat_sn, later)
    }

    /// Asks in one SNACK for all that was not asked for yet.
    pub(super) fn ask_for_statuses(&mut self, now: Instant, begin: StatSn, end: StatSn) {
        let unsent = self.wanted.iter().find_map(|wanted| match wanted {
            Wanted::Status(begin, _) => Some(*begin),
            _ => None,
        });
        self.ask(now, Wanted::Status(unsent.unwrap_or(begin), end));
    }

    /// How often the statuses from this one were asked for again, with this time.
    pub(super) fn ask_again(&mut self, exp_stat_sn: StatSn) -> u32 {
        let (first, rounds) = self.rounds;
        self.rounds = (exp_stat_sn, if first == exp_stat_sn { rounds + 1 } else { 1 });
        self.rounds.1
    }

    pub(super) fn ask(&mut self, now: Instant, wanted: Wanted) {
        self.asked_at.get_or_insert(now);
        self.want(wanted);
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

    /// The next SNACK. What has come in the meantime is not asked for.
    pub(super) fn next_snack(&mut self, requests: &mut Requests) -> Option<Snack> {
        let recovery = self.recovery.as_mut()?;
        while let Some(wanted) = recovery.wanted.pop_front() {
            let snack = Snack { transfer_or_snack_tag: u32::MAX, exp_stat_sn: self.exp_stat_sn, ..Snack::default() };
            let mut next_data_sn = |tag| requests.command(self.cid, tag).map(|task| task.data.next_data_sn());
            match wanted {
                Wanted::Status(begin, end) if self.exp_stat_sn.precedes(end) => {
                    let begin = later(begin, self.exp_stat_sn);
                    let run_length = begin.distance_to(end).unsigned_abs();
                    return Some(Snack { kind: SnackType::Status, begin_run: begin.0, run_length, ..snack });
                }
                Wanted::Status(..) => {}
                Wanted::Data(tag) => {
                    // RFC 7143 11.16.7: no RunLength asks for all that was sent since.
                    if let Some(begin_run) = next_data_sn(tag) {
                        return Some(Snack { initiator_task_tag: Some(tag), begin_run, ..snack });
                    }
                }
                Wanted::Acknowledgement(tag, lun, transfer_tag) => {
                    if let Some(begin_run) = next_data_sn(tag) {
                        let (kind, transfer_or_snack_tag) = (SnackType::DataAck, transfer_tag.0);
                        return Some(Snack { kind, lun, transfer_or_snack_tag, begin_run, ..snack });
                    }
                }
            }
        }
        None
    }

    /// When what is missing is asked for again.
    pub(super) fn recovery_timeout(&self, after: Duration) -> Option<Instant> {
        self.recovery.as_ref()?.asked_at?.checked_add(after)
    }

    pub(super) fn is_status_missing(&self) -> bool {
        let Some(recovery) = &self.recovery else { return false };
        match recovery.held.front() {
            // The next one is there, and waits for its data.
            Some((stat_sn, _)) if *stat_sn == self.exp_stat_sn => false,
            Some(_) => true,
            None => recovery.asked.is_some_and(|asked| self.exp_stat_sn.precedes(asked)),
        }
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
