//! What a nexus keeps of one unit, and the general rules that the table gives each command there.

use std::sync::Arc;

use crate::cdb::Cdb;
use crate::commands::{self, Context, Plan, Refusal};
use crate::counters::Counters;
use crate::device::TargetDevice;
use crate::io::Extent;
use crate::link::RequestCounter;
use crate::needs::Needs;
use crate::opcodes::{Field, Rules};
use crate::protection::PROTECTION_BYTES;
use crate::reservations::NexusName;
use crate::sense::{AdditionalSense, Sense, SenseKey};
use crate::status::Status;
use crate::task::{Command, Phase, Step, Task};
use crate::task_set::{TaskAttribute, TaskSet};
use crate::unit::{Conditions, LogicalUnit, NexusId, Summary, View};

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
}

impl AtUnit {
    /// The nexus is new to the unit.
    pub(super) fn new(unit: &Arc<LogicalUnit>, index: usize, nexus: NexusId, name: &NexusName) -> Self {
        let (counters, requests) = unit.connect(nexus, name.clone());
        Self { unit: Arc::clone(unit), index, view: View::NONE, counters, requests, set: TaskSet::default() }
    }

    /// What a command comes to: the rules that the table gives it first, then the command itself.
    #[inline]
    pub(super) fn plan(
        &mut self,
        device: &TargetDevice,
        nexus: NexusId,
        summary: Summary,
        command: &Command<'_>,
    ) -> Result<Plan, Refusal> {
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
            refuse_needs(unit, nexus, has, cdb.as_ref().ok())?;
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

    /// A task that has ended with this step leaves its set.
    #[inline]
    pub(super) fn settle(&mut self, task: &mut Task, step: &Step) {
        match step {
            Step::Io(_) | Step::Wait => {}
            Step::Aborted => self.end(task),
            Step::Done(outcome) => {
                self.end(task);
                if outcome.status == Status::CheckCondition {
                    self.handle_queue_error();
                }
            }
        }
    }

    /// A task is over.
    #[inline]
    pub(super) fn end(&mut self, task: &mut Task) {
        task.phase = Phase::Ended;
        self.set.leave(task.position);
    }

    /// A command has ended with CHECK CONDITION: the other tasks of the nexus may have to end with it (QERR, SPC-5 7.5.8).
    #[cold]
    pub(super) fn handle_queue_error(&mut self) {
        if self.unit.summary().has(Conditions::ENDS_TASKS) {
            self.requests.end_tasks();
        }
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
fn refuse_needs(unit: &LogicalUnit, nexus: NexusId, has: Needs, cdb: Option<&Cdb>) -> Result<(), Refusal> {
    match cdb.map_or(Needs::UNRESERVED, Cdb::needs) - has {
        missing if missing.is_empty() => Ok(()),
        missing if missing.intersects(Needs::OF_RESERVATIONS) => Err(Refusal::ReservationConflict),
        // None if the state of the port has changed just now.
        _ => unit.look(|state| state.access_refusal(nexus)).map_or(Ok(()), |sense| Err(sense.into())),
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
