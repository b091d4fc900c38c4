//! Saved mode parameters as they are kept over a loss of power: the pages as MODE SENSE gives them, behind the version of the form.

use super::{ALL_PAGES, ALL_SUBPAGES, ModePage, ModeSettings, PageValues, encode_pages};

/// Version of the form, its first byte.
const VERSION: u8 = 1;

impl ModeSettings {
    /// What is to be kept.
    pub(crate) fn to_kept(self) -> Vec<u8> {
        let pages = encode_pages(ALL_PAGES, ALL_SUBPAGES, PageValues::Settings(self), false);
        [vec![VERSION], pages.expect("there are pages")].concat()
    }

    /// What was kept, and of all else the default; the default alone if nothing ever was. `None` of what is in no form that is known here.
    pub(crate) fn from_kept(bytes: &[u8], default: Self) -> Option<Self> {
        let mut pages = match bytes {
            [] => return Some(default),
            [VERSION, pages @ ..] => pages,
            _ => return None,
        };
        let mut found = Vec::new();
        while !pages.is_empty() {
            let (page, rest) = ModePage::decode(pages)?;
            found.push(page);
            pages = rest;
        }
        Some(default.updated_from(&found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_a_page_that_was_not_has_its_default() {
        let default = ModeSettings::new(true);
        let saved = ModeSettings { queue_error: 3, exception_method: 2, ..ModeSettings::new(false) };
        let kept = saved.to_kept();
        assert_eq!(ModeSettings::from_kept(&kept, default), Some(saved));
        assert_eq!(ModeSettings::from_kept(&[], default), Some(default));
        let caching_alone = &kept[..1 + 20];
        assert_eq!(ModeSettings::from_kept(caching_alone, default), Some(ModeSettings::new(false)));
    }

    #[test]
    fn another_form_is_none() {
        let default = ModeSettings::new(true);
        let mut kept = default.to_kept();
        assert_eq!(ModeSettings::from_kept(&kept[..kept.len() - 1], default), None);
        kept[0] = 2;
        assert_eq!(ModeSettings::from_kept(&kept, default), None);
    }
}
