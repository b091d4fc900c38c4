//! Text of a login: put together from segments, cut into segments, and read pair by pair as the rules allow.
//!
//! In: data segments of any bytes. Out: pairs whose keys may stand there, each once, or which rule is broken. A login holds and
//! answers at most [`TEXT_BYTES_MAX`] of text.

use crate::Violation;
use crate::keys::{End, Key, KeySet, Place, Use};
use crate::negotiation::is_answer_only;
use bytes::{Bytes, BytesMut};
use iscsi_pdu::Stage;
use iscsi_pdu::text::{self, Assembler, TEXT_BYTES_MAX};

/// Longest data segment that is sent during a login in bytes (RFC 7143 section 6.3).
pub(crate) const SEGMENT_BYTES_MAX: usize = crate::parameters::RECEIVE_SEGMENT_BYTES_DEFAULT as usize;

/// A rule that the peer broke, and the key with which it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Breach {
    pub(crate) violation: Violation,
    pub(crate) key: Option<&'static str>,
}

impl From<Violation> for Breach {
    fn from(violation: Violation) -> Self {
        Self { violation, key: None }
    }
}

impl Violation {
    /// The same, with the key that broke the rule.
    pub(crate) fn by(self, key: Key) -> Breach {
        Breach { violation: self, key: Some(key.row().name) }
    }
}

/// Text that comes in, over one or several PDUs: over the whole login no more than [`TEXT_BYTES_MAX`].
#[derive(Debug)]
pub(crate) struct Incoming {
    assembler: Assembler,
    bytes_left: usize,
}

impl Default for Incoming {
    fn default() -> Self {
        Self { assembler: Assembler::new(TEXT_BYTES_MAX), bytes_left: TEXT_BYTES_MAX }
    }
}

impl Incoming {
    /// Takes the data segment of a PDU and its C bit, and hands out the text when it is complete.
    pub(crate) fn push(&mut self, segment: Bytes, continues: bool) -> Result<Option<Bytes>, Violation> {
        // RFC 7143 6.1-4, 6.1-5: as much as the longest authentication takes.
        self.bytes_left = self.bytes_left.checked_sub(segment.len()).ok_or(Violation::LoginTooLong)?;
        self.assembler.push(segment, continues).map_err(|_| Violation::LoginTooLong)
    }
}

/// Text that goes out, over as many PDUs as it takes.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) text: BytesMut,
    segment_bytes_max: usize,
}

impl Outgoing {
    pub(crate) fn new(segment_bytes_max: usize) -> Self {
        Self { text: BytesMut::new(), segment_bytes_max }
    }

    /// The next data segment, and whether another follows (the C bit).
    pub(crate) fn next_segment(&mut self) -> (Bytes, bool) {
        let length = self.text.len().min(self.segment_bytes_max);
        let segment = self.text.split_to(length).freeze();
        (segment, !self.text.is_empty())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Whether a peer has had us answer more than we answer.
    pub(crate) fn is_too_long(&self) -> bool {
        self.text.len() > TEXT_BYTES_MAX
    }
}

/// Words for people, as a value: without control characters, and no longer than a value is (RFC 7143 section 6.1).
pub(crate) fn printable(words: &str) -> String {
    let mut printable: String = words.chars().filter(|character| !character.is_control()).collect();
    printable.truncate(printable.floor_char_boundary(VALUE_BYTES_MAX));
    printable
}

/// Longest simple value in bytes (RFC 7143 section 6.1).
const VALUE_BYTES_MAX: usize = 255;

/// A pair whose key may stand where it stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) key: Name,
    pub(crate) value: String,
}

/// The key of a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Known(Key),
    /// To be answered with NotUnderstood.
    Unknown(String),
}

/// Reads the texts of one peer, and remembers what it has said.
#[derive(Debug)]
pub(crate) struct Reader {
    from: End,
    said: KeySet,
    /// As whom an initiator has introduced itself, and to whom.
    introduction: Vec<(Key, String)>,
}

impl Reader {
    pub(crate) fn new(from: End) -> Self {
        Self { from, said: KeySet::default(), introduction: Vec::new() }
    }

    /// The pairs of a text in the order of the table of keys, unknown ones last. `leading` is whether this is the first connection
    /// of its session.
    pub(crate) fn read(&mut self, text: &[u8], stage: Stage, leading: bool) -> Result<Vec<Pair>, Breach> {
        let mut pairs = Vec::new();
        for pair in text::pairs(text) {
            let (name, value) = pair.map_err(|_| Violation::TextMalformed)?;
            match Key::named(name) {
                Some(key) if self.repeats_introduction(key, value) => {}
                Some(key) => {
                    self.admit(key, stage, leading)?;
                    if key.introduces() {
                        self.introduction.push((key, value.into()));
                    }
                    pairs.push(Pair { key: Name::Known(key), value: value.into() });
                }
                // An answer to what we never asked; to answer it could go on for ever.
                None if is_answer_only(value) => {}
                None => pairs.push(Pair { key: Name::Unknown(name.into()), value: value.into() }),
            }
        }
        pairs.sort_by_key(|pair| match pair.key {
            Name::Known(key) => key as usize,
            Name::Unknown(_) => Key::ALL.len(),
        });
        Ok(pairs)
    }

    /// RFC 7143 6.3 forbids it, yet libiscsi introduces itself again in the operational stage when its offer of CHAP was answered
    /// with None. As long as it says the same there is no harm in it.
    fn repeats_introduction(&self, key: Key, value: &str) -> bool {
        self.introduction.iter().any(|(said, before)| *said == key && before == value)
    }

    fn admit(&mut self, key: Key, stage: Stage, leading: bool) -> Result<(), Breach> {
        let in_place = match key.row().place {
            Place::Any => true,
            // RFC 7143 6.3-6: authentication has its place in the login alone.
            Place::Security => stage == Stage::SecurityNegotiation,
            Place::Operational => stage == Stage::LoginOperationalNegotiation,
            Place::FullFeature => false,
        };
        let in_use = leading || key.row().purpose == Use::Connection;
        // RFC 7143 12-1, 13-1: in place and in use.
        // RFC 7143 6.3: a key out of its stage is a protocol error; 13: so is one that the other end or another login sends.
        if !in_place || !in_use || !key.may_come_from(self.from) {
            return Err(Violation::KeyOutOfPlace.by(key));
        }
        // RFC 7143 6.3-10: nothing is declared or negotiated twice during a login.
        if !self.said.insert(key) && !key.may_be_repeated() {
            return Err(Violation::KeyRepeated.by(key));
        }
        Ok(())
    }
}
