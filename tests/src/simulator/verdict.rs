//! What was found wrong, by whoever found it first.

use std::cell::RefCell;
use std::rc::Rc;

/// The first thing that was found wrong in a run; clones are the same verdict.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict(Rc<RefCell<Option<String>>>);

impl Verdict {
    /// Something is wrong; what was found before stays.
    pub(crate) fn fail(&self, text: impl Into<String>) {
        self.0.borrow_mut().get_or_insert_with(|| text.into());
    }

    /// Something is wrong unless `holds`.
    pub(crate) fn check(&self, holds: bool, text: impl FnOnce() -> String) {
        if !holds {
            self.fail(text());
        }
    }

    pub(crate) fn found(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.0.borrow().is_some()
    }
}
