//! The state of a unit's medium: whether it is there, spins, may be taken out, and is being wiped.
//!
//! In: what commands and resets do to it. Out: whether the unit is ready, and if not, why. It stands behind the unit's lock; the
//! unit's summary has one bit of it, [`MediumState::not_ready`].

use std::collections::HashSet;

use crate::sense::{AdditionalSense, Sense, SenseKey};
use crate::unit::NexusId;
use crate::wipe::Wipe;

/// The medium of one unit.
#[derive(Debug, Default)]
pub(crate) struct MediumState {
    /// START STOP UNIT has stopped the unit.
    pub(crate) stopped: bool,
    /// The medium was taken out.
    pub(crate) ejected: bool,
    /// Who has asked that the medium is not taken out (SBC-4 5.15).
    pub(crate) preventing: HashSet<NexusId>,
    /// A FORMAT UNIT or SANITIZE goes on.
    pub(crate) wipe: Option<Wipe>,
    /// A SANITIZE has failed; whether EXIT FAILURE MODE may end that (AUSE).
    pub(crate) sanitize_failed: Option<bool>,
}

impl MediumState {
    /// How far a wipe is, if one goes on.
    pub(crate) fn wiping(&self) -> Option<Sense> {
        let wipe = self.wipe.as_ref()?;
        Some(Sense::new(SenseKey::NotReady, wipe.kind.in_progress()).with_progress(wipe.progress()))
    }

    /// Why commands that need the medium are refused, if they are.
    pub(crate) fn not_ready(&self) -> Option<Sense> {
        let not_ready = |code| Some(Sense::new(SenseKey::NotReady, code));
        if let Some(wiping) = self.wiping() {
            return Some(wiping);
        }
        if self.sanitize_failed.is_some() {
            return Some(Sense::new(SenseKey::MediumError, AdditionalSense::SANITIZE_COMMAND_FAILED));
        }
        match (self.ejected, self.stopped) {
            (true, _) => not_ready(AdditionalSense::MEDIUM_NOT_PRESENT),
            (_, true) => not_ready(AdditionalSense::INITIALIZING_COMMAND_REQUIRED),
            _ => None,
        }
    }

    /// A nexus is lost: it prevents nothing any more.
    pub(crate) fn forget(&mut self, nexus: NexusId) {
        self.preventing.remove(&nexus);
    }

    /// A reset of the unit. What is being wiped goes on being wiped (SBC-4 4.11.2), and what is out stays out.
    pub(crate) fn reset(&mut self) {
        self.stopped = false;
        self.preventing.clear();
    }
}
