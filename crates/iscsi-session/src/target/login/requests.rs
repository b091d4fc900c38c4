//! The headers of the Login Requests of one connection, and of our responses (RFC 7143 sections 11.12 and 11.13).
//!
//! Invariants: all requests of a login carry the same identity; a stage is left only for one that follows; every response has its
//! own StatSN; a login is at most [`REQUESTS_MAX`] requests long.

use crate::Violation;
use iscsi_pdu::{
    Cid, CmdSn, Header, InitiatorTaskTag, Isid, LoginRequest, LoginRequestHeader, LoginResponse, LoginStatus, Stage,
    StatSn, Tsih,
};

/// Most Login Requests in a login; six exchanges at least are asked for (RFC 7143 6.2-18, 10.3-1).
pub(crate) const REQUESTS_MAX: u32 = 64;

/// What all requests of a login have in common, and what the first has set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leader {
    pub(super) isid: Isid,
    pub(super) tsih: Tsih,
    pub(super) cid: Cid,
    pub(super) cmd_sn: CmdSn,
    tag: InitiatorTaskTag,
    versions: [u8; 2],
}

impl Leader {
    fn of(request: &LoginRequest) -> Self {
        Self {
            isid: request.isid,
            tsih: request.tsih,
            cid: request.cid,
            cmd_sn: request.cmd_sn,
            tag: request.initiator_task_tag,
            versions: [request.version_max, request.version_min],
        }
    }

    /// What can be said of a Login Request that means nothing.
    fn of_undecodable(header: &Header) -> Self {
        let fields: &LoginRequestHeader = header.view();
        Self {
            isid: Isid(fields.isid),
            tsih: Tsih(fields.tsih.get()),
            cid: Cid(fields.cid.get()),
            cmd_sn: CmdSn(fields.cmd_sn.get()),
            tag: InitiatorTaskTag(fields.initiator_task_tag.get()),
            versions: [fields.version_max, fields.version_min],
        }
    }

    /// Whether this is the first connection of its session.
    pub(super) fn is_leading(&self) -> bool {
        self.tsih == Tsih(0)
    }

    fn is_followed_by(&self, next: &Self) -> bool {
        // RFC 7143 11.12.8: while a connection joins a session, commands on others may advance the CmdSN.
        let same_number = self.cmd_sn == next.cmd_sn || !self.is_leading();
        let same_identity = self.isid == next.isid && self.tsih == next.tsih && self.cid == next.cid;
        same_number && same_identity && self.tag == next.tag && self.versions == next.versions
    }
}

/// The requests that have come, and the responses that have gone.
#[derive(Debug)]
pub(super) struct Requests {
    leader: Leader,
    /// The stage that the next request has to carry.
    pub(super) stage: Stage,
    count: u32,
    /// StatSN of the next response.
    pub(super) stat_sn: StatSn,
    pub(super) window: u32,
    /// ExpCmdSN and MaxCmdSN of the session that the connection joins, when they are known.
    pub(super) session_numbers: Option<(CmdSn, CmdSn)>,
}

impl Requests {
    // RFC 7143 11.12.4.1-2, 11.12.4.2-2, 11.12.6-4, 11.12.7-2: what the first request says counts.
    /// Begins with the first request, which [`Self::admit`] has yet to take. StatSN begins where the initiator expects it.
    pub(super) fn new(first: &LoginRequest, window: u32) -> Self {
        let leader = Leader::of(first);
        Self { leader, stage: first.current_stage, count: 0, stat_sn: first.exp_stat_sn, window, session_numbers: None }
    }

    /// Begins, and ends soon, with a first Login Request that means nothing.
    pub(super) fn of_undecodable(header: &Header) -> Self {
        let leader = Leader::of_undecodable(header);
        Self {
            leader,
            stage: Stage::SecurityNegotiation,
            count: 0,
            stat_sn: StatSn(0),
            window: 1,
            session_numbers: None,
        }
    }

    pub(super) fn leader(&self) -> &Leader {
        &self.leader
    }

    /// Takes the header of a request.
    pub(super) fn admit(&mut self, request: &LoginRequest) -> Result<(), Violation> {
        self.count += 1;
        if self.count > REQUESTS_MAX {
            return Err(Violation::LoginTooLong);
        }
        // RFC 7143 11.12.4: we know version 0 alone.
        if request.version_min > 0 {
            return Err(Violation::LoginVersion);
        }
        // RFC 7143 4.4.3-1: the handle among them.
        if !self.leader.is_followed_by(&Leader::of(request)) {
            return Err(Violation::LoginChanged);
        }
        if self.stat_sn.precedes(request.exp_stat_sn) {
            return Err(Violation::LoginAcknowledgement);
        }
        if request.current_stage != self.stage {
            return Err(Violation::WrongStage);
        }
        match request.transit {
            Some(next) if !follows(self.stage, next) => Err(Violation::StageTransition),
            _ => Ok(()),
        }
    }

    /// A response with the next StatSN (RFC 7143 4.2.2.2-3), and what all responses have in common.
    // RFC 7143 11.2.1.2-2, 11.13.1-1, 11.13.2-1: all responses are of version 0.
    // RFC 7143 11.12.8-1: ExpCmdSN is the CmdSN of the first request.
    pub(super) fn response(&mut self, status: LoginStatus) -> LoginResponse {
        let stat_sn = self.stat_sn;
        self.stat_sn = stat_sn.next();
        let (exp_cmd_sn, max_cmd_sn) = self.command_numbers();
        LoginResponse {
            current_stage: self.stage,
            isid: self.leader.isid,
            tsih: self.leader.tsih,
            initiator_task_tag: self.leader.tag,
            stat_sn,
            exp_cmd_sn,
            max_cmd_sn,
            status,
            ..LoginResponse::default()
        }
    }

    /// ExpCmdSN and MaxCmdSN. Login Requests are immediate, so the window of a session that begins stays where the first has put
    /// it. A connection that joins says those of its session; as long as they are not known, numbers that lie far behind, which
    /// RFC 7143 4.2.2.1 has the initiator ignore.
    pub(super) fn command_numbers(&self) -> (CmdSn, CmdSn) {
        const FAR: u32 = 1 << 30;
        let cmd_sn = self.leader.cmd_sn;
        if let Some(numbers) = self.session_numbers {
            numbers
        } else if self.leader.is_leading() {
            (cmd_sn, cmd_sn.advanced_by(self.window).previous())
        } else {
            let behind = CmdSn(cmd_sn.0.wrapping_sub(FAR));
            (behind, behind.previous())
        }
    }
}

/// The table of section 6.3 (RFC 7143 6.3-4, 6.3-5).
const fn follows(stage: Stage, next: Stage) -> bool {
    matches!(
        (stage, next),
        (Stage::SecurityNegotiation, Stage::LoginOperationalNegotiation | Stage::FullFeaturePhase)
            | (Stage::LoginOperationalNegotiation, Stage::FullFeaturePhase)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command_numbers(tsih: Tsih, cmd_sn: u32) -> (CmdSn, CmdSn) {
        let request = LoginRequest { tsih, cmd_sn: CmdSn(cmd_sn), ..LoginRequest::default() };
        let response = Requests::new(&request, 32).response(LoginStatus::Success);
        (response.exp_cmd_sn, response.max_cmd_sn)
    }

    #[test]
    fn a_session_begins_with_its_whole_window() {
        assert_eq!(command_numbers(Tsih(0), u32::MAX), (CmdSn(u32::MAX), CmdSn(30)));
    }

    /// RFC 7143 4.2.2.1: an initiator ignores numbers that come before those that it knows, and a MaxCmdSN is never less than
    /// ExpCmdSN - 1.
    #[test]
    fn a_connection_that_joins_acknowledges_nothing() {
        for cmd_sn in [7, u32::MAX] {
            let (exp_cmd_sn, max_cmd_sn) = command_numbers(Tsih(1), cmd_sn);
            // A window of commands on other connections may be on the way.
            assert!(exp_cmd_sn.precedes(CmdSn(cmd_sn.wrapping_sub(1 << 20))));
            assert_eq!(max_cmd_sn.next(), exp_cmd_sn);
        }
    }

    #[test]
    fn a_connection_that_joins_tells_what_its_session_has_come_to() {
        let request = LoginRequest { tsih: Tsih(1), cmd_sn: CmdSn(7), ..LoginRequest::default() };
        let mut requests = Requests::new(&request, 32);
        requests.session_numbers = Some((CmdSn(5), CmdSn(20)));
        let response = requests.response(LoginStatus::Success);
        assert_eq!((response.exp_cmd_sn, response.max_cmd_sn), (CmdSn(5), CmdSn(20)));
    }
}
