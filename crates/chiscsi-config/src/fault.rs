//! What is wrong with a file: where, and what was expected.

use std::fmt;

/// Most faults of one file that are told one by one.
pub const FAULTS_MAX: usize = 100;

/// Most characters of a value that a fault repeats.
const REPEATED_CHARACTERS_MAX: usize = 80;

/// One fault of a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {text}")]
pub struct Fault {
    /// Where it is, from 1.
    pub line: usize,
    /// The key, what is wrong with it and what was expected.
    pub text: String,
}

/// All faults of a file, by line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    faults: Vec<Fault>,
    /// How many there are beyond those.
    untold: usize,
}

impl Faults {
    /// The first [`FAULTS_MAX`] that were found.
    #[must_use]
    pub fn as_slice(&self) -> &[Fault] {
        &self.faults
    }

    pub(crate) fn add(&mut self, line: usize, text: String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(Fault { line, text });
        } else {
            self.untold += 1;
        }
    }

    /// The value that was read, if nothing was wrong.
    pub(crate) fn none_or<V>(mut self, value: V) -> Result<V, Self> {
        self.faults.sort_by_key(|fault| fault.line);
        if self.faults.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            write!(formatter, "{}{fault}", if index == 0 { "" } else { "\n" })?;
        }
        if self.untold > 0 { write!(formatter, "\nand {} more", self.untold) } else { Ok(()) }
    }
}

impl std::error::Error for Faults {}

/// What stands in a file, as a fault repeats it: not longer than a line, and without what a terminal would obey.
pub(crate) fn repeated(text: &str) -> String {
    let mut shown: String = text.chars().take(REPEATED_CHARACTERS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(REPEATED_CHARACTERS_MAX).is_some() {
        shown.push_str("...");
    }
    format!("'{shown}'")
}
