//! A session joined to a SCSI target device: commands become tasks, tasks block I/O, outcomes responses.
//!
//! In: PDUs, ends of block I/O, time. Out: PDUs through the session, block I/O and events through the [`Outbox`].
//!
//! Invariant: a task management function is answered only after every block I/O of the tasks that it ended has come back.

use super::node::{ConnectionId, Event, IoRequest, Outbox, StoreId};
use super::portal::Portal;
use super::{DATA_IN_BYTES_MAX, DATA_OUT_BYTES_MAX};
use iscsi_pdu::{LunField, TargetTransferTag, TaskManagementFunction, TaskManagementResponseCode};
use iscsi_session::target::{self, DataProgress, RequestId, SendTargetsScope, Session, TaskId, TaskOutcome};
use iscsi_session::{LoginOutcome, SessionType};
use iscsi_transport::PduPort;
use scsi_block::io::{IoDone, Segments};
use scsi_block::{Begin, LogicalUnitNumber, Nexus, Outcome, Step, Task};
use std::collections::VecDeque;
use std::time::Instant;

/// A task between its command and its outcome.
struct OpenTask {
    id: TaskId,
    task: Task,
    /// Bytes of data-out that the task takes.
    wanted: u32,
    data: Segments,
    /// The port's tag for data that is asked for.
    tag: Option<u32>,
    /// Bytes of data-out that count as asked for.
    asked_bytes: usize,
    in_store: bool,
}

/// A task management function that waits for block I/O of the tasks it has ended.
struct OpenManagement {
    id: RequestId,
    response: TaskManagementResponseCode,
}

/// One session of the node.
pub(super) struct FullFeature {
    pub(super) session: Session,
    outcome: Box<LoginOutcome>,
    /// Place of the target in the portal; none in a discovery session.
    target: Option<usize>,
    nexus: Option<Nexus>,
    /// By the index of the session's task.
    tasks: Vec<Option<OpenTask>>,
    /// Tasks that wait until read data has left.
    waiting: VecDeque<TaskId>,
    /// Read data that the store has been asked for, in bytes.
    reading_bytes: usize,
    /// Tasks whose data is not asked for until that of others is written.
    waiting_for_data: VecDeque<TaskId>,
    /// Write data that was asked for, of tasks that have not ended, in bytes.
    asked_bytes: usize,
    management: Vec<OpenManagement>,
    /// Block I/O in flight.
    ios_in_flight: usize,
    /// Tasks that were aborted while their block I/O was in flight.
    aborted_in_store: Vec<OpenTask>,
}

/// What a step of the session works with: its own connection's port and the node's outputs.
pub(super) struct Context<'a, P> {
    pub(super) id: ConnectionId,
    pub(super) portal: &'a Portal,
    pub(super) local_address: &'a str,
    pub(super) port: &'a mut P,
    pub(super) outbox: &'a mut Outbox,
}

impl FullFeature {
    pub(super) fn new(outcome: Box<LoginOutcome>, portal: &Portal, ping_tag: TargetTransferTag, now: Instant) -> Self {
        let config = target::SessionConfig {
            window: portal.window,
            ping_interval: portal.ping_interval,
            ping_timeout: portal.ping_timeout,
            logout_grace: portal.logout_grace,
            ..target::SessionConfig::default()
        };
        let target = match (outcome.session_type, &outcome.target_name) {
            (SessionType::Normal, Some(name)) => portal.find(name),
            _ => None,
        };
        let isid = outcome.isid.0.map(|byte| format!("{byte:02x}")).concat();
        // SAM-5 and RFC 7143 section 4.4.2: the initiator port's name is the initiator's name with the ISID.
        let initiator_port = format!("{},i,0x{isid}", outcome.initiator_name);
        Self {
            session: Session::new(&outcome, config, ping_tag, now),
            nexus: target.map(|index| portal.targets[index].device.connect(&initiator_port)),
            outcome,
            target,
            tasks: Vec::new(),
            waiting: VecDeque::new(),
            reading_bytes: 0,
            waiting_for_data: VecDeque::new(),
            asked_bytes: 0,
            management: Vec::new(),
            ios_in_flight: 0,
            aborted_in_store: Vec::new(),
        }
    }

    pub(super) fn outcome(&self) -> &LoginOutcome {
        &self.outcome
    }

    pub(super) fn target(&self) -> Option<usize> {
        self.target
    }

    /// Carries out what the session says. Returns whether the session has ended.
    pub(super) fn handle_events<P: PduPort>(&mut self, context: &mut Context<'_, P>) -> bool {
        let mut ended = false;
        while let Some(event) = self.session.poll_event() {
            match event {
                target::Event::Command(command) => self.begin(command, context),
                target::Event::Data { task, data, .. } => {
                    if let Some(open) = self.open_task(task) {
                        open.data.push(data);
                    }
                }
                target::Event::DataComplete { task } => self.start_or_wait(task, context),
                target::Event::Aborted { task } => self.abort(task, context),
                target::Event::TaskManagement { id, function, lun } => self.manage(id, function, lun, context),
                target::Event::SendTargets { id, scope } => self.send_targets(id, &scope, context),
                // The session has one connection, whose end is the session's.
                target::Event::ConnectionClosed { .. } | target::Event::Reassigned { .. } => {}
                target::Event::Closed(reason) => {
                    ended = true;
                    context.outbox.events.push_back(Event::SessionClosed { connection: context.id, reason });
                }
            }
        }
        ended
    }

    /// Write data has gone to the store: tasks that waited for that may have theirs.
    pub(super) fn ask_waiting<P: PduPort>(&mut self, context: &mut Context<'_, P>) {
        while !self.waiting_for_data.is_empty() && self.has_room_for_writes() {
            if let Some(task) = self.waiting_for_data.pop_front() {
                self.ask_for_data(task, context);
            }
        }
    }

    /// Read data has left: tasks that waited for that may go on.
    pub(super) fn start_waiting<P: PduPort>(&mut self, context: &mut Context<'_, P>) {
        while !self.waiting.is_empty() && self.has_room_for_reads() {
            if let Some(task) = self.waiting.pop_front() {
                self.start(task, context);
            }
        }
    }

    pub(super) fn handle_io_done<P: PduPort>(&mut self, task: TaskId, done: IoDone, context: &mut Context<'_, P>) {
        self.ios_in_flight -= 1;
        if let Some(place) = self.aborted_in_store.iter().position(|open| open.id == task) {
            let open = self.aborted_in_store.swap_remove(place);
            self.reading_bytes -= open.task.data_in_length() as usize;
            self.asked_bytes -= open.asked_bytes;
            return self.answer_management();
        }
        let mut open = self.take(task);
        self.reading_bytes -= open.task.data_in_length() as usize;
        open.in_store = false;
        let step = match &mut self.nexus {
            Some(nexus) => nexus.resume(&mut open.task, done),
            None => Step::Aborted,
        };
        self.act(open, step, context);
    }

    /// Block I/O has come back whose outcome nobody waits for any more.
    pub(super) fn forget_io_done(&mut self) {
        self.ios_in_flight -= 1;
    }

    pub(super) fn ios_in_flight(&self) -> usize {
        self.ios_in_flight
    }

    /// Every tag goes back to the port.
    pub(super) fn release_tags<P: PduPort>(&mut self, port: &mut P) {
        for tag in self.tasks.iter_mut().flatten().filter_map(|open| open.tag.take()) {
            port.release(tag);
        }
    }

    fn open_task(&mut self, id: TaskId) -> Option<&mut OpenTask> {
        self.tasks.get_mut(id.index())?.as_mut().filter(|open| open.id == id)
    }

    fn take(&mut self, id: TaskId) -> OpenTask {
        self.tasks[id.index()].take().expect("the task was looked up just before")
    }

    fn put(&mut self, open: OpenTask) {
        let index = open.id.index();
        if self.tasks.len() <= index {
            self.tasks.resize_with(index + 1, || None);
        }
        self.tasks[index] = Some(open);
    }

    fn has_room_for_reads(&self) -> bool {
        self.session.data_in_bytes(self.outcome.cid) + self.reading_bytes < DATA_IN_BYTES_MAX
    }

    fn has_room_for_writes(&self) -> bool {
        self.asked_bytes < DATA_OUT_BYTES_MAX
    }

    fn begin<P: PduPort>(&mut self, command: target::Command, context: &mut Context<'_, P>) {
        let Some(nexus) = &mut self.nexus else {
            return self.session.discard(command.task);
        };
        let lun = LogicalUnitNumber::from_wire(command.lun.0);
        let cdb: &[u8] = if command.extended_cdb.is_empty() { &command.cdb } else { &command.extended_cdb };
        let expected = if command.write { command.expected_data_transfer_length } else { 0 };
        let task = match nexus.begin_expecting(lun, cdb, Some(expected)) {
            Begin::Done(outcome) => {
                let outcome = TaskOutcome {
                    data_in_length: outcome.data_in.len() as u32,
                    data_out_length: 0,
                    status: outcome.status.code(),
                    sense: outcome.sense,
                    data_in: outcome.data_in,
                };
                return self.session.complete(command.task, outcome);
            }
            Begin::Task(task) => task,
        };
        let wanted = task.data_out_length().min(expected);
        let mut data = command.data;
        data.truncate(wanted as usize);
        let all_there = data.len() == wanted as usize;
        let data = if data.is_empty() { Segments::new() } else { Segments::from_iter([data]) };
        let (id, tag) = (command.task, None);
        self.put(OpenTask { id, task, wanted, data, tag, asked_bytes: 0, in_store: false });
        if wanted == 0 {
            self.start_or_wait(id, context);
        } else if all_there || (self.waiting_for_data.is_empty() && self.has_room_for_writes()) {
            self.ask_for_data(id, context);
        } else {
            self.waiting_for_data.push_back(id);
        }
    }

    /// Asks for what has not come with the command.
    fn ask_for_data<P: PduPort>(&mut self, id: TaskId, context: &mut Context<'_, P>) {
        let Some(open) = self.open_task(id) else {
            return; // aborted while it waited
        };
        let wanted = open.wanted;
        let missing = wanted - open.data.iter().map(|data| data.len() as u32).sum::<u32>();
        if missing > 0 {
            open.tag = Some(context.port.reserve(missing));
            open.asked_bytes = wanted as usize;
        }
        // A tag that is never sent may be any.
        let tag = TargetTransferTag(open.tag.unwrap_or_default());
        self.asked_bytes += open.asked_bytes;
        if self.session.receive_data(id, tag, wanted) == DataProgress::Complete {
            self.start_or_wait(id, context);
        }
    }

    fn start_or_wait<P: PduPort>(&mut self, id: TaskId, context: &mut Context<'_, P>) {
        let reads = self.open_task(id).is_some_and(|open| open.task.data_in_length() > 0);
        if reads && (!self.waiting.is_empty() || !self.has_room_for_reads()) {
            self.waiting.push_back(id);
        } else {
            self.start(id, context);
        }
    }

    /// All data of the command has come.
    fn start<P: PduPort>(&mut self, id: TaskId, context: &mut Context<'_, P>) {
        if self.open_task(id).is_none() {
            return; // aborted while it waited
        }
        let mut open = self.take(id);
        if let Some(tag) = open.tag.take() {
            context.port.release(tag);
        }
        let data = std::mem::take(&mut open.data);
        let step = match &mut self.nexus {
            Some(nexus) => nexus.start(&mut open.task, data),
            None => Step::Aborted,
        };
        self.act(open, step, context);
    }

    fn act<P: PduPort>(&mut self, mut open: OpenTask, step: Step, context: &mut Context<'_, P>) {
        match step {
            Step::Io(io) => {
                let (Some(target), unit, task) = (self.target, open.task.unit(), open.id) else {
                    return self.session.discard(open.id);
                };
                open.in_store = true;
                self.ios_in_flight += 1;
                self.reading_bytes += open.task.data_in_length() as usize;
                self.put(open);
                let id = context.outbox.ios.insert((context.id, task)) as u64;
                context.outbox.requests.push_back(IoRequest { id, store: StoreId { target, unit }, io });
            }
            Step::Done(outcome) => {
                self.asked_bytes -= open.asked_bytes;
                self.complete(open.id, &open.task, outcome);
            }
            Step::Aborted => {
                self.asked_bytes -= open.asked_bytes;
                self.session.discard(open.id);
            }
        }
    }

    fn complete(&mut self, id: TaskId, task: &Task, outcome: Outcome) {
        let data_in_length = task.data_in_length().max(outcome.data_in.len() as u32);
        let good = outcome.sense.is_empty();
        self.session.complete(
            id,
            TaskOutcome {
                // A command that failed has moved what it has moved: nothing.
                data_in_length: if good { outcome.data_in.len() as u32 } else { data_in_length },
                data_out_length: task.data_out_length(),
                status: outcome.status.code(),
                sense: outcome.sense,
                data_in: outcome.data_in,
            },
        );
    }

    fn abort<P: PduPort>(&mut self, id: TaskId, context: &mut Context<'_, P>) {
        if self.open_task(id).is_none() {
            return;
        }
        let mut open = self.take(id);
        if let Some(tag) = open.tag.take() {
            context.port.release(tag);
        }
        if open.in_store {
            self.aborted_in_store.push(open);
        } else {
            self.asked_bytes -= open.asked_bytes;
        }
    }

    fn manage<P: PduPort>(
        &mut self,
        id: RequestId,
        function: TaskManagementFunction,
        lun: LunField,
        context: &mut Context<'_, P>,
    ) {
        let response = self.manage_device(function, LogicalUnitNumber::from_wire(lun.0), context);
        self.management.push(OpenManagement { id, response });
        self.answer_management();
    }

    /// The device's half of a task management function.
    fn manage_device<P: PduPort>(
        &mut self,
        function: TaskManagementFunction,
        lun: LogicalUnitNumber,
        context: &mut Context<'_, P>,
    ) -> TaskManagementResponseCode {
        use TaskManagementFunction as Function;
        use TaskManagementResponseCode as Response;
        let (Some(nexus), Some(target)) = (&mut self.nexus, self.target) else {
            return Response::FunctionRejected;
        };
        let of_unit = |done: bool| if done { Response::FunctionComplete } else { Response::LunDoesNotExist };
        match function {
            Function::AbortTask => Response::FunctionComplete,
            Function::AbortTaskSet => of_unit(nexus.abort_task_set(lun).is_ok()),
            Function::ClearTaskSet => of_unit(nexus.clear_task_set(lun).is_ok()),
            Function::LogicalUnitReset => of_unit(nexus.logical_unit_reset(lun).is_ok()),
            Function::TargetWarmReset | Function::TargetColdReset if !context.portal.targets[target].resettable => {
                Response::FunctionAuthorizationFailed
            }
            Function::TargetWarmReset => {
                nexus.target_reset();
                Response::FunctionComplete
            }
            Function::TargetColdReset => {
                nexus.target_reset();
                context.outbox.events.push_back(Event::TargetColdReset { target });
                Response::FunctionComplete
            }
            _ => Response::FunctionNotSupported,
        }
    }

    fn answer_management(&mut self) {
        if self.aborted_in_store.is_empty() {
            for OpenManagement { id, response } in std::mem::take(&mut self.management) {
                self.session.answer_task_management(id, response);
            }
        }
    }

    fn send_targets<P: PduPort>(&mut self, id: RequestId, scope: &SendTargetsScope, context: &mut Context<'_, P>) {
        let only = match scope {
            SendTargetsScope::All => None,
            SendTargetsScope::Named(name) => Some(name.as_str()),
            // RFC 7143 appendix C: an empty value asks for the session's own target.
            SendTargetsScope::ThisTarget => Some(self.outcome.target_name.as_deref().unwrap_or_default()),
        };
        let records = context.portal.records(&self.outcome.initiator_name, context.local_address, only);
        self.session.answer_send_targets(id, &records);
    }
}
