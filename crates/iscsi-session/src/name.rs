//! iSCSI names (RFC 7143 section 4.2.7): of the types `iqn.`, `eui.` and `naa.`.
//!
//! In: a name as a person or a peer wrote it. Out: the form that is compared byte for byte, or what is wrong with it.
//! Names are prepared as RFC 3722 asks: in lower case and Normalization Form KC, so that what looks the same is the same. One
//! character that RFC 3722 forbids passes, the underscore, since names in use carry it.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Longest iSCSI name in bytes (RFC 7143 4.2.7.1-3).
pub const NAME_BYTES_MAX: usize = 223;

/// What is wrong with an iSCSI name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Longer than [`NAME_BYTES_MAX`].
    #[error("the iSCSI name has {0} bytes: at most 223 may be (RFC 7143 4.2.7.1)")]
    TooLong(usize),
    /// A character that no iSCSI name has.
    #[error("the iSCSI name has the character {0:?}: only letters, digits, '-', '.' and ':' may be (RFC 7143 4.2.7.2)")]
    Character(char),
    /// None of the three types, or not formed as its type asks.
    #[error(
        "the iSCSI name has no known form: expected iqn.YYYY-MM.NAMING-AUTHORITY[:NAME], eui. with 16 hexadecimal digits, or \
         naa. with 16 or 32 (RFC 7143 4.2.7.3)"
    )]
    Form,
}

/// The normal form of a name, which is compared byte for byte (RFC 7143 4.2.7.1-5, 4.2.7.2-1).
///
/// # Errors
/// What keeps the text from being an iSCSI name.
///
/// ```
/// let name = iscsi_session::normalise_name("iqn.2001-04.com.Example:Disk").unwrap();
/// assert_eq!(name, "iqn.2001-04.com.example:disk");
/// ```
pub fn normalise_name(name: &str) -> Result<String, NameError> {
    // Before the work, which is thereby bounded, and after it, since what is prepared may be longer.
    for_length(name.len())?;
    let normal = if name.is_ascii() { name.to_ascii_lowercase() } else { prepare(name) };
    if let Some(character) = normal.chars().find(|character| !may_stand_in_a_name(*character)) {
        return Err(NameError::Character(character));
    }
    for_length(normal.len())?;
    if has_form(&normal) { Ok(normal) } else { Err(NameError::Form) }
}

/// RFC 3722: compatible forms become one, then letters lower case, and what that has made is composed again.
fn prepare(name: &str) -> String {
    name.nfkc().flat_map(char::to_lowercase).nfkc().collect()
}

fn for_length(length: usize) -> Result<(), NameError> {
    if length > NAME_BYTES_MAX { Err(NameError::TooLong(length)) } else { Ok(()) }
}

fn may_stand_in_a_name(character: char) -> bool {
    matches!(character, '-' | '.' | ':' | '_') || character.is_alphanumeric() || is_combining_mark(character)
}

fn has_form(name: &str) -> bool {
    match name.split_at_checked(4) {
        Some(("iqn.", rest)) => is_qualified(rest),
        Some(("eui.", digits)) => digits.len() == 16 && is_hexadecimal(digits),
        Some(("naa.", digits)) => matches!(digits.len(), 16 | 32) && is_hexadecimal(digits),
        _ => false,
    }
}

/// RFC 7143 4.2.7.4: a year and a month, a dot, and whoever owned the domain then.
fn is_qualified(rest: &str) -> bool {
    let [y1, y2, y3, y4, b'-', m1, m2, b'.', authority, ..] = rest.as_bytes() else { return false };
    let month = [*m1, *m2];
    [y1, y2, y3, y4].iter().all(|digit| digit.is_ascii_digit())
        && (*b"01"..=*b"12").contains(&month)
        && m2.is_ascii_digit()
        && *authority != b':'
}

fn is_hexadecimal(digits: &str) -> bool {
    digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use unicode_normalization::is_nfc;

    /// RFC 7143 4.2.7.1-5: upper case becomes lower case.
    #[test]
    fn names_of_the_three_types_come_out_in_lower_case() {
        for (name, normal) in [
            ("iqn.2001-04.com.example:storage:diskarrays-sn-a8675309", None),
            ("iqn.2001-04.com.example", None),
            ("iqn.2010-11.ronnie:iscsi-inq", None),
            ("iqn.2001-04.com.EXAMPLE:Tape_1", Some("iqn.2001-04.com.example:tape_1")),
            ("iqn.2001-04.com.example:größe", None),
            ("iqn.2001-04.com.example:GRÖSSE", Some("iqn.2001-04.com.example:grösse")),
            ("iqn.2001-04.com.example:gro\u{308}sse", Some("iqn.2001-04.com.example:grösse")),
            ("iqn.2001-04.com.example:ＤＩＳＫ１", Some("iqn.2001-04.com.example:disk1")),
            ("iqn.2001-04.com.example:\u{1112}\u{1161}\u{11ab}", Some("iqn.2001-04.com.example:한")),
            ("eui.02004567A425678D", Some("eui.02004567a425678d")),
            ("naa.52004567BA64678D", Some("naa.52004567ba64678d")),
            ("naa.62004567BA64678D0123456789ABCDEF", Some("naa.62004567ba64678d0123456789abcdef")),
        ] {
            assert_eq!(normalise_name(name).as_deref(), Ok(normal.unwrap_or(name)));
        }
    }

    #[test]
    fn what_has_no_form_of_the_three_is_refused() {
        for name in [
            "",
            "iqn",
            "disk",
            "iqn.",
            "iqn.2001-4.com",
            "iqn.2001-13.com.example",
            "iqn.2001-00.com.example",
            "iqn.2001-1a.com.example",
            "iqn.2001-04",
            "iqn.2001-04.",
            "iqn.2001-04.:disk",
            "eui.02004567A425678",
            "eui.02004567A425678G",
            "naa.5200",
            "ääää",
        ] {
            assert_eq!(normalise_name(name), Err(NameError::Form), "{name}");
        }
    }

    /// RFC 7143 4.2.7.2-1: no blanks, no controls, no punctuation.
    #[test]
    fn what_no_name_has_is_refused() {
        for (name, character) in [
            ("iqn.2001-04.com.example:a b", ' '),
            ("iqn.2001-04.com.example:a,b", ','),
            ("iqn.2001-04.com.example:\u{7}", '\u{7}'),
            ("iqn.2001-04.com.example:a/b", '/'),
            ("iqn.2001-04.com.example:\u{a0}", ' '),
            ("iqn.2001-04.com.example:½", '\u{2044}'),
            ("iqn.2001-04.com.example:a。b", '。'),
        ] {
            assert_eq!(normalise_name(name), Err(NameError::Character(character)));
        }
    }

    /// RFC 7143 4.2.7.1-3, 4.2.7.2-1: before and after the work on it.
    #[test]
    fn a_name_of_223_bytes_is_the_longest() {
        let name = |length: usize| format!("iqn.2001-04.com.example:{}", "a".repeat(length - 24));
        assert_eq!(normalise_name(&name(NAME_BYTES_MAX)), Ok(name(NAME_BYTES_MAX)));
        assert_eq!(normalise_name(&name(224)), Err(NameError::TooLong(224)));
        // In lower case this letter takes a byte more.
        let grows = format!("{}İ", name(NAME_BYTES_MAX - 2));
        assert_eq!(normalise_name(&grows), Err(NameError::TooLong(224)));
    }

    proptest! {
        /// RFC 7143 4.2.7.2-1: a name that was prepared stays as it is.
        #[test]
        fn the_normal_form_is_the_same_again(name in "iqn\\.2001-04\\.com\\.example:\\PC{0,40}") {
            if let Ok(normal) = normalise_name(&name) {
                prop_assert!(is_nfc(&normal));
                prop_assert_eq!(normalise_name(&normal), Ok(normal.clone()));
            }
        }
    }
}
