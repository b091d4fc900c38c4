//! TaskReporting: what a target promises about the ends of tasks (RFC 7143 section 13.23).

use iscsi_pdu::TaskManagementFunction;

/// How the ends of tasks are reported (RFC 7143 section 13.23): each has what those before it have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TaskReporting {
    /// As RFC 3720 says: there are no fences but those of section 4.2.3.3.
    #[default]
    Rfc3720,
    /// Responses are fenced where section 4.2.2.3.4 asks for it.
    ResponseFence,
    /// A function for many tasks does not wait for data of theirs (section 4.2.3.4).
    FastAbort,
}

impl TaskReporting {
    /// The words of the key, the best first.
    const WORDS: [&'static str; 3] = ["FastAbort", "ResponseFence", "RFC3720"];

    pub(crate) fn of(word: &str) -> Self {
        match word {
            "FastAbort" => Self::FastAbort,
            "ResponseFence" => Self::ResponseFence,
            _ => Self::Rfc3720,
        }
    }

    /// Its own word and those of what it has.
    pub(crate) fn words(self) -> &'static [&'static str] {
        &Self::WORDS[2 - self as usize..]
    }

    // RFC 7143 4.2.3.4-2, 13.23-4
    /// Whether a function ends its tasks without waiting for data of theirs.
    pub(crate) fn makes_fast(self, function: TaskManagementFunction) -> bool {
        use TaskManagementFunction::{AbortTaskSet, ClearTaskSet, LogicalUnitReset, TargetColdReset, TargetWarmReset};
        let is_for_many =
            matches!(function, AbortTaskSet | ClearTaskSet | LogicalUnitReset | TargetWarmReset | TargetColdReset);
        self == Self::FastAbort && is_for_many
    }
}
