//! What the owner of a session decides about its connections, drawn: how many there are, which carries what, which are given up and how, and what
//! is done about those that are lost and about their tasks.
//!
//! ```text
//!           joined           lost                    logged out over another, or Time2Retain
//!  wanted ─────────> live ─────────> lost ────────────────────────────────────────────────────> (gone, and another is wanted)
//!    ^                                │ to be reinstated
//!    └────────────────────────────────┘
//! ```

use super::{Bundle, Event, Outcome, Purpose};
use crate::simulator::books::SessionBooks;
use crate::simulator::bugs::Bug;
use crate::simulator::verdict::Verdict;
use iscsi_pdu::{
    Cid, InitiatorTaskTag, LogoutResponseCode, RejectReason, TaskManagementFunction, TaskManagementResponseCode,
};
use iscsi_session::initiator::{Logout, Session, TaskManagement};
use iscsi_session::{CloseReason, Limits, LoginOutcome};
use iscsi_transport::Random;
use std::time::{Duration, Instant};

/// A task that the target has refused to reassign for the moment is offered again before this has passed.
const OFFER_TIME: Duration = Duration::from_millis(200);

/// What an owner is made with.
#[derive(Debug)]
pub(crate) struct OwnerPlan {
    /// Connections that it is to have, if the target lets it.
    pub(crate) connections: u16,
    pub(crate) books: SessionBooks,
    pub(crate) verdict: Verdict,
    pub(crate) random: Random,
    pub(crate) bug: Option<Bug>,
}

/// A connection that there is, was or is to be.
#[derive(Debug)]
struct Slot {
    cid: Cid,
    /// A port was asked for, or is in login.
    is_joining: bool,
    /// Its logout was asked for.
    is_retiring: bool,
    /// A logout of it over another had no answer, and may be on its way: it would end whatever takes the place.
    is_doubtful: bool,
    /// Since it was lost: when the target has forgotten it.
    forgotten_at: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Owner {
    plan: OwnerPlan,
    level: u8,
    /// Whether tasks outlive their connection.
    retains: bool,
    /// Time2Wait and Time2Retain together.
    retention: Duration,
    slots: Vec<Slot>,
    last_cid: u16,
    /// Whether the connection that has the least to do takes the next command; any does otherwise.
    balances: bool,
    /// No further connection is tried before.
    next_join: Option<Instant>,
    /// Tasks whose TASK REASSIGN the target has rejected for the moment, and when.
    refused: Vec<(InitiatorTaskTag, Instant)>,
    to_clean_up: Vec<Cid>,
    to_reassign: Vec<InitiatorTaskTag>,
}

impl Owner {
    pub(super) fn new(mut plan: OwnerPlan, leading: Cid) -> Self {
        let balances = plan.random.one_in(2);
        Self {
            plan,
            level: 0,
            retains: false,
            retention: Duration::ZERO,
            slots: vec![Slot {
                cid: leading,
                is_joining: true,
                is_retiring: false,
                is_doubtful: false,
                forgotten_at: None,
            }],
            last_cid: leading.0,
            balances,
            next_join: None,
            refused: Vec::new(),
            to_clean_up: Vec::new(),
            to_reassign: Vec::new(),
        }
    }

    pub(super) fn books(&self) -> &SessionBooks {
        &self.plan.books
    }

    /// The leading login has ended with this.
    pub(super) fn begin(&mut self, cid: Cid, outcome: &LoginOutcome) {
        let parameters = &outcome.parameters;
        self.plan.books.begin(parameters.error_recovery_level, outcome.cmd_sn.0);
        self.level = parameters.error_recovery_level;
        self.retains = self.level == 2 && parameters.time_2_retain > 0;
        self.plan.connections = self.plan.connections.min(parameters.max_connections);
        let seconds = u64::from(parameters.time_2_wait) + u64::from(parameters.time_2_retain);
        self.retention = Duration::from_secs(seconds);
        self.joined(cid);
    }

    pub(super) fn level(&self) -> u8 {
        self.level
    }

    /// RFC 7143 13.12: each connection declares its own.
    pub(super) fn vary(&mut self, limits: &mut Limits) {
        limits.receive_segment_bytes_max = self.plan.random.pick(&[512, 516, 1001, 8192, 65_536]);
    }

    fn slot(&mut self, cid: Cid) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.cid == cid)
    }

    pub(super) fn is_joining(&self, cid: Cid) -> bool {
        self.slots.iter().any(|slot| slot.cid == cid && slot.is_joining)
    }

    pub(super) fn joined(&mut self, cid: Cid) {
        if let Some(slot) = self.slot(cid) {
            (slot.is_joining, slot.is_retiring, slot.is_doubtful) = (false, false, false);
            slot.forgotten_at = None;
        }
    }

    /// It is tried again after a while, as long as it is lost.
    pub(super) fn join_failed(&mut self, now: Instant, cid: Cid) {
        let pause = Duration::from_millis(self.plan.random.between(10, 3000));
        self.next_join = Some(now + pause);
        let Some(slot) = self.slot(cid) else { return };
        slot.is_joining = false;
        if slot.forgotten_at.is_none() {
            self.slots.retain(|slot| slot.cid != cid);
        } else {
            self.to_clean_up.push(cid);
        }
    }

    pub(super) fn lost(&mut self, now: Instant, cid: Cid, reason: CloseReason) {
        let retention = self.retention;
        self.refused.clear();
        match self.slot(cid) {
            Some(slot) if reason != CloseReason::LoggedOut => slot.forgotten_at = Some(now + retention),
            _ => self.slots.retain(|slot| slot.cid != cid),
        }
    }

    pub(super) fn cleanup_due(&mut self, cid: Cid) {
        self.to_clean_up.push(cid);
    }

    /// A logout over another connection was answered.
    pub(super) fn cleaned_up(&mut self, cid: Cid, outcome: &Outcome) {
        if let Outcome::Logout(LogoutResponseCode::Closed | LogoutResponseCode::CidNotFound) = outcome {
            self.slots.retain(|slot| slot.cid != cid || slot.forgotten_at.is_none() || slot.is_joining);
        } else if let Some(slot) = self.slot(cid) {
            slot.is_doubtful = true;
        }
    }

    pub(super) fn reassignment_due(&mut self, tag: InitiatorTaskTag) {
        if self.plan.bug == Some(Bug::TagFreedWithConnection) {
            let _ = self.plan.books.remove_tag(tag.0);
        }
        self.refused.retain(|(task, _)| *task != tag);
        if !self.to_reassign.contains(&tag) {
            self.to_reassign.push(tag);
        }
    }

    /// A command has ended. One that was rejected for the moment has been offered again before, while its connection lasts.
    pub(super) fn forget(&mut self, now: Instant, tag: InitiatorTaskTag, outcome: &Outcome) {
        self.to_reassign.retain(|task| *task != tag);
        let was_offered = !self.refused.iter().any(|(task, at)| *task == tag && *at + OFFER_TIME < now);
        self.plan.verdict.check(was_offered || !matches!(outcome, Outcome::Lost), || {
            "a task is lost that was not offered again".into()
        });
        self.refused.retain(|(task, _)| *task != tag);
    }

    /// A TASK REASSIGN has ended, and its task has not: it goes on, or is offered again.
    pub(super) fn reassigned(&mut self, now: Instant, task: InitiatorTaskTag, outcome: &Outcome) {
        use TaskManagementResponseCode::{FunctionComplete, TaskDoesNotExist, TaskStillAllegiant};
        match outcome {
            // Its connection may have been lost since it was offered, and the next offers it again.
            Outcome::TaskManagement(FunctionComplete | TaskDoesNotExist | TaskStillAllegiant) | Outcome::Lost => {}
            Outcome::Rejected(RejectReason::TooManyImmediateCommands) => self.refused.push((task, now)),
            other => self.plan.verdict.fail(format!("a task is not reassigned: {other:?}")),
        }
    }

    /// Any connection that is there.
    pub(super) fn choose(&mut self, session: &Session) -> Option<Cid> {
        let count = session.cids().count();
        if count == 0 { None } else { session.cids().nth(self.plan.random.below(count as u64) as usize) }
    }

    /// A connection that takes a command.
    pub(super) fn choose_for_command(&mut self, session: &Session) -> Option<Cid> {
        let any = if self.balances { None } else { self.choose(session) };
        any.filter(|cid| session.window(*cid) > 0)
            .or_else(|| session.least_busy())
            .filter(|cid| session.window(*cid) > 0)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let lost = self.slots.iter().filter(|slot| !slot.is_joining).filter_map(|slot| slot.forgotten_at);
        lost.chain(self.next_join).min()
    }
}

impl Bundle {
    /// Does what is due about connections and tasks.
    pub(super) fn recover(&mut self, now: Instant) {
        if self.session.is_none() || self.is_over {
            return;
        }
        self.owner.slots.retain(|slot| slot.is_joining || slot.forgotten_at.is_none_or(|at| at > now));
        self.owner.next_join.take_if(|at| *at <= now);
        if !self.owner.to_clean_up.is_empty() {
            let due = std::mem::take(&mut self.owner.to_clean_up);
            due.into_iter().for_each(|cid| self.clean_up(now, cid));
        }
        if !self.owner.to_reassign.is_empty() && self.is_connected() {
            let due = std::mem::take(&mut self.owner.to_reassign);
            due.into_iter().for_each(|task| self.reassign(now, task));
        }
        self.complete_connections();
        self.handle_session_events(now);
    }

    /// A connection that is lost is logged out over another, or reinstated, or left to Time2Retain.
    fn clean_up(&mut self, now: Instant, cid: Cid) {
        let (retains, is_connected) = (self.owner.retains, self.is_connected());
        let is_lost = |slot: &&mut Slot| slot.forgotten_at.is_some() && !slot.is_joining;
        let Some(slot) = self.owner.slot(cid).filter(is_lost) else { return };
        let is_doubtful = slot.is_doubtful;
        match self.owner.plan.random.below(16) {
            0 => {}
            drawn if is_connected && (drawn < 9 || is_doubtful) => {
                let logout = if retains { Logout::ForRecovery(cid) } else { Logout::Connection(cid) };
                self.ask(Purpose::Cleanup(cid), None, |session, over, tag| session.logout(now, over, tag, logout));
            }
            _ => {
                if let Some(slot) = self.owner.slot(cid) {
                    slot.is_joining = true;
                }
                self.events.push_back(Event::Wanted(cid));
            }
        }
    }

    /// RFC 7143 7.2.2: now and then nobody does anything about a task, and it is lost with Time2Retain.
    fn reassign(&mut self, now: Instant, task: InitiatorTaskTag) {
        if self.owner.plan.random.one_in(40) {
            return;
        }
        let asked = TaskManagement {
            function: TaskManagementFunction::TaskReassign,
            lun: Default::default(),
            referenced: Some(task),
        };
        self.ask(Purpose::Reassignment(task), None, |session, cid, tag| session.manage_task(now, cid, tag, asked));
    }

    /// Wants another connection if there are fewer than there are to be.
    fn complete_connections(&mut self) {
        let owner = &mut self.owner;
        let joins = owner.slots.iter().any(|slot| slot.is_joining);
        if joins || owner.next_join.is_some() || owner.slots.len() >= usize::from(owner.plan.connections) {
            return;
        }
        owner.last_cid = owner.last_cid.wrapping_add(1);
        let cid = Cid(owner.last_cid);
        owner.slots.push(Slot { cid, is_joining: true, is_retiring: false, is_doubtful: false, forgotten_at: None });
        self.events.push_back(Event::Wanted(cid));
    }

    /// Gives a connection up without need: logs it out over itself or over another, or drops it.
    pub(crate) fn retire(&mut self, now: Instant) {
        let retains = self.owner.retains;
        let is_live = |slot: &&mut Slot| !slot.is_joining && !slot.is_retiring && slot.forgotten_at.is_none();
        let count = self.owner.slots.iter_mut().filter(is_live).count();
        let is_last = count == 1;
        if count == 0 || is_last && !retains {
            return;
        }
        let drawn = self.owner.plan.random.below(count as u64) as usize;
        let Some(slot) = self.owner.slots.iter_mut().filter(is_live).nth(drawn) else { return };
        slot.is_retiring = true;
        let cid = slot.cid;
        self.owner.plan.books.expect_recovery(true);
        self.events.push_back(Event::Retired(cid));
        let logout = if retains && self.owner.plan.random.one_in(2) || is_last {
            Logout::ForRecovery(cid)
        } else {
            Logout::Connection(cid)
        };
        match self.owner.plan.random.below(4) {
            0 => self.drop_connection(now, cid),
            1 => self.ask(Purpose::Cleanup(cid), None, |session, over, tag| session.logout(now, over, tag, logout)),
            _ => {
                self.ask(Purpose::Cleanup(cid), Some(cid), |session, over, tag| session.logout(now, over, tag, logout))
            }
        }
        self.handle_session_events(now);
    }

    fn drop_connection(&mut self, now: Instant, cid: Cid) {
        if let Some(place) = self.places.iter_mut().find(|place| place.cid == cid && place.login.is_none()) {
            place.is_over = true;
        }
        if let Some(session) = &mut self.session {
            session.handle_connection_lost(now, cid);
        }
    }
}
