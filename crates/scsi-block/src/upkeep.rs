//! How many units of a device have something that goes on without a task: so that nobody looks for it where there is none.
//!
//! In: the conditions of units, as they change. Out: whether any unit is being wiped, or has tokens.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::unit::Conditions;

/// The counts of one device, which its units keep.
#[derive(Debug, Default)]
pub(crate) struct Upkeep {
    wiping: AtomicUsize,
    with_tokens: AtomicUsize,
}

impl Upkeep {
    /// The conditions of a unit have changed. Those of one that is not there are none.
    pub(crate) fn count(&self, before: Conditions, after: Conditions) {
        for (condition, units) in [(Conditions::WIPING, &self.wiping), (Conditions::TOKENS, &self.with_tokens)] {
            match (before.contains(condition), after.contains(condition)) {
                (false, true) => drop(units.fetch_add(1, Ordering::AcqRel)),
                (true, false) => drop(units.fetch_sub(1, Ordering::AcqRel)),
                _ => {}
            }
        }
    }

    /// Whether a FORMAT UNIT or SANITIZE goes on.
    pub(crate) fn is_wiping(&self) -> bool {
        self.wiping.load(Ordering::Acquire) != 0
    }

    /// Whether there are tokens that end by time.
    pub(crate) fn has_tokens(&self) -> bool {
        self.with_tokens.load(Ordering::Acquire) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_condition_is_counted_for_each_unit_that_has_it() {
        let (none, both) = (Conditions::empty(), Conditions::WIPING | Conditions::TOKENS);
        let upkeep = Upkeep::default();
        upkeep.count(none, Conditions::TOKENS);
        assert!(upkeep.has_tokens() && !upkeep.is_wiping());
        upkeep.count(none, both);
        upkeep.count(Conditions::TOKENS, Conditions::NOT_READY);
        assert!(upkeep.has_tokens() && upkeep.is_wiping());
        upkeep.count(both, none);
        assert!(!upkeep.has_tokens() && !upkeep.is_wiping());
    }
}
