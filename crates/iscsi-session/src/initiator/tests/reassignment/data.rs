//! What a task goes on with: its data comes once, and none of it is asked for twice.

use super::*;

// RFC 7143 7.1.4.3-2, 7.2.1-3, 7.2.2-1, 7.5-1, 11.5.1-15, 11.5.1-19, 11.5.6-3.
#[test]
fn a_read_goes_on_where_it_was() {
    let mut bench = two();
    bench.submit(1, read(3000));
    bench.submit(2, read(8));
    bench.sent();
    bench.session.ping(bench.now, CID, tag(3), Bytes::new());
    acknowledge(&mut bench, 1);
    bench.take(bench.data_in(1, 0, 0, pattern(1000)));
    bench.events();
    // What is immediate is lost with its connection (RFC 7143 7.14).
    assert_eq!(lose(&mut bench, CID), [lost(3), closed(CID)]);
    bench.now += WAIT;
    bench.session.handle_timeout(bench.now);
    assert!(bench.events().contains(&Event::CleanupDue { cid: CID }));

    log_out(&mut bench, OTHER, Logout::ForRecovery(CID));
    assert_eq!(answer_logout(&mut bench, 3, 30), []);
    // RFC 7143 7.2.1: what the target has not acknowledged is sent again, with its number.
    let sent = bench.sent();
    let [Pdu::ScsiCommand(again)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((again.initiator_task_tag, again.cmd_sn), (tag(2), FIRST_CMD_SN.next()));
    // RFC 7143 11.15.3: not before Time2Wait.
    bench.session.handle_timeout(bench.now + Duration::from_millis(2999));
    assert!(!bench.events().contains(&due(1)));
    bench.now += Duration::from_secs(3);
    bench.session.handle_timeout(bench.now);
    assert!(bench.events().contains(&due(1)));

    let request = reassign(&mut bench, 1).unwrap();
    assert!(request.immediate);
    assert_eq!((request.referenced_task_tag, request.exp_data_sn, request.ref_cmd_sn), (Some(tag(1)), 1, CmdSn(0)));
    assert_eq!(answer(&mut bench, Code::FunctionComplete), []);
    bench.take(bench.data_in(1, 1, 1000, pattern(3000).slice(1000..)));
    assert!(matches!(&bench.events()[..], [Event::Data { offset: 1000, .. }]));
    assert_ends(&mut bench, 1);
    bench.exp_cmd_sn = FIRST_CMD_SN.advanced_by(2);
    assert_ends(&mut bench, 2);
    assert_eq!(bench.session.parameters(CID), None);
}

// RFC 7143 6.3.4-4.
#[test]
fn the_only_connection_is_reinstated_and_a_write_goes_on() {
    let mut bench = one();
    bench.submit(1, write(4096));
    bench.sent();
    bench.exp_cmd_sn = FIRST_CMD_SN.next();
    bench.take(bench.r2t(1, 0, 0, 2048));
    assert_eq!(bench.sent().len(), 1);
    bench.take(bench.r2t(1, 1, 2048, 2048));
    assert_eq!(lose(&mut bench, CID), [closed(CID)]);
    // RFC 7143 6.3.6: the session has failed, but is not over.
    assert_eq!((bench.session.is_closed(), bench.session.cids().count(), bench.sent()), (false, 0, vec![]));
    assert_eq!(bench.session.submit(bench.now, CID, tag(2), read(8)), Err(read(8)));
    assert_eq!(bench.session.poll_timeout(), Some(bench.now + WAIT));
    bench.now += WAIT;
    bench.session.handle_timeout(bench.now);
    assert_eq!(bench.events(), [Event::CleanupDue { cid: CID }]);
    bench.join(CID);
    bench.now += WAIT;
    bench.session.handle_timeout(bench.now);
    assert_eq!(bench.events(), [due(1)]);
    // RFC 7143 11.5.6: a number of Data-In PDUs is for those that read.
    assert_eq!(reassign(&mut bench, 1).unwrap().exp_data_sn, 0);
    assert_eq!(answer(&mut bench, Code::FunctionComplete), []);
    // What was asked for on the old connection is not sent; the target asks again, under a number of its choice.
    assert_eq!(bench.sent(), []);
    bench.take(bench.r2t(1, 1, 0, 4096));
    let sent = bench.sent();
    assert!(matches!(&sent[..], [Pdu::DataOut(pdu)] if pdu.data == pattern(4096) && pdu.is_final), "{sent:?}");
    assert_ends(&mut bench, 1);
}

// RFC 7143 11.5.6-1.
#[test]
fn what_comes_again_is_handed_out_once_whatever_its_segments() {
    let mut bench = two();
    bench.submit(1, read(3000));
    bench.sent();
    bench.exp_cmd_sn = FIRST_CMD_SN.next();
    bench.take(bench.data_in(1, 0, 0, pattern(1000)));
    bench.take(bench.data_in(1, 1, 1000, pattern(3000).slice(1000..2000)));
    bench.events();
    lose(&mut bench, CID);
    log_out(&mut bench, OTHER, Logout::ForRecovery(CID));
    assert_eq!(answer_logout(&mut bench, 0, 30), [due(1)]);
    assert_eq!(reassign(&mut bench, 1).unwrap().exp_data_sn, 2);
    answer(&mut bench, Code::FunctionComplete);
    // RFC 7143 7.2.2: a target may send all of the data again.
    for (data_sn, offset) in (0..).zip((0..3000).step_by(600)) {
        let data = pattern(3000).slice(offset..offset + 600);
        bench.take(bench.data_in(1, data_sn, offset as u32, data));
    }
    let pieces: Vec<_> = bench.events();
    let data: Vec<u8> = pieces
        .iter()
        .flat_map(|event| if let Event::Data { data, .. } = event { data.to_vec() } else { panic!("{event:?}") })
        .collect();
    assert!(matches!(pieces[0], Event::Data { offset: 2000, .. }));
    assert_eq!(data, pattern(3000).slice(2000..));
    assert_ends(&mut bench, 1);
}

// RFC 7143 7.2.2-4: nothing before ExpDataSN.
#[test]
fn what_was_received_is_not_asked_for_again() {
    let mut bench = two();
    bench.submit(1, read(3000));
    bench.sent();
    bench.exp_cmd_sn = FIRST_CMD_SN.next();
    bench.take(bench.data_in(1, 0, 0, pattern(1000)));
    bench.events();
    lose(&mut bench, CID);
    log_out(&mut bench, OTHER, Logout::ForRecovery(CID));
    assert_eq!(answer_logout(&mut bench, 0, 30), [due(1)]);
    assert_eq!(reassign(&mut bench, 1).unwrap().exp_data_sn, 1);
    answer(&mut bench, Code::FunctionComplete);
    bench.take(bench.data_in(1, 2, 2000, pattern(3000).slice(2000..)));
    let sent = bench.sent();
    assert!(matches!(&sent[..], [Pdu::Snack(snack)] if (snack.begin_run, snack.run_length) == (1, 0)), "{sent:?}");
}

#[test]
fn in_any_order_too_what_comes_again_is_handed_out_once() {
    let mut bench = Bench::new(Parameters { data_pdu_in_order: false, ..at_level(2) });
    bench.submit(1, read(30));
    bench.sent();
    bench.exp_cmd_sn = FIRST_CMD_SN.next();
    bench.take(bench.data_in(1, 0, 20, pattern(30).slice(20..)));
    bench.events();
    lose(&mut bench, CID);
    bench.join(CID);
    bench.now += WAIT;
    bench.session.handle_timeout(bench.now);
    assert_eq!(bench.events(), [due(1)]);
    assert_eq!(reassign(&mut bench, 1).unwrap().exp_data_sn, 1);
    answer(&mut bench, Code::FunctionComplete);
    bench.take(bench.data_in(1, 0, 15, pattern(30).slice(15..)));
    bench.take(bench.data_in(1, 1, 0, pattern(15)));
    let piece =
        |begin: usize, end| Event::Data { tag: tag(1), offset: begin as u32, data: pattern(30).slice(begin..end) };
    assert_eq!(bench.events(), [piece(15, 20), piece(0, 15)]);
    assert_ends(&mut bench, 1);
}
