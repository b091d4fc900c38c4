//! The operational stage, the target's end (RFC 7143 section 6.3.3).

use crate::keys::End;
use crate::login_text::{Breach, Name, Pair};
use crate::negotiation::{Negotiation, answer_unknown};
use crate::{Limits, Parameters, SessionType};
use bytes::BytesMut;

/// Negotiates until the initiator is done and nothing is open.
#[derive(Debug)]
pub(super) struct Operational {
    negotiation: Negotiation,
    has_declared: bool,
    offer: Offer,
}

/// How far we are with what we have to offer ourselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offer {
    /// The initiator may yet offer it.
    NotYet,
    /// Offered; the initiator has not had its turn since.
    Open,
    /// The initiator has had its turn, or there is nothing to offer.
    Done,
}

impl Operational {
    pub(super) fn new(session_type: SessionType, leading: bool, limits: Limits) -> Self {
        let negotiation = Negotiation::new(End::Target, session_type, leading, limits);
        Self { negotiation, has_declared: false, offer: Offer::NotYet }
    }

    /// Takes a text of the initiator, and answers it.
    pub(super) fn handle(&mut self, pairs: &[Pair], answers: &mut BytesMut) -> Result<(), Breach> {
        if self.offer == Offer::Open {
            self.offer = Offer::Done;
        }
        if !self.has_declared {
            self.has_declared = true;
            self.negotiation.declare(answers);
        }
        for pair in pairs {
            match &pair.key {
                Name::Known(key) => self.negotiation.handle(*key, &pair.value, answers)?,
                Name::Unknown(name) => answer_unknown(name, answers),
            }
        }
        Ok(())
    }

    // RFC 7143 11.13.6-1: what still wants an answer keeps us in the stage.
    /// The initiator wants to leave the stage. Whether it may now; if not, what we cannot leave at its default is offered.
    pub(super) fn may_end(&mut self, text: &mut BytesMut) -> bool {
        if self.offer == Offer::NotYet {
            self.offer = if self.negotiation.offer_what_binds(text) { Offer::Open } else { Offer::Done };
        }
        self.offer == Offer::Done
    }

    /// Whether the session could begin with all defaults, without this stage.
    pub(super) fn may_be_skipped(&self) -> bool {
        !self.negotiation.clone().offer_what_binds(&mut BytesMut::new())
    }

    /// What was agreed upon.
    pub(super) fn conclude(self) -> Result<Parameters, Breach> {
        self.negotiation.conclude()
    }
}
