//! The security stage, the target's end: AuthMethod and CHAP (RFC 7143 sections 6.3.2, 9.2.1 and 12.1).
//!
//! In: the pairs of one text. Out: answers, and the next step, which is a value of its own. Invariants: an initiator that has to prove
//! itself does not leave the stage before it has; a wrong name and a wrong secret get the same answer for the same work.

use crate::chap::{self, Challenge, Randomness};
use crate::keys::{Key, parse_number};
use crate::login_text::{Breach, Name, Pair};
use crate::negotiation::answer_unknown;
use crate::security_keys::StepKeys;
use crate::{Authentication, ChapAlgorithm, Credential, Violation};
use bytes::BytesMut;
use iscsi_pdu::text;

const NONE: &str = "None";
const CHAP: &str = "CHAP";

/// The security stage of one login.
#[derive(Debug)]
pub(super) struct Security {
    authentication: Authentication,
    randomness: Randomness,
    step: Step,
}

/// What the initiator has to send next.
#[derive(Clone, Debug)]
enum Step {
    /// Its list of methods.
    ExpectMethod,
    /// Its answer to our list of methods, which is CHAP, and with it the first step of CHAP.
    ExpectMethodAnswer,
    /// Its list of algorithms.
    ExpectAlgorithms,
    /// Its name and proof.
    ExpectProof { algorithm: ChapAlgorithm, challenge: Challenge },
    /// Nothing but its wish to go on.
    Done { authenticated_as: Option<String> },
}

impl Security {
    pub(super) fn new(authentication: Authentication, randomness: Randomness) -> Self {
        Self { authentication, randomness, step: Step::ExpectMethod }
    }

    /// Whether the initiator may leave the stage: it has proven itself, or need not.
    pub(super) fn may_end(&self) -> bool {
        match self.step {
            Step::Done { .. } => true,
            Step::ExpectMethod => !self.authentication.is_required(),
            _ => false,
        }
    }

    /// The name that the initiator has proven.
    pub(super) fn into_authenticated_as(self) -> Option<String> {
        match self.step {
            Step::Done { authenticated_as } => authenticated_as,
            _ => None,
        }
    }

    /// Takes a text of the initiator, and answers it.
    pub(super) fn handle(&mut self, pairs: &[Pair], answers: &mut BytesMut) -> Result<(), Breach> {
        for pair in pairs {
            if let Name::Unknown(name) = &pair.key {
                answer_unknown(name, answers);
            }
        }
        let keys = StepKeys(pairs);
        self.step = match self.step.clone() {
            Step::ExpectMethod => self.choose_method(keys, answers)?,
            Step::ExpectMethodAnswer => self.take_method_answer(keys, answers)?,
            Step::ExpectAlgorithms => self.challenge(keys.only(&[Key::ChapAlgorithms])?, answers)?,
            Step::ExpectProof { algorithm, challenge } => self.verify(keys, algorithm, &challenge, answers)?,
            done @ Step::Done { .. } => keys.only(&[]).map(|_| done)?,
        };
        Ok(())
    }

    fn choose_method(&self, keys: StepKeys<'_>, answers: &mut BytesMut) -> Result<Step, Breach> {
        let (method, step) = match keys.only(&[Key::AuthMethod])?.find(Key::AuthMethod) {
            // RFC 7143 6.3.2-1: the first of the list that we may use with this initiator.
            Some(methods) => {
                let chosen = methods.split(',').find_map(|method| self.begin(method));
                chosen.ok_or(Violation::NoCommonMethod.by(Key::AuthMethod))?
            }
            None if !self.authentication.is_required() => return Ok(Step::ExpectMethod),
            // RFC 7143 6.3.2: the initiator leaves it to us to propose.
            None => (CHAP, Step::ExpectMethodAnswer),
        };
        text::push(answers, Key::AuthMethod.row().name, method);
        Ok(step)
    }

    /// The first step of a method that the initiator offers, if we may use that one.
    fn begin(&self, method: &str) -> Option<(&'static str, Step)> {
        match (method, &self.authentication) {
            (CHAP, Authentication::Chap { .. }) => Some((CHAP, Step::ExpectAlgorithms)),
            (NONE, authentication) if !authentication.is_required() => {
                Some((NONE, Step::Done { authenticated_as: None }))
            }
            _ => None,
        }
    }

    fn take_method_answer(&self, keys: StepKeys<'_>, answers: &mut BytesMut) -> Result<Step, Breach> {
        let keys = keys.only(&[Key::AuthMethod, Key::ChapAlgorithms])?;
        match keys.find(Key::AuthMethod) {
            Some(CHAP) => self.challenge(keys, answers),
            _ => Err(Violation::AuthenticationRequired.by(Key::AuthMethod)),
        }
    }

    /// RFC 7143 12.1.3-2: the second step.
    fn challenge(&self, keys: StepKeys<'_>, answers: &mut BytesMut) -> Result<Step, Breach> {
        let Authentication::Chap { algorithms: allowed, .. } = &self.authentication else {
            return Err(Violation::SecurityKeyOutOfStep.by(Key::ChapAlgorithms));
        };
        let algorithm = keys
            .required(Key::ChapAlgorithms)?
            .split(',')
            .filter_map(|number| ChapAlgorithm::from_number(parse_number(number)?))
            .find(|algorithm| allowed.contains(algorithm))
            .ok_or(Violation::NoCommonMethod.by(Key::ChapAlgorithms))?;
        let challenge = self.randomness.challenge();
        text::push(answers, Key::ChapAlgorithms.row().name, &algorithm.number().to_string());
        challenge.push(answers);
        Ok(Step::ExpectProof { algorithm, challenge })
    }

    /// RFC 7143 12.1.3-4, 12.1.3-5: the last step, the initiator's proof, and ours if it asks for one.
    fn verify(
        &self,
        keys: StepKeys<'_>,
        algorithm: ChapAlgorithm,
        challenge: &Challenge,
        answers: &mut BytesMut,
    ) -> Result<Step, Breach> {
        let keys = keys.only(&[Key::ChapName, Key::ChapResponse, Key::ChapIdentifier, Key::ChapChallenge])?;
        // RFC 7143 9.2: a missing CHAP_R is never passed over, or our own response could be had first and played back.
        let (name, proof) = (keys.required(Key::ChapName)?, keys.required(Key::ChapResponse)?);
        let proof = chap::decode_binary(proof).ok_or(Violation::SecurityKeyOutOfStep.by(Key::ChapResponse))?;
        let asked = keys.challenge()?;
        self.verify_initiator(name, &proof, algorithm, challenge)?;
        if let Some(asked) = asked {
            self.prove_target(&asked, algorithm, challenge, answers)?;
        }
        Ok(Step::Done { authenticated_as: Some(name.into()) })
    }

    fn verify_initiator(
        &self,
        name: &str,
        proof: &[u8],
        algorithm: ChapAlgorithm,
        challenge: &Challenge,
    ) -> Result<(), Breach> {
        let Authentication::Chap { initiator, target, .. } = &self.authentication else {
            return Err(Violation::NotAuthenticated.into());
        };
        let nobody = self.randomness.nobodys_secret();
        let known = initiator.iter().find(|credential| credential.name == name);
        let secret = known.map_or(&nobody, |credential| &credential.secret);
        let proven = chap::same(&challenge.response(algorithm, secret), proof);
        if !proven || known.is_none() {
            return Err(Violation::NotAuthenticated.into());
        }
        // RFC 7143 9.2.1: the same secret in both directions.
        if target.as_ref().is_some_and(|target| chap::same(&challenge.response(algorithm, &target.secret), proof)) {
            return Err(Violation::SecretInBothDirections.into());
        }
        Ok(())
    }

    fn prove_target(
        &self,
        asked: &Challenge,
        algorithm: ChapAlgorithm,
        challenge: &Challenge,
        answers: &mut BytesMut,
    ) -> Result<(), Breach> {
        // RFC 7143 9.2.1: whoever plays our challenge back to us knows no secret.
        if chap::same(&asked.bytes, &challenge.bytes) {
            return Err(Violation::ChallengeReflected.into());
        }
        let Authentication::Chap { target: Some(Credential { name, secret }), .. } = &self.authentication else {
            return Err(Violation::TargetProofNotSupported.into());
        };
        text::push(answers, Key::ChapName.row().name, name);
        text::push(answers, Key::ChapResponse.row().name, &text::hex(&asked.response(algorithm, secret)));
        Ok(())
    }
}
