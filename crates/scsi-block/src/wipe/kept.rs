//! A SANITIZE that goes on, as it is kept over a loss of power: what it makes of the blocks, and not how far it is, so that it is taken up again
//! from its beginning.

use bytes::Bytes;

use super::{Content, Kind};
use crate::reservations::UnknownForm;

/// Version of the form, its first byte.
const VERSION: u8 = 1;
/// The name of the record; nothing in it is no SANITIZE.
pub(crate) const RECORD: &str = "sanitize";

/// What is to be kept of a SANITIZE: version, AUSE, passes (0 gives the space back), the block, and the other one if there is one.
pub(crate) fn to_kept(unrestricted_exit: bool, content: &Content) -> Vec<u8> {
    let mut bytes = vec![VERSION, unrestricted_exit.into()];
    match content {
        Content::Nothing => bytes.push(0),
        Content::Pattern { block, inverted, passes } => {
            bytes.push(*passes);
            bytes.extend(block);
            bytes.extend(inverted.iter().flatten());
        }
    }
    bytes
}

/// What was kept of a unit that has so many bytes in a stored block; empty if nothing goes on.
pub(crate) fn from_kept(bytes: &Bytes, block_bytes: usize) -> Result<Option<(Kind, Content)>, UnknownForm> {
    let content = match bytes[..] {
        [] => return Ok(None),
        [VERSION, 0 | 1, 0] => Content::Nothing,
        [VERSION, 0 | 1, passes @ 1..=0x1f, ..] => {
            let block = bytes.slice(3..);
            let (block, inverted) = match block.len() {
                one if one == block_bytes => (block, None),
                two if two == 2 * block_bytes => (block.slice(..block_bytes), Some(block.slice(block_bytes..))),
                _ => return Err(UnknownForm(RECORD)),
            };
            Content::Pattern { block, inverted, passes }
        }
        _ => return Err(UnknownForm(RECORD)),
    };
    Ok(Some((Kind::Sanitize { unrestricted_exit: bytes[1] == 1 }, content)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_nothing_else_does() {
        let block = Bytes::from(vec![7; 512]);
        let pattern = |inverted| Content::Pattern { block: block.clone(), inverted, passes: 3 };
        for content in [Content::Nothing, pattern(None), pattern(Some(Bytes::from(vec![8; 512])))] {
            for unrestricted_exit in [false, true] {
                let kept = Bytes::from(to_kept(unrestricted_exit, &content));
                let kind = Kind::Sanitize { unrestricted_exit };
                assert_eq!(from_kept(&kept, 512), Ok(Some((kind, content.clone()))));
                assert_eq!(from_kept(&kept.slice(..2), 512), Err(UnknownForm(RECORD)));
            }
        }
        let kept = Bytes::from(to_kept(false, &pattern(None)));
        assert_eq!(from_kept(&kept, 520), Err(UnknownForm(RECORD)), "of a unit with other blocks");
        assert_eq!(from_kept(&Bytes::new(), 512), Ok(None));
    }
}
