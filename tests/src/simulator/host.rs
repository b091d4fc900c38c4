//! An initiator's owner: what it asks for, and what it makes of the answers.
//!
//! In: answers. Out: requests, and what the oracle has to know. One host keeps one session at a time.

use super::oracle::{Oracle, Range, Write};
use super::pattern::{BLOCK_BYTES, Unit, stamps_of};
use super::plan::HostPlan;
use super::verdict::Verdict;
use bytes::Bytes;
use iscsi_node::initiator::{Completion, Outcome};
use iscsi_pdu::Residual;
use iscsi_transport::Random;
use scsi_block::Status;
use scsi_block::sense::{Sense, SenseKey};
use std::collections::BTreeMap;
use std::time::Duration;

/// Time after which a host does something about a request that is not answered.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A request that was accepted.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) kind: Kind,
    pub(crate) began: u64,
    pub(crate) lun: u16,
    pub(crate) deadline: Duration,
    /// What a command that ends well does not move, or more than was expected.
    pub(crate) residual: Residual,
}

#[derive(Debug)]
pub(crate) enum Kind {
    /// So many bytes of these blocks.
    Read {
        range: Range,
        bytes: u32,
    },
    Write(Write),
    CompareAndWrite {
        compare: Vec<u64>,
        write: Write,
    },
    /// A command without data.
    Plain,
    Ping(Bytes),
    Management,
    Targets,
    Logout,
}

impl Kind {
    /// The write that it is, if it is one.
    pub(crate) fn write(&self) -> Option<&Write> {
        match self {
            Self::Write(write) | Self::CompareAndWrite { write, .. } => Some(write),
            _ => None,
        }
    }

    pub(crate) fn is_command(&self) -> bool {
        matches!(self, Self::Read { .. } | Self::Write(_) | Self::CompareAndWrite { .. } | Self::Plain)
    }
}

/// What is known of a write after its answer.
#[derive(Debug)]
pub(crate) enum Unknown {
    /// Nothing more is to be known.
    None,
    /// It may land until a task management function of the session is answered, or the session has ended.
    UntilManaged(Write),
    /// It may land until the session has ended.
    UntilEnded(Write),
}

/// What may have gone wrong for reasons that the world knows of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Excuses {
    /// The session has had a fault, or another takes its place.
    pub(crate) is_troubled: bool,
    /// The store has failed.
    pub(crate) store_has_failed: bool,
}

/// A unit that a host may use: where the world and where the target have it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnitOfHost {
    pub(crate) unit: Unit,
    pub(crate) lun: u16,
    pub(crate) blocks: u64,
}

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) plan: HostPlan,
    pub(crate) units: Vec<UnitOfHost>,
    /// Requests that it will make yet.
    pub(crate) left: u32,
    /// Its session, from the attempt to log in on.
    pub(crate) session: Option<usize>,
    pub(crate) is_logged_in: bool,
    /// It has to log out, and will log in again.
    pub(crate) is_asked_to_leave: bool,
    pub(crate) is_leaving: bool,
    pub(crate) is_done: bool,
    pub(crate) open: BTreeMap<u64, Open>,
    /// Writes that were aborted by a function that is not answered yet.
    pub(crate) aborted: Vec<Write>,
    pub(crate) random: Random,
    pub(crate) verdict: Verdict,
}

impl Host {
    pub(crate) fn new(plan: HostPlan, units: Vec<UnitOfHost>, random: Random, verdict: Verdict) -> Self {
        Self {
            left: plan.requests,
            plan,
            units,
            session: None,
            is_logged_in: false,
            is_asked_to_leave: false,
            is_leaving: false,
            is_done: false,
            open: BTreeMap::new(),
            aborted: Vec::new(),
            random,
            verdict,
        }
    }

    /// Whether a request of this kind is without an answer.
    pub(crate) fn has_open(&self, kind: &Kind) -> bool {
        self.open.values().any(|open| std::mem::discriminant(&open.kind) == std::mem::discriminant(kind))
    }

    /// An answer to a request that was open.
    pub(crate) fn judge(&self, open: Open, outcome: Outcome, excuses: Excuses, oracle: &mut Oracle) -> Unknown {
        if matches!(outcome, Outcome::Lost | Outcome::Rejected(_) | Outcome::TargetFailure) {
            let excused = excuses.is_troubled || self.is_leaving;
            self.verdict.check(excused, || format!("a request ends for no reason: {outcome:?}"));
        }
        if let Outcome::Command(done) = &outcome
            && done.status == Status::Good.code()
        {
            let (is, should) = (done.residual, open.residual);
            self.verdict.check(is == should, || format!("a command ends with {is:?}, not {should:?}"));
        }
        let unknown = match (open.kind, outcome) {
            (Kind::Read { range, bytes }, Outcome::Command(done)) => {
                self.judge_read(range, bytes, open.began, &done, excuses, oracle)
            }
            (Kind::Write(write), Outcome::Command(done)) => self.judge_write(&write, &done, excuses, oracle),
            (Kind::CompareAndWrite { compare, write }, Outcome::Command(done)) => {
                if done.status == Status::Good.code() {
                    self.judge_stamps(write.range, open.began, &compare, "COMPARE AND WRITE found", oracle);
                }
                self.judge_write(&write, &done, excuses, oracle)
            }
            (Kind::Write(write) | Kind::CompareAndWrite { write, .. }, outcome) => match outcome {
                Outcome::Aborted => Unknown::UntilManaged(write),
                Outcome::Rejected(_) => {
                    oracle.write_void(&write);
                    Unknown::None
                }
                Outcome::Lost | Outcome::TargetFailure => Unknown::UntilEnded(write),
                other => self.wrong(&other),
            },
            (Kind::Ping(sent), Outcome::Ping(echoed)) => {
                self.verdict.check(sent.starts_with(&echoed), || "a ping was answered with other data".into());
                Unknown::None
            }
            (Kind::Plain, Outcome::Command(done)) => {
                self.judge_sense(&done, excuses);
                Unknown::None
            }
            (Kind::Read { .. } | Kind::Plain, Outcome::Aborted | Outcome::TargetFailure)
            | (Kind::Management, Outcome::TaskManagement(_))
            | (Kind::Targets, Outcome::Targets(_))
            | (Kind::Logout, Outcome::Logout(_))
            | (_, Outcome::Lost | Outcome::Rejected(_)) => Unknown::None,
            (_, other) => self.wrong(&other),
        };
        oracle.end(open.began);
        unknown
    }

    fn wrong(&self, outcome: &Outcome) -> Unknown {
        self.verdict.fail(format!("a request ends as another kind of request would: {outcome:?}"));
        Unknown::None
    }

    fn judge_read(
        &self,
        range: Range,
        bytes: u32,
        began: u64,
        done: &Completion,
        excuses: Excuses,
        oracle: &Oracle,
    ) -> Unknown {
        if done.status != Status::Good.code() {
            self.judge_sense(done, excuses);
            return Unknown::None;
        }
        let data = done.data.concat();
        self.verdict.check(data.len() == bytes as usize, || format!("a read of {bytes} bytes gives {}", data.len()));
        let whole_blocks = &data[..data.len() / BLOCK_BYTES * BLOCK_BYTES];
        match stamps_of(whole_blocks, range.unit, range.lba) {
            Some(stamps) => self.judge_stamps(range, began, &stamps, "a read gives", oracle),
            None => self.verdict.fail(format!("a read of {range:?} gives data that nobody has written there")),
        }
        Unknown::None
    }

    fn judge_stamps(&self, range: Range, began: u64, stamps: &[u64], what: &str, oracle: &Oracle) {
        for (lba, stamp) in (range.lba..).zip(stamps) {
            let legal = oracle.may_read(range.unit, lba, *stamp, began);
            self.verdict.check(legal, || {
                format!("{what} write {stamp} at block {lba} of unit {}: written over since, or never made", range.unit)
            });
        }
    }

    fn judge_write(&self, write: &Write, done: &Completion, excuses: Excuses, oracle: &mut Oracle) -> Unknown {
        if done.status == Status::Good.code() {
            let has_landed = oracle.write_done(write);
            self.verdict.check(has_landed, || format!("a write is acknowledged that was not carried out: {write:?}"));
        } else if self.has_no_effect(done, excuses) {
            oracle.write_void(write);
        } else {
            oracle.write_over(write);
        }
        Unknown::None
    }

    /// Whether a command that was not carried out has changed nothing.
    fn has_no_effect(&self, done: &Completion, excuses: Excuses) -> bool {
        done.status != Status::CheckCondition.code()
            || matches!(self.judge_sense(done, excuses), Some(SenseKey::UnitAttention | SenseKey::Miscompare))
    }

    /// Nothing that a host asks for is illegal, and nothing fails without a fault.
    fn judge_sense(&self, done: &Completion, excuses: Excuses) -> Option<SenseKey> {
        if done.status != Status::CheckCondition.code() {
            return None;
        }
        let key = Sense::decode(&done.sense).ok().map(|sense| sense.key);
        let expected = match key {
            Some(SenseKey::UnitAttention | SenseKey::Miscompare) => true,
            Some(SenseKey::AbortedCommand) => excuses.is_troubled,
            Some(SenseKey::IllegalRequest | SenseKey::NoSense) | None => false,
            Some(_) => excuses.store_has_failed,
        };
        self.verdict.check(expected, || format!("a command that is right ends with {key:?}"));
        key
    }
}
