//! What a task goes on with on its new connection: data, R2Ts and statuses, from what the initiator has received.

use super::*;

// RFC 7143 7.2.2-2, 7.2.2-3, 7.2.2-8, 11.5.1-16, 11.5.6-2, 11.6-1, 11.7.2-1: the response comes first.
#[test]
fn a_read_goes_on_from_what_was_received() {
    let mut ladder = two();
    ladder.on(B).i(read(1, 5000));
    ladder.events();
    ladder.complete(1, good_read(5000));
    for _ in 0..3 {
        assert!(ladder.session.poll_transmit(B).is_some());
    }
    lose_b(&mut ladder);
    assert_eq!((ladder.session.data_in_bytes(A), ladder.session.tasks()), (0, 1));
    // The initiator has received two of the three.
    ladder.on(A).i(reassign(100, 1, 2));
    assert_eq!(ladder.session.data_in_bytes(A), 2952);
    ladder.sends(&[
        "TaskManagement 100 StatSN 3: Function complete",
        "Data-In 1 DataSN 2 2048+1024",
        "Data-In 1 DataSN 3 3072+1024 F A",
        "Data-In 1 DataSN 4 4096+904 F S status 00 StatSN 4",
    ]);
    assert_eq!((ladder.session.data_in_bytes(A), ladder.session.tasks()), (0, 0));
    assert_eq!(ladder.window, (CmdSn(2), CmdSn(9)));
}

// RFC 7143 11.5.6-4: neither zero nor a number that was sent.
#[test]
fn a_number_that_means_nothing_is_ignored() {
    let mut ladder = two();
    ladder.on(B).i(read(1, 1500));
    ladder.events();
    ladder.complete(1, good_read(1500));
    assert!(ladder.session.poll_transmit(B).is_some());
    lose_b(&mut ladder);
    ladder.on(A).i(reassign(100, 1, 9));
    ladder.sends(&[
        "TaskManagement 100 StatSN 3: Function complete",
        "Data-In 1 DataSN 0 0+1024",
        "Data-In 1 DataSN 1 1024+476 F S status 00 StatSN 4",
    ]);
}

// RFC 7143 7.2.2-9.
#[test]
fn a_snack_tag_does_not_outlive_its_connection() {
    let mut ladder = two();
    ladder.on(B).i(read(1, 8));
    ladder.events();
    ladder.complete(1, good_read(8));
    ladder.on(B).sent();
    let kind = SnackType::RData;
    ladder.i(Snack { kind, initiator_task_tag: Some(itt(1)), transfer_or_snack_tag: 77, ..Snack::default() });
    assert!(ladder.sent()[1].ends_with("SNACK Tag 77"));
    lose_b(&mut ladder);
    ladder.on(A).i(reassign(100, 1, 0));
    assert_eq!(ladder.sent()[1], "Data-In 1 DataSN 0 0+8 F S status 00 StatSN 4");
}

#[test]
fn a_read_goes_on_in_other_segments() {
    let mut ladder = one();
    ladder.i(read(1, 5000));
    ladder.events();
    ladder.complete(1, good_read(5000));
    for _ in 0..3 {
        assert!(ladder.session.poll_transmit(A).is_some());
    }
    ladder.lose(A);
    let parameters = Parameters { send_segment_bytes_max: 512, ..parameters() };
    ladder.join(LoginOutcome { cid: B, ..outcome(parameters) });
    ladder.on(B).i(remove(90, A));
    ladder.i(reassign(100, 1, 2));
    assert_eq!(
        ladder.sent()[2..],
        [
            "Data-In 1 DataSN 2 2048+512",
            "Data-In 1 DataSN 3 2560+512",
            "Data-In 1 DataSN 4 3072+512",
            "Data-In 1 DataSN 5 3584+512 F A",
            "Data-In 1 DataSN 6 4096+512",
            "Data-In 1 DataSN 7 4608+392 F S status 00 StatSN 3",
        ]
    );
}

// RFC 7143 7.2.2-5.
/// A status that was sent and not acknowledged comes again, with the numbers of its new connection.
#[test]
fn a_status_is_sent_anew() {
    let mut ladder = two();
    for (tag, length) in [(1, 0), (2, 1500), (3, 0), (4, 1500)] {
        ladder.on(B).i(read(tag, length));
        ladder.events();
        ladder.complete(tag, if length == 0 { check_condition() } else { good_read(1500) });
    }
    ladder.sent();
    ladder.on(B).exp_stat_sn = StatSn(2);
    ladder.acknowledge();
    lose_b(&mut ladder);
    // The first was acknowledged, and is gone.
    ladder.on(A).i(reassign(100, 1, 0));
    ladder.i(reassign(101, 2, 1));
    ladder.i(reassign(102, 3, 0));
    // All its data has come, the status alone is missing.
    ladder.i(reassign(103, 4, 2));
    ladder.sends(&[
        "TaskManagement 100 StatSN 3: Task does not exist",
        "TaskManagement 101 StatSN 4: Function complete",
        "Data-In 2 DataSN 1 1024+476 F S status 00 StatSN 5",
        "TaskManagement 102 StatSN 6: Function complete",
        "Response 3 status 02 StatSN 7 ExpDataSN 0 sense [115, 101, 110, 115, 101]",
        "TaskManagement 103 StatSN 8: Function complete",
        "Response 4 status 00 StatSN 9 ExpDataSN 2",
    ]);
    assert_eq!(ladder.window, (CmdSn(5), CmdSn(12)), "their places were free before");
    // It is kept here as it was there.
    ladder.i(Snack { kind: SnackType::Status, begin_run: 7, run_length: 1, ..Snack::default() });
    ladder.sends(&["Response 3 status 02 StatSN 7 ExpDataSN 0 sense [115, 101, 110, 115, 101]"]);
    ladder.on(A).exp_stat_sn = StatSn(10);
    ladder.i(reassign(104, 3, 0));
    ladder.sends(&["TaskManagement 104 StatSN 10: Task does not exist"]);
}

#[test]
fn a_write_asks_for_what_is_missing() {
    let mut ladder = two();
    ladder.on(B).i(write_immediate(1, 9000, 500));
    ladder.events();
    ladder.receive(1, 9000);
    ladder.on(B).sends(&["R2T 1 R2TSN 0 500+4096"]);
    ladder.i(data_out(1, true, 0, 500, 1000, false));
    ladder.tells(&["Data 1 500+1000"]);
    lose_b(&mut ladder);
    ladder.on(A).i(reassign(100, 1, 1));
    ladder.tells(&["Reassigned 1 7"]);
    ladder.sends(&["TaskManagement 100 StatSN 3: Function complete"]);
    ladder.receive(1, 9000);
    ladder.sends(&["R2T 1 R2TSN 1 1500+4096"]);
    ladder.i(data_out(1, true, 0, 1500, 4096, true));
    ladder.sends(&["R2T 1 R2TSN 2 5596+3404"]);
    ladder.i(data_out(1, true, 0, 5596, 3404, true));
    ladder.tells(&["Data 1 1500+4096", "Data 1 5596+3404", "DataComplete 1"]);
    assert_eq!(ladder.written[&1], pattern(0, 9000));
    ladder.complete(1, good_write(9000));
    ladder.sends(&["Response 1 status 00 StatSN 4 ExpDataSN 0"]);
}

/// RFC 7143 11.5.6: an R2T that the initiator has not received has its number again.
#[test]
fn an_r2t_that_was_lost_has_its_number_again() {
    let mut ladder = two();
    ladder.on(B).i(write(1, 4096));
    ladder.events();
    ladder.receive(1, 4096);
    ladder.on(B).sends(&["R2T 1 R2TSN 0 0+4096"]);
    lose_b(&mut ladder);
    ladder.on(A).i(reassign(100, 1, 0));
    ladder.events();
    ladder.receive(1, 4096);
    assert_eq!(ladder.sent()[1], "R2T 1 R2TSN 0 0+4096");
}
