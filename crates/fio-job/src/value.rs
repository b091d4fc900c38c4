//! Values as fio writes them: sizes, times, lists of processors.

use std::time::Duration;

/// A number of bytes, or of KiB, MiB, GiB or TiB with k, m, g or t behind it.
///
/// # Errors
/// What was expected.
pub fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return Err("expected a size such as 4096, 4k, 64M or 1G".into()),
    };
    let number = number(digits).ok_or("expected a size such as 4096, 4k, 64M or 1G")?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes <= i64::MAX as u64).ok_or("expected less than 8 EiB".into())
}

/// Bytes of one request: what a 32-bit field of a session holds comfortably.
///
/// # Errors
/// What was expected.
pub fn request_size(text: &str) -> Result<u32, String> {
    const MAX: u64 = 16 << 20;
    let size = size(text)?;
    if (512..=MAX).contains(&size) { Ok(size as u32) } else { Err("expected a size from 512 to 16M".into()) }
}

/// Processors by number and range, 0 to 1023, with commas between: each once, in ascending order. Whether there are such processors is not asked.
///
/// # Errors
/// What was expected.
pub fn processors(text: &str) -> Result<Vec<usize>, String> {
    let mut named = [false; 1024];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let range = first.trim().parse().ok().zip(last.trim().parse().ok());
        let range = range.filter(|(first, last): &(usize, usize)| first <= last);
        let range = range.and_then(|(first, last)| named.get_mut(first..=last));
        range.ok_or("expected processors, such as 0,1 or 0-3")?.fill(true);
    }
    Ok((0..named.len()).filter(|processor| named[*processor]).collect())
}

/// A time in seconds, or with ms, s, m or h behind it; not zero, and at most a day.
///
/// # Errors
/// What was expected.
pub fn duration(text: &str) -> Result<Duration, String> {
    const EXPECTED: &str = "expected a time such as 500ms, 5s, 2m or 1h, at most 24h";
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let milliseconds = match &text[digits.len()..] {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(EXPECTED.into()),
    };
    let milliseconds = number(digits).and_then(|number| number.checked_mul(milliseconds)).ok_or(EXPECTED)?;
    let in_range = (1..=86_400_000).contains(&milliseconds);
    in_range.then_some(Duration::from_millis(milliseconds)).ok_or(EXPECTED.into())
}

/// A number of decimal digits alone.
#[must_use]
pub fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_and_times_have_units() {
        assert_eq!(size("512"), Ok(512));
        assert_eq!(size("4K"), Ok(4096));
        assert_eq!(size("3GiB"), Ok(3 << 30));
        for wrong in ["", "k", "-1", "1.5G", "1 k", "1kb", "0x10", "9000000000G"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
        assert_eq!(duration("1500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "0", "s", "1d", "25h", "-1s", "99999999999999999999"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn processors_are_each_told_once() {
        assert_eq!(processors("3, 0-1,1,0"), Ok(vec![0, 1, 3]));
        assert_eq!(processors("1023").map(|list| list.len()), Ok(1));
        assert_eq!(processors(&["0-1023"; 2000].join(",")).map(|list| list.len()), Ok(1024));
        let behind = [&["0"; 2000].join(","), ",x"].concat();
        for wrong in ["", ",", "1-0", "1024", "0-1024", "18446744073709551615", "-1", "1-", &behind] {
            assert!(processors(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_value_or_says_what_was_expected(text in "\\PC{0,12}") {
            for error in [size(&text).err(), duration(&text).err(), processors(&text).err()].into_iter().flatten() {
                prop_assert!(error.starts_with("expected "), "{}", error);
            }
        }
    }
}
