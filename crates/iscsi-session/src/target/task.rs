//! The tasks of a session, found by the owner's [`TaskId`] and by the initiator's tag.
//!
//! In: tasks as their commands come. Out: the same, until their last PDU has left. RFC 7143 section 4.2.2.1 names a task by
//! its Initiator Task Tag.
//!
//! Invariants: no two tasks have the same tag at once; a `TaskId` never finds a later task in the same place. The initiator
//! chooses the tags, so they are hashed with a number that it cannot know.

use super::continuation::Allegiance;
use super::receive::Receive;
use super::resumption::Resumption;
use crate::IscsiCondition;
use bytes::{BufMut, Bytes, BytesMut};
use iscsi_pdu::{
    CmdSn, DataIn, InitiatorTaskTag, LunField, Residual, ScsiResponse, ScsiResponseCode, StatSn, TargetTransferTag,
};
use slab::Slab;
use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::{BuildHasher, Hasher};

const GOOD: u8 = 0x00;
const CHECK_CONDITION: u8 = 0x02;
const CONDITION_MET: u8 = 0x04;

/// Longest sense data in bytes (SPC-5 clause 4.4).
const SENSE_BYTES_MAX: usize = 252;

/// Names a task of a session. One that has ended is never found again under its old name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TaskId {
    index: u32,
    generation: u32,
}

impl TaskId {
    /// A small number that no other task of the session has at the same time: fit to index a table.
    #[must_use]
    pub const fn index(self) -> usize {
        self.index as usize
    }

    /// How many tasks have come since this one, when `next` is the next generation.
    pub(super) const fn age(self, next: u32) -> u32 {
        next.wrapping_sub(self.generation)
    }
}

/// How a command ended, for [`Session::complete`](super::Session::complete).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskOutcome {
    /// SCSI status (SAM-5 clause 5.3.1).
    pub status: u8,
    /// What is added to the status (SAM-5 clause 5.3.2); 0 says nothing. It is sent where iSCSIProtocolLevel is 2.
    pub status_qualifier: u16,
    /// Sense data, without a length before it; empty if there is none.
    pub sense: Bytes,
    /// Data that goes to the initiator. What exceeds the command's expected length is left out.
    pub data_in: Bytes,
    /// Bytes that the command would take from the initiator, whatever was expected (RFC 7143 section 11.4.5.2).
    pub data_out_length: u32,
    /// Bytes that the command would send to the initiator, whatever was expected.
    pub data_in_length: u32,
}

impl TaskOutcome {
    /// The end of a task that the iSCSI layer stops (RFC 7143 section 11.4.7.2), with sense data of fixed format (SPC-5 clause 4.4.3).
    pub(super) fn failed(condition: IscsiCondition) -> Self {
        const ABORTED_COMMAND: u8 = 0x0b;
        let (code, qualifier) = match condition {
            IscsiCondition::UnexpectedUnsolicitedData => (0x0c, 0x0c),
            IscsiCondition::IncorrectAmountOfData => (0x0c, 0x0d),
            IscsiCondition::ProtocolServiceCrcError => (0x47, 0x05),
            IscsiCondition::SnackRejected => (0x11, 0x13),
        };
        let sense = [0x70, 0, ABORTED_COMMAND, 0, 0, 0, 0, 10, 0, 0, 0, 0, code, qualifier, 0, 0, 0, 0];
        Self { status: CHECK_CONDITION, sense: Bytes::copy_from_slice(&sense), ..Self::default() }
    }

    // RFC 7143 11.7.3-1, 11.7.3-2: an exception goes in a response.
    /// Whether the status may come with the last data (RFC 7143 section 11.7.3).
    fn fits_data_in(&self) -> bool {
        matches!(self.status, GOOD | CONDITION_MET) && self.status_qualifier == 0 && self.sense.is_empty()
    }

    // RFC 7143 4.6.1.2-1, 10.2-1, 11.4.7-1, 11.4.7-2: sense comes with the status.
    /// The data segment of a SCSI Response: the sense data behind its length (RFC 7143 section 11.4.7).
    pub(super) fn response_data(&self) -> Bytes {
        if self.sense.is_empty() {
            return Bytes::new();
        }
        let length = self.sense.len().min(SENSE_BYTES_MAX);
        let mut data = BytesMut::with_capacity(2 + length);
        data.put_u16(length as u16);
        data.put_slice(&self.sense[..length]);
        data.freeze()
    }
}

/// How far a task has come.
#[derive(Debug)]
pub(super) enum Stage {
    /// Not delivered to the owner yet.
    Held,
    /// With the owner.
    Active,
    /// Ended, but data that the initiator was allowed to send is still on the way.
    Settling(TaskOutcome),
    /// On its way to the initiator: what `data_in` still holds, then the status. If it can be sent again, `data_in` holds all.
    Sending(TaskOutcome),
    /// All of it was sent, and is kept until the initiator acknowledges the status.
    Sent(TaskOutcome),
}

/// One SCSI command.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) generation: u32,
    pub(super) allegiance: Allegiance,
    pub(super) initiator_task_tag: InitiatorTaskTag,
    pub(super) lun: LunField,
    pub(super) cmd_sn: CmdSn,
    pub(super) immediate: bool,
    pub(super) read: bool,
    pub(super) write: bool,
    /// Expected Data Transfer Length.
    pub(super) expected: u32,
    /// Expected Data Transfer Length of the read of a bidirectional command.
    pub(super) bidirectional_read: u32,
    pub(super) stage: Stage,
    /// Its status is fenced.
    pub(super) fenced: bool,
    /// What ends the task in place of the owner, once it is its turn.
    pub(super) failure: Option<IscsiCondition>,
    pub(super) receive: Receive,
    /// R2Ts sent.
    pub(super) r2t_count: u32,
    /// Data-In PDUs sent.
    pub(super) data_in_count: u32,
    /// Data-In bytes sent.
    pub(super) sent: u32,
    /// From its end on, if it can be sent again.
    pub(super) resumption: Option<Box<Resumption>>,
}

impl Task {
    /// Whether its status is on its way.
    pub(super) fn is_sending(&self) -> bool {
        matches!(self.stage, Stage::Sending(_))
    }

    /// Whether its status is on its way or was sent.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.stage, Stage::Sending(_) | Stage::Sent(_))
    }

    /// Whether its status was sent once: then it is not outstanding any more.
    pub(super) fn has_left(&self) -> bool {
        self.resumption.as_ref().is_some_and(|resumption| resumption.has_left)
    }

    /// StatSN of its status, if that was sent.
    pub(super) fn stat_sn(&self) -> Option<StatSn> {
        self.resumption.as_ref()?.stat_sn
    }

    /// How it has ended, if it has.
    pub(super) fn outcome(&self) -> Option<&TaskOutcome> {
        match &self.stage {
            Stage::Settling(outcome) | Stage::Sending(outcome) | Stage::Sent(outcome) => Some(outcome),
            Stage::Held | Stage::Active => None,
        }
    }

    /// Data-In bytes that have not been sent.
    pub(super) fn unsent(&self) -> usize {
        let data_in = self.outcome().map_or(0, |outcome| outcome.data_in.len());
        if self.resumption.is_some() { data_in.saturating_sub(self.sent as usize) } else { data_in }
    }

    /// Offset and length of a Data-In that was sent, if it can be sent again.
    pub(super) fn piece(&self, data_sn: u32, burst_bytes: u32) -> Option<(u32, u32)> {
        let total = self.outcome()?.data_in.len() as u32;
        self.resumption.as_ref()?.cut.piece(data_sn, burst_bytes, total)
    }

    // RFC 7143 11.7.2-1, 11.7.4-1, 11.7.4-2: with the A bit come a tag and the LUN of the command.
    /// A piece of data that can be sent again.
    pub(super) fn data_in(&self, id: TaskId, data_sn: u32, offset: u32, data: Bytes, burst_bytes: u32) -> DataIn {
        let end = offset + data.len() as u32;
        let is_last = self.outcome().is_some_and(|outcome| end as usize == outcome.data_in.len());
        // RFC 7143 11.7.2: an acknowledgement is asked for once every MaxBurstLength bytes; the status asks for that of the last.
        let acknowledge = end.is_multiple_of(burst_bytes) && !is_last;
        DataIn {
            is_final: is_last || acknowledge,
            acknowledge,
            lun: if acknowledge { self.lun } else { LunField::default() },
            target_transfer_tag: acknowledge.then_some(TargetTransferTag(id.index)),
            initiator_task_tag: self.initiator_task_tag,
            data_sn,
            buffer_offset: offset,
            data,
            ..DataIn::default()
        }
    }

    // RFC 7143 11.4.8-1, 11.16.3-2, 11.16.5-2: it counts the Data-In PDUs and names the last R-Data SNACK.
    /// Its SCSI Response, but for ExpCmdSN and MaxCmdSN.
    pub(super) fn response(&self, stat_sn: StatSn) -> Option<ScsiResponse> {
        let outcome = self.outcome()?;
        let (residual, bidirectional_read_residual) = self.residuals(outcome);
        Some(ScsiResponse {
            response: ScsiResponseCode::CompletedAtTarget,
            status: outcome.status,
            status_qualifier: outcome.status_qualifier,
            initiator_task_tag: self.initiator_task_tag,
            // RFC 7143 11.16.3: the tag of the last R-Data SNACK.
            snack_tag: self.resumption.as_ref().map_or(0, |resumption| resumption.snack_tag),
            stat_sn,
            exp_cmd_sn: CmdSn(0),
            max_cmd_sn: CmdSn(0),
            // RFC 7143 11.4.8: how many Data-In PDUs were sent.
            exp_data_sn: self.data_in_count,
            bidirectional_read_residual,
            residual,
            data: outcome.response_data(),
        })
    }

    fn is_bidirectional(&self) -> bool {
        self.read && self.write
    }

    /// Bytes that the initiator expects to read.
    pub(super) fn read_length(&self) -> u32 {
        match (self.read, self.write) {
            (true, true) => self.bidirectional_read,
            (true, false) => self.expected,
            (false, _) => 0,
        }
    }

    /// DataSN or R2TSN of the next PDU; both count together (RFC 7143 section 4.2.2.4).
    pub(super) fn input_sn(&self) -> u32 {
        self.r2t_count.wrapping_add(self.data_in_count)
    }

    // RFC 7143 11.7.3-3: a bidirectional command has a response.
    /// The status that comes with the last data, if that has been taken and the status may: never so for a bidirectional
    /// command (RFC 7143 section 11.7.3).
    pub(super) fn collapsed_status(&self) -> Option<(u8, Residual)> {
        let may_collapse = |resumption: &Resumption| resumption.stat_sn.is_none() && resumption.snack_tag == 0;
        match &self.stage {
            Stage::Sending(outcome)
                if self.unsent() == 0
                    && outcome.fits_data_in()
                    && !self.is_bidirectional()
                    && self.resumption.as_deref().is_none_or(may_collapse) =>
            {
                Some((outcome.status, self.residuals(outcome).0))
            }
            _ => None,
        }
    }

    /// The residual of the read of a read or of the write of a write or bidirectional command, and that of the read of a
    /// bidirectional command (RFC 7143 section 11.4.5).
    pub(super) fn residuals(&self, outcome: &TaskOutcome) -> (Residual, Residual) {
        let (presented, bidirectional) = match (self.read, self.write) {
            (true, true) => (outcome.data_out_length, residual(self.bidirectional_read, outcome.data_in_length)),
            (true, false) => (outcome.data_in_length, Residual::None),
            (false, true) => (outcome.data_out_length, Residual::None),
            // A command that was to move nothing: whichever way the device wanted to.
            (false, false) => (outcome.data_in_length.max(outcome.data_out_length), Residual::None),
        };
        (residual(self.expected, presented), bidirectional)
    }
}

// RFC 7143 11.4.5.2-1, 11.4.5.2-2, 11.4.5.2-3, 11.4.5.2-4: the difference and its sign.
fn residual(expected: u32, presented: u32) -> Residual {
    match presented.cmp(&expected) {
        std::cmp::Ordering::Less => Residual::Underflow(expected - presented),
        std::cmp::Ordering::Equal => Residual::None,
        std::cmp::Ordering::Greater => Residual::Overflow(presented - expected),
    }
}

/// The tasks of a session.
#[derive(Debug)]
pub(super) struct Tasks {
    tasks: Slab<Task>,
    by_tag: HashMap<InitiatorTaskTag, u32, TagHashing>,
    generation: u32,
}

impl Tasks {
    pub(super) fn new() -> Self {
        Self { tasks: Slab::new(), by_tag: HashMap::with_hasher(TagHashing::random()), generation: 0 }
    }

    /// The generation of the task that comes next: those before have lower ones, by wrapping distance.
    pub(super) fn next_generation(&self) -> u32 {
        self.generation
    }

    /// Adds a task, unless its tag is in use.
    pub(super) fn insert(&mut self, mut task: Task) -> Option<TaskId> {
        let Entry::Vacant(vacant) = self.by_tag.entry(task.initiator_task_tag) else {
            return None;
        };
        let generation = self.generation;
        self.generation = generation.wrapping_add(1);
        task.generation = generation;
        let index = self.tasks.insert(task) as u32;
        vacant.insert(index);
        Some(TaskId { index, generation })
    }

    pub(super) fn find(&self, tag: InitiatorTaskTag) -> Option<TaskId> {
        let index = *self.by_tag.get(&tag)?;
        Some(TaskId { index, generation: self.tasks[index as usize].generation })
    }

    /// The task in this place.
    pub(super) fn at_mut(&mut self, index: u32) -> Option<&mut Task> {
        self.tasks.get_mut(index as usize)
    }

    pub(super) fn get(&self, id: TaskId) -> Option<&Task> {
        self.tasks.get(id.index()).filter(|task| task.generation == id.generation)
    }

    pub(super) fn get_mut(&mut self, id: TaskId) -> Option<&mut Task> {
        self.tasks.get_mut(id.index()).filter(|task| task.generation == id.generation)
    }

    pub(super) fn remove(&mut self, id: TaskId) -> Option<Task> {
        self.get(id)?;
        let task = self.tasks.remove(id.index());
        self.by_tag.remove(&task.initiator_task_tag);
        Some(task)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (TaskId, &mut Task)> {
        self.tasks.iter_mut().map(|(index, task)| (TaskId { index: index as u32, generation: task.generation }, task))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (TaskId, &Task)> {
        self.tasks.iter().map(|(index, task)| (TaskId { index: index as u32, generation: task.generation }, task))
    }
}

/// Hashes a tag by one multiplication with numbers that the initiator cannot know.
#[derive(Clone, Copy, Debug)]
struct TagHashing {
    whitener: u64,
    multiplier: u64,
}

impl TagHashing {
    fn random() -> Self {
        let random = RandomState::new();
        Self { whitener: random.hash_one(0u8), multiplier: random.hash_one(1u8) | 1 }
    }
}

impl BuildHasher for TagHashing {
    type Hasher = TagHasher;

    fn build_hasher(&self) -> TagHasher {
        TagHasher { hashing: *self, hash: 0 }
    }
}

struct TagHasher {
    hashing: TagHashing,
    hash: u64,
}

impl Hasher for TagHasher {
    fn finish(&self) -> u64 {
        self.hash
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32((*byte).into());
        }
    }

    fn write_u32(&mut self, value: u32) {
        let whitened = self.hash ^ self.hashing.whitener ^ u64::from(value);
        let product = u128::from(whitened) * u128::from(self.hashing.multiplier);
        self.hash = (product >> 64) as u64 ^ product as u64;
    }
}
