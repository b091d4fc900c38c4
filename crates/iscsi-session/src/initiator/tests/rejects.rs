//! What a Reject ends.

use super::*;

pub(super) fn reject(bench: &mut Bench, rejected: &Pdu, reason: RejectReason) {
    let stat_sn = bench.status();
    bench.take(Reject {
        reason,
        stat_sn,
        exp_cmd_sn: bench.exp_cmd_sn,
        max_cmd_sn: bench.max_cmd_sn,
        data_sn: 0,
        rejected: rejected.clone().encode().header,
    });
}

pub(super) const REASON: RejectReason = RejectReason::InvalidPduField;

// RFC 7143 7.3-3.
#[test]
fn a_rejected_command_leaves_a_gap_that_is_filled() {
    let mut bench = Bench::new(Parameters::default());
    bench.submit(1, write(512));
    bench.submit(2, read(8));
    let sent = bench.sent();
    reject(&mut bench, &sent[0], REASON);
    assert_eq!(bench.events(), []);
    // RFC 7143 7.3: another request takes the number of the rejected one.
    let plug = bench.sent();
    let [Pdu::NopOut(plug)] = &plug[..] else { panic!("{plug:?}") };
    assert!(!plug.immediate);
    assert_eq!((plug.cmd_sn, plug.initiator_task_tag), (FIRST_CMD_SN, Some(tag(1))));
    bench.exp_cmd_sn = FIRST_CMD_SN.advanced_by(2);
    let pdu = bench.nop_in(Some(1), None);
    bench.take(pdu);
    assert_eq!(bench.events(), [Event::TaskRejected { tag: tag(1), reason: REASON }]);
    let response = bench.response(2);
    bench.take(response);
    assert_eq!(bench.events().len(), 1);
}

#[test]
fn a_rejected_command_that_counts_as_received_ends_at_once() {
    let mut bench = Bench::new(Parameters::default());
    bench.submit(1, read(8));
    let sent = bench.sent();
    bench.exp_cmd_sn = FIRST_CMD_SN.next();
    reject(&mut bench, &sent[0], REASON);
    assert_eq!(bench.events(), [Event::TaskRejected { tag: tag(1), reason: REASON }]);
    assert_eq!(bench.sent(), []);
}

#[test]
fn a_gap_that_cannot_be_filled_ends_the_session() {
    let mut bench = Bench::new(Parameters::default());
    bench.submit(1, read(8));
    let sent = bench.sent();
    reject(&mut bench, &sent[0], REASON);
    let plug = bench.sent();
    reject(&mut bench, &plug[0], RejectReason::ProtocolError);
    assert_eq!(bench.session.poll_event(), Some(Event::TaskRejected { tag: tag(1), reason: REASON }));
    bench.assert_violation(Violation::CommandGap, &[]);
}

#[test]
fn rejected_pings_texts_and_functions_end() {
    let mut bench = Bench::new(Parameters::default());
    bench.session.ping(bench.now, CID, tag(1), Bytes::new());
    bench.session.manage_task(
        bench.now,
        CID,
        tag(2),
        crate::initiator::TaskManagement {
            function: TaskManagementFunction::LogicalUnitReset,
            lun: LUN,
            referenced: None,
        },
    );
    bench.session.send_targets(bench.now, CID, tag(3), SendTargetsScope::All);
    let sent = bench.sent();
    assert_eq!(sent.len(), 3);
    bench.exp_cmd_sn = FIRST_CMD_SN.next();
    for (pdu, number) in sent.iter().zip(1..) {
        reject(&mut bench, pdu, REASON);
        assert_eq!(bench.events(), [Event::TaskRejected { tag: tag(number), reason: REASON }]);
    }
    // The next exchange is not held up.
    bench.session.send_targets(bench.now, CID, tag(4), SendTargetsScope::ThisTarget);
    assert_eq!(bench.sent().len(), 1);
}

#[test]
fn a_rejected_logout_ends_the_session() {
    let mut bench = Bench::new(Parameters::default());
    bench.session.logout(bench.now, CID, tag(1), Logout::Session);
    let sent = bench.sent();
    reject(&mut bench, &sent[0], REASON);
    let rejected = Event::TaskRejected { tag: tag(1), reason: REASON };
    assert_eq!(bench.events(), [rejected, Event::Closed(CloseReason::LogoutFailed)]);
}

#[test]
fn rejected_data_ends_nothing() {
    let mut bench = Bench::new(Parameters { immediate_data: false, ..Parameters::default() });
    bench.submit(1, write(512));
    bench.sent();
    bench.take(bench.r2t(1, 0, 0, 512));
    let sent = bench.sent();
    reject(&mut bench, &sent[0], RejectReason::DataDigestError);
    let rejected = Event::PduRejected { opcode: Opcode::DataOut, reason: RejectReason::DataDigestError };
    assert_eq!(bench.events(), [rejected]);
    // RFC 7143 7.3: the response comes all the same.
    let response = bench.response(1);
    bench.take(response);
    assert_eq!(bench.events().len(), 1);
}

#[test]
fn rejects_of_what_we_never_sent_are_told() {
    let mut bench = Bench::new(Parameters::default());
    for pdu in [Pdu::from(ScsiCommand::default()), NopOut::default().into(), Snack::default().into()] {
        reject(&mut bench, &pdu, REASON);
        assert_eq!(bench.events(), [Event::PduRejected { opcode: pdu.opcode(), reason: REASON }]);
    }
}

#[test]
fn a_rejected_text_of_a_discovery_session_gives_its_number_to_the_next() {
    let mut bench =
        Bench::with(LoginOutcome { session_type: SessionType::Discovery, ..outcome(Parameters::default()) });
    bench.session.send_targets(bench.now, CID, tag(1), SendTargetsScope::All);
    bench.session.send_targets(bench.now, CID, tag(2), SendTargetsScope::All);
    let sent = bench.sent();
    reject(&mut bench, &sent[0], REASON);
    assert_eq!(bench.events(), [Event::TaskRejected { tag: tag(1), reason: REASON }]);
    // RFC 7143 4.3: no NOP-Out fills the gap.
    let next = bench.sent();
    let [Pdu::TextRequest(next)] = &next[..] else { panic!("{next:?}") };
    assert_eq!((next.cmd_sn, next.initiator_task_tag), (FIRST_CMD_SN, tag(2)));
}
