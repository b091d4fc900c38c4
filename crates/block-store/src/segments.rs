//! Walking data that lies in several pieces.

use bytes::Bytes;

/// A place in a list of pieces.
pub(crate) struct Cursor<'a> {
    segments: &'a [Bytes],
    /// Bytes of the first segment that were taken already.
    taken: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(segments: &'a [Bytes]) -> Self {
        Self { segments, taken: 0 }
    }

    /// The next piece, of at most `length` bytes; `None` at the end of the data, or if `length` is 0.
    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        if length == 0 {
            return None;
        }
        loop {
            let (first, others) = self.segments.split_first()?;
            let rest = &first[self.taken..];
            if !rest.is_empty() {
                let piece = &rest[..length.min(rest.len())];
                self.taken += piece.len();
                return Some(piece);
            }
            (self.segments, self.taken) = (others, 0);
        }
    }

    /// The next `length` bytes, in pieces.
    pub(crate) fn pieces(&mut self, length: usize) -> impl Iterator<Item = &'a [u8]> {
        let mut left = length;
        std::iter::from_fn(move || {
            let piece = self.take(left)?;
            left -= piece.len();
            Some(piece)
        })
    }

    pub(crate) fn skip(&mut self, length: usize) {
        self.pieces(length).for_each(drop);
    }

    /// Fills `target` with the next bytes.
    pub(crate) fn copy_to(&mut self, mut target: &mut [u8]) {
        while let Some(piece) = self.take(target.len()) {
            let (head, tail) = target.split_at_mut(piece.len());
            head.copy_from_slice(piece);
            target = tail;
        }
    }

    /// Puts the ones of the next bytes into `target`.
    pub(crate) fn or_to(&mut self, mut target: &mut [u8]) {
        while let Some(piece) = self.take(target.len()) {
            let (head, tail) = target.split_at_mut(piece.len());
            head.iter_mut().zip(piece).for_each(|(ours, theirs)| *ours |= theirs);
            target = tail;
        }
    }

    /// Compares the next `medium.len()` bytes with `medium`: the offset of the first difference.
    pub(crate) fn first_difference(&mut self, medium: &[u8]) -> Option<usize> {
        let mut offset = 0;
        while let Some(piece) = self.take(medium.len() - offset) {
            let other = &medium[offset..][..piece.len()];
            if piece != other {
                let within = piece.iter().zip(other).position(|(a, b)| a != b);
                return within.map(|within| offset + within);
            }
            offset += piece.len();
        }
        None
    }
}

/// Bytes in all of `segments`.
pub(crate) fn length(segments: &[Bytes]) -> usize {
    segments.iter().map(Bytes::len).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_cut_carries_the_same_bytes(
            segments in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 0..6),
            steps in proptest::collection::vec(0usize..9, 0..20),
        ) {
            let whole = segments.concat();
            let segments: Vec<Bytes> = segments.into_iter().map(Bytes::from).collect();
            prop_assert_eq!(length(&segments), whole.len());
            let (mut cursor, mut at) = (Cursor::new(&segments), 0);
            for step in steps {
                let expected = &whole[at..whole.len().min(at + step)];
                let mut other = expected.to_vec();
                if let Some(last) = other.last_mut() {
                    *last ^= 1;
                    let mut probe = Cursor { segments: cursor.segments, taken: cursor.taken };
                    prop_assert_eq!(probe.first_difference(&other), Some(other.len() - 1));
                    let mut probe = Cursor { segments: cursor.segments, taken: cursor.taken };
                    prop_assert_eq!(probe.first_difference(expected), None);
                }
                let got: Vec<u8> = cursor.pieces(step).flatten().copied().collect();
                prop_assert_eq!(got, expected);
                at += expected.len();
            }
            let mut rest = vec![0; whole.len() - at];
            cursor.copy_to(&mut rest);
            prop_assert_eq!(rest, &whole[at..]);
        }
    }
}
