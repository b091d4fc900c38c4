//! The data of one task: a write that is cut into immediate, unsolicited and solicited data, a read that is checked piece by
//! piece (RFC 7143 sections 4.2.5.2, 11.7 and 11.8).
//!
//! ```text
//!  write  ├─ immediate ─┼─ unsolicited ─┼─ R2T ─┼─ R2T ───┤      nothing is copied: each Data-Out is a slice
//!  read   ├─ received ──────────────────┤ next  │ expected ┤     nothing beyond the expected length is handed out
//! ```

use super::Transfer;
use crate::{Parameters, Violation};
use bytes::Bytes;
use iscsi_pdu::{DataIn, DataOut, InitiatorTaskTag, LunField, R2t, Residual, StatSn, TargetTransferTag};
use std::collections::VecDeque;

/// A sequence of Data-Out PDUs that we owe the target.
#[derive(Clone, Copy, Debug)]
struct Burst {
    /// The R2T that asked for it; none for unsolicited data.
    target_transfer_tag: Option<TargetTransferTag>,
    /// What is still to be sent.
    offset: u32,
    end: u32,
    data_sn: u32,
}

/// The write half of a task.
#[derive(Clone, Debug)]
pub(super) struct Write {
    data: Bytes,
    /// The sequence that is being sent; `waiting` is empty without it.
    current: Option<Burst>,
    /// Sequences that follow, in the order of their R2Ts: fewer than MaxOutstandingR2T.
    waiting: VecDeque<Burst>,
    r2t_count: u32,
    /// Where the last R2T ended.
    r2t_end: u32,
}

/// The read half of a task.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    expected: u32,
    received: u32,
    data_in_count: u32,
}

/// Both halves.
#[derive(Clone, Debug)]
pub(super) struct Data {
    pub(super) write: Option<Write>,
    pub(super) read: Option<Read>,
}

/// How much of a write goes without being asked for, in bytes from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unsolicited {
    /// Within the command.
    pub(super) immediate: u32,
    /// Within the command and the Data-Out PDUs that follow.
    pub(super) total: u32,
}

impl Unsolicited {
    /// RFC 7143 11.3.4: either immediate data alone, or all that FirstBurstLength allows.
    pub(super) fn of(length: u32, parameters: &Parameters) -> Self {
        let first_burst = length.min(parameters.first_burst_bytes_max);
        let immediate = if parameters.immediate_data { first_burst.min(segment_bytes_max(parameters)) } else { 0 };
        Self { immediate, total: if parameters.initial_r2t { immediate } else { first_burst } }
    }
}

/// The longest data segment that we send: whole words, unless it is the last of its sequence (RFC 7143 11.7.7).
fn segment_bytes_max(parameters: &Parameters) -> u32 {
    parameters.send_segment_bytes_max & !3
}

impl Data {
    pub(super) fn new(transfer: Transfer) -> Self {
        match transfer {
            Transfer::None => Self { write: None, read: None },
            Transfer::Read(expected) => Self { write: None, read: Some(Read::new(expected)) },
            Transfer::Write(data) => Self { write: Some(Write::new(data)), read: None },
            Transfer::Bidirectional { write, read } => {
                Self { write: Some(Write::new(write)), read: Some(Read::new(read)) }
            }
        }
    }

    /// RFC 7143 11.3.4: the length of the write if there is one, else of the read.
    pub(super) fn expected_length(&self) -> u32 {
        match (&self.write, &self.read) {
            (Some(write), _) => write.length(),
            (None, Some(read)) => read.expected,
            (None, None) => 0,
        }
    }

    /// RFC 7143 11.2.2.4: the length of the read beside a write.
    pub(super) fn bidirectional_read_length(&self) -> Option<u32> {
        self.write.as_ref().and(self.read).map(|read| read.expected)
    }

    pub(super) fn has_data_to_send(&self) -> bool {
        self.write.as_ref().is_some_and(|write| write.current.is_some())
    }

    /// DataSN and offset of the Data-In or R2T that would come next.
    #[cfg(test)]
    pub(super) fn next_numbers(&self, is_data_in: bool) -> (u32, u32) {
        let read = self.read.map_or((0, 0), |read| (read.data_in_count, read.received));
        let write = self.write.as_ref().map_or((0, 0), |write| (write.r2t_count, write.r2t_end));
        (read.0 + write.0, if is_data_in { read.1 } else { write.1 })
    }

    /// Takes a Data-In: returns whether it is new.
    pub(super) fn handle_data_in(&mut self, pdu: &DataIn, parameters: &Parameters) -> Result<bool, Violation> {
        let r2t_count = self.write.as_ref().map_or(0, |write| write.r2t_count);
        let read = self.read.as_mut().ok_or(Violation::DataWithoutRead)?;
        if !is_next(pdu.data_sn, read.data_in_count, r2t_count)? {
            // A status counts once, so it cannot stand in a PDU that comes twice.
            return if pdu.status.is_none() { Ok(false) } else { Err(Violation::DataSnOutOfOrder) };
        }
        read.handle_data(pdu, parameters)?;
        Ok(true)
    }

    /// Takes an R2T: returns whether there is data to send now where there was none before.
    pub(super) fn handle_r2t(&mut self, pdu: &R2t, parameters: &Parameters) -> Result<bool, Violation> {
        let data_in_count = self.read.map_or(0, |read| read.data_in_count);
        let write = self.write.as_mut().ok_or(Violation::R2tWithoutWrite)?;
        // RFC 7143 7.9: an R2T that comes twice is discarded.
        if !is_next(pdu.r2t_sn, write.r2t_count, data_in_count)? {
            return Ok(false);
        }
        write.handle_r2t(pdu, parameters)
    }

    /// Checks the count of Data-In PDUs in a response.
    ///
    /// RFC 7143 7.9: only a count of PDUs that have not come is an error. Some targets leave it zero, and the older RFC 3720
    /// had R2Ts counted too.
    pub(super) fn check_exp_data_sn(&self, exp_data_sn: u32) -> Result<(), Violation> {
        let data_ins = self.read.map_or(0, |read| read.data_in_count);
        let r2ts = self.write.as_ref().map_or(0, |write| write.r2t_count);
        if exp_data_sn > data_ins.saturating_add(r2ts) { Err(Violation::MissingData) } else { Ok(()) }
    }

    /// The residual of the first direction, and that of the read of a bidirectional command, such that neither claims more
    /// data than there was.
    pub(super) fn checked_residuals(&self, residual: Residual, read_residual: Residual) -> (Residual, Residual) {
        match (&self.write, &self.read) {
            (Some(write), None) => (limited(residual, write.length()), Residual::None),
            (Some(write), Some(read)) => (limited(residual, write.length()), read.checked(read_residual)),
            (None, Some(read)) => (read.checked(residual), Residual::None),
            (None, None) => (limited(residual, 0), Residual::None),
        }
    }
}

/// Whether a DataSN or R2TSN is the next of its task, not one that came before.
///
/// RFC 7143 4.2.2.4 has a bidirectional task number both in one sequence, its example A.3.3 has them number apart: `own` is
/// the count of the PDU's kind, `other` of the other kind, and either is accepted.
fn is_next(number: u32, own: u32, other: u32) -> Result<bool, Violation> {
    let shared = own.wrapping_add(other);
    if number == own || number == shared {
        Ok(true)
    } else if number < shared {
        Ok(false)
    } else {
        Err(Violation::DataSnOutOfOrder)
    }
}

/// An underflow cannot be more than all.
fn limited(residual: Residual, length: u32) -> Residual {
    match residual {
        Residual::Underflow(count) => underflow(count.min(length)),
        other => other,
    }
}

fn underflow(count: u32) -> Residual {
    if count == 0 { Residual::None } else { Residual::Underflow(count) }
}

impl Read {
    fn new(expected: u32) -> Self {
        Self { expected, received: 0, data_in_count: 0 }
    }

    fn handle_data(&mut self, pdu: &DataIn, parameters: &Parameters) -> Result<(), Violation> {
        let length = pdu.data.len();
        if length > parameters.receive_segment_bytes_max as usize {
            return Err(Violation::SegmentTooLong);
        }
        let end = u64::from(pdu.buffer_offset) + length as u64;
        if end > u64::from(self.expected) || u64::from(self.received) + length as u64 > u64::from(self.expected) {
            return Err(Violation::DataBeyondExpected);
        }
        let in_order = parameters.data_pdu_in_order && parameters.data_sequence_in_order;
        if in_order && length > 0 && pdu.buffer_offset != self.received {
            return Err(Violation::DataOutOfOrder);
        }
        self.received += length as u32;
        self.data_in_count = self.data_in_count.wrapping_add(1);
        Ok(())
    }

    /// What has not come is an underflow, even if the target does not say so.
    fn checked(&self, residual: Residual) -> Residual {
        let missing = self.expected - self.received;
        match residual {
            Residual::Underflow(count) => underflow(count.min(self.expected).max(missing)),
            Residual::Overflow(_) | Residual::None if missing > 0 => underflow(missing),
            other => other,
        }
    }
}

impl Write {
    fn new(data: Bytes) -> Self {
        assert!(u32::try_from(data.len()).is_ok(), "the data of a command is shorter than 4 GiB");
        Self { data, current: None, waiting: VecDeque::new(), r2t_count: 0, r2t_end: 0 }
    }

    pub(super) fn length(&self) -> u32 {
        self.data.len() as u32
    }

    /// Takes the immediate data, and owes what is to follow unsolicited.
    pub(super) fn begin(&mut self, unsolicited: Unsolicited) -> Bytes {
        if unsolicited.total > unsolicited.immediate {
            let (offset, end) = (unsolicited.immediate, unsolicited.total);
            self.current = Some(Burst { target_transfer_tag: None, offset, end, data_sn: 0 });
        }
        self.slice(0, unsolicited.immediate)
    }

    fn handle_r2t(&mut self, pdu: &R2t, parameters: &Parameters) -> Result<bool, Violation> {
        let length = pdu.desired_data_transfer_length;
        let end = pdu.buffer_offset.checked_add(length).filter(|end| *end <= self.length());
        let end = end.ok_or(Violation::R2tBeyondExpected)?;
        if length > parameters.burst_bytes_max {
            return Err(Violation::R2tTooLong);
        }
        // Unsolicited data may be asked for again (RFC 7143 4.2.5.2), so only R2Ts are compared with each other.
        if parameters.data_sequence_in_order && pdu.buffer_offset < self.r2t_end {
            return Err(Violation::R2tOutOfOrder);
        }
        let solicited = self.current.iter().chain(&self.waiting).filter(|burst| burst.target_transfer_tag.is_some());
        if solicited.count() >= usize::from(parameters.outstanding_r2t_max) {
            return Err(Violation::TooManyR2ts);
        }
        self.r2t_count = self.r2t_count.wrapping_add(1);
        self.r2t_end = end;
        let target_transfer_tag = Some(pdu.target_transfer_tag);
        let burst = Burst { target_transfer_tag, offset: pdu.buffer_offset, end, data_sn: 0 };
        if self.current.is_some() {
            self.waiting.push_back(burst);
            return Ok(false);
        }
        self.current = Some(burst);
        Ok(true)
    }

    /// The next Data-Out of the sequence that is being sent.
    pub(super) fn next_data_out(
        &mut self,
        initiator_task_tag: InitiatorTaskTag,
        lun: LunField,
        exp_stat_sn: StatSn,
        parameters: &Parameters,
    ) -> Option<DataOut> {
        let mut burst = self.current?;
        let length = (burst.end - burst.offset).min(segment_bytes_max(parameters));
        let pdu = DataOut {
            is_final: burst.offset + length == burst.end,
            // RFC 7143 11.7.4: the LUN goes with the Target Transfer Tag.
            lun: if burst.target_transfer_tag.is_some() { lun } else { LunField::default() },
            initiator_task_tag,
            target_transfer_tag: burst.target_transfer_tag,
            exp_stat_sn,
            data_sn: burst.data_sn,
            buffer_offset: burst.offset,
            data: self.slice(burst.offset, burst.offset + length),
        };
        burst.offset += length;
        burst.data_sn = burst.data_sn.wrapping_add(1);
        self.current = if pdu.is_final { self.waiting.pop_front() } else { Some(burst) };
        Some(pdu)
    }

    fn slice(&self, begin: u32, end: u32) -> Bytes {
        self.data.slice(begin as usize..end as usize)
    }
}
