//! Which way the data goes.

use std::fmt;
use std::str::FromStr;

/// Which way the data goes, in fio's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Reads at random places.
    Randread,
    /// Writes at random places.
    Randwrite,
    /// Reads and writes at random places.
    Randrw,
    /// Reads from front to back.
    Read,
    /// Writes from front to back.
    Write,
    /// Reads and writes from front to back.
    Rw,
}

impl Direction {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Randread, Self::Randwrite, Self::Randrw, Self::Read, Self::Write, Self::Rw];

    /// Its name in a job file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Randread => "randread",
            Self::Randwrite => "randwrite",
            Self::Randrw => "randrw",
            Self::Read => "read",
            Self::Write => "write",
            Self::Rw => "rw",
        }
    }

    /// Whether places are drawn, rather than visited from front to back.
    #[must_use]
    pub const fn is_random(self) -> bool {
        matches!(self, Self::Randread | Self::Randwrite | Self::Randrw)
    }

    /// How many of a hundred requests write; `read_percent`, at most 100, is for those that are mixed.
    #[must_use]
    pub fn write_percent(self, read_percent: u8) -> u8 {
        match self {
            Self::Randread | Self::Read => 0,
            Self::Randrw | Self::Rw => 100 - read_percent.min(100),
            Self::Randwrite | Self::Write => 100,
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Direction {
    type Err = String;

    /// # Errors
    /// What was expected.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = if text == "readwrite" { "rw" } else { text };
        let named = Self::ALL.into_iter().find(|direction| direction.name() == text);
        named.ok_or_else(|| "expected read, write, rw, randread, randwrite or randrw".into())
    }
}
