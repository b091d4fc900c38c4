//! A copy under way: piece after piece, each in steps of a read and a write.
//!
//! In: pieces, and the ends of block I/O. Out: the step that is due. It does not know what units allow; whoever asks for the next step looks
//! at that first.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::{Operation, STEP_BYTES, ZEROS_STEP_BYTES};
use crate::io::{BlockIo, Extent, IoDone, IoError, IoOutput};
use crate::sense::{self, AdditionalSense, Sense, SenseKey, ThirdParty};

/// Where blocks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Side {
    pub(crate) unit: usize,
    /// The unit's epoch when the copy began.
    pub(crate) epoch: u64,
    pub(crate) block_size: u32,
    pub(crate) lba: u64,
}

impl Side {
    /// The blocks of `bytes` bytes, so many after the first; both are whole blocks.
    fn extent(&self, offset: u64, bytes: u64) -> Extent {
        let block_size = u64::from(self.block_size);
        Extent { lba: self.lba.saturating_add(offset / block_size), blocks: bytes / block_size }
    }
}

/// A run of bytes with one source and one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// What is read; `None` is zeros.
    pub(crate) source: Option<Side>,
    pub(crate) destination: Side,
    /// Whole blocks on both sides.
    pub(crate) bytes: u64,
}

impl Piece {
    /// Bytes of a step. 64 KiB are whole blocks of each size.
    fn step_bytes(&self, done: u64) -> u64 {
        let step = if self.source.is_some() { STEP_BYTES } else { ZEROS_STEP_BYTES };
        step.min(self.bytes - done)
    }

    /// Where in the piece the step begins that follows `done` bytes. Blocks that a copy to behind them would overwrite are read from the end.
    fn step_offset(&self, done: u64) -> u64 {
        match self.source {
            Some(source) if self.overwrites_its_source(source) => self.bytes - done - self.step_bytes(done),
            _ => done,
        }
    }

    fn overwrites_its_source(&self, source: Side) -> bool {
        let Side { unit, lba, .. } = self.destination;
        unit == source.unit && lba > source.lba && lba - source.lba < source.extent(0, self.bytes).blocks
    }
}

/// The step that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) access: Access,
    pub(crate) side: Side,
    /// The blocks of the step.
    pub(crate) extent: Extent,
    /// All blocks of the piece on this side.
    pub(crate) whole: Extent,
}

/// What a step does with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// A copy. It is boxed wherever it goes.
#[derive(Debug)]
pub(crate) struct CopyJob {
    /// The segments, or why one cannot be copied.
    pieces: Vec<Result<Piece, Sense>>,
    /// The piece that is copied.
    at: usize,
    /// Bytes of it that are done.
    done: u64,
    /// What was read and is not written.
    data: Option<Bytes>,
    /// Whose blocks are read.
    token: Option<TokenUse>,
    /// Its command is answered before it is done.
    immediate: bool,
    operation: Arc<Operation>,
}

/// A token that a copy reads by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TokenUse {
    /// The unit that has made it.
    pub(crate) unit: usize,
    /// Its number there.
    pub(crate) number: u64,
    /// It is deleted once the copy has ended well.
    pub(crate) delete: bool,
}

impl CopyJob {
    pub(crate) fn new(pieces: Vec<Result<Piece, Sense>>, operation: Arc<Operation>) -> Self {
        Self { pieces, at: 0, done: 0, data: None, token: None, immediate: false, operation }
    }

    /// A copy of what a token stands for.
    pub(crate) fn by_token(self, token: TokenUse) -> Self {
        Self { token: Some(token), ..self }
    }

    /// A copy whose command wants its answer at once, if `immediate`.
    pub(crate) fn answered_at_once(self, immediate: bool) -> Self {
        Self { immediate, ..self }
    }

    pub(crate) fn is_immediate(&self) -> bool {
        self.immediate
    }

    pub(crate) fn token(&self) -> Option<TokenUse> {
        self.token
    }

    /// Whether there is something that was read and is not written.
    pub(crate) fn has_read(&self) -> bool {
        self.data.is_some()
    }

    pub(crate) fn operation(&self) -> &Arc<Operation> {
        &self.operation
    }

    /// The segment that is copied.
    pub(crate) fn segment(&self) -> u16 {
        self.at as u16
    }

    /// The step that is due. `None` at the end of the copy.
    pub(crate) fn due(&mut self) -> Result<Option<Due>, Sense> {
        if self.operation.is_aborted() {
            return Err(Sense::new(SenseKey::CopyAborted, AdditionalSense::NONE));
        }
        while let Some(Ok(piece)) = self.pieces.get(self.at)
            && piece.bytes == self.done
        {
            (self.at, self.done) = (self.at + 1, 0);
            self.operation.segments.fetch_add(1, Ordering::Relaxed);
        }
        match self.pieces.get(self.at) {
            Some(Ok(piece)) => Ok(Some(self.step(piece))),
            Some(Err(sense)) => Err(*sense),
            None => Ok(None),
        }
    }

    fn step(&self, piece: &Piece) -> Due {
        let (access, side) = match (piece.source, &self.data) {
            (Some(source), None) => (Access::Read, source),
            _ => (Access::Write, piece.destination),
        };
        let extent = side.extent(piece.step_offset(self.done), piece.step_bytes(self.done));
        Due { access, side, extent, whole: side.extent(0, piece.bytes) }
    }

    /// The blocks that the step under way writes, and whose they are.
    pub(crate) fn changes(&self) -> Option<(usize, Extent)> {
        let piece = self.pieces[self.at].as_ref().expect("a step is of a piece");
        let Due { access, side, extent, .. } = self.step(piece);
        (access == Access::Write).then_some((side.unit, extent))
    }

    /// The unit whose store has the step that is under way.
    pub(crate) fn unit(&self) -> usize {
        self.side().unit
    }

    /// Where that step is.
    pub(crate) fn side(&self) -> Side {
        let piece = self.pieces[self.at].as_ref().expect("a step is of a piece");
        self.step(piece).side
    }

    /// The request of the step that is due: what was read, or zeros, which may be without space if the unit is `thin`.
    pub(crate) fn request(&self, access: Access, extent: Extent, durable: bool, thin: bool) -> BlockIo {
        match (access, &self.data) {
            (Access::Read, _) => BlockIo::Read(extent),
            (Access::Write, Some(data)) => {
                BlockIo::Write { lba: extent.lba, data: [data.clone()].into_iter().collect(), durable }
            }
            (Access::Write, None) => BlockIo::WriteSame { extent, block: None, unmap: thin, durable },
        }
    }

    /// The step that was due has ended.
    pub(crate) fn handle_done(&mut self, done: IoDone) -> Result<(), Sense> {
        let piece = *self.pieces[self.at].as_ref().expect("a step is of a piece");
        let access = self.step(&piece).access;
        let bytes = piece.step_bytes(self.done);
        match (access, done) {
            (Access::Read, Ok(IoOutput::Data(data))) if data.len() as u64 == bytes => self.data = Some(data),
            (Access::Read, Ok(_)) => return Err(failed(access, IoError::Read)),
            (Access::Write, Ok(_)) => {
                self.data = None;
                self.done += bytes;
                self.operation.handle_done(bytes);
            }
            (_, Err(error)) => return Err(failed(access, error)),
        }
        Ok(())
    }
}

/// The sense for a store that has failed.
fn failed(access: Access, error: IoError) -> Sense {
    refused(access, ThirdParty::check(sense::from_io_error(error)))
}

/// The sense for what a source or destination has said.
pub(crate) fn refused(access: Access, said: ThirdParty) -> Sense {
    let sense = Sense::new(SenseKey::CopyAborted, AdditionalSense::THIRD_PARTY_DEVICE_FAILURE);
    sense.with_third_party(ThirdParty { is_source: access == Access::Read, ..said })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(unit: usize, lba: u64) -> Side {
        Side { unit, epoch: 0, block_size: 512, lba }
    }

    fn job(pieces: &[Piece]) -> CopyJob {
        CopyJob::new(pieces.iter().copied().map(Ok).collect(), Arc::default())
    }

    /// Runs a job on stores of bytes, one a unit.
    fn run(mut job: CopyJob, stores: &mut [Vec<u8>]) -> usize {
        let mut steps = 0;
        while let Some(Due { access, side: Side { unit, .. }, extent, .. }) = job.due().unwrap() {
            steps += 1;
            assert_eq!(job.unit(), unit);
            let range = extent.lba as usize * 512..(extent.lba + extent.blocks) as usize * 512;
            let done = match job.request(access, extent, false, false) {
                BlockIo::Read(_) => IoOutput::Data(Bytes::copy_from_slice(&stores[unit][range])),
                BlockIo::Write { data, .. } => {
                    stores[unit][range].copy_from_slice(&data.concat());
                    IoOutput::Done
                }
                BlockIo::WriteSame { block: None, .. } => {
                    stores[unit][range].fill(0);
                    IoOutput::Done
                }
                other => panic!("{other:?}"),
            };
            job.handle_done(Ok(done)).unwrap();
        }
        steps
    }

    fn filled(blocks: usize) -> Vec<u8> {
        (0..blocks * 512).map(|byte| (byte / 512 % 251) as u8 ^ byte as u8).collect()
    }

    #[test]
    fn pieces_are_copied_in_steps_that_meet_without_gap_or_overlap() {
        let step_blocks = (STEP_BYTES / 512) as usize;
        for blocks in [1, step_blocks - 1, step_blocks, step_blocks + 1, 3 * step_blocks] {
            let mut stores = [filled(blocks + 5), vec![0; (blocks + 9) * 512]];
            let piece = Piece { source: Some(side(0, 5)), destination: side(1, 9), bytes: blocks as u64 * 512 };
            assert_eq!(run(job(&[piece]), &mut stores), 2 * blocks.div_ceil(step_blocks));
            assert_eq!(stores[1][9 * 512..], stores[0][5 * 512..]);
            assert!(stores[1][..9 * 512].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn what_overlaps_is_copied_as_it_was() {
        let blocks = 3 * STEP_BYTES / 512 + 7;
        for (from, to) in [(100, 101), (101, 100), (100, 700), (700, 100), (100, 100)] {
            let mut stores = [filled(blocks as usize + 800)];
            let before = stores[0].clone();
            let piece = Piece { source: Some(side(0, from)), destination: side(0, to), bytes: blocks * 512 };
            run(job(&[piece]), &mut stores);
            let range = |lba: u64| lba as usize * 512..(lba + blocks) as usize * 512;
            assert_eq!(stores[0][range(to)], before[range(from)], "{from} to {to}");
        }
    }

    #[test]
    fn zeros_are_written_without_a_read() {
        let mut stores = [filled(20)];
        let piece = Piece { source: None, destination: side(0, 3), bytes: 4 * 512 };
        assert_eq!(run(job(&[piece]), &mut stores), 1);
        assert!(stores[0][3 * 512..7 * 512].iter().all(|byte| *byte == 0));
        assert_eq!(stores[0][7 * 512..], filled(20)[7 * 512..]);
    }

    #[test]
    fn progress_and_segments_are_told_and_an_abort_is_obeyed() {
        let piece = Piece { source: None, destination: side(0, 0), bytes: 512 };
        let mut job = job(&[Piece { bytes: 0, ..piece }, piece, piece]);
        let block = Some(Extent { lba: 0, blocks: 1 });
        assert_eq!(job.due().unwrap().map(|due| due.extent), block);
        job.handle_done(Ok(IoOutput::Done)).unwrap();
        assert_eq!(job.due().unwrap().map(|due| due.extent), block);
        let operation = Arc::clone(job.operation());
        assert_eq!((operation.bytes.load(Ordering::Relaxed), operation.segments.load(Ordering::Relaxed)), (512, 2));
        assert_eq!(job.segment(), 2);
        operation.abort();
        assert_eq!(job.due().unwrap_err().key, SenseKey::CopyAborted);
    }

    #[test]
    fn a_store_that_fails_is_named_by_its_side() {
        let piece = Piece { source: Some(side(0, 0)), destination: side(1, 0), bytes: 512 };
        let mut reading = job(&[piece]);
        let said = reading.handle_done(Err(IoError::Read)).unwrap_err().third_party.unwrap();
        assert_eq!((said.is_source, said.key), (true, SenseKey::MediumError));
        let mut writing = job(&[piece]);
        writing.handle_done(Ok(IoOutput::Data(Bytes::from(vec![0; 512])))).unwrap();
        let said = writing.handle_done(Err(IoError::NoSpace)).unwrap_err().third_party.unwrap();
        assert_eq!((said.is_source, said.key), (false, SenseKey::DataProtect));
        let mut short = job(&[piece]);
        let said = short.handle_done(Ok(IoOutput::Data(Bytes::new()))).unwrap_err().third_party.unwrap();
        assert_eq!((said.is_source, said.key), (true, SenseKey::MediumError), "too little was read");
    }
}
