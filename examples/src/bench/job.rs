//! One session's load: which command comes next, what became of it, and how long it took.
//!
//! In: the ends of commands. Out: commands, as many at a time as the queue is deep. Runs on the session's own thread, so
//! nothing here waits or takes a lock.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use iscsi_runtime::{Completion, Next, Outcome, Request, Transfer, Workload};
use scsi_block::cdb::Cdb;
use scsi_block::{LogicalUnitNumber, Status};

use super::course::{Course, Plan, Region};
use super::pattern::Pattern;
use super::statistics::{Depths, Tally};
use super::written::Written;
use crate::completion::{good, is_busy, is_unit_attention};
use crate::failure::{Failure, Kind};

/// Times that a command is asked again because the unit was busy or had to tell something first.
const RETRIES_MAX: u32 = 100;

/// A command under way.
#[derive(Clone, Copy, Debug)]
struct Slot {
    piece: u64,
    write: bool,
    /// The piece was known to hold the pattern when the command was given.
    check: bool,
    retries: u32,
    begun: Instant,
}

/// A session's load, and what is known of it.
#[derive(Debug)]
pub struct Job {
    region: Region,
    course: Course,
    slots: Vec<Slot>,
    idle: Vec<usize>,
    again: Vec<usize>,
    ended: Option<Instant>,
    failure: Option<Failure>,
    /// The plan has ended, and every command of it.
    finished: bool,
    verification: Option<Verification>,
    /// What is written when nothing is verified.
    payload: Bytes,
    /// Reads that went well.
    pub reads: Tally,
    /// Writes that went well.
    pub writes: Tally,
    /// Commands that were under way when another was begun, that one among them.
    pub depths: Depths,
}

/// What it takes to know whether a read is right.
#[derive(Debug)]
struct Verification {
    pattern: Pattern,
    written: Written,
    checked_pieces: u64,
}

impl Job {
    /// A job on `region` with `depth` commands at a time; with `verify`, what it writes is checked when it is read. `seed`
    /// makes the order and the data.
    #[must_use]
    pub fn new(region: Region, depth: u32, verify: bool, seed: u64) -> Self {
        let mut payload = BytesMut::zeroed(region.piece_bytes() as usize);
        Pattern::new(seed, region.block_size).fill(0, &mut payload);
        let now = Instant::now();
        let idle_slot = Slot { piece: 0, write: false, check: false, retries: 0, begun: now };
        Self {
            region,
            course: Course::new(region.pieces, seed),
            slots: vec![idle_slot; depth as usize],
            idle: (0..depth as usize).collect(),
            again: Vec::new(),
            ended: None,
            failure: None,
            finished: false,
            verification: verify.then(|| Verification {
                pattern: Pattern::new(seed, region.block_size),
                written: Written::new(region.pieces),
                checked_pieces: 0,
            }),
            payload: payload.freeze(),
            reads: Tally::default(),
            writes: Tally::default(),
            depths: Depths::default(),
        }
    }

    /// Begins another part of the work. What was counted before is forgotten, what was written is not.
    #[must_use]
    pub fn with_plan(self, plan: Plan) -> Self {
        let (reads, writes, depths) = (Tally::default(), Tally::default(), Depths::default());
        Self { course: self.course.with_plan(plan), ended: None, finished: false, reads, writes, depths, ..self }
    }

    /// Time from the first command to the end of the last.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.course
            .begun()
            .zip(self.ended)
            .map_or(Duration::ZERO, |(begun, ended)| ended.saturating_duration_since(begun))
    }

    /// Bytes that were read and found to be what was written.
    #[must_use]
    pub fn checked_bytes(&self) -> u64 {
        self.verification.as_ref().map_or(0, |verification| verification.checked_pieces)
            * u64::from(self.region.piece_bytes())
    }

    /// The job itself, unless something went wrong in it.
    ///
    /// # Errors
    /// What went wrong first; or the session ended before the plan had.
    pub fn into_result(mut self) -> Result<Self, Failure> {
        match self.failure.take() {
            Some(failure) => Err(failure),
            None if self.finished => Ok(self),
            None => Err(Failure::new(Kind::Connection, "the target has ended the session before the load had ended")),
        }
    }

    fn request(&self, slot: &Slot) -> Request {
        let Region { lun, piece_blocks, .. } = self.region;
        let (lun, lba) = (LogicalUnitNumber::from(lun), self.region.lba(slot.piece));
        if slot.write {
            Request::new(lun, &Cdb::write_16(lba, piece_blocks), Transfer::Write(self.content(lba)))
        } else {
            Request::new(lun, &Cdb::read_16(lba, piece_blocks), Transfer::Read(self.region.piece_bytes()))
        }
    }

    fn content(&self, lba: u64) -> Bytes {
        let Some(verification) = &self.verification else { return self.payload.clone() };
        let mut content = BytesMut::zeroed(self.region.piece_bytes() as usize);
        verification.pattern.fill(lba, &mut content);
        content.freeze()
    }

    fn handle_completion(&mut self, now: Instant, index: usize, completion: Completion) -> Result<(), Failure> {
        let slot = self.slots[index];
        let what = if slot.write { "WRITE" } else { "READ" };
        let lba = self.region.lba(slot.piece);
        if (is_unit_attention(&completion) || is_busy(&completion)) && slot.retries < RETRIES_MAX {
            self.slots[index].retries += 1;
            self.again.push(index);
            return Ok(());
        }
        if completion.status != Status::Good.code() {
            return good(&format!("{what} at block {lba}"), completion).map(|_| ());
        }
        let tally = if slot.write { &mut self.writes } else { &mut self.reads };
        let at = self.course.begun().map_or(Duration::ZERO, |begun| now.saturating_duration_since(begun));
        tally.record(now.saturating_duration_since(slot.begun), at);
        self.idle.push(index);
        let expected = u64::from(self.region.piece_bytes());
        let came: u64 = completion.data.iter().map(|piece| piece.len() as u64).sum();
        if !slot.write && came != expected {
            let message = format!("READ at block {lba}: {came} of {expected} bytes came, with status GOOD");
            return Err(Failure::new(Kind::Device, message));
        }
        if let Some(verification) = &mut self.verification {
            if slot.write {
                verification.written.insert(slot.piece);
            } else if slot.check {
                let pieces = completion.data.iter().map(|piece| &piece[..]);
                verification
                    .pattern
                    .check(lba, pieces)
                    .map_err(|mismatch| Failure::new(Kind::Difference, mismatch.to_string()))?;
                verification.checked_pieces += 1;
            }
        }
        Ok(())
    }
}

impl Workload for Job {
    fn next(&mut self, now: Instant) -> Next {
        if self.failure.is_some() {
            return Next::Finished;
        }
        if let Some(index) = self.again.pop() {
            return Next::Request { token: index as u64, request: self.request(&self.slots[index]) };
        }
        let Some(&index) = self.idle.last() else { return Next::Idle };
        let written = self.verification.as_ref().map(|verification| &verification.written);
        let Some((piece, write)) = self.course.choose(now, written) else {
            // A command that comes back may have to be asked again.
            self.finished = self.idle.len() == self.slots.len();
            return if self.finished { Next::Finished } else { Next::Idle };
        };
        self.idle.pop();
        let check = self.verification.as_ref().is_some_and(|verification| verification.written.contains(piece));
        self.slots[index] = Slot { piece, write, check, retries: 0, begun: now };
        self.depths.record(self.slots.len() - self.idle.len());
        Next::Request { token: index as u64, request: self.request(&self.slots[index]) }
    }

    fn complete(&mut self, now: Instant, token: u64, outcome: Outcome) {
        self.ended = Some(now);
        let result = match outcome {
            Outcome::Command(completion) => self.handle_completion(now, token as usize, completion),
            other => Err(Failure::new(Kind::Device, format!("a command was not carried out: {other:?}"))),
        };
        if let Err(failure) = result {
            self.failure.get_or_insert(failure);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Order;
    use iscsi_runtime::Outcome;
    use scsi_block::sense::{AdditionalSense, Sense, SenseFormat, SenseKey};

    const REGION: Region = Region { lun: 0, block_size: 512, piece_blocks: 2, first_lba: 10, pieces: 5 };

    /// A disk that answers at once, and may lie.
    struct Disk {
        bytes: Vec<u8>,
        attention: bool,
        loses: Option<u64>,
    }

    impl Disk {
        fn new() -> Self {
            Self { bytes: vec![0xee; 32 * 512], attention: true, loses: None }
        }

        fn answer(&mut self, request: &Request) -> Completion {
            if std::mem::take(&mut self.attention) {
                return refusal(&Sense::new(SenseKey::UnitAttention, AdditionalSense::POWER_ON));
            }
            let mut completion = Completion { status: 0, ..refusal(&Sense::NONE) };
            let lba = u64::from_be_bytes(request.cdb[2..10].try_into().unwrap());
            let at = lba as usize * 512;
            match &request.transfer {
                Transfer::Write(_) if self.loses == Some(lba) => {}
                Transfer::Write(data) => self.bytes[at..at + data.len()].copy_from_slice(data),
                Transfer::Read(length) => {
                    completion.data.push(Bytes::copy_from_slice(&self.bytes[at..at + *length as usize]));
                }
                _ => unreachable!("a job reads or writes"),
            }
            completion
        }
    }

    fn refusal(sense: &Sense) -> Completion {
        Completion {
            status: Status::CheckCondition.code(),
            status_qualifier: 0,
            sense: sense.encode(SenseFormat::Fixed),
            residual: iscsi_pdu::Residual::None,
            data: Default::default(),
        }
    }

    /// Runs a job to its end; time passes by a millisecond a round.
    fn run(mut job: Job, disk: &mut Disk) -> Result<Job, Failure> {
        let mut now = Instant::now();
        let mut waiting = Vec::new();
        loop {
            match job.next(now) {
                Next::Request { token, request } => waiting.push((token, request)),
                Next::Idle => {
                    now += Duration::from_millis(1);
                    for (token, request) in waiting.drain(..).rev() {
                        job.complete(now, token, Outcome::Command(disk.answer(&request)));
                    }
                }
                Next::Finished if waiting.is_empty() => return job.into_result(),
                Next::Finished => unreachable!("commands are under way"),
            }
        }
    }

    fn timed(order: Order, write_percent: u8) -> Plan {
        Plan::Load { runtime: Some(Duration::from_millis(20)), pieces: None, order, write_percent }
    }

    #[test]
    fn fills_and_reads_back_every_piece_once() {
        let mut disk = Disk::new();
        let job = run(Job::new(REGION, 3, true, 7).with_plan(Plan::Fill), &mut disk).unwrap();
        assert_eq!((job.reads.count(), job.writes.count()), (0, 5));
        assert!(disk.bytes[..10 * 512].iter().chain(&disk.bytes[20 * 512..]).all(|byte| *byte == 0xee));
        let job = run(job.with_plan(Plan::ReadBack), &mut disk).unwrap();
        assert_eq!((job.reads.count(), job.writes.count(), job.checked_bytes()), (5, 0, 5 * 1024));
    }

    #[test]
    fn a_lost_write_is_found() {
        let mut disk = Disk { loses: Some(14), ..Disk::new() };
        let job = run(Job::new(REGION, 2, true, 7).with_plan(timed(Order::Random, 100)), &mut disk).unwrap();
        let failure = run(job.with_plan(Plan::ReadBack), &mut disk).unwrap_err();
        assert_eq!(failure.kind(), Kind::Difference);
        assert!(failure.to_string().starts_with("block 14 differs"), "{failure}");
    }

    #[test]
    fn works_until_its_time_is_over() {
        let job = run(Job::new(REGION, 4, false, 7).with_plan(timed(Order::Sequential, 0)), &mut Disk::new()).unwrap();
        assert_eq!(job.elapsed(), Duration::from_millis(20));
        // One of the first four was told of the reset and had to be asked again.
        assert_eq!(job.reads.count(), 4 * 20 - 1);
        let mixed = run(Job::new(REGION, 4, true, 7).with_plan(timed(Order::Random, 50)), &mut Disk::new()).unwrap();
        assert!(mixed.reads.count() > 10 && mixed.writes.count() > 10 && mixed.checked_bytes() > 0);
    }

    #[test]
    fn works_until_it_has_moved_as_much_as_it_is_to() {
        let load = |runtime, order| Plan::Load { runtime, pieces: Some(12), order, write_percent: 100 };
        let job = run(Job::new(REGION, 4, true, 7).with_plan(load(None, Order::Sequential)), &mut Disk::new()).unwrap();
        assert_eq!(job.writes.count(), 12, "what is asked again is not another");
        // Three at depths 1 to 3, and four by four after the first round.
        assert!(job.depths.shares()[2].1 > 0.0 && job.depths.shares()[3].1 == 0.0, "{:?}", job.depths);
        let job = run(job.with_plan(Plan::ReadBack), &mut Disk::new());
        assert!(job.is_err(), "another disk has none of it");
        let short = load(Some(Duration::from_millis(2)), Order::Random);
        let job = run(Job::new(REGION, 4, true, 7).with_plan(short), &mut Disk::new()).unwrap();
        assert!(job.writes.count() < 12, "the time is over before");
    }

    #[test]
    fn a_session_that_ends_early_is_no_success() {
        let mut job = Job::new(REGION, 1, false, 7).with_plan(timed(Order::Random, 0));
        assert!(matches!(job.next(Instant::now()), Next::Request { .. }));
        assert_eq!(job.into_result().unwrap_err().kind(), Kind::Connection);
    }

    #[test]
    fn what_the_unit_refuses_ends_the_job() {
        let mut job = Job::new(REGION, 1, false, 7).with_plan(timed(Order::Random, 0));
        let Next::Request { token, .. } = job.next(Instant::now()) else { panic!("no command") };
        let sense = Sense::new(SenseKey::MediumError, AdditionalSense::UNRECOVERED_READ_ERROR);
        let completion = refusal(&sense);
        job.complete(Instant::now(), token, Outcome::Command(completion));
        assert!(matches!(job.next(Instant::now()), Next::Finished));
        let failure = job.into_result().unwrap_err();
        assert!(failure.to_string().contains("MEDIUM ERROR"), "{failure}");
    }
}
