//! What a header costs to decode and to encode, a text to read, and a digest at every length that picks a library.

use bytes::{Bytes, BytesMut};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use iscsi_pdu::{
    CmdSn, DataIn, DataInStatus, DataOut, Frame, InitiatorTaskTag, Pdu, ScsiCommand, StatSn, TargetTransferTag, digest,
    text,
};
use std::hint::black_box;
use std::mem::ManuallyDrop;

type MakePdu = fn() -> Pdu;

/// The PDUs of the fast path, made anew each time. Data moves, whatever its length.
fn hot_pdus() -> [(&'static str, MakePdu); 3] {
    let command = || {
        Pdu::from(ScsiCommand {
            is_final: true,
            read: true,
            initiator_task_tag: InitiatorTaskTag(0x1234),
            expected_data_transfer_length: 4096,
            cmd_sn: CmdSn(1),
            cdb: [0x28; 16],
            ..ScsiCommand::default()
        })
    };
    let data_in = || {
        Pdu::from(DataIn {
            is_final: true,
            status: Some(DataInStatus { stat_sn: StatSn(9), ..DataInStatus::default() }),
            initiator_task_tag: InitiatorTaskTag(0x1234),
            ..DataIn::default()
        })
    };
    let data_out = || {
        Pdu::from(DataOut {
            is_final: true,
            initiator_task_tag: InitiatorTaskTag(0x1234),
            target_transfer_tag: Some(TargetTransferTag(5)),
            ..DataOut::default()
        })
    };
    [("scsi command", command), ("data-in", data_in), ("data-out", data_out)]
}

/// What a header costs, from memory to memory: results are looked at where they are made. To make the PDU, or the frame, that is
/// taken is part of it; to drop the result is not, and nothing is lost with it, as there is no data.
fn headers(criterion: &mut Criterion) {
    for (name, make) in hot_pdus() {
        let header = make().encode().header;
        let mut group = criterion.benchmark_group(format!("header/{name}"));
        group.bench_function("decode", |bencher| {
            bencher.iter(|| {
                let frame = Frame { header: *black_box(&header), ahs: Box::default(), data: Bytes::new() };
                black_box(&ManuallyDrop::new(Pdu::decode(frame)));
            });
        });
        group.bench_function("encode", |bencher| {
            bencher.iter(|| {
                black_box(&ManuallyDrop::new(black_box(make)().encode()));
            });
        });
    }
}

fn texts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("text/pairs");
    for count in [10, 100, 1000] {
        let mut data = BytesMut::new();
        for number in 0..count {
            text::push(&mut data, &format!("X-org.example.key-{number}"), "a,value,of,some,length");
        }
        group.throughput(Throughput::Bytes(data.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(count), &data, |bencher, data| {
            bencher.iter(|| text::pairs(black_box(data)).map(|pair| pair.expect("a good text").1.len()).sum::<usize>());
        });
    }
}

fn digests(criterion: &mut Criterion) {
    let bytes = vec![0x5a; 64 * 1024];
    let mut group = criterion.benchmark_group("digest");
    for length in [48, 128, 256, 384, 512, 768, 1024, 2048, 4096, 8192, 65536] {
        group.throughput(Throughput::Bytes(length as u64));
        let bytes = &bytes[..length];
        group.bench_with_input(BenchmarkId::new("crc32c", length), bytes, |bencher, bytes| {
            bencher.iter(|| crc32c::crc32c(black_box(bytes)));
        });
        group.bench_with_input(BenchmarkId::new("crc-fast", length), bytes, |bencher, bytes| {
            bencher.iter(|| crc_fast::crc32_iscsi(black_box(bytes)));
        });
        group.bench_with_input(BenchmarkId::new("digest", length), bytes, |bencher, bytes| {
            bencher.iter(|| digest::of(black_box(bytes)));
        });
    }
}

criterion_group!(benches, headers, texts, digests);
criterion_main!(benches);
