//! When the response to a function leaves (RFC 7143 section 4.2.3.3).

use super::*;

/// RFC 7143 4.2.3.3-11, 4.2.3.3-13, 11.6.1-2: the response to these two waits until every status before it is acknowledged.
#[test]
fn the_response_of_a_set_waits_for_acknowledgement() {
    for function in [Function::AbortTaskSet, Function::ClearTaskSet] {
        let mut ladder = Ladder::new(open());
        ladder.acknowledges = false;
        ladder.i(read(1, 0));
        ladder.i(read(2, 0));
        ladder.events();
        ladder.complete(1, good());
        ladder.i(manage(100, function));
        ladder.tells(&["Aborted 2", &format!("TaskManagement {function}")]);
        ladder.answer(Response::FunctionComplete);
        ladder.sends(&["Response 1 status 00 StatSN 1 ExpDataSN 0", "NOP-In ping feed"]);
        ladder.i(read(3, 0));
        ladder.events();
        ladder.complete(3, good());
        ladder.sends(&[]);
        // What was never sent cannot be acknowledged.
        ladder.exp_stat_sn = iscsi_pdu::StatSn(3);
        ladder.i(NopOut { immediate: true, ..NopOut::default() });
        ladder.sends(&[]);
        ladder.acknowledges = true;
        ladder.exp_stat_sn = iscsi_pdu::StatSn(2);
        ladder.i(NopOut { immediate: true, target_transfer_tag: Some(PING_TAG), ..NopOut::default() });
        ladder.sends(&["TaskManagement 100 StatSN 2: Function complete", "Response 3 status 00 StatSN 3 ExpDataSN 0"]);
    }
}

#[test]
fn an_initiator_that_never_acknowledges_is_given_up() {
    let mut ladder = Ladder::new(open());
    ladder.acknowledges = false;
    ladder.i(read(1, 0));
    ladder.events();
    ladder.complete(1, good());
    ladder.i(manage(100, Function::AbortTaskSet));
    ladder.pass(25); // long silence before the ping, which does not count against it
    ladder.events();
    ladder.answer(Response::FunctionComplete);
    ladder.sends(&["Response 1 status 00 StatSN 1 ExpDataSN 0", "NOP-In ping feed"]);
    ladder.pass(0);
    ladder.pass(9);
    ladder.tells(&[]);
    ladder.pass(1);
    ladder.tells(&["Closed the peer has gone silent"]);
}

#[test]
fn a_logout_does_not_wait_for_acknowledgement() {
    let mut ladder = Ladder::new(open());
    ladder.acknowledges = false;
    ladder.i(read(1, 0));
    ladder.events();
    ladder.complete(1, good());
    ladder.i(manage(100, Function::AbortTaskSet));
    ladder.events();
    ladder.answer(Response::FunctionComplete);
    ladder.sends(&["Response 1 status 00 StatSN 1 ExpDataSN 0", "NOP-In ping feed"]);
    ladder.i(logout(2, iscsi_pdu::LogoutReason::CloseSession));
    ladder.sends(&["Logout 2 StatSN 2: Connection or session closed successfully"]);
}

/// RFC 7143 4.2.2.1-4, 11.5.1-3: a status that is on its way leaves before the response.
#[test]
fn statuses_that_are_on_their_way_leave_before_the_response() {
    let mut ladder = Ladder::new(open());
    ladder.i(read(1, 10_000));
    ladder.i(read(2, 0));
    ladder.events();
    ladder.complete(1, good_read(10_000));
    ladder.i(manage(100, Function::LogicalUnitReset));
    ladder.tells(&["Aborted 2", "TaskManagement LOGICAL UNIT RESET"]);
    ladder.answer(Response::FunctionComplete);
    ladder.sends(&[
        "Data-In 1 DataSN 0 0+4096 F",
        "Data-In 1 DataSN 1 4096+4096 F",
        "Data-In 1 DataSN 2 8192+1808 F S status 00 StatSN 1",
        "TaskManagement 100 StatSN 2: Function complete",
    ]);
}
