//! Data-Out that keeps the rules and that does not, and data of tasks that have failed early.

use super::ladder::*;
use iscsi_pdu::{DataOut, LunField, ScsiCommand};
use iscsi_session::target::DataProgress;
use iscsi_session::{BadPdu, Parameters};

/// Unsolicited data is allowed, and four R2Ts at once.
pub(super) fn open() -> Parameters {
    Parameters {
        initial_r2t: false,
        burst_bytes_max: 4096,
        first_burst_bytes_max: 2048,
        outstanding_r2t_max: 4,
        ..Parameters::default()
    }
}

/// A write that waits for the answer to an R2T for 4096 bytes, and to another.
fn with_two_r2ts() -> Ladder {
    let mut ladder = Ladder::new(open());
    ladder.i(write(1, 8192));
    ladder.tells(&["Command 1 W 8192"]);
    ladder.receive(1, 8192);
    ladder.sends(&["R2T 1 R2TSN 0 0+4096", "R2T 1 R2TSN 1 4096+4096"]);
    ladder
}

#[test]
fn immediate_data_alone_is_there_at_once() {
    let mut ladder = Ladder::new(open());
    ladder.i(write_immediate(1, 1024, 1024));
    ladder.tells(&["Command 1 W 1024 immediate 1024"]);
    assert_eq!(ladder.receive(1, 1024), DataProgress::Complete);
    ladder.complete(1, good_write(1024));
    ladder.sends(&["Response 1 status 00 StatSN 1 ExpDataSN 0"]);
    assert_eq!(ladder.session.tasks(), 0);
}

// RFC 7143 4.2.2.4-1, 4.2.5.3-2, 11.8-9, 11.8.4-2: each begins where the last ended; with the LUN of the command, which the ladder checks.
#[test]
fn no_more_r2ts_are_outstanding_than_agreed_and_none_is_longer_than_a_burst() {
    let mut ladder = Ladder::new(Parameters { outstanding_r2t_max: 3, ..open() });
    ladder.i(write(1, 5 * 4096 + 1));
    ladder.events();
    ladder.receive(1, 5 * 4096 + 1);
    ladder.sends(&["R2T 1 R2TSN 0 0+4096", "R2T 1 R2TSN 1 4096+4096", "R2T 1 R2TSN 2 8192+4096"]);
    ladder.i(data_out(1, true, 0, 0, 4095, false));
    ladder.sends(&[]);
    ladder.i(data_out(1, true, 1, 4095, 1, true));
    ladder.sends(&["R2T 1 R2TSN 3 12288+4096"]);
    ladder.i(data_out(1, true, 0, 4096, 4096, true));
    ladder.i(data_out(1, true, 0, 8192, 4096, true));
    ladder.sends(&["R2T 1 R2TSN 4 16384+4096", "R2T 1 R2TSN 5 20480+1"]);
    ladder.i(data_out(1, true, 0, 12_288, 4096, true));
    ladder.i(data_out(1, true, 0, 16_384, 4096, true));
    ladder.i(data_out(1, true, 0, 20_480, 1, true));
    assert_eq!(ladder.events().last().unwrap(), "DataComplete 1");
    assert_eq!(ladder.written[&1], pattern(0, 5 * 4096 + 1));
}

#[test]
fn a_device_that_wants_less_gets_less() {
    let mut ladder = Ladder::new(open());
    ladder.i(ScsiCommand { is_final: false, ..write(1, 8192) });
    ladder.events();
    assert_eq!(ladder.receive(1, 512), DataProgress::Pending);
    ladder.i(data_out(1, false, 0, 0, 1024, false));
    ladder.i(data_out(1, false, 1, 1024, 1024, true));
    ladder.tells(&["Data 1 0+512", "DataComplete 1"]);
    ladder.sends(&[]);
    ladder.complete(1, good_write(512));
    ladder.sends(&["Response 1 status 00 StatSN 1 ExpDataSN 0 underflow 7680"]);
}

#[test]
fn a_device_that_wants_no_more_than_came_at_once_does_not_wait_but_the_status_does() {
    let mut ladder = Ladder::new(open());
    ladder.i(ScsiCommand { is_final: false, ..write_immediate(1, 8192, 512) });
    ladder.events();
    assert_eq!(ladder.receive(1, 512), DataProgress::Complete);
    ladder.complete(1, good_write(512));
    ladder.sends(&[]);
    ladder.i(data_out(1, false, 0, 512, 1536, true));
    ladder.tells(&[]);
    ladder.sends(&["Response 1 status 00 StatSN 1 ExpDataSN 0 underflow 7680"]);
}

#[test]
fn data_that_comes_before_the_device_wants_it_is_kept() {
    let mut ladder = Ladder::new(open());
    ladder.i(ScsiCommand { is_final: false, ..write_immediate(1, 4096, 512) });
    ladder.tells(&["Command 1 W 4096 immediate 512"]);
    ladder.i(data_out(1, false, 0, 512, 512, false));
    ladder.i(data_out(1, false, 1, 1024, 1024, true));
    ladder.tells(&[]);
    assert_eq!(ladder.receive(1, 4096), DataProgress::Pending);
    ladder.tells(&["Data 1 512+1536"]);
    ladder.sends(&["R2T 1 R2TSN 0 2048+2048"]);
    ladder.i(data_out(1, true, 0, 2048, 2048, true));
    ladder.tells(&["Data 1 2048+2048", "DataComplete 1"]);
    assert_eq!(ladder.written[&1], pattern(0, 4096));
}

#[test]
fn all_data_that_came_early_completes_the_command() {
    let mut ladder = Ladder::new(open());
    ladder.i(ScsiCommand { is_final: false, ..write(1, 2048) });
    ladder.events();
    ladder.i(data_out(1, false, 0, 0, 2048, true));
    assert_eq!(ladder.receive(1, 2048), DataProgress::Pending);
    ladder.tells(&["Data 1 0+2048", "DataComplete 1"]);
}

// RFC 7143 11.4.2-1, 11.4.7-1, 11.4.7-2.
/// RFC 7143 11.4.2: the status waits for the F bit of the last sequence that is expected.
#[test]
fn an_error_of_the_device_waits_for_all_data_that_was_asked_for() {
    let mut ladder = with_two_r2ts();
    ladder.complete(1, check_condition());
    ladder.sends(&[]);
    ladder.i(data_out(1, true, 0, 0, 4096, true));
    ladder.sends(&[]);
    ladder.i(data_out(1, true, 0, 4096, 100, false));
    ladder.sends(&[]);
    ladder.i(data_out(1, true, 1, 4196, 0, true));
    ladder.tells(&[]);
    ladder.sends(&["Response 1 status 02 StatSN 1 ExpDataSN 0 underflow 8192 sense [115, 101, 110, 115, 101]"]);
}

// RFC 7143 11.7.7-1: by the target.
#[test]
fn empty_data_and_a_final_bit_of_its_own_are_taken() {
    let mut ladder = with_two_r2ts();
    ladder.i(data_out(1, true, 0, 0, 0, false));
    ladder.i(data_out(1, true, 1, 0, 4096, false));
    ladder.i(data_out(1, true, 2, 4096, 0, true));
    ladder.i(data_out(1, true, 0, 4096, 4096, true));
    ladder.tells(&["Data 1 0+4096", "Data 1 4096+4096", "DataComplete 1"]);
}

/// What ends a task with two R2Ts outstanding, by a bad first Data-Out; the rest is consumed, then the status goes out.
#[track_caller]
fn fails(bad: DataOut, rejected: &[&str], sense: &str) {
    let mut ladder = with_two_r2ts();
    let was_final = bad.is_final;
    ladder.i(bad);
    ladder.tells(&["Aborted 1"]);
    ladder.sends(rejected);
    if !was_final {
        ladder.i(data_out(1, true, 5, 1000, 10, true));
        ladder.sends(&[]);
    }
    ladder.i(data_out(1, true, 0, 4096, 4096, true));
    ladder.tells(&[]);
    let status = 1 + rejected.len();
    ladder.sends(&[&format!("Response 1 status 02 StatSN {status} ExpDataSN 0 underflow 8192 sense {sense}")]);
    assert_eq!(ladder.session.tasks(), 0);
    // The command counts as one that was taken: the window is whole again.
    assert_eq!(ladder.window, (ladder.cmd_sn, ladder.cmd_sn.advanced_by(7)));
}

/// RFC 7143 7.9-2.
#[test]
fn a_data_sn_that_is_not_the_next_ends_the_task() {
    fails(data_out(1, true, 1, 0, 512, false), &[], "b/47/05");
}

// RFC 7143 4.2.5.2-4, 4.2.5.2-6.
#[test]
fn an_offset_that_is_not_the_next_is_rejected_and_ends_the_task() {
    fails(data_out(1, true, 0, 512, 512, false), &["Reject StatSN 1: Invalid PDU field, of SCSI Data-Out"], "b/0c/0d");
}

#[test]
fn more_data_than_the_r2t_asked_for_ends_the_task() {
    fails(data_out(1, true, 0, 0, 4097, true), &[], "b/0c/0d");
}

// RFC 7143 11.17.1-3, 11.17.1-4.
#[test]
fn less_data_than_the_r2t_asked_for_is_rejected_and_ends_the_task() {
    fails(data_out(1, true, 0, 0, 4095, true), &["Reject StatSN 1: Protocol error, of SCSI Data-Out"], "b/0c/0d");
}

/// RFC 7143 7.8-2, 7.8-3, 7.8-4.
#[test]
fn data_that_fails_its_digest_is_rejected_and_ends_the_task() {
    for is_final in [false, true] {
        let mut ladder = with_two_r2ts();
        ladder.bad(data_out(1, true, 0, 0, 4096, is_final), BadPdu::DataDigest);
        ladder.tells(&["Aborted 1"]);
        ladder.sends(&["Reject StatSN 1: Data digest error, of SCSI Data-Out"]);
        if !is_final {
            ladder.i(data_out(1, true, 1, 4096, 0, true));
        }
        ladder.sends(&[]);
        ladder.i(data_out(1, true, 0, 4096, 4096, true));
        ladder.sends(&["Response 1 status 02 StatSN 2 ExpDataSN 0 underflow 8192 sense b/47/05"]);
    }
}

/// RFC 7143 4.2.5.3-1, 7.3-1.
#[test]
fn data_with_another_tag_lun_or_without_its_turn_is_rejected_and_the_task_goes_on() {
    let mut ladder = with_two_r2ts();
    ladder.i(data_out(2, true, 0, 0, 512, true));
    ladder.i(DataOut { target_transfer_tag: Some(ttt(9)), ..data_out(1, true, 0, 0, 512, false) });
    ladder.i(DataOut { lun: LunField([0, 4, 0, 0, 0, 0, 0, 0]), ..data_out(1, true, 0, 0, 512, false) });
    ladder.sends(&[
        "Reject StatSN 1: Invalid PDU field, of SCSI Data-Out",
        "Reject StatSN 2: Invalid PDU field, of SCSI Data-Out",
        "Reject StatSN 3: Invalid PDU field, of SCSI Data-Out",
    ]);
    ladder.i(data_out(1, true, 0, 0, 4096, true));
    ladder.i(data_out(1, true, 0, 4096, 4096, true));
    ladder.tells(&["Data 1 0+4096", "Data 1 4096+4096", "DataComplete 1"]);
    // Nothing is outstanding any more.
    ladder.i(data_out(1, true, 0, 0, 512, true));
    ladder.sends(&["Reject StatSN 4: Invalid PDU field, of SCSI Data-Out"]);
    ladder.complete(1, good_write(8192));
    ladder.sends(&["Response 1 status 00 StatSN 5 ExpDataSN 0"]);
}

#[test]
fn data_for_a_command_that_does_not_write_is_rejected() {
    let mut ladder = Ladder::new(open());
    ladder.i(read(1, 512));
    ladder.events();
    ladder.i(data_out(1, false, 0, 0, 512, true));
    ladder.sends(&["Reject StatSN 1: Protocol error, of SCSI Data-Out"]);
    ladder.complete(1, good_read(512));
    ladder.sends(&["Data-In 1 DataSN 0 0+512 F S status 00 StatSN 2"]);
}

/// Commands that never reach the owner: the status comes in their place.
#[track_caller]
fn refused(parameters: Parameters, command: ScsiCommand, more: &[DataOut], sense: &str) {
    let expected = command.expected_data_transfer_length;
    let mut ladder = Ladder::new(parameters);
    ladder.i(command);
    for pdu in more {
        ladder.sends(&[]);
        ladder.i(pdu.clone());
    }
    ladder.tells(&[]);
    ladder.sends(&[&format!("Response 1 status 02 StatSN 1 ExpDataSN 0 underflow {expected} sense {sense}")]);
    assert_eq!(ladder.window.0, ladder.cmd_sn, "the command was taken");
}

// RFC 7143 11.8-1, 13.11-2: three ways.
#[test]
fn unsolicited_data_beyond_what_was_agreed_upon() {
    let no_immediate = Parameters { immediate_data: false, ..open() };
    let no_unsolicited = Parameters { initial_r2t: true, ..open() };
    refused(no_immediate, write_immediate(1, 512, 512), &[], "b/0c/0c");
    refused(open(), ScsiCommand { data: pattern(0, 4), ..read(1, 512) }, &[], "b/0c/0c");
    refused(no_unsolicited, ScsiCommand { is_final: false, ..write(1, 4096) }, &[], "b/0c/0c");
    // More than FirstBurstLength, more than is expected.
    refused(open(), write_immediate(1, 4096, 2049), &[], "b/0c/0d");
    refused(open(), write_immediate(1, 512, 513), &[], "b/0c/0d");
    // The same with Data-Out on the way: the status waits.
    refused(
        open(),
        ScsiCommand { is_final: false, ..write_immediate(1, 4096, 2049) },
        &[data_out(1, false, 0, 2049, 10, true)],
        "b/0c/0d",
    );
}

#[track_caller]
fn unsolicited_fails(first: &[DataOut], sense: &str) {
    let mut ladder = Ladder::new(open());
    ladder.i(ScsiCommand { is_final: false, ..write(1, 8192) });
    ladder.tells(&["Command 1 W 8192"]);
    for pdu in first {
        ladder.i(pdu.clone());
    }
    ladder.tells(&["Aborted 1"]);
    ladder.sends(&[&format!("Response 1 status 02 StatSN 1 ExpDataSN 0 underflow 8192 sense {sense}")]);
}

#[test]
fn unsolicited_data_that_breaks_its_rules_ends_the_task() {
    unsolicited_fails(&[data_out(1, false, 0, 0, 2049, true)], "b/0c/0d");
    unsolicited_fails(&[data_out(1, false, 0, 0, 2047, true)], "b/0c/0d");
    unsolicited_fails(&[data_out(1, false, 1, 0, 1024, false), data_out(1, false, 2, 1024, 1024, true)], "b/47/05");
    unsolicited_fails(
        &[
            data_out(1, false, 0, 0, 2048, false),
            data_out(1, false, 1, 2048, 1, false),
            data_out(1, false, 2, 0, 0, true),
        ],
        "b/0c/0d",
    );
}

#[test]
fn unsolicited_data_after_the_end_of_the_burst_ends_the_task() {
    let mut ladder = with_two_r2ts();
    ladder.i(data_out(1, false, 0, 0, 512, true));
    ladder.tells(&["Aborted 1"]);
    ladder.sends(&[]);
    ladder.i(data_out(1, true, 0, 0, 4096, true));
    ladder.i(data_out(1, true, 0, 4096, 4096, true));
    ladder.sends(&["Response 1 status 02 StatSN 1 ExpDataSN 0 underflow 8192 sense b/0c/0c"]);
}

/// RFC 7143 10.7-2: what the initiator could not know to be useless is dropped without a word.
#[test]
fn data_for_a_task_that_was_ended_is_dropped() {
    let mut ladder = with_two_r2ts();
    let task = ladder.tasks[&1];
    ladder.session.discard(task);
    ladder.tells(&[]);
    ladder.sends(&["NOP-In"]); // MaxCmdSN has changed
    ladder.i(data_out(1, true, 0, 0, 4096, true));
    ladder.tells(&[]);
    ladder.sends(&[]);
    // A command that was not taken for its digest brings its data nevertheless.
    ladder.bad(ScsiCommand { is_final: false, ..write(3, 1024) }, BadPdu::DataDigest);
    ladder.i(data_out(3, false, 0, 0, 1024, true));
    ladder.sends(&["Reject StatSN 1: Data digest error, of SCSI Command"]);
}

// RFC 7143 11.7.1-1, 11.7.1-2, 11.7.2-2, 11.7.7-2, 13.19-1: whatever was agreed upon; no A bit.
#[test]
fn data_in_is_cut_at_segments_and_bursts_of_any_length() {
    let parameters = Parameters { send_segment_bytes_max: 1022, burst_bytes_max: 2500, ..Parameters::default() };
    let mut ladder = Ladder::new(parameters);
    ladder.i(read(1, 6000));
    ladder.events();
    ladder.complete(1, good_read(6000));
    assert_eq!(ladder.session.data_in_bytes(CID), 6000);
    ladder.sends(&[
        "Data-In 1 DataSN 0 0+1020",
        "Data-In 1 DataSN 1 1020+1020",
        "Data-In 1 DataSN 2 2040+460 F",
        "Data-In 1 DataSN 3 2500+1020",
        "Data-In 1 DataSN 4 3520+1020",
        "Data-In 1 DataSN 5 4540+460 F",
        "Data-In 1 DataSN 6 5000+1000 F S status 00 StatSN 1",
    ]);
    assert_eq!(ladder.read(), pattern(0, 6000));
    assert_eq!(ladder.session.data_in_bytes(CID), 0);
}
