//! Error recovery level 2: tasks and sessions outlive their connections (RFC 7143 sections 6.3.6, 7.1.4.3, 7.2.2, 7.5, 11.5.6, 11.14
//! and 11.15).

mod connections;
mod data;
mod tasks;

use super::ladder::*;
use iscsi_pdu::TaskManagementFunction as Function;
use iscsi_pdu::*;
use iscsi_session::target::SessionConfig;
use iscsi_session::{LoginOutcome, Parameters};

const A: Cid = CID;
const B: Cid = Cid(8);

fn parameters() -> Parameters {
    Parameters {
        error_recovery_level: 2,
        max_connections: 2,
        time_2_wait: 2,
        time_2_retain: 20,
        burst_bytes_max: 4096,
        send_segment_bytes_max: 1024,
        ..Parameters::default()
    }
}

fn one() -> Ladder {
    let mut ladder = Ladder::start(outcome(parameters()), SessionConfig { immediate_max: 16, ..config() });
    ladder.acknowledges = false;
    ladder
}

fn two() -> Ladder {
    let mut ladder = one();
    ladder.add(B);
    ladder
}

fn reassign(tag: u32, task: u32, exp_data_sn: u32) -> TaskManagementRequest {
    TaskManagementRequest { referenced_task_tag: Some(itt(task)), exp_data_sn, ..manage(tag, Function::TaskReassign) }
}

fn remove(tag: u32, cid: Cid) -> LogoutRequest {
    LogoutRequest { immediate: true, cid, ..logout(tag, LogoutReason::RemoveForRecovery) }
}

/// B breaks, and A removes it.
fn lose_b(ladder: &mut Ladder) {
    ladder.lose(B);
    ladder.tells(&["ConnectionClosed 8: the connection was lost"]);
    ladder.on(A).i(remove(90, B));
    let sent = ladder.sent();
    assert!(sent[0].ends_with("Connection drop notification 8 2 20"), "{sent:?}");
    assert!(sent[1].ends_with("Connection or session closed successfully"), "{sent:?}");
}
