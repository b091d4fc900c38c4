//! Locks over the chunks of a medium, a fixed number of them however large it is.
//!
//! A request takes the locks of all the chunks that it touches before it begins and keeps them to its end, always in
//! the order of the stripes. So requests that touch a common block happen one after the other as a whole, and no two
//! wait for each other.

use crate::range::ByteRange;
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use smallvec::SmallVec;

/// Enough that two cores seldom meet by chance.
pub(crate) const STRIPES: u64 = 1024;

/// One `T` for all chunks whose number leaves the same rest.
pub(crate) struct Striped<T> {
    stripes: Box<[Stripe<T>]>,
}

/// A cache line of its own, so that the locks of neighbours do not meet.
#[repr(align(64))]
struct Stripe<T>(RwLock<T>);

pub(crate) type ReadGuards<'a, T> = Guards<RwLockReadGuard<'a, T>>;
pub(crate) type WriteGuards<'a, T> = Guards<RwLockWriteGuard<'a, T>>;

/// The locks of a range, held.
pub(crate) struct Guards<G> {
    /// In the order of their stripes.
    held: SmallVec<[G; 2]>,
    span: Span,
}

/// The stripes of a run of chunks: from `first` on, and past the end of the table the first `wrapped` ones.
#[derive(Clone, Copy)]
struct Span {
    first: usize,
    last: usize,
    wrapped: usize,
}

impl Span {
    fn of(range: &ByteRange) -> Self {
        let chunks = range.chunks();
        let first = (chunks.start % STRIPES) as usize;
        let end = first + (chunks.end - chunks.start).min(STRIPES) as usize;
        let table = STRIPES as usize;
        Self { first, last: end.min(table), wrapped: end.saturating_sub(table) }
    }

    fn stripes(self) -> impl Iterator<Item = usize> {
        (0..self.wrapped).chain(self.first..self.last)
    }

    /// Where in `stripes` that of `chunk` is.
    fn position(self, chunk: u64) -> usize {
        let stripe = (chunk % STRIPES) as usize;
        if stripe < self.first { stripe } else { stripe - self.first + self.wrapped }
    }
}

impl<T> Striped<T> {
    pub(crate) fn new(make: impl FnMut() -> T) -> Self {
        let values = std::iter::repeat_with(make).take(STRIPES as usize);
        Self { stripes: values.map(|value| Stripe(RwLock::new(value))).collect() }
    }

    /// Waits for every writer of the range.
    pub(crate) fn read(&self, range: &ByteRange) -> ReadGuards<'_, T> {
        let span = Span::of(range);
        Guards { held: span.stripes().map(|stripe| self.stripes[stripe].0.read()).collect(), span }
    }

    /// As [`Self::read`], but gives up where it would wait.
    pub(crate) fn try_read(&self, range: &ByteRange) -> Option<ReadGuards<'_, T>> {
        let span = Span::of(range);
        let held: Option<_> = span.stripes().map(|stripe| self.stripes[stripe].0.try_read()).collect();
        Some(Guards { held: held?, span })
    }

    /// Waits for everybody in the range.
    pub(crate) fn write(&self, range: &ByteRange) -> WriteGuards<'_, T> {
        let span = Span::of(range);
        Guards { held: span.stripes().map(|stripe| self.stripes[stripe].0.write()).collect(), span }
    }

    /// All the values, one after the other.
    pub(crate) fn iter(&self) -> impl Iterator<Item = RwLockReadGuard<'_, T>> {
        self.stripes.iter().map(|stripe| stripe.0.read())
    }
}

impl<G> Guards<G> {
    /// What guards `chunk`, which lies in the range that is held.
    pub(crate) fn of(&mut self, chunk: u64) -> &mut G {
        &mut self.held[self.span.position(chunk)]
    }

    /// [`Self::of`], for looking only.
    pub(crate) fn get(&self, chunk: u64) -> &G {
        &self.held[self.span.position(chunk)]
    }

    /// Everything that is held.
    pub(crate) fn all(&mut self) -> impl Iterator<Item = &mut G> {
        self.held.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::range::CHUNK_BYTES;

    /// Every way to lie on the table: inside, at its end, around it, all of it and more.
    #[test]
    fn guards_are_ascending_and_found_by_chunk() {
        for (start, count) in [(3, 1), (1020, 4), (1020, 9), (5, 1024), (1023, 1024), (7, 5000)] {
            let chunk_bytes = CHUNK_BYTES as u64;
            let range = ByteRange { start: start * chunk_bytes, end: (start + count) * chunk_bytes };
            let span = Span::of(&range);
            let stripes: Vec<usize> = span.stripes().collect();
            assert!(stripes.is_sorted_by(|a, b| a < b), "{start} {count}");
            assert_eq!(stripes.len() as u64, count.min(STRIPES));
            for chunk in range.chunks() {
                assert_eq!(stripes[span.position(chunk)] as u64, chunk % STRIPES, "{start} {count}");
            }
        }
    }
}
