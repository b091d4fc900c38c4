//! How data that is missing of a read is asked for (RFC 7143 sections 7.2.2, 11.4.4 and 11.16.3).
//!
//! ```text
//!  as it was sent   Data SNACK, from the first that is missing    the status is the one that there is
//!  cut anew         R-Data SNACK, all that is unacknowledged      the status names the SNACK Tag; others are of before
//! ```

/// How data that is missing is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Repetition {
    /// As it was sent.
    #[default]
    AsSent,
    /// In segments as they are now.
    CutAnew(SnackTags),
}

/// The SNACK Tags of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SnackTags {
    /// How many were used: the last is this number.
    used: u32,
    /// The last was used on the connection of now, and the status is to name it.
    is_expected: bool,
    /// A status of before has come: one that names the tag is to follow.
    is_owed: bool,
}

impl Repetition {
    // RFC 7143 11.16.3-1
    /// Segments have changed: what is missing from now on is cut anew.
    pub(super) fn cut_anew(&mut self) {
        if *self == Self::AsSent {
            *self = Self::CutAnew(SnackTags::default());
        }
    }

    /// RFC 7143 7.2.2: a SNACK Tag does not outlive its connection.
    pub(super) fn leave(&mut self) {
        if let Self::CutAnew(tags) = self {
            (tags.is_expected, tags.is_owed) = (false, false);
        }
    }

    pub(super) fn is_cut_anew(&self) -> bool {
        matches!(self, Self::CutAnew(_))
    }

    // RFC 7143 11.16.5-1: each is used once, from 1 on.
    /// A SNACK goes out. Gives the SNACK Tag of an R-Data SNACK; none for a Data SNACK.
    pub(super) fn begin(&mut self) -> Option<u32> {
        let Self::CutAnew(tags) = self else { return None };
        tags.used += 1;
        (tags.is_expected, tags.is_owed) = (true, false);
        Some(tags.used)
    }

    /// Whether a status with this SNACK Tag is the one of the task (RFC 7143 section 11.4.4).
    pub(super) fn is_ended_by(&self, snack_tag: u32) -> bool {
        !matches!(self, Self::CutAnew(tags) if tags.is_expected && tags.used != snack_tag)
    }

    /// A status of before has come.
    pub(super) fn await_status(&mut self) {
        if let Self::CutAnew(tags) = self {
            tags.is_owed = true;
        }
    }

    /// Whether a status is still to come after one of before.
    pub(super) fn is_status_owed(&self) -> bool {
        matches!(self, Self::CutAnew(tags) if tags.is_owed)
    }
}
