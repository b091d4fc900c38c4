//! Where a copy comes from and goes to: a local file or block device, or a disk behind a URL.
//!
//! In: ranges of bytes. Out: bytes, and ends of writes, in the order in which they were asked for. What is asked for may still be
//! under way when the next is asked for: that is what [`Pending`] is about.

mod disk;
mod file;
mod offload;

pub use disk::DiskStorage;
pub use file::FileStorage;
pub use offload::offload;

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;

use bytes::Bytes;
use iscsi_runtime::url::{Url, UrlError};

use crate::failure::Failure;

/// Bytes that are read or written at once; a multiple of every block size that there is.
pub const CHUNK_BYTES: usize = 512 * 1024;

/// A file or a URL, as a person names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A file or block device of this machine.
    File(PathBuf),
    /// A logical unit.
    Url(Url),
}

impl FromStr for Location {
    type Err = UrlError;

    /// What has `://` in it is a URL, everything else a file.
    fn from_str(text: &str) -> Result<Self, UrlError> {
        if text.contains("://") { text.parse().map(Self::Url) } else { Ok(Self::File(text.into())) }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Url(url) => url.fmt(f),
        }
    }
}

/// Something that was asked for; it may have ended already.
#[must_use = "whether it went well is known only after `wait`"]
pub struct Pending<T>(Box<dyn FnOnce() -> Result<T, Failure>>);

impl<T: 'static> Pending<T> {
    /// Something whose end `wait` waits for.
    pub fn new(wait: impl FnOnce() -> Result<T, Failure> + 'static) -> Self {
        Self(Box::new(wait))
    }

    /// Something that has ended.
    pub fn done(result: Result<T, Failure>) -> Self {
        Self::new(|| result)
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// Why it failed.
    pub fn wait(self) -> Result<T, Failure> {
        (self.0)()
    }
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pending")
    }
}

/// How a storage makes zeros cheaply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zeroing {
    /// Bytes of zeros, aligned to as many, that are worth it.
    pub granule_bytes: usize,
    /// Bytes that are made zero at once, at most; a multiple of [`CHUNK_BYTES`].
    pub bytes_max: u64,
}

/// Bytes that can be read and, if it was opened for that, written. Every offset is a multiple of [`CHUNK_BYTES`], or of
/// [`Zeroing::granule_bytes`] within a chunk; a range may end anywhere before the end of the storage.
pub trait Storage {
    /// The size in bytes.
    fn size(&self) -> u64;

    /// The next part of `range` that may hold something else than zeros; `None` if there is none.
    fn next_data(&self, range: Range<u64>) -> Option<Range<u64>>;

    /// Reads `length` bytes, at most [`CHUNK_BYTES`].
    fn read(&self, offset: u64, length: usize) -> Pending<Bytes>;

    /// Writes `data`, at most [`CHUNK_BYTES`]. If it ends within a block, the rest of the block becomes zeros.
    fn write(&self, offset: u64, data: Bytes) -> Pending<()>;

    /// Whether zeros are cheaper than data, and how.
    fn zeroing(&self) -> Option<Zeroing>;

    /// Makes a range read as zeros, as [`zeroing`](Self::zeroing) allows it.
    fn write_zeros(&self, range: Range<u64>) -> Pending<()>;

    /// What was written is to survive a power cut.
    ///
    /// # Errors
    /// It may not.
    fn flush(&self) -> Result<(), Failure>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_what_looks_like_one() {
        assert_eq!("disk:1.img".parse(), Ok(Location::File("disk:1.img".into())));
        assert!(matches!("iscsi://h/iqn.2026-01.a:b/0".parse(), Ok(Location::Url(_))));
        assert_eq!("nbd://h/0".parse::<Location>(), Err(UrlError::Scheme));
    }
}
