//! What a nexus keeps of one unit, and the general rules that the table gives each command there.

use std::sync::Arc;

use crate::cdb::{self, Cdb};
use crate::commands::{self, Context, Plan, Purpose, Refusal, Transfer};
use crate::counters::Counters;
use crate::io::{BlockIo, Extent};
use crate::link::RequestCounter;
use crate::needs::Needs;
use crate::opcodes::{Field, Rules};
use crate::protection::PROTECTION_BYTES;
use crate::reservations::NexusName;
use crate::rights::DeviceView;
use crate::sense::{AdditionalSense, Sense, SenseKey};
use crate::status::Status;
use crate::task::{Begin, Command, Outcome, Phase, Rare, Step, Task, Then};
use crate::task_set::{Position, TaskAttribute, TaskSet};
use crate::unit::{Conditions, LogicalUnit, NexusId, Summary, View};

/// The refusal of what an initiator has no right to change.
pub(super) const PROTECTED: Sense = Sense::new(SenseKey::DataProtect, AdditionalSense::WRITE_PROTECTED);

/// The refusal of what nobody may do as long as it is not known who has reserved the unit.
pub(super) const LOST: Sense =
    Sense::new(SenseKey::DataProtect, AdditionalSense::PERSISTENT_RESERVATION_INFORMATION_LOST);

/// What a nexus keeps of a unit.
#[derive(Debug)]
pub(super) struct AtUnit {
    pub(super) unit: Arc<LogicalUnit>,
    /// The unit's place in the device.
    pub(super) index: usize,
    /// What it has found there.
    view: View,
    pub(super) counters: Arc<Counters>,
    /// What the store has of it.
    pub(super) requests: RequestCounter,
    pub(super) set: TaskSet,
    /// The epoch of an auto contingent allegiance that has come to be (SAM-5 5.9), and that ends with it.
    allegiance: Option<u64>,
}

impl AtUnit {
    /// The nexus is new to the unit, which it has the right to change if it `changes`.
    pub(super) fn new(
        unit: &Arc<LogicalUnit>,
        index: usize,
        (nexus, name): (NexusId, &NexusName),
        changes: bool,
    ) -> Self {
        let (counters, requests) = unit.connect(nexus, name.clone(), changes);
        let unit = Arc::clone(unit);
        Self { unit, index, view: View::NONE, counters, requests, set: TaskSet::default(), allegiance: None }
    }

    /// What a READ or WRITE comes to that nothing is in the way of. `None` of any other command, of which [`plan`](Self::plan) says what it comes to.
    #[inline]
    pub(super) fn plan_usual(&self, summary: Summary, command: &Command<'_>) -> Option<Transfer> {
        let cdb = Cdb::decode(command.cdb).ok()?;
        let row = cdb.descriptor();
        let is_usual = self.view.generation == summary.generation()
            && self.view.has.contains(row.needs)
            && !summary.has(barring(row.rules))
            && command.attribute == TaskAttribute::Simple
            && cdb.is_usual()
            && self.allegiance.is_none()
            && self.set.len() < self.unit.config.limits.tasks_max.into();
        commands::plan_transfer(&self.unit, &cdb).filter(|_| is_usual)
    }

    /// Makes a task of a command.
    #[inline]
    pub(super) fn task(&mut self, command: &Command<'_>, epoch: u64, transfer: Transfer) -> Task {
        let Transfer { work, data_in_length, data_out_length } = transfer;
        Task {
            lun: command.lun,
            unit: self.index as u32,
            data_out_length,
            data_in_length,
            epoch,
            position: self.set.enter(command.attribute),
            asks_allegiance: false,
            phase: Phase::ExpectData(work),
        }
    }

    /// Looks at a command of which [`plan_usual`](Self::plan_usual) says nothing.
    #[cold]
    pub(super) fn begin_rarely(
        &mut self,
        device: &DeviceView,
        nexus: NexusId,
        command: &Command<'_>,
        (summary, epoch): (Summary, u64),
    ) -> Begin {
        let is_of_allegiance = command.attribute == TaskAttribute::Aca;
        self.allegiance.take_if(|epoch| *epoch != self.requests.epoch());
        if self.allegiance.is_some() && (!is_of_allegiance || self.set.has_task_of_allegiance()) {
            return Begin::Done(Outcome::bare(Status::AcaActive));
        }
        if self.set.len() >= self.unit.config.limits.tasks_max.into() {
            return Begin::Done(Outcome::bare(Status::TaskSetFull));
        }
        let asks_allegiance = cdb::asks_allegiance(command.cdb);
        match self.plan(device, nexus, summary, command) {
            Ok(Plan::Work(transfer)) => Begin::Task(Task { asks_allegiance, ..self.task(command, epoch, transfer) }),
            Ok(Plan::Done(data_in)) => Begin::Done(Outcome::good(data_in)),
            Err(Refusal::Check(sense)) => {
                self.handle_check_condition(asks_allegiance, is_of_allegiance);
                Begin::Done(Outcome::check(sense, summary.sense_format()))
            }
            Err(Refusal::ReservationConflict) => Begin::Done(Outcome::bare(Status::ReservationConflict)),
        }
    }

    /// What a command comes to: the rules that the table gives it first, then the command itself.
    fn plan(
        &mut self,
        device: &DeviceView,
        nexus: NexusId,
        summary: Summary,
        command: &Command<'_>,
    ) -> Result<Plan, Refusal> {
        let unit = &self.unit;
        let cdb = Cdb::decode(command.cdb);
        let needs = cdb.as_ref().map_or(Needs::UNRESERVED, Cdb::needs);
        let has = match self.view.generation == summary.generation() {
            true => self.view.has,
            false => look_again(&mut self.view, unit, nexus, summary, cdb.as_ref().ok())?,
        };
        if !has.contains(needs) {
            refuse_needs(unit, nexus, needs - has)?;
        }
        let cdb = cdb.map_err(Sense::from)?;
        if command.attribute == TaskAttribute::Aca && !self.has_allegiance() {
            return Err(Sense::illegal(AdditionalSense::INVALID_MESSAGE_ERROR).into());
        }
        let rules = cdb.descriptor().rules;
        if rules.contains(Rules::OPTIONAL) && !unit.config.supports(cdb.operation()) {
            return Err(Sense::illegal(AdditionalSense::INVALID_COMMAND_OPERATION_CODE).into());
        }
        check_state(unit, summary, barring(rules))?;
        cdb.check_refused(unit.config.protection.is_some())?;
        if rules.contains(Rules::EXACT) {
            check_announced(unit, &cdb, command.announced)?;
        }
        commands::plan(&Context { device, unit, index: self.index, nexus, summary, now: command.now }, &cdb)
    }

    /// Whether the nexus has no task here, and the store no request of it.
    pub(super) fn is_idle(&self) -> bool {
        self.set.len() == 0 && self.requests.is_idle()
    }

    /// Whether the task was ended, with those of others or with all of this nexus.
    #[inline]
    pub(super) fn has_aborted(&self, task: &Task) -> bool {
        self.requests.epoch() != task.epoch
    }

    /// Blocks are about to change, or have.
    #[inline]
    pub(super) fn revoke_tokens(&self, changed: Extent) {
        if self.unit.summary().has(Conditions::TOKENS) {
            self.unit.revoke_tokens(changed);
        }
    }

    /// A request of a task goes to the store, unless the task is over.
    #[inline(always)]
    pub(super) fn submit(&mut self, task: &mut Task, request: BlockIo, then: Then) -> Step {
        if !self.requests.count(task.epoch) {
            self.end(task);
            return Step::Aborted;
        }
        self.revoke_tokens(then.changes());
        self.count(&request, &then);
        task.phase = Phase::ExpectIo(then);
        Step::Io(request)
    }

    /// Counts a command by its first request.
    #[inline]
    fn count(&self, request: &BlockIo, then: &Then) {
        match then {
            Then::Rarely(rare) => self.count_rarely(request, rare),
            _ => self.counters.count(request),
        }
    }

    /// Where there is protection information, blocks are read to be exchanged or to be compared too.
    #[cold]
    fn count_rarely(&self, request: &BlockIo, rare: &Rare) {
        match rare {
            Rare::Exchange(exchange) => {
                let block_bytes = u64::from(self.unit.config.stored_block_bytes());
                self.counters.count_write(exchange.extent().blocks * block_bytes);
            }
            Rare::Check(_, Purpose::Verify(_)) => {}
            _ => self.counters.count(request),
        }
    }

    /// A request of a task is at the store no more, and these blocks have changed.
    #[inline]
    pub(super) fn handle_io_end(&mut self, task: &Task, changed: Extent) {
        self.revoke_tokens(changed);
        self.requests.discount(task.epoch);
    }

    /// A task that has ended with this step leaves its set.
    pub(super) fn settle(&mut self, task: &mut Task, step: &Step) {
        match step {
            Step::Io(_) | Step::Answered(..) | Step::Wait => {}
            Step::Aborted => self.end(task),
            Step::Done(_) if task.position.is_detached() => self.end(task),
            Step::Done(outcome) => {
                self.end(task);
                if outcome.status == Status::CheckCondition {
                    let is_of_allegiance = task.position == Position::OF_ALLEGIANCE;
                    self.handle_check_condition(task.asks_allegiance, is_of_allegiance);
                }
            }
        }
    }

    /// The command of a task that has just begun ends well, whatever comes of it; if too many tasks go on so, when it is done.
    pub(super) fn answer(&mut self, task: &mut Task, step: Step) -> Step {
        match step {
            Step::Io(request) if self.set.detach(&mut task.position) => Step::Answered(request),
            Step::Done(_) => Step::Done(Outcome::bare(Status::Good)),
            step => step,
        }
    }

    /// A task is over.
    #[inline]
    pub(super) fn end(&mut self, task: &mut Task) {
        task.phase = Phase::Ended;
        self.set.leave(task.position);
    }

    /// A command has ended with CHECK CONDITION: the other tasks of the nexus may have to end with it (QERR, SPC-5 7.5.8), an auto contingent
    /// allegiance ends with a command of its own (SAM-5 5.9.5), and another comes to be if the command has asked for it (NACA).
    #[cold]
    fn handle_check_condition(&mut self, asks_allegiance: bool, is_of_allegiance: bool) {
        let goes_on = self.has_allegiance() && !is_of_allegiance;
        if self.unit.summary().has(Conditions::ENDS_TASKS) {
            self.requests.end_tasks();
        }
        self.allegiance = (asks_allegiance || goes_on).then(|| self.requests.epoch());
    }

    /// Whether an auto contingent allegiance is in force: none outlives a reset or PREEMPT AND ABORT.
    fn has_allegiance(&self) -> bool {
        self.allegiance == Some(self.requests.epoch())
    }

    /// An auto contingent allegiance ends, if there is one.
    pub(super) fn clear_allegiance(&mut self) {
        self.allegiance = None;
    }

    /// Whether the order of the tasks lets this one begin; one that was ended meanwhile may.
    #[inline]
    pub(super) fn may_begin(&self, task: &Task) -> bool {
        let is_kept_back =
            self.allegiance.is_some() && self.has_allegiance() && task.position != Position::OF_ALLEGIANCE;
        !is_kept_back && self.set.may_begin(task.position) || self.has_aborted(task)
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

/// The refusal of a command that needs so much more than the nexus has.
fn refuse_needs(unit: &LogicalUnit, nexus: NexusId, missing: Needs) -> Result<(), Refusal> {
    if missing.contains(Needs::KNOWN) {
        return Err(LOST.into());
    }
    if missing.intersects(Needs::OF_RESERVATIONS) {
        return Err(Refusal::ReservationConflict);
    }
    if missing.contains(Needs::CHANGE) {
        return Err(PROTECTED.into());
    }
    // None if the state of the port has changed just now.
    unit.look(|state| state.access_refusal(nexus)).map_or(Ok(()), |sense| Err(sense.into()))
}

/// The conditions that are in the way of commands under these rules.
#[inline]
fn barring(rules: Rules) -> Conditions {
    let of_medium = if rules.contains(Rules::MEDIUM) { Conditions::NOT_READY } else { Conditions::empty() };
    match rules.contains(Rules::WRITES) {
        true => of_medium | Conditions::WRITE_PROTECTED,
        false => of_medium,
    }
}

/// Whether the unit is in none of these conditions.
pub(super) fn check_state(unit: &LogicalUnit, summary: Summary, barring: Conditions) -> Result<(), Sense> {
    let barred = |condition| barring.contains(condition) && summary.has(condition);
    if barred(Conditions::NOT_READY) {
        unit.look(|state| state.medium.not_ready()).map_or(Ok(()), Err)?;
    }
    let protected = |code| Err(Sense::new(SenseKey::DataProtect, code));
    match () {
        _ if barred(Conditions::READ_ONLY) => protected(AdditionalSense::WRITE_PROTECTED),
        _ if barred(Conditions::SOFTWARE_WRITE_PROTECTED) => protected(AdditionalSense::SOFTWARE_WRITE_PROTECTED),
        _ => Ok(()),
    }
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
