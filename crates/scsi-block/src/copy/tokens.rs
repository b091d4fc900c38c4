//! The tokens that a unit has given out: what they stand for, and until when.
//!
//! In: their creation, use and deletion, writes to the unit, and time. Out: the blocks of a token, or why it is none any more. A token stands
//! for what the blocks held when it was made, so a write to one of them ends it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::io::Extent;
use crate::sense::{AdditionalSense, Sense};

/// Tokens of one unit that are remembered: those that live, and the last that have ended.
const TOKENS_MAX: usize = 256;
/// The longest that any token lives.
pub(super) const LIFETIME_MAX: Duration = Duration::from_secs(3600);

#[derive(Debug)]
struct Token {
    number: u64,
    ranges: Vec<Extent>,
    /// How long it may go unused.
    inactivity: Duration,
    /// When it ends if nobody uses it; `None` since it was made or used.
    unused_until: Option<Instant>,
    /// When it ends at the latest, once time was told.
    until: Option<Instant>,
    /// Why it is none any more, if it is.
    ended: Option<AdditionalSense>,
}

/// The tokens of one unit, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    tokens: VecDeque<Token>,
    next: u64,
}

impl Tokens {
    /// Whether any token lives.
    pub(crate) fn any(&self) -> bool {
        self.tokens.iter().any(|token| token.ended.is_none())
    }

    /// The tokens that live, by their numbers, and how many blocks each stands for.
    pub(crate) fn living(&self) -> impl Iterator<Item = (u64, u64)> {
        let living = self.tokens.iter().filter(|token| token.ended.is_none());
        living.map(|token| (token.number, token.ranges.iter().map(|range| range.blocks).sum()))
    }

    /// Makes a token, and gives its number.
    pub(crate) fn create(&mut self, ranges: Vec<Extent>, inactivity: Duration) -> Result<u64, Sense> {
        if self.tokens.len() >= TOKENS_MAX {
            let ended = self.tokens.iter().position(|token| token.ended.is_some());
            let full = Sense::illegal(AdditionalSense::INSUFFICIENT_RESOURCES_TO_CREATE_ROD_TOKEN);
            self.tokens.remove(ended.ok_or(full)?);
        }
        let number = self.next;
        self.next += 1;
        self.tokens.push_back(Token { number, ranges, inactivity, unused_until: None, until: None, ended: None });
        Ok(number)
    }

    fn find(&mut self, number: u64) -> Result<&mut Token, Sense> {
        // One that was proven to be ours, and that nobody remembers, has ended long ago.
        let found = self.tokens.iter_mut().find(|token| token.number == number);
        let found = found.ok_or(Sense::illegal(AdditionalSense::TOKEN_EXPIRED))?;
        match found.ended {
            Some(why) => Err(Sense::illegal(why)),
            None => Ok(found),
        }
    }

    /// The blocks of a token, which is in use now.
    pub(crate) fn use_token(&mut self, number: u64) -> Result<&[Extent], Sense> {
        let token = self.find(number)?;
        token.unused_until = None;
        Ok(&token.ranges)
    }

    /// Somebody wants the token no more.
    pub(crate) fn delete(&mut self, number: u64) {
        if let Ok(token) = self.find(number) {
            token.ended = Some(AdditionalSense::TOKEN_DELETED);
        }
    }

    /// Blocks change. Returns whether a token stood for one of them.
    pub(crate) fn revoke(&mut self, changed: Extent) -> bool {
        let living = self.tokens.iter_mut().filter(|token| token.ended.is_none());
        let touched = living.filter(|token| token.ranges.iter().any(|range| range.overlaps(changed)));
        touched.map(|token| token.ended = Some(AdditionalSense::TOKEN_REVOKED)).count() > 0
    }

    /// Tells the time. Returns whether a token has ended.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> bool {
        let mut ended = false;
        for token in self.tokens.iter_mut().filter(|token| token.ended.is_none()) {
            let until = *token.until.get_or_insert(now + LIFETIME_MAX);
            let unused_until = *token.unused_until.get_or_insert(now + token.inactivity);
            if until.min(unused_until) <= now {
                token.ended = Some(AdditionalSense::TOKEN_EXPIRED);
                ended = true;
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ranges(lba: u64) -> Vec<Extent> {
        vec![Extent { lba, blocks: 4 }, Extent { lba: lba + 100, blocks: 4 }]
    }

    fn why(tokens: &mut Tokens, number: u64) -> AdditionalSense {
        tokens.use_token(number).unwrap_err().additional
    }

    #[test]
    fn a_token_that_nobody_uses_expires_and_one_in_use_does_not() {
        let mut tokens = Tokens::default();
        let (unused, used) = (tokens.create(ranges(0), SECOND).unwrap(), tokens.create(ranges(0), SECOND).unwrap());
        let start = Instant::now();
        assert!(!tokens.handle_timeout(start));
        for tenth in 1..=10 {
            tokens.use_token(used).unwrap();
            assert_eq!(tokens.handle_timeout(start + SECOND / 10 * tenth), tenth == 10);
        }
        assert_eq!(why(&mut tokens, unused), AdditionalSense::TOKEN_EXPIRED);
        assert!(tokens.any());
        tokens.use_token(used).unwrap();
        assert!(tokens.handle_timeout(start + LIFETIME_MAX));
        assert_eq!(why(&mut tokens, used), AdditionalSense::TOKEN_EXPIRED);
        assert!(!tokens.any());
    }

    #[test]
    fn a_write_ends_the_tokens_of_its_blocks_and_no_others() {
        for (lba, blocks, touches) in
            [(4, 96, false), (108, 9, false), (3, 1, true), (99, 2, true), (0, u64::MAX, true), (1, 0, false)]
        {
            let mut tokens = Tokens::default();
            let number = tokens.create(ranges(0), SECOND).unwrap();
            assert_eq!(tokens.revoke(Extent { lba, blocks }), touches, "{lba} {blocks}");
            match touches {
                true => assert_eq!(why(&mut tokens, number), AdditionalSense::TOKEN_REVOKED),
                false => assert_eq!(tokens.use_token(number).unwrap(), ranges(0)),
            }
        }
    }

    #[test]
    fn there_are_only_so_many_and_ended_ones_make_room() {
        let mut tokens = Tokens::default();
        (0..TOKENS_MAX as u64).for_each(|number| assert_eq!(tokens.create(ranges(0), SECOND), Ok(number)));
        let full = tokens.create(ranges(0), SECOND).unwrap_err();
        assert_eq!(full.additional, AdditionalSense::INSUFFICIENT_RESOURCES_TO_CREATE_ROD_TOKEN);
        tokens.delete(7);
        assert_eq!(why(&mut tokens, 7), AdditionalSense::TOKEN_DELETED);
        assert_eq!(tokens.create(ranges(0), SECOND), Ok(TOKENS_MAX as u64));
        assert_eq!(why(&mut tokens, 7), AdditionalSense::TOKEN_EXPIRED);
    }
}
