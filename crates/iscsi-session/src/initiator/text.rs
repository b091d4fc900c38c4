//! Text exchanges in the full feature phase: SendTargets, and negotiation on the target's wish (RFC 7143 sections 6.4, 11.10,
//! 11.11 and appendix C).
//!
//! A text request is not immediate, and takes a place in the command window: some targets count immediate ones by mistake.

use super::task::{Entry, Request};
use super::{Event, Session};
use crate::{SendTargetsScope, TargetRecord, Violation};
use bytes::{Bytes, BytesMut};
use iscsi_pdu::{CmdSn, InitiatorTaskTag, LunField, StatSn, TargetTransferTag, TextRequest, TextResponse, text};

/// Longest answer that is read, in bytes: thousands of targets.
const TEXT_BYTES_MAX: usize = 1 << 20;
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
    /// What is to be asked next; none while it is on the way.
    question: Option<Question>,
    /// Whether the question stands in the outbox.
    is_queued: bool,
    answer: BytesMut,
    empty_responses: u32,
}

/// The contents of a text request.
#[derive(Clone, Debug, Default)]
struct Question {
    text: Bytes,
    lun: LunField,
    target_transfer_tag: Option<TargetTransferTag>,
}

impl TextExchange {
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

    pub(super) fn negotiation() -> Self {
        Self::new(Purpose::Negotiation, Bytes::new())
    }

    fn new(purpose: Purpose, text: Bytes) -> Self {
        let question = Some(Question { text, ..Question::default() });
        Self { purpose, question, is_queued: false, answer: BytesMut::new(), empty_responses: 0 }
    }

    /// The request that asks the question.
    pub(super) fn request(&mut self, tag: InitiatorTaskTag, cmd_sn: CmdSn, exp_stat_sn: StatSn) -> TextRequest {
        self.is_queued = false;
        let Question { text, lun, target_transfer_tag } = self.question.take().unwrap_or_default();
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

    /// Adds what a response brought. An exchange is bounded in length, and in responses that bring nothing.
    fn take_answer(&mut self, text: &[u8]) -> Result<(), Violation> {
        self.empty_responses = if text.is_empty() { self.empty_responses + 1 } else { 0 };
        if self.empty_responses > EMPTY_RESPONSES_MAX || self.answer.len() + text.len() > TEXT_BYTES_MAX {
            return Err(Violation::TextTooLong);
        }
        self.answer.extend_from_slice(text);
        Ok(())
    }
}

impl Session {
    /// Asks the next question of the exchange under way, if there is one and the command window has room.
    pub(super) fn go_on_with_text(&mut self) {
        let Some(tag) = self.texts.front() else { return };
        let entry = self.requests.get_mut(*tag).expect("a text exchange under way is a request");
        let Request::Text(exchange) = &mut entry.request else { return };
        if exchange.is_queued || exchange.question.is_none() || self.numbering.room() == 0 {
            return;
        }
        exchange.is_queued = true;
        entry.cmd_sn = self.numbering.take_cmd_sn();
        self.outbox.push_request(*tag);
    }

    pub(super) fn handle_text_response(&mut self, pdu: TextResponse) -> Result<(), Violation> {
        self.numbering.update_window(pdu.exp_cmd_sn, pdu.max_cmd_sn);
        self.numbering.count_status(pdu.stat_sn)?;
        let tag = pdu.initiator_task_tag;
        let Some(Entry { request: Request::Text(exchange), is_sent, .. }) = self.requests.sent(tag) else {
            return self.check_concluded(tag);
        };
        exchange.take_answer(&pdu.data)?;
        if pdu.is_final {
            return self.end_text(tag);
        }
        // RFC 7143 11.11.1: without F there is a tag to go on with.
        let target_transfer_tag = Some(pdu.target_transfer_tag.ok_or(Violation::TextResponseFlags)?);
        exchange.question = Some(Question { text: Bytes::new(), lun: pdu.lun, target_transfer_tag });
        *is_sent = false;
        Ok(())
    }

    fn end_text(&mut self, tag: InitiatorTaskTag) -> Result<(), Violation> {
        let Some(Entry { request: Request::Text(exchange), .. }) = self.remove(tag) else { return Ok(()) };
        self.events.push_back(match exchange.purpose {
            Purpose::SendTargets => Event::Targets { tag, targets: target_records(&exchange.answer)? },
            Purpose::Negotiation => Event::NegotiationComplete { tag },
        });
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
