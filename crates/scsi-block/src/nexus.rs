//! An I_T nexus: the place where commands come in and outcomes go out.
//!
//! In: CDBs, data-out, the store's answers, task management. Out: [`Begin`], [`Step`]. The general rules that the
//! table gives each command (reservation, unit attention, readiness, write protection) are applied here, in that
//! order; what a command does stands in [`commands`](crate::commands).

mod copying;

use std::sync::Arc;

use bytes::Bytes;

use crate::LogicalUnitNumber;
use crate::cdb::Cdb;
use crate::commands::{self, Context, Plan, Refusal, Started};
use crate::copy::CopyJob;
use crate::counters::Counters;
use crate::device::{NoSuchLogicalUnit, TargetDevice};
use crate::io::{IoDone, IoOutput, Segments};
use crate::needs::Needs;
use crate::opcodes::{Field, Operation, Rules};
use crate::protection::PROTECTION_BYTES;
use crate::roster::Roster;
use crate::sense::{self, AdditionalSense, Sense, SenseFormat, SenseKey};
use crate::sequence::Sequence;
use crate::status::Status;
use crate::task::{Begin, Command, Outcome, Phase, Rare, Step, Task, Then};
use crate::task_set::{TaskAttribute, TaskSet};
use crate::unit::{Conditions, LogicalUnit, NexusId, Summary, View};

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
    initiator_port: Box<str>,
    /// The units that there were at the last command.
    roster: Arc<Roster>,
    /// What it keeps of each unit, by the unit's index.
    links: Vec<Option<Link>>,
}

/// What a nexus keeps of a unit.
#[derive(Debug)]
struct Link {
    unit: Arc<LogicalUnit>,
    /// The unit's place in the device.
    index: usize,
    /// What it has found there.
    view: View,
    counters: Arc<Counters>,
    set: TaskSet,
}

impl Link {
    /// The nexus is new to the unit.
    fn new(unit: &Arc<LogicalUnit>, index: usize, nexus: NexusId) -> Self {
        let counters = unit.connect(nexus);
        Self { unit: Arc::clone(unit), index, view: View::NONE, counters, set: TaskSet::default() }
    }

    /// Differs after tasks of this nexus have been ended, with those of others or by themselves.
    #[inline]
    fn epoch(&self) -> u64 {
        self.unit.epoch() + self.set.epoch()
    }

    /// What a command comes to: the rules that the table gives it first, then the command itself.
    #[inline]
    fn plan(&mut self, by: (&TargetDevice, NexusId), summary: Summary, command: &Command<'_>) -> Result<Plan, Refusal> {
        let (device, nexus) = by;
        let unit = &self.unit;
        let cdb = Cdb::decode(command.cdb);
        let (rules, needs) = match &cdb {
            Ok(cdb) => (cdb.descriptor().rules, cdb.descriptor().needs),
            Err(_) => (Rules::empty(), Needs::UNRESERVED),
        };
        let has = match self.view.generation == summary.generation() {
            true => self.view.has,
            false => look_again(&mut self.view, unit, nexus, summary, cdb.as_ref().ok())?,
        };
        if !has.contains(needs) {
            refuse_needs(has, cdb.as_ref().ok())?;
        }
        let cdb = match &cdb {
            Ok(cdb) => cdb,
            Err(error) => return Err(Sense::from(*error).into()),
        };
        if command.attribute == TaskAttribute::Aca {
            return Err(Sense::illegal(AdditionalSense::INVALID_MESSAGE_ERROR).into());
        }
        check_rules(unit, summary, cdb)?;
        cdb.check_refused(unit.config.protection.is_some())?;
        if rules.contains(Rules::EXACT) {
            check_announced(unit, cdb, command.announced)?;
        }
        commands::plan(&Context { device, unit, index: self.index, nexus, summary, now: command.now }, cdb)
    }

    /// Whether a reset or a queue error has ended the task.
    #[inline]
    fn has_aborted(&self, task: &Task) -> bool {
        self.epoch() != task.epoch
    }

    /// A task that has ended leaves its set.
    #[inline]
    fn settle(&mut self, task: &Task, step: Step) -> Step {
        if matches!(task.phase, Phase::Ended) {
            self.set.leave(task.position);
            if let Step::Done(Outcome { status: Status::CheckCondition, .. }) = step {
                self.handle_queue_error();
            }
        }
        step
    }

    /// A command has ended with CHECK CONDITION: the other tasks of the nexus may have to end with it (QERR, SPC-5 7.5.8).
    #[cold]
    fn handle_queue_error(&mut self) {
        if self.unit.summary().has(Conditions::ENDS_TASKS) {
            self.set.end_all();
        }
    }
}

impl Nexus {
    pub(crate) fn new(device: Arc<TargetDevice>, id: NexusId, initiator_port: &str) -> Self {
        let initiator_port = initiator_port.into();
        let mut nexus = Self { device, id, initiator_port, roster: Arc::default(), links: Vec::new() };
        nexus.look_around();
        nexus
    }

    /// Units have come or gone. What is kept of one that is gone goes when no task is left there.
    #[cold]
    fn look_around(&mut self) {
        self.roster = self.device.roster();
        let mut links = std::mem::take(&mut self.links).into_iter();
        for (index, unit) in self.roster.places().enumerate() {
            let known = links.next().flatten();
            self.links.push(match (unit, known) {
                (Some(unit), None) => Some(Link::new(unit, index, self.id)),
                (None, Some(link)) if link.set.len() == 0 => {
                    link.unit.disconnect(self.id);
                    None
                }
                (_, known) => known,
            });
        }
    }

    /// What is kept of the unit of a task, which is there as long as the task is.
    #[inline]
    fn link(&self, task: &Task) -> &Link {
        self.links[task.unit()].as_ref().expect("a task has a unit")
    }

    #[inline]
    fn link_mut(&mut self, task: &Task) -> &mut Link {
        self.links[task.unit()].as_mut().expect("a task has a unit")
    }

    /// The name that the nexus was made with.
    pub fn initiator_port(&self) -> &str {
        &self.initiator_port
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
        if self.roster.version != self.device.version() {
            self.look_around();
        }
        let found = self.roster.find(lun).and_then(|index| Some((index, self.links[index].as_mut()?)));
        let Some((index, link)) = found else { return Begin::Done(self.without_unit(lun, command.cdb)) };
        if link.set.len() >= link.unit.config.limits.tasks_max.into() {
            return Begin::Done(Outcome::bare(Status::TaskSetFull));
        }
        let (epoch, summary) = (link.epoch(), link.unit.summary());
        match link.plan((&self.device, self.id), summary, command) {
            Ok(Plan::Work { work, data_in_length, data_out_length }) => Begin::Task(Task {
                lun,
                unit: index as u32,
                data_out_length,
                data_in_length,
                epoch,
                position: link.set.enter(command.attribute),
                phase: Phase::ExpectData(work),
            }),
            Ok(Plan::Done(data_in)) => Begin::Done(Outcome::good(data_in)),
            Err(Refusal::Check(sense)) => {
                link.handle_queue_error();
                Begin::Done(Outcome::check(sense, summary.sense_format()))
            }
            Err(Refusal::ReservationConflict) => Begin::Done(Outcome::bare(Status::ReservationConflict)),
        }
    }

    /// Whether the order of the tasks lets this one begin (SAM-5 8.6), as it always does where all are SIMPLE. One that was ended meanwhile may
    /// begin, and finds that out. An owner who keeps the order asks before [`start`](Self::start); if not now, then again after a task of the
    /// unit has ended.
    #[inline]
    pub fn may_start(&self, task: &Task) -> bool {
        let link = self.link(task);
        link.set.may_begin(task.position) || link.has_aborted(task)
    }

    /// The owner has ended a task that has not come to [`Step::Done`] or [`Step::Aborted`], as ABORT TASK does: others may begin.
    pub fn forget(&mut self, task: Task) {
        if !matches!(task.phase, Phase::Ended) {
            self.link_mut(&task).set.leave(task.position);
        }
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
        let link = self.link(task);
        if link.has_aborted(task) {
            return self.link_mut(task).settle(task, Step::Aborted);
        }
        let Link { unit, index, .. } = link;
        let summary = unit.summary();
        let context = Context { device: &self.device, unit, index: *index, nexus: self.id, summary, now: None };
        let step = match commands::start(&context, work, data_out, task.data_out_length) {
            Ok(Started::Io(request, then)) => {
                link.counters.count(&request);
                task.phase = Phase::ExpectIo(then);
                return Step::Io(request);
            }
            Ok(Started::Done) => Step::Done(Outcome::bare(Status::Good)),
            Ok(Started::Copy(job)) => self.proceed_with_copy(task, job),
            Err(sense) => Step::Done(Outcome::check(sense, summary.sense_format())),
        };
        self.link_mut(task).settle(task, step)
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
        if self.link(task).has_aborted(task) {
            return self.link_mut(task).settle(task, Step::Aborted);
        }
        let step = match (then, done) {
            (Then::GiveData(length), Ok(IoOutput::Data(data))) if data.len() as u64 == u64::from(length) => {
                Step::Done(Outcome::good(data))
            }
            (Then::End, Ok(_)) => Step::Done(Outcome::bare(Status::Good)),
            (then, done) => {
                if let Err(error) = done {
                    let unit = then.copy().map_or(task.unit(), CopyJob::unit);
                    if let Some(Some(link)) = self.links.get(unit) {
                        link.counters.count_failure(error);
                    }
                }
                self.resume_rarely(task, then, done)
            }
        };
        self.link_mut(task).settle(task, step)
    }

    /// What follows the end of a request where that is neither the usual end of a READ nor that of a WRITE.
    #[cold]
    fn resume_rarely(&mut self, task: &mut Task, then: Then, done: IoDone) -> Step {
        let unit = &Arc::clone(&self.link(task).unit);
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
            (Rare::Continue(sequence), Ok(_)) => proceed(task, sequence),
            (Rare::Continue(sequence), Err(error)) => check(sense::from_io_error(sequence.translate(error))),
            (_, Err(error)) => check(sense::from_io_error(error)),
            (rare, Ok(output)) => commands::finish(rare, output, task.data_in_length).map_or_else(check, Step::Done),
        }
    }

    /// The answer to a command for the well-known unit, or for a LUN that has no unit (SPC-5 5.4, SAM-5 4.7.2).
    #[cold]
    fn without_unit(&self, lun: LogicalUnitNumber, cdb: &[u8]) -> Outcome {
        let unsupported = Sense::illegal(AdditionalSense::LOGICAL_UNIT_NOT_SUPPORTED);
        let answer = Cdb::decode(cdb).map_err(Sense::from).and_then(|cdb| match cdb.operation() {
            _ if lun == LogicalUnitNumber::WELL_KNOWN_REPORT_LUNS => {
                commands::execute_well_known(&self.device, self.id, &cdb)
            }
            Operation::Inquiry => commands::inquiry_without_unit(&cdb),
            Operation::ReportLuns => commands::report_luns(&self.device, self.id, &cdb),
            Operation::RequestSense => Ok(commands::sense_as_data(&cdb, unsupported)),
            _ => Err(unsupported),
        });
        match answer {
            Ok(data_in) => Outcome::good(data_in),
            Err(sense) => Outcome::check(sense, SenseFormat::Fixed),
        }
    }

    /// The unit that there is now.
    fn unit(&self, lun: LogicalUnitNumber) -> Result<Arc<LogicalUnit>, NoSuchLogicalUnit> {
        let roster = self.device.roster();
        roster.find(lun).and_then(|index| roster.get(index)).map(Arc::clone).ok_or(NoSuchLogicalUnit(lun))
    }

    /// LOGICAL UNIT RESET (SAM-5 7.6): the unit's tasks end for every nexus, its reservation ends, its mode
    /// parameters are the saved ones, and every nexus is told by unit attention.
    ///
    /// # Errors
    /// The LUN has no unit.
    pub fn logical_unit_reset(&mut self, lun: LogicalUnitNumber) -> Result<(), NoSuchLogicalUnit> {
        self.unit(lun).map(|unit| unit.reset(AdditionalSense::BUS_DEVICE_RESET))
    }

    /// A hard reset of all units (SAM-5 6.3.2), as the iSCSI TARGET WARM and COLD RESET ask for.
    pub fn target_reset(&mut self) {
        for (_, unit) in self.device.roster().units() {
            unit.reset(AdditionalSense::SCSI_BUS_RESET);
            unit.change(|state| state.clock = None);
        }
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
    /// its reservations end, and it is told by unit attention.
    pub fn reset(&mut self) {
        self.links.iter().flatten().for_each(|link| link.unit.reset_nexus(self.id));
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
        if let Some(Some(link)) = self.links.get(unit) {
            link.unit.tell(self.id, AdditionalSense::SOME_COMMANDS_CLEARED_BY_ISCSI_PROTOCOL_EVENT);
        }
    }
}

impl Drop for Nexus {
    fn drop(&mut self) {
        self.links.iter().flatten().for_each(|link| link.unit.disconnect(self.id));
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
fn proceed(task: &mut Task, mut sequence: Sequence) -> Step {
    match sequence.next() {
        Some(request) => {
            task.phase = Phase::ExpectIo(Rare::Continue(sequence).into());
            Step::Io(request)
        }
        None => Step::Done(Outcome::good(Bytes::new())),
    }
}
