//! The data of one task: a write that is cut into immediate, unsolicited and solicited data, a read that is checked piece by
//! piece (RFC 7143 sections 4.2.5.2, 11.7 and 11.8).
//!
//! ```text
//!  write  ├─ immediate ─┼─ unsolicited ─┼─ R2T ─┼─ R2T ───┤      nothing is copied: each Data-Out is a slice
//!  read   ├─ received ──────────────────┤ next  │ expected ┤     nothing beyond the expected length is handed out
//! ```

use super::Transfer;
use super::coverage::Coverage;
use super::repetition::Repetition;
use crate::{Parameters, Violation};
use bytes::Bytes;
use iscsi_pdu::{
    DataIn, DataInStatus, DataOut, InitiatorTaskTag, LunField, R2t, Residual, ScsiResponse, ScsiResponseCode, StatSn,
    TargetTransferTag,
};
use std::collections::VecDeque;

/// How many R2Ts that wait for their turn may ask for the same bytes, where PDUs may be lost; of several bytes fewer.
const SAME_R2TS_MAX: usize = 64;

/// A sequence of Data-Out PDUs that we owe the target.
#[derive(Clone, Copy, Debug)]
struct Burst {
    /// The R2T that asked for it; none for unsolicited data.
    target_transfer_tag: Option<TargetTransferTag>,
    /// Where it began.
    begin: u32,
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
    /// Sequences that follow, in the order of their R2Ts; few, as [`has_too_many`](Self::has_too_many) says.
    waiting: VecDeque<Burst>,
    r2t_count: u32,
    /// Where the last R2T ended.
    r2t_end: u32,
    /// What was asked for, if that may be in any order.
    asked: Option<Box<Coverage>>,
}

/// The read half of a task.
#[derive(Clone, Debug)]
pub(super) struct Read {
    expected: u32,
    received: u32,
    data_in_count: u32,
    /// What has come may come again.
    is_resumed: bool,
    /// MaxRecvDataSegmentLength of the connection that it was on before.
    segment_bytes_before: u32,
    repetition: Repetition,
    /// What has come, if it may come in any order.
    pieces: Option<Box<Coverage>>,
}

/// Both halves.
#[derive(Clone, Debug)]
pub(super) struct Data {
    pub(super) write: Option<Write>,
    pub(super) read: Option<Read>,
    missing: Missing,
    /// The task was reassigned: the target may begin again before what has come.
    resumes: bool,
}

/// What is known of Data-In PDUs and R2Ts that have not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    /// Nothing.
    Nothing,
    /// The next was asked for.
    AskedFor,
    /// The target will not send it.
    GivenUp,
}

/// Where a Data-In or R2T stands in its sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It is the next, and was taken.
    New,
    /// It has come before.
    Again,
    /// Another is missing before it; it was not taken.
    Early,
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
    // RFC 7143 4.2.5.2-1, 4.2.5.2-2, 11.3.4-3, 11.8-1, 13.11-1, 13.11-3, 13.12-1: what both have agreed to; no more, and no less.
    /// RFC 7143 11.3.4: either immediate data alone, or all that FirstBurstLength allows.
    pub(super) fn of(length: u32, parameters: &Parameters) -> Self {
        let first_burst = length.min(parameters.first_burst_bytes_max);
        let immediate = if parameters.immediate_data { first_burst.min(segment_bytes_max(parameters)) } else { 0 };
        Self { immediate, total: if parameters.initial_r2t { immediate } else { first_burst } }
    }
}

// RFC 7143 11.7.1-1, 11.7.7-2: no longer than the target receives.
/// The longest data segment that we send: whole words, unless it is the last of its sequence (RFC 7143 11.7.7).
fn segment_bytes_max(parameters: &Parameters) -> u32 {
    parameters.send_segment_bytes_max & !3
}

impl Data {
    pub(super) fn new(transfer: Transfer) -> Self {
        let (write, read) = match transfer {
            Transfer::None => (None, None),
            Transfer::Read(expected) => (None, Some(Read::new(expected))),
            Transfer::Write(data) => (Some(Write::new(data)), None),
            Transfer::Bidirectional { write, read } => (Some(Write::new(write)), Some(Read::new(read))),
        };
        Self { write, read, missing: Missing::Nothing, resumes: false }
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
        self.write.as_ref().and(self.read.as_ref()).map(|read| read.expected)
    }

    pub(super) fn has_data_to_send(&self) -> bool {
        self.write.as_ref().is_some_and(|write| write.current.is_some())
    }

    /// DataSN and offset of the Data-In or R2T that would come next.
    #[cfg(test)]
    pub(super) fn next_numbers(&self, is_data_in: bool) -> (u32, u32) {
        let read = self.read.as_ref().map_or((0, 0), |read| (read.data_in_count, read.received));
        let write = self.write.as_ref().map_or((0, 0), |write| (write.r2t_count, write.r2t_end));
        (read.0 + write.0, if is_data_in { read.1 } else { write.1 })
    }

    /// Takes a Data-In.
    pub(super) fn handle_data_in(&mut self, pdu: &mut DataIn, parameters: &Parameters) -> Result<Arrival, Violation> {
        if self.resumes {
            self.begin_again(pdu.data_sn);
        }
        let r2t_count = self.write.as_ref().map_or(0, |write| write.r2t_count);
        let read = self.read.as_mut().ok_or(Violation::DataWithoutRead)?;
        let arrival = match read.repetition {
            Repetition::AsSent => arrival(pdu.data_sn, read.data_in_count, r2t_count),
            Repetition::CutAnew(_) if read.misses_before(pdu) => Arrival::Early,
            Repetition::CutAnew(_) => Arrival::New,
        };
        match arrival {
            Arrival::New => {
                read.handle_data(pdu, parameters)?;
                self.take_next();
            }
            // At level 0 a status counts once, so it cannot stand in a PDU that comes twice.
            Arrival::Again if pdu.status.is_some() && parameters.error_recovery_level == 0 => {
                return Err(Violation::DataSnOutOfOrder);
            }
            Arrival::Again | Arrival::Early => {}
        }
        Ok(arrival)
    }

    /// Takes an R2T.
    pub(super) fn handle_r2t(&mut self, pdu: &R2t, parameters: &Parameters) -> Result<Arrival, Violation> {
        if self.resumes {
            self.begin_again(pdu.r2t_sn);
        }
        let data_in_count = self.read.as_ref().map_or(0, |read| read.data_in_count);
        let write = self.write.as_mut().ok_or(Violation::R2tWithoutWrite)?;
        // RFC 7143 7.9: an R2T that comes twice is discarded.
        let mut arrival = arrival(pdu.r2t_sn, write.r2t_count, data_in_count);
        if arrival == Arrival::Early && self.missing == Missing::GivenUp && self.read.is_none() {
            // RFC 7143 7.1.4.1: what the target does not ask for again it has asked for anew.
            (arrival, self.missing) = (Arrival::New, Missing::Nothing);
            write.r2t_count = pdu.r2t_sn;
        }
        if arrival == Arrival::New {
            write.handle_r2t(pdu, parameters)?;
            self.take_next();
        }
        Ok(arrival)
    }

    fn take_next(&mut self) {
        let is_status_owed = self.read.as_ref().is_some_and(|read| read.repetition.is_status_owed());
        if self.missing == Missing::AskedFor && !is_status_owed {
            self.missing = Missing::Nothing;
        }
    }

    /// DataSN or R2TSN of the next PDU of the task: RFC 7143 4.2.2.4 counts both in one sequence.
    pub(super) fn next_data_sn(&self) -> u32 {
        let data_ins = self.read.as_ref().map_or(0, |read| read.data_in_count);
        let r2ts = self.write.as_ref().map_or(0, |write| write.r2t_count);
        data_ins.wrapping_add(r2ts)
    }

    /// DataSN that a TASK REASSIGN acknowledges (RFC 7143 section 11.5.6); zero changes nothing, where what is cut anew may have other numbers.
    pub(super) fn exp_data_sn(&self) -> u32 {
        if self.cut_anew().is_some() { 0 } else { self.next_data_sn() }
    }

    fn cut_anew(&self) -> Option<&Read> {
        self.read.as_ref().filter(|read| read.repetition.is_cut_anew())
    }

    /// Whether as many Data-In PDUs have come as a response counts; of what may be cut anew, as many bytes as a good one has.
    ///
    /// RFC 7143 7.9: only a count of PDUs that have not come is an error. Some targets leave it zero, and the older RFC 3720
    /// had R2Ts counted too.
    pub(super) fn has_all_of(&self, pdu: &ScsiResponse) -> bool {
        let is_good = (pdu.response, pdu.status) == (ScsiResponseCode::CompletedAtTarget, 0);
        match self.cut_anew().filter(|_| is_good) {
            Some(read) => read.has_all_up_to(read.received, pdu.residual),
            None => pdu.exp_data_sn <= self.next_data_sn(),
        }
    }

    /// Whether all that comes before a Data-In with a status has come.
    pub(super) fn has_all_before(&self, pdu: &DataIn, status: &DataInStatus) -> bool {
        let end = pdu.buffer_offset.saturating_add(pdu.data.len() as u32);
        match self.cut_anew() {
            Some(read) => !read.misses_before(pdu) && read.has_all_up_to(read.received.max(end), status.residual),
            None => pdu.data_sn <= self.next_data_sn(),
        }
    }

    /// Whether a status that names this SNACK Tag is the one of the task.
    pub(super) fn is_ended_by(&self, snack_tag: u32) -> bool {
        self.read.as_ref().is_none_or(|read| read.repetition.is_ended_by(snack_tag))
    }

    /// A status of before has come: the task's own is to follow. Returns whether it was not waited for before.
    pub(super) fn await_status(&mut self) -> bool {
        if let Some(read) = &mut self.read {
            read.repetition.await_status();
        }
        self.begin_asking()
    }

    // RFC 7143 11.16.3-1
    /// What is missing is asked for now: the SNACK Tag by which it is cut anew; none if it comes as it was sent.
    pub(super) fn begin_repetition(&mut self) -> Option<u32> {
        self.read.as_mut()?.repetition.begin()
    }

    /// The next PDU is asked for: returns whether it was not before.
    pub(super) fn begin_asking(&mut self) -> bool {
        let begins = self.missing == Missing::Nothing;
        if begins {
            self.missing = Missing::AskedFor;
        }
        begins
    }

    pub(super) fn is_asked_for(&self) -> bool {
        self.missing == Missing::AskedFor
    }

    /// What is missing will not come.
    pub(super) fn give_up(&mut self) {
        self.missing = Missing::GivenUp;
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.missing == Missing::GivenUp
    }

    /// The connection has ended, or the command is sent again: nothing that was asked for before is to be answered.
    pub(super) fn interrupt(&mut self) {
        if let Some(write) = &mut self.write {
            write.current = None;
            write.waiting.clear();
        }
        self.take_next();
    }

    /// The connection has ended, on which no longer segments came than this.
    pub(super) fn leave(&mut self, segment_bytes_max: u32) {
        if let Some(read) = &mut self.read {
            read.segment_bytes_before = segment_bytes_max;
            read.repetition.leave();
        }
        self.interrupt();
    }

    /// The task was reassigned to a connection.
    pub(super) fn resume(&mut self, parameters: &Parameters) {
        self.resumes = true;
        let Some(read) = &mut self.read else { return };
        read.is_resumed = true;
        let is_in_order = parameters.data_pdu_in_order && parameters.data_sequence_in_order;
        let is_changed = read.segment_bytes_before != parameters.receive_segment_bytes_max;
        if self.write.is_none() && is_in_order && is_changed {
            read.repetition.cut_anew();
        }
    }

    /// The first PDU after a reassignment tells where the target begins: RFC 7143 7.2.2 lets it repeat what it cannot tell apart.
    fn begin_again(&mut self, number: u32) {
        self.resumes = false;
        match (&mut self.read, &mut self.write) {
            (Some(read), None) => read.data_in_count = read.data_in_count.min(number),
            (None, Some(write)) => write.r2t_count = write.r2t_count.min(number),
            _ => {}
        }
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

// RFC 7143 7.9-5: what has come before is not taken again.
/// Where a DataSN or R2TSN stands among those of its task.
///
/// RFC 7143 4.2.2.4 has a bidirectional task number both in one sequence, its example A.3.3 has them number apart: `own` is
/// the count of the PDU's kind, `other` of the other kind, and either is accepted.
fn arrival(number: u32, own: u32, other: u32) -> Arrival {
    let shared = own.wrapping_add(other);
    if number == own || number == shared {
        Arrival::New
    } else if number < shared {
        Arrival::Again
    } else {
        Arrival::Early
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
        let repetition = Repetition::AsSent;
        Self {
            expected,
            received: 0,
            data_in_count: 0,
            is_resumed: false,
            segment_bytes_before: 0,
            repetition,
            pieces: None,
        }
    }

    /// Whether something is missing before a PDU of what may be cut anew: numbers do not tell, since they may begin again.
    fn misses_before(&self, pdu: &DataIn) -> bool {
        !pdu.data.is_empty() && pdu.buffer_offset > self.received
    }

    /// Whether a status with this residual ends a read of which all bytes before this one have come.
    fn has_all_up_to(&self, end: u32, residual: Residual) -> bool {
        match residual {
            Residual::Underflow(count) => end >= self.expected.saturating_sub(count),
            Residual::None | Residual::Overflow(_) => end >= self.expected,
        }
    }

    // RFC 7143 11.7.7-1: a piece may be empty.
    fn handle_data(&mut self, pdu: &mut DataIn, parameters: &Parameters) -> Result<(), Violation> {
        if pdu.data.len() > parameters.receive_segment_bytes_max as usize {
            return Err(Violation::SegmentTooLong);
        }
        if self.is_resumed {
            self.skip_received(pdu);
        }
        let length = pdu.data.len();
        let end = u64::from(pdu.buffer_offset) + length as u64;
        if end > u64::from(self.expected) || u64::from(self.received) + length as u64 > u64::from(self.expected) {
            return Err(Violation::DataBeyondExpected);
        }
        if !(parameters.data_pdu_in_order && parameters.data_sequence_in_order) {
            let pieces = self.pieces.get_or_insert_with(|| Box::new(Coverage::up_to(self.received)));
            pieces.insert(pdu.buffer_offset, end as u32).map_err(|refusal| refusal.violation(Violation::DataTwice))?;
        } else if length > 0 && pdu.buffer_offset != self.received {
            return Err(Violation::DataOutOfOrder);
        }
        self.received += length as u32;
        self.data_in_count = match self.repetition {
            Repetition::AsSent => self.data_in_count.wrapping_add(1),
            Repetition::CutAnew(_) => self.data_in_count.max(pdu.data_sn.wrapping_add(1)),
        };
        Ok(())
    }

    /// Cuts off what has come already on a connection before (RFC 7143 section 11.5.6).
    fn skip_received(&self, pdu: &mut DataIn) {
        let begin = pdu.buffer_offset;
        let end = begin.saturating_add(pdu.data.len() as u32);
        let (from, to) = match &self.pieces {
            Some(pieces) => pieces.trimmed(begin, end),
            None => (self.received.clamp(begin, end), end),
        };
        pdu.data = pdu.data.slice((from - begin) as usize..(to - begin) as usize);
        pdu.buffer_offset = from;
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
        Self { data, current: None, waiting: VecDeque::new(), r2t_count: 0, r2t_end: 0, asked: None }
    }

    pub(super) fn length(&self) -> u32 {
        self.data.len() as u32
    }

    /// Takes the immediate data, and owes what is to follow unsolicited.
    pub(super) fn begin(&mut self, unsolicited: Unsolicited) -> Bytes {
        if unsolicited.total > unsolicited.immediate {
            let (offset, end) = (unsolicited.immediate, unsolicited.total);
            self.current = Some(Burst { target_transfer_tag: None, begin: offset, offset, end, data_sn: 0 });
        }
        self.slice(0, unsolicited.immediate)
    }

    fn handle_r2t(&mut self, pdu: &R2t, parameters: &Parameters) -> Result<(), Violation> {
        let length = pdu.desired_data_transfer_length;
        let end = pdu.buffer_offset.checked_add(length).filter(|end| *end <= self.length());
        let end = end.ok_or(Violation::R2tBeyondExpected)?;
        if length > parameters.burst_bytes_max {
            return Err(Violation::R2tTooLong);
        }
        let recovers = parameters.error_recovery_level > 0 && pdu.buffer_offset < self.r2t_end;
        // Unsolicited data may be asked for again (RFC 7143 4.2.5.2), so only R2Ts are compared with each other.
        if parameters.data_sequence_in_order && pdu.buffer_offset < self.r2t_end && !recovers {
            return Err(Violation::R2tOutOfOrder);
        }
        if !parameters.data_sequence_in_order && parameters.error_recovery_level == 0 {
            let asked = self.asked.get_or_insert_default();
            asked.insert(pdu.buffer_offset, end).map_err(|refusal| refusal.violation(Violation::R2tOutOfOrder))?;
        }
        if self.has_too_many(pdu.buffer_offset, end, parameters) {
            return Err(Violation::TooManyR2ts);
        }
        self.r2t_count = self.r2t_count.wrapping_add(1);
        self.r2t_end = self.r2t_end.max(end);
        let target_transfer_tag = Some(pdu.target_transfer_tag);
        let begin = pdu.buffer_offset;
        let burst = Burst { target_transfer_tag, begin, offset: begin, end, data_sn: 0 };
        match self.current {
            Some(_) => self.waiting.push_back(burst),
            None => self.current = Some(burst),
        }
        Ok(())
    }

    /// Whether there are too many R2Ts with one more for these bytes.
    fn has_too_many(&self, begin: u32, end: u32, parameters: &Parameters) -> bool {
        // RFC 7143 11.8: a recovery R2T asks for what an earlier one asked for, which may not be answered yet, nor when the next comes.
        let per_r2t = if parameters.error_recovery_level > 0 { 2 } else { 1 };
        let outstanding_max = usize::from(parameters.outstanding_r2t_max) * per_r2t;
        let solicited = self.current.iter().chain(&self.waiting).filter(|burst| burst.target_transfer_tag.is_some());
        let bytes = solicited.map(|burst| (burst.begin, burst.end)).chain([(begin, end)]);
        let count = bytes.clone().count();
        // So few can neither be too many nor ask too often for the same.
        if count <= outstanding_max.min(SAME_R2TS_MAX) {
            return false;
        }
        // RFC 7143 13.17: those that the target has given up are not outstanding. Where they were lost, they come with the one that is.
        let is_first = |(at, one): &(usize, (u32, u32))| bytes.clone().take(*at).all(|other| other != *one);
        let different = bytes.clone().enumerate().filter(is_first).count();
        different > outstanding_max || count - different >= SAME_R2TS_MAX
    }

    // RFC 7143 4.2.2.4-1, 4.2.5.2-3, 11.7.1-2, 11.8-2, 11.8-3, 11.8-4, 11.8-5, 11.8-6, 11.8-7, 11.8-8, 13.19-1: each burst from end to end.
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
