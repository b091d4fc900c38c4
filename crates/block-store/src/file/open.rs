//! Opening a file or block device: its type, its lock, its size.

use super::buffers::ALIGNMENT;
use super::lock::FileLock;
use super::medium::LockedFile;
use rustix::fd::OwnedFd;
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, SeekFrom, StatxFlags};
use rustix::io::Errno;
use scsi_block::io::Geometry;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a file or block device is to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOptions {
    /// Bytes in one logical block: 512 or 4096.
    pub block_size: u32,
    /// The size of the medium, a multiple of the block size. A file that is missing is created, one that is smaller
    /// is extended, both sparse; of a file or device that is larger, what is behind stays as it is, out of reach until
    /// the medium grows. `None` takes the size that is there, in whole blocks.
    pub size_bytes: Option<u64>,
    /// Nothing is ever written; others may read the file at the same time.
    pub read_only: bool,
    /// Bypass the page cache (O_DIRECT).
    pub direct: bool,
    /// Threads for what may block, at least 1. From 2 on, durable writes that meet share an `fdatasync`.
    pub workers: usize,
}

impl Default for FileOptions {
    /// Blocks of 512 bytes, the size that is there, read and write through the page cache, 4 threads.
    fn default() -> Self {
        Self { block_size: 512, size_bytes: None, read_only: false, direct: false, workers: 4 }
    }
}

/// Why a store could not be opened. The text says what to do where there is something to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A system call failed.
    #[error("{path}: cannot {action}: {source}", path = path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// What was attempted.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// There is no such file, and nothing said that one is to be made.
    #[error("{} does not exist; to create it, give its size", .0.display())]
    Missing(PathBuf),
    /// Neither a file nor a block device.
    #[error("{} is neither a regular file nor a block device", .0.display())]
    NotADisk(PathBuf),
    /// Another store, perhaps in another process, holds the lock, or the device is mounted.
    #[error("{} is in use: another target has it open, or it is mounted", .0.display())]
    InUse(PathBuf),
    /// The device, or a file that may not be written to, holds less than was asked for.
    #[error("{path} has {actual} bytes, not the {wanted} that were asked for", path = path.display())]
    Size {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        actual: u64,
        /// The size in bytes that was asked for.
        wanted: u64,
    },
    /// Not even one block.
    #[error("{} holds no whole block", .0.display())]
    Empty(PathBuf),
    /// O_DIRECT works in larger units than the blocks.
    #[error("{path}: O_DIRECT needs blocks of {needed} bytes here", path = path.display())]
    DirectBlockSize {
        /// The file.
        path: PathBuf,
        /// The unit of O_DIRECT there, in bytes.
        needed: u32,
    },
    /// The size or the block size is none that a medium can have.
    #[error("{0}")]
    Geometry(&'static str),
}

impl OpenError {
    pub(crate) fn system(path: &Path, action: &'static str, source: impl Into<io::Error>) -> Self {
        Self::System { path: path.into(), action, source: source.into() }
    }
}

/// The file, locked and large enough, and its lock: one of `before`, which it takes out, if the store that has it is on the same file.
pub(super) fn open(
    path: &Path,
    options: &FileOptions,
    before: &mut Vec<FileLock>,
) -> Result<(LockedFile, FileLock, Geometry), OpenError> {
    let block_size = options.block_size;
    if let Some(size) = options.size_bytes {
        crate::range::geometry(block_size, size).map_err(OpenError::Geometry)?;
    }
    let inherited = |stat: &fs::Stat, before: &[FileLock]| before.iter().position(|lock| lock.is_of(stat));
    let is_ours = |stat: &fs::Stat| inherited(stat, before).is_some_and(|place| before[place].is_exclusive());
    let (file, file_type) = open_disk(path, options, is_ours)?;
    let stat = fs::fstat(&file).map_err(|error| OpenError::system(path, "open it", error))?;
    let file = Arc::new(file);
    let lock = match inherited(&stat, before) {
        Some(place) => before.swap_remove(place),
        None => FileLock::new(Arc::clone(&file)),
    };
    let hold = lock.hold(path, options.read_only)?;
    let size = settle_size(&file, file_type, path, options)?;
    if options.direct {
        check_direct(&file, path, block_size)?;
    }
    let whole_blocks = size - size % u64::from(block_size);
    if whole_blocks == 0 {
        return Err(OpenError::Empty(path.into()));
    }
    let geometry = crate::range::geometry(block_size, whole_blocks).map_err(OpenError::Geometry)?;
    Ok((LockedFile { file, _lock: hold }, lock, geometry))
}

/// A device that `is_ours` says is in use by us alone is not asked to be so once more.
fn open_disk(
    path: &Path,
    options: &FileOptions,
    is_ours: impl Fn(&fs::Stat) -> bool,
) -> Result<(OwnedFd, FileType), OpenError> {
    let mut flags = OFlags::CLOEXEC;
    flags |= if options.read_only { OFlags::RDONLY } else { OFlags::RDWR };
    let stat = fs::stat(path);
    let file_type = match stat {
        Ok(stat) => FileType::from_raw_mode(stat.st_mode),
        Err(Errno::NOENT) if options.size_bytes.is_some() && !options.read_only => {
            flags |= OFlags::CREATE;
            FileType::RegularFile
        }
        Err(Errno::NOENT) => return Err(OpenError::Missing(path.into())),
        Err(error) => return Err(OpenError::system(path, "open it", error)),
    };
    match file_type {
        FileType::RegularFile => {}
        // On a device EXCL asks that it be neither mounted nor part of something else.
        FileType::BlockDevice if !options.read_only => flags.set(OFlags::EXCL, !stat.is_ok_and(|stat| is_ours(&stat))),
        FileType::BlockDevice => {}
        _ => return Err(OpenError::NotADisk(path.into())),
    }
    let action = if options.direct { "open it with O_DIRECT" } else { "open it" };
    flags.set(OFlags::DIRECT, options.direct);
    let file = match fs::open(path, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => file,
        Err(Errno::BUSY) => return Err(OpenError::InUse(path.into())),
        Err(error) => return Err(OpenError::system(path, action, error)),
    };
    Ok((file, file_type))
}

/// The size in bytes of what is served, after a file that is too small was extended.
fn settle_size(file: &OwnedFd, file_type: FileType, path: &Path, options: &FileOptions) -> Result<u64, OpenError> {
    let actual = fs::seek(file, SeekFrom::End(0)).map_err(|error| OpenError::system(path, "find its size", error))?;
    match options.size_bytes {
        None => Ok(actual),
        Some(wanted) if wanted <= actual => Ok(wanted),
        Some(wanted) if file_type.is_file() && !options.read_only => {
            fs::ftruncate(file, wanted).map_err(|error| OpenError::system(path, "extend it", error))?;
            Ok(wanted)
        }
        Some(wanted) => Err(OpenError::Size { path: path.into(), actual, wanted }),
    }
}

/// Fails if O_DIRECT works in larger units than blocks. A kernel that does not tell its unit is taken to need the
/// largest.
fn check_direct(file: &OwnedFd, path: &Path, block_size: u32) -> Result<(), OpenError> {
    let told = fs::statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN).ok();
    let unit = told.map(|statx| statx.stx_dio_offset_align).filter(|&unit| unit > 0);
    let needed = unit.unwrap_or(ALIGNMENT as u32);
    match block_size.is_multiple_of(needed) {
        true => Ok(()),
        false => Err(OpenError::DirectBlockSize { path: path.into(), needed }),
    }
}
