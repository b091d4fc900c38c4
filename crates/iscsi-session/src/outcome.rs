//! What a login ends in: all that a session needs to begin.

use crate::Parameters;
use iscsi_pdu::{Cid, CmdSn, Isid, StatSn, Tsih};

/// SessionType (RFC 7143 section 13.21).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SessionType {
    /// Gives access to the logical units of one target.
    #[default]
    Normal,
    /// Only tells which targets there are.
    Discovery,
}

/// A login that went well. The same at both ends, but for whose limits [`Parameters`] calls ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginOutcome {
    /// InitiatorName, normalised.
    pub initiator_name: String,
    /// TargetName, normalised; none in a discovery session that named no target.
    pub target_name: Option<String>,
    /// Normal or discovery.
    pub session_type: SessionType,
    /// The initiator's half of the session's identity.
    pub isid: Isid,
    /// The target's handle for the session.
    pub tsih: Tsih,
    /// The connection that logged in.
    pub cid: Cid,
    /// What was negotiated.
    pub parameters: Parameters,
    /// The CmdSN that comes next: for a target the ExpCmdSN, for an initiator the one that it uses next, or the ExpCmdSN that the
    /// target told a connection that joins.
    pub cmd_sn: CmdSn,
    /// For a target the StatSN that it uses next, for an initiator the ExpStatSN.
    pub stat_sn: StatSn,
    /// MaxCmdSN as last announced by the target.
    pub max_cmd_sn: CmdSn,
    /// The CHAP name that the initiator has proven, if it was asked to.
    pub authenticated_as: Option<String>,
}
