//! The digest flags, which both binaries have.

use clap::ValueEnum;
use iscsi_runtime::Limits;

/// Whether PDUs are protected by CRC32C.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Digest {
    /// No digest.
    None,
    /// CRC32C, or no session.
    Crc32c,
    /// As the other side wishes.
    Any,
}

impl Digest {
    /// What is offered or accepted, the preferred one first; `true` is CRC32C.
    fn values(self) -> Vec<bool> {
        match self {
            Self::None => vec![false],
            Self::Crc32c => vec![true],
            Self::Any => vec![false, true],
        }
    }

    /// What a yes or no in a URL means.
    #[must_use]
    pub fn wanted(on: bool) -> Self {
        if on { Self::Crc32c } else { Self::None }
    }
}

/// Seconds for which a target keeps the tasks of connections that are lost, at error recovery level 2.
const TIME_2_RETAIN: u16 = 20;

/// The same limits; at error recovery level 2, with time in which a command that has lost its connection is kept.
#[must_use]
pub fn recoverable(limits: Limits) -> Limits {
    let time_2_retain = if limits.error_recovery_level >= 2 { TIME_2_RETAIN } else { limits.time_2_retain };
    Limits { time_2_retain, ..limits }
}

/// The usual limits with these digests for headers and data. Nobody has to wait after a loss for our sake: a target of ours lets a
/// session begin once the one before it has ended.
#[must_use]
pub fn limits(header: Digest, data: Digest) -> Limits {
    Limits { header_digest: header.values(), data_digest: data.values(), time_2_wait: 0, ..Limits::default() }
}
