//! Tasks: a command between its CDB and its outcome, and the values in which a nexus answers.

use std::time::Instant;

use bytes::Bytes;

use crate::LogicalUnitNumber;
use crate::commands::{Exchange, Protected, Purpose, Work};
use crate::copy::CopyJob;
use crate::io::{BlockIo, Extent};
use crate::link::Settling;
use crate::sense::{AdditionalSense, Sense, SenseFormat};
use crate::sequence::Sequence;
use crate::status::Status;
use crate::task_set::{Position, TaskAttribute};
use crate::wipe::Lease;

/// A command as it comes, with what the transport and the owner know of it.
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    /// The LUN field.
    pub lun: LogicalUnitNumber,
    /// The CDB, 6 to 260 bytes; what follows the command's own length is not looked at.
    pub cdb: &'a [u8],
    /// How many bytes of data-out the initiator has announced, where the transport knows (iSCSI: the Expected Data Transfer Length of a
    /// write, 0 of any other). Commands whose effect would differ from what the initiator means are refused when that is not what the CDB
    /// asks for: COMPARE AND WRITE and WRITE SAME.
    pub announced: Option<u32>,
    /// How it is ordered among the tasks of the nexus.
    pub attribute: TaskAttribute,
    /// The time, if its owner tells it: timestamps go by it.
    pub now: Option<Instant>,
}

impl<'a> Command<'a> {
    /// A SIMPLE command of which nothing else is known.
    #[inline]
    pub fn new(lun: LogicalUnitNumber, cdb: &'a [u8]) -> Self {
        Self { lun, cdb, announced: None, attribute: TaskAttribute::Simple, now: None }
    }
}

/// What a CDB comes to.
#[derive(Debug)]
pub enum Begin {
    /// There is something to do once the data-out, if any, is there: give it to [`Nexus::start`](crate::Nexus::start).
    Task(Task),
    /// It has ended already.
    Done(Outcome),
}

/// The next thing to do with a task.
#[derive(Debug)]
pub enum Step {
    /// The store of the unit [`Task::store`] is to do this; its answer goes to [`Nexus::resume`](crate::Nexus::resume).
    Io(BlockIo),
    /// The task has ended.
    Done(Outcome),
    /// The command has ended with GOOD, as it asked for its answer at once (IMMED), and the task goes on: the store is to do this as with
    /// [`Io`](Self::Io), and what the task ends with is told to nobody. It has left its task set, so that no function for the tasks of that reaches it;
    /// it ends with its nexus, with a reset, with PREEMPT AND ABORT, and with the others where QERR ends those.
    Answered(BlockIo),
    /// Nothing yet: requests of other tasks, which this one has ended, have not come back. [`Nexus::wake`](crate::Nexus::wake) says what
    /// follows, to be called in a while, such as a millisecond.
    Wait,
    /// The task was ended by a reset, a cleared task set or a preemption: nothing is said to the initiator.
    Aborted,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The status.
    pub status: Status,
    /// Sense data as it is sent, without a transport's length before it; empty unless the status is CHECK CONDITION.
    pub sense: Bytes,
    /// Data for the initiator; empty unless the status is GOOD.
    pub data_in: Bytes,
}

impl Outcome {
    #[inline]
    pub(crate) fn good(data_in: Bytes) -> Self {
        Self { data_in, ..Self::bare(Status::Good) }
    }

    #[inline]
    pub(crate) fn bare(status: Status) -> Self {
        Self { status, sense: Bytes::new(), data_in: Bytes::new() }
    }

    #[cold]
    pub(crate) fn check(sense: Sense, format: SenseFormat) -> Self {
        Self { sense: sense.encode(format), ..Self::bare(Status::CheckCondition) }
    }
}

/// A command that has begun and not ended, or that was answered and goes on.
///
/// It holds no lock, borrow or buffer of anybody else's. One that is not carried to its end is given to
/// [`Nexus::forget`](crate::Nexus::forget), so that those which wait for it may go on.
#[derive(Debug)]
pub struct Task {
    pub(crate) lun: LogicalUnitNumber,
    pub(crate) unit: u32,
    pub(crate) data_out_length: u32,
    pub(crate) data_in_length: u32,
    /// The epoch of its nexus at the unit when the command came.
    pub(crate) epoch: u64,
    pub(crate) position: Position,
    /// NACA: whether an auto contingent allegiance comes to be if it ends with CHECK CONDITION.
    pub(crate) asks_allegiance: bool,
    pub(crate) phase: Phase,
}

/// What a task waits for.
#[derive(Debug)]
pub(crate) enum Phase {
    ExpectData(Work),
    ExpectIo(Then),
    ExpectEnds(Settling),
    Ended,
}

/// What follows when the store has ended a request well.
#[derive(Debug)]
pub(crate) enum Then {
    /// The task ends with what was read, all of [`Task::data_in_length`].
    GiveData,
    /// The task ends. Until then these blocks may change.
    End(Extent),
    /// Something else: kept apart, so that READ and WRITE have little to move and to free.
    Rarely(Box<Rare>),
}

/// What follows with the rarer commands.
#[derive(Debug)]
pub(crate) enum Rare {
    /// The next request of the sequence follows; after the last, the task ends.
    /// Until then these blocks may change.
    Continue(Sequence, Extent),
    /// The task ends with CONDITION MET, or GOOD where the blocks are not at hand.
    ConditionMet,
    /// The task ends with the provisioning status of blocks.
    GiveStatus,
    /// What was read is checked, and then given or not.
    Check(Protected, Purpose),
    /// Blocks with protection information are exchanged for what they make with others.
    Exchange(Exchange),
    /// The task ends when requests of those that it has ended have come back.
    Settle(Settling),
    /// The task ends when its record is kept; if it cannot be, with HARDWARE ERROR and this.
    Kept { otherwise: AdditionalSense },
    /// The next step of the unit's wipe follows; after the last, the task ends.
    Wipe(Lease),
    /// The next step of a copy follows; after the last, the task ends.
    Copy(Box<CopyJob>),
}

impl Then {
    /// The blocks that may change until then.
    #[inline]
    pub(crate) fn changes(&self) -> Extent {
        match self {
            Self::GiveData => Extent::NONE,
            Self::End(extent) => *extent,
            Self::Rarely(rare) => match **rare {
                Rare::Continue(_, extent) => extent,
                Rare::Exchange(ref exchange) => exchange.extent(),
                _ => Extent::NONE,
            },
        }
    }

    /// The copy whose step is under way.
    pub(crate) fn copy(&self) -> Option<&CopyJob> {
        match self {
            Self::Rarely(rare) => match &**rare {
                Rare::Copy(job) => Some(job),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Rare {
    fn is_long(&self) -> bool {
        match self {
            Self::Copy(_) | Self::Wipe(_) => true,
            Self::Continue(sequence, _) => sequence.is_long(),
            _ => false,
        }
    }
}

impl From<Rare> for Then {
    fn from(rare: Rare) -> Self {
        Self::Rarely(Box::new(rare))
    }
}

impl Task {
    /// The LUN field that the command came with.
    pub fn lun(&self) -> LogicalUnitNumber {
        self.lun
    }

    /// Which unit it is for: its index in the device, as [`TargetDevice::add`](crate::TargetDevice::add) gave it.
    pub fn unit(&self) -> usize {
        self.unit as usize
    }

    /// Which unit's store is to do what the last [`Step::Io`] or [`Step::Answered`] asks for: [`unit`](Self::unit), but for copies, which work on others too.
    pub fn store(&self) -> usize {
        self.copy().map_or(self.unit(), CopyJob::unit)
    }

    /// Whether other tasks' requests are to go before the one that the last [`Step::Io`] asks for: it is one of many of a long command.
    pub fn is_patient(&self) -> bool {
        matches!(&self.phase, Phase::ExpectIo(Then::Rarely(rare)) if rare.is_long())
    }

    pub(crate) fn copy(&self) -> Option<&CopyJob> {
        match &self.phase {
            Phase::ExpectIo(then) => then.copy(),
            _ => None,
        }
    }

    /// Bytes of data-out that the CDB asks for.
    pub fn data_out_length(&self) -> u32 {
        self.data_out_length
    }

    /// Bytes of data-in that the task will give if it goes well.
    pub fn data_in_length(&self) -> u32 {
        self.data_in_length
    }
}
