//! Text exchanges in the full feature phase: SendTargets, and negotiation on the target's wish (RFC 7143 sections 6.4, 11.10,
//! 11.11 and appendix C).
//!
//! A text request is not immediate, and takes a place in the command window: some targets count immediate ones by mistake.

use super::task::{Entry, Request, Standing};
use super::{Event, Session};
use crate::keys::{Key, Rule, parse_number};
use crate::negotiation::{answer_unknown, is_answer_only};
use crate::{SendTargetsScope, TargetRecord, Violation};
use bytes::{Bytes, BytesMut};
use iscsi_pdu::{Cid, CmdSn, InitiatorTaskTag, LunField, StatSn, TargetTransferTag, TextRequest, TextResponse, text};
use std::collections::HashSet;

/// Longest answer that is read, in bytes: thousands of targets.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// Longest reply to offers, in bytes: the shortest MaxRecvDataSegmentLength that a target may have.
const ANSWER_BYTES_MAX: usize = 512;
/// Most responses in a row that bring nothing.
const EMPTY_RESPONSES_MAX: u32 = 8;
/// Longest name or address that is read, in bytes: RFC 7143 section 4.2.7.1 ends a name at 223, DNS a host name at 253.
const VALUE_BYTES_MAX: usize = 512;

/// What is exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    SendTargets,
    Negotiation,
}

/// One exchange.
#[derive(Clone, Debug)]
pub(super) struct TextExchange {
    purpose: Purpose,
    /// What is asked now, or next.
    question: Question,
    turn: Turn,
    answer: BytesMut,
    empty_responses: u32,
    /// MaxRecvDataSegmentLength that the target has declared; it holds from the end of the exchange.
    segment_bytes_max: Option<u32>,
}

/// How far a question has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// It waits for its number.
    Waits,
    /// It stands in the outbox.
    Queued,
    /// Its answer is waited for.
    Asked,
}

/// The contents of a text request.
#[derive(Clone, Debug, Default)]
struct Question {
    text: Bytes,
    lun: LunField,
    target_transfer_tag: Option<TargetTransferTag>,
}

impl TextExchange {
    /// The question which targets there are (appendix C).
    pub(super) fn send_targets(scope: &SendTargetsScope) -> Self {
        let value = match scope {
            SendTargetsScope::All => "All",
            SendTargetsScope::Named(name) => name,
            SendTargetsScope::ThisTarget => "",
        };
        let mut question = BytesMut::new();
        text::push(&mut question, "SendTargets", value);
        Self::new(Purpose::SendTargets, question.freeze())
    }

    /// An empty request, for the target to make its offers.
    pub(super) fn negotiation() -> Self {
        Self::new(Purpose::Negotiation, Bytes::new())
    }

    fn new(purpose: Purpose, text: Bytes) -> Self {
        let question = Question { text, ..Question::default() };
        let answer = BytesMut::new();
        Self { purpose, question, turn: Turn::Waits, answer, empty_responses: 0, segment_bytes_max: None }
    }

    // RFC 7143 6.4-1, 6.4-2, 11.10.3-1, 11.10.3-2, 11.10.5-1: the same tag and bits throughout, F among them.
    /// The request that asks the question.
    pub(super) fn request(&mut self, tag: InitiatorTaskTag, cmd_sn: CmdSn, exp_stat_sn: StatSn) -> TextRequest {
        self.turn = Turn::Asked;
        let Question { text, lun, target_transfer_tag } = self.question.clone();
        TextRequest {
            immediate: false,
            is_final: true,
            continues: false,
            lun,
            initiator_task_tag: tag,
            target_transfer_tag,
            cmd_sn,
            exp_stat_sn,
            data: text,
        }
    }

    /// Whether a question was given a number and has not been answered.
    pub(super) const fn is_under_way(&self) -> bool {
        !matches!(self.turn, Turn::Waits)
    }

    /// The question got lost, and is in the outbox again.
    pub(super) const fn ask_again(&mut self) {
        self.turn = Turn::Queued;
    }

    /// Adds what a response brought. An exchange is bounded in length, and in responses that bring nothing.
    fn take_answer(&mut self, text: &[u8]) -> Result<(), Violation> {
        self.empty_responses = if text.is_empty() { self.empty_responses + 1 } else { 0 };
        if self.empty_responses > EMPTY_RESPONSES_MAX || self.answer.len() + text.len() > TEXT_BYTES_MAX {
            return Err(Violation::TextTooLong);
        }
        self.answer.extend_from_slice(text);
        Ok(())
    }

    /// What is to be said to a response that is not the last. A list of targets goes on by itself; an offer is answered, once it
    /// is complete.
    fn reply(&mut self, continues: bool) -> Result<Bytes, Violation> {
        match self.purpose {
            Purpose::Negotiation if !continues => {
                let offers = self.answer.split().freeze();
                self.answer_offers(&offers)
            }
            Purpose::Negotiation | Purpose::SendTargets => Ok(Bytes::new()),
        }
    }

    /// What the exchange has led to, with the last response.
    fn end(&mut self, tag: InitiatorTaskTag) -> Result<Event, Violation> {
        if self.purpose == Purpose::SendTargets {
            return Ok(Event::Targets { tag, targets: target_records(&self.answer)? });
        }
        // RFC 7143 11.11.1: what would need another answer may not stand in the last response.
        let answers = self.reply(false)?;
        if answers.is_empty() { Ok(Event::NegotiationComplete { tag }) } else { Err(Violation::TextResponseFlags) }
    }

    // RFC 7143 6.4-7: with the session the negotiation ends.
    /// Of the standard's keys, a target may only declare the longest segment that it takes, after the login (section 13.12).
    fn answer_offers(&mut self, offers: &[u8]) -> Result<Bytes, Violation> {
        let (mut answers, mut names) = (BytesMut::new(), HashSet::new());
        for pair in text::pairs(offers) {
            let (name, value) = pair.map_err(|_| Violation::TextMalformed)?;
            if !names.insert(name) {
                return Err(Violation::KeyRepeated);
            }
            match Key::named(name) {
                Some(Key::MaxRecvDataSegmentLength) => self.segment_bytes_max = Some(declared_bytes(value)?),
                Some(key) if key.row().rule == Rule::Declared => {}
                Some(_) => return Err(Violation::KeyOutOfPlace),
                None if is_answer_only(value) => {}
                None => answer_unknown(name, &mut answers),
            }
        }
        if answers.len() > ANSWER_BYTES_MAX { Err(Violation::TextTooLong) } else { Ok(answers.freeze()) }
    }
}

/// The value of a MaxRecvDataSegmentLength.
fn declared_bytes(value: &str) -> Result<u32, Violation> {
    let Rule::DeclaredNumber(range) = Key::MaxRecvDataSegmentLength.row().rule else {
        unreachable!("the table declares it as a number");
    };
    let bytes = parse_number(value).and_then(|bytes| u32::try_from(bytes).ok());
    bytes.filter(|bytes| (range.low..=range.high).contains(bytes)).ok_or(Violation::ValueNotAdmissible)
}

impl Session {
    // RFC 7143 6.2-5, 11.10-1: one request at a time.
    /// Asks the next question of the exchange under way on each connection, as far as the command window has room.
    #[inline]
    pub(super) fn go_on_with_texts(&mut self) {
        if self.connections.iter().any(|connection| !connection.texts.is_empty()) {
            self.ask_next_questions();
        }
    }

    #[cold]
    fn ask_next_questions(&mut self) {
        for connection in self.connections.iter_mut() {
            let Some(tag) = connection.texts.front() else { continue };
            let entry = self.requests.get_mut(*tag).expect("a text exchange under way is a request");
            let Request::Text(exchange) = &mut entry.request else { continue };
            if exchange.is_under_way() || self.numbering.room() == 0 {
                continue;
            }
            exchange.turn = Turn::Queued;
            entry.cmd_sn = self.numbering.take_cmd_sn();
            connection.outbox.push_request(*tag);
        }
    }

    // RFC 7143 11.10.4-2, 11.11.4-3: tag and LUN are copied, but for those of the last.
    pub(super) fn handle_text_response(&mut self, cid: Cid, pdu: TextResponse) -> Result<(), Violation> {
        self.numbering.update_window(pdu.exp_cmd_sn, pdu.max_cmd_sn);
        self.connections.known(cid).count_status(pdu.stat_sn)?;
        let tag = pdu.initiator_task_tag;
        let Some(Entry { request: Request::Text(exchange), standing, retries, .. }) = self.requests.sent(cid, tag)
        else {
            return self.check_concluded(cid, tag);
        };
        exchange.take_answer(&pdu.data)?;
        if pdu.is_final {
            let event = exchange.end(tag)?;
            let declared = exchange.segment_bytes_max;
            let parameters = &mut self.connections.known(cid).parameters;
            parameters.send_segment_bytes_max = declared.unwrap_or(parameters.send_segment_bytes_max);
            self.remove(tag);
            self.events.push_back(event);
            return Ok(());
        }
        // RFC 7143 11.11.1: without F there is a tag to go on with.
        let target_transfer_tag = Some(pdu.target_transfer_tag.ok_or(Violation::TextResponseFlags)?);
        let text = exchange.reply(pdu.continues)?;
        exchange.question = Question { text, lun: pdu.lun, target_transfer_tag };
        exchange.turn = Turn::Waits;
        *standing = Standing::Queued;
        if std::mem::take(retries) > 0 {
            self.connections.known(cid).outbox.remove_request(tag);
        }
        Ok(())
    }
}

/// The records of a SendTargets response. There are no more of them than the text has bytes.
fn target_records(answer: &[u8]) -> Result<Vec<TargetRecord>, Violation> {
    let mut records: Vec<TargetRecord> = Vec::new();
    for pair in text::pairs(answer) {
        let (key, value) = pair.map_err(|_| Violation::TextMalformed)?;
        // What is shown to people or becomes an address holds nothing that steers a terminal.
        if value.is_empty() || value.len() > VALUE_BYTES_MAX || value.chars().any(char::is_control) {
            return Err(Violation::TargetRecordMalformed);
        }
        match (key, records.last_mut()) {
            ("TargetName", _) => records.push(TargetRecord { name: value.to_owned(), addresses: Vec::new() }),
            ("TargetAddress", Some(record)) => record.addresses.push(value.to_owned()),
            _ => return Err(Violation::TargetRecordMalformed),
        }
    }
    Ok(records)
}
