//! The medium of the world: keeps stamps in the place of blocks, answers late and out of order, and fails when told to.

use super::bugs::{Bug, SHOWS_ONE_IN};
use super::oracle::Oracle;
use super::pattern::{BLOCK_BYTES, Unit, ZEROS, push_block, stamps_of};
use super::verdict::Verdict;
use bytes::Bytes;
use iscsi_transport::Random;
use scsi_block::io::{BlockIo, IoDone, IoError, IoOutput};
use slab::Slab;

/// A request that the store has taken.
#[derive(Debug)]
struct Pending {
    request: u64,
    unit: Unit,
    io: BlockIo,
    /// Known once it was carried out.
    done: Option<IoDone>,
}

/// What becomes of a request whose time has come.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) request: u64,
    pub(crate) done: IoDone,
    /// How often it is answered: once, but for a bug.
    pub(crate) answers: usize,
    /// Whether it is to be carried out after its answer.
    pub(crate) is_late: bool,
}

#[derive(Debug)]
pub(crate) struct Store {
    units: Vec<Vec<u64>>,
    /// What stood in each block before its last write.
    previous: Vec<Vec<u64>>,
    pending: Slab<Pending>,
    /// Requests that fail from now on.
    failures: u32,
    /// Whether any has failed.
    has_failed: bool,
    verdict: Verdict,
    bug: Option<Bug>,
    random: Random,
}

impl Store {
    pub(crate) fn new(blocks_of_units: &[u64], verdict: Verdict, bug: Option<Bug>, random: Random) -> Self {
        let units: Vec<Vec<u64>> = blocks_of_units.iter().map(|blocks| vec![ZEROS; *blocks as usize]).collect();
        let (previous, pending) = (units.clone(), Slab::new());
        Self { units, previous, pending, failures: 0, has_failed: false, verdict, bug, random }
    }

    /// So many requests fail.
    pub(crate) fn fail(&mut self, failures: u32) {
        self.failures = failures;
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Requests that have no answer.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// What stands in a block.
    pub(crate) fn stamp(&self, unit: Unit, lba: u64) -> u64 {
        self.units[unit][lba as usize]
    }

    /// Takes a request and gives it a number, under which it is to be ended. Some are carried out at once, some in the end.
    pub(crate) fn take(&mut self, request: u64, unit: Unit, io: BlockIo, oracle: &mut Oracle) -> usize {
        let at_once = self.random.one_in(2) && self.bug != Some(Bug::StoreAnswersEarly);
        let job = self.pending.insert(Pending { request, unit, io, done: None });
        if at_once {
            let _ = self.carry_out(job, oracle);
        }
        job
    }

    /// The time of a request has come.
    pub(crate) fn end(&mut self, job: usize, oracle: &mut Oracle) -> End {
        let bug = self.bug.filter(|_| self.random.one_in(SHOWS_ONE_IN));
        let request = self.pending[job].request;
        let is_write = matches!(self.pending[job].io, BlockIo::Write { .. });
        match bug {
            Some(Bug::StoreAnswersEarly) if is_write => {
                return End { request, done: Ok(IoOutput::Done), answers: 1, is_late: true };
            }
            Some(Bug::StoreWritesTwice) if is_write => {
                let done = self.carry_out(job, oracle);
                self.pending[job].done = None;
                return End { request, done, answers: 1, is_late: true };
            }
            _ => {}
        }
        let done = self.carry_out(job, oracle);
        self.pending.remove(job);
        let answers = match bug {
            Some(Bug::StoreForgetsRequest) => 0,
            Some(Bug::StoreAnswersTwice) => 2,
            _ => 1,
        };
        End { request, done, answers, is_late: false }
    }

    /// Carries out what was answered already.
    pub(crate) fn catch_up(&mut self, job: usize, oracle: &mut Oracle) {
        let _ = self.carry_out(job, oracle);
        self.pending.remove(job);
    }

    /// Carries a request out, if that has not happened.
    fn carry_out(&mut self, job: usize, oracle: &mut Oracle) -> IoDone {
        if let Some(done) = &self.pending[job].done {
            return done.clone();
        }
        let (unit, io) = (self.pending[job].unit, self.pending[job].io.clone());
        let fails = self.failures > 0 && self.random.one_in(2);
        let done = if fails { self.fail_io(unit, &io, oracle) } else { self.do_io(unit, &io, oracle) };
        self.pending[job].done = Some(done.clone());
        done
    }

    /// What fails may have been done in part.
    fn fail_io(&mut self, unit: Unit, io: &BlockIo, oracle: &mut Oracle) -> IoDone {
        self.failures -= 1;
        self.has_failed = true;
        if let BlockIo::Write { lba, data, .. } = io
            && let Some(stamps) = self.stamps(unit, *lba, data)
        {
            let part = self.random.below(stamps.len() as u64 + 1) as usize;
            self.land(unit, *lba, &stamps[..part], oracle);
        }
        Err(self.random.pick(&[IoError::Read, IoError::Write, IoError::NoSpace, IoError::NotReady]))
    }

    fn do_io(&mut self, unit: Unit, io: &BlockIo, oracle: &mut Oracle) -> IoDone {
        match io {
            BlockIo::Read(extent) => {
                let is_old = self.bug == Some(Bug::StoreReadsOldData) && self.random.one_in(SHOWS_ONE_IN);
                let medium = if is_old { &self.previous[unit] } else { &self.units[unit] };
                let mut bytes = Vec::with_capacity(extent.blocks as usize * BLOCK_BYTES);
                for lba in extent.lba..extent.lba + extent.blocks {
                    push_block(&mut bytes, unit, lba, medium[lba as usize]);
                }
                Ok(IoOutput::Data(bytes.into()))
            }
            BlockIo::Write { lba, data, .. } => {
                if let Some(stamps) = self.stamps(unit, *lba, data) {
                    self.land(unit, *lba, &stamps, oracle);
                }
                Ok(IoOutput::Done)
            }
            BlockIo::CompareAndWrite { lba, data, .. } => self.compare_and_write(unit, *lba, data, oracle),
            BlockIo::Unmap(extents) => {
                for extent in extents {
                    self.land(unit, extent.lba, &vec![ZEROS; extent.blocks as usize], oracle);
                }
                Ok(IoOutput::Done)
            }
            BlockIo::WriteSame { extent, block: None, .. } => {
                self.land(unit, extent.lba, &vec![ZEROS; extent.blocks as usize], oracle);
                Ok(IoOutput::Done)
            }
            BlockIo::Flush | BlockIo::Prefetch(_) => Ok(IoOutput::Done),
            other => {
                self.verdict.fail(format!("the store is asked for what nobody has asked for: {other:?}"));
                Err(IoError::NotReady)
            }
        }
    }

    fn compare_and_write(&mut self, unit: Unit, lba: u64, data: &[Bytes], oracle: &mut Oracle) -> IoDone {
        let data = data.concat();
        let (compare, write) = data.split_at(data.len() / 2);
        let Some(stamps) = stamps_of(compare, unit, lba) else {
            self.verdict.fail("data reaches the store to be compared that nobody has sent");
            return Err(IoError::Write);
        };
        let medium = &self.units[unit][lba as usize..][..stamps.len()];
        let difference = medium.iter().zip(&stamps).position(|(is, should)| is != should);
        if let Some(place) = difference.filter(|_| self.bug != Some(Bug::StoreComparesNothing)) {
            return Err(IoError::Miscompare { offset: (place * BLOCK_BYTES) as u64 });
        }
        if let Some(stamps) = self.stamps(unit, lba, &[Bytes::copy_from_slice(write)]) {
            self.land(unit, lba, &stamps, oracle);
        }
        Ok(IoOutput::Done)
    }

    fn stamps(&self, unit: Unit, lba: u64, data: &[Bytes]) -> Option<Vec<u64>> {
        let stamps = match data {
            [one] => stamps_of(one, unit, lba),
            many => stamps_of(&many.concat(), unit, lba),
        };
        self.verdict
            .check(stamps.is_some(), || format!("data reaches unit {unit} at block {lba} that nobody has sent"));
        stamps
    }

    fn land(&mut self, unit: Unit, lba: u64, stamps: &[u64], oracle: &mut Oracle) {
        let bug = self.bug.filter(|_| self.random.one_in(SHOWS_ONE_IN));
        if bug == Some(Bug::StoreLosesWrite) {
            return;
        }
        let moved = usize::from(bug == Some(Bug::StoreMissesPlace));
        for (lba, stamp) in (lba..).zip(stamps) {
            let may = oracle.lands(unit, lba, *stamp);
            self.verdict.check(may, || {
                format!("write {stamp} lands at block {lba} of unit {unit}: twice, after its end, or unasked")
            });
            let place = (lba as usize + moved).min(self.units[unit].len() - 1);
            self.previous[unit][place] = std::mem::replace(&mut self.units[unit][place], *stamp);
        }
    }
}
