//! Copies as tasks: step after step, each only if the unit that it is about lets this nexus do it.

use super::Nexus;
use super::at_unit::{AtUnit, LOST, PROTECTED, check_state};
use crate::copy::{Access, CopyJob, Due, Side, refused};
use crate::io::IoDone;
use crate::needs::{Needs, READING, WRITING};
use crate::sense::{AdditionalSense, Sense, SenseKey, ThirdParty};
use crate::status::Status;
use crate::task::{Outcome, Phase, Rare, Step, Task};
use crate::unit::{Conditions, LogicalUnit};

impl Nexus {
    /// A step of a copy has ended.
    pub(super) fn resume_copy(&mut self, task: &mut Task, mut job: Box<CopyJob>, done: IoDone) -> Step {
        match job.handle_done(done).and_then(|()| self.check_token(&job)) {
            Ok(()) => self.proceed_with_copy(task, job),
            Err(sense) => self.end_copy(task, &job, Err(sense)),
        }
    }

    /// The step of a copy that was under way has changed what it changes.
    pub(super) fn end_tokens_of_copy(&self, job: &CopyJob) {
        if let Some((unit, extent)) = job.changes()
            && let Some(Some(own)) = self.units.get(unit)
        {
            own.revoke_tokens(extent);
        }
    }

    /// Whether what was read is what its token stands for: a write to it would have ended the token before it began.
    fn check_token(&self, job: &CopyJob) -> Result<(), Sense> {
        let Some(token) = job.token().filter(|_| job.has_read()) else { return Ok(()) };
        match self.units.get(token.unit) {
            Some(Some(own)) => own.unit.note(|state| state.tokens.use_token(token.number).map(drop)),
            // Units that are taken away take their tokens with them.
            _ => Err(Sense::illegal(AdditionalSense::TOKEN_REVOKED)),
        }
    }

    /// Gives the step that is due, or ends the task.
    pub(super) fn proceed_with_copy(&mut self, task: &mut Task, mut job: Box<CopyJob>) -> Step {
        let due = match job.due() {
            Ok(Some(step)) => step,
            Ok(None) => return self.end_copy(task, &job, Ok(())),
            Err(sense) => return self.end_copy(task, &job, Err(sense)),
        };
        if let Err(sense) = self.count_copy(task, &due) {
            return self.end_copy(task, &job, Err(sense));
        }
        let Some(Some(own)) = self.units.get(due.side.unit) else { unreachable!("what is counted is there") };
        let unit = &own.unit;
        if let Err(sense) = self.check_access(unit, &due) {
            self.discount_side(task, due.side);
            return self.end_copy(task, &job, Err(sense));
        }
        let durable = !unit.summary().has(Conditions::WRITE_CACHE);
        let request = job.request(due.access, due.extent, durable, unit.config.thin);
        if due.access == Access::Write {
            own.revoke_tokens(due.extent);
        }
        task.phase = Phase::ExpectIo(Rare::Copy(job).into());
        Step::Io(request)
    }

    /// A request of a copy counts at its task's unit as others do, and at the unit that it is about too: whoever ends tasks there waits for it.
    fn count_copy(&mut self, task: &Task, due: &Due) -> Result<(), Sense> {
        let Due { access, side, .. } = *due;
        // A unit that was taken away takes part no more.
        let Some(Some(AtUnit { requests, .. })) = self.units.get_mut(side.unit) else {
            let gone = Sense::illegal(AdditionalSense::LOGICAL_UNIT_NOT_SUPPORTED);
            return Err(refused(access, ThirdParty::check(gone)));
        };
        match if side.unit == task.unit() { requests.epoch() == side.epoch } else { requests.count(side.epoch) } {
            true => Ok(()),
            false => {
                let cleared = AdditionalSense::COMMANDS_CLEARED_BY_ANOTHER_INITIATOR;
                Err(refused(access, ThirdParty::check(Sense::new(SenseKey::UnitAttention, cleared))))
            }
        }
    }

    /// The request of a copy that was counted has come back.
    pub(super) fn discount_copy(&mut self, task: &Task, job: &CopyJob) {
        self.discount_side(task, job.side());
    }

    fn discount_side(&mut self, task: &Task, side: Side) {
        if side.unit != task.unit()
            && let Some(Some(own)) = self.units.get_mut(side.unit)
        {
            own.requests.discount(side.epoch);
        }
    }

    fn end_copy(&self, task: &Task, job: &CopyJob, end: Result<(), Sense>) -> Step {
        let unit = &self.own(task).unit;
        let end = end.map_err(|sense| match sense.key {
            SenseKey::CopyAborted => sense.with_segment(job.segment()),
            _ => sense,
        });
        if let (Ok(()), Some(token)) = (end, job.token().filter(|token| token.delete))
            && let Some(Some(own)) = self.units.get(token.unit)
        {
            own.unit.change(|state| state.tokens.delete(token.number));
        }
        unit.note(|state| state.copies.end(job.operation(), end));
        Step::Done(match end {
            Ok(()) => Outcome::bare(Status::Good),
            Err(sense) => Outcome::check(sense, unit.summary().sense_format()),
        })
    }

    /// Whether a step of a copy may read or write blocks of a unit now. All that commands of this nexus to that unit are held to is here;
    /// its unit attentions stay for them, as nobody would be told by a copy.
    fn check_access(&self, unit: &LogicalUnit, due: &Due) -> Result<(), Sense> {
        let Due { access, whole, .. } = *due;
        let (needs, barring) = match access {
            Access::Read => (READING, Conditions::NOT_READY),
            Access::Write => (WRITING, Conditions::NOT_READY | Conditions::WRITE_PROTECTED),
        };
        let (has, refusal) = unit.look(|state| (state.granted(self.id), state.access_refusal(self.id)));
        if !has.contains(needs & Needs::OF_RESERVATIONS) {
            return Err(refused(access, ThirdParty::bare(Status::ReservationConflict)));
        }
        let said = |sense| Err(refused(access, ThirdParty::check(sense)));
        if !has.contains(Needs::KNOWN) {
            return said(LOST);
        }
        if !has.contains(needs & Needs::CHANGE) {
            return said(PROTECTED);
        }
        refusal.map_or(Ok(()), said)?;
        check_state(unit, unit.summary(), barring).or_else(said)?;
        let end = whole.lba.checked_add(whole.blocks);
        match end.is_some_and(|end| end <= unit.blocks()) {
            true => Ok(()),
            false => {
                // Found by the copy manager itself: the device has not failed, so its part is only in what is told of it.
                let beyond = Sense::illegal(AdditionalSense::LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE);
                Err(Sense { additional: AdditionalSense::NONE, ..refused(access, ThirdParty::check(beyond)) })
            }
        }
    }
}
