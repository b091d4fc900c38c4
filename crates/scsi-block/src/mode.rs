//! Mode parameters (SPC-5 7.5, SBC-4 6.5): the pages as one table, the values that can be changed, and both
//! commands' parameter data for both ends.
//!
//! A unit keeps [`ModeSettings`]; a page's bytes are made from its row in the table and the settings when asked for.
//! In: settings or bytes. Out: bytes or settings. A MODE SELECT list that is wrong anywhere changes nothing.

mod data;
mod fields;
mod kept;
mod select;

pub(crate) use kept::RECORD;

pub(crate) use data::ModeHeader;
pub use data::{BlockDescriptor, ModeData, ModePage};
pub use fields::{FIELDS, ModeField};
pub(crate) use select::decode_list;

use crate::sense::AdditionalSense;

/// The mode parameters that MODE SELECT can change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModeSettings {
    /// WCE, caching page: a write may be GOOD before it would survive a power cut.
    pub write_cache: bool,
    /// SWP, control page: writes are refused.
    pub software_write_protect: bool,
    /// D_SENSE, control page: sense data comes in descriptor format.
    pub descriptor_sense: bool,
    /// QERR, control page: what becomes of a nexus's other tasks when one ends with CHECK CONDITION. 0: they go on; 1 and 3: they end, and
    /// nothing is said of them.
    pub queue_error: u8,
    /// DEXCPT, informational exceptions page: none is made.
    pub exceptions_disabled: bool,
    /// TEST, the same page: there is a false exception.
    pub exception_test: bool,
    /// MRIE, the same page: 0 no exception is told, 2 by unit attention, 6 by REQUEST SENSE alone.
    pub exception_method: u8,
}

/// MRIE of a unit whose settings nobody has changed.
const ON_REQUEST: u8 = 6;
/// MRIE: every nexus is told by unit attention.
const BY_UNIT_ATTENTION: u8 = 2;

/// One of the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setting {
    WriteCache,
    SoftwareWriteProtect,
    DescriptorSense,
    QueueError,
    ExceptionsDisabled,
    ExceptionTest,
    ExceptionMethod,
}

impl Setting {
    /// Where it lies.
    const fn field(self) -> &'static ModeField {
        match self {
            Self::WriteCache => &fields::WCE,
            Self::SoftwareWriteProtect => &fields::SWP,
            Self::DescriptorSense => &fields::D_SENSE,
            Self::QueueError => &fields::QERR,
            Self::ExceptionsDisabled => &fields::DEXCPT,
            Self::ExceptionTest => &fields::TEST,
            Self::ExceptionMethod => &fields::MRIE,
        }
    }

    /// Whether a unit takes the value, which fits in the field.
    const fn takes(self, value: u64) -> bool {
        match self {
            Self::QueueError => value != 2,
            Self::ExceptionMethod => matches!(value, 0 | 2 | 6),
            _ => true,
        }
    }
}

impl ModeSettings {
    /// What a unit has whose write cache is on or off, and of which nothing else was said.
    pub const fn new(write_cache: bool) -> Self {
        Self {
            write_cache,
            software_write_protect: false,
            descriptor_sense: false,
            queue_error: 0,
            exceptions_disabled: false,
            exception_test: false,
            exception_method: ON_REQUEST,
        }
    }

    /// The informational exception that there is.
    pub(crate) fn exception(&self) -> Option<AdditionalSense> {
        let is_false = self.exception_test && !self.exceptions_disabled;
        is_false.then_some(AdditionalSense::FAILURE_PREDICTION_THRESHOLD_EXCEEDED_FALSE)
    }

    /// The exception that every nexus is told of by unit attention.
    pub(crate) fn exception_to_post(&self) -> Option<AdditionalSense> {
        self.exception().filter(|_| self.exception_method == BY_UNIT_ATTENTION)
    }

    /// The exception that REQUEST SENSE tells of.
    pub(crate) fn exception_on_request(&self) -> Option<AdditionalSense> {
        self.exception().filter(|_| self.exception_method == ON_REQUEST)
    }

    fn get(&self, setting: Setting) -> u64 {
        match setting {
            Setting::WriteCache => self.write_cache.into(),
            Setting::SoftwareWriteProtect => self.software_write_protect.into(),
            Setting::DescriptorSense => self.descriptor_sense.into(),
            Setting::QueueError => self.queue_error.into(),
            Setting::ExceptionsDisabled => self.exceptions_disabled.into(),
            Setting::ExceptionTest => self.exception_test.into(),
            Setting::ExceptionMethod => self.exception_method.into(),
        }
    }

    fn set(&mut self, setting: Setting, value: u64) {
        match setting {
            Setting::WriteCache => self.write_cache = value != 0,
            Setting::SoftwareWriteProtect => self.software_write_protect = value != 0,
            Setting::DescriptorSense => self.descriptor_sense = value != 0,
            Setting::QueueError => self.queue_error = value as u8,
            Setting::ExceptionsDisabled => self.exceptions_disabled = value != 0,
            Setting::ExceptionTest => self.exception_test = value != 0,
            Setting::ExceptionMethod => self.exception_method = value as u8,
        }
    }

    /// What the pages of a MODE SENSE response say; a setting whose page did not come, or that says what no unit takes, stays as in `self`.
    #[must_use]
    pub fn updated_from(mut self, pages: &[ModePage]) -> Self {
        for (page, row) in pages.iter().filter_map(|page| Some((page, find(page.code, page.subpage)?))) {
            for setting in row.settings {
                let value = setting.field().get(page);
                if setting.takes(value) {
                    self.set(*setting, value);
                }
            }
        }
        self
    }
}

/// One mode page as a unit has it.
struct Page {
    code: u8,
    subpage: u8,
    /// The bytes after the header, with the settings' bits zero.
    body: &'static [u8],
    /// What can be changed in it.
    settings: &'static [Setting],
}

/// Bytes before a page's body: code and length, and a subpage code between them if it has one.
const fn header_bytes(subpage: u8) -> usize {
    if subpage == 0 { 2 } else { 4 }
}

/// Page code that stands for all pages.
pub const ALL_PAGES: u8 = 0x3f;
/// Subpage code that stands for all subpages.
pub const ALL_SUBPAGES: u8 = 0xff;
/// The caching mode page (SBC-4 6.5.5).
pub const CACHING: u8 = 0x08;
/// The control mode page (SPC-5 7.5.8).
pub const CONTROL: u8 = 0x0a;
/// Page and subpage code of the control extension mode page (SPC-5 7.5.9).
pub const CONTROL_EXTENSION: (u8, u8) = (CONTROL, 0x01);
/// The informational exceptions control mode page (SBC-4 6.5.6).
pub const INFORMATIONAL_EXCEPTIONS: u8 = 0x1c;

/// The pages, in the order in which MODE SENSE gives them.
const PAGES: &[Page] = &[
    Page { code: CACHING, subpage: 0, body: &[0; 18], settings: &[Setting::WriteCache] },
    Page {
        code: CONTROL,
        subpage: 0,
        // TST 1: each nexus has a task set of its own. QUEUE ALGORITHM MODIFIER 1: tasks may be reordered. BUSY TIMEOUT PERIOD FFFFh: no limit.
        body: &[0x20, 0x10, 0, 0, 0, 0, 0xff, 0xff, 0, 0],
        settings: &[Setting::DescriptorSense, Setting::QueueError, Setting::SoftwareWriteProtect],
    },
    Page {
        code: CONTROL_EXTENSION.0,
        subpage: CONTROL_EXTENSION.1,
        // TCMOS and SCSIP: the owner of the device sets its clock, and SET TIMESTAMP goes before that.
        body: &[0x06, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        settings: &[],
    },
    Page {
        code: INFORMATIONAL_EXCEPTIONS,
        subpage: 0,
        body: &[0; 10],
        settings: &[Setting::ExceptionsDisabled, Setting::ExceptionTest, Setting::ExceptionMethod],
    },
];

/// The page of those codes.
fn find(code: u8, subpage: u8) -> Option<&'static Page> {
    PAGES.iter().find(|page| (page.code, page.subpage) == (code, subpage))
}

/// Which values MODE SENSE is to give (PC, SPC-5 6.14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageValues {
    Settings(ModeSettings),
    Changeable,
}

/// PS, in a page's first byte: it can be saved.
const SAVABLE: u8 = 0x80;
/// SPF, beside it: the page has a subpage code.
const SUBPAGE_FORMAT: u8 = 0x40;

impl Page {
    fn encode(&self, values: PageValues, savable: bool, to: &mut Vec<u8>) {
        let start = to.len();
        let first = self.code | if savable && !self.settings.is_empty() { SAVABLE } else { 0 };
        match self.subpage {
            0 => to.extend([first, self.body.len() as u8]),
            subpage => {
                to.extend([first | SUBPAGE_FORMAT, subpage]);
                to.extend((self.body.len() as u16).to_be_bytes());
            }
        }
        match values {
            PageValues::Settings(_) => to.extend(self.body),
            PageValues::Changeable => to.resize(to.len() + self.body.len(), 0),
        }
        for setting in self.settings {
            let value = match values {
                PageValues::Settings(settings) => settings.get(*setting),
                PageValues::Changeable => u64::MAX,
            };
            setting.field().place.put(&mut to[start..], value);
        }
    }
}

/// Why MODE SENSE cannot give a page: which field of the CDB is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoSuchPage {
    Code,
    Subpage,
}

/// The pages that MODE SENSE asks for, one after the other.
pub(crate) fn encode_pages(code: u8, subpage: u8, values: PageValues, savable: bool) -> Result<Vec<u8>, NoSuchPage> {
    let has_code = |page: &Page| code == ALL_PAGES || page.code == code;
    let matches = |page: &&Page| has_code(page) && (subpage == ALL_SUBPAGES || page.subpage == subpage);
    if !PAGES.iter().any(has_code) {
        return Err(NoSuchPage::Code);
    }
    // All pages of one subpage code is none that SPC-5 table 263 has.
    let is_wrong =
        code == ALL_PAGES && !matches!(subpage, 0 | ALL_SUBPAGES) || !PAGES.iter().any(|page| matches(&page));
    if is_wrong {
        return Err(NoSuchPage::Subpage);
    }
    let mut bytes = Vec::new();
    PAGES.iter().filter(matches).for_each(|page| page.encode(values, savable, &mut bytes));
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_as_spc_and_sbc_draw_them() {
        let settings = ModeSettings {
            software_write_protect: true,
            descriptor_sense: true,
            queue_error: 3,
            exception_test: true,
            ..ModeSettings::new(true)
        };
        let caching = encode_pages(CACHING, 0, PageValues::Settings(settings), true).unwrap();
        assert_eq!(caching[..4], [0x88, 0x12, 0x04, 0]);
        assert_eq!(caching.len(), 20);
        let control = encode_pages(CONTROL, 0, PageValues::Settings(settings), true).unwrap();
        assert_eq!(control, [0x8a, 0x0a, 0x24, 0x16, 0x08, 0, 0, 0, 0xff, 0xff, 0, 0]);
        let changeable = encode_pages(CONTROL, 0, PageValues::Changeable, false).unwrap();
        assert_eq!(changeable, [0x0a, 0x0a, 0x04, 0x06, 0x08, 0, 0, 0, 0, 0, 0, 0]);
        let exceptions = encode_pages(INFORMATIONAL_EXCEPTIONS, 0, PageValues::Settings(settings), true).unwrap();
        assert_eq!(exceptions, [0x9c, 0x0a, 0x04, 0x06, 0, 0, 0, 0, 0, 0, 0, 0]);
        let extension = encode_pages(CONTROL, 1, PageValues::Settings(settings), true).unwrap();
        assert_eq!(extension[..6], [0x4a, 0x01, 0, 0x1c, 0x06, 0]);
        assert_eq!(encode_pages(ALL_PAGES, 0, PageValues::Changeable, true).unwrap().len(), 20 + 12 + 12);
        assert_eq!(
            encode_pages(ALL_PAGES, ALL_SUBPAGES, PageValues::Changeable, true).unwrap().len(),
            20 + 12 + 32 + 12
        );
        assert_eq!(encode_pages(CONTROL, ALL_SUBPAGES, PageValues::Changeable, true).unwrap().len(), 12 + 32);
    }

    #[test]
    fn no_page_is_told_from_no_subpage() {
        assert_eq!(encode_pages(0x02, 0, PageValues::Changeable, true), Err(NoSuchPage::Code));
        assert_eq!(encode_pages(CACHING, 1, PageValues::Changeable, true), Err(NoSuchPage::Subpage));
        assert_eq!(encode_pages(ALL_PAGES, 1, PageValues::Changeable, true), Err(NoSuchPage::Subpage));
    }
}
