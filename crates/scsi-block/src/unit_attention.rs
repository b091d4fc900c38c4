//! Unit attention conditions of one I_T nexus at one logical unit (SAM-5 5.14).
//!
//! In: conditions as they arise. Out: the oldest that is still worth telling. The queue holds each condition once, so
//! its length is bounded by the number of conditions that this crate raises.

use smallvec::SmallVec;

use crate::sense::AdditionalSense;

/// What is to be told, oldest first.
#[derive(Debug, Default)]
pub(crate) struct UnitAttentions(SmallVec<[AdditionalSense; 2]>);

impl UnitAttentions {
    /// Notes a condition. A reset makes those before it void.
    pub(crate) fn post(&mut self, condition: AdditionalSense) {
        if condition.is_reset() {
            self.0.clear();
        }
        if !self.0.contains(&condition) {
            self.0.push(condition);
        }
    }

    /// Whether a condition waits to be reported.
    pub(crate) fn any(&self) -> bool {
        !self.0.is_empty()
    }

    /// Takes the oldest condition.
    pub(crate) fn take(&mut self) -> Option<AdditionalSense> {
        (!self.0.is_empty()).then(|| self.0.remove(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_voids_what_was_before_it_but_not_what_follows() {
        let mut attentions = UnitAttentions::default();
        for condition in [
            AdditionalSense::MODE_PARAMETERS_CHANGED,
            AdditionalSense::BUS_DEVICE_RESET,
            AdditionalSense::MODE_PARAMETERS_CHANGED,
            AdditionalSense::MODE_PARAMETERS_CHANGED,
        ] {
            attentions.post(condition);
        }
        assert_eq!(attentions.take(), Some(AdditionalSense::BUS_DEVICE_RESET));
        assert_eq!(attentions.take(), Some(AdditionalSense::MODE_PARAMETERS_CHANGED));
        assert_eq!(attentions.take(), None);
    }
}
