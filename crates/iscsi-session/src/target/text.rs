//! Text in the full feature phase: SendTargets and negotiation (RFC 7143 sections 6.2, 6.4, 11.10, 11.11 and appendix C).
//!
//! In: text requests, one exchange at a time, whose text may come in parts. Out: text responses, in parts if they are longer
//! than the initiator receives, and the question to the owner which targets there are.
//!
//! Invariants: an exchange holds no more than [`TEXT_BYTES_MAX`] of what the initiator said; what was negotiated takes effect
//! when the exchange ends, and not at all if it is rejected or abandoned.

use super::event::{Event, RequestId};
use super::session::{Request, Session};
use super::transmit::Transmission;
use crate::keys::{Key, Rule};
use crate::{SendTargetsScope, SessionType, TargetRecord, Violation};
use bytes::{Bytes, BytesMut};
use iscsi_pdu::text::{self, Assembler};
use iscsi_pdu::{InitiatorTaskTag, TextRequest, TextResponse};
use std::collections::HashSet;

/// Text that the initiator may say in one exchange, in bytes; RFC 7143 section 6.1 asks for 8192.
const TEXT_BYTES_MAX: usize = 16_384;

/// One exchange of text requests and responses.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) tag: InitiatorTaskTag,
    /// Text that is not complete yet.
    assembler: Assembler,
    /// What the initiator has said in all.
    said_bytes: usize,
    /// Keys that the initiator has said.
    keys: HashSet<String>,
    /// What is left of the answer.
    answer: Bytes,
    /// MaxRecvDataSegmentLength that the initiator has declared.
    segment_bytes_max: Option<u32>,
    /// The question that the owner has not answered, and how its request came.
    question: Option<Question>,
}

#[derive(Clone, Copy, Debug)]
struct Question {
    id: RequestId,
    is_final: bool,
    immediate: bool,
}

impl Exchange {
    fn new(tag: InitiatorTaskTag) -> Self {
        Self {
            tag,
            assembler: Assembler::new(TEXT_BYTES_MAX),
            said_bytes: 0,
            keys: HashSet::new(),
            answer: Bytes::new(),
            segment_bytes_max: None,
            question: None,
        }
    }

    /// Whether a place in the window is free once the question is answered.
    pub(super) fn holds_number(&self) -> bool {
        self.question.is_some_and(|question| !question.immediate)
    }

    /// Takes what a request says. Returns the text, once it is complete.
    fn hear(&mut self, pdu: &TextRequest) -> Result<Option<Bytes>, Violation> {
        self.said_bytes += pdu.data.len();
        if self.said_bytes > TEXT_BYTES_MAX {
            return Err(Violation::TextOutOfResources);
        }
        self.assembler.push(pdu.data.clone(), pdu.continues).map_err(|_| Violation::TextOutOfResources)
    }

    /// Takes a complete text. Returns the value of SendTargets, if that was asked for.
    fn negotiate(&mut self, said: &[u8], session_type: SessionType) -> Result<Option<String>, Violation> {
        let mut answer = BytesMut::new();
        let mut send_targets = None;
        for pair in text::pairs(said) {
            let (key, value) = pair.map_err(|_| Violation::TextNegotiation)?;
            // RFC 7143 6.4: a key that is said twice is a protocol error; SendTargets stands alone (appendix C).
            if send_targets.is_some() || !self.keys.insert(key.to_owned()) {
                return Err(Violation::TextNegotiation);
            }
            if key == "SendTargets" {
                if self.keys.len() > 1 {
                    return Err(Violation::TextNegotiation);
                }
                send_targets = Some(value.to_owned());
            } else if session_type == SessionType::Discovery {
                return Err(Violation::NotInDiscovery);
            } else if let Some(reply) = self.reply(key, value) {
                text::push(&mut answer, key, reply);
            }
        }
        self.answer = answer.freeze();
        Ok(send_targets)
    }

    /// The answer to a key, if it wants one. All but two belong to the login (RFC 7143 section 13: use IO and LO).
    fn reply(&mut self, key: &str, value: &str) -> Option<&'static str> {
        match Key::named(key) {
            Some(Key::MaxRecvDataSegmentLength) => {
                self.segment_bytes_max = segment_length(value);
                self.segment_bytes_max.is_none().then_some("Reject")
            }
            Some(Key::InitiatorAlias) => None,
            Some(_) => Some("Reject"),
            None => Some("NotUnderstood"),
        }
    }

    /// Cuts off the next part of the answer, after a whole pair if there is one.
    fn next_part(&mut self, length_max: usize) -> Bytes {
        if self.answer.len() <= length_max {
            return std::mem::take(&mut self.answer);
        }
        let pairs_end = self.answer[..length_max].iter().rposition(|byte| *byte == 0).map(|zero| zero + 1);
        self.answer.split_to(pairs_end.unwrap_or(length_max))
    }
}

/// A value of MaxRecvDataSegmentLength, if it is admissible.
fn segment_length(value: &str) -> Option<u32> {
    let Rule::DeclaredNumber(numbers) = Key::MaxRecvDataSegmentLength.row().rule else {
        return None;
    };
    let length = u32::try_from(text::number(value).ok()?).ok()?;
    (numbers.low..=numbers.high).contains(&length).then_some(length)
}

impl Session {
    pub(super) fn handle_text(&mut self, at: usize, pdu: TextRequest) {
        self.acknowledge(at, pdu.exp_stat_sn);
        let turn = self.admit(at, pdu.immediate, pdu.cmd_sn).and_then(|turn| {
            if self.has_request(pdu.initiator_task_tag) { Err(Violation::TagInUse) } else { Ok(turn) }
        });
        match turn {
            Ok(false) => self.hold(at, pdu.cmd_sn, Request::Text(pdu)),
            Ok(true) => match self.converse(at, &pdu) {
                Ok(()) => self.count(at, pdu.immediate),
                Err(violation) => self.violate(at, violation, pdu.into()),
            },
            Err(violation) => self.violate(at, violation, pdu.into()),
        }
    }

    /// Goes on with an exchange, or begins one. A request that breaks a rule ends it (RFC 7143 section 7.12).
    pub(super) fn converse(&mut self, at: usize, pdu: &TextRequest) -> Result<(), Violation> {
        let connection = &mut self.connections[at];
        // RFC 7143 11.10: one request at a time.
        if connection.text.as_ref().is_some_and(|exchange| exchange.question.is_some()) {
            return Err(Violation::TextOutstanding);
        }
        let own_tag = connection.tag;
        let mut exchange = match (pdu.target_transfer_tag, connection.text.take()) {
            // RFC 7143 11.10.4: no transfer tag begins anew.
            (None, _) => Exchange::new(pdu.initiator_task_tag),
            (Some(tag), Some(ongoing)) if tag == own_tag && ongoing.tag == pdu.initiator_task_tag => ongoing,
            (Some(_), _) => return Err(Violation::TextContinuation),
        };
        let answering = !exchange.answer.is_empty();
        if answering && !pdu.data.is_empty() {
            return Err(Violation::TextNegotiation);
        }
        let Some(said) = exchange.hear(pdu)? else {
            // RFC 7143 6.2: text that goes on is answered with nothing.
            self.say(at, exchange, Bytes::new(), false, pdu.immediate);
            return Ok(());
        };
        if !answering {
            let begins = pdu.target_transfer_tag.is_none();
            let question = exchange.negotiate(&said, self.session_type)?;
            if question.is_none() && begins && exchange.keys.is_empty() {
                self.refuse_in_discovery()?;
            }
            if let Some(scope) = question.map(|value| self.scope(value)).transpose()?.flatten() {
                self.ask(at, exchange, scope, pdu);
                return Ok(());
            }
        }
        self.answer_text(at, exchange, pdu.is_final, pdu.immediate);
        Ok(())
    }

    /// What SendTargets asks for in this type of session (RFC 7143 appendix C); none for a target that is not this one.
    fn scope(&self, value: String) -> Result<Option<SendTargetsScope>, Violation> {
        let own = self.target_name.as_deref();
        match (self.session_type, value.as_str()) {
            (SessionType::Discovery, "All") => Ok(Some(SendTargetsScope::All)),
            (SessionType::Normal, "All") => Err(Violation::SendTargetsScope),
            (_, "") if own.is_some() => Ok(Some(SendTargetsScope::ThisTarget)),
            (_, "") => Err(Violation::SendTargetsScope),
            (SessionType::Normal, name) if own != Some(name) => Ok(None),
            _ => Ok(Some(SendTargetsScope::Named(value))),
        }
    }

    fn ask(&mut self, at: usize, mut exchange: Exchange, scope: SendTargetsScope, pdu: &TextRequest) {
        let id = self.next_request_id();
        exchange.question = Some(Question { id, is_final: pdu.is_final, immediate: pdu.immediate });
        self.connections[at].text = Some(exchange);
        self.events.push_back(Event::SendTargets { id, scope });
    }

    /// The answer to [`Event::SendTargets`].
    ///
    /// # Panics
    /// If a name or an address holds a zero byte or is longer than 8192 bytes.
    pub fn answer_send_targets(&mut self, id: RequestId, targets: &[TargetRecord]) {
        let asked = |exchange: &Exchange| exchange.question.is_some_and(|question| question.id == id);
        let Some((at, mut exchange)) = self.take_exchange(asked) else {
            return;
        };
        let Some(question) = exchange.question.take() else {
            return;
        };
        let mut answer = BytesMut::new();
        for target in targets {
            text::push(&mut answer, "TargetName", &target.name);
            for address in &target.addresses {
                text::push(&mut answer, "TargetAddress", address);
            }
        }
        exchange.answer = answer.freeze();
        self.answer_text(at, exchange, question.is_final, question.immediate);
    }

    /// Sends the next part of an answer; the exchange ends with the last part, if the initiator has said all.
    fn answer_text(&mut self, at: usize, mut exchange: Exchange, is_final: bool, immediate: bool) {
        let part = exchange.next_part(self.connections[at].send_segment_bytes_max as usize);
        let ends = is_final && exchange.answer.is_empty();
        self.say(at, exchange, part, ends, immediate);
    }

    fn say(&mut self, at: usize, exchange: Exchange, data: Bytes, is_final: bool, immediate: bool) {
        let connection = &mut self.connections[at];
        let response = TextResponse {
            is_final,
            continues: !exchange.answer.is_empty(),
            initiator_task_tag: exchange.tag,
            target_transfer_tag: (!is_final).then_some(connection.tag),
            data,
            ..TextResponse::default()
        };
        connection.transmit.push(Transmission::Text { response: Box::new(response), immediate });
        if !is_final {
            connection.text = Some(exchange);
        } else if let Some(length) = exchange.segment_bytes_max {
            connection.send_segment_bytes_max = length;
        }
    }

    /// ABORT TASK for an exchange. Returns whether it was one.
    pub(super) fn abort_text(&mut self, tag: InitiatorTaskTag) -> bool {
        let Some((at, exchange)) = self.take_exchange(|exchange| exchange.tag == tag) else {
            return false;
        };
        if let Some(question) = exchange.question {
            self.release(at, question.immediate);
        }
        true
    }

    /// The first exchange that `wanted` picks, and its connection.
    fn take_exchange(&mut self, wanted: impl Fn(&Exchange) -> bool) -> Option<(usize, Exchange)> {
        let mut connections = self.connections.iter_mut().enumerate();
        connections.find_map(|(at, connection)| Some((at, connection.text.take_if(|exchange| wanted(exchange))?)))
    }
}
