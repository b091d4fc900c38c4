//! Every rule that an initiator can break after the login: that the session names it, and does what the table of violations says, no more.

mod before;

use super::ladder::*;
use super::recovery::{acknowledgement, after_a_read, after_other_segments, data_snack};
use super::reject::take;
use before::*;
use iscsi_pdu::*;
use iscsi_session::{Answer, BadPdu, CloseReason, IscsiCondition, Violation};

/// A rule, what comes before, and how it is broken.
type Row = (Violation, fn() -> Ladder, fn(&mut Ladder));

const HEADERS: &[Row] = &[
    (Violation::UnknownOpcode, usual, |ladder| take(ladder, header(&[0x1f]))),
    (Violation::NotFromInitiator, usual, |ladder| ladder.i(NopIn::default())),
    (Violation::NotFromInitiator, usual, |ladder| take(ladder, header(&[0x31]))),
    (Violation::LoginInFullFeaturePhase, usual, |ladder| ladder.i(LoginRequest::default())),
    (Violation::LoginInFullFeaturePhase, usual, |ladder| take(ladder, header(&[0x03, 0xc0]))),
    (Violation::MalformedField, usual, |ladder| take(ladder, header(&[0x01, 0x87]))),
    (Violation::DataDigestMismatch, usual, |ladder| ladder.bad(nop_out(1, "x"), BadPdu::DataDigest)),
    (Violation::SegmentTooLong, usual, |ladder| ladder.i(write_immediate(1, 65_536, 8193))),
    (Violation::TooManyErrors, after_64_errors, |ladder| ladder.i(NopIn::default())),
    (Violation::NotInDiscovery, Ladder::discovery, |ladder| ladder.i(read(1, 0))),
    (Violation::NotInDiscovery, Ladder::discovery, |ladder| ladder.i(nop_out(1, ""))),
    (Violation::NotInDiscovery, Ladder::discovery, |ladder| ladder.i(manage(1, TaskManagementFunction::ClearAca))),
    (Violation::NotInDiscovery, Ladder::discovery, |ladder| ladder.i(logout(1, LogoutReason::CloseConnection))),
    (Violation::NotInDiscovery, Ladder::discovery, |ladder| ladder.i(text(1, ""))),
];

const REQUESTS: &[Row] = &[
    (Violation::OutsideCommandWindow, usual, |ladder| {
        ladder.cmd_sn = CmdSn(100);
        ladder.i(read(1, 0));
    }),
    (Violation::OutsideCommandWindow, with_a_read, |ladder| {
        ladder.cmd_sn = CmdSn(1);
        ladder.i(read(2, 0));
    }),
    (Violation::TooManyImmediate, with_two_pings, |ladder| ladder.i(NopOut { immediate: true, ..nop_out(3, "") })),
    (Violation::TooManyImmediate, with_two_functions, |ladder| ladder.i(manage(3, TaskManagementFunction::ClearAca))),
    (Violation::CommandAfterLogoutRequest, with_a_logout_request, |ladder| {
        ladder.i(ScsiCommand { immediate: true, ..read(1, 0) });
    }),
    (Violation::TagInUse, with_a_read, |ladder| ladder.i(read(1, 0))),
    (Violation::TagInUse, with_a_read, |ladder| ladder.i(nop_out(1, ""))),
    (Violation::TagInUse, with_a_read, |ladder| ladder.i(text(1, ""))),
    (Violation::TagInUse, with_a_read, |ladder| ladder.i(manage(1, TaskManagementFunction::ClearAca))),
    (Violation::TagInUse, with_a_read, |ladder| ladder.i(logout(1, LogoutReason::CloseSession))),
    (Violation::TagInUse, with_two_functions, |ladder| ladder.i(read(1, 0))),
    (Violation::FinalOrWrite, usual, |ladder| ladder.i(ScsiCommand { is_final: false, ..read(1, 512) })),
    (Violation::DataWithoutDirection, usual, |ladder| {
        ladder.i(ScsiCommand { expected_data_transfer_length: 512, ..command(1) });
    }),
    (Violation::BidirectionalWithoutLength, usual, |ladder| ladder.i(ScsiCommand { read: true, ..write(1, 512) })),
    (Violation::NopOutNotImmediate, usual, |ladder| ladder.i(NopOut { initiator_task_tag: None, ..nop_out(1, "") })),
    (Violation::UnknownTransferTag, usual, |ladder| {
        ladder.i(NopOut {
            immediate: true,
            initiator_task_tag: None,
            target_transfer_tag: Some(ttt(1)),
            ..nop_out(1, "")
        });
    }),
];

const DATA: &[Row] = &[
    (Violation::ImmediateDataNotAllowed, without_immediate_data, |ladder| ladder.i(write_immediate(1, 512, 512))),
    (Violation::ImmediateDataNotAllowed, usual, |ladder| ladder.i(ScsiCommand { data: pattern(0, 8), ..read(1, 8) })),
    (Violation::UnsolicitedDataNotAllowed, usual, |ladder| {
        ladder.i(ScsiCommand { is_final: false, ..write(1, 512) });
    }),
    (Violation::UnsolicitedDataNotAllowed, with_a_write, |ladder| ladder.i(data_out(1, false, 0, 0, 512, true))),
    (Violation::TooMuchUnsolicitedData, usual, |ladder| ladder.i(write_immediate(1, 511, 512))),
    (Violation::TooMuchUnsolicitedData, with_unsolicited_data, |ladder| {
        ladder.i(data_out(1, false, 0, 0, 2049, true));
    }),
    (Violation::UnsolicitedDataIncomplete, with_unsolicited_data, |ladder| {
        ladder.i(data_out(1, false, 0, 0, 2047, true));
    }),
    (Violation::DataForUnknownTask, usual, |ladder| ladder.i(data_out(9, false, 0, 0, 512, true))),
    (Violation::DataForNonWrite, with_a_read, |ladder| ladder.i(data_out(1, false, 0, 0, 512, true))),
    (Violation::OtherConnection, with_an_r2t, |ladder| {
        ladder.add(Cid(8));
        ladder.on(Cid(8)).i(data_out(1, true, 0, 0, 4096, true));
    }),
    (Violation::UnknownTransferTag, with_an_r2t, |ladder| {
        ladder.i(DataOut { target_transfer_tag: Some(ttt(2)), ..data_out(1, true, 0, 0, 4096, true) });
    }),
    (Violation::WrongLun, with_an_r2t, |ladder| {
        ladder.i(DataOut { lun: LunField::default(), ..data_out(1, true, 0, 0, 4096, true) });
    }),
    (Violation::DataOutSnOutOfOrder, with_an_r2t, |ladder| ladder.i(data_out(1, true, 1, 0, 4096, true))),
    (Violation::DataOutOffset, with_an_r2t, |ladder| ladder.i(data_out(1, true, 0, 8, 4088, true))),
    (Violation::DataBeyondR2t, with_an_r2t, |ladder| ladder.i(data_out(1, true, 0, 0, 4097, true))),
    (Violation::DataShortOfR2t, with_an_r2t, |ladder| ladder.i(data_out(1, true, 0, 0, 4095, true))),
    (Violation::DataOutDigestMismatch, with_an_r2t, |ladder| {
        ladder.bad(data_out(1, true, 0, 0, 4096, true), BadPdu::DataDigest);
    }),
    (Violation::DataWithheld, with_data_withheld, |ladder| ladder.i(read(2000, 0))),
];

/// The same where data may come in any order, or again.
const ASSEMBLED_DATA: &[Row] = &[
    (Violation::UnsolicitedDataNotAllowed, with_a_write_in_any_order, |ladder| {
        ladder.i(data_out(1, false, 0, 0, 512, true));
    }),
    (Violation::TooMuchUnsolicitedData, with_unsolicited_data_in_any_order, |ladder| {
        ladder.i(data_out(1, false, 0, 0, 2049, true));
    }),
    (Violation::UnsolicitedDataIncomplete, with_unsolicited_data_in_any_order, |ladder| {
        ladder.i(data_out(1, false, 0, 0, 2047, true));
    }),
    (Violation::UnknownTransferTag, with_an_r2t_in_any_order, |ladder| {
        ladder.i(DataOut { target_transfer_tag: Some(ttt(2)), ..data_out(1, true, 0, 0, 4096, true) });
    }),
    (Violation::DataOutSnOutOfOrder, with_an_r2t_in_any_order, |ladder| ladder.i(data_out(1, true, 1, 0, 4096, true))),
    (Violation::DataOutOffset, with_an_r2t_in_any_order, |ladder| ladder.i(data_out(1, true, 0, 4097, 8, true))),
    (Violation::DataBeyondR2t, with_an_r2t_in_any_order, |ladder| ladder.i(data_out(1, true, 0, 0, 4097, true))),
    (Violation::DataShortOfR2t, with_an_r2t_in_any_order, |ladder| ladder.i(data_out(1, true, 0, 0, 4095, true))),
    (Violation::DataDigestMismatch, with_an_r2t_at_level_1, |ladder| {
        ladder.bad(data_out(1, true, 0, 0, 4096, true), BadPdu::DataDigest);
    }),
];

const SNACKS: &[Row] = &[
    (Violation::SnackNotSupported, usual, |ladder| ladder.i(data_snack(1, 0, 1))),
    (Violation::SnackOutsideRun, after_a_read, |ladder| ladder.i(data_snack(1, 5, 1))),
    (Violation::SnackForgotten, after_other_segments, |ladder| ladder.i(data_snack(1, 0, 1))),
    (Violation::InvalidDataAck, after_a_read, |ladder| {
        let beyond = acknowledgement(ladder, 6);
        ladder.i(beyond);
    }),
];

const TEXTS: &[Row] = &[
    (Violation::TextContinuation, usual, |ladder| ladder.i(going_on(""))),
    (Violation::TextOutstanding, with_a_question, |ladder| ladder.i(text(2, "SendTargets=\0"))),
    (Violation::TextOutOfResources, with_16_kib_of_text, |ladder| ladder.i(going_on("a"))),
    (Violation::TextNegotiation, usual, |ladder| ladder.i(text(1, "InitiatorAlias\0"))),
    (Violation::TextNegotiation, usual, |ladder| ladder.i(text(1, "InitiatorAlias=a\0InitiatorAlias=b\0"))),
    (Violation::SendTargetsScope, usual, |ladder| ladder.i(text(1, "SendTargets=All\0"))),
    (Violation::SendTargetsScope, Ladder::discovery, |ladder| ladder.i(text(1, "SendTargets=\0"))),
];

fn rows() -> impl Iterator<Item = &'static Row> {
    [HEADERS, REQUESTS, DATA, ASSEMBLED_DATA, SNACKS, TEXTS].into_iter().flatten()
}

#[test]
fn every_rule_that_an_initiator_can_break_has_a_row() {
    let has_none = |rule: &&Violation| rows().all(|(violation, ..)| violation != *rule);
    let untested: Vec<_> = Violation::OF_INITIATORS.iter().filter(has_none).collect();
    assert!(untested.is_empty(), "no row breaks {untested:?}");
}

#[test]
fn every_broken_rule_is_named_and_answered_as_the_table_says() {
    for (violation, before, breaks) in rows() {
        let mut ladder = before();
        ladder.events();
        ladder.violations();
        breaks(&mut ladder);
        let events = ladder.events();
        if violation.answer() == Answer::Close {
            assert_eq!(events.last(), Some(&format!("Closed {}", CloseReason::Violation(*violation))));
            continue;
        }
        assert_eq!(ladder.violations(), [*violation]);
        let (rejects, conditions) = expected(violation.answer());
        assert!(events.is_empty() || !conditions.is_empty() && events == ["Aborted 1"], "{violation:?}: {events:?}");
        assert_eq!(answers(&mut ladder), (rejects, conditions), "{violation:?}");
        assert_goes_on(&mut ladder);
    }
}

/// The reasons of the Rejects, and the sense of the tasks that fail, which an answer of the table leads to.
fn expected(answer: Answer) -> (Vec<RejectReason>, Vec<[u8; 3]>) {
    match answer {
        Answer::Reject(reason) => (vec![reason], vec![]),
        Answer::Fail(condition) => (vec![], vec![sense(condition)]),
        Answer::RejectAndFail(reason, condition) => (vec![reason], vec![sense(condition)]),
        Answer::Ignore => (vec![], vec![]),
        Answer::Refuse(_) | Answer::Close => unreachable!("the session goes on"),
    }
}

/// Sense key and additional sense code (RFC 7143 section 11.4.7.2).
fn sense(condition: IscsiCondition) -> [u8; 3] {
    match condition {
        IscsiCondition::UnexpectedUnsolicitedData => [0x0b, 0x0c, 0x0c],
        IscsiCondition::IncorrectAmountOfData => [0x0b, 0x0c, 0x0d],
        IscsiCondition::ProtocolServiceCrcError => [0x0b, 0x47, 0x05],
        IscsiCondition::SnackRejected => [0x0b, 0x11, 0x13],
    }
}

/// The same of what was sent.
fn answers(ladder: &mut Ladder) -> (Vec<RejectReason>, Vec<[u8; 3]>) {
    ladder.sent();
    let (mut rejects, mut conditions) = (vec![], vec![]);
    for pdu in &ladder.last {
        match pdu {
            Pdu::Reject(pdu) => rejects.push(pdu.reason),
            Pdu::ScsiResponse(pdu) if pdu.status == 2 => conditions.push([pdu.data[4], pdu.data[14], pdu.data[15]]),
            _ => {}
        }
    }
    (rejects, conditions)
}

/// The initiator can log out, with the number that comes next.
fn assert_goes_on(ladder: &mut Ladder) {
    ladder.cmd_sn = ladder.session.command_numbers().0;
    ladder.i(logout(99, LogoutReason::CloseSession));
    assert_eq!(ladder.events().last().map(String::as_str), Some("Closed logged out"));
}

fn header(bytes: &[u8]) -> Header {
    let mut header = Header([0; 48]);
    header.0[..bytes.len()].copy_from_slice(bytes);
    header
}
