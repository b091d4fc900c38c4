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

/// How a WRITE of this attribute ends, of one block on the medium or far behind its end; `None` of one that is a task.
fn ends(nexus: &mut Nexus, attribute: TaskAttribute, cdb: Cdb) -> Option<Status> {
    match nexus.begin_command(&Command { attribute, ..Command::new(lun(0), cdb.as_bytes()) }) {
        Begin::Done(outcome) => Some(outcome.status),
        Begin::Task(mut task) => {
            finish(nexus, &mut task);
            None
        }
    }
}

/// A nexus with an auto contingent allegiance, and a task that came before it.
fn with_allegiance(device: &Arc<TargetDevice>) -> (Nexus, Task) {
    let mut nexus = settled(device, "one");
    let before = task(&mut nexus, TaskAttribute::Simple);
    let refused = Cdb::write_10(u32::MAX, 1).with_allegiance();
    assert_eq!(ends(&mut nexus, TaskAttribute::Simple, refused), Some(Status::CheckCondition));
    (nexus, before)
}

#[test]
fn an_allegiance_comes_to_be_only_by_a_check_condition_that_asks_for_it() {
    let device = device([config("a")]);
    let mut nexus = settled(&device, "one");
    let (good, bad) = (Cdb::write_10(0, 1), Cdb::write_10(u32::MAX, 1));
    for cdb in [good, good.with_allegiance(), bad] {
        ends(&mut nexus, TaskAttribute::Simple, cdb);
        assert_eq!(ends(&mut nexus, TaskAttribute::Simple, good), None, "{cdb:?}");
    }
    // Of no known command it is asked where their group has it: operation code, length, and where CONTROL is.
    for (opcode, length, control) in [(0x02, 6, 5), (0x5d, 10, 9), (0x7f, 32, 1), (0x8d, 16, 15), (0xb6, 12, 11)] {
        let mut bytes = vec![0; length];
        bytes[0] = opcode;
        nexus.begin(lun(0), &bytes);
        assert_eq!(ends(&mut nexus, TaskAttribute::Simple, good), None, "{opcode:#x}");
        bytes[control] = 0x04;
        nexus.begin(lun(0), &bytes);
        assert_eq!(ends(&mut nexus, TaskAttribute::Simple, good), Some(Status::AcaActive), "{opcode:#x}");
        nexus.clear_allegiance(lun(0)).unwrap();
    }
    // One that fails in the store.
    let cdb = Cdb::read_10(0, 1).with_allegiance();
    let outcome = run_with(&mut nexus, &Command::new(lun(0), cdb.as_bytes()), &[], |_, _| Err(IoError::Read));
    assert_eq!(outcome.status, Status::CheckCondition);
    assert_eq!(ends(&mut nexus, TaskAttribute::Simple, good), Some(Status::AcaActive));
    assert_eq!(nexus.clear_allegiance(lun(7)), Err(NoSuchLogicalUnit(lun(7))));
    // A task of it where there is none.
    nexus.clear_allegiance(lun(0)).unwrap();
    let Begin::Done(outcome) = begin(&mut nexus, TaskAttribute::Aca) else { panic!() };
    assert_eq!(Sense::decode(&outcome.sense), Ok(Sense::illegal(AdditionalSense::INVALID_MESSAGE_ERROR)));
    assert!(nexus.clear_allegiance(lun(0)).is_ok(), "there is none to clear, and that is all right");
}

#[test]
fn an_allegiance_takes_one_task_of_its_own_and_keeps_back_all_others_of_its_nexus() {
    use TaskAttribute::{Aca, HeadOfQueue, Ordered, Simple};
    let device = device([config("a")]);
    let (mut nexus, mut before) = with_allegiance(&device);
    let mut other = settled(&device, "other");
    for attribute in [Simple, Ordered, HeadOfQueue] {
        assert_eq!(ends(&mut nexus, attribute, Cdb::write_10(0, 1)), Some(Status::AcaActive), "{attribute:?}");
        assert_eq!(ends(&mut nexus, attribute, Cdb::test_unit_ready()), Some(Status::AcaActive), "{attribute:?}");
        assert_eq!(ends(&mut other, attribute, Cdb::write_10(0, 1)), None, "another nexus has nothing to do with it");
    }
    assert!(!nexus.may_start(&before));
    let mut own = task(&mut nexus, Aca);
    assert!(nexus.may_start(&own));
    assert_eq!(ends(&mut nexus, Aca, Cdb::write_10(0, 1)), Some(Status::AcaActive), "one at a time");
    finish(&mut nexus, &mut own);
    assert_eq!(ends(&mut nexus, Aca, Cdb::write_10(0, 1)), None, "the next follows");
    assert!(!nexus.may_start(&before));
    nexus.clear_allegiance(lun(0)).unwrap();
    assert!(nexus.may_start(&before));
    finish(&mut nexus, &mut before);
    assert_eq!(ends(&mut nexus, Simple, Cdb::write_10(0, 1)), None);
}

#[test]
fn what_ends_an_allegiance() {
    type End = fn(&mut Nexus);
    let bad = Cdb::write_10(u32::MAX, 1);
    // What is done, whether the allegiance goes on, and whether the task from before it does.
    let table: [(&str, End, bool, bool); 6] = [
        ("nothing", |_| {}, true, true),
        ("CLEAR ACA", |nexus| nexus.clear_allegiance(lun(0)).unwrap(), false, true),
        ("LOGICAL UNIT RESET", |nexus| drop(nexus.logical_unit_reset(lun(0)).unwrap()), false, false),
        ("I_T NEXUS RESET", |nexus| drop(nexus.reset()), false, false),
        ("ABORT TASK SET", |nexus| nexus.abort_task_set(lun(0)).unwrap(), true, true),
        ("a target reset", |nexus| drop(nexus.target_reset()), false, false),
    ];
    for (name, end, goes_on, survives) in table {
        let device = device([config("a")]);
        let (mut nexus, mut before) = with_allegiance(&device);
        end(&mut nexus);
        let status = ends(&mut nexus, TaskAttribute::Simple, Cdb::write_10(0, 1));
        assert_eq!(status == Some(Status::AcaActive), goes_on, "{name}");
        assert_eq!(nexus.may_start(&before), !goes_on, "{name}");
        nexus.clear_allegiance(lun(0)).unwrap();
        assert_eq!(matches!(start(&mut nexus, &mut before), Step::Io(_)), survives, "{name}");
    }
    for (asks, goes_on) in [(false, false), (true, true)] {
        let device = device([config("a")]);
        let (mut nexus, _) = with_allegiance(&device);
        let cdb = if asks { bad.with_allegiance() } else { bad };
        assert_eq!(ends(&mut nexus, TaskAttribute::Aca, cdb), Some(Status::CheckCondition));
        let status = ends(&mut nexus, TaskAttribute::Simple, Cdb::write_10(0, 1));
        assert_eq!(status == Some(Status::AcaActive), goes_on, "a task of it that fails, NACA {asks}");
    }
}

#[test]
fn queue_error_management_ends_the_tasks_from_before_an_allegiance_and_not_the_allegiance() {
    for (queue_error, survives) in [(0, true), (1, false), (3, false)] {
        let device = device([config("a")]);
        set_queue_error(&mut settled(&device, "two"), queue_error);
        let mut nexus = settled(&device, "one");
        let [mut before, mut in_store] = [(); 2].map(|()| task(&mut nexus, TaskAttribute::Simple));
        assert!(matches!(start(&mut nexus, &mut in_store), Step::Io(_)));
        sense(&mut nexus, &Cdb::read_10(u32::MAX, 1).with_allegiance(), &[]);
        let goes_on = |nexus: &mut Nexus| ends(nexus, TaskAttribute::Simple, Cdb::write_10(0, 1));
        assert_eq!(goes_on(&mut nexus), Some(Status::AcaActive), "{queue_error}");
        // What the store had already ends as it ends, and an error of it does not end the allegiance.
        let end = nexus.resume(&mut in_store, Err(IoError::Write));
        assert_eq!(matches!(end, Step::Done(_)), survives, "{queue_error}");
        assert_eq!(goes_on(&mut nexus), Some(Status::AcaActive), "{queue_error}");
        assert_eq!(nexus.may_start(&before), !survives, "one that was ended finds that out");
        nexus.clear_allegiance(lun(0)).unwrap();
        assert_eq!(matches!(start(&mut nexus, &mut before), Step::Io(_)), survives, "{queue_error}");
    }
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
