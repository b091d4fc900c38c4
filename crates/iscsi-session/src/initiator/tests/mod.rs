//! A session against a target that is a script.

mod captured;
mod charts;
mod cleanup;
mod connections;
mod fast_abort;
mod features;
mod garbage;
mod ladders;
mod life;
mod management;
mod numbers;
mod reassignment;
mod recovery;
mod rejects;
mod repetition;
mod results;
mod retries;
mod texts;
mod violations;
mod writes;

use super::{Command, Event, Logout, Session, SessionConfig, Transfer};
use crate::{CloseReason, LoginOutcome, Parameters, SendTargetsScope, SessionType, Violation};
use bytes::Bytes;
use iscsi_pdu::*;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

pub(super) const CID: Cid = Cid(1);
/// CmdSN of the first command and StatSN of the first status, unless a test says otherwise.
pub(super) const FIRST_CMD_SN: CmdSn = CmdSn(100);
pub(super) const FIRST_STAT_SN: StatSn = StatSn(500);
pub(super) const LUN: LunField = LunField([0, 3, 0, 0, 0, 0, 0, 0]);

/// The session, its clock, and the numbers that a good target would use.
pub(super) struct Bench {
    pub(super) session: Session,
    pub(super) now: Instant,
    /// The connection that is spoken of.
    pub(super) cid: Cid,
    pub(super) stat_sn: StatSn,
    /// StatSN of the other connections.
    others: HashMap<Cid, StatSn>,
    pub(super) exp_cmd_sn: CmdSn,
    pub(super) max_cmd_sn: CmdSn,
}

pub(super) fn outcome(parameters: Parameters) -> LoginOutcome {
    LoginOutcome {
        initiator_name: "iqn.2026-01.org.example:initiator".into(),
        target_name: Some("iqn.2026-01.org.example:target".into()),
        session_type: SessionType::Normal,
        isid: Isid::default(),
        tsih: Tsih(1),
        cid: CID,
        parameters,
        cmd_sn: FIRST_CMD_SN,
        stat_sn: FIRST_STAT_SN,
        max_cmd_sn: FIRST_CMD_SN.advanced_by(31),
        authenticated_as: None,
    }
}

pub(super) fn config() -> SessionConfig {
    SessionConfig { ping_interval: Some(Duration::from_secs(5)), ping_timeout: Duration::from_secs(3) }
}

pub(super) fn tag(number: u32) -> InitiatorTaskTag {
    InitiatorTaskTag(number)
}

pub(super) fn read(length: u32) -> Command {
    Command { lun: LUN, cdb: [0x28; 16], data: Transfer::Read(length), ..Command::default() }
}

/// A write of bytes that tell their offset.
pub(super) fn write(length: usize) -> Command {
    Command { lun: LUN, cdb: [0x2a; 16], data: Transfer::Write(pattern(length)), ..Command::default() }
}

pub(super) fn pattern(length: usize) -> Bytes {
    (0..length).map(|offset| (offset % 251) as u8).collect()
}

impl Bench {
    pub(super) fn new(parameters: Parameters) -> Self {
        Self::with(outcome(parameters))
    }

    pub(super) fn with(outcome: LoginOutcome) -> Self {
        let now = Instant::now();
        Self {
            session: Session::new(&outcome, config(), now),
            now,
            cid: outcome.cid,
            stat_sn: outcome.stat_sn,
            others: HashMap::new(),
            exp_cmd_sn: outcome.cmd_sn,
            max_cmd_sn: outcome.max_cmd_sn,
        }
    }

    /// Another connection logs in, and is spoken of.
    pub(super) fn join(&mut self, cid: Cid) -> &mut Self {
        self.join_with(cid, Parameters::default())
    }

    pub(super) fn join_with(&mut self, cid: Cid, parameters: Parameters) -> &mut Self {
        let (cmd_sn, stat_sn) = (self.exp_cmd_sn, StatSn(1000 * u32::from(cid.0)));
        let outcome = LoginOutcome { cid, cmd_sn, stat_sn, ..outcome(parameters) };
        self.session.add_connection(&outcome, self.now);
        self.others.insert(self.cid, self.stat_sn);
        (self.cid, self.stat_sn) = (cid, stat_sn);
        self
    }

    /// Speaks of another connection from now on.
    pub(super) fn on(&mut self, cid: Cid) -> &mut Self {
        if cid != self.cid {
            self.others.insert(self.cid, self.stat_sn);
            (self.cid, self.stat_sn) = (cid, self.others[&cid]);
        }
        self
    }

    pub(super) fn submit(&mut self, number: u32, command: Command) {
        self.session.submit(self.now, self.cid, tag(number), command).expect("the window is open");
    }

    /// What the session sends now.
    pub(super) fn sent(&mut self) -> Vec<Pdu> {
        std::iter::from_fn(|| self.session.poll_transmit(self.cid)).collect()
    }

    pub(super) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.session.poll_event()).collect()
    }

    pub(super) fn take(&mut self, pdu: impl Into<Pdu>) {
        self.session.handle_pdu(self.now, self.cid, pdu.into());
    }

    /// The next StatSN, used.
    pub(super) fn status(&mut self) -> StatSn {
        let stat_sn = self.stat_sn;
        self.stat_sn = stat_sn.next();
        stat_sn
    }

    pub(super) fn data_in(&self, number: u32, data_sn: u32, offset: u32, data: Bytes) -> DataIn {
        DataIn {
            initiator_task_tag: tag(number),
            exp_cmd_sn: self.exp_cmd_sn,
            max_cmd_sn: self.max_cmd_sn,
            data_sn,
            buffer_offset: offset,
            data,
            ..DataIn::default()
        }
    }

    /// A response with status GOOD.
    pub(super) fn response(&mut self, number: u32) -> ScsiResponse {
        ScsiResponse {
            status_qualifier: 0,
            response: ScsiResponseCode::CompletedAtTarget,
            status: 0,
            initiator_task_tag: tag(number),
            snack_tag: 0,
            stat_sn: self.status(),
            exp_cmd_sn: self.exp_cmd_sn,
            max_cmd_sn: self.max_cmd_sn,
            exp_data_sn: 0,
            bidirectional_read_residual: Residual::None,
            residual: Residual::None,
            data: Bytes::new(),
        }
    }

    pub(super) fn r2t(&self, number: u32, r2t_sn: u32, offset: u32, length: u32) -> R2t {
        R2t {
            lun: LUN,
            initiator_task_tag: tag(number),
            target_transfer_tag: TargetTransferTag(0x7000 + r2t_sn),
            stat_sn: self.stat_sn,
            exp_cmd_sn: self.exp_cmd_sn,
            max_cmd_sn: self.max_cmd_sn,
            r2t_sn,
            buffer_offset: offset,
            desired_data_transfer_length: length,
        }
    }

    pub(super) fn nop_in(&mut self, number: Option<u32>, transfer_tag: Option<u32>) -> NopIn {
        NopIn {
            lun: LUN,
            initiator_task_tag: number.map(tag),
            target_transfer_tag: transfer_tag.map(TargetTransferTag),
            stat_sn: if number.is_some() { self.status() } else { self.stat_sn },
            exp_cmd_sn: self.exp_cmd_sn,
            max_cmd_sn: self.max_cmd_sn,
            data: Bytes::new(),
        }
    }

    /// The session has ended for this violation, and all these requests are lost.
    #[track_caller]
    pub(super) fn assert_violation(&mut self, violation: Violation, lost: &[u32]) {
        self.assert_closed(CloseReason::Violation(violation), lost);
    }

    /// The session has ended for this reason, and all these requests are lost.
    #[track_caller]
    pub(super) fn assert_closed(&mut self, reason: CloseReason, lost: &[u32]) {
        let mut events = self.events();
        assert_eq!(events.pop(), Some(Event::Closed(reason)));
        let mut found: Vec<_> = events
            .into_iter()
            .filter_map(|event| if let Event::TaskLost { tag } = event { Some(tag.0) } else { None })
            .collect();
        found.sort_unstable();
        assert_eq!(found, lost);
        assert_eq!(self.sent(), []);
        assert!(self.session.is_closed());
    }
}
