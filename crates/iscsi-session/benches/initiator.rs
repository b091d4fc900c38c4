//! What a command costs the initiator, from its submission to its end, without bytes and sockets: 32 at once.

mod outcome;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use iscsi_pdu::{
    CmdSn, DataIn, DataInStatus, InitiatorTaskTag, LunField, Pdu, R2t, Residual, StatSn, TargetTransferTag,
};
use iscsi_pdu::{ScsiResponse, ScsiResponseCode};
use iscsi_session::Parameters;
use iscsi_session::initiator::{Command, Session, SessionConfig, Transfer};
use outcome::{CID, DEPTH, outcome};
use std::hint::black_box;
use std::time::Instant;

/// A session, and the numbers that its target would use.
struct Pair {
    session: Session,
    now: Instant,
    data: Bytes,
    cmd_sn: CmdSn,
    stat_sn: StatSn,
}

impl Pair {
    fn new(parameters: Parameters, length: usize) -> Self {
        let outcome = outcome(parameters);
        let now = Instant::now();
        let session = Session::new(&outcome, SessionConfig::default(), now);
        Self { session, now, data: vec![0x5a; length].into(), cmd_sn: outcome.cmd_sn, stat_sn: outcome.stat_sn }
    }

    fn submit(&mut self, transfer: impl Fn(&Bytes) -> Transfer) {
        for tag in 0..DEPTH {
            let data = transfer(&self.data);
            let command = Command { lun: LunField::default(), cdb: [0x28; 16], data, ..Command::default() };
            self.session.submit(self.now, CID, InitiatorTaskTag(tag), command).expect("the window is open");
        }
        self.cmd_sn = self.cmd_sn.advanced_by(DEPTH);
    }

    fn send(&mut self) {
        while let Some(pdu) = self.session.poll_transmit(CID) {
            black_box(pdu);
        }
    }

    fn take(&mut self, pdu: Pdu) {
        self.session.handle_pdu(self.now, CID, pdu);
        while let Some(event) = self.session.poll_event() {
            black_box(event);
        }
    }

    fn status(&mut self) -> StatSn {
        self.stat_sn = self.stat_sn.next();
        self.stat_sn.previous()
    }

    fn data_in(&mut self, tag: u32) -> Pdu {
        DataIn {
            is_final: true,
            status: Some(DataInStatus { status: 0, stat_sn: self.status(), residual: Residual::None }),
            initiator_task_tag: InitiatorTaskTag(tag),
            exp_cmd_sn: self.cmd_sn,
            max_cmd_sn: self.cmd_sn.advanced_by(DEPTH - 1),
            data: self.data.clone(),
            ..DataIn::default()
        }
        .into()
    }

    fn r2t(&self, tag: u32) -> Pdu {
        R2t {
            initiator_task_tag: InitiatorTaskTag(tag),
            target_transfer_tag: TargetTransferTag(tag),
            exp_cmd_sn: self.cmd_sn,
            max_cmd_sn: self.cmd_sn.advanced_by(DEPTH - 1),
            desired_data_transfer_length: self.data.len() as u32,
            ..R2t::default()
        }
        .into()
    }

    fn response(&mut self, tag: u32) -> Pdu {
        ScsiResponse {
            status_qualifier: 0,
            response: ScsiResponseCode::CompletedAtTarget,
            status: 0,
            initiator_task_tag: InitiatorTaskTag(tag),
            snack_tag: 0,
            stat_sn: self.status(),
            exp_cmd_sn: self.cmd_sn,
            max_cmd_sn: self.cmd_sn.advanced_by(DEPTH - 1),
            exp_data_sn: 0,
            bidirectional_read_residual: Residual::None,
            residual: Residual::None,
            data: Bytes::new(),
        }
        .into()
    }
}

fn commands(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("initiator");
    group.throughput(Throughput::Elements(DEPTH.into()));

    group.bench_function("read 4 KiB", |bencher| {
        let mut pair = Pair::new(Parameters::default(), 4096);
        bencher.iter(|| {
            pair.submit(|data| Transfer::Read(data.len() as u32));
            pair.send();
            for tag in 0..DEPTH {
                let pdu = pair.data_in(tag);
                pair.take(pdu);
            }
        });
    });

    group.bench_function("write 4 KiB immediate", |bencher| {
        let mut pair = Pair::new(Parameters::default(), 4096);
        bencher.iter(|| {
            pair.submit(|data| Transfer::Write(data.clone()));
            pair.send();
            for tag in 0..DEPTH {
                let pdu = pair.response(tag);
                pair.take(pdu);
            }
        });
    });

    group.bench_function("write 64 KiB solicited", |bencher| {
        let parameters = Parameters { immediate_data: false, send_segment_bytes_max: 65536, ..Parameters::default() };
        let mut pair = Pair::new(parameters, 65536);
        bencher.iter(|| {
            pair.submit(|data| Transfer::Write(data.clone()));
            pair.send();
            for tag in 0..DEPTH {
                let pdu = pair.r2t(tag);
                pair.take(pdu);
            }
            pair.send();
            for tag in 0..DEPTH {
                let pdu = pair.response(tag);
                pair.take(pdu);
            }
        });
    });
    group.finish();
}

criterion_group!(benches, commands);
criterion_main!(benches);
