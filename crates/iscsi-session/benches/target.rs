//! What a command costs the target, from its PDU to its end, without bytes and sockets: 32 at once.

mod outcome;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use iscsi_pdu::{CmdSn, DataOut, InitiatorTaskTag, Pdu, ScsiCommand, StatSn, TargetTransferTag};
use iscsi_session::Parameters;
use iscsi_session::target::{Command, Event, Session, SessionConfig, TaskId, TaskOutcome};
use outcome::{CID, DEPTH, outcome};
use std::hint::black_box;
use std::time::Instant;

/// A session, and the numbers that its initiator would use.
struct Pair {
    session: Session,
    now: Instant,
    data: Bytes,
    cmd_sn: CmdSn,
    stat_sn: StatSn,
    tasks: Vec<TaskId>,
}

impl Pair {
    fn new(parameters: Parameters, length: usize) -> Self {
        let outcome = outcome(parameters);
        let now = Instant::now();
        let session = Session::new(&outcome, SessionConfig::default(), TargetTransferTag(0), now);
        Self {
            session,
            now,
            data: vec![0x5a; length].into(),
            cmd_sn: outcome.cmd_sn,
            stat_sn: outcome.stat_sn,
            tasks: Vec::with_capacity(DEPTH as usize),
        }
    }

    fn command(&mut self, tag: u32, write: bool, data: Bytes) -> Pdu {
        let cmd_sn = self.cmd_sn;
        self.cmd_sn = cmd_sn.next();
        ScsiCommand {
            is_final: true,
            read: !write,
            write,
            initiator_task_tag: InitiatorTaskTag(tag),
            expected_data_transfer_length: self.data.len() as u32,
            cmd_sn,
            exp_stat_sn: self.stat_sn,
            cdb: [0x28; 16],
            data,
            ..ScsiCommand::default()
        }
        .into()
    }

    /// A command comes in, and its event goes out.
    fn begin(&mut self, tag: u32, write: bool, data: Bytes) -> Command {
        let pdu = self.command(tag, write, data);
        self.session.handle_pdu(self.now, CID, pdu);
        let Some(Event::Command(command)) = self.session.poll_event() else { unreachable!("it is the command's turn") };
        command
    }

    fn complete(&mut self, task: TaskId, data_in: Bytes, data_out_length: usize) {
        let (data_in_length, data_out_length) = (data_in.len() as u32, data_out_length as u32);
        let outcome = TaskOutcome { data_in, data_out_length, data_in_length, ..TaskOutcome::default() };
        self.session.complete(task, outcome);
    }

    fn send(&mut self) {
        while let Some(pdu) = self.session.poll_transmit(CID) {
            black_box(pdu);
        }
        self.stat_sn = self.stat_sn.advanced_by(DEPTH);
    }
}

fn commands(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("target");
    group.throughput(Throughput::Elements(DEPTH.into()));

    group.bench_function("read 4 KiB", |bencher| {
        let mut pair = Pair::new(Parameters::default(), 4096);
        bencher.iter(|| {
            for tag in 0..DEPTH {
                let command = pair.begin(tag, false, Bytes::new());
                let data = pair.data.clone();
                pair.complete(black_box(command).task, data, 0);
            }
            pair.send();
        });
    });

    group.bench_function("write 4 KiB immediate", |bencher| {
        let mut pair = Pair::new(Parameters::default(), 4096);
        bencher.iter(|| {
            for tag in 0..DEPTH {
                let command = pair.begin(tag, true, pair.data.clone());
                pair.session.receive_data(command.task, TargetTransferTag(tag), 4096);
                pair.complete(black_box(command).task, Bytes::new(), 4096);
            }
            pair.send();
        });
    });

    group.bench_function("write 64 KiB solicited", |bencher| {
        let parameters = Parameters { receive_segment_bytes_max: 65536, ..Parameters::default() };
        let mut pair = Pair::new(parameters, 65536);
        bencher.iter(|| {
            pair.tasks.clear();
            for tag in 0..DEPTH {
                let command = pair.begin(tag, true, Bytes::new());
                pair.session.receive_data(command.task, TargetTransferTag(tag), 65536);
                pair.tasks.push(command.task);
            }
            pair.send();
            for tag in 0..DEPTH {
                let data_out = DataOut {
                    is_final: true,
                    initiator_task_tag: InitiatorTaskTag(tag),
                    target_transfer_tag: Some(TargetTransferTag(tag)),
                    data: pair.data.clone(),
                    ..DataOut::default()
                };
                pair.session.handle_pdu(pair.now, CID, data_out.into());
                while let Some(event) = pair.session.poll_event() {
                    black_box(event);
                }
                pair.complete(pair.tasks[tag as usize], Bytes::new(), 65536);
            }
            pair.send();
        });
    });
    group.finish();
}

criterion_group!(benches, commands);
criterion_main!(benches);
