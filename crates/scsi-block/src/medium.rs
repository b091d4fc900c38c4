//! The state of a unit's medium: whether it is there, spins, may be taken out, and is being wiped.
//!
//! In: what commands and resets do to it. Out: whether the unit is ready, and if not, why. It stands behind the unit's lock; the
//! unit's summary has one bit of it, [`MediumState::not_ready`].

use std::collections::HashSet;

use crate::io::IoError;
use crate::sense::{AdditionalSense, Sense, SenseKey};
use crate::unit::NexusId;
use crate::wipe::{Kind, Progress, Wipe};

/// The medium of one unit.
#[derive(Debug, Default)]
pub(crate) struct MediumState {
    /// START STOP UNIT has stopped the unit.
    pub(crate) stopped: bool,
    /// How often START STOP UNIT has started it, up to the greatest value.
    pub(crate) starts: u32,
    /// How often the medium was put in.
    pub(crate) loads: u32,
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

    /// The unit stops, or starts.
    pub(crate) fn stop(&mut self, stopped: bool) {
        if std::mem::replace(&mut self.stopped, stopped) && !stopped {
            self.starts = self.starts.saturating_add(1);
        }
    }

    /// The medium is there and the unit started. Returns whether it was out before.
    pub(crate) fn load(&mut self) -> bool {
        self.stop(false);
        let was_out = std::mem::take(&mut self.ejected);
        self.loads = self.loads.saturating_add(was_out.into());
        was_out
    }

    /// A medium that is out, stopped or being wiped is not wiped; one whose last SANITIZE has failed is.
    pub(crate) fn may_be_wiped(&self) -> Result<(), Sense> {
        match self.not_ready() {
            Some(sense) if sense.key == SenseKey::NotReady => Err(sense),
            _ => Ok(()),
        }
    }

    /// Begins a wipe, if it may be: of several cores that ask at once, one gets it.
    pub(crate) fn begin_wipe(&mut self, wipe: Wipe) -> Result<(), Sense> {
        self.may_be_wiped()?;
        self.sanitize_failed = None;
        self.wipe = Some(wipe);
        Ok(())
    }

    /// A step has ended, of the wipe that `is_ours` knows. `None` if that is over already.
    pub(crate) fn handle_wiped(
        &mut self,
        done: Result<(), IoError>,
        is_ours: impl FnOnce(&Wipe) -> bool,
    ) -> Option<Progress> {
        let progress = self.wipe.as_mut().filter(|wipe| is_ours(wipe))?.handle_done(done);
        if progress != Progress::Continues {
            self.wipe = None;
        }
        if let Progress::Failed(Kind::Sanitize { unrestricted_exit }) = progress {
            self.sanitize_failed = Some(unrestricted_exit);
        }
        Some(progress)
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
