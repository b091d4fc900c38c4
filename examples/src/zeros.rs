//! Runs of zeros in data.

use std::ops::Range;

/// A part of some data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where it lies.
    pub range: Range<usize>,
    /// Whether it is all zeros.
    pub zero: bool,
}

/// Whether there is nothing but zeros.
#[must_use]
pub fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<64>();
    words.iter().all(|word| *word == [0; 64]) && rest.iter().all(|byte| *byte == 0)
}

/// The data's runs: each as long as it can be, beginning at a multiple of `granule_bytes`, and together the whole.
pub fn runs(bytes: &[u8], granule_bytes: usize) -> impl Iterator<Item = Run> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let granule = |at: usize| &bytes[at..bytes.len().min(at + granule_bytes)];
        let start = at;
        let zero = (start < bytes.len()).then(|| is_zero(granule(start)))?;
        while at < bytes.len() && is_zero(granule(at)) == zero {
            at += granule(at).len();
        }
        Some(Run { range: start..at, zero })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_granule_with_one_byte_set_is_data() {
        let mut bytes = vec![0; 1000];
        bytes[450] = 1;
        let found: Vec<Run> = runs(&bytes, 100).collect();
        let run = |range, zero| Run { range, zero };
        assert_eq!(found, [run(0..400, true), run(400..500, false), run(500..1000, true)]);
    }

    proptest! {
        #[test]
        fn runs_make_up_the_whole(bytes in prop::collection::vec(prop_oneof![9 => Just(0u8), 1 => any::<u8>()], 0..300), granule in 1usize..50) {
            let mut end = 0;
            let mut before = None;
            for run in runs(&bytes, granule) {
                prop_assert_eq!(run.range.start, end);
                prop_assert!(run.range.start % granule == 0 && run.range.end > run.range.start);
                prop_assert!(before != Some(run.zero));
                prop_assert!(!run.zero || bytes[run.range.clone()].iter().all(|byte| *byte == 0));
                end = run.range.end;
                before = Some(run.zero);
            }
            prop_assert_eq!(end, bytes.len());
        }
    }
}
