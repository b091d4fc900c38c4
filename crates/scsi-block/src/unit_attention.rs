//! Unit attention conditions of one I_T nexus at one logical unit (SAM-5 5.14).
//!
//! In: conditions as they arise. Out: the one that goes before the others, of equals the oldest. The queue holds each condition once, so
//! its length is bounded by the number of conditions that this crate raises.

use smallvec::SmallVec;

use crate::asynchronous_event::{AsynchronousEvent, EventDepth};
use crate::sense::{AdditionalSense, SenseKey};

/// What is to be told, in the order in which it came.
#[derive(Debug, Default)]
pub(crate) struct UnitAttentions(SmallVec<[AdditionalSense; 2]>);

/// Which condition goes before which (SAM-5 table 49); the least goes first.
fn rank(condition: AdditionalSense) -> u8 {
    match condition {
        AdditionalSense::POWER_ON | AdditionalSense::POWER_ON_OR_RESET => 0,
        AdditionalSense::SCSI_BUS_RESET | AdditionalSense::MICROCODE_HAS_BEEN_CHANGED => 1,
        AdditionalSense::BUS_DEVICE_RESET => 2,
        AdditionalSense::I_T_NEXUS_LOSS => 3,
        _ => 4,
    }
}

impl UnitAttentions {
    /// Notes a condition. A reset or the loss of the nexus makes void what goes no further before it.
    pub(crate) fn post(&mut self, condition: AdditionalSense) {
        if condition.is_reset() {
            self.0.retain(|other| rank(*other) < rank(condition));
        }
        if !self.0.contains(&condition) {
            self.0.push(condition);
        }
    }

    /// Whether a condition waits to be reported.
    pub(crate) fn any(&self) -> bool {
        !self.0.is_empty()
    }

    /// What waits: the condition that is to be told next, and whether there are more.
    pub(crate) fn pending(&self) -> Option<AsynchronousEvent> {
        let depth = if self.0.len() > 1 { EventDepth::Several } else { EventDepth::One };
        let additional = self.0[self.next()?];
        Some(AsynchronousEvent { depth, key: SenseKey::UnitAttention, additional })
    }

    /// The condition is not worth telling any more.
    pub(crate) fn clear(&mut self, condition: AdditionalSense) {
        self.0.retain(|other| *other != condition);
    }

    /// Takes the condition that is to be told next.
    pub(crate) fn take(&mut self) -> Option<AdditionalSense> {
        let next = self.next()?;
        Some(self.0.remove(next))
    }

    /// The place of the condition that is to be told next.
    fn next(&self) -> Option<usize> {
        (0..self.0.len()).min_by_key(|at| rank(self.0[*at]))
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

    #[test]
    fn what_goes_before_others_is_told_first() {
        let mut attentions = UnitAttentions::default();
        for condition in [
            AdditionalSense::POWER_ON_OR_RESET,
            AdditionalSense::I_T_NEXUS_LOSS,
            AdditionalSense::CAPACITY_DATA_HAS_CHANGED,
            AdditionalSense::MODE_PARAMETERS_CHANGED,
            AdditionalSense::MICROCODE_HAS_BEEN_CHANGED,
        ] {
            attentions.post(condition);
        }
        attentions.clear(AdditionalSense::MODE_PARAMETERS_CHANGED);
        let told: Vec<AdditionalSense> = std::iter::from_fn(|| attentions.take()).collect();
        let expected = [
            AdditionalSense::POWER_ON_OR_RESET,
            AdditionalSense::MICROCODE_HAS_BEEN_CHANGED,
            AdditionalSense::I_T_NEXUS_LOSS,
            AdditionalSense::CAPACITY_DATA_HAS_CHANGED,
        ];
        assert_eq!(told, expected);
    }
}
