//! Tasks whose commands were answered at once (IMMED): they go on, and what ends them.

use super::*;
use scsi_block::copy::{CopyList, Cscd, Segment};
use scsi_block::designator::Designator;
use scsi_block::vpd::DeviceIdentification;

const LENGTH: usize = 8 * BLOCK;
const TO: usize = 100 * BLOCK;

/// A copy of the first blocks to [`TO`] has been answered, and the store has its read.
fn copying() -> (Bench, usize) {
    let mut bench = Bench::new();
    let initiator = bench.ready(1);
    bench.disk[..LENGTH].copy_from_slice(&pattern(LENGTH));
    bench.command(initiator, 1, &Cdb::inquiry_page(0x83, 1024), Transfer::Read(1024));
    bench.run();
    let Outcome::Command(page) = bench.only_outcome(initiator) else { panic!("the page has come") };
    let names = DeviceIdentification::decode(&page.data.concat()).expect("a page of names").0;
    let designator = names.into_iter().find(|name| name.kind == Designator::NAA).expect("a unit has a name");
    let segment = Segment {
        source: 0,
        destination: 0,
        counts_destination: false,
        blocks: (LENGTH / BLOCK) as u16,
        source_lba: 0,
        destination_lba: (TO / BLOCK) as u64,
    };
    let cscds = vec![Cscd { designator, block_size: 0 }];
    let list = CopyList { identifier: Some(9), immediate: true, cscds, segments: vec![segment] }.encode_lid4();
    bench.held = Some(Vec::new());
    bench.command(initiator, 2, &Cdb::extended_copy_lid4(list.len() as u32), Transfer::Write(list.into()));
    bench.run();
    assert!(matches!(bench.only_outcome(initiator), Outcome::Command(done) if done.status == 0));
    assert!(matches!(bench.held.as_deref(), Some([IoRequest { io: BlockIo::Read(_), .. }])));
    (bench, initiator)
}

fn is_copied(bench: &Bench) -> bool {
    bench.disk[TO..TO + LENGTH] == pattern(LENGTH)
}

#[test]
fn a_task_goes_on_after_its_answer() {
    let (mut bench, initiator) = copying();
    bench.release();
    bench.run();
    assert!(is_copied(&bench));
    assert!(bench.outcomes(initiator).is_empty(), "it was answered once");
    bench.target.end_session(bench.now, Tsih(1));
    bench.run();
    assert_eq!(bench.target.sessions(), 0);
}

#[test]
fn a_task_ends_with_its_session() {
    let (mut bench, _) = copying();
    bench.target.end_session(bench.now, Tsih(1));
    bench.run();
    assert_eq!((bench.target.connections(), bench.target.sessions()), (0, 1), "the read is still in the store");
    bench.release();
    bench.run();
    assert_eq!(bench.target.sessions(), 0);
    assert!(!is_copied(&bench));
}

#[test]
fn a_task_ends_with_a_reset_which_waits_for_it() {
    for function in [TaskManagementFunction::ItNexusReset, TaskManagementFunction::LogicalUnitReset] {
        let (mut bench, initiator) = copying();
        bench.initiators[initiator].manage(bench.now, 3, function, LogicalUnitNumber::from(0));
        bench.run();
        bench.pass(Duration::from_millis(1));
        assert!(bench.outcomes(initiator).is_empty(), "{function}: the read is still in the store");
        bench.release();
        bench.run();
        bench.pass(Duration::from_millis(1));
        let complete = TaskManagementResponseCode::FunctionComplete;
        assert!(matches!(bench.only_outcome(initiator), Outcome::TaskManagement(code) if code == complete));
        assert!(!is_copied(&bench), "{function}");
    }
}

/// The initiator has been told of its end: functions for its tasks are not about it.
#[test]
fn a_task_is_none_of_the_set_that_is_aborted() {
    let (mut bench, initiator) = copying();
    let function = TaskManagementFunction::AbortTaskSet;
    bench.initiators[initiator].manage(bench.now, 3, function, LogicalUnitNumber::from(0));
    bench.run();
    assert!(matches!(bench.only_outcome(initiator), Outcome::TaskManagement(_)));
    bench.release();
    bench.run();
    assert!(is_copied(&bench));
}
