//! The fields of mode pages by T10's names (SPC-5 7.5, SBC-4 6.5), for both ends.

use super::{CACHING, CONTROL, CONTROL_EXTENSION, INFORMATIONAL_EXCEPTIONS, ModePage};
use crate::octets::Place;

/// One field of a mode page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModeField {
    /// T10's name, in capital letters.
    pub name: &'static str,
    /// What it is about, for people.
    pub meaning: &'static str,
    /// Page code.
    pub page: u8,
    /// Subpage code.
    pub subpage: u8,
    /// Where it lies, counted from the page's first byte.
    pub place: Place,
}

const fn field(
    name: &'static str,
    (page, subpage): (u8, u8),
    (byte, bit, bits): (u8, u8, u8),
    meaning: &'static str,
) -> ModeField {
    ModeField { name, meaning, page, subpage, place: Place { byte, bit, bits } }
}

const CACHING_PAGE: (u8, u8) = (CACHING, 0);
const CONTROL_PAGE: (u8, u8) = (CONTROL, 0);
const EXTENSION_PAGE: (u8, u8) = CONTROL_EXTENSION;
const EXCEPTIONS_PAGE: (u8, u8) = (INFORMATIONAL_EXCEPTIONS, 0);

pub(super) const WCE: ModeField = field("WCE", CACHING_PAGE, (2, 2, 1), "write cache enable");
pub(super) const QERR: ModeField = field("QERR", CONTROL_PAGE, (3, 2, 2), "queue error management");
pub(super) const D_SENSE: ModeField = field("D_SENSE", CONTROL_PAGE, (2, 2, 1), "descriptor format sense data");
pub(super) const SWP: ModeField = field("SWP", CONTROL_PAGE, (4, 3, 1), "software write protect");
pub(super) const DEXCPT: ModeField = field("DEXCPT", EXCEPTIONS_PAGE, (2, 3, 1), "disable exception control");
pub(super) const TEST: ModeField = field("TEST", EXCEPTIONS_PAGE, (2, 2, 1), "make a false informational exception");
pub(super) const MRIE: ModeField =
    field("MRIE", EXCEPTIONS_PAGE, (3, 3, 4), "method of reporting informational exceptions");

/// The fields that have a name here, page by page.
pub const FIELDS: &[ModeField] = &[
    field("IC", CACHING_PAGE, (2, 7, 1), "initiator control"),
    field("ABPF", CACHING_PAGE, (2, 6, 1), "abort pre-fetch"),
    field("CAP", CACHING_PAGE, (2, 5, 1), "caching analysis permitted"),
    field("DISC", CACHING_PAGE, (2, 4, 1), "discontinuity"),
    field("SIZE", CACHING_PAGE, (2, 3, 1), "size enable"),
    WCE,
    field("MF", CACHING_PAGE, (2, 1, 1), "multiplication factor"),
    field("RCD", CACHING_PAGE, (2, 0, 1), "read cache disable"),
    field("DRA", CACHING_PAGE, (12, 5, 1), "disable read-ahead"),
    field("NV_DIS", CACHING_PAGE, (12, 0, 1), "non-volatile cache disabled"),
    field("TST", CONTROL_PAGE, (2, 7, 3), "task set type"),
    field("TMF_ONLY", CONTROL_PAGE, (2, 4, 1), "task management functions only"),
    field("DPICZ", CONTROL_PAGE, (2, 3, 1), "disable protection information check if protect field is zero"),
    D_SENSE,
    field("GLTSD", CONTROL_PAGE, (2, 1, 1), "global logging target save disable"),
    field("RLEC", CONTROL_PAGE, (2, 0, 1), "report log exception condition"),
    field("QAM", CONTROL_PAGE, (3, 7, 4), "queue algorithm modifier"),
    QERR,
    field("RAC", CONTROL_PAGE, (4, 6, 1), "report a check"),
    field("UA_INTLCK_CTRL", CONTROL_PAGE, (4, 5, 2), "unit attention interlocks control"),
    SWP,
    field("ATO", CONTROL_PAGE, (5, 7, 1), "application tag owner"),
    field("TAS", CONTROL_PAGE, (5, 6, 1), "task aborted status"),
    field("ATMPE", CONTROL_PAGE, (5, 5, 1), "application tag mode page enabled"),
    field("RWWP", CONTROL_PAGE, (5, 4, 1), "reject write without protection"),
    field("BUSY_TIMEOUT", CONTROL_PAGE, (8, 7, 16), "busy timeout period in 100 ms"),
    field("SELF_TEST_TIME", CONTROL_PAGE, (10, 7, 16), "extended self-test completion time in seconds"),
    field("TCMOS", EXTENSION_PAGE, (4, 2, 1), "timestamp changeable by methods outside the standard"),
    field("SCSIP", EXTENSION_PAGE, (4, 1, 1), "SET TIMESTAMP goes before other methods"),
    field("IALUAE", EXTENSION_PAGE, (4, 0, 1), "implicit asymmetric logical unit access enabled"),
    field("COMMAND_PRIORITY", EXTENSION_PAGE, (5, 3, 4), "initial command priority"),
    field("SENSE_LENGTH", EXTENSION_PAGE, (6, 7, 8), "maximum sense data length"),
    field("PERF", EXCEPTIONS_PAGE, (2, 7, 1), "no delay for informational exceptions"),
    field("EBF", EXCEPTIONS_PAGE, (2, 5, 1), "enable background functions"),
    field("EWASC", EXCEPTIONS_PAGE, (2, 4, 1), "enable warnings"),
    DEXCPT,
    TEST,
    field("LOGERR", EXCEPTIONS_PAGE, (2, 0, 1), "log errors"),
    MRIE,
    field("INTERVAL_TIMER", EXCEPTIONS_PAGE, (4, 7, 32), "interval timer in 100 ms"),
    field("REPORT_COUNT", EXCEPTIONS_PAGE, (8, 7, 32), "report count"),
];

impl ModeField {
    /// The field of that name, in letters of either case.
    pub fn find(name: &str) -> Option<&'static Self> {
        FIELDS.iter().find(|field| field.name.eq_ignore_ascii_case(name))
    }

    /// The fields of a page.
    pub fn of_page(page: u8, subpage: u8) -> impl Iterator<Item = &'static Self> {
        FIELDS.iter().filter(move |field| (field.page, field.subpage) == (page, subpage))
    }

    /// The field's place in the bytes after the page's header.
    fn place_in_body(&self) -> Place {
        Place { byte: self.place.byte - super::header_bytes(self.subpage) as u8, ..self.place }
    }

    /// Whether the page is long enough to have the field.
    pub fn lies_in(&self, page: &ModePage) -> bool {
        self.place_in_body().end() <= page.body.len()
    }

    /// The field's value; bytes that the page does not have are zero.
    pub fn get(&self, page: &ModePage) -> u64 {
        self.place_in_body().get(&page.body)
    }

    /// Sets the field. Returns whether it fits, in the page and in its width; if not, nothing has changed.
    pub fn set(&self, page: &mut ModePage, value: u64) -> bool {
        let fits = self.lies_in(page) && value <= self.place.max();
        if fits {
            self.place_in_body().put(&mut page.body, value);
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_given_once_and_fields_lie_apart() {
        for (index, field) in FIELDS.iter().enumerate() {
            for other in &FIELDS[..index] {
                assert_ne!(field.name, other.name);
                let mut bytes = [0; 20];
                field.place.put(&mut bytes, u64::MAX);
                let apart = (field.page, field.subpage) != (other.page, other.subpage) || other.place.get(&bytes) == 0;
                assert!(apart, "{} and {}", field.name, other.name);
            }
        }
    }

    #[test]
    fn a_field_is_set_where_it_lies_if_it_fits() {
        let mut page = ModePage { code: CONTROL, subpage: 0, savable: false, body: vec![0; 10] };
        let qerr = ModeField::find("qerr").unwrap();
        assert!(qerr.set(&mut page, 3));
        assert_eq!((page.body[1], qerr.get(&page)), (0x06, 3));
        assert!(!qerr.set(&mut page, 4));
        page.body.truncate(1);
        assert!(!qerr.set(&mut page, 1));
        let mut extension = ModePage { code: CONTROL, subpage: 1, savable: false, body: vec![0; 28] };
        assert!(ModeField::find("SCSIP").unwrap().set(&mut extension, 1));
        assert_eq!(extension.body[0], 0x02);
    }
}
