//! The timestamps of a device and its units (SPC-5 5.15), counted from a moment of the owner's clock.

use std::time::{Duration, Instant};

/// How a timestamp came to its value (SPC-5 table 52).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TimestampOrigin {
    /// It was zero when the device began.
    Zero = 0,
    /// SET TIMESTAMP.
    Command = 2,
    /// Something else: the owner of the device.
    Other = 3,
}

impl TimestampOrigin {
    /// The origin of this code; `None` if it is reserved.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Zero),
            2 => Some(Self::Command),
            3 => Some(Self::Other),
            _ => None,
        }
    }
}

/// A time that goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    set_at: Instant,
    milliseconds: u64,
}

impl Clock {
    pub(crate) fn new(set_at: Instant, milliseconds: u64) -> Self {
        Self { set_at, milliseconds }
    }

    /// How long ago it was set.
    pub(crate) fn age(self, now: Instant) -> Duration {
        now.saturating_duration_since(self.set_at)
    }

    /// Milliseconds at `now`.
    pub(crate) fn read(self, now: Instant) -> u64 {
        let passed = self.age(now).as_millis();
        self.milliseconds.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_goes_on_and_never_back() {
        let set_at = Instant::now() + Duration::from_secs(1);
        let clock = Clock::new(set_at, 5000);
        assert_eq!(clock.read(set_at + Duration::from_millis(250)), 5250);
        assert_eq!(clock.read(set_at - Duration::from_secs(1)), 5000);
    }
}
