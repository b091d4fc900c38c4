//! Task attributes, the bound of a task set, and what QERR does to it.

use std::sync::Arc;

use bytes::Bytes;
use scsi_block::cdb::Cdb;
use scsi_block::mode::{CONTROL, ModeData, ModeField};
use scsi_block::sense::{AdditionalSense, Sense, SenseKey};
use scsi_block::*;

use crate::harness::*;

fn begin(nexus: &mut Nexus, attribute: TaskAttribute) -> Begin {
    nexus.begin_command(&Command { attribute, ..Command::new(lun(0), Cdb::write_10(0, 1).as_bytes()) })
}

fn task(nexus: &mut Nexus, attribute: TaskAttribute) -> Task {
    match begin(nexus, attribute) {
        Begin::Task(task) => task,
        Begin::Done(outcome) => panic!("{outcome:?}"),
    }
}

fn start(nexus: &mut Nexus, task: &mut Task) -> Step {
    nexus.start(task, [Bytes::from(vec![0; 512])].into_iter().collect())
}

fn finish(nexus: &mut Nexus, task: &mut Task) {
    assert!(matches!(start(nexus, task), Step::Io(_)));
    assert!(matches!(nexus.resume(task, Ok(IoOutput::Done)), Step::Done(_)));
}

fn set_queue_error(nexus: &mut Nexus, value: u64) {
    let data = good(nexus, &Cdb::mode_sense_10(0, CONTROL, 0, 255), &[]);
    let mut pages = ModeData::decode_10(&data).unwrap().pages;
    assert!(ModeField::find("QERR").unwrap().set(&mut pages[0], value));
    let list = ModeData::select_list_10(&pages);
    good(nexus, &Cdb::mode_select_10(false, list.len() as u16), &list);
}

#[test]
fn tasks_begin_in_the_order_that_their_attributes_ask_for() {
    use TaskAttribute::{HeadOfQueue, Ordered, Simple};
    let device = device([config("a")]);
    let (mut one, mut two) = (settled(&device, "one"), settled(&device, "two"));
    let mut tasks = [Simple, Ordered, Simple, HeadOfQueue].map(|attribute| task(&mut one, attribute));
    let other = task(&mut two, Simple);
    let may = |nexus: &Nexus, tasks: &[Task; 4]| tasks.each_ref().map(|task| nexus.may_start(task));
    assert_eq!(may(&one, &tasks), [false, false, false, true]);
    assert!(two.may_start(&other), "another nexus has a task set of its own");
    finish(&mut one, &mut tasks[3]);
    assert_eq!(may(&one, &tasks)[..3], [true, false, false]);
    finish(&mut one, &mut tasks[0]);
    assert_eq!(may(&one, &tasks)[1..3], [true, false]);
    let [_, ordered, mut last, _] = tasks;
    one.forget(ordered); // aborted before it began
    assert!(one.may_start(&last));
    finish(&mut one, &mut last);
}

#[test]
fn there_is_no_auto_contingent_allegiance() {
    let mut nexus = settled(&device([config("a")]), "one");
    let Begin::Done(outcome) = begin(&mut nexus, TaskAttribute::Aca) else { panic!() };
    let sense = Sense::decode(&outcome.sense).unwrap();
    assert_eq!(sense, Sense::illegal(AdditionalSense::INVALID_MESSAGE_ERROR));
}

#[test]
fn a_full_task_set_takes_no_more_until_a_task_has_ended() {
    let limits = Limits { tasks_max: 2, ..Limits::default() };
    let device = device([LogicalUnitConfig { limits, ..config("a") }]);
    let (mut one, mut two) = (settled(&device, "one"), settled(&device, "two"));
    let mut first = task(&mut one, TaskAttribute::Simple);
    let second = task(&mut one, TaskAttribute::Ordered);
    for attribute in [TaskAttribute::Simple, TaskAttribute::HeadOfQueue] {
        let Begin::Done(outcome) = begin(&mut one, attribute) else { panic!() };
        assert_eq!(outcome.status, Status::TaskSetFull);
    }
    task(&mut two, TaskAttribute::Simple);
    finish(&mut one, &mut first);
    let third = task(&mut one, TaskAttribute::Simple);
    one.forget(second);
    one.forget(third);
    for _ in 0..2 {
        task(&mut one, TaskAttribute::Simple);
    }
    assert!(matches!(begin(&mut one, TaskAttribute::Simple), Begin::Done(_)));
}

/// Two tasks of a nexus, one in the store, when a third ends with CHECK CONDITION: whether they go on.
fn survive(device: &Arc<TargetDevice>, nexus: &mut Nexus, fail: impl FnOnce(&mut Nexus)) -> [bool; 2] {
    let mut other = settled(device, "other");
    let mut of_other = task(&mut other, TaskAttribute::Simple);
    let [mut running, mut waiting] = [(); 2].map(|()| task(nexus, TaskAttribute::Simple));
    assert!(matches!(start(nexus, &mut running), Step::Io(_)));
    fail(nexus);
    let survived = [
        !matches!(nexus.resume(&mut running, Ok(IoOutput::Done)), Step::Aborted),
        nexus.may_start(&waiting) && !matches!(start(nexus, &mut waiting), Step::Aborted),
    ];
    finish(&mut other, &mut of_other);
    survived
}

#[test]
fn queue_error_management_ends_the_other_tasks_of_the_nexus_or_not() {
    let device = device([config("a")]);
    let mut nexus = settled(&device, "one");
    let refused = |nexus: &mut Nexus| {
        sense(nexus, &Cdb::read_10(u32::MAX, 1), &[]);
    };
    let failed = |nexus: &mut Nexus| {
        let command = Command::new(lun(0), &[0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
        let outcome = run_with(nexus, &command, &[], |_, _| Err(IoError::Read));
        assert_eq!(Sense::decode(&outcome.sense).unwrap().key, SenseKey::MediumError);
    };
    for (queue_error, survives) in [(0, true), (1, false), (3, false)] {
        set_queue_error(&mut nexus, queue_error);
        assert_eq!(survive(&device, &mut nexus, refused), [survives; 2], "{queue_error}");
        assert_eq!(survive(&device, &mut nexus, failed), [survives; 2], "{queue_error}");
        // A task that comes afterwards is not meant.
        let mut after = task(&mut nexus, TaskAttribute::Simple);
        finish(&mut nexus, &mut after);
    }
}
