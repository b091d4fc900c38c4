//! Text in the full feature phase (RFC 7143 sections 6.4, 11.10, 11.11 and appendix C).

use super::ladder::*;
use iscsi_pdu::{Pdu, TaskManagementFunction, TaskManagementRequest, TextRequest};
use iscsi_session::{Parameters, TargetRecord};

fn ladder() -> Ladder {
    Ladder::new(Parameters::default())
}

fn records(count: usize) -> Vec<TargetRecord> {
    (0..count)
        .map(|number| TargetRecord {
            name: format!("iqn.1993-11.com.example:diskarray.sn.{number:04}"),
            addresses: vec!["10.1.0.45:3000,1".into(), "[fe80::1]:3000,2".into()],
        })
        .collect()
}

fn answer(ladder: &mut Ladder, records: &[TargetRecord]) {
    let id = ladder.requests.pop().expect("SendTargets was asked");
    ladder.session.answer_send_targets(id, records);
}

/// The request that continues an exchange with the target's tag.
fn go_on(tag: u32) -> TextRequest {
    TextRequest { target_transfer_tag: Some(PING_TAG), ..text(tag, "") }
}

#[test]
fn send_targets_in_a_discovery_session() {
    let mut ladder = Ladder::discovery();
    ladder.i(text(1, "SendTargets=All\0"));
    ladder.tells(&["SendTargets All"]);
    ladder.sends(&[]);
    answer(&mut ladder, &records(1));
    ladder.sends(&["Text 1 StatSN 1 F TargetName=iqn.1993-11.com.example:diskarray.sn.0000;\
        TargetAddress=10.1.0.45:3000,1;TargetAddress=[fe80::1]:3000,2;"]);
    ladder.i(text(2, "SendTargets=iqn.1993-11.com.example:diskarray.sn.0001\0"));
    ladder.tells(&["SendTargets Named(\"iqn.1993-11.com.example:diskarray.sn.0001\")"]);
    answer(&mut ladder, &[]);
    ladder.sends(&["Text 2 StatSN 2 F "]);
    // There is no target that the session is logged in to.
    ladder.i(text(3, "SendTargets=\0"));
    ladder.sends(&["Reject StatSN 3: Protocol error, of Text Request"]);
}

#[test]
fn send_targets_in_a_normal_session() {
    let mut ladder = ladder();
    ladder.i(text(1, "SendTargets=\0"));
    ladder.tells(&["SendTargets ThisTarget"]);
    answer(&mut ladder, &records(1));
    assert_eq!(ladder.sent().len(), 1);
    ladder.i(text(2, &format!("SendTargets={OWN_NAME}\0")));
    ladder.tells(&[&format!("SendTargets Named({OWN_NAME:?})")]);
    answer(&mut ladder, &[]);
    ladder.sent();
    // Nothing is told about others, and All is for discovery alone.
    ladder.i(text(3, "SendTargets=iqn.2026-01.io.ferriscsi:other\0"));
    ladder.i(text(4, "SendTargets=All\0"));
    ladder.tells(&[]);
    ladder.sends(&["Text 3 StatSN 3 F ", "Reject StatSN 4: Protocol error, of Text Request"]);
}

/// The example of section 11.10.4: a long answer in parts.
#[test]
fn a_long_answer_comes_in_parts_of_whole_pairs() {
    let mut ladder = Ladder::discovery();
    ladder.i(text(1, "SendTargets=All\0"));
    ladder.events();
    answer(&mut ladder, &records(200));
    let mut said = Vec::new();
    let mut parts = 0;
    loop {
        assert_eq!(ladder.sent().len(), 1);
        let Pdu::TextResponse(response) = ladder.last[0].clone() else { panic!("a text response") };
        assert!(response.data.len() <= 8192);
        assert_eq!(response.data.last(), Some(&0), "cut after a pair");
        assert_eq!(response.continues, !response.is_final);
        said.extend_from_slice(&response.data);
        parts += 1;
        if response.is_final {
            break;
        }
        ladder.i(go_on(1));
    }
    assert_eq!(parts, 3);
    let names = iscsi_pdu::text::pairs(&said).filter(|pair| pair.unwrap().0 == "TargetName").count();
    assert_eq!(names, 200);
}

/// RFC 7143 6.4-5: with a tag to go on with.
#[test]
fn an_answer_waits_until_the_initiator_has_said_all() {
    let mut ladder = ladder();
    ladder.i(TextRequest { is_final: false, ..text(1, "X-a=1\0") });
    ladder.sends(&["Text 1 StatSN 1 X-a=NotUnderstood;"]);
    ladder.i(TextRequest { data: "X-b=1\0".into(), ..go_on(1) });
    ladder.sends(&["Text 1 StatSN 2 F X-b=NotUnderstood;"]);
}

/// RFC 7143 6.2-2.
#[test]
fn text_in_parts_is_answered_with_nothing_until_it_is_whole() {
    let mut ladder = ladder();
    ladder.i(TextRequest { is_final: false, continues: true, ..text(1, "X-a=1\0X-") });
    ladder.sends(&["Text 1 StatSN 1 "]);
    ladder.i(TextRequest { data: "b=2\0".into(), ..go_on(1) });
    ladder.sends(&["Text 1 StatSN 2 F X-a=NotUnderstood;X-b=NotUnderstood;"]);
}

/// RFC 7143 6.2-16.
#[test]
fn the_segment_length_changes_when_the_exchange_ends() {
    let mut ladder = ladder();
    ladder.i(read(9, 4096));
    ladder.events();
    ladder.complete(9, good_read(4096));
    ladder.i(TextRequest { is_final: false, ..text(1, "MaxRecvDataSegmentLength=0x400\0") });
    assert_eq!(ladder.session.send_segment_bytes_max(CID), Some(8192));
    ladder.i(go_on(1));
    assert_eq!(ladder.session.send_segment_bytes_max(CID), Some(1024));
    ladder.sends(&[
        "Data-In 9 DataSN 0 0+1024",
        "Data-In 9 DataSN 1 1024+1024",
        "Data-In 9 DataSN 2 2048+1024",
        "Data-In 9 DataSN 3 3072+1024 F S status 00 StatSN 1",
        "Text 1 StatSN 2 ",
        "Text 1 StatSN 3 F ",
    ]);
}

/// RFC 7143 6.2-7, 6.2-13.
#[test]
fn keys_that_cannot_be_agreed_upon_now() {
    let mut ladder = ladder();
    let keys =
        "MaxRecvDataSegmentLength=511\0InitiatorAlias=me\0MaxBurstLength=1024\0HeaderDigest=CRC32C\0X-y=z\0Foo=1\0";
    ladder.i(text(1, keys));
    ladder.sends(&["Text 1 StatSN 1 F MaxRecvDataSegmentLength=Reject;MaxBurstLength=Reject;HeaderDigest=Reject;\
        X-y=NotUnderstood;Foo=NotUnderstood;"]);
    assert_eq!(ladder.session.send_segment_bytes_max(CID), Some(8192));
    for value in ["16777216", "+512", "0x", "many", ""] {
        ladder.i(text(2, &format!("MaxRecvDataSegmentLength={value}\0")));
        assert!(ladder.sent()[0].ends_with("F MaxRecvDataSegmentLength=Reject;"), "{value}");
    }
}

/// RFC 7143 6.4-6, 7.12-3, 7.12-4, 7.12-5: a negotiation that breaks a rule is rejected, and nothing of it takes effect.
#[test]
fn a_negotiation_that_breaks_a_rule_is_rejected() {
    for said in [
        "MaxRecvDataSegmentLength=1024\0MaxRecvDataSegmentLength=1024\0",
        "MaxRecvDataSegmentLength=1024\0SendTargets=\0",
        "SendTargets=\0MaxRecvDataSegmentLength=1024\0",
        "MaxRecvDataSegmentLength=1024\0no pair\0",
        "MaxRecvDataSegmentLength=1024",
    ] {
        let mut ladder = ladder();
        ladder.i(text(1, said));
        ladder.tells(&[]);
        ladder.sends(&["Reject StatSN 1: Protocol error, of Text Request"]);
        assert_eq!(ladder.session.send_segment_bytes_max(CID), Some(8192));
    }
    let mut ladder = ladder();
    ladder.i(TextRequest { is_final: false, ..text(1, "X-a=1\0") });
    ladder.i(TextRequest { data: "X-a=1\0".into(), ..go_on(1) });
    assert_eq!(ladder.sent()[1], "Reject StatSN 2: Protocol error, of Text Request");
}

#[test]
fn continuations_of_nothing_are_rejected() {
    let mut ladder = ladder();
    ladder.i(TextRequest { immediate: true, ..go_on(1) });
    ladder.i(TextRequest { immediate: true, target_transfer_tag: Some(ttt(1)), ..text(1, "") });
    ladder.sends(&[
        "Reject StatSN 1: Invalid PDU field, of Text Request",
        "Reject StatSN 2: Invalid PDU field, of Text Request",
    ]);
    // A new exchange ends the one before.
    ladder.i(TextRequest { immediate: true, is_final: false, ..text(1, "X-a=1\0") });
    ladder.i(TextRequest { immediate: true, ..text(2, "") });
    ladder.sends(&["Text 1 StatSN 3 X-a=NotUnderstood;", "Text 2 StatSN 4 F "]);
    ladder.i(TextRequest { immediate: true, ..go_on(1) });
    ladder.sends(&["Reject StatSN 5: Invalid PDU field, of Text Request"]);
}

/// RFC 7143 6.2-5.
#[test]
fn one_request_at_a_time() {
    let mut ladder = ladder();
    ladder.i(TextRequest { immediate: true, ..text(1, "SendTargets=\0") });
    ladder.i(TextRequest { immediate: true, ..text(2, "SendTargets=\0") });
    ladder.tells(&["SendTargets ThisTarget"]);
    ladder.sends(&["Reject StatSN 1: Protocol error, of Text Request"]);
    answer(&mut ladder, &[]);
    ladder.sends(&["Text 1 StatSN 2 F "]);
}

/// RFC 7143 6.1-4: 8192 bytes are taken, and as many again.
#[test]
fn text_without_end_is_rejected() {
    let mut ladder = ladder();
    let part = "a".repeat(8192);
    ladder.i(TextRequest { is_final: false, continues: true, ..text(1, &part) });
    ladder.i(TextRequest { is_final: false, continues: true, data: part.clone().into(), ..go_on(1) });
    assert_eq!(ladder.sent().len(), 2);
    ladder.i(TextRequest { is_final: false, continues: true, data: "a".into(), ..go_on(1) });
    ladder.sends(&["Reject StatSN 3: Cannot generate a Target Transfer Tag, of Text Request"]);
}

#[test]
fn an_exchange_can_be_aborted() {
    let mut ladder = ladder();
    ladder.i(text(1, "SendTargets=\0"));
    ladder.tells(&["SendTargets ThisTarget"]);
    ladder
        .i(TaskManagementRequest { referenced_task_tag: Some(itt(1)), ..manage(2, TaskManagementFunction::AbortTask) });
    ladder.sends(&["TaskManagement 2 StatSN 1: Function complete"]);
    answer(&mut ladder, &records(1));
    ladder.sends(&[]);
    assert_eq!(ladder.window.1, ladder.window.0.advanced_by(7));
}
