//! Commands: each becomes a task, then block I/O, then an outcome.
//!
//! In: commands and data of the session, ends of block I/O. Out: block I/O through the [`Outbox`](super::event::Outbox), outcomes to
//! the session. A task is bound to the connection that its command came on (RFC 7143 section 4.2.2): its tag is of that
//! connection's port, and it waits for room on that connection alone.

use super::connection::Allegiance;
use super::connections::Connections;
use super::event::{ConnectionId, IoOwner, IoRequest, StoreId};
use super::flow::Flow;
use super::session::{Context, Session};
use bytes::Bytes;
use iscsi_pdu::{Cid, LunField, TargetTransferTag, TaskAttribute};
use iscsi_session::target::{Command, DataProgress, TaskId, TaskOutcome};
use iscsi_transport::PduPort;
use scsi_block::io::{BlockIo, IoDone, Segments};
use scsi_block::sense::{AdditionalSense, Sense, SenseKey};
use scsi_block::{Begin, LogicalUnitNumber, Outcome, Status, Step, Task};

/// A task between its command and its outcome.
pub(super) struct OpenTask {
    id: TaskId,
    lun: LunField,
    task: Task,
    connection: ConnectionId,
    /// Bytes of data-out that the task takes.
    wanted: u32,
    data: Segments,
    /// The port's tag for data that is asked for.
    tag: Option<u32>,
    /// Bytes of data-out that count as asked for.
    asked_bytes: usize,
    in_store: bool,
}

impl OpenTask {
    /// Nothing carries the task's tag any more.
    fn release_tag<P: PduPort>(&mut self, connections: &mut Connections<P>) {
        if let Some(tag) = self.tag.take()
            && let Some(connection) = connections.get_mut(self.connection)
        {
            connection.port.release(tag);
        }
    }

    /// Bytes of data-out that have not come.
    fn missing(&self) -> u32 {
        self.wanted - self.data.iter().map(|data| data.len() as u32).sum::<u32>()
    }

    // RFC 7143 11.4.5.3-1, 11.4.5.3-2, 11.4.5.3-3: presented is what SCSI has left after its truncation.
    /// What the session is told of the task's end.
    fn outcome(&self, outcome: Outcome) -> TaskOutcome {
        let data_in_length = self.task.data_in_length().max(outcome.data_in.len() as u32);
        let good = outcome.sense.is_empty();
        TaskOutcome {
            // A command that failed has moved what it has moved: nothing.
            data_in_length: if good { outcome.data_in.len() as u32 } else { data_in_length },
            data_out_length: self.task.data_out_length(),
            status: outcome.status.code(),
            status_qualifier: 0,
            sense: outcome.sense,
            data_in: outcome.data_in,
        }
    }

    /// Data is asked for.
    fn count_asked<P>(&self, connections: &mut Connections<P>) {
        if self.asked_bytes > 0
            && let Some(flow) = flow(connections, self.connection)
        {
            flow.asked_bytes += self.asked_bytes;
        }
    }

    /// The data that was asked for counts no more.
    fn forget_asked<P>(&self, connections: &mut Connections<P>) {
        if self.asked_bytes > 0
            && let Some(flow) = flow(connections, self.connection)
        {
            flow.asked_bytes -= self.asked_bytes;
        }
    }

    /// The store is asked for read data.
    fn count_reading<P>(&self, connections: &mut Connections<P>) {
        if self.task.data_in_length() > 0
            && let Some(flow) = flow(connections, self.connection)
        {
            flow.reading_bytes += self.task.data_in_length() as usize;
        }
    }

    /// The store has answered.
    fn forget_reading<P>(&self, connections: &mut Connections<P>) {
        if self.task.data_in_length() > 0
            && let Some(flow) = flow(connections, self.connection)
        {
            flow.reading_bytes -= self.task.data_in_length() as usize;
        }
    }
}

/// The attribute in SCSI's words: a task without one is SIMPLE (RFC 7143 section 11.3.1, SAM-5 8.6).
fn attribute(attribute: TaskAttribute) -> scsi_block::TaskAttribute {
    match attribute {
        TaskAttribute::Untagged | TaskAttribute::Simple => scsi_block::TaskAttribute::Simple,
        TaskAttribute::Ordered => scsi_block::TaskAttribute::Ordered,
        TaskAttribute::HeadOfQueue => scsi_block::TaskAttribute::HeadOfQueue,
        TaskAttribute::Aca => scsi_block::TaskAttribute::Aca,
    }
}

fn allegiance<P>(connections: &mut Connections<P>, id: ConnectionId) -> Option<&mut Allegiance> {
    connections.get_mut(id)?.allegiance()
}

fn flow<P>(connections: &mut Connections<P>, id: ConnectionId) -> Option<&mut Flow> {
    allegiance(connections, id).map(|allegiance| &mut allegiance.flow)
}

impl Session {
    /// Write data of a connection has gone to the store: tasks that waited for that may have theirs.
    pub(super) fn ask_waiting<P: PduPort>(&mut self, id: ConnectionId, context: &mut Context<'_, P>) {
        while let Some(flow) = flow(context.connections, id)
            && !flow.waiting_for_data.is_empty()
            && flow.has_room_for_writes()
            && let Some(task) = flow.waiting_for_data.pop_front()
        {
            self.ask_for_data(task, context);
        }
    }

    /// Read data of a connection has left: tasks that waited for that may go on. Returns whether one has.
    pub(super) fn start_waiting<P: PduPort>(&mut self, id: ConnectionId, context: &mut Context<'_, P>) -> bool {
        let mut started = false;
        while let Some(Allegiance { cid, flow, .. }) = allegiance(context.connections, id)
            && !flow.waiting.is_empty()
            && flow.has_room_for_reads(self.machine.data_in_bytes(*cid))
            && let Some(task) = flow.waiting.pop_front()
        {
            self.start(task, context);
            started = true;
        }
        started
    }

    /// A block I/O has come back.
    pub(super) fn handle_io_done<P: PduPort>(&mut self, owner: IoOwner, done: IoDone, context: &mut Context<'_, P>) {
        self.ios_in_flight -= 1;
        match owner {
            IoOwner::Task(task) => self.handle_task_io_done(task, done, context),
            IoOwner::Answered(place) => self.handle_answered_io_done(place, done, context),
        }
        self.handle_events(context);
    }

    /// A block I/O has come back of a task whose command has been answered. With the session it has ended.
    fn handle_answered_io_done<P: PduPort>(&mut self, place: usize, done: IoDone, context: &mut Context<'_, P>) {
        if self.machine.is_closed() {
            let task = self.answered.remove(place);
            if let Some(nexus) = &mut self.nexus {
                nexus.forget(task);
            }
            return;
        }
        let step = match &mut self.nexus {
            Some(nexus) => nexus.resume(&mut self.answered[place], done),
            None => Step::Aborted,
        };
        match step {
            Step::Io(io) => self.request_io(IoOwner::Answered(place), io, context),
            _ => drop(self.answered.remove(place)),
        }
    }

    /// Asks the store of a task for block I/O.
    fn request_io<P: PduPort>(&mut self, owner: IoOwner, io: BlockIo, context: &mut Context<'_, P>) {
        let task = match owner {
            IoOwner::Task(id) => &self.tasks[id.index()].as_ref().expect("the task has just made this step").task,
            IoOwner::Answered(place) => &self.answered[place],
        };
        let target = self.target.expect("a session with a nexus has a target");
        let (store, patient) = (StoreId { target, unit: task.store() }, task.is_patient());
        self.ios_in_flight += 1;
        let id = context.outbox.ios.insert((self.id(), owner)) as u64;
        context.outbox.requests.push_back(IoRequest { id, store, io, patient });
    }

    fn handle_task_io_done<P: PduPort>(&mut self, task: TaskId, done: IoDone, context: &mut Context<'_, P>) {
        if let Some(place) = self.aborted_in_store.iter().position(|open| open.id == task) {
            let open = self.aborted_in_store.swap_remove(place);
            open.forget_reading(context.connections);
            open.forget_asked(context.connections);
            self.forget(open);
            self.answer_management(context);
            for waiting in std::mem::take(&mut self.behind_orphans) {
                self.start_or_wait(waiting, context);
            }
        } else {
            let open = self.tasks[task.index()].as_mut().expect("it is open or was aborted while in the store");
            open.forget_reading(context.connections);
            open.in_store = false;
            let step = match &mut self.nexus {
                Some(nexus) => nexus.resume(&mut open.task, done),
                None => Step::Aborted,
            };
            self.act(task, step, context);
        }
    }

    /// A piece of a task's data has come.
    pub(super) fn take_data(&mut self, id: TaskId, data: Bytes) {
        if let Some(open) = self.open_task(id) {
            open.data.push(data);
        }
    }

    fn open_task(&mut self, id: TaskId) -> Option<&mut OpenTask> {
        self.tasks.get_mut(id.index())?.as_mut().filter(|open| open.id == id)
    }

    /// The place of a task that begins.
    fn place(&mut self, id: TaskId) -> &mut Option<OpenTask> {
        let index = id.index();
        if self.tasks.len() <= index {
            self.tasks.resize_with(index + 1, || None);
        }
        &mut self.tasks[index]
    }

    pub(super) fn begin<P: PduPort>(&mut self, command: Command, context: &mut Context<'_, P>) {
        let connection = self.find(command.cid);
        let (Some(nexus), Some(connection)) = (&mut self.nexus, connection) else {
            return self.machine.discard(command.task);
        };
        let expected = if command.write { command.expected_data_transfer_length } else { 0 };
        // SAM-5 8.7 leaves it to the unit whether it heeds priorities: these do not.
        let scsi = scsi_block::Command {
            lun: LogicalUnitNumber::from_wire(command.lun.0),
            cdb: if command.extended_cdb.is_empty() { &command.cdb } else { &command.extended_cdb },
            announced: Some(expected),
            attribute: attribute(command.attribute),
            now: Some(context.now),
        };
        let task = match nexus.begin_command(&scsi) {
            Begin::Done(outcome) => {
                let outcome = TaskOutcome {
                    data_in_length: outcome.data_in.len() as u32,
                    data_out_length: 0,
                    status: outcome.status.code(),
                    status_qualifier: 0,
                    sense: outcome.sense,
                    data_in: outcome.data_in,
                };
                return self.finish(command.task, command.lun, outcome);
            }
            Begin::Task(task) => task,
        };
        let wanted = task.data_out_length().min(expected);
        let mut data = command.data;
        data.truncate(wanted as usize);
        let data = if data.is_empty() { Segments::new() } else { Segments::from_iter([data]) };
        let (id, lun, tag) = (command.task, command.lun, None);
        *self.place(id) =
            Some(OpenTask { id, lun, task, connection, wanted, data, tag, asked_bytes: 0, in_store: false });
        self.pursue(id, context);
    }

    /// Asks for the data of a task in its turn, or begins it if it takes none.
    fn pursue<P: PduPort>(&mut self, id: TaskId, context: &mut Context<'_, P>) {
        let Some(open) = self.open_task(id) else {
            return; // aborted meanwhile
        };
        if open.wanted == 0 {
            return self.start_or_wait(id, context);
        }
        match flow(context.connections, open.connection) {
            Some(flow) if open.missing() > 0 && !flow.may_ask() => flow.waiting_for_data.push_back(id),
            _ => self.ask_for_data(id, context),
        }
    }

    /// Asks for what has not come with the command.
    fn ask_for_data<P: PduPort>(&mut self, id: TaskId, context: &mut Context<'_, P>) {
        let Some(open) = self.open_task(id).filter(|open| open.tag.is_none()) else {
            return; // aborted while it waited, or gone to another connection
        };
        let wanted = open.wanted;
        if open.missing() > 0
            && let Some(connection) = context.connections.get_mut(open.connection)
        {
            // Offsets of Data-Out count from the command's first byte, so what has come already is reserved too.
            open.tag = Some(connection.port.reserve(wanted));
            open.asked_bytes = wanted as usize;
            open.count_asked(context.connections);
        }
        let tag = open.tag.map(TargetTransferTag);
        if self.machine.receive_data(id, tag, wanted) == DataProgress::Complete {
            self.start_or_wait(id, context);
        }
    }

    pub(super) fn start_or_wait<P: PduPort>(&mut self, id: TaskId, context: &mut Context<'_, P>) {
        let Some(open) = self.open_task(id) else {
            return; // aborted while it waited
        };
        if open.task.data_in_length() > 0
            && let Some(Allegiance { cid, flow, .. }) = allegiance(context.connections, open.connection)
            && !flow.may_read(self.machine.data_in_bytes(*cid))
        {
            flow.waiting.push_back(id);
        } else {
            self.start(id, context);
        }
    }

    /// All data of the command has come.
    fn start<P: PduPort>(&mut self, id: TaskId, context: &mut Context<'_, P>) {
        let Some(open) = self.open_task(id).filter(|open| !open.in_store) else {
            return; // aborted while it waited, or gone to another connection
        };
        let unit = open.task.unit();
        if self.has_orphans(unit, context.connections) {
            return self.behind_orphans.push(id);
        }
        let open = self.tasks[id.index()].as_mut().expect("the task was looked up just before");
        if self.nexus.as_ref().is_some_and(|nexus| !nexus.may_start(&open.task)) {
            return self.dormant.push(id);
        }
        open.release_tag(context.connections);
        let data = std::mem::take(&mut open.data);
        let step = match &mut self.nexus {
            Some(nexus) => nexus.start(&mut open.task, data),
            None => Step::Aborted,
        };
        self.act(id, step, context);
    }

    /// Whether block I/O of tasks that have ended with their connection is still in the store of a unit. What an initiator sends
    /// after it has learned of that end must not be overtaken.
    fn has_orphans<P>(&self, unit: usize, connections: &Connections<P>) -> bool {
        self.aborted_in_store.iter().any(|open| open.task.store() == unit && is_lost(connections, open.connection))
    }

    fn act<P: PduPort>(&mut self, id: TaskId, step: Step, context: &mut Context<'_, P>) {
        let open = self.tasks[id.index()].as_mut().expect("the task has just made this step");
        let outcome = match step {
            Step::Io(io) => {
                open.in_store = true;
                open.count_reading(context.connections);
                return self.request_io(IoOwner::Task(id), io, context);
            }
            Step::Answered(io) => return self.answer(id, io, context),
            Step::Wait => {
                self.waiting.push(id);
                return self.look_again_after(context.now);
            }
            Step::Done(outcome) => Some(open.outcome(outcome)),
            Step::Aborted => None,
        };
        open.forget_asked(context.connections);
        let lun = open.lun;
        self.tasks[id.index()] = None;
        self.has_ended = true;
        match outcome {
            Some(outcome) => self.finish(id, lun, outcome),
            None => {
                self.look_for_reset(lun);
                self.machine.discard(id);
            }
        }
    }

    /// A command ends well, and its task goes on.
    fn answer<P: PduPort>(&mut self, id: TaskId, io: BlockIo, context: &mut Context<'_, P>) {
        let outcome = Outcome { status: Status::Good, sense: Bytes::new(), data_in: Bytes::new() };
        let open = self.tasks[id.index()].take().expect("the task has just made this step");
        open.forget_asked(context.connections);
        self.has_ended = true;
        self.finish(id, open.lun, open.outcome(outcome));
        let place = self.answered.insert(open.task);
        self.request_io(IoOwner::Answered(place), io, context);
    }

    /// Looks whether tasks that wait for block I/O of other sessions may go on.
    pub(super) fn wake_waiting<P: PduPort>(&mut self, context: &mut Context<'_, P>) {
        for id in std::mem::take(&mut self.waiting) {
            let place = self.tasks.get_mut(id.index()).and_then(Option::as_mut);
            let (Some(open), Some(nexus)) = (place.filter(|open| open.id == id), &mut self.nexus) else {
                continue; // aborted while it waited
            };
            let step = nexus.wake(&mut open.task);
            self.act(id, step, context);
        }
    }

    // RFC 7143 4.2.2.3.4-2, 4.2.3.3-12, 4.2.3.4-16, 4.2.3.6-1.
    /// Ends a command. A unit attention about tasks that somebody has ended is fenced (RFC 7143 section 4.2.3.3 e).
    fn finish(&mut self, id: TaskId, lun: LunField, outcome: TaskOutcome) {
        self.traffic.count(&outcome);
        if !outcome.sense.is_empty() && tells_of_ended_tasks(&outcome.sense) {
            self.machine.complete_fenced(id, outcome);
            self.machine.terminate_tasks(lun, Some(id));
        } else {
            self.machine.complete(id, outcome);
        }
    }

    // RFC 7143 4.2.3.5-1.
    /// The device has ended a task without a word. If another session has reset its unit, and no command has been told so yet, all tasks of
    /// this session at the unit have ended with it.
    fn look_for_reset(&mut self, lun: LunField) {
        let Some(nexus) = &self.nexus else { return };
        let pending = nexus.asynchronous_event(LogicalUnitNumber::from_wire(lun.0)).ok().flatten();
        if pending.is_some_and(|event| event.key == SenseKey::UnitAttention && ENDED_TASKS.contains(&event.additional))
        {
            self.machine.terminate_tasks(lun, None);
        }
    }

    /// A task has ended. Returns the connection that it was bound to, and its unit.
    pub(super) fn abort<P: PduPort>(
        &mut self,
        id: TaskId,
        context: &mut Context<'_, P>,
    ) -> Option<(ConnectionId, usize)> {
        self.open_task(id)?;
        let open = self.tasks[id.index()].take()?;
        let bound = (open.connection, open.task.unit());
        if open.in_store {
            self.aborted_in_store.push(open);
        } else {
            open.forget_asked(context.connections);
            self.forget(open);
        }
        Some(bound)
    }

    /// A task that was aborted is over at the device too.
    fn forget(&mut self, open: OpenTask) {
        self.has_ended = true;
        if let Some(nexus) = &mut self.nexus {
            nexus.forget(open.task);
        }
    }

    /// Tasks have ended: those that their order has kept back may begin. Returns whether there may be something new to carry out.
    pub(super) fn start_dormant<P: PduPort>(&mut self, context: &mut Context<'_, P>) -> bool {
        let has_ended = std::mem::take(&mut self.has_ended);
        if !has_ended || self.dormant.is_empty() {
            return false;
        }
        for id in std::mem::take(&mut self.dormant) {
            self.start_or_wait(id, context);
        }
        true
    }

    /// RFC 7143 11.14.5: the initiator is told by unit attention of tasks that have ended since their connection has.
    pub(super) fn tell_of_orphans<P>(&mut self, aborted: &[(ConnectionId, usize)], connections: &Connections<P>) {
        let Some(nexus) = &mut self.nexus else { return };
        for (_, unit) in aborted.iter().filter(|(connection, _)| is_lost(connections, *connection)) {
            // RFC 7143 11.14.5-1: what the transport has ended.
            nexus.commands_cleared(*unit);
        }
    }

    /// A task goes on with another connection (RFC 7143 section 7.2.2): there it waits for what it has waited for.
    pub(super) fn reassign<P: PduPort>(&mut self, id: TaskId, cid: Cid, context: &mut Context<'_, P>) {
        let connection = self.find(cid);
        let (Some(connection), Some(open)) = (connection, self.open_task(id)) else { return };
        let (in_store, missing) = (open.in_store, open.missing());
        open.release_tag(context.connections);
        open.forget_asked(context.connections);
        if in_store {
            open.forget_reading(context.connections);
        }
        open.connection = connection;
        if missing > 0 {
            open.asked_bytes = 0;
        }
        open.count_asked(context.connections);
        if in_store {
            open.count_reading(context.connections);
        }
        match (in_store || self.waiting.contains(&id), missing) {
            (true, _) => {}
            (false, 0) => self.start_or_wait(id, context),
            (false, _) => self.pursue(id, context),
        }
    }

    /// No data comes any more under a tag of a connection's port.
    pub(super) fn take_back<P: PduPort>(&mut self, cid: Cid, tag: TargetTransferTag, context: &mut Context<'_, P>) {
        if let Some(connection) = self.find(cid).and_then(|id| context.connections.get_mut(id)) {
            connection.port.release(tag.0);
        }
    }

    /// A connection is no more: its port has its tags back, and tasks that are not over have none.
    pub(super) fn release_tags<P: PduPort>(&mut self, connection: ConnectionId, context: &mut Context<'_, P>) {
        for open in self.tasks.iter_mut().flatten().filter(|open| open.connection == connection) {
            open.release_tag(context.connections);
        }
    }
}

/// Unit attention conditions that come with the end of all tasks of the nexus at the unit.
const ENDED_TASKS: [AdditionalSense; 3] = [
    AdditionalSense::SCSI_BUS_RESET,
    AdditionalSense::BUS_DEVICE_RESET,
    AdditionalSense::COMMANDS_CLEARED_BY_ANOTHER_INITIATOR,
];

/// Whether sense data is a unit attention about tasks of the nexus that a function for many tasks has ended.
fn tells_of_ended_tasks(sense: &[u8]) -> bool {
    Sense::decode(sense)
        .is_ok_and(|sense| sense.key == SenseKey::UnitAttention && ENDED_TASKS.contains(&sense.additional))
}

/// Whether a connection takes nothing any more.
fn is_lost<P>(connections: &Connections<P>, id: ConnectionId) -> bool {
    connections.get(id).is_none_or(|connection| !connection.is_open())
}
