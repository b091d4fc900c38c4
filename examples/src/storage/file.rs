//! A local file or block device. Everything is done at once, by the page cache as a rule; holes of a file are found and made.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use rustix::fs::{FallocateFlags, SeekFrom as Place};
use rustix::io::Errno;

use super::{CHUNK_BYTES, Pending, Storage, Zeroing};
use crate::failure::Failure;

/// Zeros that are left out of a file: the block of most file systems.
const GRANULE_BYTES: usize = 4096;
/// Bytes that are made zero at once, so that a copy can be seen to go on.
const ZEROING_BYTES_MAX: u64 = 1 << 30;

/// An open file or block device.
#[derive(Debug)]
pub struct FileStorage {
    path: PathBuf,
    file: File,
    size: u64,
    /// It was emptied when it was opened: what is not written reads as zeros.
    empty: bool,
}

impl FileStorage {
    /// Opens a file or block device to be read.
    ///
    /// # Errors
    /// It cannot be opened, or is neither.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::local(format!("{}: {error}", path.display()));
        let file = File::open(path).map_err(failed)?;
        let size = size(&file).map_err(failed)?;
        Ok(Self { path: path.into(), file, size, empty: false })
    }

    /// Opens a file to be written, after which it has `size` bytes of zeros; or a block device of at least that size.
    /// `source` must not be the same file.
    ///
    /// # Errors
    /// It cannot be opened or made, is neither, or is too small or the source itself.
    pub fn create(path: &Path, size_needed: u64, source: Option<&Self>) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::local(format!("{}: {error}", path.display()));
        // It is not emptied before it is known to be another file than the source.
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if let Some(source) = source {
            let other = source.file.metadata().map_err(failed)?;
            if (metadata.dev(), metadata.ino()) == (other.dev(), other.ino()) {
                return Err(Failure::usage(format!("{} is the source itself", path.display())));
            }
        }
        let empty = metadata.is_file();
        if empty {
            file.set_len(0).and_then(|()| file.set_len(size_needed)).map_err(failed)?;
        }
        let size = size(&file).map_err(failed)?;
        if size < size_needed {
            let message = format!("{} has {size} bytes, and {size_needed} are to be written there", path.display());
            return Err(Failure::usage(message));
        }
        Ok(Self { path: path.into(), file, size, empty })
    }

    fn failure(&self, error: impl Into<io::Error>) -> Failure {
        Failure::local(format!("{}: {}", self.path.display(), error.into()))
    }

    /// The offset that `place` leads to; `None` if there is nothing of that kind until the end.
    fn seek(&self, place: Place) -> Option<Result<u64, Errno>> {
        match rustix::fs::seek(&self.file, place) {
            Err(Errno::NXIO) => None,
            other => Some(other),
        }
    }

    fn write_zeros_at_once(&self, range: Range<u64>) -> Result<(), Failure> {
        if self.empty {
            return Ok(());
        }
        let length = range.end - range.start;
        let flags = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
        if rustix::fs::fallocate(&self.file, flags, range.start, length).is_ok() {
            return Ok(());
        }
        let zeros = vec![0; CHUNK_BYTES];
        range.clone().step_by(CHUNK_BYTES).try_for_each(|offset| {
            let length = (range.end - offset).min(CHUNK_BYTES as u64) as usize;
            self.file.write_all_at(&zeros[..length], offset).map_err(|error| self.failure(error))
        })
    }
}

/// The size of a file or block device.
fn size(mut file: &File) -> io::Result<u64> {
    let kind = file.metadata()?.file_type();
    if kind.is_file() || kind.is_block_device() {
        file.seek(SeekFrom::End(0))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is neither a file nor a block device"))
    }
}

impl Storage for FileStorage {
    fn size(&self) -> u64 {
        self.size
    }

    fn next_data(&self, range: Range<u64>) -> Option<Range<u64>> {
        if range.is_empty() {
            return None;
        }
        // A file system or device that knows no holes has data everywhere.
        let Ok(start) = self.seek(Place::Data(range.start))? else { return Some(range) };
        let end = self.seek(Place::Hole(start)).and_then(Result::ok).unwrap_or(range.end);
        (start < range.end).then(|| start..end.min(range.end))
    }

    fn read(&self, offset: u64, length: usize) -> Pending<Bytes> {
        let mut bytes = BytesMut::zeroed(length);
        let read = self.file.read_exact_at(&mut bytes, offset);
        Pending::done(read.map(|()| bytes.freeze()).map_err(|error| self.failure(error)))
    }

    fn write(&self, offset: u64, data: Bytes) -> Pending<()> {
        Pending::done(self.file.write_all_at(&data, offset).map_err(|error| self.failure(error)))
    }

    fn zeroing(&self) -> Option<Zeroing> {
        Some(Zeroing { granule_bytes: GRANULE_BYTES, bytes_max: ZEROING_BYTES_MAX })
    }

    fn write_zeros(&self, range: Range<u64>) -> Pending<()> {
        Pending::done(self.write_zeros_at_once(range))
    }

    fn flush(&self) -> Result<(), Failure> {
        self.file.sync_all().map_err(|error| self.failure(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_found_and_kept() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let storage = FileStorage::create(file.path(), 1 << 20, None).unwrap();
        storage.write(512 << 10, vec![7; 4096].into()).wait().unwrap();
        storage.write_zeros(0..256 << 10).wait().unwrap();
        storage.flush().unwrap();
        let read = FileStorage::open(file.path()).unwrap();
        assert_eq!(read.size(), 1 << 20);
        assert_eq!(read.next_data(0..1 << 20), Some(512 << 10..516 << 10));
        assert_eq!(read.next_data(516 << 10..1 << 20), None);
        assert_eq!(read.read(512 << 10, 2).wait().unwrap(), &[7, 7][..]);
    }

    #[test]
    fn zeros_overwrite_what_was_there() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), vec![7; 10_000]).unwrap();
        let file = OpenOptions::new().read(true).write(true).open(file.path()).unwrap();
        let storage = FileStorage { path: "x".into(), file, size: 10_000, empty: false };
        storage.write_zeros(4096..9000).wait().unwrap();
        let read = storage.read(4095, 4906).wait().unwrap();
        assert!(read[0] == 7 && read[4905] == 7 && read[1..4905].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_file_is_not_copied_onto_itself() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"precious").unwrap();
        let source = FileStorage::open(file.path()).unwrap();
        assert!(FileStorage::create(file.path(), 8, Some(&source)).is_err());
        assert_eq!(std::fs::read(file.path()).unwrap(), b"precious");
    }

    #[test]
    fn what_is_neither_file_nor_device_is_refused() {
        assert!(FileStorage::open(Path::new("/")).unwrap_err().to_string().contains("neither"));
        assert!(FileStorage::open(Path::new("/dev/null")).is_err());
    }
}
