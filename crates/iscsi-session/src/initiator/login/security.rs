//! The security stage, the initiator's end: AuthMethod and CHAP (RFC 7143 sections 6.3.2, 9.2.1 and 12.1).
//!
//! Invariant: where the target has to prove itself, the stage does not end before it has.

use crate::chap::{self, Challenge, Randomness};
use crate::keys::{Key, parse_number};
use crate::login_text::{Breach, Name, Pair};
use crate::negotiation::answer_unknown;
use crate::security_keys::StepKeys;
use crate::{Authentication, ChapAlgorithm, Credential, Violation};
use bytes::BytesMut;
use iscsi_pdu::text;

/// The security stage of one login.
#[derive(Debug)]
pub(super) struct Security {
    /// Who we are.
    initiator: Credential,
    /// Whom the target must prove to be, if it must.
    target: Option<Credential>,
    algorithms: Vec<ChapAlgorithm>,
    randomness: Randomness,
    step: Step,
}

/// What the target has to send next.
#[derive(Clone, Debug)]
enum Step {
    /// Its choice of our methods.
    ExpectMethod,
    /// Its choice of our algorithms, and its challenge.
    ExpectChallenge,
    /// Its proof, in answer to our challenge.
    ExpectProof { algorithm: ChapAlgorithm, challenge: Challenge },
    /// Its consent to go on; with our proof, if we gave it.
    Done { authenticated: bool },
}

impl Security {
    /// Offers CHAP, if it is what we are to use.
    pub(super) fn begin(authentication: &Authentication, randomness: Randomness, text: &mut BytesMut) -> Option<Self> {
        let Authentication::Chap { initiator, target, algorithms, .. } = authentication else { return None };
        let security = Self {
            initiator: initiator.first()?.clone(),
            target: target.clone(),
            algorithms: algorithms.clone(),
            randomness,
            step: Step::ExpectMethod,
        };
        let methods = if security.may_be_skipped() { "CHAP,None" } else { "CHAP" };
        text::push(text, Key::AuthMethod.row().name, methods);
        Some(security)
    }

    /// Whether we log in to a target that does not ask who we are. Not so if it has to prove who it is.
    fn may_be_skipped(&self) -> bool {
        self.target.is_none()
    }

    /// Whether we propose to leave the stage.
    pub(super) fn may_end(&self) -> bool {
        match self.step {
            Step::ExpectMethod => self.may_be_skipped(),
            Step::ExpectChallenge => false,
            Step::ExpectProof { .. } | Step::Done { .. } => true,
        }
    }

    /// The target has ended the stage. The name that we have proven, if it wanted to know it.
    pub(super) fn end(self) -> Result<Option<String>, Violation> {
        match self.step {
            Step::Done { authenticated } => Ok(authenticated.then_some(self.initiator.name)),
            Step::ExpectMethod if self.may_be_skipped() => Ok(None),
            Step::ExpectProof { .. } => Err(Violation::TargetProofMissing),
            Step::ExpectMethod | Step::ExpectChallenge => Err(Violation::StageTransition),
        }
    }

    /// Takes a text of the target, and answers it.
    pub(super) fn handle(&mut self, pairs: &[Pair], answers: &mut BytesMut) -> Result<(), Breach> {
        for pair in pairs {
            if let Name::Unknown(name) = &pair.key {
                answer_unknown(name, answers);
            }
        }
        let keys = StepKeys(pairs);
        self.step = match self.step.clone() {
            Step::ExpectMethod => self.take_method(keys.only(&[Key::AuthMethod])?, answers)?,
            Step::ExpectChallenge => self.prove(keys, answers)?,
            Step::ExpectProof { algorithm, challenge } => self.verify(keys, algorithm, challenge)?,
            done @ Step::Done { .. } => keys.only(&[]).map(|_| done)?,
        };
        Ok(())
    }

    // RFC 7143 12.1-1, 12.1.3-1: our algorithms go as soon as the target has chosen CHAP.
    fn take_method(&self, keys: StepKeys<'_>, answers: &mut BytesMut) -> Result<Step, Breach> {
        match keys.find(Key::AuthMethod) {
            Some("CHAP") => {
                let numbers: Vec<String> =
                    self.algorithms.iter().map(|algorithm| algorithm.number().to_string()).collect();
                text::push(answers, Key::ChapAlgorithms.row().name, &numbers.join(","));
                Ok(Step::ExpectChallenge)
            }
            Some("None") if self.may_be_skipped() => Ok(Step::Done { authenticated: false }),
            Some("Reject") => Err(Violation::NoCommonMethod.by(Key::AuthMethod)),
            Some(_) => Err(Violation::SecurityKeyOutOfStep.by(Key::AuthMethod)),
            // The target has not chosen yet, or leaves the stage without.
            None => Ok(Step::ExpectMethod),
        }
    }

    /// RFC 7143 12.1.3-3: our proof, and the challenge to the target if it has to prove itself.
    fn prove(&self, keys: StepKeys<'_>, answers: &mut BytesMut) -> Result<Step, Breach> {
        let keys = keys.only(&[Key::ChapAlgorithms, Key::ChapIdentifier, Key::ChapChallenge])?;
        let number = parse_number(keys.required(Key::ChapAlgorithms)?);
        let algorithm = number
            .and_then(ChapAlgorithm::from_number)
            .filter(|algorithm| self.algorithms.contains(algorithm))
            .ok_or(Violation::NoCommonMethod.by(Key::ChapAlgorithms))?;
        let asked = keys.challenge()?.ok_or(Violation::MissingSecurityKey.by(Key::ChapChallenge))?;
        let Credential { name, secret } = &self.initiator;
        text::push(answers, Key::ChapName.row().name, name);
        text::push(answers, Key::ChapResponse.row().name, &text::hex(&asked.response(algorithm, secret)));
        if self.target.is_none() {
            return Ok(Step::Done { authenticated: true });
        }
        let challenge = self.randomness.challenge();
        // RFC 7143 9.2.1: nobody is asked what it has asked itself.
        if chap::same(&challenge.bytes, &asked.bytes) {
            return Err(Violation::ChallengeReflected.into());
        }
        challenge.push(answers);
        Ok(Step::ExpectProof { algorithm, challenge })
    }

    // RFC 7143 12.1.3-6: a target that fails ends the login.
    fn verify(&self, keys: StepKeys<'_>, algorithm: ChapAlgorithm, challenge: Challenge) -> Result<Step, Breach> {
        let keys = keys.only(&[Key::ChapName, Key::ChapResponse])?;
        if keys.find(Key::ChapName).is_none() && keys.find(Key::ChapResponse).is_none() {
            // Not yet; if the target ends the stage now, it is told so in `end`.
            return Ok(Step::ExpectProof { algorithm, challenge });
        }
        let (name, proof) = (keys.required(Key::ChapName)?, keys.required(Key::ChapResponse)?);
        let proof = chap::decode_binary(proof).ok_or(Violation::SecurityKeyOutOfStep.by(Key::ChapResponse))?;
        // RFC 7143 9.2.1: the same secret in both directions, or our own proof played back.
        if chap::same(&challenge.response(algorithm, &self.initiator.secret), &proof) {
            return Err(Violation::SecretInBothDirections.into());
        }
        let expected = self.target.as_ref().ok_or(Violation::NotAuthenticated)?;
        if !chap::same(&challenge.response(algorithm, &expected.secret), &proof) || expected.name != name {
            return Err(Violation::NotAuthenticated.into());
        }
        Ok(Step::Done { authenticated: true })
    }
}
