//! MODE SENSE and MODE SELECT beyond the write cache, write protection and the format of sense data.

use std::cell::RefCell;

use scsi_block::cdb::Cdb;
use scsi_block::log::{LogPage, page};
use scsi_block::mode::{ALL_PAGES, ALL_SUBPAGES, ModeData, ModeField, ModePage, ModeSettings};
use scsi_block::reservations::UnknownForm;
use scsi_block::sense::{AdditionalSense, FieldPointer, Sense, SenseKey};
use scsi_block::*;

use crate::harness::*;

const CURRENT: u8 = 0;
const CHANGEABLE: u8 = 1;
const DEFAULT: u8 = 2;
const SAVED: u8 = 3;

fn pages(nexus: &mut Nexus, control: u8) -> Vec<ModePage> {
    let data = good(nexus, &Cdb::mode_sense_10(control, ALL_PAGES, ALL_SUBPAGES, 512), &[]);
    ModeData::decode_10(&data).unwrap().pages
}

fn value(nexus: &mut Nexus, control: u8, name: &str) -> u64 {
    let field = ModeField::find(name).unwrap();
    let pages = pages(nexus, control);
    field.get(pages.iter().find(|page| (page.code, page.subpage) == (field.page, field.subpage)).unwrap())
}

/// The list that sets a field and leaves the page as it is otherwise.
fn list(nexus: &mut Nexus, name: &str, value: u64) -> Vec<u8> {
    let field = ModeField::find(name).unwrap();
    let data = good(nexus, &Cdb::mode_sense_10(CURRENT, field.page, field.subpage, 512), &[]);
    let mut page = ModeData::decode_10(&data).unwrap().pages.remove(0);
    assert!(field.set(&mut page, value));
    ModeData::select_list_10(&[page])
}

fn set(nexus: &mut Nexus, save: bool, name: &str, value: u64) {
    let list = list(nexus, name, value);
    good(nexus, &Cdb::mode_select_10(save, list.len() as u16), &list);
}

fn saving(serial: &str) -> LogicalUnitConfig {
    LogicalUnitConfig { kept: Some(Kept::new()), ..config(serial) }
}

#[test]
fn all_pages_are_given_with_their_subpages_and_what_can_be_changed() {
    let mut nexus = settled(&device([config("a")]), "one");
    let codes: Vec<_> = pages(&mut nexus, CURRENT).iter().map(|page| (page.code, page.subpage)).collect();
    assert_eq!(codes, [(0x08, 0), (0x0a, 0), (0x0a, 1), (0x1c, 0)]);
    for (name, changeable) in [
        ("WCE", 1),
        ("QERR", 3),
        ("SWP", 1),
        ("D_SENSE", 1),
        ("TEST", 1),
        ("DEXCPT", 1),
        ("MRIE", 0xf),
        ("TST", 0),
        ("TCMOS", 0),
    ] {
        assert_eq!(value(&mut nexus, CHANGEABLE, name), changeable, "{name}");
    }
    for (name, current) in [("TST", 1), ("TCMOS", 1), ("SCSIP", 1), ("MRIE", 6), ("QERR", 0)] {
        assert_eq!(value(&mut nexus, CURRENT, name), current, "{name}");
    }
    assert!(pages(&mut nexus, CURRENT).iter().all(|page| !page.savable));
}

#[test]
fn each_field_is_changed_saved_and_comes_back_after_a_reset() {
    let device = device([saving("a")]);
    let (mut one, mut two) = (settled(&device, "one"), settled(&device, "two"));
    let changes = [("QERR", 1), ("DEXCPT", 1), ("TEST", 1), ("MRIE", 2), ("SWP", 1), ("D_SENSE", 1), ("WCE", 0)];
    for (name, changed) in changes {
        let before = value(&mut one, CURRENT, name);
        set(&mut one, false, name, changed);
        assert_eq!(attention(&mut two), AdditionalSense::MODE_PARAMETERS_CHANGED);
        let values = [CURRENT, DEFAULT, SAVED].map(|control| value(&mut two, control, name));
        assert_eq!(values, [changed, before, before], "{name}");
    }
    drop(one.logical_unit_reset(lun(0)).unwrap());
    attention(&mut one);
    assert_eq!(device.logical_units().next().unwrap().settings, ModeSettings::new(true));
    set(&mut one, true, "QERR", 3);
    drop(one.logical_unit_reset(lun(0)).unwrap());
    attention(&mut one);
    assert_eq!([CURRENT, DEFAULT, SAVED].map(|control| value(&mut one, control, "QERR")), [3, 0, 3]);
}

#[test]
fn what_is_saved_is_kept_before_the_answer_and_comes_back_after_a_restart() {
    let requests = RefCell::new(Vec::new());
    let keep = |nexus: &mut Nexus, save, changes: &[(&str, u64)], done: IoDone| {
        for (name, value) in changes {
            let list = list(nexus, name, *value);
            let cdb = Cdb::mode_select_10(save, list.len() as u16);
            let outcome = run_with(nexus, &Command::new(lun(0), cdb.as_bytes()), &list, |_, request| {
                requests.borrow_mut().push(request.clone());
                done.clone()
            });
            assert_eq!(outcome.status == Status::Good, done.is_ok(), "{name}");
        }
        requests.take()
    };
    let mut one = settled(&device([saving("a")]), "one");
    assert_eq!(keep(&mut one, false, &[("QERR", 1)], Ok(IoOutput::Done)), [], "it is not to be saved");
    let flushed_and_kept = keep(&mut one, true, &[("WCE", 0)], Ok(IoOutput::Done));
    assert!(matches!(&flushed_and_kept[..], [BlockIo::Flush, BlockIo::Keep(_)]), "{flushed_and_kept:?}");
    let last = keep(&mut one, true, &[("SWP", 1), ("D_SENSE", 1), ("MRIE", 2)], Ok(IoOutput::Done)).pop();
    let Some(BlockIo::Keep(Record { name: "modes", version: 4, content })) = last else { panic!("{last:?}") };

    let kept = [("modes".to_owned(), content.clone())].into();
    let mut again = settled(&device([LogicalUnitConfig { kept: Some(kept), ..saving("a") }]), "one");
    for (name, value, default) in [("QERR", 1, 0), ("WCE", 0, 1), ("SWP", 1, 0), ("D_SENSE", 1, 0), ("MRIE", 2, 6)] {
        let values = [CURRENT, SAVED, DEFAULT].map(|control| self::value(&mut again, control, name));
        assert_eq!(values, [value, value, default], "{name}");
    }
    let refused = sense(&mut again, &Cdb::write_10(0, 1), &[0; 512]);
    assert_eq!(refused.additional, AdditionalSense::SOFTWARE_WRITE_PROTECTED);
    keep(&mut again, true, &[("SWP", 0)], Err(IoError::NoSpace));

    let damaged = [("modes".to_owned(), content.slice(..content.len() - 1))].into();
    let config = LogicalUnitConfig { kept: Some(damaged), ..saving("a") };
    let error = TargetDevice::new([(lun(0), config)]).unwrap_err();
    assert!(matches!(error, ConfigError::Kept { error: UnknownForm("modes"), .. }), "{error}");
}

#[test]
fn values_that_no_unit_takes_are_pointed_at() {
    let mut nexus = settled(&device([config("a")]), "one");
    for (name, wrong, byte, bit) in [("QERR", 2, 11, 2), ("MRIE", 4, 11, 3), ("TST", 0, 10, 5), ("RCD", 1, 10, 0)] {
        let list = list(&mut nexus, name, wrong);
        let refused = sense(&mut nexus, &Cdb::mode_select_10(false, list.len() as u16), &list);
        assert_eq!(refused.field, Some(FieldPointer { in_cdb: false, byte, bit: Some(bit) }), "{name}");
    }
}

#[test]
fn a_false_exception_is_told_as_was_chosen() {
    let device = device([config("a")]);
    let (mut one, mut two) = (settled(&device, "one"), settled(&device, "two"));
    let asked = |nexus: &mut Nexus| Sense::decode(&good(nexus, &Cdb::request_sense(false, 252), &[])).unwrap();
    let logged = |nexus: &mut Nexus| {
        let data = good(nexus, &Cdb::log_sense(page::INFORMATIONAL_EXCEPTIONS, 0, 255), &[]);
        LogPage::decode(&data).unwrap().parameters[0].value[..2].to_vec()
    };
    let exception = AdditionalSense::FAILURE_PREDICTION_THRESHOLD_EXCEEDED_FALSE;
    assert_eq!((asked(&mut one), logged(&mut one)), (Sense::NONE, vec![0, 0]));
    // MRIE 6, as it is: on request alone.
    set(&mut one, false, "TEST", 1);
    assert_eq!(attention(&mut two), AdditionalSense::MODE_PARAMETERS_CHANGED);
    assert_eq!(asked(&mut two), Sense::new(SenseKey::NoSense, exception));
    assert_eq!(logged(&mut two), [0x5d, 0xff]);
    good(&mut two, &Cdb::test_unit_ready(), &[]);
    // MRIE 2: once, by unit attention, to all.
    set(&mut one, false, "MRIE", 2);
    assert_eq!(attention(&mut one), exception);
    assert_eq!(attention(&mut two), AdditionalSense::MODE_PARAMETERS_CHANGED);
    assert_eq!(attention(&mut two), exception);
    assert_eq!(asked(&mut two), Sense::NONE);
    // MRIE 0: not at all; DEXCPT: there is none.
    set(&mut one, false, "MRIE", 0);
    assert_eq!((asked(&mut one), logged(&mut one)), (Sense::NONE, vec![0x5d, 0xff]));
    set(&mut one, false, "DEXCPT", 1);
    assert_eq!(logged(&mut one), [0, 0]);
}
