//! The examples of RFC 7143 appendix A.

use super::ladder::*;
use bytes::Bytes;
use iscsi_pdu::ahs::Ahs;
use iscsi_pdu::{Pdu, ScsiCommand};
use iscsi_session::Parameters;
use iscsi_session::target::{DataProgress, TaskOutcome};

/// RFC 7143 4.2.2.4-1, 4.2.5.1-2, 4.6.1.2-1, 10.2-1.
#[test]
fn a_1_read() {
    let mut ladder = Ladder::new(parameters());
    ladder.i(read(1, 20_480));
    ladder.tells(&["Command 1 R 20480"]);
    ladder.complete(1, TaskOutcome { status: 2, sense: Bytes::from_static(b"sense"), ..good_read(20_480) });
    ladder.sends(&[
        "Data-In 1 DataSN 0 0+8192",
        "Data-In 1 DataSN 1 8192+8192 F",
        "Data-In 1 DataSN 2 16384+4096 F",
        "Response 1 status 02 StatSN 1 ExpDataSN 3 sense [115, 101, 110, 115, 101]",
    ]);
    assert_eq!(ladder.read(), pattern(0, 20_480));
}

/// RFC 7143 4.2.5.1-4.
#[test]
fn a_2_write() {
    let mut ladder = Ladder::new(Parameters { outstanding_r2t_max: 2, ..parameters() });
    ladder.i(write(1, 40_000));
    ladder.tells(&["Command 1 W 40000"]);
    assert_eq!(ladder.receive(1, 40_000), DataProgress::Pending);
    ladder.sends(&["R2T 1 R2TSN 0 0+16384", "R2T 1 R2TSN 1 16384+16384"]);
    for (sn, offset) in [0, 8192].into_iter().enumerate() {
        ladder.i(data_out(1, true, sn as u32, offset, 8192, sn == 1));
    }
    ladder.tells(&["Data 1 0+8192", "Data 1 8192+8192"]);
    ladder.sends(&["R2T 1 R2TSN 2 32768+7232"]);
    ladder.i(data_out(1, true, 0, 16_384, 8192, false));
    ladder.i(data_out(1, true, 1, 24_576, 8192, true));
    ladder.i(data_out(1, true, 0, 32_768, 7232, true));
    ladder.tells(&["Data 1 16384+8192", "Data 1 24576+8192", "Data 1 32768+7232", "DataComplete 1"]);
    assert_eq!(ladder.written[&1], pattern(0, 40_000));
    ladder.complete(1, good_write(40_000));
    ladder.sends(&["Response 1 status 00 StatSN 1 ExpDataSN 0"]);
}

/// RFC 7143 4.2.2.4-1.
#[test]
fn a_3_1_output_numbering() {
    let mut ladder = Ladder::new(Parameters { outstanding_r2t_max: 2, burst_bytes_max: 1024, ..parameters() });
    ladder.i(write(1, 1536));
    ladder.tells(&["Command 1 W 1536"]);
    ladder.receive(1, 1536);
    ladder.sends(&["R2T 1 R2TSN 0 0+1024", "R2T 1 R2TSN 1 1024+512"]);
    ladder.i(data_out(1, true, 0, 0, 512, false));
    ladder.i(data_out(1, true, 1, 512, 512, true));
    ladder.i(data_out(1, true, 0, 1024, 512, true));
    ladder.tells(&["Data 1 0+512", "Data 1 512+512", "Data 1 1024+512", "DataComplete 1"]);
    ladder.complete(1, good_write(1536));
    ladder.sends(&["Response 1 status 00 StatSN 1 ExpDataSN 0"]);
}

/// The appendix sends the status in a PDU of its own; ours comes with the last data, as section 11.7.3 allows.
#[test]
fn a_3_2_input_numbering() {
    let mut ladder = Ladder::new(Parameters { send_segment_bytes_max: 512, ..parameters() });
    ladder.i(read(1, 1536));
    ladder.events();
    ladder.complete(1, good_read(1536));
    ladder.sends(&[
        "Data-In 1 DataSN 0 0+512",
        "Data-In 1 DataSN 1 512+512",
        "Data-In 1 DataSN 2 1024+512 F S status 00 StatSN 1",
    ]);
}

/// R2Ts and Data-In PDUs count together (section 4.2.2.4); the appendix, whose Data-In PDUs begin with 0 again, does not
/// follow that.
#[test]
fn a_3_3_bidirectional_numbering() {
    let mut ladder = Ladder::new(Parameters { send_segment_bytes_max: 512, ..parameters() });
    let ahs = Ahs { bidirectional_read_length: Some(1024), ..Ahs::default() };
    ladder.i(ScsiCommand { read: true, ahs: ahs.encode(), ..write(1, 2048) });
    ladder.tells(&["Command 1 RW 2048"]);
    ladder.receive(1, 2048);
    ladder.sends(&["R2T 1 R2TSN 0 0+2048"]);
    ladder.i(data_out(1, true, 0, 0, 2048, true));
    ladder.tells(&["Data 1 0+2048", "DataComplete 1"]);
    ladder.complete(1, TaskOutcome { data_out_length: 2048, ..good_read(1024) });
    ladder.sends(&[
        "Data-In 1 DataSN 1 0+512",
        "Data-In 1 DataSN 2 512+512 F",
        "Response 1 status 00 StatSN 1 ExpDataSN 2",
    ]);
}

#[test]
fn a_3_4_unsolicited_and_immediate_data() {
    let mut ladder = Ladder::new(Parameters { initial_r2t: false, ..parameters() });
    ladder.i(ScsiCommand { is_final: false, ..write_immediate(1, 12_288, 4096) });
    ladder.tells(&["Command 1 W 12288 immediate 4096"]);
    assert_eq!(ladder.receive(1, 12_288), DataProgress::Pending);
    ladder.sends(&[]);
    ladder.i(data_out(1, false, 0, 4096, 4096, true));
    ladder.tells(&["Data 1 4096+4096"]);
    ladder.sends(&["R2T 1 R2TSN 0 8192+4096"]);
    ladder.i(data_out(1, true, 0, 8192, 4096, true));
    ladder.tells(&["Data 1 8192+4096", "DataComplete 1"]);
    assert_eq!(ladder.written[&1], pattern(0, 12_288));
    ladder.complete(1, good_write(12_288));
    ladder.sends(&["Response 1 status 00 StatSN 1 ExpDataSN 0"]);
}

/// The command of appendix A.4 as bytes: the fields that it must be read as.
#[test]
fn a_4_the_read_command_of_the_digest_example() {
    let mut header = iscsi_pdu::Header([0; 48]);
    header.0[..4].copy_from_slice(&[0x01, 0xc0, 0, 0]);
    header.0[16] = 0x14;
    header.0[20..28].copy_from_slice(&[0, 0, 4, 0, 0, 0, 0, 0x14]);
    header.0[31] = 0x18;
    header.0[32] = 0x28;
    header.0[40] = 2;
    let frame = iscsi_pdu::Frame { header, ahs: Box::default(), data: Bytes::new() };
    let mut login = outcome(parameters());
    (login.cmd_sn, login.max_cmd_sn) = (iscsi_pdu::CmdSn(0x14), iscsi_pdu::CmdSn(0x18));
    let mut ladder = Ladder::start(login, config());
    ladder.raw(Pdu::decode(frame).unwrap());
    ladder.tells(&["Command 0 R 1024"]);
}
