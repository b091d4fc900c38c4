//! What the benches begin with.

use iscsi_pdu::{Cid, CmdSn, StatSn};
use iscsi_session::{LoginOutcome, Parameters, SessionType};

/// Commands at once.
pub(crate) const DEPTH: u32 = 32;
/// The connection.
pub(crate) const CID: Cid = Cid(0);

/// The end of a login that has agreed upon these parameters.
pub(crate) fn outcome(parameters: Parameters) -> LoginOutcome {
    LoginOutcome {
        initiator_name: "iqn.2026-01.org.example:i".into(),
        target_name: Some("iqn.2026-01.org.example:t".into()),
        session_type: SessionType::Normal,
        isid: Default::default(),
        tsih: Default::default(),
        cid: CID,
        parameters,
        cmd_sn: CmdSn(1),
        stat_sn: StatSn(1),
        max_cmd_sn: CmdSn(DEPTH),
        authenticated_as: None,
    }
}
