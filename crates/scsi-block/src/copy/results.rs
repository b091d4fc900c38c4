//! What a unit remembers of the copies that it manages: those under way, and the last ones that have ended, by nexus and list identifier.
//!
//! In: the begin and the end of copies. Out: what RECEIVE COPY STATUS and its like tell. A copy whose task was ended by task management is
//! forgotten with it: nobody else holds its [`Operation`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};

use super::reports::{CopyState, CopyStatus};
use super::{COPIES_MAX, RodToken};
use crate::sense::{AdditionalSense, Sense};
use crate::unit::NexusId;

/// Copies of one nexus that are remembered after their end.
const ENDED_MAX: usize = 32;

/// A copy as its job and its unit see it.
#[derive(Debug, Default)]
pub(crate) struct Operation {
    /// Bytes that were written.
    pub(crate) bytes: AtomicU64,
    /// Segments that are done.
    pub(crate) segments: AtomicU16,
    aborted: AtomicBool,
}

impl Operation {
    /// So many bytes are done.
    pub(crate) fn handle_done(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The job is to end at its next step.
    pub(crate) fn abort(&self) {
        self.aborted.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::Relaxed)
    }
}

/// Who has asked for a copy, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) nexus: NexusId,
    /// A copy without one is counted, and cannot be asked for.
    pub(crate) list_identifier: Option<u32>,
    /// Service action of THIRD-PARTY COPY OUT.
    pub(crate) service_action: u8,
}

#[derive(Debug)]
struct Copy {
    origin: Origin,
    operation: Arc<Operation>,
    /// How it has ended, if it has.
    ended: Option<Result<(), Sense>>,
    /// The token that was made.
    token: Option<RodToken>,
}

impl Copy {
    /// Whether a job carries it out.
    fn is_under_way(&self) -> bool {
        self.ended.is_none() && Arc::strong_count(&self.operation) > 1
    }

    fn is_asked_for_by(&self, nexus: NexusId, list_identifier: u32) -> bool {
        self.origin.nexus == nexus && self.origin.list_identifier == Some(list_identifier)
    }

    fn status(&self) -> CopyStatus {
        let state = match &self.ended {
            None => CopyState::InProgress,
            Some(Ok(())) => CopyState::Completed,
            Some(Err(_)) if self.operation.is_aborted() => CopyState::Terminated,
            Some(Err(_)) => CopyState::Failed,
        };
        CopyStatus {
            service_action: self.origin.service_action,
            state,
            bytes: self.operation.bytes.load(Ordering::Relaxed),
            segments: self.operation.segments.load(Ordering::Relaxed),
            sense: self.ended.and_then(Result::err),
        }
    }
}

/// Why a copy cannot begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Busy {
    /// The nexus has one under way with the same list identifier.
    IdentifierInUse,
    /// The unit manages as many as it can.
    TooMany,
}

impl From<Busy> for Sense {
    fn from(busy: Busy) -> Self {
        Self::illegal(match busy {
            Busy::IdentifierInUse => AdditionalSense::OPERATION_IN_PROGRESS,
            Busy::TooMany => AdditionalSense::INSUFFICIENT_RESOURCES,
        })
    }
}

/// The copies of one unit, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Copies(Vec<Copy>);

impl Copies {
    /// A copy begins. One of the same identifier that has ended is forgotten.
    pub(crate) fn begin(&mut self, origin: Origin) -> Result<Arc<Operation>, Busy> {
        self.0.retain(|copy| copy.ended.is_some() || copy.is_under_way());
        let same = |copy: &Copy| origin.list_identifier.is_some_and(|id| copy.is_asked_for_by(origin.nexus, id));
        if self.0.iter().any(|copy| same(copy) && copy.is_under_way()) {
            return Err(Busy::IdentifierInUse);
        }
        if self.0.iter().filter(|copy| copy.is_under_way()).count() >= COPIES_MAX {
            return Err(Busy::TooMany);
        }
        self.0.retain(|copy| !same(copy));
        let operation = Arc::new(Operation::default());
        self.0.push(Copy { origin, operation: Arc::clone(&operation), ended: None, token: None });
        Ok(operation)
    }

    /// A copy has ended. Of each nexus the last are remembered.
    pub(crate) fn end(&mut self, operation: &Arc<Operation>, end: Result<(), Sense>) {
        let Some(place) = self.0.iter().position(|copy| Arc::ptr_eq(&copy.operation, operation)) else { return };
        let Origin { nexus, list_identifier, .. } = self.0[place].origin;
        if list_identifier.is_none() {
            self.0.remove(place);
            return;
        }
        self.0[place].ended = Some(end);
        let ended = |copy: &Copy| copy.origin.nexus == nexus && copy.ended.is_some();
        if self.0.iter().filter(|copy| ended(copy)).count() > ENDED_MAX
            && let Some(oldest) = self.0.iter().position(ended)
        {
            self.0.remove(oldest);
        }
    }

    fn find(&self, nexus: NexusId, list_identifier: u32) -> Option<&Copy> {
        let found = self.0.iter().find(|copy| copy.is_asked_for_by(nexus, list_identifier))?;
        (found.ended.is_some() || found.is_under_way()).then_some(found)
    }

    /// How it stands with a copy.
    pub(crate) fn status(&self, nexus: NexusId, list_identifier: u32) -> Option<CopyStatus> {
        self.find(nexus, list_identifier).map(Copy::status)
    }

    /// A token was made.
    pub(crate) fn keep_token(&mut self, operation: &Arc<Operation>, token: RodToken) {
        if let Some(copy) = self.0.iter_mut().find(|copy| Arc::ptr_eq(&copy.operation, operation)) {
            copy.token = Some(token);
        }
    }

    /// The token that a command has made.
    pub(crate) fn token(&self, nexus: NexusId, list_identifier: u32) -> Option<RodToken> {
        self.find(nexus, list_identifier)?.token.clone()
    }

    /// Asks a copy to end. `false` if none of that identifier is under way.
    pub(crate) fn abort(&self, nexus: NexusId, list_identifier: u32) -> bool {
        let found = self.find(nexus, list_identifier).filter(|copy| copy.is_under_way());
        found.inspect(|copy| copy.operation.abort()).is_some()
    }

    /// A nexus is lost, and what it could ask for with it.
    pub(crate) fn forget(&mut self, nexus: NexusId) {
        self.0.retain(|copy| copy.origin.nexus != nexus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sense::SenseKey;

    const NEXUS: NexusId = NexusId(1);

    fn origin(list_identifier: Option<u32>) -> Origin {
        Origin { nexus: NEXUS, list_identifier, service_action: 0 }
    }

    #[test]
    fn an_identifier_is_in_use_until_its_copy_ends() {
        let mut copies = Copies::default();
        let operation = copies.begin(origin(Some(7))).unwrap();
        assert_eq!(copies.begin(origin(Some(7))).unwrap_err(), Busy::IdentifierInUse);
        let of_another = copies.begin(Origin { nexus: NexusId(2), ..origin(Some(7)) }).unwrap();
        assert!(!Arc::ptr_eq(&of_another, &operation), "an identifier is of one nexus");
        assert_eq!(copies.status(NEXUS, 7).unwrap().state, CopyState::InProgress);
        copies.end(&operation, Ok(()));
        assert_eq!(copies.status(NEXUS, 7).unwrap().state, CopyState::Completed);
        let _again = copies.begin(origin(Some(7))).unwrap();
        assert_eq!(copies.status(NEXUS, 7).unwrap().state, CopyState::InProgress);
    }

    #[test]
    fn a_copy_whose_task_is_gone_is_forgotten() {
        let mut copies = Copies::default();
        drop(copies.begin(origin(Some(7))).unwrap());
        assert_eq!(copies.status(NEXUS, 7), None);
        assert!(!copies.abort(NEXUS, 7));
        let _again = copies.begin(origin(Some(7))).unwrap();
        assert_eq!(copies.status(NEXUS, 7).unwrap().state, CopyState::InProgress);
    }

    #[test]
    fn one_that_was_aborted_has_been_terminated() {
        let mut copies = Copies::default();
        let operation = copies.begin(origin(Some(7))).unwrap();
        assert!(copies.abort(NEXUS, 7) && operation.is_aborted());
        copies.end(&operation, Err(Sense::new(SenseKey::CopyAborted, AdditionalSense::NONE)));
        assert_eq!(copies.status(NEXUS, 7).unwrap().state, CopyState::Terminated);
        assert!(!copies.abort(NEXUS, 7), "it has ended");
    }

    #[test]
    fn there_are_only_so_many() {
        let mut copies = Copies::default();
        let held: Vec<_> = (0..COPIES_MAX).map(|_| copies.begin(origin(None)).unwrap()).collect();
        assert_eq!(copies.begin(origin(None)).unwrap_err(), Busy::TooMany);
        drop(held);
        for id in 0..1000 {
            let operation = copies.begin(origin(Some(id))).unwrap();
            copies.end(&operation, Ok(()));
        }
        assert_eq!(copies.0.len(), ENDED_MAX);
        assert_eq!(copies.status(NEXUS, 0), None);
        assert_eq!(copies.status(NEXUS, 999).unwrap().state, CopyState::Completed);
        copies.forget(NEXUS);
        assert!(copies.0.is_empty());
    }
}
