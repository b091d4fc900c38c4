//! What two ends make of their text keys (RFC 7143 sections 6.2 and 13), the same code at both.
//!
//! In: our limits, and the pairs of the peer. Out: answers to append to our text, and in the end the [`Parameters`].
//! Invariants: a key is answered by the rule of its row in the table of keys, nothing is agreed upon that our limits forbid,
//! and no value counts that was not said (there are no implicit proposals).

use crate::keys::{End, Key, KeySet, Numbers, Rule, Use, Value, parse_flag, parse_number};
use crate::login_text::Breach;
use crate::parameters::Limit;
use crate::{Limits, Parameters, SessionType, TaskReporting, Violation};
use bytes::BytesMut;
use iscsi_pdu::text;

pub(crate) const REJECT: &str = "Reject";
const IRRELEVANT: &str = "Irrelevant";
const NOT_UNDERSTOOD: &str = "NotUnderstood";

/// Whether a value is one of the answers that may never be proposed (RFC 7143 6.2-11).
pub(crate) fn is_answer_only(value: &str) -> bool {
    matches!(value, REJECT | IRRELEVANT | NOT_UNDERSTOOD)
}

/// The operational negotiation of one login.
#[derive(Clone, Debug)]
pub(crate) struct Negotiation {
    end: End,
    session_type: SessionType,
    /// Whether this is the first connection of its session.
    leading: bool,
    limits: Limits,
    parameters: Parameters,
    /// What we have offered and the peer has not answered.
    offered: KeySet,
    /// What the peer has said.
    heard: KeySet,
    /// What both have agreed upon.
    agreed: KeySet,
}

impl Negotiation {
    pub(crate) fn new(end: End, session_type: SessionType, leading: bool, limits: Limits) -> Self {
        Self {
            end,
            session_type,
            leading,
            limits: limits.within_ranges(),
            parameters: Parameters::default(),
            offered: KeySet::default(),
            heard: KeySet::default(),
            agreed: KeySet::default(),
        }
    }

    /// Says how long a data segment we take.
    pub(crate) fn declare(&mut self, text: &mut BytesMut) {
        self.parameters.receive_segment_bytes_max = self.limits.receive_segment_bytes_max;
        text::push(text, Key::MaxRecvDataSegmentLength.row().name, &self.limits.receive_segment_bytes_max.to_string());
    }

    /// Offers all that our limits speak of: an initiator's part.
    pub(crate) fn offer_all(&mut self, text: &mut BytesMut) {
        for key in Key::ALL.iter().copied().filter(|key| key.is_negotiated()) {
            if self.is_for_this_login(key) && !self.is_silent_about(key) {
                self.offer(key, text);
            }
        }
    }

    /// Targets of RFC 3720 do not know two keys: they are not asked where we have nothing to say about them.
    fn is_silent_about(&self, key: Key) -> bool {
        match key {
            Key::TaskReporting => self.limits.task_reporting == TaskReporting::Rfc3720,
            Key::ISCSIProtocolLevel => self.limits.protocol_level_max <= 1,
            _ => false,
        }
    }

    /// Offers what the initiator was silent about although the default is beyond our limits, and says whether there was
    /// anything: a target's part.
    pub(crate) fn offer_what_binds(&mut self, text: &mut BytesMut) -> bool {
        let length = text.len();
        for key in Key::ALL.iter().copied().filter(|key| key.is_negotiated()) {
            if self.is_relevant(key) && !self.heard.contains(key) && !self.default_is_acceptable(key) {
                self.offer(key, text);
            }
        }
        text.len() > length
    }

    fn offer(&mut self, key: Key, text: &mut BytesMut) {
        let value = match self.limit(key) {
            Some(Limit::Words(words)) => words.join(","),
            Some(Limit::Flag(flag)) => Value::Flag(flag).to_string(),
            Some(Limit::Number(number)) => number.to_string(),
            None => return,
        };
        self.offered.insert(key);
        text::push(text, key.row().name, &value);
    }

    /// Whether we have offered a key, and have no answer yet.
    pub(crate) fn has_offered(&self, key: Key) -> bool {
        self.offered.contains(key)
    }

    /// Takes a pair of the peer, and appends our answer if it asks for one. Of the pairs of one text, those come first whose keys
    /// stand first in the table.
    pub(crate) fn handle(&mut self, key: Key, value: &str, answers: &mut BytesMut) -> Result<(), Breach> {
        self.heard.insert(key);
        let broken = |violation: Violation| violation.by(key);
        match key.row().rule {
            Rule::DeclaredNumber(range) => {
                let number = admissible(value, range).ok_or(broken(Violation::ValueNotAdmissible))?;
                self.agree(key, Value::Number(number));
            }
            // RFC 7143 6.2.2-3: among these are the only keys that have ranges.
            Rule::Obsolete => text::push(answers, key.row().name, REJECT),
            // RFC 7143 13.26.2-1, 13.26.2-2: X#NodeArchitecture among them.
            Rule::Declared | Rule::Step => {}
            _ if self.offered.remove(key) => self.handle_answer(key, value).map_err(broken)?,
            // RFC 7143 6.2-11: they are no proposals.
            _ if is_answer_only(value) => return Err(broken(Violation::AnswerWithoutOffer)),
            _ => self.answer(key, value, answers).map_err(broken)?,
        }
        Ok(())
    }

    /// The peer has answered what we had offered.
    fn handle_answer(&mut self, key: Key, value: &str) -> Result<(), Violation> {
        match value {
            // RFC 7143 6.2: the default stays; whether we can live with it is seen at the end.
            REJECT | IRRELEVANT => Ok(()),
            // RFC 7143 4.2.2.3.4: the older standard, RFC 3720, does not have these.
            NOT_UNDERSTOOD if is_young(key) => Ok(()),
            // RFC 7143 6.2-8, 6.2-10: all else that we offer is of the standard, so whoever does not understand it breaks a rule.
            NOT_UNDERSTOOD => Err(Violation::KeyNotUnderstood),
            _ => {
                let limit = self.limit(key).ok_or(Violation::ValueNotAdmissible)?;
                // RFC 7143 6.2.1-4: nothing but what was offered, or what the key's rule makes of it.
                let value = check(key.row().rule, &limit, value).ok_or(Violation::ValueNotAdmissible)?;
                self.agree(key, value);
                Ok(())
            }
        }
    }

    /// The peer has offered what we had not.
    ///
    /// RFC 7143 6.2.2-1, 6.2.2-4, 6.2.2-5: every offer is answered by its own key, also where an answer could be left out.
    fn answer(&mut self, key: Key, value: &str, answers: &mut BytesMut) -> Result<(), Violation> {
        let name = key.row().name;
        let Some(limit) = self.limit(key).filter(|_| self.is_relevant(key)) else {
            text::push(answers, name, IRRELEVANT);
            return Ok(());
        };
        match select(key.row().rule, &limit, value) {
            Some(value) => {
                text::push(answers, name, &value.to_string());
                self.agree(key, value);
                Ok(())
            }
            // RFC 7143 6.2: with Reject the default stays; 7.12: a login ends where that does not do either.
            None if self.default_is_acceptable(key) => {
                text::push(answers, name, REJECT);
                Ok(())
            }
            None => Err(Violation::NoAgreement),
        }
    }

    /// RFC 7143 6.2-6: what is not said stays at its default, whatever either end would have liked.
    fn agree(&mut self, key: Key, value: Value) {
        self.parameters.set(key, value);
        self.agreed.insert(key);
    }

    /// The parameters, once there is nothing more to say.
    ///
    /// RFC 7143 6.2-16: nobody has seen them before, and nobody does if the negotiation fails.
    pub(crate) fn conclude(mut self) -> Result<Parameters, Breach> {
        for key in self.offered.iter() {
            self.settle_unanswered(key)?;
        }
        for key in Key::ALL.iter().copied().filter(|key| key.is_negotiated()) {
            // RFC 7143 7.12-1: a login ends where the two ends cannot agree.
            if self.is_relevant(key) && !self.agreed.contains(key) && !self.default_is_acceptable(key) {
                return Err(Violation::NoAgreement.by(key));
            }
        }
        self.check_integrity()?;
        self.parameters.first_burst_bytes_max =
            self.parameters.first_burst_bytes_max.min(self.parameters.burst_bytes_max);
        Ok(self.parameters)
    }

    /// RFC 7143 6.2.2: a boolean that our own word decides needs no answer. Other keys do, and a target insists on it, since
    /// it offers only what it cannot do without.
    fn settle_unanswered(&mut self, key: Key) -> Result<(), Breach> {
        match (key.row().rule, self.limit(key)) {
            (Rule::And(_), Some(Limit::Flag(false))) => self.agree(key, Value::Flag(false)),
            (Rule::Or(_), Some(Limit::Flag(true))) => self.agree(key, Value::Flag(true)),
            _ if self.end == End::Target => return Err(Violation::MissingAnswer.by(key)),
            _ => {}
        }
        Ok(())
    }

    /// RFC 7143 6.2-17, 13.14-1, 13.19-2: rules between keys. An initiator keeps to the stricter value instead.
    fn check_integrity(&self) -> Result<(), Breach> {
        let parameters = &self.parameters;
        if self.end == End::Initiator {
            return Ok(());
        }
        if parameters.allows_unsolicited_data() && parameters.first_burst_bytes_max > parameters.burst_bytes_max {
            return Err(Violation::KeysContradict.by(Key::FirstBurstLength));
        }
        let one_r2t = parameters.error_recovery_level > 0 && parameters.data_sequence_in_order;
        if one_r2t && parameters.outstanding_r2t_max > 1 {
            return Err(Violation::KeysContradict.by(Key::MaxOutstandingR2t));
        }
        Ok(())
    }

    // RFC 7143 13-1: keys of the use LO have none on a connection that joins a session.
    /// Whether a key has a place in the negotiation of this connection at all.
    fn is_for_this_login(&self, key: Key) -> bool {
        match key.row().purpose {
            Use::Connection => true,
            Use::Leading => self.leading,
            Use::LeadingNormal => self.leading && self.session_type == SessionType::Normal,
        }
    }

    /// The same, and whether what was agreed upon so far leaves a meaning to it (RFC 7143 section 13, "Irrelevant when").
    fn is_relevant(&self, key: Key) -> bool {
        self.is_for_this_login(key) && (key != Key::FirstBurstLength || self.parameters.allows_unsolicited_data())
    }

    // RFC 7143 13.14-1, 13.19-2, 13.21-1: what depends on other keys.
    /// What we would agree upon, given what was agreed upon so far.
    fn limit(&self, key: Key) -> Option<Limit> {
        // An initiator offers all at once, before it knows what becomes of it.
        let recovery_is_known = self.end == End::Target && self.agreed.contains(Key::ErrorRecoveryLevel);
        let recovers = match recovery_is_known {
            true => self.parameters.error_recovery_level > 0,
            false => self.limits.error_recovery_level > 0,
        };
        // What an initiator offers is what it would like; what a target answers follows what was agreed upon before.
        let in_order = match self.end {
            End::Initiator => self.limits.data_sequence_in_order,
            End::Target => self.parameters.data_sequence_in_order,
        };
        match (key, self.limits.of(key)?) {
            // RFC 7143 7.4.1-1, 7.4.1-2: a discovery session recovers nothing.
            (Key::ErrorRecoveryLevel, _) if self.session_type == SessionType::Discovery => Some(Limit::Number(0)),
            // RFC 7143 13.19: with recovery and sequences in order.
            (Key::MaxOutstandingR2t, _) if recovers && in_order => Some(Limit::Number(1)),
            // RFC 7143 13.14: FirstBurstLength is no more than MaxBurstLength, which an initiator offers at the same time.
            (Key::FirstBurstLength, Limit::Number(bytes)) if self.end == End::Target => {
                Some(Limit::Number(bytes.min(self.parameters.burst_bytes_max)))
            }
            (_, limit) => Some(limit),
        }
    }

    /// Whether we can live with the default of a key. The times only matter to recovery, which the recovery level speaks of.
    fn default_is_acceptable(&self, key: Key) -> bool {
        if matches!(key, Key::DefaultTime2Wait | Key::DefaultTime2Retain) {
            return true;
        }
        let (Some(limit), Some(default)) = (self.limit(key), key.default_value()) else { return true };
        select(key.row().rule, &limit, &default.to_string()) == Some(default)
    }
}

/// Whether RFC 3720 does not have a key.
fn is_young(key: Key) -> bool {
    matches!(key, Key::TaskReporting | Key::ISCSIProtocolLevel)
}

/// Answers a key that the peer does not know us to understand (RFC 7143 6.2-7).
pub(crate) fn answer_unknown(name: &str, answers: &mut BytesMut) {
    text::push(answers, name, NOT_UNDERSTOOD);
}

/// The value that an acceptor with this limit answers to a proposal; none if nothing admissible can be answered.
fn select(rule: Rule, limit: &Limit, proposal: &str) -> Option<Value> {
    match (rule, limit) {
        (Rule::And(_), Limit::Flag(ours)) => Some(Value::Flag(parse_flag(proposal)? && *ours)),
        (Rule::Or(_), Limit::Flag(ours)) => Some(Value::Flag(parse_flag(proposal)? || *ours)),
        // RFC 7143 6.2.2-2: what is answered is admissible.
        // A proposal above the range can be answered with a number within it, one below cannot.
        (Rule::Minimum(range), Limit::Number(ours)) => {
            let theirs = parse_number(proposal).filter(|number| *number >= range.low.into())?;
            Some(Value::Number(theirs.min((*ours).into()) as u32))
        }
        (Rule::Maximum(range), Limit::Number(ours)) => {
            Some(Value::Number(admissible(proposal, at_most(range))?.max(*ours)))
        }
        // RFC 7143 6.2.1-1, 6.2.1-3: the first of the proposer's list; what is not understood in it is passed over.
        (Rule::List(_), Limit::Words(ours)) => {
            proposal.split(',').find_map(|word| ours.iter().find(|ours| **ours == word)).map(|word| Value::Word(word))
        }
        _ => None,
    }
}

/// The value that a proposer with this limit accepts as an answer; none if it is not admissible (RFC 7143 section 13, "result
/// function").
fn check(rule: Rule, limit: &Limit, answer: &str) -> Option<Value> {
    match (rule, limit) {
        (Rule::And(_), Limit::Flag(ours)) => parse_flag(answer).filter(|flag| !flag || *ours).map(Value::Flag),
        (Rule::Or(_), Limit::Flag(ours)) => parse_flag(answer).filter(|flag| *flag || !ours).map(Value::Flag),
        (Rule::Minimum(range), Limit::Number(ours)) => {
            admissible(answer, range).filter(|number| number <= ours).map(Value::Number)
        }
        (Rule::Maximum(range), Limit::Number(ours)) => {
            admissible(answer, range).filter(|number| number >= ours).map(Value::Number)
        }
        (Rule::List(_), Limit::Words(ours)) => ours.iter().find(|ours| **ours == answer).map(|word| Value::Word(word)),
        _ => None,
    }
}

/// A number within the range of its key.
fn admissible(value: &str, range: Numbers) -> Option<u32> {
    let number = u32::try_from(parse_number(value)?).ok()?;
    (range.low..=range.high).contains(&number).then_some(number)
}

/// A proposal below the range can be answered with a number within it.
const fn at_most(range: Numbers) -> Numbers {
    Numbers { low: 0, ..range }
}
