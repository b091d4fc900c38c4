//! SNACKs: the initiator asks for PDUs again, or acknowledges data (RFC 7143 sections 7.8 and 11.16).
//!
//! In: SNACKs. Out: the PDUs that they ask for, as they were but for ExpCmdSN and MaxCmdSN, or a Reject.
//!
//! Invariant: a run costs one entry in the queue, and its PDUs are made as the connection takes them.

use super::continuation::Allegiance;
use super::event::Event;
use super::retention::Retained;
use super::session::Session;
use super::task::{Stage, Task, TaskId, TaskOutcome};
use super::transmit::Transmission;
use crate::{Answer, IscsiCondition, Violation};
use iscsi_pdu::{DataInStatus, Pdu, R2t, Snack, SnackType, StatSn};

/// Numbers of PDUs that are to be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) begin: u32,
    pub(super) length: u32,
}

impl Run {
    // RFC 7143 11.16-7: neither what was never sent nor what was acknowledged.
    /// The run that BegRun and RunLength mean, when `first` is the first number that was not acknowledged and `next` the one that
    /// was not used yet.
    fn of(pdu: &Snack, first: u32, next: u32) -> Result<Self, Violation> {
        let open = next.wrapping_sub(first);
        if (pdu.begin_run, pdu.run_length) == (0, 0) {
            return Ok(Self { begin: first, length: open });
        }
        // RFC 7143 11.16: nothing that was not sent, or was acknowledged.
        let before = pdu.begin_run.wrapping_sub(first);
        if before >= open || pdu.run_length > open - before {
            return Err(Violation::SnackOutsideRun);
        }
        let length = if pdu.run_length == 0 { open - before } else { pdu.run_length };
        Ok(Self { begin: pdu.begin_run, length })
    }

    fn numbers(self) -> impl Iterator<Item = u32> {
        (0..self.length).map(move |index| self.begin.wrapping_add(index))
    }

    /// What is left after the first number.
    pub(super) fn rest(self) -> Option<Self> {
        (self.length > 1).then(|| Self { begin: self.begin.wrapping_add(1), length: self.length - 1 })
    }
}

impl Session {
    // RFC 7143 7.8-7, 11.16-1: all four types.
    #[cold]
    pub(super) fn handle_snack(&mut self, at: usize, pdu: &Snack) {
        self.acknowledge(at, pdu.exp_stat_sn);
        let done = match pdu.kind {
            _ if !self.recovers() => Err(Violation::SnackNotSupported),
            SnackType::Status => self.repeat_statuses(at, pdu),
            SnackType::DataAck => self.acknowledge_data(at, pdu),
            SnackType::DataR2t => self.repeat_data(at, pdu),
            SnackType::RData => self.cut_anew(at, pdu),
        };
        let Err(violation) = done else { return };
        self.violate(at, violation, pdu.clone().into());
        if let Answer::RejectAndFail(_, condition) = violation.answer()
            && let Ok(id) = self.snacked_task(at, pdu)
        {
            self.fail_read(id, condition);
        }
    }

    // RFC 7143 4.2.5.1-5: on the connection of the task.
    /// The task that a SNACK is about.
    fn snacked_task(&self, at: usize, pdu: &Snack) -> Result<TaskId, Violation> {
        let id = pdu.initiator_task_tag.and_then(|tag| self.tasks.find(tag)).ok_or(Violation::SnackOutsideRun)?;
        // RFC 7143 4.2.5.1: it comes on the connection of the task.
        let is_own = self.tasks.get(id).is_some_and(|task| task.allegiance == Allegiance::To(self.connections[at].cid));
        if is_own { Ok(id) } else { Err(Violation::SnackOutsideRun) }
    }

    fn repeat_statuses(&mut self, at: usize, pdu: &Snack) -> Result<(), Violation> {
        let connection = &self.connections[at];
        let (first, next) = (connection.statuses.first_unacknowledged(), connection.statuses.next());
        let run = Run::of(pdu, first.0, next.0)?;
        if run.numbers().any(|stat_sn| connection.retention.get(StatSn(stat_sn), next).is_none()) {
            return Err(Violation::SnackForgotten);
        }
        self.repeat(at, run, Transmission::Statuses)
    }

    fn repeat_data(&mut self, at: usize, pdu: &Snack) -> Result<(), Violation> {
        let id = self.snacked_task(at, pdu)?;
        let Some(task) = self.tasks.get(id) else { return Ok(()) };
        let acknowledged = task.resumption.as_ref().map_or(0, |resumption| resumption.acknowledged.0);
        let run = Run::of(pdu, if task.write { 0 } else { acknowledged }, task.input_sn())?;
        let everything = (pdu.begin_run, pdu.run_length) == (0, 0);
        // What an R2T asked for and has come is acknowledged by that.
        if !everything && run.numbers().any(|number| number < task.r2t_count && !task.receive.is_missing(number)) {
            return Err(Violation::SnackOutsideRun);
        }
        let burst_bytes = self.parameters.burst_bytes_max;
        let is_gone = |number| number >= task.r2t_count && task.piece(number, burst_bytes).is_none();
        if run.numbers().any(is_gone) {
            return Err(Violation::SnackForgotten);
        }
        self.repeat(at, run, |run| Transmission::Data(id, run))
    }

    fn repeat(&mut self, at: usize, run: Run, what: impl FnOnce(Run) -> Transmission) -> Result<(), Violation> {
        if run.length > 0 && !self.connections[at].transmit.push_again(what(run)) {
            return Err(Violation::TooManyErrors);
        }
        Ok(())
    }

    /// RFC 7143 11.16.2: what the initiator has received need not be kept.
    fn acknowledge_data(&mut self, at: usize, pdu: &Snack) -> Result<(), Violation> {
        let burst_bytes = self.parameters.burst_bytes_max;
        let cid = self.connections[at].cid;
        let task = self.tasks.at_mut(pdu.transfer_or_snack_tag);
        let task = task
            .filter(|task| task.allegiance == Allegiance::To(cid) && task.lun == pdu.lun)
            .ok_or(Violation::InvalidDataAck)?;
        let next = task.input_sn();
        let offset = task.piece(pdu.begin_run, burst_bytes).map(|(offset, _)| offset);
        let all = task.sent;
        let resumption = task.resumption.as_mut().ok_or(Violation::InvalidDataAck)?;
        if !(resumption.acknowledged.0..=next).contains(&pdu.begin_run) || pdu.run_length != 0 {
            return Err(Violation::InvalidDataAck);
        }
        let offset = if pdu.begin_run == next { Some(all) } else { offset };
        if let Some(offset) = offset {
            resumption.acknowledged = (pdu.begin_run, offset);
        }
        Ok(())
    }

    // RFC 7143 11.16.3-2: the response will name it.
    /// RFC 7143 11.16.3: the data that was not acknowledged is sent again, in segments as they are now, and then the status.
    fn cut_anew(&mut self, at: usize, pdu: &Snack) -> Result<(), Violation> {
        let id = self.snacked_task(at, pdu)?;
        let tag = pdu.transfer_or_snack_tag;
        if pdu.begin_run != 0 || pdu.run_length != 0 || matches!(tag, 0 | u32::MAX) {
            return Err(Violation::SnackOutsideRun);
        }
        let task = self.tasks.get(id).filter(|task| task.resumption.is_some()).ok_or(Violation::SnackOutsideRun)?;
        if task.outcome().is_some_and(|outcome| outcome.data_in.len() < task.sent as usize) {
            return Err(Violation::SnackForgotten);
        }
        self.rewind(at, id);
        if let Some(resumption) = self.tasks.get_mut(id).and_then(|task| task.resumption.as_mut()) {
            resumption.snack_tag = tag;
        }
        Ok(())
    }

    /// A task sends its data again from the first that was not acknowledged, and then its status.
    fn rewind(&mut self, at: usize, id: TaskId) {
        let segment_bytes = self.connections[at].segment_bytes();
        let Some(task) = self.tasks.get_mut(id) else { return };
        let Some(resumption) = &mut task.resumption else { return };
        let (data_sn, offset) = resumption.acknowledged;
        resumption.restart(segment_bytes);
        task.data_in_count = data_sn - task.r2t_count;
        let again = (task.sent - offset) as usize;
        task.sent = offset;
        let transmit = &mut self.connections[at].transmit;
        match &mut task.stage {
            // It is in the queue.
            Stage::Sending(_) => transmit.data_in_bytes += again,
            Stage::Sent(outcome) => {
                let outcome = std::mem::take(outcome);
                self.retained_bytes -= outcome.data_in.len();
                transmit.data_in_bytes += outcome.data_in.len() - offset as usize;
                task.stage = Stage::Sending(outcome);
                transmit.push_first(id);
            }
            _ => {}
        }
    }

    // RFC 7143 7.8-8: with SNACK rejected.
    /// RFC 7143 7.8 a.1: a task whose data cannot be sent again ends, if its status has not left.
    fn fail_read(&mut self, id: TaskId, condition: IscsiCondition) {
        let Some(task) = self.tasks.get(id) else { return };
        let (unsent, place) = (task.unsent(), self.place_of(task));
        let Some(task) = self.tasks.get_mut(id).filter(|task| !task.has_left()) else { return };
        match &mut task.stage {
            Stage::Settling(outcome) | Stage::Sending(outcome) => {
                *outcome = TaskOutcome { data_in_length: outcome.data_in_length, ..TaskOutcome::failed(condition) };
                task.sent = 0;
                if let Some(at) = place {
                    self.connections[at].transmit.data_in_bytes -= unsent;
                }
            }
            Stage::Active => {
                task.receive.discard();
                self.events.push_back(Event::Aborted { task: id });
                self.settle(id, TaskOutcome::failed(condition));
            }
            Stage::Held | Stage::Sent(_) => {}
        }
    }

    /// A PDU of a repetition leaves; the rest of it follows.
    fn go_on_repeating(&mut self, at: usize, rest: Option<Transmission>) {
        let connection = &mut self.connections[at];
        match rest {
            Some(rest) => connection.transmit.push_rest(rest),
            None => connection.transmit.answer_left(),
        }
        // What it brings may let the initiator acknowledge more.
        connection.timers.forget_asking();
    }

    // RFC 7143 11.16-4, 11.16-5, 11.16-6: as it was, but for the numbers of the moment.
    /// The first PDU of a run of Data-In PDUs and R2Ts.
    #[cold]
    pub(super) fn send_data_again(&mut self, at: usize, id: TaskId, run: Run) -> Option<Pdu> {
        self.go_on_repeating(at, run.rest().map(|rest| Transmission::Data(id, rest)));
        let burst_bytes = self.parameters.burst_bytes_max;
        let stat_sn = self.connections[at].statuses.next();
        let task = self.tasks.get_mut(id)?;
        let mut pdu = if run.begin < task.r2t_count {
            r2t_again(task, run.begin, stat_sn)?
        } else {
            data_in_again(task, id, run.begin, burst_bytes)?
        };
        self.renumber(&mut pdu);
        Some(pdu)
    }

    // RFC 7143 11.16-2: as they were.
    /// The first PDU of a run of statuses.
    #[cold]
    pub(super) fn send_statuses_again(&mut self, at: usize, run: Run) -> Option<Pdu> {
        self.go_on_repeating(at, run.rest().map(Transmission::Statuses));
        let next = self.connections[at].statuses.next();
        let mut pdu = match self.connections[at].retention.get(StatSn(run.begin), next)? {
            Retained::Pdu(pdu) => Pdu::clone(pdu),
            Retained::Task(id) => {
                // RFC 7143 11.16.3: where its data goes again, it comes behind that.
                let task = self.tasks.get(*id).filter(|task| matches!(task.stage, Stage::Sent(_)))?;
                let resumption = task.resumption.as_ref()?;
                if resumption.collapsed {
                    data_in_again(task, *id, task.input_sn().wrapping_sub(1), self.parameters.burst_bytes_max)?
                } else {
                    task.response(resumption.stat_sn?)?.into()
                }
            }
        };
        self.renumber(&mut pdu);
        Some(pdu)
    }
}

fn r2t_again(task: &mut Task, r2t_sn: u32, stat_sn: StatSn) -> Option<Pdu> {
    let (target_transfer_tag, buffer_offset, desired_data_transfer_length) = task.receive.repeat_r2t(r2t_sn)?;
    let r2t = R2t {
        lun: task.lun,
        initiator_task_tag: task.initiator_task_tag,
        target_transfer_tag,
        stat_sn,
        r2t_sn,
        buffer_offset,
        desired_data_transfer_length,
        ..R2t::default()
    };
    Some(r2t.into())
}

fn data_in_again(task: &Task, id: TaskId, data_sn: u32, burst_bytes: u32) -> Option<Pdu> {
    let (offset, length) = task.piece(data_sn, burst_bytes)?;
    let (outcome, resumption) = (task.outcome()?, task.resumption.as_ref()?);
    let end = offset + length;
    let data = outcome.data_in.slice(offset as usize..end as usize);
    let mut data_in = task.data_in(id, data_sn, offset, data, burst_bytes);
    if let (true, true, Some(stat_sn)) =
        (resumption.collapsed, end as usize == outcome.data_in.len(), resumption.stat_sn)
    {
        data_in.status = Some(DataInStatus { status: outcome.status, stat_sn, residual: task.residuals(outcome).0 });
    }
    Some(data_in.into())
}
