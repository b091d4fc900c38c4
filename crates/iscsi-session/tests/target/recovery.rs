//! Error recovery level 1: within a command and within a connection (RFC 7143 sections 7.1.4, 7.2.1, 7.8, 7.9, 11.7.2 and 11.16).

use super::ladder::*;
use iscsi_pdu::*;
use iscsi_session::target::SessionConfig;
use iscsi_session::{BadPdu, Parameters};

pub(super) fn parameters() -> Parameters {
    Parameters {
        error_recovery_level: 1,
        initial_r2t: false,
        burst_bytes_max: 4096,
        first_burst_bytes_max: 2048,
        send_segment_bytes_max: 1024,
        ..Parameters::default()
    }
}

pub(super) fn ladder() -> Ladder {
    let mut ladder = Ladder::new(parameters());
    ladder.acknowledges = false;
    ladder
}

fn snack(kind: SnackType, tag: Option<u32>, begin_run: u32, run_length: u32) -> Snack {
    let transfer_or_snack_tag = u32::MAX;
    Snack { kind, initiator_task_tag: tag.map(itt), begin_run, run_length, transfer_or_snack_tag, ..Snack::default() }
}

pub(super) fn data_snack(tag: u32, begin_run: u32, run_length: u32) -> Snack {
    snack(SnackType::DataR2t, Some(tag), begin_run, run_length)
}

fn status_snack(begin_run: u32, run_length: u32) -> Snack {
    snack(SnackType::Status, None, begin_run, run_length)
}

/// A read of 5000 bytes has been sent in six PDUs with status.
pub(super) fn after_a_read() -> Ladder {
    let mut ladder = ladder();
    ladder.i(read(1, 5000));
    ladder.events();
    ladder.complete(1, good_read(5000));
    ladder.sends(&[
        "Data-In 1 DataSN 0 0+1024",
        "Data-In 1 DataSN 1 1024+1024",
        "Data-In 1 DataSN 2 2048+1024",
        "Data-In 1 DataSN 3 3072+1024 F A",
        "Data-In 1 DataSN 4 4096+904 F S status 00 StatSN 1",
    ]);
    ladder
}

/// The tag of the last Data-In that asks for an acknowledgement.
pub(super) fn acknowledgement(ladder: &Ladder, begin_run: u32) -> Snack {
    let asks = |pdu: &Pdu| match pdu {
        Pdu::DataIn(pdu) if pdu.acknowledge => pdu.target_transfer_tag,
        _ => None,
    };
    let tag = ladder.last.iter().find_map(asks).expect("an acknowledgement was asked for");
    Snack { transfer_or_snack_tag: tag.0, lun: LUN, ..snack(SnackType::DataAck, None, begin_run, 0) }
}

// RFC 7143 7.8-7, 11.16-1, 11.16-5.
#[test]
fn data_is_sent_again_as_it_was() {
    let mut ladder = after_a_read();
    let before: Vec<String> = ladder.last.iter().map(show).collect();
    ladder.i(data_snack(1, 1, 2));
    assert_eq!(ladder.sent(), before[1..3]);
    ladder.i(data_snack(1, 2, 0));
    assert_eq!(ladder.sent(), before[2..]);
    ladder.i(data_snack(1, 0, 0));
    assert_eq!(ladder.sent(), before);
    assert!(ladder.read() == pattern(0, 5000));
}

// RFC 7143 11.16-3, 11.16-6.
/// RFC 7143 11.16: the numbers of this moment go with what is sent again.
#[test]
fn what_is_sent_again_tells_the_window_as_it_is() {
    let mut ladder = after_a_read();
    ladder.i(read(2, 0));
    ladder.i(data_snack(1, 0, 1));
    ladder.sends(&["Data-In 1 DataSN 0 0+1024"]);
    assert_eq!(ladder.window, (CmdSn(3), CmdSn(9)));
}

#[test]
fn data_is_sent_again_before_the_rest_has_left() {
    let mut ladder = ladder();
    ladder.i(read(1, 3000));
    ladder.events();
    ladder.complete(1, good_read(3000));
    assert!(ladder.session.poll_transmit(CID).is_some());
    ladder.i(data_snack(1, 0, 1));
    ladder.sends(&[
        "Data-In 1 DataSN 0 0+1024",
        "Data-In 1 DataSN 1 1024+1024",
        "Data-In 1 DataSN 2 2048+952 F S status 00 StatSN 1",
    ]);
    assert_eq!(ladder.session.data_in_bytes(CID), 0);
}

#[test]
fn a_place_in_the_window_is_free_although_the_task_is_kept() {
    let ladder = after_a_read();
    assert_eq!(ladder.session.tasks(), 0);
    assert_eq!(ladder.window, (CmdSn(2), CmdSn(9)));
}

// RFC 7143 11.16-7.
/// RFC 7143 11.16: nothing is asked for that was not sent or was acknowledged.
#[test]
fn a_snack_beyond_what_was_sent_is_a_protocol_error() {
    let mut ladder = after_a_read();
    for pdu in [data_snack(1, 5, 1), data_snack(1, 4, 2), data_snack(2, 0, 0), status_snack(99, 1), status_snack(1, 99)]
    {
        ladder.i(pdu);
        assert!(ladder.sent()[0].ends_with("Protocol error, of SNACK Request"));
    }
    // The status of the read is acknowledged, and with it all its data.
    ladder.exp_stat_sn = StatSn(2);
    for pdu in [data_snack(1, 0, 0), data_snack(1, 4, 1), status_snack(1, 1)] {
        ladder.i(pdu);
        assert!(ladder.sent()[0].ends_with("Protocol error, of SNACK Request"));
    }
}

// RFC 7143 11.7.4-1, 11.7.4-2, 11.16-1: with the tag and the LUN that it was asked by.
#[test]
fn acknowledged_data_is_not_sent_again() {
    let mut ladder = after_a_read();
    let ack = acknowledgement(&ladder, 4);
    ladder.i(ack);
    ladder.sends(&[]);
    ladder.i(data_snack(1, 3, 1));
    ladder.sends(&["Reject StatSN 2: Protocol error, of SNACK Request"]);
    ladder.i(data_snack(1, 0, 0));
    ladder.sends(&["Data-In 1 DataSN 4 4096+904 F S status 00 StatSN 1"]);
}

#[test]
fn an_acknowledgement_of_what_was_not_sent_is_rejected() {
    let mut ladder = after_a_read();
    let ack = acknowledgement(&ladder, 6);
    let wrong = [
        ack.clone(),
        Snack { run_length: 1, begin_run: 4, ..ack.clone() },
        Snack { lun: LunField::default(), begin_run: 4, ..ack.clone() },
        Snack { transfer_or_snack_tag: 77, begin_run: 4, ..ack },
    ];
    for (number, pdu) in wrong.into_iter().enumerate() {
        ladder.i(pdu);
        ladder.sends(&[&format!("Reject StatSN {}: Invalid data ack, of SNACK Request", number + 2)]);
    }
}

// RFC 7143 11.4.9-1, 11.16-1, 11.16-2.
#[test]
fn statuses_of_all_kinds_are_sent_again() {
    let mut ladder = after_a_read();
    ladder.i(nop_out(2, "ping"));
    ladder.i(text(3, "X-a=1\0"));
    ladder.i(read(4, 8));
    ladder.events();
    ladder.complete(4, check_condition());
    ladder.bad(nop_out(5, "x"), BadPdu::DataDigest);
    let mut before = vec!["Data-In 1 DataSN 4 4096+904 F S status 00 StatSN 1".to_owned()];
    before.extend(ladder.sent());
    assert_eq!(before.len(), 5, "{before:?}");
    ladder.i(status_snack(0, 0));
    assert_eq!(ladder.sent(), before);
    ladder.i(status_snack(2, 0));
    assert_eq!(ladder.sent(), before[1..]);
    ladder.i(status_snack(4, 1));
    assert_eq!(ladder.sent(), before[3..4]);
    // What was acknowledged is gone.
    ladder.exp_stat_sn = StatSn(4);
    ladder.i(status_snack(0, 0));
    assert_eq!(ladder.sent(), before[3..]);
}

// RFC 7143 11.16-1, 11.16.3-2, 11.16.5-2.
/// RFC 7143 11.16.3: the data that was not acknowledged is cut anew, and the status comes by itself, with its old number.
#[test]
fn r_data_is_cut_anew() {
    let mut ladder = after_a_read();
    let ack = acknowledgement(&ladder, 4);
    ladder.i(ack);
    ladder.i(text(9, "MaxRecvDataSegmentLength=512\0"));
    ladder.sends(&["Text 9 StatSN 2 F "]);
    // What was longer cannot be sent as it was.
    let r_data = Snack { transfer_or_snack_tag: 77, ..snack(SnackType::RData, Some(1), 0, 0) };
    ladder.i(r_data.clone());
    let again = [
        "Data-In 1 DataSN 4 4096+512",
        "Data-In 1 DataSN 5 4608+392 F",
        "Response 1 status 00 StatSN 1 ExpDataSN 6 SNACK Tag 77",
    ];
    ladder.sends(&again);
    ladder.i(status_snack(1, 1));
    ladder.sends(&again[2..]);
    ladder.i(data_snack(1, 5, 1));
    ladder.sends(&again[1..2]);
    ladder.i(Snack { transfer_or_snack_tag: 78, ..r_data });
    ladder.sends(&[again[0], again[1], "Response 1 status 00 StatSN 1 ExpDataSN 6 SNACK Tag 78"]);
    assert_eq!(ladder.window, (CmdSn(3), CmdSn(10)), "its place was free before");
    ladder.exp_stat_sn = StatSn(3);
    ladder.i(data_snack(1, 0, 0));
    ladder.sends(&["Reject StatSN 3: Protocol error, of SNACK Request"]);
}

// RFC 7143 11.16.3-2.
/// A status that is asked for while its data is cut anew does not go before that data, and counts all of it.
#[test]
fn a_status_that_is_asked_for_waits_for_data_that_is_cut_anew() {
    let mut ladder = after_a_read();
    let ack = acknowledgement(&ladder, 4);
    ladder.i(ack);
    ladder.i(Snack { transfer_or_snack_tag: 7, ..snack(SnackType::RData, Some(1), 0, 0) });
    ladder.i(status_snack(1, 1));
    ladder.sends(&["Data-In 1 DataSN 4 4096+904 F", "Response 1 status 00 StatSN 1 ExpDataSN 5 SNACK Tag 7"]);
}

#[test]
fn r_data_while_the_data_is_sent() {
    let mut ladder = ladder();
    ladder.i(read(1, 3000));
    ladder.events();
    ladder.complete(1, good_read(3000));
    assert!(ladder.session.poll_transmit(CID).is_some());
    ladder.i(text(9, "MaxRecvDataSegmentLength=2048\0"));
    ladder.i(Snack { transfer_or_snack_tag: 5, ..snack(SnackType::RData, Some(1), 0, 0) });
    assert_eq!(ladder.session.data_in_bytes(CID), 3000);
    ladder.sends(&[
        "Data-In 1 DataSN 0 0+2048",
        "Data-In 1 DataSN 1 2048+952 F",
        "Response 1 status 00 StatSN 1 ExpDataSN 2 SNACK Tag 5",
        "Text 9 StatSN 2 F ",
    ]);
    for (tag, begin_run) in [(0, 0), (u32::MAX, 0), (6, 1)] {
        let pdu = snack(SnackType::RData, Some(1), begin_run, 0);
        ladder.i(Snack { transfer_or_snack_tag: tag, ..pdu });
        assert!(ladder.sent()[0].ends_with("Protocol error, of SNACK Request"));
    }
}

/// Two segments of a read of 3000 bytes have been sent, and segments have become shorter between them.
pub(super) fn after_other_segments() -> Ladder {
    let mut ladder = ladder();
    ladder.i(read(1, 3000));
    ladder.events();
    ladder.complete(1, good_read(3000));
    assert!(ladder.session.poll_transmit(CID).is_some());
    ladder.i(text(9, "MaxRecvDataSegmentLength=512\0"));
    assert!(ladder.session.poll_transmit(CID).is_some());
    ladder
}

/// Segments that have changed meanwhile: what was sent before the change can only be cut anew.
#[test]
fn data_of_other_segments_is_not_sent_again_as_it_was() {
    let mut ladder = after_other_segments();
    ladder.i(data_snack(1, 1, 1));
    assert_eq!(ladder.sent()[0], "Data-In 1 DataSN 1 1024+512");
    ladder.i(data_snack(1, 0, 1));
    ladder.sends(&["Reject StatSN 3: SNACK reject, of SNACK Request"]);
}

/// RFC 7143 7.2.1: a command that has come is not executed again.
#[test]
fn a_command_that_is_retried_is_executed_once() {
    let mut ladder = ladder();
    ladder.i(read(1, 8));
    ladder.raw(ScsiCommand { cmd_sn: CmdSn(1), exp_stat_sn: StatSn(1), ..read(1, 8) });
    ladder.tells(&["Command 1 R 8"]);
    ladder.complete(1, good_read(8));
    ladder.sent();
    ladder.raw(ScsiCommand { cmd_sn: CmdSn(1), exp_stat_sn: StatSn(1), ..read(1, 8) });
    ladder.tells(&[]);
    ladder.sends(&[]);
    // A new command with the tag of one whose status is not acknowledged is a new command.
    ladder.i(read(1, 8));
    ladder.tells(&["Command 1 R 8"]);
    ladder.complete(1, good_read(8));
    ladder.sends(&["Data-In 1 DataSN 0 0+8 F S status 00 StatSN 2"]);
    // RFC 7143 7.11.
    let abort = TaskManagementRequest {
        referenced_task_tag: Some(itt(1)),
        ref_cmd_sn: CmdSn(2),
        ..manage(100, TaskManagementFunction::AbortTask)
    };
    ladder.i(abort);
    ladder.sends(&["TaskManagement 100 StatSN 3: Task does not exist"]);
}

/// No more is kept than was configured: the oldest goes first, after the initiator was asked for an acknowledgement.
#[test]
fn what_is_kept_is_bounded() {
    let config = SessionConfig { retained_statuses_max: 4, retained_data_bytes_max: 1500, ..config() };
    let mut ladder = Ladder::start(outcome(parameters()), config);
    ladder.acknowledges = false;
    for tag in 1..=2 {
        ladder.i(read(tag, 1000));
        ladder.events();
        ladder.complete(tag, good_read(1000));
        assert_eq!(ladder.sent().len(), tag as usize, "the data, and a ping when half is full");
    }
    // The data of the first is gone; its status came with it.
    ladder.i(data_snack(1, 0, 1));
    ladder.sends(&["Reject StatSN 3: SNACK reject, of SNACK Request"]);
    ladder.i(data_snack(2, 0, 1));
    ladder.sends(&["Data-In 2 DataSN 0 0+1000 F S status 00 StatSN 2"]);
    for tag in 3..=5 {
        ladder.i(nop_out(tag, ""));
    }
    ladder.sent();
    ladder.i(status_snack(2, 1));
    ladder.sends(&["Reject StatSN 7: SNACK reject, of SNACK Request"]);
    ladder.i(status_snack(6, 0));
    assert_eq!(ladder.sent().len(), 2);
}

// RFC 7143 7.8-8.
/// RFC 7143 7.8 a.1: a task that cannot be recovered ends.
#[test]
fn a_read_that_cannot_be_sent_again_ends() {
    let mut ladder = after_other_segments();
    ladder.i(data_snack(1, 0, 1));
    assert_eq!(ladder.session.data_in_bytes(CID), 0);
    ladder.sends(&[
        "Response 1 status 02 StatSN 1 ExpDataSN 2 sense b/11/13",
        "Text 9 StatSN 2 F ",
        "Reject StatSN 3: SNACK reject, of SNACK Request",
    ]);
}

/// RFC 7143 4.2.2.4: R2Ts and Data-In PDUs of a bidirectional command count together, and come again by their numbers.
#[test]
fn both_directions_are_sent_again() {
    let mut ladder = ladder();
    let ahs = ahs::Ahs { bidirectional_read_length: Some(1500), ..ahs::Ahs::default() };
    ladder.i(ScsiCommand { read: true, ahs: ahs.encode(), ..write(1, 8192) });
    ladder.tells(&["Command 1 RW 8192"]);
    ladder.receive(1, 8192);
    ladder.sends(&["R2T 1 R2TSN 0 0+4096"]);
    ladder.i(data_out(1, true, 0, 0, 4096, true));
    ladder.sends(&["R2T 1 R2TSN 1 4096+4096"]);
    ladder.i(data_snack(1, 0, 0));
    ladder.sends(&["R2T 1 R2TSN 1 4096+4096"]);
    ladder.i(data_out(1, true, 0, 4096, 4096, true));
    ladder.tells(&["Data 1 0+4096", "Data 1 4096+4096", "DataComplete 1"]);
    ladder.complete(1, iscsi_session::target::TaskOutcome { data_out_length: 8192, ..good_read(1500) });
    let data = ["Data-In 1 DataSN 2 0+1024", "Data-In 1 DataSN 3 1024+476 F"];
    let status = "Response 1 status 00 StatSN 1 ExpDataSN 2";
    ladder.sends(&[data[0], data[1], status]);
    ladder.i(data_snack(1, 3, 1));
    ladder.sends(&data[1..]);
    ladder.i(data_snack(1, 0, 0));
    ladder.sends(&data);
    ladder.i(status_snack(1, 1));
    ladder.sends(&[status]);
    ladder.i(data_snack(1, 1, 1));
    ladder.sends(&["Reject StatSN 2: Protocol error, of SNACK Request"]);
    ladder.i(Snack { transfer_or_snack_tag: 9, ..snack(SnackType::RData, Some(1), 0, 0) });
    ladder.sends(&[data[0], data[1], "Response 1 status 00 StatSN 1 ExpDataSN 2 SNACK Tag 9"]);
}

/// Who asks for the same again and again and reads nothing ends the session.
#[test]
fn snacks_without_end_end_the_session() {
    let mut ladder = after_a_read();
    for _ in 0..64 {
        ladder.i(data_snack(1, 0, 0));
    }
    ladder.tells(&[]);
    ladder.i(status_snack(1, 1));
    ladder.tells(&["Closed the peer broke a rule: more bad PDUs than the peer reads answers to"]);
}

/// A status was lost before a function whose response waits for its acknowledgement.
fn before_a_fence() -> Ladder {
    let mut ladder = ladder();
    ladder.i(read(1, 0));
    ladder.events();
    ladder.complete(1, good_read(0));
    ladder.sends(&["Response 1 status 00 StatSN 1 ExpDataSN 0"]);
    ladder.i(manage(2, TaskManagementFunction::AbortTaskSet));
    ladder.events();
    ladder.answer(TaskManagementResponseCode::FunctionComplete);
    ladder
}

/// Answers the ping, and acknowledges nothing.
fn answer_ping(ladder: &mut Ladder) {
    let target_transfer_tag = Some(PING_TAG);
    ladder.i(NopOut { immediate: true, lun: LunField::default(), target_transfer_tag, ..NopOut::default() });
}

#[test]
fn what_is_not_acknowledged_is_asked_for_once_a_time_out() {
    let mut ladder = before_a_fence();
    for _ in 0..3 {
        ladder.sends(&["NOP-In ping feed"]);
        ladder.pass(0);
        answer_ping(&mut ladder);
        ladder.sends(&[]);
        ladder.pass(1);
        ladder.sends(&[]);
        ladder.pass(1);
    }
}

/// The answer to the ping was lost, and pings of the initiator, each with a status of its own, come all the time.
#[test]
fn an_acknowledgement_is_asked_for_again_where_the_answer_was_lost() {
    let mut ladder = before_a_fence();
    ladder.sends(&["NOP-In ping feed"]);
    ladder.pass(0);
    ladder.pass(1);
    ladder.exp_stat_sn = StatSn(2);
    ladder.i(nop_out(3, "there?"));
    ladder.sends(&["NOP-In 3 StatSN 2 there?"]);
    ladder.pass(1);
    ladder.sends(&["NOP-In ping feed"]);
    ladder.exp_stat_sn = StatSn(3);
    answer_ping(&mut ladder);
    ladder.sends(&["TaskManagement 2 StatSN 3: Function complete"]);
}

// RFC 7143 11.16-2: whatever waits.
#[test]
fn a_status_that_a_fence_waits_for_is_sent_again_before_it() {
    let mut ladder = before_a_fence();
    ladder.sends(&["NOP-In ping feed"]);
    answer_ping(&mut ladder);
    ladder.i(status_snack(1, 1));
    // The initiator may have it now, and is asked whether.
    ladder.sends(&["Response 1 status 00 StatSN 1 ExpDataSN 0", "NOP-In ping feed"]);
    ladder.exp_stat_sn = StatSn(2);
    answer_ping(&mut ladder);
    ladder.sends(&["TaskManagement 2 StatSN 2: Function complete"]);
}
