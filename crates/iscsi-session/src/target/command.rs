//! SCSI commands and the data of writes, as they come (RFC 7143 sections 11.3, 11.4 and 11.7).

use super::connection::allegiant;
use super::continuation::Allegiance;
use super::event::{Command, Event};
use super::fence;
use super::receive::Receive;
use super::resumption::Resumption;
use super::session::{Request, Session};
use super::state::State;
use super::stragglers::Straggler;
use super::task::{Stage, Task, TaskId, TaskOutcome};
use super::transmit::Transmission;
use crate::{Answer, CloseReason, IscsiCondition, Violation};
use bytes::Bytes;
use iscsi_pdu::ahs::Ahs;
use iscsi_pdu::{Cid, DataOut, Header, Pdu, ScsiCommand};

impl Session {
    // RFC 7143 4.2.2.1-13: it gets its tag before it is held or delivered, or is nothing.
    pub(super) fn handle_command(&mut self, at: usize, pdu: ScsiCommand) {
        self.acknowledge(at, pdu.exp_stat_sn);
        let ahs = match Ahs::decode(&pdu.ahs) {
            Ok(ahs) => ahs,
            Err(error) => return self.close(CloseReason::Malformed(error)),
        };
        let turn = self.admit_command(at, &pdu, &ahs);
        let inserted = turn.and_then(|turn| {
            let breach = self.check_unsolicited(&pdu).err();
            let task = self.new_task(self.connections[at].cid, &pdu, &ahs, breach.and_then(condition));
            if self.recovers() {
                self.free_tag(&pdu);
            }
            let id = self.tasks.insert(task).ok_or(Violation::TagInUse)?;
            if let Some(violation) = breach {
                self.report(at, violation);
            }
            Ok((turn, id))
        });
        let (turn, id) = match inserted {
            Ok(inserted) => inserted,
            Err(violation) => {
                if !pdu.is_final {
                    self.add_straggler(at, Straggler::new(pdu.initiator_task_tag, pdu.lun, None));
                }
                return self.violate(at, violation, pdu.into());
            }
        };
        if !pdu.is_final {
            self.watch_for_silence();
        }
        let (immediate, cmd_sn) = (pdu.immediate, pdu.cmd_sn);
        let mut command = new_command(id, self.connections[at].cid, pdu, ahs);
        if !self.parameters.has_scsi_features() {
            command.priority = 0; // reserved
        }
        if !turn {
            return self.hold(at, cmd_sn, Request::Command(command));
        }
        self.count(at, immediate);
        if immediate && self.barrier().is_some() {
            return self.deferred.push_back(command);
        }
        self.begin(command);
    }

    // RFC 7143 11.3.1-1, 11.3.1-2, 11.3.4-1: flags that a command cannot have are refused.
    fn admit_command(&self, at: usize, pdu: &ScsiCommand, ahs: &Ahs) -> Result<bool, Violation> {
        self.refuse_in_discovery()?;
        if self.connections[at].stragglers.is_full() {
            return Err(Violation::DataWithheld);
        }
        let turn = self.admit(at, pdu.immediate, pdu.cmd_sn)?;
        // A numbered command is not refused: the gap in the numbers would keep the logout from its turn.
        if pdu.immediate && self.connections[at].state == State::LogoutRequested {
            return Err(Violation::CommandAfterLogoutRequest);
        }
        // RFC 7143 11.3.1: at least one of W and F is set.
        if !pdu.is_final && !pdu.write {
            return Err(Violation::FinalOrWrite);
        }
        if pdu.expected_data_transfer_length > 0 && !pdu.read && !pdu.write {
            return Err(Violation::DataWithoutDirection);
        }
        // RFC 7143 11.3.4: a bidirectional command has an additional header segment with the length of its read.
        if pdu.read && pdu.write && ahs.bidirectional_read_length.is_none() && pdu.expected_data_transfer_length > 0 {
            return Err(Violation::BidirectionalWithoutLength);
        }
        if !self.management.is_empty() && self.has_request(pdu.initiator_task_tag) {
            return Err(Violation::TagInUse);
        }
        Ok(turn)
    }

    /// An initiator that uses the tag of a task again has received its status, although it may not have acknowledged all before.
    #[cold]
    fn free_tag(&mut self, pdu: &ScsiCommand) {
        if !pdu.immediate
            && let Some(id) = self.tasks.find(pdu.initiator_task_tag)
            && self.tasks.get(id).is_some_and(|task| matches!(task.stage, Stage::Sent(_)))
        {
            self.remove_task(id);
        }
    }

    fn new_task(&self, cid: Cid, pdu: &ScsiCommand, ahs: &Ahs, failure: Option<IscsiCondition>) -> Task {
        let writes = if pdu.write { pdu.expected_data_transfer_length } else { 0 };
        // What was not agreed upon is not waited for.
        let unsolicited = !pdu.is_final && !self.parameters.initial_r2t;
        let mut receive = Receive::new(writes, writes.min(pdu.data.len() as u32), unsolicited, &self.parameters);
        if failure.is_some() {
            receive.discard();
        }
        Task {
            generation: 0,
            allegiance: Allegiance::To(cid),
            initiator_task_tag: pdu.initiator_task_tag,
            lun: pdu.lun,
            cmd_sn: pdu.cmd_sn,
            immediate: pdu.immediate,
            read: pdu.read,
            write: pdu.write,
            expected: pdu.expected_data_transfer_length,
            bidirectional_read: ahs.bidirectional_read_length.unwrap_or(0),
            stage: Stage::Held,
            fenced: false,
            failure,
            receive,
            r2t_count: 0,
            data_in_count: 0,
            sent: 0,
            resumption: None,
        }
    }

    // RFC 7143 11.8-1, 13.11-2: what was not agreed upon is refused.
    /// RFC 7143 4.2.5.2 and 13.10, 13.11, 13.14: what may come without an R2T.
    fn check_unsolicited(&self, pdu: &ScsiCommand) -> Result<(), Violation> {
        let length = pdu.data.len() as u64;
        if length > 0 && !(pdu.write && self.parameters.immediate_data) {
            return Err(Violation::ImmediateDataNotAllowed);
        }
        if length > u64::from(self.parameters.first_burst_bytes_max.min(pdu.expected_data_transfer_length)) {
            return Err(Violation::TooMuchUnsolicitedData);
        }
        if !pdu.is_final && self.parameters.initial_r2t {
            return Err(Violation::UnsolicitedDataNotAllowed);
        }
        Ok(())
    }

    /// It is a command's turn.
    pub(super) fn begin(&mut self, command: Command) {
        let id = command.task;
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        task.stage = Stage::Active;
        match task.failure {
            None => self.events.push_back(Event::Command(command)),
            Some(condition) => self.settle(id, TaskOutcome::failed(condition)),
        }
    }

    // RFC 7143 11.7.7-1: with or without data.
    pub(super) fn handle_data_out(&mut self, at: usize, mut pdu: DataOut) {
        let data = std::mem::take(&mut pdu.data);
        let Some(id) = self.take_data_out(at, &pdu, data.len() as u32, Some(&data)) else {
            return;
        };
        if let Some(task) = self.tasks.get_mut(id) {
            let events = &mut self.events;
            let give = |(offset, data)| events.push_back(Event::Data { task: id, offset, data });
            task.receive.take(pdu.buffer_offset, data, give);
        }
        self.pursue_data(id);
    }

    // RFC 7143 7.8-2, 7.8-3: rejected, and asked for again or failed.
    /// RFC 7143 7.8: the data is discarded, and asked for again where that was agreed upon.
    pub(super) fn handle_damaged_data_out(&mut self, at: usize, pdu: &DataOut, header: Header) {
        if let Some(id) = self.take_data_out(at, pdu, header.data_segment_length() as u32, None) {
            self.violate_by_header(at, Violation::DataDigestMismatch, header);
            self.pursue_data(id);
        }
    }

    // RFC 7143 7.3-1, 10.7-2: a Reject alone ends no task, and data of a task that is gone has no answer.
    /// Takes the header of a Data-Out, whose data is not there if it was damaged. Returns its task if that goes on.
    fn take_data_out(&mut self, at: usize, pdu: &DataOut, length: u32, data: Option<&Bytes>) -> Option<TaskId> {
        self.acknowledge(at, pdu.exp_stat_sn);
        let Some(id) = self.tasks.find(pdu.initiator_task_tag) else {
            if !self.hear_straggler(at, pdu, length) {
                self.violate_by_header(at, Violation::DataForUnknownTask, header(pdu, length));
            }
            return None;
        };
        let task = self.tasks.get_mut(id)?;
        let accepted = match task.check_data_out(self.connections[at].cid, pdu) {
            Ok(()) if data.is_none() && !task.receive.recovers(&self.parameters) => {
                Err(Violation::DataOutDigestMismatch)
            }
            Ok(()) => task.receive.accept(pdu, length, data, &self.parameters),
            refused => refused,
        };
        let Err(violation) = accepted else {
            return Some(id);
        };
        // RFC 7143 7.8: damaged is damaged, whatever else is wrong with it.
        let violation = match (data, condition(violation)) {
            (Some(_), _) => violation,
            (None, None) => Violation::DataDigestMismatch,
            (None, Some(_)) => Violation::DataOutDigestMismatch,
        };
        self.violate_by_header(at, violation, header(pdu, length));
        if let Some(condition) = condition(violation) {
            self.fail(id, pdu, length, condition);
        }
        None
    }

    // RFC 7143 7.8-4, 11.17.1-3: whose data was rejected ends with CHECK CONDITION, after all that was asked for.
    /// Ends a task because of a Data-Out; if that was the last that was to come, the status goes out.
    fn fail(&mut self, id: TaskId, pdu: &DataOut, length: u32, condition: IscsiCondition) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        task.receive.discard();
        // Its F bit counts, if it belongs to anything.
        let _ = task.receive.accept(pdu, length, None, &self.parameters);
        self.fail_write(id, condition);
    }

    /// Ends a task whose data is of no use any more.
    pub(super) fn fail_write(&mut self, id: TaskId, condition: IscsiCondition) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        task.receive.discard();
        match task.stage {
            Stage::Held => task.failure = task.failure.or(Some(condition)),
            Stage::Active => {
                self.events.push_back(Event::Aborted { task: id });
                self.settle(id, TaskOutcome::failed(condition));
            }
            Stage::Settling(_) | Stage::Sending(_) | Stage::Sent(_) => self.finish_if_settled(id),
        }
    }

    /// Tells the owner, asks for more, or ends the task, according to what has come.
    pub(super) fn pursue_data(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        match task.stage {
            Stage::Held => {}
            Stage::Active => {
                if task.receive.becomes_complete() {
                    self.events.push_back(Event::DataComplete { task: id });
                } else if task.receive.may_ask(&self.parameters) {
                    self.send_later(id, Transmission::R2t);
                }
            }
            Stage::Settling(_) => self.finish_if_settled(id),
            Stage::Sending(_) | Stage::Sent(_) => {}
        }
    }

    // RFC 7143 11.4.2-1, 11.17.1-4: the status waits for the data that is still to come.
    /// A task has ended; its status waits for the data that the initiator may still send (RFC 7143 section 11.4.2).
    pub(super) fn settle(&mut self, id: TaskId, mut outcome: TaskOutcome) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        outcome.data_in_length = outcome.data_in_length.max(outcome.data_in.len() as u32);
        if !self.parameters.has_scsi_features() {
            outcome.status_qualifier = 0; // reserved
        }
        outcome.data_in.truncate(task.read_length() as usize);
        let bytes = outcome.data_in.len();
        let is_settled = task.receive.is_settled();
        task.stage = if is_settled { Stage::Sending(outcome) } else { Stage::Settling(outcome) };
        if self.parameters.error_recovery_level > 0 {
            // The segments are those of the connection that the data leaves on.
            task.resumption = Some(Box::new(Resumption::new(task.r2t_count, 4)));
        }
        let Some(at) = allegiant(&self.connections, task) else {
            return;
        };
        let fenced = task.fenced;
        let connection = &mut self.connections[at];
        if let Some(tag) = task.receive.lent_tag().filter(|_| is_settled) {
            self.events.push_back(Event::TagFree { cid: connection.cid, tag });
        }
        let transmit = &mut connection.transmit;
        transmit.data_in_bytes += bytes;
        if is_settled && !fenced {
            transmit.push(Transmission::Completion(id));
        } else if is_settled {
            self.fence_status(id);
        }
    }

    /// A status waits for all others before it.
    #[cold]
    fn fence_status(&mut self, id: TaskId) {
        if let Some(at) = self.tasks.get(id).and_then(|task| self.place_of(task)) {
            self.fence(self.connections[at].cid, fence::Response::Task(id));
        }
    }

    /// Queues what a task has to say on its connection.
    fn send_later(&mut self, id: TaskId, transmission: impl FnOnce(TaskId) -> Transmission) {
        if let Some(at) = self.tasks.get(id).and_then(|task| self.place_of(task)) {
            self.connections[at].transmit.push(transmission(id));
        }
    }

    /// The status of a task that has ended may go out, if nothing more can come for it.
    fn finish_if_settled(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        if !task.receive.is_settled() {
            return;
        }
        if let Stage::Settling(outcome) = &mut task.stage {
            let (fenced, tag, allegiance) = (task.fenced, task.receive.lent_tag(), task.allegiance);
            task.stage = Stage::Sending(std::mem::take(outcome));
            if let (Some(tag), Allegiance::To(cid)) = (tag, allegiance) {
                self.events.push_back(Event::TagFree { cid, tag });
            }
            if fenced {
                self.fence_status(id);
            } else {
                self.send_later(id, Transmission::Completion);
            }
        }
    }

    /// Ends a task without a status. The owner is told if it knows of the task.
    pub(super) fn abort(&mut self, id: TaskId) {
        if self.tasks.get(id).is_some_and(|task| matches!(task.stage, Stage::Active)) {
            self.events.push_back(Event::Aborted { task: id });
        }
        self.remove_task(id);
    }

    /// A task is gone: its tag is free, unless data may still come for it.
    fn release_data(&mut self, at: usize, task: Task) {
        let tag = if task.has_ended() { None } else { task.receive.lent_tag() };
        if !task.receive.is_settled() {
            let mut data = task.receive;
            data.discard();
            self.add_straggler(at, Straggler::new(task.initiator_task_tag, task.lun, tag.map(|_| data)));
        } else if let Some(tag) = tag {
            self.events.push_back(Event::TagFree { cid: self.connections[at].cid, tag });
        }
    }

    /// Forgets a task that sends no status.
    pub(super) fn remove_task(&mut self, id: TaskId) {
        let Some(task) = self.tasks.remove(id) else {
            return;
        };
        if task.fenced {
            self.forget_fence_of_task(id);
        }
        let place = self.place_of(&task);
        if let Some(at) = place
            && matches!(task.stage, Stage::Settling(_) | Stage::Sending(_))
        {
            self.connections[at].transmit.data_in_bytes -= task.unsent();
        }
        if let Stage::Sent(outcome) = &task.stage {
            self.retained_bytes -= outcome.data_in.len();
        }
        // Its place was free when the status left.
        if !task.has_left() {
            self.release_place(id, &task, place);
        }
        if let Some(at) = place {
            self.release_data(at, task);
        }
    }

    /// The place of a task in the window is free, or that of an immediate one.
    fn release_place(&mut self, id: TaskId, task: &Task, place: Option<usize>) {
        if matches!(task.stage, Stage::Held) && !task.immediate {
            // Its number is given back when its turn comes.
            self.window.plug_held(|held| matches!(&held.request, Request::Command(command) if command.task == id));
            return;
        }
        self.deferred.retain(|command| command.task != id);
        match place {
            Some(at) => self.release(at, task.immediate),
            None => self.window.release(),
        }
    }
}

impl Task {
    // RFC 7143 4.2.5.1-1, 4.2.5.3-1: on its connection, and in agreement with it.
    /// RFC 7143 4.2.5.3: the fields of a PDU agree with those of the task.
    fn check_data_out(&self, cid: Cid, pdu: &DataOut) -> Result<(), Violation> {
        // RFC 7143 4.2.5.1: data comes on the connection of its command.
        if self.allegiance != Allegiance::To(cid) {
            return Err(Violation::OtherConnection);
        }
        if !self.write && self.failure.is_none() {
            return Err(Violation::DataForNonWrite);
        }
        if pdu.target_transfer_tag.is_some() && pdu.lun != self.lun {
            return Err(Violation::WrongLun);
        }
        Ok(())
    }
}

fn condition(violation: Violation) -> Option<IscsiCondition> {
    match violation.answer() {
        Answer::Fail(condition) | Answer::RejectAndFail(_, condition) => Some(condition),
        _ => None,
    }
}

/// The header of a Data-Out whose data of `length` bytes is not there any more.
fn header(pdu: &DataOut, length: u32) -> Header {
    let mut header = Pdu::from(pdu.clone()).encode().header;
    header.0[5..8].copy_from_slice(&length.to_be_bytes()[1..]);
    header
}

fn new_command(task: TaskId, cid: Cid, pdu: ScsiCommand, ahs: Ahs) -> Command {
    Command {
        task,
        cid,
        lun: pdu.lun,
        cdb: pdu.cdb,
        extended_cdb: ahs.extended_cdb.map_or_else(Box::default, |rest| [&pdu.cdb, &*rest].concat().into()),
        attribute: pdu.attribute,
        priority: pdu.priority,
        read: pdu.read,
        write: pdu.write,
        expected_data_transfer_length: pdu.expected_data_transfer_length,
        bidirectional_read_length: ahs.bidirectional_read_length.unwrap_or(0),
        data: pdu.data,
    }
}
