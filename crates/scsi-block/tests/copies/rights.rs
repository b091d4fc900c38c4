//! Copies of initiators that have no right to a unit, or none to write it.

use scsi_block::cdb::Cdb;
use scsi_block::sense::{AdditionalSense, SenseKey};
use scsi_block::*;

use super::*;

#[test]
fn a_copy_reaches_no_unit_that_its_initiator_does_not() {
    let mut bench = Bench::new();
    let mut owner = bench.nexus("owner");
    let list = |from, to, bench: &mut Bench, owner: &mut Nexus| bench.list(owner, &[segment((from, 0), (to, 0), 8)]);
    // The initiator is told the units' names by somebody else.
    let hidden = list(1, 0, &mut bench, &mut owner);
    let (from_read_only, to_read_only) =
        (list(LARGE, 0, &mut bench, &mut owner), list(0, LARGE, &mut bench, &mut owner));
    let rights = [UnitRight { units: 0..=0, write: true }, UnitRight { units: 2..=2, write: false }];
    let mut limited = bench.device.connect_with("limited", Rights::of(rights));
    for unit in [0, LARGE] {
        bench.sense(&mut limited, unit, &Cdb::test_unit_ready(), &[]);
    }
    let before = bench.stores.clone();

    let (cdb, bytes) = extended_copy(&hidden);
    let sense = bench.sense(&mut limited, 0, &cdb, &bytes);
    assert_eq!(sense.additional, AdditionalSense::COPY_TARGET_DEVICE_NOT_REACHABLE);
    let (cdb, bytes) = extended_copy(&to_read_only);
    let sense = bench.sense(&mut limited, 0, &cdb, &bytes);
    assert!(is_copy_aborted(&sense, 0), "{sense:?}");
    let said = sense.third_party.unwrap();
    assert_eq!((said.key, said.additional), (SenseKey::DataProtect, AdditionalSense::WRITE_PROTECTED));
    assert_eq!(bench.stores, before, "nothing was written");

    let (cdb, bytes) = extended_copy(&from_read_only);
    bench.good(&mut limited, 0, &cdb, &bytes);
    assert_eq!(bench.blocks(0, 0, 8), &before[LARGE][..4096]);
}
