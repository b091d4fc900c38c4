//! Pings, silence, logout, and what a target announces.

use super::*;

const AFTER: Duration = Duration::from_secs(1);

fn async_message(bench: &mut Bench, event: AsyncEvent) -> AsyncMessage {
    AsyncMessage {
        event,
        vendor_code: 0,
        lun: LunField::default(),
        stat_sn: bench.status(),
        exp_cmd_sn: bench.exp_cmd_sn,
        max_cmd_sn: bench.max_cmd_sn,
        parameter_1: 0,
        parameter_2: 0,
        parameter_3: 0,
        data: Bytes::new(),
    }
}

fn logout_response(bench: &mut Bench, number: u32, response: LogoutResponseCode) {
    let stat_sn = bench.status();
    bench.take(LogoutResponse {
        response,
        initiator_task_tag: tag(number),
        stat_sn,
        exp_cmd_sn: bench.exp_cmd_sn,
        max_cmd_sn: bench.max_cmd_sn,
        time_2_wait: 0,
        time_2_retain: 0,
    });
}

// RFC 7143 11.18.1-1, 11.18.2-2: with a task tag alone.
#[test]
fn a_ping_is_echoed() {
    let mut bench = Bench::new(Parameters::default());
    bench.session.ping(bench.now, CID, tag(1), pattern(100));
    let sent = bench.sent();
    let [Pdu::NopOut(ping)] = &sent[..] else { panic!("{sent:?}") };
    assert!(ping.immediate);
    assert_eq!((ping.initiator_task_tag, ping.target_transfer_tag), (Some(tag(1)), None));
    assert_eq!((ping.cmd_sn, &ping.data), (FIRST_CMD_SN, &pattern(100)));
    let echo = bench.nop_in(Some(1), None);
    bench.take(NopIn { data: pattern(100), ..echo });
    assert_eq!(bench.events(), [Event::PingComplete { tag: tag(1), data: pattern(100) }]);
    bench.submit(2, read(8));
    let Some(Pdu::ScsiCommand(command)) = bench.sent().pop() else { panic!("a command") };
    assert_eq!((command.cmd_sn, command.exp_stat_sn), (FIRST_CMD_SN, FIRST_STAT_SN.next()));
}

#[test]
fn ping_data_is_cut_to_what_the_target_takes() {
    let mut bench = Bench::new(Parameters { send_segment_bytes_max: 512, ..Parameters::default() });
    bench.session.ping(bench.now, CID, tag(1), pattern(600));
    assert!(matches!(&bench.sent()[..], [Pdu::NopOut(ping)] if ping.data == pattern(512)));
}

// RFC 7143 11.18-1, 11.18-2, 11.18-3, 11.18.1-2, 11.18.1-4, 11.18.2-1, 11.18.2-3: once.
#[test]
fn pings_of_the_target_are_answered() {
    let mut bench = Bench::new(Parameters::default());
    let pdu = bench.nop_in(None, Some(77));
    bench.take(pdu);
    let sent = bench.sent();
    let [Pdu::NopOut(answer)] = &sent[..] else { panic!("{sent:?}") };
    // RFC 7143 11.18.
    assert!(answer.immediate && answer.initiator_task_tag.is_none() && answer.data.is_empty());
    assert_eq!((answer.target_transfer_tag, answer.lun), (Some(TargetTransferTag(77)), LUN));
    // One that wants no answer gets none, but moves the window.
    bench.max_cmd_sn = bench.max_cmd_sn.advanced_by(10);
    let pdu = bench.nop_in(None, None);
    bench.take(pdu);
    assert_eq!((bench.sent(), bench.events(), bench.session.window(CID)), (vec![], vec![], 42));
}

#[test]
fn silence_is_pinged_and_then_ends_the_session() {
    let mut bench = Bench::new(Parameters::default());
    bench.submit(1, read(8));
    bench.sent();
    let due = bench.now + Duration::from_secs(5);
    assert_eq!(bench.session.poll_timeout(), Some(due));
    bench.session.handle_timeout(due - AFTER);
    assert_eq!(bench.events(), []);
    bench.session.handle_timeout(due);
    assert_eq!(bench.events(), [Event::PingDue { cid: CID }]);
    bench.session.ping(due, CID, tag(9), Bytes::new());
    assert_eq!(bench.session.poll_timeout(), Some(due + Duration::from_secs(3)));
    bench.session.handle_timeout(due + Duration::from_secs(3));
    let events = bench.events();
    assert_eq!((events.len(), events.last()), (3, Some(&Event::Closed(CloseReason::PeerSilent))));
}

#[test]
fn any_pdu_breaks_the_silence() {
    let mut bench = Bench::new(Parameters::default());
    bench.submit(1, read(8));
    bench.sent();
    let due = bench.now + Duration::from_secs(5);
    bench.session.handle_timeout(due);
    assert_eq!(bench.events(), [Event::PingDue { cid: CID }]);
    bench.now = due + AFTER;
    bench.take(bench.data_in(1, 0, 0, pattern(8)));
    assert_eq!(bench.session.poll_timeout(), Some(bench.now + Duration::from_secs(5)));
}

/// A target that speaks, but leaves pings unanswered, is asked once: its next silence is waited out without another.
#[test]
fn a_ping_that_was_not_answered_is_not_followed_by_another() {
    let mut bench = Bench::new(Parameters::default());
    for silence in 0..10 {
        bench.now += Duration::from_secs(5);
        bench.session.handle_timeout(bench.now);
        assert_eq!(bench.events(), if silence == 0 { vec![Event::PingDue { cid: CID }] } else { vec![] });
        if silence == 0 {
            bench.session.ping(bench.now, CID, tag(9), Bytes::new());
            bench.sent();
        }
        assert_eq!(bench.session.poll_timeout(), Some(bench.now + Duration::from_secs(3)));
        bench.now += AFTER;
        let pdu = bench.nop_in(None, None);
        bench.take(pdu);
    }
    let pdu = bench.nop_in(Some(9), None);
    bench.take(pdu);
    assert_eq!(bench.events(), [Event::PingComplete { tag: tag(9), data: Bytes::new() }]);
    bench.now += Duration::from_secs(5);
    bench.session.handle_timeout(bench.now);
    assert_eq!(bench.events(), [Event::PingDue { cid: CID }]);
}

/// From error recovery level 1 the ping may be what was lost.
#[test]
fn a_ping_that_may_be_lost_is_followed_by_another() {
    let mut bench = Bench::new(Parameters { error_recovery_level: 1, ..Parameters::default() });
    for number in 0..3 {
        bench.now += Duration::from_secs(5);
        bench.session.handle_timeout(bench.now);
        assert_eq!(bench.events(), [Event::PingDue { cid: CID }]);
        bench.session.ping(bench.now, CID, tag(9 + number), Bytes::new());
        bench.sent();
        bench.now += AFTER;
        let pdu = bench.nop_in(None, None);
        bench.take(pdu);
    }
}

#[test]
fn without_an_interval_only_pings_are_timed() {
    let outcome = outcome(Parameters::default());
    let now = Instant::now();
    let config = SessionConfig { ping_interval: None, ping_timeout: Duration::MAX };
    let mut session = Session::new(&outcome, config, now);
    assert_eq!(session.poll_timeout(), None);
    session.ping(now, CID, tag(1), Bytes::new());
    assert_eq!(session.poll_timeout(), None, "a time that no clock reaches");
}

// RFC 7143 11.14-1, 11.14-2.
#[test]
fn logout_goes_last_and_ends_the_session() {
    let mut bench = Bench::new(Parameters { immediate_data: false, ..Parameters::default() });
    bench.submit(1, write(65536));
    bench.sent();
    bench.take(bench.r2t(1, 0, 0, 65536));
    bench.submit(2, read(8));
    bench.session.logout(bench.now, CID, tag(3), Logout::Connection(CID));
    assert_eq!(bench.session.window(CID), 0);
    assert_eq!(bench.session.submit(bench.now, CID, tag(4), read(8)), Err(read(8)));
    bench.session.send_targets(bench.now, CID, tag(5), SendTargetsScope::ThisTarget);
    assert_eq!(bench.events(), [Event::TaskLost { tag: tag(5) }]);
    let sent = bench.sent();
    let Some(Pdu::LogoutRequest(request)) = sent.last() else { panic!("{sent:?}") };
    assert!(request.immediate);
    assert_eq!((request.reason, request.cid), (LogoutReason::CloseConnection, CID));
    assert!(sent.iter().any(|pdu| matches!(pdu, Pdu::ScsiCommand(_))));
    // RFC 7143 11.14: nothing after it, not even an answer.
    let pdu = bench.nop_in(None, Some(77));
    bench.take(pdu);
    assert_eq!(bench.sent(), []);

    logout_response(&mut bench, 3, LogoutResponseCode::Closed);
    let mut events = bench.events();
    let response = LogoutResponseCode::Closed;
    assert_eq!(events.remove(0), Event::LogoutComplete { tag: tag(3), response });
    assert_eq!(events.pop(), Some(Event::Closed(CloseReason::LoggedOut)));
    assert_eq!(events.len(), 2, "the commands that were not answered are lost: {events:?}");
}

#[test]
fn a_logout_of_the_session_names_no_connection() {
    let mut bench = Bench::new(Parameters::default());
    bench.session.logout(bench.now, CID, tag(3), Logout::Session);
    assert!(matches!(&bench.sent()[..], [Pdu::LogoutRequest(request)] if request.cid == Cid(0)));
    logout_response(&mut bench, 3, LogoutResponseCode::CleanupFailed);
    assert_eq!(bench.events().pop(), Some(Event::Closed(CloseReason::LogoutFailed)));
}

#[test]
fn a_logout_without_an_answer_ends_the_session_too() {
    let mut bench = Bench::new(Parameters::default());
    bench.session.logout(bench.now, CID, tag(3), Logout::Session);
    bench.sent();
    bench.now += Duration::from_secs(2);
    let pdu = bench.nop_in(None, None);
    bench.take(pdu);
    bench.session.handle_timeout(bench.now + AFTER);
    assert_eq!(bench.events(), [Event::TaskLost { tag: tag(3) }, Event::Closed(CloseReason::LogoutFailed)]);
}

#[test]
fn a_logout_request_of_the_target_stops_new_commands() {
    let mut bench = Bench::new(Parameters::default());
    bench.submit(1, read(8));
    bench.sent();
    let pdu = async_message(&mut bench, AsyncEvent::LogoutRequest);
    bench.take(AsyncMessage { parameter_3: 7, ..pdu });
    assert_eq!(bench.events(), [Event::LogoutRequested { cid: CID, grace: Duration::from_secs(7) }]);
    assert_eq!(bench.session.submit(bench.now, CID, tag(2), read(8)), Err(read(8)));
    // What is outstanding may end, and then the owner logs out.
    let response = bench.response(1);
    bench.take(response);
    assert_eq!(bench.events().len(), 1);
    bench.session.logout(bench.now, CID, tag(3), Logout::Session);
    assert_eq!(bench.sent().len(), 1);
    let pdu = async_message(&mut bench, AsyncEvent::LogoutRequest);
    bench.take(pdu);
    assert_eq!(bench.events(), []);
    logout_response(&mut bench, 3, LogoutResponseCode::Closed);
    assert_eq!(bench.events().len(), 2);
}

// RFC 7143 7.1.4.3-3, 7.14-2.
#[test]
fn drop_notifications_end_the_session_that_they_name() {
    for (event, cid) in [(AsyncEvent::SessionDrop, 0), (AsyncEvent::ConnectionDrop, CID.0)] {
        let mut bench = Bench::new(Parameters::default());
        bench.submit(1, read(8));
        bench.sent();
        let pdu = async_message(&mut bench, event);
        bench.take(AsyncMessage { parameter_1: cid, parameter_2: 4, ..pdu });
        let closed = Event::Closed(CloseReason::Dropped { time_2_wait: 4 });
        assert_eq!(bench.events(), [Event::TaskLost { tag: tag(1) }, closed]);
    }
    let mut bench = Bench::new(Parameters::default());
    let pdu = async_message(&mut bench, AsyncEvent::ConnectionDrop);
    bench.take(AsyncMessage { parameter_1: CID.0 + 1, ..pdu });
    assert_eq!((bench.events(), bench.session.is_closed()), (vec![], false));
}

#[test]
fn events_of_scsi_and_of_vendors_are_passed_on() {
    let mut bench = Bench::new(Parameters::default());
    for event in [AsyncEvent::ScsiEvent, AsyncEvent::Other(250)] {
        let pdu = async_message(&mut bench, event);
        let pdu = AsyncMessage { lun: LUN, data: Bytes::from_static(b"\0\x01\x70"), ..pdu };
        bench.take(pdu.clone());
        assert_eq!(bench.events(), [Event::Async(pdu)]);
    }
}

// RFC 7143 4.2.3.4-5, 4.2.3.5-4, 11.9.1-6: data stops, then the NOP-Out.
#[test]
fn task_termination_ends_the_commands_that_the_target_has() {
    let mut bench = Bench::new(Parameters { immediate_data: false, ..Parameters::default() });
    bench.submit(1, write(512));
    bench.submit(2, Command { lun: LunField::default(), ..read(8) });
    bench.sent();
    bench.exp_cmd_sn = FIRST_CMD_SN.advanced_by(2);
    bench.take(bench.r2t(1, 0, 0, 512));
    // This one is still on its way when the target says so.
    bench.submit(3, read(8));
    let first = bench.session.poll_transmit(CID);
    assert!(matches!(first, Some(Pdu::DataOut(_) | Pdu::ScsiCommand(_))));
    bench.sent();
    let pdu = async_message(&mut bench, AsyncEvent::TaskTermination);
    bench.take(AsyncMessage { lun: LUN, ..pdu });
    assert_eq!(bench.events(), [Event::TaskAborted { tag: tag(1) }]);
    let sent = bench.sent();
    let [Pdu::NopOut(answer)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((answer.initiator_task_tag, answer.target_transfer_tag, answer.lun), (None, None, LUN));
    assert_eq!(answer.exp_stat_sn, FIRST_STAT_SN.next());
}
