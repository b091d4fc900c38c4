//! The headers of our Login Requests, and of the target's responses (RFC 7143 sections 11.12 and 11.13).

use super::LoginConfig;
use crate::Violation;
use bytes::Bytes;
use iscsi_pdu::{Cid, CmdSn, InitiatorTaskTag, Isid, LoginRequest, LoginResponse, Stage, StatSn, Tsih};

/// Most Login Responses in a login; six exchanges at least are asked for (RFC 7143 6.2-18, 10.3-1).
pub(super) const RESPONSES_MAX: u32 = 64;

/// The requests that have gone, and the responses that have come.
#[derive(Debug)]
pub(super) struct Responses {
    isid: Isid,
    tsih: Tsih,
    cid: Cid,
    tag: InitiatorTaskTag,
    pub(super) cmd_sn: CmdSn,
    /// The stage of our requests.
    pub(super) stage: Stage,
    /// T and NSG of our last request.
    proposed: Option<Stage>,
    count: u32,
    /// StatSN of the next response; none before the first.
    stat_sn: Option<StatSn>,
}

impl Responses {
    pub(super) fn new(config: &LoginConfig, tag: InitiatorTaskTag, cmd_sn: CmdSn, stage: Stage) -> Self {
        let LoginConfig { isid, tsih, cid, .. } = *config;
        Self { isid, tsih, cid, tag, cmd_sn, stage, proposed: None, count: 0, stat_sn: None }
    }

    /// Whether this is the first connection of its session.
    pub(super) fn is_leading(&self) -> bool {
        self.tsih == Tsih(0)
    }

    /// ExpStatSN; zero before the first response has set the count.
    pub(super) fn exp_stat_sn(&self) -> StatSn {
        self.stat_sn.unwrap_or_default()
    }

    // RFC 7143 11.12.6-1, 11.12.6-2, 11.12.6-3, 11.12.7-1: TSIH and CID are those of the configuration in each.
    /// The next request.
    pub(super) fn request(&mut self, transit: Option<Stage>, continues: bool, data: Bytes) -> LoginRequest {
        self.proposed = transit;
        LoginRequest {
            transit,
            continues,
            current_stage: self.stage,
            // RFC 7143 11.12.4-1, 11.12.4.1-1, 11.12.4.2-1: version 0, always.
            version_max: 0,
            version_min: 0,
            isid: self.isid,
            // RFC 7143 6.3.4-1: that of the session, for a connection that joins or comes again.
            tsih: self.tsih,
            initiator_task_tag: self.tag,
            cid: self.cid,
            cmd_sn: self.cmd_sn,
            exp_stat_sn: self.exp_stat_sn(),
            data,
        }
    }

    // RFC 7143 7.1.4-1: a number that is not the next ends the login.
    /// Takes the header of a response that lets the login go on.
    pub(super) fn admit(&mut self, response: &LoginResponse) -> Result<(), Violation> {
        self.count += 1;
        if self.count > RESPONSES_MAX {
            return Err(Violation::LoginTooLong);
        }
        // RFC 7143 11.13.1-2, 11.13.2-2: we know version 0 alone, whatever the target knows beside it.
        if response.version_active > 0 {
            return Err(Violation::LoginVersion);
        }
        if response.initiator_task_tag != self.tag || response.isid != self.isid {
            return Err(Violation::ResponseMismatch);
        }
        // RFC 7143 4.2.2.2-3: the first sets the count (section 11.13.4).
        if self.stat_sn.is_some_and(|expected| expected != response.stat_sn) {
            return Err(Violation::StatSnOutOfOrder);
        }
        self.stat_sn = Some(response.stat_sn.next());
        if response.current_stage != self.stage {
            return Err(Violation::WrongStage);
        }
        // RFC 7143 6.3-7, 6.3-9: we never propose more than the next stage, so the target selects that one or none.
        if response.transit.is_some() && response.transit != self.proposed {
            return Err(Violation::StageTransition);
        }
        Ok(())
    }

    /// The session's handle, from the last response (RFC 7143 section 11.13.3).
    pub(super) fn tsih(&self, last: &LoginResponse) -> Result<Tsih, Violation> {
        match last.tsih {
            Tsih(0) => Err(Violation::ZeroTsih),
            // RFC 7143 4.4.3-1: a session that the connection joins keeps its handle.
            tsih if !self.is_leading() && tsih != self.tsih => Err(Violation::ResponseMismatch),
            tsih => Ok(tsih),
        }
    }
}
