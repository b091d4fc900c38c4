//! Error recovery level 1: data of writes that was lost or damaged is asked for again (RFC 7143 sections 7.1.4.1, 7.8 and 7.9).

use super::ladder::*;
use super::recovery::{data_snack, ladder, parameters};
use iscsi_pdu::*;
use iscsi_session::{BadPdu, Parameters};

// RFC 7143 7.3-4, 7.8-2, 7.8-3: the DataSN after it is the next.
#[test]
fn damaged_data_is_rejected_and_asked_for_again() {
    let mut ladder = ladder();
    ladder.i(write(1, 4096));
    ladder.events();
    ladder.receive(1, 4096);
    ladder.sends(&["R2T 1 R2TSN 0 0+4096"]);
    ladder.i(data_out(1, true, 0, 0, 1024, false));
    ladder.bad(data_out(1, true, 1, 1024, 1024, false), BadPdu::DataDigest);
    ladder.i(data_out(1, true, 2, 2048, 1024, false));
    ladder.i(data_out(1, true, 3, 3072, 1024, true));
    ladder.tells(&["Data 1 0+1024"]);
    ladder.sends(&["Reject StatSN 1: Data digest error, of SCSI Data-Out", "R2T 1 R2TSN 1 1024+1024"]);
    ladder.i(data_out(1, true, 0, 1024, 1024, true));
    ladder.tells(&["Data 1 1024+1024", "Data 1 2048+1024", "Data 1 3072+1024", "DataComplete 1"]);
    assert_eq!(ladder.written[&1], pattern(0, 4096));
}

// RFC 7143 7.9-2.
/// RFC 7143 7.9: a gap in DataSN is a lost PDU, and so is a damaged last one.
#[test]
fn lost_data_is_asked_for_again() {
    let mut ladder = ladder();
    ladder.i(write(1, 5000));
    ladder.events();
    ladder.receive(1, 5000);
    ladder.sends(&["R2T 1 R2TSN 0 0+4096"]);
    ladder.i(data_out(1, true, 1, 1024, 1024, false));
    ladder.bad(data_out(1, true, 4, 3072, 1024, true), BadPdu::DataDigest);
    ladder.tells(&[]);
    ladder.sends(&["Reject StatSN 1: Data digest error, of SCSI Data-Out", "R2T 1 R2TSN 1 0+1024"]);
    ladder.i(data_out(1, true, 0, 0, 1024, true));
    ladder.tells(&["Data 1 0+1024", "Data 1 1024+1024"]);
    ladder.sends(&["R2T 1 R2TSN 2 2048+2952"]);
    ladder.i(data_out(1, true, 0, 2048, 2952, true));
    ladder.tells(&["Data 1 2048+2952", "DataComplete 1"]);
    assert_eq!(ladder.written[&1], pattern(0, 5000));
}

#[test]
fn unsolicited_data_that_was_lost_is_asked_for() {
    let mut ladder = ladder();
    ladder.i(ScsiCommand { is_final: false, ..write_immediate(1, 3000, 512) });
    ladder.i(data_out(1, false, 1, 1024, 1024, true));
    ladder.tells(&["Command 1 W 3000 immediate 512"]);
    ladder.receive(1, 3000);
    ladder.sends(&["R2T 1 R2TSN 0 512+512"]);
    ladder.i(data_out(1, true, 0, 512, 512, true));
    ladder.tells(&["Data 1 512+512", "Data 1 1024+1024"]);
    ladder.sends(&["R2T 1 R2TSN 1 2048+952"]);
    ladder.i(data_out(1, true, 0, 2048, 952, true));
    ladder.tells(&["Data 1 2048+952", "DataComplete 1"]);
}

/// RFC 7143 7.1.4.1: the last PDU of a sequence was lost, which nothing but silence tells.
#[test]
fn a_sequence_that_stops_is_asked_for_again() {
    let mut ladder = ladder();
    ladder.i(write(1, 4096));
    ladder.events();
    ladder.receive(1, 4096);
    ladder.sends(&["R2T 1 R2TSN 0 0+4096"]);
    ladder.i(data_out(1, true, 0, 0, 3072, false));
    ladder.pass(2);
    ladder.sends(&[]);
    ladder.pass(2);
    ladder.sends(&["R2T 1 R2TSN 1 3072+1024"]);
    // Late data is as good as any.
    ladder.i(data_out(1, true, 1, 3072, 1024, true));
    ladder.tells(&["Data 1 0+3072", "Data 1 3072+1024", "DataComplete 1"]);
    ladder.i(data_out(1, true, 0, 3072, 1024, true));
    ladder.tells(&[]);
    ladder.sends(&[]);
}

// RFC 7143 11.16-2, 11.16-4: the same R2T; with the StatSN of the moment.
/// RFC 7143 7.9 and 7.1.4.1: an R2T to which nothing comes may have got lost: it comes again, and then one with the next number.
#[test]
fn an_r2t_without_an_answer_is_repeated() {
    let mut ladder = ladder();
    ladder.i(write(1, 4096));
    ladder.events();
    ladder.receive(1, 4096);
    ladder.sends(&["R2T 1 R2TSN 0 0+4096"]);
    ladder.pass(2);
    ladder.sends(&[]);
    ladder.pass(2);
    ladder.sends(&["R2T 1 R2TSN 0 0+4096"]);
    ladder.pass(2);
    ladder.sends(&[]);
    ladder.pass(2);
    ladder.sends(&["R2T 1 R2TSN 1 0+4096"]);
    ladder.i(nop_out(2, ""));
    ladder.i(data_snack(1, 0, 1));
    ladder.sends(&["R2T 1 R2TSN 0 0+4096", "NOP-In 2 StatSN 1 "]);
    assert!(matches!(&ladder.last[0], Pdu::R2t(again) if again.stat_sn == StatSn(1)));
    ladder.i(data_out(1, true, 0, 0, 4096, true));
    ladder.tells(&["Data 1 0+4096"]);
    ladder.i(data_snack(1, 1, 1));
    ladder.sends(&["Reject StatSN 2: Protocol error, of SNACK Request"]);
    ladder.i(data_out(1, true, 0, 0, 4096, true));
    ladder.tells(&["DataComplete 1"]);
}

#[test]
fn data_that_gets_lost_again_and_again_ends_the_task() {
    let mut ladder = ladder();
    ladder.i(write(1, 512));
    ladder.events();
    ladder.receive(1, 512);
    for r2t_sn in 0..=64 {
        ladder.sends(&[&format!("R2T 1 R2TSN {r2t_sn} 0+512")]);
        ladder.bad(data_out(1, true, 0, 0, 512, true), BadPdu::DataDigest);
        assert!(ladder.session.poll_transmit(CID).is_some(), "a Reject");
    }
    ladder.tells(&["Aborted 1"]);
    ladder.sends(&["Response 1 status 02 StatSN 66 ExpDataSN 0 underflow 512 sense b/47/05"]);
}

/// What is no loss is a broken rule as ever.
#[test]
fn data_that_is_wrong_is_not_recovered() {
    let wrong = [
        (data_out(1, true, 0, 0, 512, true), "b/0c/0d", 1),
        (data_out(1, true, 0, 512, 512, false), "b/0c/0d", 1),
        (data_out(1, true, 0, 0, 4097, true), "b/0c/0d", 0),
    ];
    for (pdu, sense, rejects) in wrong {
        let mut ladder = ladder();
        ladder.i(write(1, 5000));
        ladder.events();
        ladder.receive(1, 5000);
        ladder.sent();
        let is_final = pdu.is_final;
        ladder.i(pdu);
        if !is_final {
            ladder.i(data_out(1, true, 1, 0, 0, true));
        }
        ladder.tells(&["Aborted 1"]);
        let sent = ladder.sent();
        assert_eq!(sent.len(), rejects + 1, "{sent:?}");
        assert!(sent[rejects].ends_with(sense), "{sent:?}");
    }
}

/// A task that has ended does not wait for data that was lost.
#[test]
fn a_task_that_has_ended_gives_lost_data_up() {
    let mut ladder = ladder();
    ladder.i(write(1, 4096));
    ladder.events();
    ladder.receive(1, 4096);
    ladder.sent();
    ladder.complete(1, check_condition());
    ladder.sends(&[]);
    ladder.pass(2);
    ladder.pass(2);
    assert!(ladder.sent()[0].starts_with("Response 1 status 02 StatSN 1"));
}

/// Who cuts its data into crumbs behind a hole does not make us keep them all: the rest is asked for again.
#[test]
fn crumbs_behind_a_hole_are_bounded() {
    let mut ladder = Ladder::new(Parameters { burst_bytes_max: 65_536, ..parameters() });
    ladder.i(write(1, 5000));
    ladder.events();
    ladder.receive(1, 5000);
    ladder.sends(&["R2T 1 R2TSN 0 0+5000"]);
    for offset in 1..5000 {
        ladder.i(data_out(1, true, offset, offset, 1, offset == 4999));
    }
    ladder.tells(&[]);
    ladder.sends(&["R2T 1 R2TSN 1 0+1"]);
    ladder.i(data_out(1, true, 0, 0, 1, true));
    assert_eq!(ladder.events().len(), 4097);
    ladder.sends(&["R2T 1 R2TSN 2 4097+903"]);
    ladder.i(data_out(1, true, 0, 4097, 903, true));
    ladder.tells(&["Data 1 4097+903", "DataComplete 1"]);
    assert_eq!(ladder.written[&1], pattern(0, 5000));
}

/// RFC 7143 13.18: at level 0 too, PDUs of a sequence may come in any order, if that was agreed upon.
#[test]
fn data_comes_in_any_order() {
    let parameters = Parameters { error_recovery_level: 0, data_pdu_in_order: false, ..parameters() };
    let mut ladder = Ladder::new(parameters);
    ladder.i(write_immediate(1, 3000, 500));
    ladder.events();
    ladder.receive(1, 3000);
    ladder.sends(&["R2T 1 R2TSN 0 500+2500"]);
    ladder.i(data_out(1, true, 0, 2000, 1000, false));
    ladder.i(data_out(1, true, 1, 500, 500, false));
    ladder.tells(&["Data 1 500+500"]);
    ladder.i(data_out(1, true, 2, 1000, 1000, true));
    ladder.tells(&["Data 1 1000+1000", "Data 1 2000+1000", "DataComplete 1"]);
    assert_eq!(ladder.written[&1], pattern(0, 3000));
    ladder.complete(1, good_write(3000));
    ladder.sends(&["Response 1 status 00 StatSN 1 ExpDataSN 0"]);
    // A DataSN that is not the next is a loss that nothing recovers from.
    ladder.i(write(2, 1000));
    ladder.events();
    ladder.receive(2, 1000);
    ladder.sent();
    ladder.i(data_out(2, true, 1, 0, 1000, true));
    ladder.tells(&["Aborted 2"]);
    ladder.sends(&["Response 2 status 02 StatSN 2 ExpDataSN 0 underflow 1000 sense b/47/05"]);
}
