//! An I_T nexus: the place where commands come in and outcomes go out.
//!
//! In: CDBs, data-out, the store's answers, task management. Out: [`Begin`], [`Step`]. The general rules that the
//! table gives each command (reservation, unit attention, readiness, write protection) are applied here, in that
//! order; what a command does stands in [`commands`](crate::commands).

mod copying;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::LogicalUnitNumber;
use crate::cdb::Cdb;
use crate::commands::{self, Context, Plan, Refusal, Started};
use crate::copy::CopyJob;
use crate::counters::Counters;
use crate::device::{NoSuchLogicalUnit, TargetDevice};
use crate::io::{Extent, IoDone, IoOutput, Segments};
use crate::link::{RequestCounter, Settling};
use crate::needs::Needs;
use crate::opcodes::{Field, Operation, Rules};
use crate::protection::PROTECTION_BYTES;
use crate::sense::{self, AdditionalSense, Sense, SenseFormat, SenseKey};
use crate::sequence::Sequence;
use crate::status::Status;
use crate::task::{Begin, Outcome, Phase, Rare, Step, Task, Then};
use crate::unit::{Conditions, LogicalUnit, NexusId, Summary, View};

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
    /// The time, if its owner tells it: timestamps go by it.
    pub now: Option<Instant>,
}

impl<'a> Command<'a> {
    /// A command of which nothing else is known.
    #[inline]
    pub fn new(lun: LogicalUnitNumber, cdb: &'a [u8]) -> Self {
        Self { lun, cdb, announced: None, now: None }
    }
}

/// One I_T nexus, owned by one core. Dropping it is I_T nexus loss: its tasks are forgotten by their owner, and a
/// reservation that it holds ends.
///
/// A command goes [`begin`](Self::begin), then [`start`](Self::start) when its data-out is there, then
/// [`resume`](Self::resume) each time the store has done what the last [`Step::Io`] asked, until [`Step::Done`] or
/// [`Step::Aborted`]. Commands may overlap in any way. No call waits for anything.
#[derive(Debug)]
pub struct Nexus {
    device: Arc<TargetDevice>,
    id: NexusId,
    /// What it keeps of each unit.
    units: Box<[AtUnit]>,
}

/// What a nexus keeps of a unit.
#[derive(Debug)]
pub(crate) struct AtUnit {
    /// What it has found there.
    pub(crate) view: View,
    pub(crate) counters: Arc<Counters>,
    /// What the store has of it.
    pub(crate) requests: RequestCounter,
}

impl Nexus {
    pub(crate) fn new(device: Arc<TargetDevice>, id: NexusId, units: impl Iterator<Item = AtUnit>) -> Self {
        Self { device, id, units: units.collect() }
    }

    /// The device at the other end.
    pub fn device(&self) -> &Arc<TargetDevice> {
        &self.device
    }

    /// [`begin_command`](Self::begin_command) of a command of which no more is known than this.
    #[inline]
    pub fn begin(&mut self, lun: LogicalUnitNumber, cdb: &[u8]) -> Begin {
        self.begin_command(&Command::new(lun, cdb))
    }

    /// Looks at a command, and either ends it at once or makes a task of it.
    #[inline]
    pub fn begin_command(&mut self, command: &Command<'_>) -> Begin {
        let lun = command.lun;
        let Some(index) = self.device.find(lun) else { return Begin::Done(self.without_unit(lun, command.cdb)) };
        let unit = &self.device.units()[index];
        // In this order: a task of an epoch has seen all that was changed before it began.
        let epoch = self.units[index].requests.epoch();
        let summary = unit.summary();
        match self.plan(index, summary, command) {
            Ok(Plan::Work { work, data_in_length, data_out_length }) => Begin::Task(Task {
                lun,
                unit: index as u32,
                data_out_length,
                data_in_length,
                epoch,
                phase: Phase::ExpectData(work),
            }),
            Ok(Plan::Done(data_in)) => Begin::Done(Outcome::good(data_in)),
            Err(Refusal::Check(sense)) => Begin::Done(Outcome::check(sense, summary.sense_format())),
            Err(Refusal::ReservationConflict) => Begin::Done(Outcome::bare(Status::ReservationConflict)),
        }
    }

    #[inline]
    fn plan(&mut self, index: usize, summary: Summary, command: &Command<'_>) -> Result<Plan, Refusal> {
        let unit = &self.device.units()[index];
        let cdb = Cdb::decode(command.cdb);
        let (rules, needs) = match &cdb {
            Ok(cdb) => (cdb.descriptor().rules, cdb.descriptor().needs),
            Err(_) => (Rules::empty(), Needs::UNRESERVED),
        };
        let view = &mut self.units[index].view;
        let has = match view.generation == summary.generation() {
            true => view.has,
            false => look_again(view, unit, self.id, summary, cdb.as_ref().ok())?,
        };
        if !has.contains(needs) {
            refuse_needs(has, cdb.as_ref().ok())?;
        }
        let cdb = match &cdb {
            Ok(cdb) => cdb,
            Err(error) => return Err(Sense::from(*error).into()),
        };
        check_rules(unit, summary, cdb)?;
        cdb.check_refused(unit.config.protection.is_some())?;
        if rules.contains(Rules::EXACT) {
            check_announced(unit, cdb, command.announced)?;
        }
        commands::plan(&Context { device: &self.device, unit, nexus: self.id, summary, now: command.now }, cdb)
    }

    /// The command's data-out has come, all that there will be: empty if the task wants none, and less than
    /// [`Task::data_out_length`] if the transport's expected length was less. A WRITE then writes the whole blocks that
    /// came; commands to which that would be dangerous are refused before anything changes. What is beyond the
    /// wanted length is not looked at.
    ///
    /// # Panics
    /// The task was started before.
    #[inline]
    pub fn start(&mut self, task: &mut Task, data_out: Segments) -> Step {
        let Phase::ExpectData(work) = std::mem::replace(&mut task.phase, Phase::Ended) else {
            panic!("a task is started once")
        };
        let unit = &self.device.units()[task.unit()];
        let own = &mut self.units[task.unit()];
        if own.requests.epoch() != task.epoch {
            return Step::Aborted;
        }
        let summary = unit.summary();
        let context = Context { device: &self.device, unit, nexus: self.id, summary, now: None };
        match commands::start(&context, work, data_out, task.data_out_length) {
            Ok(Started::Io(request, then)) => {
                if summary.has(Conditions::TOKENS) {
                    unit.revoke_tokens(then.changes());
                }
                own.counters.count(&request);
                task.phase = Phase::ExpectIo(then);
                if own.requests.count(task.epoch) { Step::Io(request) } else { Step::Aborted }
            }
            Ok(Started::Done) => Step::Done(Outcome::bare(Status::Good)),
            Ok(Started::Copy(job)) => {
                let step = self.proceed_with_copy(task, job);
                self.count_rarely(task, step)
            }
            Ok(other) => start_rarely(task, other),
            Err(sense) => Step::Done(Outcome::check(sense, summary.sense_format())),
        }
    }

    /// The store has ended the request that the last [`Step::Io`] asked for.
    ///
    /// # Panics
    /// The task has no request under way.
    #[inline]
    pub fn resume(&mut self, task: &mut Task, done: IoDone) -> Step {
        let Phase::ExpectIo(then) = std::mem::replace(&mut task.phase, Phase::Ended) else {
            panic!("a task is resumed after a request")
        };
        let own = &mut self.units[task.unit()];
        own.requests.discount(task.epoch);
        let over = own.requests.epoch() != task.epoch;
        if let Some(job) = then.copy() {
            self.discount_copy(task, job);
            self.end_tokens_of_copy(job);
        }
        let unit = &self.device.units()[task.unit()];
        if unit.summary().has(Conditions::TOKENS) {
            unit.revoke_tokens(then.changes());
        }
        if over {
            return Step::Aborted;
        }
        match (then, done) {
            (Then::GiveData(length), Ok(IoOutput::Data(data))) if data.len() as u64 == u64::from(length) => {
                Step::Done(Outcome::good(data))
            }
            (Then::End(_), Ok(_)) => Step::Done(Outcome::bare(Status::Good)),
            (then, done) => {
                if let Err(error) = done {
                    let unit = then.copy().map_or(task.unit(), CopyJob::unit);
                    self.units[unit].counters.count_failure(error);
                }
                let step = self.resume_rarely(task, then, done);
                self.count_rarely(task, step)
            }
        }
    }

    /// The store has ended the request that the last [`Step::Io`] asked for, of a task that its owner has ended meanwhile. Each request is
    /// followed by this or [`resume`](Self::resume): others may wait for its end.
    pub fn forget(&mut self, task: Task) {
        self.units[task.unit()].requests.discount(task.epoch);
        if let Some(job) = task.copy() {
            self.discount_copy(&task, job);
            self.end_tokens_of_copy(job);
        }
        if let Phase::ExpectIo(then) = &task.phase {
            self.revoke_tokens(task.unit(), then.changes());
        }
    }

    /// Time has passed since [`Step::Wait`].
    ///
    /// # Panics
    /// The task does not wait.
    pub fn wake(&mut self, task: &mut Task) -> Step {
        let Phase::ExpectEnds(settling) = std::mem::replace(&mut task.phase, Phase::Ended) else {
            panic!("a task is woken that waits")
        };
        match self.units[task.unit()].requests.epoch() == task.epoch {
            true => wait(task, settling),
            false => Step::Aborted,
        }
    }

    /// Counts the request of a step, if it is one, unless the task is over meanwhile.
    #[cold]
    fn count_rarely(&mut self, task: &Task, step: Step) -> Step {
        match step {
            Step::Io(request) if self.units[task.unit()].requests.count(task.epoch) => Step::Io(request),
            Step::Io(_) => {
                if let Some(job) = task.copy() {
                    self.discount_copy(task, job);
                }
                Step::Aborted
            }
            step => step,
        }
    }

    /// What follows the end of a request where that is neither the usual end of a READ nor that of a WRITE.
    #[cold]
    fn resume_rarely(&mut self, task: &mut Task, then: Then, done: IoDone) -> Step {
        let unit = &self.device.units()[task.unit()];
        let check = |sense| Step::Done(Outcome::check(sense, unit.summary().sense_format()));
        let rare = match (then, &done) {
            (Then::Rarely(rare), _) => *rare,
            (_, Err(error)) => return check(sense::from_io_error(*error)),
            (_, Ok(_)) => return check(Sense::new(SenseKey::HardwareError, AdditionalSense::INTERNAL_TARGET_FAILURE)),
        };
        match (rare, done) {
            (Rare::Copy(job), done) => self.resume_copy(task, job, done),
            (Rare::Wipe(lease), done) => match commands::proceed_wipe(unit, lease, done.map(drop)) {
                Ok(Started::Io(request, then)) => {
                    task.phase = Phase::ExpectIo(then);
                    Step::Io(request)
                }
                Ok(_) => Step::Done(Outcome::bare(Status::Good)),
                Err(sense) => check(sense),
            },
            (Rare::Settle(settling), Ok(_)) => wait(task, settling),
            // What was asked for holds until the unit loses power, and nobody was promised that it holds longer.
            (Rare::Settle(_), Err(_)) => {
                check(Sense::new(SenseKey::HardwareError, AdditionalSense::INTERNAL_TARGET_FAILURE))
            }
            (Rare::Continue(sequence, changes), Ok(_)) => proceed(task, sequence, changes),
            (Rare::Continue(sequence, _), Err(error)) => check(sense::from_io_error(sequence.translate(error))),
            (_, Err(error)) => check(sense::from_io_error(error)),
            (rare, Ok(output)) => commands::finish(rare, output, task.data_in_length).map_or_else(check, Step::Done),
        }
    }

    /// The answer to a command for the well-known unit, or for a LUN that has no unit (SPC-5 5.4, SAM-5 4.7.2).
    #[cold]
    fn without_unit(&self, lun: LogicalUnitNumber, cdb: &[u8]) -> Outcome {
        let unsupported = Sense::illegal(AdditionalSense::LOGICAL_UNIT_NOT_SUPPORTED);
        let answer = Cdb::decode(cdb).map_err(Sense::from).and_then(|cdb| match cdb.operation() {
            _ if lun == LogicalUnitNumber::WELL_KNOWN_REPORT_LUNS => commands::execute_well_known(&self.device, &cdb),
            Operation::Inquiry => commands::inquiry_without_unit(&cdb),
            Operation::ReportLuns => commands::report_luns(&self.device, &cdb),
            Operation::RequestSense => Ok(commands::sense_as_data(&cdb, unsupported)),
            _ => Err(unsupported),
        });
        match answer {
            Ok(data_in) => Outcome::good(data_in),
            Err(sense) => Outcome::check(sense, SenseFormat::Fixed),
        }
    }

    fn unit(&self, lun: LogicalUnitNumber) -> Result<&LogicalUnit, NoSuchLogicalUnit> {
        self.device.find(lun).map(|index| &self.device.units()[index]).ok_or(NoSuchLogicalUnit(lun))
    }

    /// LOGICAL UNIT RESET (SAM-5 7.6): the unit's tasks end for every nexus, its RESERVE reservation ends, its mode
    /// parameters are the saved ones, and every nexus is told by unit attention. It is done when what it gives back is over.
    ///
    /// # Errors
    /// The LUN has no unit.
    pub fn logical_unit_reset(&mut self, lun: LogicalUnitNumber) -> Result<Settling, NoSuchLogicalUnit> {
        self.unit(lun).map(|unit| unit.reset(AdditionalSense::BUS_DEVICE_RESET))
    }

    /// A hard reset of all units (SAM-5 6.3.2), as the iSCSI TARGET WARM and COLD RESET ask for. It is done when what it
    /// gives back is over.
    pub fn target_reset(&mut self) -> Settling {
        Settling::all(self.device.units().iter().map(|unit| {
            unit.change(|state| state.clock = None);
            unit.reset(AdditionalSense::SCSI_BUS_RESET)
        }))
    }

    /// ABORT TASK SET (SAM-5 7.3), and CLEAR TASK SET (7.4), which is the same where each nexus has a task set of its own (TST 1). The tasks are
    /// this nexus's, so forgetting them, which is their owner's part, is all of it: this only looks whether there is such a unit.
    ///
    /// # Errors
    /// The LUN has no unit.
    pub fn abort_task_set(&mut self, lun: LogicalUnitNumber) -> Result<(), NoSuchLogicalUnit> {
        self.unit(lun).map(drop)
    }

    /// I_T NEXUS RESET (SAM-5 7.6): this nexus is as if it had been lost and had come again. Its tasks end, which is their owner's part;
    /// its RESERVE reservations end, and it is told by unit attention.
    pub fn reset(&mut self) {
        self.device.units().iter().for_each(|unit| unit.reset_nexus(self.id));
    }

    /// QUERY ASYNCHRONOUS EVENT (SAM-5 7.10): whether a unit attention condition waits for a command of this nexus.
    ///
    /// # Errors
    /// The LUN has no unit.
    pub fn has_attention(&self, lun: LogicalUnitNumber) -> Result<bool, NoSuchLogicalUnit> {
        self.unit(lun).map(|unit| unit.has_attention(self.id))
    }

    // RFC 7143 11.14.5-1.
    /// The transport has ended tasks of this nexus at the unit in this place of the device, and will not say so: the nexus is told
    /// by unit attention.
    pub fn commands_cleared(&mut self, unit: usize) {
        self.device.units()[unit].tell(self.id, AdditionalSense::SOME_COMMANDS_CLEARED_BY_ISCSI_PROTOCOL_EVENT);
    }
}

impl Drop for Nexus {
    fn drop(&mut self) {
        self.device.units().iter().for_each(|unit| unit.disconnect(self.id));
    }
}

/// Reports the oldest unit attention, or looks what the nexus has now.
#[cold]
fn look_again(
    view: &mut View,
    unit: &LogicalUnit,
    nexus: NexusId,
    summary: Summary,
    cdb: Option<&Cdb>,
) -> Result<Needs, Sense> {
    let quiet = cdb.is_some_and(|cdb| cdb.descriptor().rules.contains(Rules::QUIET));
    let needs = cdb.map_or(Needs::UNRESERVED, Cdb::needs);
    let looked = unit.look_as(nexus, needs, quiet).map_err(|code| Sense::new(SenseKey::UnitAttention, code))?;
    if looked.lasts {
        *view = View { generation: summary.generation(), has: looked.has };
    }
    Ok(looked.has)
}

/// The refusal of a command that needs more than the nexus has, if it does with the fields that it has.
#[cold]
fn refuse_needs(has: Needs, cdb: Option<&Cdb>) -> Result<(), Refusal> {
    match cdb.map_or(Needs::UNRESERVED, Cdb::needs) - has {
        missing if missing.is_empty() => Ok(()),
        _ => Err(Refusal::ReservationConflict),
    }
}

/// What the data-out comes to where it is neither a request nor GOOD.
#[cold]
fn start_rarely(task: &mut Task, started: Started) -> Step {
    match started {
        Started::Conflict => Step::Done(Outcome::bare(Status::ReservationConflict)),
        Started::Wait(settling) => wait(task, settling),
        Started::Io(..) | Started::Done | Started::Copy(_) => unreachable!("what is usual was looked at before"),
    }
}

/// Waits for others' requests, or ends the task well.
fn wait(task: &mut Task, settling: Settling) -> Step {
    match settling.is_over() {
        true => Step::Done(Outcome::bare(Status::Good)),
        false => {
            task.phase = Phase::ExpectEnds(settling);
            Step::Wait
        }
    }
}

/// Whether the unit has the command, readiness and write protection, as the table asks for them.
#[inline]
fn check_rules(unit: &LogicalUnit, summary: Summary, cdb: &Cdb) -> Result<(), Sense> {
    let rules = cdb.descriptor().rules;
    if rules.contains(Rules::OPTIONAL) && !unit.config.supports(cdb.operation()) {
        return Err(Sense::illegal(AdditionalSense::INVALID_COMMAND_OPERATION_CODE));
    }
    if rules.contains(Rules::MEDIUM) && summary.has(Conditions::NOT_READY) {
        unit.look(|state| state.medium.not_ready()).map_or(Ok(()), Err)?;
    }
    if rules.contains(Rules::WRITES) && summary.has(Conditions::READ_ONLY) {
        return Err(Sense::new(SenseKey::DataProtect, AdditionalSense::WRITE_PROTECTED));
    }
    if rules.contains(Rules::WRITES) && summary.has(Conditions::SOFTWARE_WRITE_PROTECTED) {
        return Err(Sense::new(SenseKey::DataProtect, AdditionalSense::SOFTWARE_WRITE_PROTECTED));
    }
    Ok(())
}

/// Whether the transport will bring just the data that the CDB asks for, if it knows.
fn check_announced(unit: &LogicalUnit, cdb: &Cdb, announced: Option<u32>) -> Result<(), Sense> {
    let tuple = if cdb.has(Field::Protect) { PROTECTION_BYTES } else { 0 };
    let wanted = cdb.data_length(unit.config.geometry.block_size + tuple);
    match announced {
        Some(announced) if u64::from(announced) != wanted => Err(cdb.refuse(Field::Blocks)),
        _ => Ok(()),
    }
}

/// Gives the next request of a sequence, or ends the task after the last.
fn proceed(task: &mut Task, mut sequence: Sequence, changes: Extent) -> Step {
    match sequence.next() {
        Some(request) => {
            task.phase = Phase::ExpectIo(Rare::Continue(sequence, changes).into());
            Step::Io(request)
        }
        None => Step::Done(Outcome::good(Bytes::new())),
    }
}
