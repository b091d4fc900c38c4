//! Saved mode parameters as they are kept over a loss of power: the pages as MODE SENSE gives them, behind the version of the form.

use super::{ALL_PAGES, ALL_SUBPAGES, ModePage, ModeSettings, PageValues, encode_pages};
use crate::reservations::UnknownForm;

/// Version of the form, its first byte.
const VERSION: u8 = 1;
/// The name of the record that saved mode parameters are kept in.
pub(crate) const RECORD: &str = "modes";

impl ModeSettings {
    /// What is to be kept.
    pub(crate) fn to_kept(self) -> Vec<u8> {
        let pages = encode_pages(ALL_PAGES, ALL_SUBPAGES, PageValues::Settings(self), false);
        [vec![VERSION], pages.expect("there are pages")].concat()
    }

    /// What was kept, and of all else the default; the default alone if nothing ever was.
    pub(crate) fn from_kept(bytes: &[u8], default: Self) -> Result<Self, UnknownForm> {
        let mut pages = match bytes {
            [] => return Ok(default),
            [VERSION, pages @ ..] => pages,
            _ => return Err(UnknownForm(RECORD)),
        };
        let mut found = Vec::new();
        while !pages.is_empty() {
            let (page, rest) = ModePage::decode(pages).ok_or(UnknownForm(RECORD))?;
            found.push(page);
            pages = rest;
        }
        Ok(default.updated_from(&found))
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
        assert_eq!(ModeSettings::from_kept(&kept, default), Ok(saved));
        assert_eq!(ModeSettings::from_kept(&[], default), Ok(default));
        let caching_alone = &kept[..1 + 20];
        assert_eq!(ModeSettings::from_kept(caching_alone, default), Ok(ModeSettings::new(false)));
    }

    #[test]
    fn another_form_is_none() {
        let default = ModeSettings::new(true);
        let mut kept = default.to_kept();
        assert_eq!(ModeSettings::from_kept(&kept[..kept.len() - 1], default), Err(UnknownForm(RECORD)));
        kept[0] = 2;
        assert_eq!(ModeSettings::from_kept(&kept, default), Err(UnknownForm(RECORD)));
    }
}
