//! `copy` and `compare`: bytes from one storage to another, or against another, many requests at a time.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

use crate::failure::{Failure, Kind};
use crate::storage::{CHUNK_BYTES, Pending, Storage};
use crate::zeros::{is_zero, runs};

/// Requests under way on each side.
const DEPTH: usize = 16;

/// What a copy has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Bytes that were written as data.
    pub data_bytes: u64,
    /// Bytes that were made zero, or left so.
    pub zero_bytes: u64,
}

/// The end of some requests, in order, of which at most [`DEPTH`] are under way.
struct Pipeline<T> {
    pending: VecDeque<(Range<u64>, Pending<T>)>,
}

impl<T: 'static> Pipeline<T> {
    fn new() -> Self {
        Self { pending: VecDeque::with_capacity(DEPTH + 1) }
    }

    /// Adds a request; gives back the end of the oldest if there are too many now.
    fn push(&mut self, range: Range<u64>, pending: Pending<T>) -> Result<Option<(Range<u64>, T)>, Failure> {
        self.pending.push_back((range, pending));
        if self.pending.len() > DEPTH { self.pop() } else { Ok(None) }
    }

    /// The end of the oldest request.
    fn pop(&mut self) -> Result<Option<(Range<u64>, T)>, Failure> {
        self.pending.pop_front().map(|(range, pending)| pending.wait().map(|end| (range, end))).transpose()
    }
}

/// A part of a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// At most a chunk that may hold anything.
    Data(Range<u64>),
    /// A hole of any length.
    Zeros(Range<u64>),
}

/// The parts of the first `size` bytes; each begins at a multiple of [`CHUNK_BYTES`].
fn parts(storage: &dyn Storage, size: u64) -> impl Iterator<Item = Part> {
    const CHUNK: u64 = CHUNK_BYTES as u64;
    let mut at = 0;
    let mut data = 0..0;
    std::iter::from_fn(move || {
        if at >= size {
            return None;
        }
        if at >= data.end {
            // Holes that begin or end within a chunk are found in the chunk, by their zeros.
            let found = storage.next_data(at..size);
            data = found.map_or(size..size, |found| found.start / CHUNK * CHUNK..found.end);
        }
        let part = if at < data.start { Part::Zeros(at..data.start) } else { Part::Data(at..size.min(at + CHUNK)) };
        let (Part::Data(range) | Part::Zeros(range)) = &part;
        at = range.end;
        Some(part)
    })
}

struct Copy<'a> {
    to: &'a dyn Storage,
    writes: Pipeline<()>,
    copied: Copied,
    progress: &'a dyn Fn(u64),
}

impl Copy<'_> {
    fn wrote(&self, end: Option<(Range<u64>, ())>) {
        if let Some((range, ())) = end {
            (self.progress)(range.end - range.start);
        }
    }

    fn write(&mut self, offset: u64, data: Bytes) -> Result<(), Failure> {
        let range = offset..offset + data.len() as u64;
        self.copied.data_bytes += data.len() as u64;
        let end = self.writes.push(range, self.to.write(offset, data))?;
        self.wrote(end);
        Ok(())
    }

    fn write_zeros(&mut self, range: Range<u64>) -> Result<(), Failure> {
        self.copied.zero_bytes += range.end - range.start;
        let step = self.to.zeroing().map_or(CHUNK_BYTES as u64, |zeroing| zeroing.bytes_max);
        let mut at = range.start;
        while at < range.end {
            let part = at..range.end.min(at + step);
            at = part.end;
            let pending = match self.to.zeroing() {
                Some(_) => self.to.write_zeros(part.clone()),
                None => self.to.write(part.start, Bytes::from_static(&ZEROS[..(part.end - part.start) as usize])),
            };
            let end = self.writes.push(part, pending)?;
            self.wrote(end);
        }
        Ok(())
    }

    /// Writes what was read, its zeros as zeros if that is cheaper.
    fn handle_data(&mut self, range: Range<u64>, data: Bytes) -> Result<(), Failure> {
        let Some(zeroing) = self.to.zeroing() else { return self.write(range.start, data) };
        runs(&data, zeroing.granule_bytes).try_for_each(|run| {
            let start = range.start + run.range.start as u64;
            match run.zero {
                true => self.write_zeros(start..range.start + run.range.end as u64),
                false => self.write(start, data.slice(run.range)),
            }
        })
    }
}

static ZEROS: [u8; CHUNK_BYTES] = [0; CHUNK_BYTES];

/// Copies the first `size` bytes and flushes them. `progress` is told of bytes that are done.
///
/// # Errors
/// Something could not be read or written; what was written until then stays.
pub fn copy(from: &dyn Storage, to: &dyn Storage, size: u64, progress: &dyn Fn(u64)) -> Result<Copied, Failure> {
    let mut reads = Pipeline::new();
    let mut copy = Copy { to, writes: Pipeline::new(), copied: Copied::default(), progress };
    for part in parts(from, size) {
        match part {
            Part::Zeros(range) => copy.write_zeros(range)?,
            Part::Data(range) => {
                let read = from.read(range.start, (range.end - range.start) as usize);
                if let Some((range, data)) = reads.push(range, read)? {
                    copy.handle_data(range, data)?;
                }
            }
        }
    }
    while let Some((range, data)) = reads.pop()? {
        copy.handle_data(range, data)?;
    }
    while let Some(end) = copy.writes.pop()? {
        copy.wrote(Some(end));
    }
    to.flush()?;
    Ok(copy.copied)
}

/// Compares the first `size` bytes. `progress` is told of bytes that are the same.
///
/// # Errors
/// [`Kind::Difference`] with the first byte that differs, or something could not be read.
pub fn compare(one: &dyn Storage, other: &dyn Storage, size: u64, progress: &dyn Fn(u64)) -> Result<(), Failure> {
    let mut reads = Pipeline::new();
    let check = |end: Option<(Range<u64>, (Bytes, Bytes))>| match end {
        Some((range, (left, right))) => check_same(range.start, &left, &right).map(|()| progress(left.len() as u64)),
        None => Ok(()),
    };
    let mut at = 0;
    while at < size {
        let next = |storage: &dyn Storage| storage.next_data(at..size).map_or(size, |data| data.start);
        let data = next(one).min(next(other)) / CHUNK_BYTES as u64 * CHUNK_BYTES as u64;
        if data > at {
            progress(data - at);
            at = data;
            continue;
        }
        let range = at..size.min(at + CHUNK_BYTES as u64);
        at = range.end;
        let length = (range.end - range.start) as usize;
        let (left, right) = (one.read(range.start, length), other.read(range.start, length));
        // Both are waited for, even if one fails.
        let both = Pending::new(|| {
            let ends = (left.wait(), right.wait());
            Ok((ends.0?, ends.1?))
        });
        check(reads.push(range, both)?)?;
    }
    loop {
        match reads.pop()? {
            None => return Ok(()),
            end => check(end)?,
        }
    }
}

/// Whether the bytes from `size` on are all zeros.
///
/// # Errors
/// [`Kind::Difference`] with the first byte that is not, or something could not be read.
pub fn check_zeros_from(storage: &dyn Storage, size: u64) -> Result<(), Failure> {
    const CHUNK: u64 = CHUNK_BYTES as u64;
    let mut reads: Pipeline<Bytes> = Pipeline::new();
    let check = |end: Option<(Range<u64>, Bytes)>| {
        let Some((range, data)) = end else { return Ok(()) };
        // The chunk that `size` lies in was compared up to there.
        let skip = size.saturating_sub(range.start).min(data.len() as u64) as usize;
        match data[skip..].iter().position(|byte| *byte != 0) {
            None => Ok(()),
            Some(place) => {
                let byte = range.start + (skip + place) as u64;
                let message = format!(
                    "one is longer, and not zero from there on: first at byte {byte}; --size {size} compares what both have"
                );
                Err(Failure::new(Kind::Difference, message))
            }
        }
    };
    let first = size / CHUNK * CHUNK;
    let mut at = first;
    while let Some(data) = storage.next_data(at..storage.size()) {
        let start = (data.start / CHUNK * CHUNK).max(first);
        let range = start..storage.size().min(start + CHUNK);
        at = range.end;
        let read = storage.read(range.start, (range.end - range.start) as usize);
        check(reads.push(range, read)?)?;
    }
    loop {
        match reads.pop()? {
            None => return Ok(()),
            end => check(end)?,
        }
    }
}

fn check_same(offset: u64, left: &Bytes, right: &Bytes) -> Result<(), Failure> {
    if left == right || (is_zero(left) && is_zero(right)) {
        return Ok(());
    }
    let place = left.iter().zip(right).position(|(left, right)| left != right).unwrap_or_default();
    let byte = offset + place as u64;
    let message = format!("they differ, first at byte {byte}: {:#04x} and {:#04x}", left[place], right[place]);
    Err(Failure::new(Kind::Difference, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Zeroing;
    use proptest::prelude::*;
    use std::cell::{Cell, RefCell};

    const CHUNK: u64 = CHUNK_BYTES as u64;

    /// Bytes in memory, with holes of 4 KiB, that remember what was asked.
    struct Memory {
        bytes: RefCell<Vec<u8>>,
        zeroing: Option<Zeroing>,
        read_bytes: Cell<u64>,
        zeroed_bytes: Cell<u64>,
        flushed: Cell<bool>,
    }

    impl Memory {
        fn new(bytes: Vec<u8>, zeroing: Option<Zeroing>) -> Self {
            let bytes = RefCell::new(bytes);
            Self { bytes, zeroing, read_bytes: Cell::new(0), zeroed_bytes: Cell::new(0), flushed: Cell::new(false) }
        }
    }

    impl Storage for Memory {
        fn size(&self) -> u64 {
            self.bytes.borrow().len() as u64
        }
        fn next_data(&self, range: Range<u64>) -> Option<Range<u64>> {
            let bytes = self.bytes.borrow();
            let part = &bytes[range.start as usize..range.end as usize];
            let start = range.start + part.iter().position(|byte| *byte != 0)? as u64 / 4096 * 4096;
            Some(start.max(range.start)..(start + 4096).min(range.end))
        }
        fn read(&self, offset: u64, length: usize) -> Pending<Bytes> {
            assert!(offset.is_multiple_of(CHUNK) && length <= CHUNK_BYTES);
            self.read_bytes.set(self.read_bytes.get() + length as u64);
            let bytes = self.bytes.borrow();
            Pending::done(Ok(Bytes::copy_from_slice(&bytes[offset as usize..offset as usize + length])))
        }
        fn write(&self, offset: u64, data: Bytes) -> Pending<()> {
            self.bytes.borrow_mut()[offset as usize..offset as usize + data.len()].copy_from_slice(&data);
            Pending::done(Ok(()))
        }
        fn zeroing(&self) -> Option<Zeroing> {
            self.zeroing
        }
        fn write_zeros(&self, range: Range<u64>) -> Pending<()> {
            let zeroing = self.zeroing.expect("only a storage that can is asked");
            assert!(range.end - range.start <= zeroing.bytes_max);
            assert!(range.start.is_multiple_of(zeroing.granule_bytes as u64));
            self.zeroed_bytes.set(self.zeroed_bytes.get() + range.end - range.start);
            self.bytes.borrow_mut()[range.start as usize..range.end as usize].fill(0);
            Pending::done(Ok(()))
        }
        fn flush(&self) -> Result<(), Failure> {
            self.flushed.set(true);
            Ok(())
        }
    }

    const ZEROING: Zeroing = Zeroing { granule_bytes: 4096, bytes_max: CHUNK };

    /// 5 chunks and a bit: data in the first, and in the middle of the fourth.
    fn image() -> Vec<u8> {
        let mut image = vec![0; 5 * CHUNK_BYTES + 1000];
        image[..5000].fill(1);
        image[3 * CHUNK_BYTES + 40_000..3 * CHUNK_BYTES + 50_000].fill(2);
        image
    }

    #[test]
    fn holes_are_not_read_and_zeros_not_written() {
        let from = Memory::new(image(), None);
        let to = Memory::new(vec![9; 6 * CHUNK_BYTES], Some(ZEROING));
        let progress = Cell::new(0);
        let copied = copy(&from, &to, from.size(), &|bytes| progress.set(progress.get() + bytes)).unwrap();
        assert_eq!(to.bytes.borrow()[..image().len()], image());
        assert!(to.bytes.borrow()[image().len()..].iter().all(|byte| *byte == 9));
        assert_eq!(from.read_bytes.get(), 2 * CHUNK);
        assert_eq!(copied.data_bytes, 8192 + 16384);
        assert_eq!(copied.zero_bytes, to.zeroed_bytes.get());
        assert_eq!(copied.data_bytes + copied.zero_bytes, from.size());
        assert_eq!(progress.get(), from.size());
        assert!(to.flushed.get());
    }

    #[test]
    fn a_storage_without_cheap_zeros_gets_them_as_data() {
        let (from, to) = (Memory::new(image(), None), Memory::new(vec![9; 6 * CHUNK_BYTES], None));
        copy(&from, &to, from.size(), &|_| ()).unwrap();
        assert_eq!(to.bytes.borrow()[..image().len()], image());
    }

    #[test]
    fn a_difference_is_told_where_it_is() {
        let mut changed = image();
        changed[3 * CHUNK_BYTES + 50_001] = 3;
        let (one, other) = (Memory::new(image(), None), Memory::new(changed, None));
        assert!(compare(&one, &one, one.size(), &|_| ()).is_ok());
        let failure = compare(&one, &other, one.size(), &|_| ()).unwrap_err();
        assert_eq!(failure.kind(), Kind::Difference);
        assert_eq!(failure.to_string(), format!("they differ, first at byte {}: 0x00 and 0x03", 3 * CHUNK + 50_001));
    }

    #[test]
    fn what_is_longer_must_be_zero_there() {
        let storage = Memory::new(image(), None);
        assert!(check_zeros_from(&storage, 4 * CHUNK).is_ok());
        assert!(check_zeros_from(&storage, 3 * CHUNK + 50_000).is_ok());
        let failure = check_zeros_from(&storage, 3 * CHUNK + 49_999).unwrap_err();
        assert!(failure.to_string().contains(&format!("byte {};", 3 * CHUNK + 49_999)), "{failure}");
        assert!(check_zeros_from(&storage, 4999).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_copy_is_the_same(
            islands in prop::collection::vec((0usize..2_200_000, 1usize..9000), 0..5),
            size in 1usize..2_200_000,
            cheap: bool,
        ) {
            let mut bytes = vec![0; size];
            for (at, length) in islands {
                bytes[at.min(size)..(at + length).min(size)].fill(7);
            }
            let from = Memory::new(bytes, None);
            let to = Memory::new(vec![9; size], cheap.then_some(ZEROING));
            let copied = copy(&from, &to, size as u64, &|_| ()).unwrap();
            prop_assert!(*from.bytes.borrow() == *to.bytes.borrow());
            prop_assert_eq!(copied.data_bytes + copied.zero_bytes, size as u64);
            prop_assert!(compare(&from, &to, size as u64, &|_| ()).is_ok());
        }
    }
}
