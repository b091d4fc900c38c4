//! What a header costs to decode and to encode, a text to read, and a digest at every length that picks a library.

use bytes::{Bytes, BytesMut};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use iscsi_pdu::{
    CmdSn, DataIn, DataInStatus, DataOut, InitiatorTaskTag, Pdu, ScsiCommand, StatSn, TargetTransferTag, digest, text,
};
use std::hint::black_box;

/// The PDUs of the fast path. Data costs another reference to it, whatever its length.
fn hot_pdus(data: &Bytes) -> [(&'static str, Pdu); 3] {
    let tag = InitiatorTaskTag(0x1234);
    let command = ScsiCommand {
        is_final: true,
        read: true,
        initiator_task_tag: tag,
        expected_data_transfer_length: 4096,
        cmd_sn: CmdSn(1),
        cdb: [0x28; 16],
        data: data.clone(),
        ..ScsiCommand::default()
    };
    let data_in = DataIn {
        is_final: true,
        status: Some(DataInStatus { stat_sn: StatSn(9), ..DataInStatus::default() }),
        initiator_task_tag: tag,
        data: data.clone(),
        ..DataIn::default()
    };
    let data_out = DataOut {
        is_final: true,
        initiator_task_tag: tag,
        target_transfer_tag: Some(TargetTransferTag(5)),
        data: data.clone(),
        ..DataOut::default()
    };
    [("scsi command", command.into()), ("data-in", data_in.into()), ("data-out", data_out.into())]
}

fn headers(criterion: &mut Criterion) {
    for (what, data) in [("header", Bytes::new()), ("with data", Bytes::from(vec![0x5a; 4096]))] {
        for (name, pdu) in hot_pdus(&data) {
            let frame = pdu.encode();
            let mut group = criterion.benchmark_group(format!("{name}/{what}"));
            group.bench_function("decode", |bencher| bencher.iter(|| Pdu::decode(black_box(&frame))));
            group.bench_function("encode", |bencher| bencher.iter(|| black_box(&pdu).encode()));
        }
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
