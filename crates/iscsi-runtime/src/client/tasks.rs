//! What was asked of a target and has not ended: through one session, or several that follow each other.
//!
//! In: requests, and how each ended in its session. Out: how it ended for whoever asked, or the same command again in the next session.
//!
//! Where commands may be given again, two that touch the same blocks, and of which one writes, are never under way at a time: the
//! second waits for the end of the first. So those that are given again may come in any order, and none comes after one that was
//! carried out since it was given first. The rules stand in `docs/decisions.md`.

use super::footprint::{Footprint, Repeat};
use iscsi_node::initiator::{Completion, InitiatorNode, Outcome, Request};
use iscsi_pdu::RejectReason;
use iscsi_transport::PduPort;
use scsi_block::sense::{AdditionalSense, Sense, SenseKey};
use scsi_block::{LogicalUnitNumber, Status};
use slab::Slab;
use std::collections::VecDeque;
use std::time::Instant;

/// High byte of the additional sense codes that tell of a power on, a reset or the loss of the nexus (SPC-5 annex F).
const RESET: u16 = 0x29;

/// PROTOCOL SERVICE CRC ERROR: a digest has not matched (RFC 7143 section 11.4.7.2).
const CRC_ERROR: AdditionalSense = AdditionalSense::from_code(0x4705);

struct Task {
    /// The asker's name for it.
    token: u64,
    /// What it takes to give it again; none for what never is.
    kept: Option<Kept>,
}

struct Kept {
    request: Request,
    footprint: Footprint,
    /// Which of all commands it was.
    serial: u64,
    times_given: u32,
}

/// Requests under way, by the name that the node has for each.
pub(super) struct Tasks {
    /// Times that one command may be given again; with none, no command is kept.
    repeats_max: Option<u32>,
    open: Slab<Task>,
    /// Commands among them that are to be given again.
    again: VecDeque<usize>,
    serial: u64,
    sessions: u64,
    /// Units that have told this session of their reset.
    told: Vec<LogicalUnitNumber>,
    /// Connections that this session has lost.
    losses: usize,
    /// Units that have told of commands that were cleared with one of them, once for each time.
    cleared: Vec<LogicalUnitNumber>,
    /// Units that keep something for the nexus: it is lost with the session, which nobody may overlook.
    bound: Vec<LogicalUnitNumber>,
    has_worked: bool,
}

impl Tasks {
    pub(super) fn new(repeats_max: Option<u32>) -> Self {
        Self {
            repeats_max,
            open: Slab::new(),
            again: VecDeque::new(),
            serial: 0,
            sessions: 0,
            told: Vec::new(),
            losses: 0,
            cleared: Vec::new(),
            bound: Vec::new(),
            has_worked: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether nothing is under way in the session.
    pub(super) fn are_at_rest(&self) -> bool {
        self.open.len() == self.again.len()
    }

    /// Whether a command has ended in the session.
    pub(super) fn have_worked(&self) -> bool {
        self.has_worked
    }

    /// Begins a request that is not kept; returns the node's name for it.
    pub(super) fn insert(&mut self, token: u64) -> u64 {
        self.open.insert(Task { token, kept: None }) as u64
    }

    /// The node's name for what the asker calls `token`.
    pub(super) fn find(&self, token: u64) -> Option<u64> {
        self.open.iter().find(|(_, task)| task.token == token).map(|(key, _)| key as u64)
    }

    /// Gives a command to the node.
    ///
    /// # Errors
    /// The command, if the target has no room for it, or it has to wait for another.
    pub(super) fn submit<P: PduPort>(
        &mut self,
        now: Instant,
        node: &mut InitiatorNode<P>,
        token: u64,
        request: Request,
    ) -> Result<(), Request> {
        let kept = match self.repeats_max {
            None => None,
            Some(_) if node.window() == 0 || !self.again.is_empty() => return Err(request),
            Some(_) => match self.keep(&request) {
                None => return Err(request),
                kept => kept,
            },
        };
        let entry = self.open.vacant_entry();
        node.submit(now, entry.key() as u64, request)?;
        entry.insert(Task { token, kept });
        Ok(())
    }

    /// None if the command has to wait for another.
    fn keep(&mut self, request: &Request) -> Option<Kept> {
        let footprint = Footprint::of(request);
        let kept = self.open.iter().filter_map(|(_, task)| task.kept.as_ref());
        if kept.into_iter().any(|other| other.footprint.overlaps(&footprint)) {
            return None;
        }
        if footprint.repeat == Repeat::OfNexus && !self.bound.contains(&footprint.lun) {
            self.bound.push(footprint.lun);
        }
        self.serial += 1;
        Some(Kept { request: request.clone(), footprint, serial: self.serial, times_given: 1 })
    }

    /// A session has begun.
    pub(super) fn begin_session(&mut self) {
        self.sessions += 1;
        self.told.clear();
        self.losses = 0;
        self.cleared.clear();
        self.has_worked = false;
        let serial = |key: &usize| self.open[*key].kept.as_ref().map(|kept| kept.serial);
        self.again.make_contiguous().sort_unstable_by_key(serial);
    }

    /// The session has lost a connection, and goes on.
    pub(super) fn handle_connection_closed(&mut self) {
        self.losses += 1;
    }

    /// Gives commands again, first those that were given first, as far as the target has room.
    pub(super) fn give_again<P: PduPort>(&mut self, now: Instant, node: &mut InitiatorNode<P>) {
        while let Some(&key) = self.again.front() {
            let kept = self.open[key].kept.as_mut().expect("only what is kept is to be given again");
            if node.window() == 0 || node.submit(now, key as u64, kept.request.clone()).is_err() {
                return;
            }
            kept.times_given += 1;
            self.again.pop_front();
        }
    }

    /// A request has ended in its session. Returns the asker's name for it and how it has ended, unless it goes on.
    pub(super) fn handle_end(&mut self, name: u64, outcome: Outcome) -> Option<(u64, Outcome)> {
        let key = name as usize;
        if self.open[key].kept.is_some() && self.goes_on(key, &outcome) {
            self.again.push_back(key);
            return None;
        }
        self.has_worked |= !matches!(outcome, Outcome::Lost);
        Some((self.open.remove(key).token, outcome))
    }

    /// There will be no session any more: ends what is left, and says of what.
    pub(super) fn give_up(mut self) -> impl Iterator<Item = u64> {
        std::mem::take(&mut self.open).into_iter().map(|(_, task)| task.token)
    }

    /// Whether a command that has ended in its session has not ended for whoever gave it.
    fn goes_on(&mut self, key: usize, outcome: &Outcome) -> bool {
        let (Some(kept), Some(repeats_max)) = (&self.open[key].kept, self.repeats_max) else { return false };
        let lun = kept.footprint.lun;
        let is_bound = self.bound.contains(&lun);
        let may_be_repeated = kept.times_given <= repeats_max;
        match outcome {
            Outcome::Lost => may_be_repeated && kept.footprint.repeat == Repeat::Safe && !is_bound,
            // RFC 7143 section 7.8: the command has not come as it was sent, and was not begun.
            Outcome::Rejected(RejectReason::DataDigestError) => may_be_repeated,
            Outcome::Command(completion) => match unit_says(completion) {
                // RFC 7143 section 7.8: data of the command has not come as it was sent; the target has ended the command.
                Some((SenseKey::AbortedCommand, CRC_ERROR)) => may_be_repeated && kept.footprint.repeat == Repeat::Safe,
                // It was not carried out: the unit had to tell first what came with the new session.
                Some((SenseKey::UnitAttention, code)) if self.sessions > 1 && comes_with_a_session(code) => {
                    let is_expected = !is_bound && !self.told.contains(&lun);
                    self.told.extend(is_expected.then_some(lun));
                    is_expected
                }
                // RFC 7143 section 11.14.5: nor was this, and the commands that were cleared with a connection are known.
                Some((SenseKey::UnitAttention, AdditionalSense::SOME_COMMANDS_CLEARED_BY_ISCSI_PROTOCOL_EVENT)) => {
                    let is_expected = self.cleared.iter().filter(|cleared| **cleared == lun).count() < self.losses;
                    self.cleared.extend(is_expected.then_some(lun));
                    is_expected
                }
                _ => false,
            },
            _ => false,
        }
    }
}

/// The sense of a command that has failed.
fn unit_says(completion: &Completion) -> Option<(SenseKey, AdditionalSense)> {
    let has_failed = completion.status == Status::CheckCondition.code();
    let sense = has_failed.then(|| Sense::decode(&completion.sense).ok()).flatten();
    sense.map(|sense| (sense.key, sense.additional))
}

/// Whether a unit attention tells of what a new session may bring with it: a reset or the loss of the nexus. A power cut is another
/// matter: it may have taken data that was acknowledged and not flushed.
fn comes_with_a_session(code: AdditionalSense) -> bool {
    code.code() >> 8 == RESET && code != AdditionalSense::POWER_ON
}
