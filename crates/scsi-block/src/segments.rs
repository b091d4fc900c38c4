//! Helpers for data in pieces.

use bytes::{Bytes, BytesMut};

use crate::io::Segments;

/// Bytes in all pieces together.
#[inline]
pub(crate) fn length(segments: &Segments) -> u64 {
    segments.iter().map(|piece| piece.len() as u64).sum()
}

/// Cuts what is beyond the first `bytes`.
pub(crate) fn truncate(segments: &mut Segments, bytes: u64) {
    let mut room = bytes;
    for piece in segments.iter_mut() {
        let keep = room.min(piece.len() as u64);
        piece.truncate(keep as usize);
        room -= keep;
    }
    segments.retain(|piece| !piece.is_empty());
}

/// All pieces as one; copied only if there are several. For parameter lists and single blocks.
pub(crate) fn join(mut segments: Segments) -> Bytes {
    if segments.len() <= 1 {
        return segments.pop().unwrap_or_default();
    }
    let mut whole = BytesMut::with_capacity(length(&segments) as usize);
    segments.iter().for_each(|piece| whole.extend_from_slice(piece));
    whole.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn cutting_pieces_is_cutting_the_whole(pieces: Vec<Vec<u8>>, at in 0u64..300) {
            let whole = pieces.concat();
            let mut segments: Segments = pieces.into_iter().map(Bytes::from).collect();
            prop_assert_eq!(length(&segments), whole.len() as u64);
            truncate(&mut segments, at);
            let kept = whole.len().min(at as usize);
            prop_assert_eq!(&join(segments)[..], &whole[..kept]);
        }
    }
}
