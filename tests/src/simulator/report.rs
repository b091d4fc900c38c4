//! What a run comes to.

use std::ops::AddAssign;
use std::time::Duration;

/// What was done in one run, or in many together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Runs.
    pub seeds: u64,
    /// Events of their worlds.
    pub steps: u64,
    /// Requests of initiators that have ended.
    pub commands: u64,
    /// PDUs that were sent or received.
    pub pdus: u64,
    /// Sessions that have begun, by their ErrorRecoveryLevel.
    pub sessions: [u64; 3],
    /// Faults that were made.
    pub faults: u64,
    /// Time that has passed in the worlds.
    pub virtual_time: Duration,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.steps += other.steps;
        self.commands += other.commands;
        self.pdus += other.pdus;
        for (level, sessions) in other.sessions.into_iter().enumerate() {
            self.sessions[level] += sessions;
        }
        self.faults += other.faults;
        self.virtual_time += other.virtual_time;
    }
}

/// What was found wrong, and what was seen before.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed that finds it again.
    pub seed: u64,
    /// What is wrong.
    pub text: String,
    /// The last PDUs of the world.
    pub ladder: String,
    /// What the world had done until then.
    pub totals: Totals,
}

/// A run: how it went, and a number that tells it from others.
#[derive(Clone, Debug)]
pub struct Run {
    /// What was done, or what was found wrong.
    pub result: Result<Totals, Box<Failure>>,
    /// Made of all PDUs and their times: the same for two runs that went the same way.
    pub fingerprint: u64,
    /// The last PDUs.
    pub ladder: String,
}
