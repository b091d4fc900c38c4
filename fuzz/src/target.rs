//! The target's end: a login, then a session, both with an owner that does what an owner may do.

use crate::input::{check_sent, frames, take_byte};
use bytes::Bytes;
use iscsi_pdu::{Cid, DecodeError, Frame, LoginStatus, Pdu, TargetTransferTag, TaskManagementResponseCode, Tsih};
use iscsi_session::target::{
    Command, DataProgress, Event, Identification, Login, LoginConfig, LoginEvent, LoginPolicy, Session, SessionConfig,
    TaskId, TaskOutcome,
};
use iscsi_session::{Authentication, BadPdu, ChapAlgorithm, Credential, Limits, Secret, TargetRecord};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// Data that a read gives at most.
static DATA_IN: [u8; 65536] = [0x5a; 65536];
/// PDUs or events that one PDU may cause, and more.
const CONSEQUENCES_MAX: usize = 10_000;

/// A byte of options, and what an initiator sends.
pub fn target(mut input: &[u8]) {
    let mut target = Target::new(take_byte(&mut input));
    for frame in frames(input) {
        target.now += Duration::from_millis(if frame.header.0[0] & 0x80 == 0 { 1 } else { 11_000 });
        target.handle(frame);
        target.poll();
    }
}

struct Target {
    end: End,
    now: Instant,
    options: u8,
    commands: HashMap<TaskId, Progress>,
    /// Commands that we have ended; the session may have ended them before, and not told yet.
    completed: HashSet<TaskId>,
    tags: u32,
    closed: bool,
}

enum End {
    Login(Box<Login>),
    Session(Box<Session>),
}

/// A command that has not ended.
struct Progress {
    command: Command,
    /// Where the next piece of its data begins, and how many are wanted.
    data: (u32, u32),
}

impl Target {
    fn new(options: u8) -> Self {
        let now = Instant::now();
        let config = LoginConfig { limits: Limits::default(), timeout: Duration::from_secs(60), window: 8 };
        Self {
            end: End::Login(Box::new(Login::new(config, [7; 32], now))),
            now,
            options,
            commands: HashMap::new(),
            completed: HashSet::new(),
            tags: 0,
            closed: false,
        }
    }

    fn handle(&mut self, frame: Frame) {
        let now = self.now;
        let header = frame.header;
        let pdu: Result<Pdu, DecodeError> = Pdu::decode(frame);
        match (&mut self.end, pdu) {
            (End::Login(login), Ok(pdu)) => login.handle_pdu(now, pdu),
            (End::Login(login), Err(error)) => login.handle_undecodable(now, header, error),
            (End::Session(session), Ok(pdu)) => session.handle_pdu(now, Cid(0), pdu),
            (End::Session(session), Err(error)) => {
                session.handle_bad_pdu(now, Cid(0), header, BadPdu::Undecodable(error));
            }
        }
    }

    fn poll(&mut self) {
        for _ in 0..CONSEQUENCES_MAX {
            let is_done = match self.end {
                End::Login(_) => self.poll_login(),
                End::Session(_) => self.poll_session(),
            };
            if is_done {
                return;
            }
        }
        panic!("one PDU has consequences without end");
    }

    fn poll_login(&mut self) -> bool {
        let now = self.now;
        let End::Login(login) = &mut self.end else { return true };
        if login.poll_timeout().is_some_and(|at| at <= now) {
            login.handle_timeout(now);
        }
        if let Some(pdu) = login.poll_transmit() {
            check_sent(&pdu);
            return false;
        }
        match login.poll_event() {
            None => return true,
            Some(LoginEvent::Identify(_)) => login.identify(identification(self.options)),
            Some(LoginEvent::Admit(_)) if self.options & 0x80 != 0 => login.refuse(LoginStatus::OutOfResources.into()),
            Some(LoginEvent::Admit(_)) => login.admit(Tsih(1)),
            Some(LoginEvent::Complete(mut outcome)) => {
                outcome.cid = Cid(0);
                let config = SessionConfig { resettable: true, ..SessionConfig::default() };
                let session = Session::new(&outcome, config, TargetTransferTag(u32::MAX - 1), now);
                self.end = End::Session(Box::new(session));
            }
            Some(LoginEvent::Closed(_)) => {
                assert!(!self.closed, "a login ends once");
                self.closed = true;
            }
        }
        false
    }

    fn poll_session(&mut self) -> bool {
        let now = self.now;
        let End::Session(session) = &mut self.end else { return true };
        if session.poll_timeout().is_some_and(|at| at <= now) {
            session.handle_timeout(now);
            assert!(session.poll_timeout().is_none_or(|at| at > now), "a time-out that was handled is over");
        }
        // A slow connection takes nothing for a while.
        if self.options & 0x40 == 0
            && let Some(pdu) = session.poll_transmit(Cid(0))
        {
            check_sent(&pdu);
            return false;
        }
        let Some(event) = session.poll_event() else { return self.advance_oldest() };
        assert!(!self.closed, "nothing comes after the end");
        self.handle_event(event);
        false
    }

    fn handle_event(&mut self, event: Event) {
        let End::Session(session) = &mut self.end else { return };
        match event {
            Event::Command(command) => self.begin(command),
            Event::Data { task, offset, data } => {
                let progress = self.commands.get_mut(&task).expect("data is for a command that has not ended");
                assert!(!data.is_empty() && offset == progress.data.0, "data comes in order");
                progress.data.0 += data.len() as u32;
                assert!(progress.data.0 <= progress.data.1, "no more data comes than was asked for");
            }
            Event::DataComplete { task } => {
                let progress = &self.commands[&task];
                assert_eq!(progress.data.0, progress.data.1, "all data has come");
                self.complete(task);
            }
            Event::Aborted { task } => {
                let is_known = self.commands.remove(&task).is_some() || self.completed.remove(&task);
                assert!(is_known, "a command ends once");
            }
            Event::TagFree { .. } | Event::Violated { .. } => {}
            Event::TaskManagement { id, .. } => {
                session.answer_task_management(id, TaskManagementResponseCode::FunctionComplete);
            }
            Event::SendTargets { id, .. } => {
                let record = |number| TargetRecord {
                    name: format!("iqn.2026-01.org.example:{number}"),
                    addresses: vec!["192.0.2.1:3260,1".into(), "[2001:db8::1]:3260,1".into()],
                };
                session.answer_send_targets(id, &(0..200).map(record).collect::<Vec<_>>());
            }
            Event::ConnectionClosed { .. } | Event::Reassigned { .. } => unreachable!("the session has one connection"),
            Event::Closed(_) => self.closed = true,
        }
    }

    fn begin(&mut self, command: Command) {
        let End::Session(session) = &mut self.end else { return };
        let (task, length) = (command.task, command.expected_data_transfer_length);
        let early = command.data.len() as u32;
        assert!(early <= length && command.write || early == 0, "immediate data is part of a write");
        let wanted = if command.write { length.min(1 << 16) } else { 0 };
        let progress = Progress { command, data: (early.min(wanted), wanted) };
        assert!(self.commands.insert(task, progress).is_none(), "no two commands have one name");
        if wanted > 0 {
            self.tags += 1;
            if session.receive_data(task, TargetTransferTag(self.tags), wanted) == DataProgress::Complete {
                self.complete(task);
            }
        } else if self.options & 0x20 == 0 {
            self.complete(task);
        }
    }

    fn complete(&mut self, task: TaskId) {
        let End::Session(session) = &mut self.end else { return };
        let Some(Progress { command, .. }) = self.commands.remove(&task) else { return };
        self.completed.insert(task);
        let cdb = command.cdb;
        let data = usize::from(u16::from_be_bytes([cdb[7], cdb[8]]));
        session.complete(
            task,
            TaskOutcome {
                status_qualifier: 0,
                status: if cdb[0] == 0 { 2 } else { 0 },
                sense: Bytes::from_static(&DATA_IN[..if cdb[0] == 0 { 18 } else { 0 }]),
                data_in: Bytes::from_static(&DATA_IN[..if command.read { data } else { 0 }]),
                data_in_length: if command.read { data as u32 } else { 0 },
                data_out_length: if command.write { u32::from(cdb[9]) << 8 } else { 0 },
            },
        );
    }

    /// Ends a command that has waited, if the options say that commands wait. Whether nothing was done.
    fn advance_oldest(&mut self) -> bool {
        let waiting = |progress: &Progress| progress.data.1 == 0 && progress.command.cdb[15] & 1 == 0;
        let Some(task) = self.commands.iter().find(|(_, progress)| waiting(progress)).map(|(task, _)| *task) else {
            return true;
        };
        self.complete(task);
        false
    }
}

fn identification(options: u8) -> Identification {
    let credential = |name: &str, secret: &str| Credential {
        name: name.into(),
        secret: Secret::new(secret).expect("a secret that is long enough"),
    };
    let target = (options & 3 == 2).then(|| credential("target", "a secret of the target"));
    let algorithms = vec![ChapAlgorithm::Md5, ChapAlgorithm::Sha256];
    let authentication = match options & 3 {
        0 => Authentication::None,
        3 => return Identification::Refuse(LoginStatus::NotFound.into()),
        _ => Authentication::chap(vec![credential("user", "a secret of the user")], target, algorithms)
            .expect("credentials that may be used"),
    };
    let authentication = if options & 0x10 == 0 { authentication } else { authentication.or_none() };
    Identification::Proceed(LoginPolicy {
        authentication,
        target_alias: None,
        portal_group_tag: 1,
        limits: None,
        window: None,
    })
}
