//! What each command does: [`plan`] when its CDB comes, [`start`] when its data-out is there.
//!
//! Both are one match over the table's commands; the work stands in the files by subject. The general rules have been
//! applied before (see [`nexus`](crate::nexus)).

mod control;
mod copying;
mod identify;
mod logs;
mod medium;
mod modes;
mod ports;
mod protected;
mod provisioning;
mod removal;
mod reports;
mod reserving;
mod timestamps;
mod tokens;
mod well_known;
mod wiping;

use std::time::Instant;

use bytes::Bytes;

use crate::cdb::Cdb;
use crate::copy::CopyJob;
use crate::io::{BlockIo, Extent, IoOutput, Segments};
use crate::link::Settling;
use crate::mode::ModeHeader;
use crate::opcodes::{Field, Operation};
use crate::reservations::{OutAction, ReservationType};
use crate::rights::DeviceView;
use crate::sense::{AdditionalSense, Sense, SenseKey};
use crate::status::Status;
use crate::task::{Outcome, Rare, Then};
use crate::unit::{LogicalUnit, NexusId, Summary};

pub(crate) use control::sense_as_data;
pub(crate) use identify::inquiry_without_unit;
pub(crate) use medium::{durable, plan_transfer};
pub(crate) use protected::{Exchange, Protected, ProtectedSame, ProtectedWork, Purpose};
pub(crate) use reports::report_luns;
pub(crate) use well_known::execute as execute_well_known;
pub(crate) use wiping::proceed as proceed_wipe;

/// Where a command is carried out, and for whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) device: &'a DeviceView,
    pub(crate) unit: &'a LogicalUnit,
    /// The unit's place in the device.
    pub(crate) index: usize,
    pub(crate) nexus: NexusId,
    pub(crate) summary: Summary,
    /// When the command came, if its owner tells the time.
    pub(crate) now: Option<Instant>,
}

/// What a CDB comes to.
#[derive(Debug)]
pub(crate) enum Plan {
    /// The command has ended, with this data-in.
    Done(Bytes),
    /// There is something to do.
    Work(Transfer),
}

/// Something to do, and the data that goes with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    pub(crate) work: Work,
    pub(crate) data_in_length: u32,
    pub(crate) data_out_length: u32,
}

impl Plan {
    /// Nothing to do, and no data.
    const DONE: Self = Self::Done(Bytes::new());

    /// Without data.
    fn work(work: Work) -> Self {
        Self::taking(work, 0)
    }

    /// With so many bytes of data-out.
    fn taking(work: Work, data_out_length: u32) -> Self {
        Self::Work(Transfer { work, data_in_length: 0, data_out_length })
    }

    /// With so many bytes of data-in.
    fn giving(work: Work, data_in_length: u32) -> Self {
        Self::Work(Transfer { work, data_in_length, data_out_length: 0 })
    }
}

/// Why a command is not carried out.
#[derive(Debug)]
pub(crate) enum Refusal {
    Check(Sense),
    ReservationConflict,
}

impl From<Sense> for Refusal {
    fn from(sense: Sense) -> Self {
        Self::Check(sense)
    }
}

/// What is to be done once the data-out is there. All that the CDB says has been checked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    Read(Extent),
    Write {
        extent: Extent,
        forced: bool,
    },
    WriteAndVerify {
        extent: Extent,
        compare: bool,
    },
    /// VERIFY with nothing to compare: the medium can be read.
    ReadThrough(Extent),
    Compare(Extent),
    CompareSame(Extent),
    CompareAndWrite {
        extent: Extent,
        forced: bool,
    },
    WriteSame {
        extent: Extent,
        unmap: bool,
        forced: bool,
        zeros: bool,
    },
    OrWrite {
        extent: Extent,
        forced: bool,
    },
    WriteAtomic {
        extent: Extent,
        forced: bool,
    },
    Prefetch(Extent),
    LbaStatus {
        extent: Extent,
        runs_max: u16,
    },
    Unmap,
    Flush {
        immediate: bool,
    },
    Format {
        long: bool,
    },
    Sanitize {
        overwrites: bool,
        immediate: bool,
        unrestricted_exit: bool,
    },
    ExitFailureMode,
    Copy {
        lid4: bool,
    },
    PopulateToken {
        list_identifier: u32,
    },
    WriteUsingToken {
        list_identifier: u32,
    },
    Protected(ProtectedWork),
    ModeSelect {
        header: ModeHeader,
        save: bool,
    },
    PersistentReserve {
        action: OutAction,
        kind: Option<ReservationType>,
    },
    SetTimestamp {
        now: Option<Instant>,
    },
    SetAccess,
}

/// What the data-out comes to.
#[derive(Debug)]
pub(crate) enum Started {
    Io(BlockIo, Then),
    /// The command has ended well, and this goes on.
    Answered(BlockIo, Then),
    /// A copy is to be carried out.
    Copy(Box<CopyJob>),
    Done,
    /// A reservation is in the way.
    Conflict,
    /// Others were always before it: nothing has been done, and may be asked for again.
    Busy,
    /// The command is done when this is over.
    Wait(Settling),
}

/// Looks at a command that is no READ or WRITE as most are.
#[cold]
pub(crate) fn plan(context: &Context<'_>, cdb: &Cdb) -> Result<Plan, Refusal> {
    use Operation as Op;
    let plan = match cdb.operation() {
        Op::Read6 | Op::Read10 | Op::Read12 | Op::Read16 | Op::Read32 => medium::read(context.unit, cdb)?,
        Op::Write6 | Op::Write10 | Op::Write12 | Op::Write16 | Op::Write32 => medium::write(context.unit, cdb)?,
        Op::TestUnitReady => Plan::DONE,
        Op::RequestSense => Plan::Done(control::request_sense(context, cdb)),
        Op::Inquiry => Plan::Done(identify::inquiry(context, cdb)?),
        Op::ModeSense6 | Op::ModeSense10 => Plan::Done(modes::sense(context, cdb)?),
        Op::ModeSelect6 | Op::ModeSelect10 => modes::select(context.unit, cdb)?,
        Op::LogSense => Plan::Done(logs::sense(context, cdb)?),
        Op::LogSelect => logs::select(context, cdb)?,
        Op::Reserve6 | Op::Reserve10 => reserving::reserve(context)?,
        Op::Release6 | Op::Release10 => reserving::release(context)?,
        Op::PersistReadKeys
        | Op::PersistReadReservation
        | Op::PersistReportCapabilities
        | Op::PersistReadFullStatus => Plan::Done(reserving::persist_in(context, cdb)?),
        Op::PersistRegister => reserving::persist_out(cdb, OutAction::Register)?,
        Op::PersistReserve => reserving::persist_out(cdb, OutAction::Reserve)?,
        Op::PersistRelease => reserving::persist_out(cdb, OutAction::Release)?,
        Op::PersistClear => reserving::persist_out(cdb, OutAction::Clear)?,
        Op::PersistPreempt => reserving::persist_out(cdb, OutAction::Preempt)?,
        Op::PersistPreemptAndAbort => reserving::persist_out(cdb, OutAction::PreemptAndAbort)?,
        Op::PersistRegisterAndIgnoreExistingKey => {
            reserving::persist_out(cdb, OutAction::RegisterAndIgnoreExistingKey)?
        }
        Op::PersistRegisterAndMove => reserving::persist_out(cdb, OutAction::RegisterAndMove)?,
        Op::PersistReplaceLostReservation => reserving::persist_out(cdb, OutAction::ReplaceLostReservation)?,
        Op::StartStopUnit => removal::start_stop(context, cdb)?,
        Op::PreventAllowMediumRemoval => removal::prevent_allow(context, cdb)?,
        Op::ReadCapacity10 => Plan::Done(reports::read_capacity_10(context.unit)),
        Op::ReadCapacity16 => Plan::Done(reports::read_capacity_16(context.unit, cdb)),
        Op::WriteAndVerify10 | Op::WriteAndVerify12 | Op::WriteAndVerify16 | Op::WriteAndVerify32 => {
            medium::write_and_verify(context, cdb)?
        }
        Op::Verify10 | Op::Verify12 | Op::Verify16 | Op::Verify32 => medium::verify(context, cdb)?,
        Op::SynchronizeCache10 | Op::SynchronizeCache16 => medium::synchronize_cache(context, cdb)?,
        Op::PreFetch10 | Op::PreFetch16 => medium::prefetch(context, cdb)?,
        Op::ReadDefectData10 | Op::ReadDefectData12 => Plan::Done(provisioning::defect_data(cdb)?),
        Op::OrWrite16 => medium::or_write(context, cdb)?,
        Op::WriteAtomic16 => medium::write_atomic(context, cdb)?,
        Op::GetLbaStatus16 | Op::GetLbaStatus32 => provisioning::lba_status(context, cdb)?,
        Op::FormatUnit => wiping::format(context, cdb)?,
        Op::SanitizeOverwrite | Op::SanitizeBlockErase | Op::SanitizeCryptographicErase => {
            wiping::sanitize(context, cdb)?
        }
        Op::SanitizeExitFailureMode => wiping::exit_failure_mode(context, cdb)?,
        Op::WriteSame10 | Op::WriteSame16 | Op::WriteSame32 => medium::write_same(context, cdb)?,
        Op::CompareAndWrite => medium::compare_and_write(context, cdb)?,
        Op::Unmap => provisioning::unmap(cdb),
        Op::ExtendedCopyLid1 => copying::copy(cdb, false)?,
        Op::ExtendedCopyLid4 => copying::copy(cdb, true)?,
        Op::PopulateToken => tokens::populate(cdb)?,
        Op::WriteUsingToken => tokens::write(cdb)?,
        Op::ReceiveRodTokenInformation => Plan::Done(tokens::information(context, cdb)?),
        Op::ReportAllRodTokens => Plan::Done(tokens::all(context.unit, cdb)),
        Op::CopyOperationAbort => copying::abort(context, cdb)?,
        Op::ReceiveCopyStatusLid1 | Op::ReceiveCopyStatusLid4 => Plan::Done(copying::status(context, cdb)?),
        Op::ReceiveCopyDataLid1 => Plan::Done(copying::held_data(context, cdb)?),
        Op::ReceiveCopyFailureDetails => Plan::Done(copying::failure_details(context, cdb)?),
        Op::ReceiveCopyOperatingParameters => Plan::Done(copying::operating_parameters(context.unit, cdb)),
        Op::ReportLuns => Plan::Done(reports::report_luns(context.device, context.nexus, cdb)?),
        Op::ReportTargetPortGroups => Plan::Done(ports::report(context, cdb)?),
        Op::ReportReferrals => Plan::Done(ports::referrals(context, cdb)?),
        Op::SetTargetPortGroups => ports::set(cdb)?,
        Op::ReportTimestamp => Plan::Done(timestamps::report(context, cdb)),
        Op::SetTimestamp => timestamps::set(context, cdb)?,
        Op::ReportSupportedOperationCodes => Plan::Done(reports::operation_codes(context.unit, cdb)?),
        Op::ReportSupportedTaskManagementFunctions => Plan::Done(reports::task_management_functions(cdb)),
    };
    Ok(plan)
}

/// Takes the data-out, of which the CDB wants `wanted` bytes, of any command but READ, and WRITE whose data is all there.
pub(crate) fn start(context: &Context<'_>, work: Work, data: Segments, wanted: u32) -> Result<Started, Sense> {
    match work {
        Work::Read(_) => unreachable!("a READ is started before"),
        Work::Write { extent, forced } => {
            Ok(medium::start_write(context.unit, extent, data, wanted, durable(context.summary, forced)))
        }
        Work::ReadThrough(extent) => Ok(Started::Io(BlockIo::Read(extent), Then::End(Extent::NONE))),
        Work::Flush { immediate } => Ok(medium::start_flush(immediate)),
        Work::WriteAndVerify { extent, compare } => {
            Ok(medium::start_write_and_verify(context.unit, extent, data, wanted, compare))
        }
        Work::Compare(extent) => medium::start_compare(extent, data, wanted),
        Work::CompareSame(extent) => medium::start_compare_same(extent, data, wanted),
        Work::CompareAndWrite { extent, forced } => {
            medium::start_compare_and_write(extent, data, wanted, durable(context.summary, forced))
        }
        Work::WriteSame { extent, unmap, forced, zeros } => {
            let block = (!zeros).then(|| medium::exactly(data, wanted)).transpose()?;
            Ok(medium::start_write_same(context.unit, extent, block, unmap, durable(context.summary, forced)))
        }
        Work::OrWrite { extent, forced } => {
            Ok(medium::start_or_write(context.unit, extent, data, wanted, durable(context.summary, forced)))
        }
        Work::WriteAtomic { extent, forced } => {
            medium::start_write_atomic(extent, data, wanted, durable(context.summary, forced))
        }
        Work::Prefetch(extent) => Ok(Started::Io(BlockIo::Prefetch(extent), Rare::ConditionMet.into())),
        Work::LbaStatus { extent, runs_max } => {
            Ok(Started::Io(BlockIo::LbaStatus { extent, runs_max }, Rare::GiveStatus.into()))
        }
        Work::Format { long } => wiping::start_format(context.unit, data, wanted, long),
        Work::ExitFailureMode => Ok(wiping::start_exit(context.unit)),
        Work::Sanitize { overwrites, immediate, unrestricted_exit } => {
            wiping::start_sanitize(context.unit, data, wanted, (overwrites, immediate, unrestricted_exit))
        }
        Work::PopulateToken { list_identifier } => tokens::start_populate(context, data, wanted, list_identifier),
        Work::WriteUsingToken { list_identifier } => tokens::start_write(context, data, wanted, list_identifier),
        Work::Copy { lid4 } => copying::start(context, data, wanted, lid4),
        Work::Protected(work) => protected::start(context, work, data, wanted),
        Work::Unmap => provisioning::start_unmap(context.unit, data, wanted, durable(context.summary, false)),
        Work::PersistentReserve { action, kind } => reserving::start(context, action, kind, data, wanted),
        Work::ModeSelect { header, save } => modes::start_select(context, header, save, data, wanted),
        Work::SetTimestamp { now } => timestamps::start_set(context, now, data),
        Work::SetAccess => ports::start_set(context, data, wanted),
    }
}

/// Large, it would cost every READ and WRITE.
const _: () = assert!(size_of::<Work>() <= 32);

/// The store has ended a request of a rarer kind well: how the command ends.
#[cold]
pub(crate) fn finish(rare: Rare, output: IoOutput, data_in_length: u32) -> Result<Outcome, Sense> {
    match (rare, output) {
        (Rare::ConditionMet, IoOutput::Uncached) => Ok(Outcome::bare(Status::Good)),
        (Rare::ConditionMet, _) => Ok(Outcome::bare(Status::ConditionMet)),
        (Rare::GiveStatus, IoOutput::Status(runs)) => {
            Ok(Outcome::good(provisioning::encode_status(runs, data_in_length)))
        }
        (Rare::Check(protected, purpose), IoOutput::Data(data)) => protected.finish(purpose, &data).map(Outcome::good),
        _ => Err(Sense::new(SenseKey::HardwareError, AdditionalSense::INTERNAL_TARGET_FAILURE)),
    }
}

/// Data-in, cut to the allocation length.
fn allocated(cdb: &Cdb, data: impl Into<Bytes>) -> Bytes {
    let mut data = data.into();
    data.truncate(usize::try_from(cdb.get(Field::AllocationLength)).unwrap_or(usize::MAX));
    data
}
