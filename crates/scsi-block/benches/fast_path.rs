//! The cost of a READ and a WRITE of 4 KiB in the device: begin, start and resume, with 1 and with 64 nexuses.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use scsi_block::cdb::Cdb;
use scsi_block::*;

const LUN: [u8; 8] = [0; 8];

fn command(nexus: &mut Nexus, cdb: &[u8], data_out: &Bytes, answer: &IoOutput) {
    let Begin::Task(mut task) = nexus.begin(LogicalUnitNumber::from_wire(LUN), black_box(cdb)) else {
        panic!("the unit is ready")
    };
    let data = match task.data_out_length() {
        0 => Segments::new(),
        _ => [data_out.clone()].into_iter().collect(),
    };
    black_box(nexus.start(&mut task, data));
    black_box(nexus.resume(&mut task, Ok(answer.clone())));
}

fn fast_path(criterion: &mut Criterion) {
    let config = LogicalUnitConfig::new(Geometry { block_size: 512, blocks: 1 << 21 }, "bench");
    let device = Arc::new(TargetDevice::new([(LogicalUnitNumber::default(), config)]).expect("the config is right"));
    // Static, so that no reference counts are timed: they are their owner's cost.
    let data = Bytes::from_static(&[0; 4096]);
    let cases = [
        ("read", Cdb::read_10(0x1234, 8), IoOutput::Data(data.clone())),
        ("read_16", Cdb::read_16(0x1234, 8), IoOutput::Data(data.clone())),
        ("write", Cdb::write_10(0x1234, 8), IoOutput::Done),
    ];
    for count in [1, 64] {
        let mut nexuses: Vec<Nexus> = (0..count).map(|_| device.connect("bench")).collect();
        for nexus in &mut nexuses {
            nexus.begin(LogicalUnitNumber::default(), Cdb::test_unit_ready().as_bytes());
        }
        for (name, cdb, answer) in &cases {
            // As transports bring a CDB.
            let mut padded = [0; 16];
            padded[..cdb.as_bytes().len()].copy_from_slice(cdb.as_bytes());
            criterion.bench_function(&format!("{name}_of_4_kib_with_{count}_nexuses"), |bencher| {
                let mut turn = 0;
                bencher.iter(|| {
                    turn = if turn + 1 == count { 0 } else { turn + 1 };
                    command(&mut nexuses[turn], &padded, &data, answer);
                });
            });
        }
    }
}

criterion_group!(benches, fast_path);
criterion_main!(benches);
