//! Residuals (RFC 7143 section 11.4.5): every direction, with less, as much and more than expected.

use super::ladder::*;
use iscsi_pdu::ScsiCommand;
use iscsi_pdu::ahs::Ahs;
use iscsi_session::Parameters;
use iscsi_session::target::TaskOutcome;

/// Ends a command and returns the last line that the target sends.
fn last_line(command: ScsiCommand, outcome: TaskOutcome) -> String {
    let mut ladder = Ladder::new(Parameters::default());
    let tag = command.initiator_task_tag.0;
    ladder.i(command);
    ladder.events();
    ladder.complete(tag, outcome);
    ladder.sent().pop().unwrap()
}

// RFC 7143 11.4.5.2-1, 11.4.5.2-2, 11.4.5.2-3, 11.4.5.2-4, 11.4.8-1: both ways.
#[test]
fn of_reads() {
    let read_of = |expected, presented| last_line(read(1, expected), good_read(presented));
    assert_eq!(read_of(512, 512), "Data-In 1 DataSN 0 0+512 F S status 00 StatSN 1");
    assert_eq!(read_of(512, 100), "Data-In 1 DataSN 0 0+100 F S status 00 StatSN 1 underflow 412");
    assert_eq!(read_of(512, 600), "Data-In 1 DataSN 0 0+512 F S status 00 StatSN 1 overflow 88");
    assert_eq!(read_of(512, 0), "Response 1 status 00 StatSN 1 ExpDataSN 0 underflow 512");
    assert_eq!(read_of(0, 512), "Response 1 status 00 StatSN 1 ExpDataSN 0 overflow 512");
    assert_eq!(read_of(0, 0), "Response 1 status 00 StatSN 1 ExpDataSN 0");
}

// RFC 7143 11.4.5.2-1, 11.4.5.2-2, 11.4.5.2-3, 11.4.5.2-4: both ways.
#[test]
fn of_writes() {
    let write_of =
        |expected, presented| last_line(write_immediate(1, expected, expected as usize), good_write(presented));
    assert_eq!(write_of(512, 512), "Response 1 status 00 StatSN 1 ExpDataSN 0");
    assert_eq!(write_of(512, 100), "Response 1 status 00 StatSN 1 ExpDataSN 0 underflow 412");
    assert_eq!(write_of(512, 1024), "Response 1 status 00 StatSN 1 ExpDataSN 0 overflow 512");
    assert_eq!(write_of(0, 1024), "Response 1 status 00 StatSN 1 ExpDataSN 0 overflow 1024");
}

#[test]
fn of_commands_that_were_to_move_nothing_or_the_other_way() {
    assert_eq!(last_line(command(1), good()), "Response 1 status 00 StatSN 1 ExpDataSN 0");
    assert_eq!(last_line(command(1), good_read(36)), "Response 1 status 00 StatSN 1 ExpDataSN 0 overflow 36");
    assert_eq!(last_line(command(1), good_write(36)), "Response 1 status 00 StatSN 1 ExpDataSN 0 overflow 36");
    assert_eq!(last_line(read(1, 512), good_write(512)), "Response 1 status 00 StatSN 1 ExpDataSN 0 underflow 512");
    let written = write_immediate(1, 512, 512);
    assert_eq!(last_line(written, good_read(512)), "Response 1 status 00 StatSN 1 ExpDataSN 0 underflow 512");
}

// RFC 7143 11.4.8-1, 11.7.3-3: each direction has its own.
#[test]
fn of_bidirectional_commands() {
    let both = |written, read| {
        let ahs = Ahs { bidirectional_read_length: Some(256), ..Ahs::default() };
        let command = ScsiCommand { read: true, ahs: ahs.encode(), ..write_immediate(1, 512, 512) };
        last_line(command, TaskOutcome { data_out_length: written, ..good_read(read) })
    };
    assert_eq!(both(512, 256), "Response 1 status 00 StatSN 1 ExpDataSN 1");
    assert_eq!(both(500, 300), "Response 1 status 00 StatSN 1 ExpDataSN 1 underflow 12 read overflow 44");
    assert_eq!(both(600, 200), "Response 1 status 00 StatSN 1 ExpDataSN 1 overflow 88 read underflow 56");
}

// RFC 7143 11.7.3-1, 11.7.3-2.
/// RFC 7143 11.7.3: only a status without exception comes with the data.
#[test]
fn only_good_statuses_come_with_the_data() {
    let status = |status| last_line(read(1, 512), TaskOutcome { status, ..good_read(512) });
    assert_eq!(status(0x04), "Data-In 1 DataSN 0 0+512 F S status 04 StatSN 1");
    assert_eq!(status(0x08), "Response 1 status 08 StatSN 1 ExpDataSN 1");
    assert_eq!(status(0x28), "Response 1 status 28 StatSN 1 ExpDataSN 1");
}
