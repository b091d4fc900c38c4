//! The data of one write that comes in order: which bursts the initiator may send, and what of them has come (RFC 7143 sections
//! 4.2.5.2, 11.7 and 11.8).
//!
//! ```text
//!   0          received = begin    begin + burst            granted        wanted      expected
//!   ├── came ─────────┼── first R2T ─────┼── second R2T ───────┤── not asked ──┼── not wanted ──┤
//! ```
//!
//! In: Data-Out headers. Out: whether they keep the rules, and which R2T comes next.
//!
//! Invariants: data comes in order (DataPDUInOrder and DataSequenceInOrder are Yes), so one offset says what has come and
//! another what was asked for; no more than FirstBurstLength is kept for an owner that has not asked for it.

use crate::{Parameters, Violation};
use bytes::Bytes;
use iscsi_pdu::{DataOut, TargetTransferTag};

/// The data of one write that comes in order.
#[derive(Debug, Default)]
pub(super) struct Transfer {
    /// Expected Data Transfer Length, if the command writes.
    expected: u32,
    /// The owner's tag, from when it has asked for the data.
    tag: Option<TargetTransferTag>,
    /// Bytes that the owner has asked for.
    wanted: u32,
    /// Bytes that have come.
    received: u32,
    /// Where the burst begins that is coming.
    begin: u32,
    /// Where the last burst ends that was asked for.
    granted: u32,
    /// DataSN of the next PDU of the burst.
    data_sn: u32,
    /// Unsolicited Data-Out PDUs are on the way.
    unsolicited: bool,
    /// Nothing of what comes is of use any more.
    discards: bool,
    /// The owner knows that all is there.
    told: bool,
    /// Unsolicited data that came before the owner has asked for it.
    early: Vec<u8>,
}

impl Transfer {
    /// A write of `expected` bytes, `immediate` of which are there; unsolicited data follows unless the command was final.
    pub(super) fn new(expected: u32, immediate: u32, unsolicited: bool) -> Self {
        Self { expected, received: immediate, begin: immediate, granted: immediate, unsolicited, ..Self::default() }
    }

    /// Whether the initiator has sent all that it was allowed to.
    pub(super) fn is_settled(&self) -> bool {
        !self.unsolicited && self.begin == self.granted
    }

    /// Whether an R2T waits for its last Data-Out.
    pub(super) fn has_outstanding_r2t(&self) -> bool {
        self.begin != self.granted
    }

    pub(super) fn discard(&mut self) {
        self.discards = true;
        self.early = Vec::new();
    }

    /// The owner asks for data. Returns whether all of it was there with the command.
    pub(super) fn want(&mut self, tag: Option<TargetTransferTag>, length: u32) -> bool {
        self.tag = tag;
        self.wanted = length.min(self.expected);
        // Of a task that is being aborted, what had come is gone.
        self.told = !self.discards && self.received - self.early.len() as u32 >= self.wanted;
        self.told
    }

    /// Data that came before the owner asked for it, and its offset.
    pub(super) fn take_early(&mut self) -> Option<(u32, Bytes)> {
        let early = std::mem::take(&mut self.early);
        let offset = self.received - early.len() as u32;
        let mut data = Bytes::from(early);
        data.truncate(self.wanted.saturating_sub(offset) as usize);
        (!data.is_empty()).then_some((offset, data))
    }

    /// The owner's tag, if it waits for data under it.
    pub(super) fn lent_tag(&self) -> Option<TargetTransferTag> {
        self.tag.filter(|_| !self.told)
    }

    /// Whether all that the owner asked for is there now and was not before; the burst that brought it is over.
    pub(super) fn becomes_complete(&mut self) -> bool {
        let complete =
            self.tag.is_some() && !self.told && !self.discards && self.is_settled() && self.received >= self.wanted;
        self.told |= complete;
        complete
    }

    /// Whether an R2T may be sent now.
    pub(super) fn may_ask(&self, parameters: &Parameters) -> bool {
        let outstanding = (self.granted - self.begin).div_ceil(parameters.burst_bytes_max);
        // RFC 7143 13.17: MaxOutstandingR2T bounds the R2Ts of a task.
        !self.unsolicited
            && !self.discards
            && self.granted < self.wanted
            && outstanding < u32::from(parameters.outstanding_r2t_max)
    }

    // RFC 7143 11.8-9, 11.8.4-2: each R2T begins where the one before ended.
    /// The tag, offset and length of the R2T that may be sent now. It counts as sent.
    pub(super) fn next_r2t(&mut self, parameters: &Parameters) -> Option<(TargetTransferTag, u32, u32)> {
        let tag = self.tag.filter(|_| self.may_ask(parameters))?;
        // RFC 7143 11.8.4: an R2T asks for no more than MaxBurstLength.
        let offset = self.granted;
        let length = (self.wanted - offset).min(parameters.burst_bytes_max);
        self.granted += length;
        Some((tag, offset, length))
    }

    // RFC 7143 7.3-4: there is no recovery R2T here.
    /// Takes the header of a Data-Out of `length` bytes.
    pub(super) fn accept(&mut self, pdu: &DataOut, length: u32, parameters: &Parameters) -> Result<(), Violation> {
        let end = self.burst_end(pdu.target_transfer_tag, parameters)?;
        if !self.discards {
            self.check(pdu, length, end)?;
            self.data_sn = self.data_sn.wrapping_add(1);
            self.received += length;
        }
        if pdu.is_final {
            self.close_burst(end);
        }
        Ok(())
    }

    /// Hands on the data of a Data-Out that was accepted just before: what the owner has asked for and where it belongs, or
    /// nothing if it is kept or of no use.
    pub(super) fn take(&mut self, offset: u32, mut data: Bytes) -> Option<(u32, Bytes)> {
        if self.discards {
            return None;
        }
        if self.tag.is_none() {
            self.early.extend_from_slice(&data);
            return None;
        }
        data.truncate(self.wanted.saturating_sub(offset) as usize);
        (!data.is_empty()).then_some((offset, data))
    }

    /// Where the burst ends that a Data-Out with this tag belongs to.
    fn burst_end(&self, tag: Option<TargetTransferTag>, parameters: &Parameters) -> Result<u32, Violation> {
        match tag {
            None if self.unsolicited => Ok(self.expected.min(parameters.first_burst_bytes_max)),
            None => Err(Violation::UnsolicitedDataNotAllowed),
            Some(_) if tag != self.tag || !self.has_outstanding_r2t() => Err(Violation::UnknownTransferTag),
            Some(_) => Ok(self.granted.min(self.begin.saturating_add(parameters.burst_bytes_max))),
        }
    }

    // RFC 7143 4.2.5.2-4, 4.2.5.2-6, 7.9-2: in order; a gap is like data with a bad digest, and the task fails.
    fn check(&self, pdu: &DataOut, length: u32, end: u32) -> Result<(), Violation> {
        let solicited = pdu.target_transfer_tag.is_some();
        // RFC 7143 7.9: a DataSN that is not the next means that a PDU before was lost.
        if pdu.data_sn != self.data_sn {
            return Err(Violation::DataOutSnOutOfOrder);
        }
        // RFC 7143 11.7.6: with DataPDUInOrder there are neither gaps nor overlays.
        if pdu.buffer_offset != self.received {
            return Err(Violation::DataOutOffset);
        }
        // No overflow: what has come ends at or before `end`.
        let missing = end.saturating_sub(self.received);
        if length > missing {
            return Err(if solicited { Violation::DataBeyondR2t } else { Violation::TooMuchUnsolicitedData });
        }
        // RFC 7143 11.4.7.2: the last PDU of a burst brings its end.
        if pdu.is_final && length < missing {
            return Err(if solicited { Violation::DataShortOfR2t } else { Violation::UnsolicitedDataIncomplete });
        }
        Ok(())
    }

    fn close_burst(&mut self, end: u32) {
        self.data_sn = 0;
        if self.unsolicited {
            self.unsolicited = false;
            self.granted = self.received;
            self.begin = self.received;
        } else {
            self.begin = end;
        }
    }
}
