//! Recovery within a connection, from error recovery level 1: what was lost is found by its number and asked for again (RFC 7143
//! sections 7.1.4, 7.8, 7.9 and 11.16).
//!
//! ```text
//!  status   expected ──> taken, and with it those that wait     ahead ──> waits, Status SNACK     before ──> discarded
//!  data     expected ──> taken                                  ahead ──> Data SNACK for all from the one that is missing
//!  status of a task whose data is incomplete ──> waits, unacknowledged, until the data has come
//! ```
//!
//! Data that is ahead is not kept: the target sends everything from the missing piece again. So data is handed out in order, and
//! nothing but statuses waits, of which a bounded number does; the others are asked for again.

use super::Session;
use super::snack::Wanted;
use super::task::{Entry, Request};
use crate::{CloseReason, Violation};
use bytes::Bytes;
use iscsi_pdu::{Cid, CmdSn, DataIn, Frame, Header, InitiatorTaskTag, Pdu, SnackType, StatSn};
use std::time::{Duration, Instant};

/// How far ahead of the one that is expected a status may be.
const AHEAD_MAX: i32 = 1 << 16;

/// When the target is asked whether it has got the command that it expects next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    pub(super) due: Option<Instant>,
    again: u32,
}

/// What was missing before a PDU came.
struct Before {
    exp_stat_sn: StatSn,
    /// A task whose data was asked for, and the number that was missing.
    task: Option<(InitiatorTaskTag, u32)>,
}

impl Session {
    /// Takes PDUs with a StatSN in its order, and others at once.
    #[inline(never)]
    pub(super) fn receive_in_order(&mut self, now: Instant, cid: Cid, pdu: Pdu) -> Result<(), Violation> {
        let exp_cmd_sn = self.numbering.exp_cmd_sn();
        let before = self.missing_before(cid, &pdu);
        match numbers(&pdu) {
            Numbers::Status(stat_sn) => self.receive_status(now, cid, stat_sn, pdu)?,
            Numbers::Next(stat_sn) => {
                self.take_in_order(now, cid, pdu)?;
                self.find_missing_status(now, cid, stat_sn)?;
            }
            Numbers::None => self.take_in_order(now, cid, pdu)?,
        }
        self.release(now, cid)?;
        if let Some(before) = before {
            self.note_answers(now, cid, &before);
        }
        if exp_cmd_sn != self.numbering.exp_cmd_sn() {
            self.probe = None;
            if self.numbering.has_unacknowledged() {
                self.expect_acknowledgement(now, cid);
            }
        }
        Ok(())
    }

    /// A command waits for its acknowledgement.
    pub(super) fn expect_acknowledgement(&mut self, now: Instant, cid: Cid) {
        if self.probe.is_none() {
            self.probe = Some(Probe { due: now.checked_add(self.timeout(cid, 0)), again: 0 });
        }
    }

    // RFC 7143 7.1.3: a NOP-Out probes the numbers of the target.
    /// A command was not acknowledged in time.
    pub(super) fn handle_probe_due(&mut self, now: Instant) {
        let Some(Probe { again, .. }) = self.probe else { return };
        let cid = self.connection_of_expected();
        let timeout = cid.map_or(self.config.ping_timeout, |cid| self.timeout(cid, again + 1));
        self.probe = Some(Probe { due: now.checked_add(timeout), again: again + 1 });
        if let Some(cid) = cid {
            self.want_ping(cid);
        }
    }

    /// How long an answer is waited for on a connection.
    fn timeout(&self, cid: Cid, again: u32) -> Duration {
        let recovery = self.connections.get(cid).and_then(|connection| connection.recovery.as_ref());
        recovery.map_or(self.config.ping_timeout, |recovery| recovery.timeout(again))
    }

    fn missing_before(&mut self, cid: Cid, pdu: &Pdu) -> Option<Before> {
        let connection = self.connections.get(cid)?;
        let recovery = connection.recovery.as_ref().filter(|recovery| recovery.has_questions())?;
        let exp_stat_sn = connection.exp_stat_sn;
        let tag = match pdu {
            Pdu::DataIn(pdu) => Some(pdu.initiator_task_tag),
            Pdu::R2t(pdu) => Some(pdu.initiator_task_tag),
            _ => None,
        };
        let tag = tag.filter(|tag| recovery.has_question(Wanted::Data(*tag)));
        let task = tag.and_then(|tag| Some((tag, self.requests.command(cid, tag)?.data.next_data_sn())));
        Some(Before { exp_stat_sn, task })
    }

    /// What has come of what was asked for.
    fn note_answers(&mut self, now: Instant, cid: Cid, before: &Before) {
        let Some(connection) = self.connections.get_mut(cid) else { return };
        let is_status_missing = connection.is_status_missing();
        let exp_stat_sn = connection.exp_stat_sn;
        let Some(recovery) = &mut connection.recovery else { return };
        if exp_stat_sn != before.exp_stat_sn {
            recovery.answer(now, Wanted::Status(exp_stat_sn, exp_stat_sn), is_status_missing);
        }
        if let Some((tag, data_sn)) = before.task {
            let data = self.requests.command(cid, tag).map(|task| &task.data);
            if data.is_none_or(|data| data.next_data_sn() != data_sn) {
                recovery.answer(now, Wanted::Data(tag), data.is_some_and(|data| data.is_asked_for()));
            }
        }
    }

    #[inline(never)]
    fn take_in_order(&mut self, now: Instant, cid: Cid, pdu: Pdu) -> Result<(), Violation> {
        self.dispatch(now, cid, pdu)
    }

    fn receive_status(&mut self, now: Instant, cid: Cid, stat_sn: StatSn, pdu: Pdu) -> Result<(), Violation> {
        let ahead = self.connections.known(cid).exp_stat_sn.distance_to(stat_sn);
        // What was rejected may be what this Reject would wait for.
        if ahead >= 0
            && let Pdu::Reject(pdu) = &pdu
        {
            self.handle_rejected_snack(now, cid, pdu.rejected);
            self.release(now, cid)?;
        }
        let Some(connection) = self.connections.get(cid).filter(|connection| connection.recovery.is_some()) else {
            return Ok(());
        };
        let ahead = connection.exp_stat_sn.distance_to(stat_sn);
        if ahead == 0 && self.is_complete(now, cid, &pdu)? {
            return self.take_in_order(now, cid, pdu);
        }
        // RFC 7143 11.4.9: what is sent again carries the number that it had.
        if ahead < 0 {
            return Ok(());
        }
        self.find_missing_status(now, cid, stat_sn)?;
        let connection = self.connections.known(cid);
        let exp_stat_sn = connection.exp_stat_sn;
        connection.recovery().hold(exp_stat_sn, stat_sn, pdu);
        Ok(())
    }

    /// Takes the statuses that are next, as long as there is one.
    fn release(&mut self, now: Instant, cid: Cid) -> Result<(), Violation> {
        while let Some(connection) = self.connections.get_mut(cid)
            && let Some(recovery) = &mut connection.recovery
            && let Some((stat_sn, _)) = recovery.held.front()
        {
            let stat_sn = *stat_sn;
            let ahead = connection.exp_stat_sn.distance_to(stat_sn);
            if ahead > 0 {
                return Ok(());
            }
            let Some(pdu) = recovery.pop() else { return Ok(()) };
            if ahead == 0 && self.is_complete(now, cid, &pdu)? {
                self.take_in_order(now, cid, pdu)?;
            } else if ahead == 0 {
                self.connections.known(cid).recovery().hold(stat_sn, stat_sn, pdu);
                return Ok(());
            }
        }
        let Some(connection) = self.connections.get_mut(cid) else { return Ok(()) };
        let Some(dropped) = connection.recovery.as_mut().and_then(|recovery| recovery.take_dropped()) else {
            return Ok(());
        };
        let exp_stat_sn = connection.exp_stat_sn;
        if exp_stat_sn.precedes(dropped) {
            connection.recovery().ask_for_statuses(now, exp_stat_sn, dropped);
        }
        Ok(())
    }

    // RFC 7143 4.2.2.2-1, 4.2.2.2-2, 7.9-3: up to a bound.
    /// Asks for the statuses before `next`, if some have not come and were not asked for.
    fn find_missing_status(&mut self, now: Instant, cid: Cid, next: StatSn) -> Result<(), Violation> {
        let Some(connection) = self.connections.get_mut(cid) else { return Ok(()) };
        let exp_stat_sn = connection.exp_stat_sn;
        let Some(recovery) = &mut connection.recovery else { return Ok(()) };
        if exp_stat_sn.distance_to(next) > AHEAD_MAX {
            // RFC 7143 4.2.2.2: so many statuses are not lost one by one.
            return Err(Violation::StatSnOutOfOrder);
        }
        recovery.asked = recovery.asked.filter(|asked| exp_stat_sn.precedes(*asked));
        let begin = recovery.unknown_from(exp_stat_sn);
        if begin.precedes(next) {
            recovery.ask_for_statuses(now, begin, next);
        }
        Ok(())
    }

    // RFC 7143 7.9-4, 11.7.2-6, 11.16.1-1: the status waits, and with it those behind it.
    /// Whether a PDU that ends a task comes after all of the task's data; otherwise the data is asked for.
    ///
    /// RFC 7143 7.9: the status may not be acknowledged before. RFC 7143 11.4.4: one of before an R-Data SNACK is none.
    fn is_complete(&mut self, now: Instant, cid: Cid, pdu: &Pdu) -> Result<bool, Violation> {
        let tag = tag_of(pdu);
        let Some(task) = self.requests.command(cid, tag) else { return Ok(true) };
        let (has_all, snack_tag) = match pdu {
            Pdu::ScsiResponse(pdu) => (task.data.has_all_of(pdu), pdu.snack_tag),
            Pdu::DataIn(pdu) => (pdu.status.is_none_or(|status| task.data.has_all_before(pdu, &status)), 0),
            _ => return Ok(true),
        };
        let is_own = task.data.is_ended_by(snack_tag);
        if has_all && is_own || task.data.is_given_up() {
            return Ok(true);
        }
        if is_own {
            self.ask_for_data(now, cid, tag)?;
        } else if task.data.await_status() {
            self.connections.known(cid).recovery().expect(now, Wanted::Data(tag));
        }
        Ok(false)
    }

    // RFC 7143 7.9-1: at level 0 the session ends.
    /// A Data-In or R2T of a task is missing.
    pub(super) fn ask_for_data(&mut self, now: Instant, cid: Cid, tag: InitiatorTaskTag) -> Result<(), Violation> {
        let Some(recovery) = &mut self.connections.known(cid).recovery else {
            return Err(Violation::DataSnOutOfOrder);
        };
        if self.requests.command(cid, tag).is_some_and(|task| task.data.begin_asking()) {
            recovery.ask(now, Wanted::Data(tag));
        }
        Ok(())
    }

    // RFC 7143 11.7.2-3, 11.7.2-4, 11.7.2-5, 11.16.2-1, 11.16.2-2: once nothing before it is missing.
    /// A Data-In has come whose A bit asks for an acknowledgement.
    ///
    /// RFC 7143 11.7.2: with a status the next ExpStatSN says it, and at level 0 the bit means nothing.
    pub(super) fn acknowledge_data(&mut self, cid: Cid, pdu: &DataIn) -> Result<(), Violation> {
        if pdu.acknowledge && pdu.status.is_none() && self.recovery_level > 0 {
            let transfer_tag = pdu.target_transfer_tag.ok_or(Violation::AcknowledgeWithoutTag)?;
            let recovery = self.connections.known(cid).recovery();
            recovery.want(Wanted::Acknowledgement(pdu.initiator_task_tag, pdu.lun, transfer_tag));
        }
        Ok(())
    }

    /// Whether a Data-In or R2T that was asked for again has come after the end of its task, whose tag may name another one now.
    ///
    /// RFC 7143 11.16: it carries the ExpCmdSN of the moment, which does not count a command that the target has not received.
    pub(super) fn is_stale(&mut self, cid: Cid, tag: InitiatorTaskTag, exp_cmd_sn: CmdSn) -> bool {
        self.recovery_level > 0
            && match self.requests.sent(cid, tag) {
                Some(Entry { request: Request::Command(_), cmd_sn, .. }) => !cmd_sn.precedes(exp_cmd_sn),
                _ => true,
            }
    }

    // RFC 7143 7.8-5, 7.8-6, 7.8-10, 7.8-11, 7.8-12: nothing of it counts but what it was.
    /// A PDU was discarded since its data digest does not match (RFC 7143 section 7.8).
    pub(super) fn handle_bad_digest(&mut self, now: Instant, cid: Cid, header: Header) -> Result<(), Violation> {
        match Pdu::decode(Frame::new(header, Box::default(), Bytes::new())) {
            Ok(Pdu::DataIn(pdu)) if self.is_stale(cid, pdu.initiator_task_tag, pdu.exp_cmd_sn) => Ok(()),
            Ok(Pdu::DataIn(pdu)) => {
                let tag = pdu.initiator_task_tag;
                let Some(task) = self.requests.command(cid, tag) else { return Ok(()) };
                let next_data_sn = task.data.next_data_sn();
                if pdu.data_sn == next_data_sn && task.data.is_asked_for() {
                    self.connections.known(cid).recovery().hasten(now, Wanted::Data(tag));
                }
                if pdu.data_sn < next_data_sn { Ok(()) } else { self.ask_for_data(now, cid, tag) }
            }
            Ok(Pdu::R2t(_)) => Ok(()),
            Ok(Pdu::NopIn(pdu)) if pdu.initiator_task_tag.is_none() => Ok(()),
            // Of a status, not even the number counts: it is the next after those that have come.
            _ => {
                let connection = self.connections.known(cid);
                // It may be one that was asked for and has come damaged again: that is asked for again when its time is over.
                if connection.is_status_missing() {
                    return Ok(());
                }
                let exp_stat_sn = connection.exp_stat_sn;
                let lost = connection.recovery().unknown_from(exp_stat_sn);
                self.find_missing_status(now, cid, lost.next())
            }
        }
    }

    // RFC 7143 7.1.4.1-1: what a gap has shown alone; silence is left to the target.
    /// What is missing has not come in time: it is asked for again, but not for ever.
    pub(super) fn handle_recovery_timeout(&mut self, now: Instant, cid: Cid) {
        while let Some(connection) = self.connections.get_mut(cid)
            && let Some(recovery) = &mut connection.recovery
            && let Some((wanted, may_ask)) = recovery.take_due(now)
        {
            let again = self.still_wanted(cid, wanted);
            let recovery = self.connections.known(cid).recovery();
            match again {
                None => recovery.drop_question(wanted),
                Some(_) if !may_ask => return self.lose_incomplete(now, cid),
                Some(again) => recovery.want(again),
            }
        }
    }

    /// What is to be asked again of something that was asked for, if it is still missing.
    fn still_wanted(&mut self, cid: Cid, wanted: Wanted) -> Option<Wanted> {
        match wanted {
            Wanted::Status(..) => self.connections.known(cid).missing_statuses(),
            Wanted::Data(tag) => {
                self.requests.command(cid, tag).filter(|task| task.data.is_asked_for()).map(|_| wanted)
            }
            Wanted::Acknowledgement(..) => None,
        }
    }

    /// A connection on which what is missing does not come.
    fn lose_incomplete(&mut self, now: Instant, cid: Cid) {
        self.lose(now, cid, CloseReason::NotRecovered, self.default_retention());
    }

    // RFC 7143 7.8-9: the task waits for its status.
    /// The target does not send again what a SNACK asked for. Whether it may be so is the target's choice (RFC 7143 section 7.8).
    fn handle_rejected_snack(&mut self, now: Instant, cid: Cid, header: Header) {
        let Ok(Pdu::Snack(snack)) = Pdu::decode(Frame::new(header, Box::default(), Bytes::new())) else { return };
        match (snack.kind, snack.initiator_task_tag) {
            (SnackType::DataR2t | SnackType::RData, Some(tag)) => {
                if let Some(task) = self.requests.command(cid, tag) {
                    task.data.give_up();
                }
            }
            (SnackType::Status, _) if self.connections.known(cid).is_status_missing() => {
                self.lose_incomplete(now, cid);
            }
            _ => {}
        }
    }
}

/// What a PDU says of StatSN.
enum Numbers {
    /// It has this number.
    Status(StatSn),
    /// The next PDU that has one will have this.
    Next(StatSn),
    None,
}

fn numbers(pdu: &Pdu) -> Numbers {
    match pdu {
        Pdu::ScsiResponse(pdu) => Numbers::Status(pdu.stat_sn),
        Pdu::TaskManagementResponse(pdu) => Numbers::Status(pdu.stat_sn),
        Pdu::TextResponse(pdu) => Numbers::Status(pdu.stat_sn),
        Pdu::LogoutResponse(pdu) => Numbers::Status(pdu.stat_sn),
        Pdu::AsyncMessage(pdu) => Numbers::Status(pdu.stat_sn),
        Pdu::Reject(pdu) => Numbers::Status(pdu.stat_sn),
        Pdu::NopIn(pdu) if pdu.initiator_task_tag.is_some() => Numbers::Status(pdu.stat_sn),
        Pdu::NopIn(pdu) => Numbers::Next(pdu.stat_sn),
        Pdu::R2t(pdu) => Numbers::Next(pdu.stat_sn),
        Pdu::DataIn(DataIn { status: Some(status), .. }) => Numbers::Status(status.stat_sn),
        _ => Numbers::None,
    }
}

/// The task that a PDU ends, if it is a SCSI command's.
fn tag_of(pdu: &Pdu) -> InitiatorTaskTag {
    match pdu {
        Pdu::ScsiResponse(pdu) => pdu.initiator_task_tag,
        Pdu::DataIn(pdu) => pdu.initiator_task_tag,
        _ => InitiatorTaskTag(u32::MAX),
    }
}
