//! One world: a target, its stores, initiators and links between them, on one thread under one clock.
//!
//! In: a seed. Out: [`Totals`], or the first thing that is wrong.
//!
//! Every event of the [`Calendar`] gives one part of the world a turn; whatever that part has done to others enters further events. Nothing
//! else happens, so a seed is replayed by drawing the same numbers in the same order.

use super::bugs::Bug;
use super::calendar::{Calendar, Due};
use super::host::{Host, UnitOfHost};
use super::link::{Link, LinkMaker, Port};
use super::oracle::Oracle;
use super::plan::Plan;
use super::registry::Registry;
use super::report::Totals;
use super::session::Session;
use super::store::Store;
use super::verdict::Verdict;
use super::wire::End;
use super::{Options, portal};
use iscsi_node::target::TargetNode;
use iscsi_pdu::Cid;
use iscsi_transport::{BufferPool, Random, Trace};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time in which everything has to end once faults have stopped.
const CALM_MAX: Duration = Duration::from_secs(900);

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) random: Random,
    pub(crate) verdict: Verdict,
    pub(crate) bug: Option<Bug>,
    trace: Trace,
    epoch: Instant,
    /// Time since then.
    pub(crate) now: Duration,
    pub(crate) calendar: Calendar,
    pub(crate) target: TargetNode<Port>,
    /// When the target has its next turn of its own.
    pub(crate) target_due: Option<Duration>,
    pub(crate) registry: Registry,
    pub(crate) store: Store,
    /// First unit of each target.
    pub(crate) first_units: Vec<usize>,
    pub(crate) oracle: Oracle,
    pub(crate) last_stamp: u64,
    pub(crate) hosts: Vec<Host>,
    pub(crate) sessions: Vec<Session>,
    pub(crate) links: Vec<Link>,
    /// Links whose connection the target has not ended.
    pub(crate) live: Vec<usize>,
    pub(crate) maker: LinkMaker,
    pub(crate) faults_left: u32,
    /// When faults have stopped.
    pub(crate) calm_since: Option<Duration>,
    /// Until then a request may be without an answer for good reasons.
    pub(crate) excused_until: Duration,
    pub(crate) is_store_slow: bool,
    pub(crate) totals: Totals,
}

impl World {
    pub(crate) fn new(seed: u64, options: &Options, trace: Trace) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan::draw(&mut random, options);
        let verdict = Verdict::default();
        let blocks: Vec<u64> = plan.targets.concat();
        let first_units: Vec<usize> =
            plan.targets.iter().scan(0, |first, units| Some(std::mem::replace(first, *first + units.len()))).collect();
        let hosts = plan.hosts.iter().map(|host| {
            let units = host.target.map_or(Vec::new(), |target| units_of(&plan, target, first_units[target]));
            Host::new(host.clone(), units, random.fork(), verdict.clone())
        });
        let hosts = hosts.collect();
        let bug = options.bug;
        let maker = LinkMaker { pool: BufferPool::new(), trace: trace.clone(), verdict: verdict.clone(), bug };
        Self {
            target: TargetNode::new(Arc::new(portal::of(&plan))),
            target_due: None,
            registry: Registry::new(bug),
            store: Store::new(&blocks, verdict.clone(), bug, random.fork()),
            first_units,
            oracle: Oracle::new(&blocks),
            last_stamp: 0,
            hosts,
            sessions: Vec::new(),
            links: Vec::new(),
            live: Vec::new(),
            maker,
            faults_left: plan.faults,
            calm_since: None,
            excused_until: Duration::ZERO,
            is_store_slow: false,
            totals: Totals { seeds: 1, ..Totals::default() },
            epoch: Instant::now(),
            now: Duration::ZERO,
            calendar: Calendar::default(),
            plan,
            random,
            verdict,
            bug,
            trace,
        }
    }

    /// Runs until all hosts have done what they had to do.
    ///
    /// # Errors
    /// What was found wrong.
    pub(crate) fn run(&mut self, steps_max: u64) -> Result<(), String> {
        for host in 0..self.hosts.len() {
            let delay = self.delay(1000);
            self.enter(delay, Due::Connect(host));
            self.enter(Duration::from_secs(5), Due::Watch(host));
        }
        if self.faults_left == 0 {
            self.enter(Duration::ZERO, Due::Calm);
        }
        while !self.is_over() && !self.verdict.has_failed() {
            let Some((at, due)) = self.calendar.next() else {
                self.verdict.fail("nothing is to happen any more, and not all is done");
                break;
            };
            self.now = at;
            self.trace.set_time(at);
            self.handle(due);
            self.totals.steps += 1;
            self.check_progress(steps_max);
        }
        if !self.verdict.has_failed() {
            self.check_end();
        }
        self.totals.virtual_time = self.now;
        self.totals.pdus = self.trace.pdus();
        self.verdict.found().map_or(Ok(()), Err)
    }

    fn handle(&mut self, due: Due) {
        match due {
            Due::Turn(link, end) => {
                if self.links[link].end(end).due == Some(self.now) {
                    self.links[link].end_mut(end).due = None;
                    match end {
                        End::Initiator => self.turn_session(self.links[link].session),
                        End::Target => self.turn_connection(link),
                    }
                }
            }
            Due::SessionTimer(session) => {
                if self.sessions[session].timer_due == Some(self.now) {
                    self.sessions[session].timer_due = None;
                    self.turn_session(session);
                }
            }
            Due::Target => {
                if self.target_due == Some(self.now) {
                    self.target_due = None;
                    self.turn_target();
                }
            }
            Due::Store(job) => self.end_io(job),
            Due::LateWrite(job) => self.store.catch_up(job, &mut self.oracle),
            Due::Connect(host) => self.connect(host),
            Due::Join(session, cid) => self.join(session, Cid(cid)),
            Due::Retained(session) => self.check_retention(session),
            Due::Watch(host) => self.watch(host),
            Due::Unstall(link) => self.unstall(link),
            Due::StoreHurries => self.is_store_slow = false,
            Due::Calm => self.calm(),
        }
    }

    /// Something is to happen after `delay`.
    pub(crate) fn enter(&mut self, delay: Duration, due: Due) {
        self.calendar.enter(self.now + delay, due);
    }

    /// An end of a link is to have a turn after `delay`, if it has none before.
    pub(crate) fn enter_turn(&mut self, link: usize, end: End, delay: Duration) {
        let at = self.now + delay;
        let known = &mut self.links[link].end_mut(end).due;
        if known.is_none_or(|due| at < due) {
            *known = Some(at);
            self.calendar.enter(at, Due::Turn(link, end));
        }
    }

    /// The clock that the nodes see.
    pub(crate) fn instant(&self) -> Instant {
        self.epoch + self.now
    }

    /// Time from now until an instant, or none if it has passed.
    pub(crate) fn until(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.instant())
    }

    /// Up to so many microseconds.
    pub(crate) fn delay(&mut self, microseconds_max: u64) -> Duration {
        Duration::from_micros(self.random.between(0, microseconds_max))
    }

    /// Wakes whoever can see what an end of a link has done.
    pub(crate) fn look(&mut self, link: usize) {
        for (end, other) in [(End::Initiator, End::Target), (End::Target, End::Initiator)] {
            let found = self.links[link].end_mut(end);
            let (has_moved, held_back) = (found.has_moved(), found.take_held_back());
            if has_moved {
                let delay = self.delay(self.plan.link_delay_max);
                self.enter_turn(link, other, delay);
            }
            if let Some(wait) = held_back.filter(|_| !self.links[link].is_stalled) {
                let delay = self.delay(self.plan.link_delay_max) + wait;
                self.enter_turn(link, end, delay);
            }
        }
    }

    fn is_over(&self) -> bool {
        self.hosts.iter().all(|host| host.is_done) && self.target.sessions() == 0 && self.live.is_empty()
    }

    fn check_progress(&self, steps_max: u64) {
        let calm_for = self.calm_since.map_or(Duration::ZERO, |since| self.now - since);
        self.verdict.check(calm_for < CALM_MAX, || format!("{calm_for:?} after the last fault {}", self.open_ends()));
        let few = self.totals.steps < steps_max;
        self.verdict.check(few, || format!("after {steps_max} steps {}", self.open_ends()));
    }

    fn open_ends(&self) -> String {
        let open: usize = self.hosts.iter().map(|host| host.open.len()).sum();
        let (live, pending) = (self.live.len(), self.store.pending());
        let hosts = self.hosts.iter().filter(|host| !host.is_done).count();
        format!("{hosts} hosts, {open} requests, {live} connections and {pending} block I/Os have not ended")
    }

    /// What has to hold when all is over.
    fn check_end(&mut self) {
        self.verdict.check(self.registry.is_empty(), || "sessions are there whose connections have ended".into());
        self.verdict.check(self.target.connections() == 0, || "the target has connections that have ended".into());
        let timer = self.target.poll_timeout();
        self.verdict.check(timer.is_none(), || "the target has a timer and no connection".into());
        let began = self.oracle.begin();
        for (unit, blocks) in self.plan.targets.concat().into_iter().enumerate() {
            for lba in 0..blocks {
                let stamp = self.store.stamp(unit, lba);
                let legal = self.oracle.may_read(unit, lba, stamp, began);
                self.verdict.check(legal, || format!("in the end write {stamp} stands at block {lba} of unit {unit}"));
            }
        }
    }
}

fn units_of(plan: &Plan, target: usize, first_unit: usize) -> Vec<UnitOfHost> {
    let unit =
        |(index, blocks): (usize, &u64)| UnitOfHost { unit: first_unit + index, lun: index as u16, blocks: *blocks };
    plan.targets[target].iter().enumerate().map(unit).collect()
}
