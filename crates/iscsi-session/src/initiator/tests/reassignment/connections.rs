//! Connections and sessions that are lost: what the target retains, and what is logged out.

use super::*;

// RFC 7143 7.5-2.
#[test]
fn the_target_forgets_tasks_that_are_not_reassigned() {
    let mut bench = with_a_read(two());
    lose(&mut bench, CID);
    log_out(&mut bench, OTHER, Logout::ForRecovery(CID));
    assert_eq!(answer_logout(&mut bench, 0, 4), [due(1)]);
    bench.now += Duration::from_secs(4);
    bench.session.handle_timeout(bench.now);
    assert_eq!(bench.events(), [lost(1)]);
    assert!(reassign(&mut bench, 1).is_none());
    let response = Code::TaskDoesNotExist;
    assert_eq!(
        bench.events(),
        [Event::TaskManagementComplete { tag: tag(FUNCTION), response, additional_information: [0; 3] }]
    );

    // With nobody to continue it, the session ends for the reason for which its connection did.
    let mut bench = with_a_read(one());
    lose(&mut bench, CID);
    bench.session.handle_timeout(bench.now + WAIT + RETAIN);
    let events = bench.events();
    assert_eq!(events, [Event::CleanupDue { cid: CID }, lost(1), Event::Closed(CloseReason::ConnectionLost)]);
    assert_eq!(bench.session.poll_timeout(), None);
}

#[test]
fn where_nothing_is_retained_nothing_is_recovered() {
    let mut bench = Bench::new(Parameters { time_2_retain: 0, ..at_level(2) });
    bench.submit(1, read(8));
    bench.sent();
    assert_eq!(lose(&mut bench, CID), [lost(1), Event::Closed(CloseReason::ConnectionLost)]);
}

#[test]
fn a_connection_that_is_lost_in_the_middle_of_recovery_is_recovered_in_its_turn() {
    let mut bench = two();
    bench.join(Cid(3)).on(CID).submit(1, read(8));
    bench.sent();
    acknowledge(&mut bench, 1);
    lose(&mut bench, CID);
    log_out(&mut bench, OTHER, Logout::ForRecovery(CID));
    assert_eq!(answer_logout(&mut bench, 0, 30), [due(1)]);
    reassign(&mut bench, 1).unwrap();
    assert_eq!(lose(&mut bench, OTHER), [lost(FUNCTION), closed(OTHER)]);
    log_out(&mut bench, Cid(3), Logout::ForRecovery(OTHER));
    assert_eq!(answer_logout(&mut bench, 0, 30), [due(1)]);
    reassign(&mut bench, 1).unwrap();
    assert_eq!(answer(&mut bench, Code::FunctionComplete), []);
    bench.take(bench.data_in(1, 0, 0, pattern(8)));
    bench.events();
    assert_ends(&mut bench, 1);
}

#[test]
fn a_connection_is_logged_out_for_recovery_over_itself() {
    // To another that there is, with the times that the target tells.
    let mut bench = with_a_read(two());
    log_out(&mut bench, CID, Logout::ForRecovery(CID));
    let logged_out = Event::ConnectionClosed { cid: CID, reason: CloseReason::LoggedOut };
    assert_eq!(answer_logout(&mut bench, 0, 30), [logged_out.clone(), due(1)]);
    bench.on(OTHER);
    reassign(&mut bench, 1).unwrap();

    // To one that comes, with a CID of its own.
    let mut bench = with_a_read(one());
    log_out(&mut bench, CID, Logout::ForRecovery(CID));
    assert_eq!(answer_logout(&mut bench, 1, 30), [logged_out]);
    assert!(!bench.session.is_closed());
    bench.join(OTHER);
    assert_eq!(bench.events(), [due(1)]);
    reassign(&mut bench, 1).unwrap();
    assert_eq!(answer(&mut bench, Code::FunctionComplete), []);

    // One that is only closed takes its tasks along.
    let mut bench = with_a_read(two());
    log_out(&mut bench, CID, Logout::Connection(CID));
    assert_eq!(answer_logout(&mut bench, 0, 30)[0], lost(1));
}

/// The answer to a logout may be lost with its connection, and the target not know the other connection any more when it is asked again.
#[test]
fn a_connection_that_the_target_does_not_know_may_have_left_tasks() {
    let mut bench = with_a_read(two());
    lose(&mut bench, CID);
    log_out(&mut bench, OTHER, Logout::ForRecovery(CID));
    let stat_sn = bench.status();
    bench.take(LogoutResponse {
        response: LogoutResponseCode::CidNotFound,
        initiator_task_tag: tag(LOGOUT),
        stat_sn,
        exp_cmd_sn: bench.exp_cmd_sn,
        max_cmd_sn: bench.max_cmd_sn,
        time_2_wait: 0,
        time_2_retain: 0,
    });
    assert_eq!(bench.events()[1..], [due(1)]);
    reassign(&mut bench, 1).unwrap();
    assert_eq!(answer(&mut bench, Code::TaskDoesNotExist), [lost(1)]);
}

/// Not every target says in the login what it has received.
#[test]
fn the_first_pdu_may_tell_what_the_target_has_received() {
    let mut bench = one();
    bench.submit(1, read(0));
    bench.submit(2, read(8));
    bench.submit(3, read(8));
    bench.sent();
    acknowledge(&mut bench, 1);
    lose(&mut bench, CID);
    bench.exp_cmd_sn = CmdSn(FIRST_CMD_SN.0 - 50);
    bench.join(CID);
    assert_eq!((bench.events(), bench.sent()), (vec![Event::PingDue { cid: CID }], vec![]));
    assert!(reassign(&mut bench, 1).is_none());
    bench.events();
    acknowledge(&mut bench, 2);
    let sent = bench.sent();
    assert!(matches!(&sent[..], [Pdu::ScsiCommand(pdu)] if pdu.initiator_task_tag == tag(3)), "{sent:?}");
    bench.now += WAIT;
    bench.session.handle_timeout(bench.now);
    // The third has not been acknowledged yet.
    assert_eq!(bench.events(), [due(1), due(2), Event::PingDue { cid: CID }]);
}

#[test]
fn what_never_went_out_goes_out_on_another_connection_at_once() {
    for level in [1, 2] {
        let mut bench = Bench::new(at_level(level));
        bench.join(OTHER).on(CID).submit(1, write(512));
        assert_eq!(lose(&mut bench, CID), [closed(CID)]);
        let sent = bench.on(OTHER).sent();
        assert!(matches!(&sent[..], [Pdu::ScsiCommand(pdu)] if pdu.cmd_sn == FIRST_CMD_SN), "{sent:?}");
        bench.exp_cmd_sn = FIRST_CMD_SN.next();
        bench.take(bench.r2t(1, 0, 0, 512));
        assert!(matches!(&bench.sent()[..], [Pdu::DataOut(pdu)] if pdu.is_final));
        assert_ends(&mut bench, 1);
    }
}

#[test]
fn at_level_1_what_the_target_has_is_lost_and_what_it_misses_is_sent_again() {
    let mut bench = Bench::new(at_level(1));
    bench.join(OTHER).on(CID).submit(1, read(8));
    bench.submit(2, read(8));
    bench.sent();
    acknowledge(&mut bench, 1);
    assert_eq!(lose(&mut bench, CID), [lost(1), closed(CID)]);
    log_out(&mut bench, OTHER, Logout::Connection(CID));
    assert_eq!(answer_logout(&mut bench, 0, 0), []);
    let sent = bench.sent();
    assert!(matches!(&sent[..], [Pdu::ScsiCommand(pdu)] if pdu.cmd_sn == FIRST_CMD_SN.next()), "{sent:?}");
}

#[test]
fn an_announced_drop_of_the_session_is_recovered_from() {
    let mut bench = with_a_read(two());
    let stat_sn = bench.status();
    bench.take(AsyncMessage {
        event: AsyncEvent::SessionDrop,
        vendor_code: 0,
        lun: LUN,
        stat_sn,
        exp_cmd_sn: bench.exp_cmd_sn,
        max_cmd_sn: bench.max_cmd_sn,
        parameter_1: 0,
        parameter_2: 3,
        parameter_3: 30,
        data: Bytes::new(),
    });
    let reason = CloseReason::Dropped { time_2_wait: 3 };
    let closed = |cid| Event::ConnectionClosed { cid, reason };
    assert_eq!(bench.events(), [closed(CID), closed(OTHER)]);
    assert_eq!(bench.session.poll_timeout(), Some(bench.now + Duration::from_secs(3)));
    bench.join(CID).join(OTHER);
    bench.on(CID).now += WAIT;
    bench.session.handle_timeout(bench.now);
    assert_eq!(bench.events(), [due(1)]);
}
