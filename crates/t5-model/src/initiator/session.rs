//! One session: its login, and then its tasks.

use super::framing::Taken;
use super::nexus::Nexus;
use super::outcome::{Output, code_of_end, code_of_failure};
use super::{TASKS_MAX, Task};
use crate::iscsi::Settings;
use bytes::Bytes;
use iscsi_pdu::{Cid, InitiatorTaskTag, Pdu, TaskManagementFunction, TaskManagementResponseCode};
use iscsi_session::initiator::{
    Command, Event, Login, LoginConfig, LoginEvent, Logout, Session, SessionConfig, TaskManagement,
};
use iscsi_session::{BadPdu, LoginOutcome};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Instant;
use t5_hal::dma::{DmaFault, DmaMemory};
use t5_hal::driver::SEGMENT_BYTES_MAX;
use t5_hal::wire::{FoiscsiState, RemoteDevice, ReturnCode, WorkRequestOp, WorkRequestOpcode, WorkRequestReply};

/// The one connection of a session.
const CID: Cid = Cid(0);
/// What may wait to be told to the driver before the target's PDUs wait too.
const OUTPUTS_MAX: usize = 64;
/// What RFC 7143 reserves among tags.
const NO_TAG: u32 = u32::MAX;

/// What a session is begun with.
#[derive(Debug)]
pub(crate) struct SessionSetup {
    pub(crate) login: LoginConfig,
    /// The beginning of the work request that asks for it, with the session's number in it.
    pub(crate) reply: WorkRequestReply,
    /// Where the driver is told of it.
    pub(crate) iq: u16,
    /// Its number, by which SCSI commands name it too.
    pub(crate) number: u32,
    pub(crate) node: u32,
    /// Its connection.
    pub(crate) tid: u32,
}

#[derive(Debug)]
enum Stage {
    /// TCP is on its way.
    Connecting(Box<LoginConfig>),
    Login(Box<Login>),
    Open(Box<Session>),
    /// Nothing comes of it any more.
    Over,
}

/// What a tag stands for.
#[derive(Debug)]
enum Open {
    Task(Task),
    /// The driver wants tasks to be aborted.
    Abort {
        reply: WorkRequestReply,
        iq: u16,
    },
    /// Something of our own.
    Own,
}

#[derive(Debug)]
pub(crate) struct FirmwareSession {
    reply: WorkRequestReply,
    iq: u16,
    number: u32,
    pub(crate) node: u32,
    pub(super) nexus: Nexus,
    pub(crate) tid: u32,
    stage: Stage,
    /// The digests in use.
    pub(crate) settings: Settings,
    open: HashMap<u32, Open>,
    /// When tasks are aborted, with their tags.
    deadlines: BTreeSet<(Instant, u32)>,
    /// Commands that the target has no window for.
    waiting: VecDeque<(u32, Command)>,
    next_tag: u32,
    /// Who wants it to end.
    log_out: Option<WorkRequestReply>,
    outputs: VecDeque<Output>,
    faults: Vec<DmaFault>,
    /// Whether it has ended as the driver wanted.
    pub(crate) is_logged_out: bool,
    /// PDUs and bytes of reads that were placed and not told of.
    placed: (u64, u64),
}

impl FirmwareSession {
    pub(crate) fn new(setup: SessionSetup) -> Self {
        let SessionSetup { login, reply, iq, number, node, tid } = setup;
        Self {
            reply,
            iq,
            number,
            node,
            nexus: Nexus::of(&login),
            tid,
            stage: Stage::Connecting(Box::new(login)),
            settings: Settings::default(),
            open: HashMap::new(),
            deadlines: BTreeSet::new(),
            waiting: VecDeque::new(),
            next_tag: 0,
            log_out: None,
            outputs: VecDeque::new(),
            faults: Vec::new(),
            is_logged_out: false,
            placed: (0, 0),
        }
    }

    /// Where the driver is told of it.
    pub(crate) const fn iq(&self) -> u16 {
        self.iq
    }

    /// PDUs, and bytes in them, that it has placed since it was asked last.
    pub(crate) fn take_placed(&mut self) -> (u64, u64) {
        std::mem::take(&mut self.placed)
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// Whether the driver has to be told more before anything else comes.
    pub(crate) fn has_much_to_tell(&self) -> bool {
        self.outputs.len() >= OUTPUTS_MAX
    }

    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// What the driver named that is not in its memory.
    pub(crate) fn take_faults(&mut self) -> Vec<DmaFault> {
        std::mem::take(&mut self.faults)
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Pdu> {
        match &mut self.stage {
            Stage::Login(login) => login.poll_transmit(),
            Stage::Open(session) => session.poll_transmit(CID),
            Stage::Connecting(_) | Stage::Over => None,
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let task = self.deadlines.first().map(|&(deadline, _)| deadline);
        let protocol = match &self.stage {
            Stage::Login(login) => login.poll_timeout(),
            Stage::Open(session) => session.poll_timeout(),
            Stage::Connecting(_) | Stage::Over => None,
        };
        task.into_iter().chain(protocol).min()
    }

    fn tasks(&self) -> impl Iterator<Item = (u32, &Task)> {
        self.open.iter().filter_map(|(&tag, open)| match open {
            Open::Task(task) => Some((tag, task)),
            _ => None,
        })
    }

    fn tag(&mut self, open: Open) -> InitiatorTaskTag {
        while self.next_tag == NO_TAG || self.open.contains_key(&self.next_tag) {
            self.next_tag = self.next_tag.wrapping_add(1);
        }
        let tag = self.next_tag;
        self.open.insert(tag, open);
        self.next_tag = tag.wrapping_add(1);
        InitiatorTaskTag(tag)
    }

    /// The connection stands.
    pub(crate) fn handle_established(&mut self, now: Instant, random: [u8; 32]) {
        if let Stage::Connecting(config) = &self.stage {
            self.stage = Stage::Login(Box::new(Login::new((**config).clone(), InitiatorTaskTag(0), random, now)));
            // A name that is none ends it at once.
            self.handle_login(now);
        }
    }

    /// The connection is gone.
    pub(crate) fn handle_lost(&mut self, now: Instant, code: ReturnCode, memory: &DmaMemory) {
        match &mut self.stage {
            Stage::Open(session) => {
                session.handle_connection_lost(now, CID);
                self.handle_events(now, memory);
                // At error recovery level 0 that is the end of the session; if it is not, it is ours.
                self.end(code);
            }
            _ => self.end(code),
        }
    }

    /// Something has come on the connection.
    pub(crate) fn handle(&mut self, now: Instant, taken: Taken, memory: &DmaMemory) {
        match (&mut self.stage, taken) {
            (Stage::Login(login), Taken::Frame(frame)) => {
                let header = frame.header;
                match Pdu::decode(frame) {
                    Ok(pdu) => login.handle_pdu(now, pdu),
                    Err(error) => login.handle_undecodable(now, header, error),
                }
                self.handle_login(now);
            }
            (Stage::Open(session), Taken::Frame(frame)) => {
                let header = frame.header;
                match Pdu::decode(frame) {
                    Ok(pdu) => session.handle_pdu(now, CID, pdu),
                    Err(error) => session.handle_bad_pdu(now, CID, header, BadPdu::Undecodable(error)),
                }
                self.handle_events(now, memory);
            }
            (Stage::Open(session), Taken::BadData(header)) => {
                session.handle_bad_pdu(now, CID, header, BadPdu::DataDigest);
                self.handle_events(now, memory);
            }
            _ => self.handle_lost(now, ReturnCode::Protocol, memory),
        }
    }

    /// The time has come for something.
    pub(crate) fn handle_timeout(&mut self, now: Instant, memory: &DmaMemory) {
        match &mut self.stage {
            Stage::Login(login) => {
                login.handle_timeout(now);
                self.handle_login(now);
            }
            Stage::Open(session) => {
                session.handle_timeout(now);
                self.handle_events(now, memory);
                for (_, tag) in self.deadlines.range(..=(now, u32::MAX)).copied().collect::<Vec<_>>() {
                    self.abort_task(now, tag, ReturnCode::TimedOut, Open::Own);
                }
                self.handle_events(now, memory);
            }
            Stage::Connecting(_) | Stage::Over => {}
        }
    }

    fn handle_login(&mut self, now: Instant) {
        let Stage::Login(login) = &mut self.stage else { return };
        match login.poll_event() {
            None => {}
            Some(LoginEvent::Complete(outcome)) => self.begin(now, *outcome),
            Some(LoginEvent::Redirected { .. }) => {
                self.tell(FoiscsiState::Redirect, ReturnCode::AddressNotAvailable);
                self.stage = Stage::Over;
            }
            Some(LoginEvent::Failed(failure)) => self.end(code_of_failure(&failure)),
        }
    }

    /// The session stands: the driver is told of it, and of its device.
    fn begin(&mut self, now: Instant, mut outcome: LoginOutcome) {
        let parameters = &mut outcome.parameters;
        parameters.send_segment_bytes_max = parameters.send_segment_bytes_max.min(SEGMENT_BYTES_MAX);
        self.settings = Settings {
            header_digest: parameters.header_digest,
            data_digest: parameters.data_digest,
            ..Settings::default()
        };
        let device = RemoteDevice {
            op: WorkRequestOp::of(WorkRequestOpcode::RemoteDevice, 0),
            cookie: self.reply.cookie,
            device_flow: self.number.into(),
            // In units of 512 bytes, so that it fits.
            first_burst_length: ((parameters.first_burst_bytes_max / 512).min(0xffff) as u16).into(),
            burst_length_max: ((parameters.burst_bytes_max / 512).min(0xffff) as u16).into(),
            receive_length_max: (parameters.receive_segment_bytes_max as u16).into(),
            send_length_max: (parameters.send_segment_bytes_max as u16).into(),
            time2wait: parameters.time_2_wait.into(),
            time2retain: parameters.time_2_retain.into(),
            tsih: outcome.tsih.0.into(),
            iq: self.iq.into(),
            ..RemoteDevice::default()
        };
        self.outputs.push_back(Output::Device(self.iq, Box::new(device)));
        self.tell(FoiscsiState::Online, ReturnCode::Success);
        self.stage = Stage::Open(Box::new(Session::new(&outcome, SessionConfig::default(), now)));
    }

    /// Tells the driver of the session's state.
    fn tell(&mut self, state: FoiscsiState, code: ReturnCode) {
        let mut reply = self.reply.with_code(code);
        (reply.rest[1], reply.rest[2]) = (code.to_wire(), state.to_wire());
        self.outputs.push_back(Output::Reply(self.iq, reply));
    }

    /// The end: whatever is open comes back, and the driver is told, once.
    fn end(&mut self, code: ReturnCode) {
        if self.is_over() {
            return;
        }
        self.stage = Stage::Over;
        self.waiting.clear();
        let lost = if self.log_out.is_some() { ReturnCode::DeviceLoggedOut } else { ReturnCode::DeviceLost };
        let mut tags: Vec<u32> = self.open.keys().copied().collect();
        tags.sort_unstable();
        tags.into_iter().for_each(|tag| self.finish(tag, lost));
        match self.log_out.take() {
            Some(mut reply) => {
                self.is_logged_out = true;
                reply.rest[2] = FoiscsiState::Free.to_wire();
                self.outputs.push_back(Output::Reply(self.iq, reply.with_code(ReturnCode::Success)));
            }
            None => self.tell(FoiscsiState::Failed, code),
        }
    }

    /// A SCSI command.
    pub(crate) fn submit(&mut self, now: Instant, task: Task, command: Command, memory: &DmaMemory) {
        if !matches!(self.stage, Stage::Open(_)) || self.log_out.is_some() {
            return self.outputs.push_back(Output::Reply(task.iq, task.reply.with_code(ReturnCode::DeviceNotReady)));
        }
        if self.open.len() >= TASKS_MAX {
            return self.outputs.push_back(Output::Reply(task.iq, task.reply.with_code(ReturnCode::NoExchange)));
        }
        let deadline = task.deadline;
        let tag = self.tag(Open::Task(task));
        self.deadlines.extend(deadline.map(|deadline| (deadline, tag.0)));
        self.waiting.push_back((tag.0, command));
        self.submit_waiting(now);
        self.handle_events(now, memory);
    }

    fn submit_waiting(&mut self, now: Instant) {
        let Stage::Open(session) = &mut self.stage else { return };
        while let Some((tag, command)) = self.waiting.pop_front() {
            if let Err(command) = session.submit(now, CID, InitiatorTaskTag(tag), command) {
                return self.waiting.push_front((tag, command));
            }
        }
    }

    /// The driver wants the command of that name to be aborted, or all of them.
    pub(crate) fn abort(
        &mut self,
        now: Instant,
        reply: WorkRequestReply,
        iq: u16,
        cookie: Option<u64>,
        memory: &DmaMemory,
    ) {
        let meant = self.tasks().filter(|(_, task)| cookie.is_none_or(|cookie| task.cookie() == cookie));
        let mut tags: Vec<u32> = meant.map(|(tag, _)| tag).collect();
        // Those that wait for the window end at once, so they come first.
        tags.sort_unstable_by_key(|tag| (!self.waiting.iter().any(|(waiting, _)| waiting == tag), *tag));
        let Some((&last, others)) = tags.split_last() else {
            return self.outputs.push_back(Output::Reply(iq, reply.with_code(ReturnCode::NoEntry)));
        };
        for &tag in others {
            self.abort_task(now, tag, ReturnCode::ScsiAborted, Open::Own);
        }
        // The last one's end is the whole's: functions are answered in their order.
        self.abort_task(now, last, ReturnCode::ScsiAborted, Open::Abort { reply, iq });
        self.handle_events(now, memory);
    }

    /// Aborts a task; what waits for that is told when it is done.
    fn abort_task(&mut self, now: Instant, tag: u32, verdict: ReturnCode, asker: Open) {
        let waiting = self.waiting.len();
        self.waiting.retain(|(other, _)| *other != tag);
        if self.waiting.len() < waiting {
            // The target has never heard of it.
            self.finish(tag, verdict);
            let asker = self.tag(asker);
            return self.finish(asker.0, ReturnCode::Success);
        }
        let Some(Open::Task(task)) = self.open.get_mut(&tag) else { return };
        if let Some(deadline) = task.deadline.take() {
            self.deadlines.remove(&(deadline, tag));
        }
        if verdict == ReturnCode::TimedOut {
            task.verdict = Some(verdict);
        }
        let asked = TaskManagement {
            function: TaskManagementFunction::AbortTask,
            lun: Default::default(),
            referenced: Some(InitiatorTaskTag(tag)),
        };
        let asker = self.tag(asker);
        if let Stage::Open(session) = &mut self.stage {
            session.manage_task(now, CID, asker, asked);
        }
    }

    /// The driver wants the session to end.
    pub(crate) fn log_out(&mut self, now: Instant, reply: WorkRequestReply, memory: &DmaMemory) {
        if self.log_out.is_some() {
            return self.outputs.push_back(Output::Reply(self.iq, reply.with_code(ReturnCode::InProgress)));
        }
        self.log_out = Some(reply);
        if !matches!(self.stage, Stage::Open(_)) {
            return self.end(ReturnCode::ScsiCloseRequested);
        }
        while let Some((tag, _)) = self.waiting.pop_front() {
            self.finish(tag, ReturnCode::DeviceLoggedOut);
        }
        let tag = self.tag(Open::Own);
        if let Stage::Open(session) = &mut self.stage {
            session.logout(now, CID, tag, Logout::Session);
        }
        self.handle_events(now, memory);
    }

    /// Does what the session says.
    fn handle_events(&mut self, now: Instant, memory: &DmaMemory) {
        while let Stage::Open(session) = &mut self.stage
            && let Some(event) = session.poll_event()
        {
            match event {
                Event::Data { tag, offset, data } => self.place(tag.0, offset, &data, memory),
                Event::TaskComplete { tag, result } => {
                    let Some(Open::Task(task)) = self.open.get(&tag.0) else { continue };
                    let concluded = task.conclude(&result, memory);
                    let code = concluded.unwrap_or_else(|fault| {
                        self.faults.push(fault);
                        ReturnCode::Fault
                    });
                    self.finish(tag.0, code);
                }
                Event::TaskAborted { tag } => self.finish(tag.0, ReturnCode::ScsiAborted),
                Event::TaskRejected { tag, .. } => self.finish(tag.0, ReturnCode::ScsiTaskError),
                Event::TaskLost { tag } => {
                    let out = self.log_out.is_some();
                    self.finish(tag.0, if out { ReturnCode::DeviceLoggedOut } else { ReturnCode::DeviceLost });
                }
                Event::TaskManagementComplete { tag, response, .. } => {
                    self.finish(
                        tag.0,
                        match response {
                            TaskManagementResponseCode::FunctionComplete => ReturnCode::Success,
                            TaskManagementResponseCode::TaskDoesNotExist => ReturnCode::NoEntry,
                            _ => ReturnCode::Io,
                        },
                    );
                }
                Event::PingComplete { tag, .. }
                | Event::NegotiationComplete { tag }
                | Event::LogoutComplete { tag, .. }
                | Event::Targets { tag, .. } => _ = self.open.remove(&tag.0),
                Event::PingDue { cid } => {
                    let tag = self.tag(Open::Own);
                    self.with_session(|session| session.ping(now, cid, tag, Bytes::new()));
                }
                Event::NegotiationRequested { cid } => {
                    let tag = self.tag(Open::Own);
                    self.with_session(|session| session.negotiate(now, cid, tag));
                }
                Event::LogoutRequested { cid, .. } => {
                    let tag = self.tag(Open::Own);
                    self.with_session(|session| session.logout(now, cid, tag, Logout::Session));
                }
                Event::Closed(reason) => self.end(code_of_end(&reason)),
                Event::PduRejected { .. }
                | Event::Async(_)
                | Event::ConnectionClosed { .. }
                | Event::CleanupDue { .. }
                | Event::ReassignmentDue { .. } => {}
            }
        }
        self.submit_waiting(now);
    }

    fn with_session(&mut self, act: impl FnOnce(&mut Session)) {
        if let Stage::Open(session) = &mut self.stage {
            act(session);
        }
    }

    fn place(&mut self, tag: u32, offset: u32, data: &[u8], memory: &DmaMemory) {
        let Some(Open::Task(task)) = self.open.get_mut(&tag) else { return };
        if task.verdict.is_some() {
            return;
        }
        match task.place(offset, data, memory) {
            Ok(()) => self.placed = (self.placed.0 + 1, self.placed.1 + data.len() as u64),
            Err(fault) => {
                task.verdict = Some(ReturnCode::ScsiPlacementError);
                self.faults.push(fault);
            }
        }
    }

    /// What a tag stands for has come to its end.
    fn finish(&mut self, tag: u32, code: ReturnCode) {
        match self.open.remove(&tag) {
            Some(Open::Task(task)) => {
                if let Some(deadline) = task.deadline {
                    self.deadlines.remove(&(deadline, tag));
                }
                let code = task.verdict.unwrap_or(code);
                self.outputs.push_back(Output::Reply(task.iq, task.reply.with_code(code)));
            }
            Some(Open::Abort { reply, iq }) => self.outputs.push_back(Output::Reply(iq, reply.with_code(code))),
            Some(Open::Own) | None => {}
        }
    }
}
