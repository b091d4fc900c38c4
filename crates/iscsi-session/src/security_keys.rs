//! The keys of one step of an authentication exchange (RFC 7143 section 12.1).

use crate::Violation;
use crate::chap::{self, Challenge};
use crate::keys::{Key, Rule, parse_number};
use crate::login_text::{Breach, Name, Pair};
use bytes::BytesMut;
use iscsi_pdu::text;

/// The pairs of a text, of which the steps look at their own keys only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepKeys<'a>(pub(crate) &'a [Pair]);

impl<'a> StepKeys<'a> {
    /// Makes sure that no other keys of an authentication exchange are there (RFC 7143 section 9.2).
    pub(crate) fn only(self, allowed: &[Key]) -> Result<Self, Breach> {
        for pair in self.0 {
            match pair.key {
                Name::Known(key) if key.row().rule == Rule::Step && !allowed.contains(&key) => {
                    return Err(Violation::SecurityKeyOutOfStep.by(key));
                }
                _ => {}
            }
        }
        Ok(self)
    }

    pub(crate) fn find(self, key: Key) -> Option<&'a str> {
        self.0.iter().find(|pair| pair.key == Name::Known(key)).map(|pair| pair.value.as_str())
    }

    pub(crate) fn required(self, key: Key) -> Result<&'a str, Breach> {
        self.find(key).ok_or(Violation::MissingSecurityKey.by(key))
    }

    /// CHAP_I and CHAP_C, both or none.
    pub(crate) fn challenge(self) -> Result<Option<Challenge>, Breach> {
        if self.find(Key::ChapIdentifier).is_none() && self.find(Key::ChapChallenge).is_none() {
            return Ok(None);
        }
        let (identifier, bytes) = (self.required(Key::ChapIdentifier)?, self.required(Key::ChapChallenge)?);
        let identifier = parse_number(identifier).and_then(|number| u8::try_from(number).ok());
        Ok(Some(Challenge {
            identifier: identifier.ok_or(Violation::SecurityKeyOutOfStep.by(Key::ChapIdentifier))?,
            bytes: chap::decode_binary(bytes).ok_or(Violation::SecurityKeyOutOfStep.by(Key::ChapChallenge))?,
        }))
    }
}

impl Challenge {
    /// Appends CHAP_I and CHAP_C.
    pub(crate) fn push(&self, text: &mut BytesMut) {
        text::push(text, Key::ChapIdentifier.row().name, &self.identifier.to_string());
        // RFC 7143 6.1-3: longer than 64 bits, so in hexadecimal digits.
        text::push(text, Key::ChapChallenge.row().name, &text::hex(&self.bytes));
    }
}
