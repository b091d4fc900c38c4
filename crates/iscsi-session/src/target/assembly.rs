//! The data of one write that may come with holes or out of order (RFC 7143 sections 7.1.4.1, 7.8, 7.9, 11.8 and 13.18).
//!
//! ```text
//!   0            handed                                              wanted      expected
//!   ├─ handed on ──┼── hole ──┤ piece ├── sequence ──┤── not asked ────┼── not wanted ──┤
//! ```
//!
//! In: Data-Out PDUs that are whole, damaged, late or missing, and silence. Out: the data in order, and which R2T comes next: always for
//! the first bytes that are neither there nor on the way, so that a hole is asked for like what was never asked for.
//!
//! Invariants: pieces do not overlap and lie behind what was handed on; no more sequences are outstanding than MaxOutstandingR2T and
//! the unsolicited one; a task is recovered a bounded number of times;
//! a piece costs the logarithm of how many there are.

use super::event::DataPiece;
use crate::{Parameters, Violation};
use bytes::Bytes;
use iscsi_pdu::{DataOut, TargetTransferTag};
use std::collections::{BTreeMap, VecDeque};

/// How often data of one task may get lost before the task ends.
const LOSSES_MAX: u32 = 64;

/// Pieces behind a hole that are kept. What comes in more counts as lost.
const PIECES_MAX: usize = 4096;

/// Data that the initiator may send: unsolicited, or in answer to one R2T.
#[derive(Debug)]
struct Sequence {
    /// None for unsolicited data.
    r2t_sn: Option<u32>,
    begin: u32,
    end: u32,
    /// DataSN of the next PDU.
    data_sn: u32,
    /// Where the data ends that has come.
    high: u32,
    /// A PDU has come.
    heard: bool,
    /// A PDU has got lost, or may come late from a sequence before that was about the same data.
    has_lost: bool,
    /// Its R2T was sent again.
    repeated: bool,
}

impl Sequence {
    fn new(r2t_sn: Option<u32>, begin: u32, end: u32) -> Self {
        Self { r2t_sn, begin, end, data_sn: 0, high: begin, heard: false, has_lost: false, repeated: false }
    }

    fn covers(&self, offset: u32, length: u32) -> bool {
        self.begin <= offset && u64::from(offset) + u64::from(length) <= self.end.into()
    }
}

/// What to do about data that does not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// Nothing is waited for.
    Nothing,
    /// It is not silent yet.
    Waits,
    /// The R2T with this number may have got lost.
    Repeats(u32),
    /// A sequence is over: what is missing is to be asked for again.
    AsksAgain,
    /// Too much was lost.
    Fails,
}

/// The data of one write.
#[derive(Debug)]
pub(super) struct Assembly {
    /// Expected Data Transfer Length.
    expected: u32,
    /// The owner's tag, from when it has asked for the data.
    tag: Option<TargetTransferTag>,
    /// Bytes that the owner has asked for.
    wanted: u32,
    /// Bytes that were handed on, the immediate ones among them.
    handed: u32,
    /// What has come behind that, by offset.
    pieces: BTreeMap<u32, Bytes>,
    /// What is on the way, oldest first.
    sequences: VecDeque<Sequence>,
    /// Offset and end of the unsolicited data that was allowed.
    unsolicited: Option<(u32, u32)>,
    /// Offset and length of every R2T, by R2TSN: they come before the Data-In of a task.
    asked: Vec<(u32, u32)>,
    /// The end of all that R2Ts have asked for: each asks for the first hole, so that what is missing before it was asked for once.
    asked_end: u32,
    losses: u32,
    /// Nothing of what comes is of use any more.
    discards: bool,
    /// The owner knows that all is there.
    told: bool,
    /// Something has happened since the last look for silence.
    stirred: bool,
}

impl Assembly {
    /// A write of `expected` bytes, `immediate` of which are there; unsolicited data follows unless the command was final.
    pub(super) fn new(expected: u32, immediate: u32, unsolicited: bool, parameters: &Parameters) -> Self {
        let first_burst_end = expected.min(parameters.first_burst_bytes_max).max(immediate);
        let unsolicited = unsolicited.then_some((immediate, first_burst_end));
        let sequences = unsolicited.map(|(begin, end)| Sequence::new(None, begin, end));
        Self {
            unsolicited,
            expected,
            tag: None,
            wanted: 0,
            handed: immediate,
            pieces: BTreeMap::new(),
            sequences: sequences.into_iter().collect(),
            asked: Vec::new(),
            asked_end: 0,
            losses: 0,
            discards: false,
            told: false,
            stirred: true,
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.sequences.is_empty()
    }

    pub(super) fn has_outstanding_r2t(&self) -> bool {
        self.sequences.iter().any(|sequence| sequence.r2t_sn.is_some())
    }

    pub(super) fn discard(&mut self) {
        self.discards = true;
        self.pieces.clear();
    }

    pub(super) fn want(&mut self, tag: Option<TargetTransferTag>, length: u32) -> bool {
        self.tag = tag;
        self.wanted = length.min(self.expected);
        self.told = !self.discards && self.handed >= self.wanted;
        self.told
    }

    pub(super) fn lent_tag(&self) -> Option<TargetTransferTag> {
        self.tag.filter(|_| !self.told)
    }

    pub(super) fn becomes_complete(&mut self) -> bool {
        let complete =
            self.tag.is_some() && !self.told && !self.discards && self.is_settled() && self.handed >= self.wanted;
        self.told |= complete;
        complete
    }

    pub(super) fn may_ask(&self, parameters: &Parameters) -> bool {
        // RFC 7143 13.17: MaxOutstandingR2T bounds the R2Ts of a task.
        self.tag.is_some()
            && !self.discards
            && self.sequences.len() < usize::from(parameters.outstanding_r2t_max)
            && self.sequences.iter().all(|sequence| sequence.r2t_sn.is_some())
            && self.hole(self.handed, self.wanted).is_some()
    }

    /// The tag, offset and length of the R2T that may be sent now. It counts as sent.
    pub(super) fn next_r2t(&mut self, parameters: &Parameters) -> Option<(TargetTransferTag, u32, u32)> {
        let tag = self.tag.filter(|_| self.may_ask(parameters))?;
        let (begin, end) = self.hole(self.handed, self.wanted)?;
        // RFC 7143 11.8.4: an R2T asks for no more than MaxBurstLength.
        let length = (end - begin).min(parameters.burst_bytes_max);
        // RFC 7143 11.8: one for what was lost has the next R2TSN too.
        let mut sequence = Sequence::new(Some(self.asked.len() as u32), begin, begin + length);
        sequence.has_lost = self.was_allowed(true, begin, 1) || self.was_allowed(false, begin, 1);
        self.sequences.push_back(sequence);
        self.asked.push((begin, length));
        self.asked_end = self.asked_end.max(begin + length);
        self.stirred = true;
        Some((tag, begin, length))
    }

    /// The tag, offset and length of an R2T that was sent, if some of its data has not come; that is waited for again.
    pub(super) fn repeat_r2t(&mut self, r2t_sn: u32) -> Option<(TargetTransferTag, u32, u32)> {
        let (begin, length) = *self.asked.get(r2t_sn as usize)?;
        let tag = self.tag.filter(|_| self.is_missing(r2t_sn))?;
        if self.sequences.iter().all(|sequence| sequence.r2t_sn != Some(r2t_sn)) {
            self.sequences.push_back(Sequence::new(Some(r2t_sn), begin, begin + length));
        }
        self.stirred = true;
        Some((tag, begin, length))
    }

    /// Nothing that was asked for comes any more, and the owner has to give another tag. The initiator knows of so many R2Ts.
    pub(super) fn restart(&mut self, r2t_count: u32) {
        self.sequences.clear();
        self.asked.truncate(r2t_count as usize);
        self.asked_end = self.asked.iter().map(|(begin, length)| begin + length).max().unwrap_or(0);
        self.tag = None;
    }

    /// Whether data of an R2T has not come.
    pub(super) fn is_missing(&self, r2t_sn: u32) -> bool {
        let asked = self.asked.get(r2t_sn as usize);
        asked.is_some_and(|(begin, length)| !self.discards && !self.is_there(*begin, begin + length))
    }

    // RFC 7143 7.3-4: what was damaged counts in its sequence.
    /// Takes a Data-Out of `length` bytes; its data is not there if it was damaged.
    pub(super) fn accept(
        &mut self,
        pdu: &DataOut,
        length: u32,
        data: Option<&Bytes>,
        parameters: &Parameters,
    ) -> Result<(), Violation> {
        self.stirred = true;
        let place = self.find(pdu, length, parameters)?;
        let data = data.filter(|_| self.pieces.len() < PIECES_MAX || pdu.buffer_offset <= self.handed);
        if let (Some(place), false) = (place, self.discards) {
            self.count(place, pdu, length, data.is_none(), parameters)?;
        }
        if let (Some(data), false) = (data, self.discards) {
            self.insert(pdu.buffer_offset, data);
        }
        match place {
            Some(place) if pdu.is_final => self.close(place),
            _ => Ok(()),
        }
    }

    /// The sequence that a Data-Out belongs to; none if it comes late.
    fn find(&mut self, pdu: &DataOut, length: u32, parameters: &Parameters) -> Result<Option<usize>, Violation> {
        let solicited = pdu.target_transfer_tag.is_some();
        if solicited && pdu.target_transfer_tag != self.tag {
            return Err(Violation::UnknownTransferTag);
        }
        let of_kind = |sequence: &Sequence| sequence.r2t_sn.is_some() == solicited;
        let covers = |sequence: &Sequence| of_kind(sequence) && sequence.covers(pdu.buffer_offset, length);
        if let Some(place) = self.sequences.iter().position(covers) {
            // RFC 7143 11.8: sequences come in the order of their R2Ts, so that the end of one before was lost.
            if place > 0 && parameters.error_recovery_level == 0 {
                return Err(Violation::DataOutOffset);
            }
            for _ in 0..place {
                self.sequences.pop_front();
                self.lose()?;
            }
            return Ok(Some(0));
        }
        if parameters.error_recovery_level > 0 && self.was_allowed(solicited, pdu.buffer_offset, length) {
            return Ok(None);
        }
        let Some(place) = self.sequences.iter().position(of_kind) else {
            return Err(if solicited { Violation::UnknownTransferTag } else { Violation::UnsolicitedDataNotAllowed });
        };
        if self.discards {
            return Ok(Some(place));
        }
        let sequence = &self.sequences[place];
        if !(sequence.begin..=sequence.end).contains(&pdu.buffer_offset) {
            return Err(Violation::DataOutOffset);
        }
        Err(if solicited { Violation::DataBeyondR2t } else { Violation::TooMuchUnsolicitedData })
    }

    /// Whether data was waited for once that is not waited for any more.
    fn was_allowed(&self, solicited: bool, offset: u32, length: u32) -> bool {
        let covers = |begin, end| Sequence::new(None, begin, end).covers(offset, length);
        if solicited {
            self.asked.first().is_some_and(|(begin, _)| covers(*begin, self.asked_end))
        } else {
            self.unsolicited.is_some_and(|(begin, end)| covers(begin, end))
        }
    }

    /// RFC 7143 7.3 and 7.9: DataSN goes on over what was lost, if that can be recovered.
    fn count(
        &mut self,
        place: usize,
        pdu: &DataOut,
        length: u32,
        damaged: bool,
        parameters: &Parameters,
    ) -> Result<(), Violation> {
        let sequence = &mut self.sequences[place];
        sequence.heard = true;
        let ahead = pdu.data_sn.wrapping_sub(sequence.data_sn) as i32;
        if ahead != 0 && parameters.error_recovery_level == 0 {
            return Err(Violation::DataOutSnOutOfOrder);
        }
        sequence.has_lost |= damaged || ahead != 0;
        if ahead < 0 {
            return Ok(());
        }
        sequence.data_sn = pdu.data_sn.wrapping_add(1);
        // RFC 7143 13.18: with DataPDUInOrder there are neither gaps nor overlays.
        if parameters.data_pdu_in_order && !sequence.has_lost && pdu.buffer_offset != sequence.high {
            return Err(Violation::DataOutOffset);
        }
        sequence.high = sequence.high.max(pdu.buffer_offset + length);
        Ok(())
    }

    /// The last PDU of a sequence has come.
    fn close(&mut self, place: usize) -> Result<(), Violation> {
        let Some(sequence) = self.sequences.remove(place).filter(|_| !self.discards) else {
            return Ok(());
        };
        if self.is_there(sequence.begin, sequence.end) {
            return Ok(());
        }
        match (sequence.has_lost, sequence.r2t_sn) {
            (true, _) => self.lose(),
            (false, Some(_)) => Err(Violation::DataShortOfR2t),
            (false, None) => Err(Violation::UnsolicitedDataIncomplete),
        }
    }

    fn lose(&mut self) -> Result<(), Violation> {
        self.losses += 1;
        if self.losses > LOSSES_MAX && !self.discards { Err(Violation::DataOutSnOutOfOrder) } else { Ok(()) }
    }

    /// Hands on what is in order, once the owner has asked for it. What it has not asked for is left out.
    pub(super) fn hand_on(&mut self, mut give: impl FnMut(DataPiece)) {
        if self.discards || self.tag.is_none() {
            return;
        }
        while let Some(piece) = self.pieces.first_entry().filter(|piece| *piece.key() == self.handed) {
            let (offset, mut data) = piece.remove_entry();
            self.handed += data.len() as u32;
            data.truncate(self.wanted.saturating_sub(offset) as usize);
            if !data.is_empty() {
                give((offset, data));
            }
        }
    }

    /// Some time has passed.
    pub(super) fn look_for_silence(&mut self) -> Silence {
        let stirred = std::mem::take(&mut self.stirred);
        let Some(sequence) = self.sequences.front_mut() else { return Silence::Nothing };
        if stirred {
            return Silence::Waits;
        }
        if self.discards {
            self.sequences.clear();
            return Silence::AsksAgain;
        }
        if let (Some(r2t_sn), true) = (sequence.r2t_sn, !sequence.heard && !sequence.repeated) {
            sequence.repeated = true;
            return Silence::Repeats(r2t_sn);
        }
        // RFC 7143 13.17: a sequence that has timed out is not outstanding any more.
        self.sequences.pop_front();
        if self.lose().is_err() { Silence::Fails } else { Silence::AsksAgain }
    }

    /// Keeps what is new of a piece.
    fn insert(&mut self, offset: u32, data: &Bytes) {
        let end = offset + data.len() as u32;
        let mut from = offset;
        while let Some((begin, stop)) = self.missing(from, end) {
            let piece = data.slice((begin - offset) as usize..(stop - offset) as usize);
            // What waits for the owner does not keep a whole receive buffer.
            let piece = if self.tag.is_none() { Bytes::copy_from_slice(&piece) } else { piece };
            self.pieces.insert(begin, piece);
            from = stop;
        }
    }

    fn is_there(&self, begin: u32, end: u32) -> bool {
        self.missing(begin, end).is_none()
    }

    /// The first range within this one that is not there.
    fn missing(&self, begin: u32, end: u32) -> Option<(u32, u32)> {
        let mut from = begin.max(self.handed);
        if let Some((offset, piece)) = self.pieces.range(..=from).next_back() {
            from = from.max(offset + piece.len() as u32);
        }
        for (offset, piece) in self.pieces.range(from..) {
            if *offset > from {
                return (from < end).then_some((from, end.min(*offset)));
            }
            from = offset + piece.len() as u32;
        }
        (from < end).then_some((from, end))
    }

    /// The first range within this one that is neither there nor on the way.
    fn hole(&self, begin: u32, end: u32) -> Option<(u32, u32)> {
        let mut from = begin;
        loop {
            let (start, stop) = self.missing(from, end)?;
            let covering = self.sequences.iter().find(|sequence| sequence.begin <= start && start < sequence.end);
            match covering {
                Some(sequence) => from = sequence.end,
                None => {
                    let next =
                        self.sequences.iter().map(|sequence| sequence.begin).filter(|begin| *begin > start).min();
                    return Some((start, stop.min(next.unwrap_or(stop))));
                }
            }
        }
    }
}
