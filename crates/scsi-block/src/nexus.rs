//! An I_T nexus: the place where commands come in and outcomes go out.
//!
//! In: CDBs, data-out, the store's answers, task management. Out: [`Begin`], [`Step`]. The general rules that the
//! table gives each command (reservation, unit attention, readiness, write protection) are applied here, in that
//! order; what a command does stands in [`commands`](crate::commands).

mod at_unit;
mod copying;

use std::sync::Arc;

use bytes::Bytes;

use crate::LogicalUnitNumber;
use crate::asynchronous_event::AsynchronousEvent;
use crate::cdb::Cdb;
use crate::commands::{self, Context, Started, Work};
use crate::copy::CopyJob;
use crate::device::{NoSuchLogicalUnit, TargetDevice};
use crate::io::{BlockIo, Extent, IoDone, IoOutput, Segments};
use crate::link::Settling;
use crate::opcodes::Operation;
use crate::reservations::NexusName;
use crate::rights::DeviceView;
use crate::roster::Roster;
use crate::segments;
use crate::sense::{self, AdditionalSense, Sense, SenseFormat, SenseKey};
use crate::sequence::Sequence;
use crate::status::Status;
use crate::task::{Begin, Command, Outcome, Phase, Rare, Step, Task, Then};
use crate::unit::{LogicalUnit, NexusId};

use at_unit::AtUnit;

/// One I_T nexus, owned by one core. Dropping it is I_T nexus loss: its tasks are forgotten by their owner, and a
/// reservation that it holds ends.
///
/// A command goes [`begin`](Self::begin), then [`start`](Self::start) when its data-out is there, then
/// [`resume`](Self::resume) each time the store has done what the last [`Step::Io`] asked, until [`Step::Done`] or
/// [`Step::Aborted`]. [`Step::Answered`] is in between at most once: the command has ended, and the task goes on like any other, with
/// an end that is told to nobody. Commands may overlap in any way. No call waits for anything.
#[derive(Debug)]
pub struct Nexus {
    device: DeviceView,
    id: NexusId,
    name: NexusName,
    /// The units that there were at the last command.
    roster: Arc<Roster>,
    /// What it keeps of each unit, by the unit's index.
    units: Vec<Option<AtUnit>>,
}

impl Nexus {
    pub(crate) fn new(device: DeviceView, id: NexusId, name: NexusName) -> Self {
        let mut nexus = Self { device, id, name, roster: Arc::default(), units: Vec::new() };
        nexus.look_around();
        nexus
    }

    /// Units have come or gone. What is kept of one that is gone goes, now or at a later change, when no task is left there and no request: a
    /// copy of another unit's may have one.
    #[cold]
    fn look_around(&mut self) {
        self.roster = self.device.roster();
        let mut known = std::mem::take(&mut self.units).into_iter();
        for (index, unit) in self.roster.places().enumerate() {
            self.units.push(match (unit, known.next().flatten()) {
                (Some(unit), None) => {
                    let changes =
                        self.device.rights.write(unit.number.as_u16().unwrap_or_default()).unwrap_or_default();
                    Some(AtUnit::new(unit, index, (self.id, &self.name), changes))
                }
                (None, Some(own)) if own.is_idle() => {
                    own.unit.disconnect(self.id);
                    None
                }
                (_, own) => own,
            });
        }
    }

    /// What is kept of the unit of a task, which is there as long as the task is.
    #[inline]
    fn own(&self, task: &Task) -> &AtUnit {
        self.units[task.unit()].as_ref().expect("a task has a unit")
    }

    #[inline]
    fn own_mut(&mut self, task: &Task) -> &mut AtUnit {
        self.units[task.unit()].as_mut().expect("a task has a unit")
    }

    /// The device at the other end.
    pub fn device(&self) -> &Arc<TargetDevice> {
        self.device.device()
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
        let found = self.roster.find(lun).and_then(|index| self.units[index].as_mut());
        let Some(own) = found else { return self.without_unit(lun, command.cdb) };
        // In this order: a task of an epoch has seen all that was changed before it began.
        let epoch = own.requests.epoch();
        let summary = own.unit.summary();
        match own.plan_usual(summary, command) {
            Some(transfer) => Begin::Task(own.task(command, epoch, transfer)),
            None => own.begin_rarely(&self.device, self.id, command, (summary, epoch)),
        }
    }

    /// Whether the order of the tasks lets this one begin (SAM-5 8.6), as it always does where all are SIMPLE. One that was ended meanwhile
    /// may begin, and finds that out. An owner who keeps the order asks before [`start`](Self::start); if not now, then again after a task
    /// of the unit has ended.
    #[inline]
    pub fn may_start(&self, task: &Task) -> bool {
        self.own(task).may_begin(task)
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
        let Phase::ExpectData(work) = task.phase else { panic!("a task is started once") };
        let own = self.units[task.unit()].as_mut().expect("a task has a unit");
        match work {
            Work::Read(extent) => own.submit(task, BlockIo::Read(extent), Then::GiveData),
            Work::Write { extent, forced } if segments::length(&data_out) == u64::from(task.data_out_length) => {
                let durable = commands::durable(own.unit.summary(), forced);
                own.submit(task, BlockIo::Write { lba: extent.lba, data: data_out, durable }, Then::End(extent))
            }
            other => self.start_rarely(task, other, data_out),
        }
    }

    /// What is neither a READ nor a WRITE whose data has come in full.
    #[cold]
    fn start_rarely(&mut self, task: &mut Task, work: Work, data_out: Segments) -> Step {
        task.phase = Phase::Ended;
        let own = self.units[task.unit()].as_mut().expect("a task has a unit");
        if own.has_aborted(task) {
            own.end(task);
            return Step::Aborted;
        }
        let AtUnit { unit, index, .. } = own;
        let summary = unit.summary();
        let context = Context { device: &self.device, unit, index: *index, nexus: self.id, summary, now: None };
        let step = match commands::start(&context, work, data_out, task.data_out_length) {
            Ok(Started::Io(request, then)) => return own.submit(task, request, then),
            Ok(Started::Done) => Step::Done(Outcome::bare(Status::Good)),
            Ok(Started::Conflict) => Step::Done(Outcome::bare(Status::ReservationConflict)),
            Ok(Started::Busy) => Step::Done(Outcome::bare(Status::Busy)),
            Ok(Started::Wait(settling)) => wait(task, settling),
            Ok(Started::Answered(request, then)) => {
                let step = own.submit(task, request, then);
                return own.answer(task, step);
            }
            Ok(Started::Copy(job)) => {
                let is_immediate = job.is_immediate();
                let step = self.proceed_with_copy(task, job);
                let step = self.count_rarely(task, step);
                if is_immediate { self.own_mut(task).answer(task, step) } else { step }
            }
            Err(sense) => Step::Done(Outcome::check(sense, summary.sense_format())),
        };
        self.own_mut(task).settle(task, &step);
        step
    }

    /// The store has ended the request that the last [`Step::Io`] or [`Step::Answered`] asked for. Of a task whose command has been answered
    /// nothing is told to the initiator, whatever it ends with.
    ///
    /// # Panics
    /// The task has no request under way.
    #[inline]
    pub fn resume(&mut self, task: &mut Task, done: IoDone) -> Step {
        let own = self.units[task.unit()].as_mut().expect("a task has a unit");
        let (changed, data_in) = match (std::mem::replace(&mut task.phase, Phase::Ended), done) {
            (Phase::ExpectIo(Then::GiveData), Ok(IoOutput::Data(data)))
                if data.len() as u64 == u64::from(task.data_in_length) =>
            {
                (Extent::NONE, data)
            }
            (Phase::ExpectIo(Then::End(extent)), Ok(_)) => (extent, Bytes::new()),
            (Phase::ExpectIo(then), done) => return self.resume_rarely(task, then, done),
            _ => panic!("a task is resumed after a request"),
        };
        own.handle_io_end(task, changed);
        own.set.leave(task.position);
        if own.has_aborted(task) { Step::Aborted } else { Step::Done(Outcome::good(data_in)) }
    }

    /// The end of a request that is neither the usual end of a READ nor that of a WRITE.
    #[cold]
    fn resume_rarely(&mut self, task: &mut Task, then: Then, done: IoDone) -> Step {
        self.handle_io_end(task, &then);
        if self.own(task).has_aborted(task) {
            self.own_mut(task).end(task);
            return Step::Aborted;
        }
        if let Err(error) = done {
            let unit = then.copy().map_or(task.unit(), CopyJob::unit);
            if let Some(Some(own)) = self.units.get(unit) {
                own.counters.count_failure(error);
            }
        }
        let step = self.follow(task, then, done);
        let step = self.count_rarely(task, step);
        self.own_mut(task).settle(task, &step);
        step
    }

    /// A request of a task is at the store no more: what it changes has changed.
    fn handle_io_end(&mut self, task: &Task, then: &Then) {
        self.own_mut(task).handle_io_end(task, then.changes());
        if let Some(job) = then.copy() {
            self.end_tokens_of_copy(job);
            self.discount_copy(task, job);
        }
    }

    /// The owner has ended a task that has not come to [`Step::Done`] or [`Step::Aborted`], as ABORT TASK does; if the last step was
    /// [`Step::Io`] or [`Step::Answered`], to be called when the store has ended that request. Others may wait for either.
    pub fn forget(&mut self, mut task: Task) {
        if let Phase::ExpectIo(then) = &task.phase {
            self.handle_io_end(&task, then);
        }
        if !matches!(task.phase, Phase::Ended) {
            self.own_mut(&task).end(&mut task);
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
        let step = match self.own(task).has_aborted(task) {
            true => Step::Aborted,
            false => wait(task, settling),
        };
        self.own_mut(task).settle(task, &step);
        step
    }

    /// Counts the request of a step, if it is one, unless the task is over meanwhile.
    #[cold]
    fn count_rarely(&mut self, task: &Task, step: Step) -> Step {
        match step {
            Step::Io(request) if self.own_mut(task).requests.count(task.epoch) => Step::Io(request),
            Step::Io(_) => {
                if let Some(job) = task.copy() {
                    self.discount_copy(task, job);
                }
                Step::Aborted
            }
            step => step,
        }
    }

    /// What follows the end of a request.
    fn follow(&mut self, task: &mut Task, then: Then, done: IoDone) -> Step {
        let unit = &Arc::clone(&self.own(task).unit);
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
            (Rare::Exchange(exchange), done) => match exchange.proceed(done) {
                Ok(Started::Io(request, then)) => {
                    task.phase = Phase::ExpectIo(then);
                    Step::Io(request)
                }
                Ok(Started::Busy) => Step::Done(Outcome::bare(Status::Busy)),
                Ok(_) => Step::Done(Outcome::bare(Status::Good)),
                Err(sense) => check(sense),
            },
            (Rare::Settle(settling), Ok(_)) => wait(task, settling),
            // What was asked for holds until the unit loses power, and nobody was promised that it holds longer.
            (Rare::Settle(_), Err(_)) => {
                check(Sense::new(SenseKey::HardwareError, AdditionalSense::INTERNAL_TARGET_FAILURE))
            }
            (Rare::Kept { .. }, Ok(_)) => Step::Done(Outcome::bare(Status::Good)),
            (Rare::Kept { otherwise }, Err(_)) => check(Sense::new(SenseKey::HardwareError, otherwise)),
            (Rare::Continue(sequence, changes), Ok(_)) => proceed(task, sequence, changes),
            (Rare::Continue(sequence, _), Err(error)) => check(sense::from_io_error(sequence.translate(error))),
            (_, Err(error)) => check(sense::from_io_error(error)),
            (rare, Ok(output)) => commands::finish(rare, output, task.data_in_length).map_or_else(check, Step::Done),
        }
    }

    /// The answer to a command for the well-known unit, or for a LUN that has no unit (SPC-5 5.4, SAM-5 4.7.2).
    #[cold]
    fn without_unit(&self, lun: LogicalUnitNumber, cdb: &[u8]) -> Begin {
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
        Begin::Done(match answer {
            Ok(data_in) => Outcome::good(data_in),
            Err(sense) => Outcome::check(sense, SenseFormat::Fixed),
        })
    }

    /// The unit that there is now.
    fn unit(&self, lun: LogicalUnitNumber) -> Result<Arc<LogicalUnit>, NoSuchLogicalUnit> {
        let roster = self.device.roster();
        roster.find(lun).and_then(|index| roster.get(index)).map(Arc::clone).ok_or(NoSuchLogicalUnit(lun))
    }

    /// LOGICAL UNIT RESET (SAM-5 7): the unit's tasks end for every nexus, its RESERVE reservation ends, its mode
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
        Settling::all(self.device.roster().units().map(|(_, unit)| {
            unit.change(|state| state.clock = None);
            unit.reset(AdditionalSense::SCSI_BUS_RESET)
        }))
    }

    /// ABORT TASK SET and CLEAR TASK SET (SAM-5 7), which are the same where each nexus has a task set of its own (TST 1). The tasks are
    /// this nexus's, so forgetting them, which is their owner's part, is all of it: this only looks whether there is such a unit.
    ///
    /// # Errors
    /// The LUN has no unit.
    pub fn abort_task_set(&mut self, lun: LogicalUnitNumber) -> Result<(), NoSuchLogicalUnit> {
        self.unit(lun).map(drop)
    }

    /// I_T NEXUS RESET (SAM-5 7): this nexus is as if it had been lost and had come again. Its tasks end, those among them whose commands have
    /// been answered; its RESERVE reservations end, and it is told by unit attention. It is done when what it gives back is over.
    pub fn reset(&mut self) -> Settling {
        Settling::all(self.units.iter_mut().flatten().map(|own| {
            own.clear_allegiance();
            own.unit.reset_nexus(self.id)
        }))
    }

    /// CLEAR ACA (SAM-5 7): an auto contingent allegiance of this nexus ends, if there is one, and tasks that it has kept back
    /// [may start](Self::may_start).
    ///
    /// # Errors
    /// The LUN has no unit.
    pub fn clear_allegiance(&mut self, lun: LogicalUnitNumber) -> Result<(), NoSuchLogicalUnit> {
        let index = self.device.roster().find(lun).ok_or(NoSuchLogicalUnit(lun))?;
        if let Some(Some(own)) = self.units.get_mut(index) {
            own.clear_allegiance();
        }
        Ok(())
    }

    /// QUERY ASYNCHRONOUS EVENT (SAM-5 7): the unit attention condition that waits for a command of this nexus, if there is one.
    ///
    /// # Errors
    /// The LUN has no unit.
    pub fn asynchronous_event(&self, lun: LogicalUnitNumber) -> Result<Option<AsynchronousEvent>, NoSuchLogicalUnit> {
        self.unit(lun).map(|unit| unit.pending_attention(self.id))
    }

    // RFC 7143 11.14.5-1.
    /// The transport has ended tasks of this nexus at the unit in this place of the device, and will not say so: the nexus is told
    /// by unit attention.
    pub fn commands_cleared(&mut self, unit: usize) {
        if let Some(Some(own)) = self.units.get(unit) {
            own.unit.tell(self.id, AdditionalSense::SOME_COMMANDS_CLEARED_BY_ISCSI_PROTOCOL_EVENT);
        }
    }
}

impl Drop for Nexus {
    fn drop(&mut self) {
        self.units.iter().flatten().for_each(|own| own.unit.disconnect(self.id));
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
