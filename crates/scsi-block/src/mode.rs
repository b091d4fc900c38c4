//! Mode parameters (SPC-5 7.5, SBC-4 6.5): the pages as one table, the values that can be changed, and both
//! commands' parameter data for both ends.
//!
//! A unit keeps [`ModeSettings`]; a page's bytes are made from its row in the table and the settings when asked for.
//! In: settings or bytes. Out: bytes or settings. A MODE SELECT list that is wrong anywhere changes nothing.

mod data;
mod select;

pub(crate) use data::ModeHeader;
pub use data::{BlockDescriptor, ModeData, ModePage};
pub(crate) use select::decode_list;

use crate::octets::Place;

/// The mode parameters that MODE SELECT can change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModeSettings {
    /// WCE, caching page: a write may be GOOD before it would survive a power cut.
    pub write_cache: bool,
    /// SWP, control page: writes are refused.
    pub software_write_protect: bool,
    /// D_SENSE, control page: sense data comes in descriptor format.
    pub descriptor_sense: bool,
}

/// One of the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setting {
    WriteCache,
    SoftwareWriteProtect,
    DescriptorSense,
}

impl ModeSettings {
    fn get(&self, setting: Setting) -> bool {
        match setting {
            Setting::WriteCache => self.write_cache,
            Setting::SoftwareWriteProtect => self.software_write_protect,
            Setting::DescriptorSense => self.descriptor_sense,
        }
    }

    fn set(&mut self, setting: Setting, value: bool) {
        match setting {
            Setting::WriteCache => self.write_cache = value,
            Setting::SoftwareWriteProtect => self.software_write_protect = value,
            Setting::DescriptorSense => self.descriptor_sense = value,
        }
    }

    /// What the pages of a MODE SENSE response say; a setting whose page did not come stays as in `self`.
    #[must_use]
    pub fn updated_from(mut self, pages: &[ModePage]) -> Self {
        for (page, row) in pages.iter().filter_map(|page| Some((page, find(page.code, page.subpage)?))) {
            for (setting, place) in row.settings {
                let place = Place { byte: place.byte - PAGE_HEADER_BYTES as u8, ..*place };
                self.set(*setting, place.get(&page.body) != 0);
            }
        }
        self
    }
}

/// One mode page as a unit has it.
struct Page {
    code: u8,
    /// The bytes after the two of the header, with the settings' bits zero.
    body: &'static [u8],
    /// The bits that can be changed, counted from the page's first byte.
    settings: &'static [(Setting, Place)],
}

const PAGE_HEADER_BYTES: usize = 2;

/// Page code that stands for all pages.
pub const ALL_PAGES: u8 = 0x3f;
/// Subpage code that stands for all subpages.
pub const ALL_SUBPAGES: u8 = 0xff;
/// The caching mode page (SBC-4 6.5.5).
pub const CACHING: u8 = 0x08;
/// The control mode page (SPC-5 7.5.8).
pub const CONTROL: u8 = 0x0a;

const fn bit(byte: u8, bit: u8) -> Place {
    Place { byte, bit, bits: 1 }
}

/// The pages, in the order in which MODE SENSE gives them.
const PAGES: &[Page] = &[
    Page { code: CACHING, body: &[0; 18], settings: &[(Setting::WriteCache, bit(2, 2))] },
    Page {
        code: CONTROL,
        // QUEUE ALGORITHM MODIFIER 1: tasks may be reordered. BUSY TIMEOUT PERIOD FFFFh: no limit.
        body: &[0, 0x10, 0, 0, 0, 0, 0xff, 0xff, 0, 0],
        settings: &[(Setting::DescriptorSense, bit(2, 2)), (Setting::SoftwareWriteProtect, bit(4, 3))],
    },
];

/// The page of that code; there are no subpages yet.
fn find(code: u8, subpage: u8) -> Option<&'static Page> {
    PAGES.iter().find(|page| page.code == code && subpage == 0)
}

/// Which values MODE SENSE is to give (PC, SPC-5 6.14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageValues {
    Settings(ModeSettings),
    Changeable,
}

/// PS, in a page's first byte: it can be saved.
const SAVABLE: u8 = 0x80;

impl Page {
    fn encode(&self, values: PageValues, savable: bool, to: &mut Vec<u8>) {
        let start = to.len();
        let savable = if savable { SAVABLE } else { 0 };
        to.extend([savable | self.code, self.body.len() as u8]);
        match values {
            PageValues::Settings(_) => to.extend(self.body),
            PageValues::Changeable => to.resize(to.len() + self.body.len(), 0),
        }
        for (setting, place) in self.settings {
            let value = match values {
                PageValues::Settings(settings) => settings.get(*setting),
                PageValues::Changeable => true,
            };
            place.put(&mut to[start..], value.into());
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
    let matching = |page: &&Page| code == ALL_PAGES || page.code == code;
    if !PAGES.iter().any(|page| matching(&page)) {
        return Err(NoSuchPage::Code);
    }
    if !matches!(subpage, 0 | ALL_SUBPAGES) {
        return Err(NoSuchPage::Subpage);
    }
    let mut bytes = Vec::new();
    PAGES.iter().filter(matching).for_each(|page| page.encode(values, savable, &mut bytes));
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_as_spc_and_sbc_draw_them() {
        let settings = ModeSettings { write_cache: true, software_write_protect: true, descriptor_sense: true };
        let caching = encode_pages(CACHING, 0, PageValues::Settings(settings), true).unwrap();
        assert_eq!(caching[..4], [0x88, 0x12, 0x04, 0]);
        assert_eq!(caching.len(), 20);
        let control = encode_pages(CONTROL, 0, PageValues::Settings(settings), true).unwrap();
        assert_eq!(control, [0x8a, 0x0a, 0x04, 0x10, 0x08, 0, 0, 0, 0xff, 0xff, 0, 0]);
        let changeable = encode_pages(CONTROL, 0, PageValues::Changeable, false).unwrap();
        assert_eq!(changeable, [0x0a, 0x0a, 0x04, 0, 0x08, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(encode_pages(ALL_PAGES, ALL_SUBPAGES, PageValues::Changeable, true).unwrap().len(), 32);
    }

    #[test]
    fn no_page_is_told_from_no_subpage() {
        assert_eq!(encode_pages(0x02, 0, PageValues::Changeable, true), Err(NoSuchPage::Code));
        assert_eq!(encode_pages(CACHING, 1, PageValues::Changeable, true), Err(NoSuchPage::Subpage));
    }
}
