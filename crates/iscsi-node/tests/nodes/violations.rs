//! A peer that breaks rules on one connection harms no other session: what that had under way ends well, and it goes on.

use crate::bench::{Bench, pattern};
use crate::disk::BLOCK;
use bytes::Bytes;
use iscsi_node::initiator::Outcome;
use iscsi_node::target;
use iscsi_pdu::*;
use iscsi_session::Violation;
use iscsi_session::initiator::Transfer;
use iscsi_transport::{LoopbackPort, PduPort, Received};
use scsi_block::cdb::Cdb;
use std::time::Duration;

const STRANGER: &str = "iqn.2026-01.test:stranger";
const LUN: LunField = LunField([0; 8]);

/// An initiator that sends what it likes.
struct Stranger {
    port: LoopbackPort,
    bench: Bench,
    cmd_sn: CmdSn,
}

/// A rule, and how it is broken after the login.
type Row = (Violation, fn(&mut Stranger));

const ROWS: &[Row] = &[
    (Violation::UnknownOpcode, |stranger| stranger.send_header(&[0x1f])),
    (Violation::MalformedField, |stranger| stranger.send_header(&[0x01, 0x87])),
    (Violation::NotFromInitiator, |stranger| stranger.send(NopIn::default())),
    (Violation::LoginInFullFeaturePhase, |stranger| stranger.send(login("", ""))),
    (Violation::OutsideCommandWindow, |stranger| stranger.send(ScsiCommand { cmd_sn: CmdSn(1), ..read(2) })),
    (Violation::TagInUse, |stranger| {
        stranger.command(read(2));
        stranger.command(read(2));
    }),
    (Violation::FinalOrWrite, |stranger| stranger.command(ScsiCommand { is_final: false, ..read(2) })),
    (Violation::DataWithoutDirection, |stranger| stranger.command(ScsiCommand { read: false, ..read(2) })),
    (Violation::BidirectionalWithoutLength, |stranger| stranger.command(ScsiCommand { read: true, ..write(2, 1) })),
    (Violation::ImmediateDataNotAllowed, |stranger| stranger.command(ScsiCommand { data: pattern(8), ..read(2) })),
    (Violation::TooMuchUnsolicitedData, |stranger| {
        stranger.command(ScsiCommand { data: pattern(2 * BLOCK), ..write(2, 1) });
    }),
    (Violation::UnsolicitedDataNotAllowed, |stranger| {
        stranger.command(ScsiCommand { is_final: false, ..write(2, 1) });
    }),
    (Violation::DataForUnknownTask, |stranger| stranger.send(data_out(9, None, BLOCK))),
    (Violation::DataForNonWrite, |stranger| {
        stranger.command(read(2));
        stranger.send(data_out(2, None, BLOCK));
    }),
    (Violation::WrongLun, |stranger| {
        let tag = stranger.asked_to_write();
        stranger.send(DataOut { lun: LunField([0, 1, 0, 0, 0, 0, 0, 0]), ..data_out(2, Some(tag), BLOCK) });
    }),
    (Violation::DataOutSnOutOfOrder, |stranger| {
        let tag = stranger.asked_to_write();
        stranger.send(DataOut { data_sn: 1, ..data_out(2, Some(tag), BLOCK) });
    }),
    (Violation::DataOutOffset, |stranger| {
        let tag = stranger.asked_to_write();
        stranger.send(DataOut { buffer_offset: 4, ..data_out(2, Some(tag), BLOCK) });
    }),
    (Violation::DataBeyondR2t, |stranger| {
        let tag = stranger.asked_to_write();
        stranger.send(data_out(2, Some(tag), 2 * BLOCK));
    }),
    (Violation::DataShortOfR2t, |stranger| {
        let tag = stranger.asked_to_write();
        stranger.send(data_out(2, Some(tag), BLOCK / 2));
    }),
    (Violation::SnackNotSupported, |stranger| stranger.send(Snack::default())),
    (Violation::NopOutNotImmediate, |stranger| stranger.send(NopOut::default())),
    (Violation::UnknownTransferTag, |stranger| {
        stranger.send(NopOut {
            immediate: true,
            target_transfer_tag: Some(TargetTransferTag(99)),
            ..NopOut::default()
        });
    }),
    (Violation::TextContinuation, |stranger| {
        stranger.send(TextRequest { target_transfer_tag: Some(TargetTransferTag(99)), ..text("") });
    }),
    (Violation::TextNegotiation, |stranger| stranger.send(text("InitiatorAlias\0"))),
    (Violation::SendTargetsScope, |stranger| stranger.send(text("SendTargets=All\0"))),
];

#[test]
fn a_session_that_breaks_rules_harms_no_other() {
    for (violation, breaks) in ROWS {
        let (mut stranger, other) = Stranger::beside_another();
        stranger.log_in();
        assert_eq!(stranger.violations(), Some(0));
        breaks(&mut stranger);
        assert_eq!(stranger.violations(), Some(1), "{violation:?}");
        assert_goes_on(&mut stranger.bench, other);
    }
}

#[test]
fn a_session_that_ends_by_what_it_sends_harms_no_other() {
    let (mut stranger, other) = Stranger::beside_another();
    stranger.log_in();
    stranger.command(ScsiCommand { data: vec![0; 1 << 20].into(), ..write(2, 2048) });
    assert_eq!(stranger.violations(), None, "longer than MaxRecvDataSegmentLength");
    assert_goes_on(&mut stranger.bench, other);
}

#[test]
fn a_session_that_breaks_rules_and_reads_no_answers_harms_no_other() {
    let (mut stranger, other) = Stranger::beside_another();
    stranger.log_in();
    (0..700).for_each(|_| stranger.send(NopIn::default()));
    assert!(stranger.violations().is_some_and(|count| count < 700), "it is not listened to any more");
    assert_goes_on(&mut stranger.bench, other);
}

#[test]
fn a_login_that_breaks_rules_harms_no_session() {
    for (violation, request) in [
        (Violation::LoginVersion, LoginRequest { version_min: 1, version_max: 1, ..login("", "") }),
        (Violation::KeyOutOfPlace, login("SendTargets", "All")),
        (Violation::ValueNotAdmissible, login("MaxRecvDataSegmentLength", "511")),
        (Violation::MissingName, LoginRequest { data: Bytes::new(), ..login("", "") }),
    ] {
        let (mut stranger, other) = Stranger::beside_another();
        stranger.send(request);
        let told = stranger.bench.target_events.iter().any(|event| match event {
            target::Event::LoginFailed { failure, .. } => failure.violation() == Some(violation),
            _ => false,
        });
        assert!(told, "{violation:?}: {:?}", stranger.bench.target_events);
        assert_goes_on(&mut stranger.bench, other);
    }
}

/// What another session had in the store ends well, and it writes and reads.
#[track_caller]
fn assert_goes_on(bench: &mut Bench, other: usize) {
    assert!(bench.outcomes(other).is_empty(), "the store holds its read");
    bench.release();
    bench.run();
    let read = |bench: &mut Bench| match bench.only_outcome(other) {
        Outcome::Command(done) if done.status == 0 => done.data.concat(),
        outcome => panic!("{outcome:?}"),
    };
    assert_eq!(read(bench), [0; BLOCK]);
    bench.command(other, 2, &Cdb::write_16(8, 2), Transfer::Write(pattern(2 * BLOCK)));
    bench.run();
    assert!(matches!(bench.only_outcome(other), Outcome::Command(done) if done.status == 0));
    bench.command(other, 3, &Cdb::read_16(8, 2), Transfer::Read(2 * BLOCK as u32));
    bench.run();
    assert_eq!(read(bench), pattern(2 * BLOCK));
    bench.pass(Duration::from_secs(1));
    assert!(!bench.initiators[other].is_ended());
}

impl Stranger {
    /// One that has connected, and the initiator of a session whose read the store holds.
    fn beside_another() -> (Self, usize) {
        let mut bench = Bench::new();
        let other = bench.ready(1);
        bench.held = Some(Vec::new());
        bench.command(other, 1, &Cdb::read_16(8, 1), Transfer::Read(BLOCK as u32));
        let (port, theirs) = LoopbackPort::pair();
        let connection = bench.target.accept(bench.now, theirs, "127.0.0.1:3260", [1; 32]);
        bench.connections.push(connection);
        (Self { port, bench, cmd_sn: CmdSn(1) }, other)
    }

    /// Logs in, and takes its first unit attention.
    fn log_in(&mut self) {
        self.send(login("", ""));
        let response = self.received().pop();
        assert!(
            matches!(response, Some(Pdu::LoginResponse(response)) if response.transit == Some(Stage::FullFeaturePhase))
        );
        self.command(command(1, &Cdb::test_unit_ready()));
        assert!(matches!(self.received().last(), Some(Pdu::ScsiResponse(response)) if response.status == 2));
    }

    /// The rules that its session has broken, as the node counts them; none if there is no such session.
    fn violations(&self) -> Option<u64> {
        let sessions = self.bench.target.snapshot();
        sessions.iter().find(|session| session.initiator_name == STRANGER).map(|session| session.violations)
    }

    fn send(&mut self, pdu: impl Into<Pdu>) {
        self.send_frame(pdu.into().encode());
    }

    fn send_header(&mut self, bytes: &[u8]) {
        let mut header = Header([0; 48]);
        header.0[..bytes.len()].copy_from_slice(bytes);
        self.send_frame(Frame { header, ahs: Box::default(), data: Bytes::new() });
    }

    fn send_frame(&mut self, frame: Frame) {
        self.port.send(frame);
        self.port.flush().expect("the target takes it");
        self.bench.run();
    }

    /// Sends a command with the next number.
    fn command(&mut self, command: ScsiCommand) {
        self.send(ScsiCommand { cmd_sn: self.cmd_sn, ..command });
        self.cmd_sn = self.cmd_sn.next();
    }

    fn received(&mut self) -> Vec<Pdu> {
        let mut pdus = Vec::new();
        while let Ok(Some(Received::Frame(frame))) = self.port.receive() {
            pdus.push(Pdu::decode(frame).expect("the target keeps the rules"));
        }
        pdus
    }

    /// Sends a write, of which all data is asked for: with this tag.
    fn asked_to_write(&mut self) -> TargetTransferTag {
        self.command(write(2, 1));
        match self.received().pop() {
            Some(Pdu::R2t(r2t)) => r2t.target_transfer_tag,
            other => panic!("no R2T: {other:?}"),
        }
    }
}

/// The login of an initiator that says a key beside its names.
fn login(key: &str, value: &str) -> LoginRequest {
    let mut data = format!("InitiatorName={STRANGER}\0TargetName={}\0", crate::portal::TARGET);
    if !key.is_empty() {
        data += &format!("{key}={value}\0");
    }
    LoginRequest {
        transit: Some(Stage::FullFeaturePhase),
        current_stage: Stage::LoginOperationalNegotiation,
        isid: Isid([0x80, 0, 0, 0, 0, 9]),
        initiator_task_tag: InitiatorTaskTag(7),
        cmd_sn: CmdSn(1),
        data: data.into(),
        ..LoginRequest::default()
    }
}

fn command(tag: u32, cdb: &Cdb) -> ScsiCommand {
    let mut bytes = [0; 16];
    bytes[..cdb.as_bytes().len()].copy_from_slice(cdb.as_bytes());
    ScsiCommand {
        is_final: true,
        lun: LUN,
        initiator_task_tag: InitiatorTaskTag(tag),
        cdb: bytes,
        ..ScsiCommand::default()
    }
}

/// A read of one block.
fn read(tag: u32) -> ScsiCommand {
    ScsiCommand { read: true, expected_data_transfer_length: BLOCK as u32, ..command(tag, &Cdb::read_16(0, 1)) }
}

/// A write with no data yet.
fn write(tag: u32, blocks: u32) -> ScsiCommand {
    ScsiCommand {
        write: true,
        expected_data_transfer_length: blocks * BLOCK as u32,
        ..command(tag, &Cdb::write_16(0, blocks))
    }
}

fn data_out(task: u32, tag: Option<TargetTransferTag>, length: usize) -> DataOut {
    DataOut {
        is_final: true,
        initiator_task_tag: InitiatorTaskTag(task),
        target_transfer_tag: tag,
        data: pattern(length),
        ..DataOut::default()
    }
}

fn text(said: &'static str) -> TextRequest {
    TextRequest {
        is_final: true,
        immediate: true,
        initiator_task_tag: InitiatorTaskTag(3),
        data: said.into(),
        ..TextRequest::default()
    }
}
