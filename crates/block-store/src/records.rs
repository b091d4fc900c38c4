//! Records of units beside their blocks, each in a file of a folder.
//!
//! A power cut at any moment leaves a record as it was or as it is to be: the new one is written beside the old, checked in full by a
//! CRC32C when it is read, made durable, and then renamed over the old one. What cannot be read is never an empty record, since whoever relied
//! on it must not find it gone: it is an error, or of reservations one that tells the unit to let nobody in.

use std::collections::{HashMap, HashSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use rustix::fs::{FlockOperation, OFlags, flock};
use scsi_block::Kept;
use scsi_block::io::{IoError, Record};
use scsi_block::reservations::in_place_of_damaged;

/// First bytes of a record's file: what it is, and the version of its form.
const MAGIC: &[u8; 8] = b"FERRREC\x01";
/// Bytes of a record: far more than any has.
const RECORD_BYTES_MAX: usize = 1 << 20;
/// Bytes of the check at the end of a file.
const CHECK_BYTES: usize = 4;
/// What the name of a file ends with as long as it is not the record yet.
const UNFINISHED: &str = ".new";

/// A folder of records. One process has it at a time.
#[derive(Debug)]
pub struct Records {
    folder: PathBuf,
    /// The folder itself, locked, and to be made durable after a change of names.
    handle: File,
    /// The units whose records somebody has.
    units: Mutex<HashSet<String>>,
}

/// The records of one unit. Nobody else has them as long as this is there.
#[derive(Debug)]
pub struct UnitRecords {
    records: Arc<Records>,
    unit: String,
    /// By name, the version that was written last.
    latest: Mutex<HashMap<&'static str, u64>>,
}

/// Why records cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// The system refuses something.
    #[error("{}: {error}", path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Another process has the folder.
    #[error("{} is in use by another process; give each target a folder of its own", .0.display())]
    InUse(PathBuf),
    /// Somebody has the records of the unit.
    #[error(
        "the records of unit {0} are in use: give each unit a serial number of its own, or add it again when the one before it is gone"
    )]
    UnitInUse(String),
    /// No thread can be started that writes records.
    #[error("cannot start a thread that writes records: {0}")]
    Thread(io::Error),
    /// A file is no record, or damaged.
    #[error(
        "{} is damaged or no record of this unit: restore it from a copy, or remove it to start without what it held, such as a sanitize \
         that was not over",
        .0.display()
    )]
    Damaged(PathBuf),
}

impl Records {
    /// Opens a folder, and makes it if it is not there, for its owner alone.
    ///
    /// # Errors
    /// It cannot be opened, or another process has it.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, RecordsError> {
        let folder = folder.into();
        let wrong = |error| RecordsError::Io { path: folder.clone(), error };
        match DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => sync_parent(&folder).map_err(wrong)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(wrong(error)),
        }
        let flags = (OFlags::DIRECTORY | OFlags::CLOEXEC).bits() as i32;
        let handle = OpenOptions::new().read(true).custom_flags(flags).open(&folder).map_err(wrong)?;
        match flock(&handle, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(RecordsError::InUse(folder)),
            other => other.map_err(|error| wrong(error.into()))?,
        }
        Ok(Self { folder, handle, units: Mutex::default() })
    }

    /// Gives out the records of a unit.
    ///
    /// # Errors
    /// Somebody has them.
    pub fn of_unit(self: &Arc<Self>, unit: &str) -> Result<UnitRecords, RecordsError> {
        match self.units.lock().insert(unit.to_owned()) {
            true => Ok(UnitRecords { records: Arc::clone(self), unit: unit.to_owned(), latest: Mutex::default() }),
            false => Err(RecordsError::UnitInUse(unit.to_owned())),
        }
    }

    /// All records of a unit, whoever has them. In the place of a damaged one of reservations is what tells the unit so; the file stays as it is
    /// until the unit has another to be kept.
    ///
    /// # Errors
    /// The folder or a record cannot be read, or one of another kind is damaged.
    pub fn load(&self, unit: &str) -> Result<Kept, RecordsError> {
        let wrong = |error| RecordsError::Io { path: self.folder.clone(), error };
        let prefix = format!("{}.", escaped(unit));
        let mut kept = Kept::new();
        for entry in fs::read_dir(&self.folder).map_err(wrong)? {
            let entry = entry.map_err(wrong)?;
            let file = entry.file_name();
            let name = file.to_str().and_then(|file| file.strip_prefix(&prefix));
            if let Some(name) = name.filter(|name| !name.ends_with(UNFINISHED)) {
                let content = match read(&entry.path(), unit, name) {
                    Err(RecordsError::Damaged(path)) => in_place_of_damaged(name).ok_or(RecordsError::Damaged(path))?,
                    read => read?,
                };
                kept.insert(name.to_owned(), content);
            }
        }
        Ok(kept)
    }

    fn replace(&self, file: &Path, content: &[u8]) -> io::Result<()> {
        let mut unfinished = file.as_os_str().to_owned();
        unfinished.push(UNFINISHED);
        let unfinished = PathBuf::from(unfinished);
        let mut new = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        new.write_all(content)?;
        new.sync_all()?;
        fs::rename(&unfinished, file)?;
        self.handle.sync_all()
    }
}

impl UnitRecords {
    /// All of them.
    ///
    /// # Errors
    /// The folder or a record cannot be read.
    pub fn load(&self) -> Result<Kept, RecordsError> {
        self.records.load(&self.unit)
    }

    /// Keeps a record: it would survive a power cut when this has ended well. A record that is older than the last is not written.
    ///
    /// # Errors
    /// It cannot be written. The record before it is still there.
    pub fn keep(&self, record: &Record) -> Result<(), IoError> {
        let Self { records, unit, latest } = self;
        let mut latest = latest.lock();
        if latest.get(record.name).is_some_and(|latest| *latest >= record.version) {
            return Ok(());
        }
        let file = records.folder.join(format!("{}.{}", escaped(unit), record.name));
        records.replace(&file, &encode(unit, record.name, &record.content)).map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => IoError::NoSpace,
            _ => IoError::Write,
        })?;
        latest.insert(record.name, record.version);
        Ok(())
    }
}

impl Drop for UnitRecords {
    fn drop(&mut self) {
        self.records.units.lock().remove(&self.unit);
    }
}

/// Makes the name of a new folder durable.
fn sync_parent(folder: &Path) -> io::Result<()> {
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

/// A name that is one of a file: letters, digits, `-` and `_` as they are, all else as `%` and two digits.
fn escaped(unit: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02x}"),
    };
    unit.bytes().map(escape).collect()
}

/// The file of a record: magic, unit and name each behind its length, the content, and the check of all that.
fn encode(unit: &str, name: &str, content: &[u8]) -> Vec<u8> {
    let mut bytes = head(unit, name);
    bytes.extend(content);
    bytes.extend(crc32c::crc32c(&bytes).to_be_bytes());
    bytes
}

fn head(unit: &str, name: &str) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for text in [unit, name] {
        bytes.push(text.len() as u8);
        bytes.extend(text.as_bytes());
    }
    bytes
}

fn read(path: &Path, unit: &str, name: &str) -> Result<Bytes, RecordsError> {
    let wrong = |error| RecordsError::Io { path: path.to_owned(), error };
    let mut bytes = Vec::new();
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(wrong)?;
    file.take(RECORD_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(wrong)?;
    decode(&bytes, unit, name).ok_or_else(|| RecordsError::Damaged(path.to_owned()))
}

fn decode(bytes: &[u8], unit: &str, name: &str) -> Option<Bytes> {
    let (checked, check) = bytes.split_last_chunk::<CHECK_BYTES>()?;
    if bytes.len() > RECORD_BYTES_MAX || crc32c::crc32c(checked) != u32::from_be_bytes(*check) {
        return None;
    }
    checked.strip_prefix(&head(unit, name)[..]).map(Bytes::copy_from_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn record(version: u64, content: &'static [u8]) -> Record {
        Record { name: "reservations", version, content: Bytes::from_static(content) }
    }

    fn file(folder: &Path) -> PathBuf {
        folder.join("disk%2f1.reservations")
    }

    fn open(folder: &Path) -> Arc<Records> {
        Arc::new(Records::open(folder).unwrap())
    }

    #[test]
    fn the_latest_record_comes_back_whoever_opens_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("state");
        let records = open(&folder);
        let disk = records.of_unit("disk/1").unwrap();
        assert_eq!(disk.load().unwrap(), Kept::new());
        disk.keep(&record(2, b"two")).unwrap();
        disk.keep(&record(1, b"one")).unwrap();
        records.of_unit("disk").unwrap().keep(&record(1, b"other")).unwrap();
        assert!(matches!(Records::open(&folder), Err(RecordsError::InUse(_))));
        drop((records, disk));
        let disk = open(&folder).of_unit("disk/1").unwrap();
        let expected: Kept = [("reservations".to_owned(), Bytes::from_static(b"two"))].into();
        assert_eq!(disk.load().unwrap(), expected);
    }

    #[test]
    fn one_at_a_time_has_the_records_of_a_unit_and_counts_from_the_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let records = open(folder.path());
        let first = records.of_unit("disk/1").unwrap();
        first.keep(&record(2, b"two")).unwrap();
        assert!(matches!(records.of_unit("disk/1"), Err(RecordsError::UnitInUse(unit)) if unit == "disk/1"));
        drop(first);
        let second = records.of_unit("disk/1").unwrap();
        second.keep(&record(1, b"three")).unwrap();
        assert_eq!(second.load().unwrap()["reservations"], b"three"[..]);
    }

    #[test]
    fn nobody_else_may_read_them() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("state");
        open(&folder).of_unit("disk/1").unwrap().keep(&record(1, b"one")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&file(&folder))), (0o700, 0o600));
    }

    #[test]
    fn a_damaged_record_is_an_error_or_known_to_be_lost_whatever_is_wrong_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let records = open(folder.path()).of_unit("disk/1").unwrap();
        records.keep(&record(1, b"content")).unwrap();
        let mode = folder.path().join("disk%2f1.mode");
        let whole = fs::read(file(folder.path())).unwrap();
        let damaged = |bytes: &[u8]| {
            fs::write(&mode, bytes).unwrap();
            let error = records.load().unwrap_err();
            assert!(matches!(error, RecordsError::Damaged(_)) && error.to_string().contains("remove it"), "{error}");
            fs::remove_file(&mode).unwrap();
            fs::write(file(folder.path()), bytes).unwrap();
            assert_eq!(records.load().unwrap()["reservations"], in_place_of_damaged("reservations").unwrap());
            assert_eq!(fs::read(file(folder.path())).unwrap(), bytes, "it stays for who can mend it");
        };
        (0..whole.len()).for_each(|end| damaged(&whole[..end]));
        for place in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[place] ^= 0x10;
            damaged(&flipped);
        }
        damaged(&encode("disk/2", "reservations", b"content"));
        damaged(&vec![0; RECORD_BYTES_MAX + 1]);
        records.keep(&record(2, b"new")).unwrap();
        assert_eq!(records.load().unwrap()["reservations"], b"new"[..]);
    }

    #[test]
    fn what_a_power_cut_left_unfinished_is_no_record() {
        let folder = tempfile::tempdir().unwrap();
        let records = open(folder.path()).of_unit("disk/1").unwrap();
        fs::write(folder.path().join("disk%2f1.reservations.new"), b"half").unwrap();
        assert_eq!(records.load().unwrap(), Kept::new());
        records.keep(&record(1, b"one")).unwrap();
        assert_eq!(records.load().unwrap().len(), 1);
    }

    #[test]
    fn a_record_that_cannot_be_written_leaves_the_one_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let records = open(folder.path()).of_unit("disk/1").unwrap();
        records.keep(&record(1, b"one")).unwrap();
        fs::create_dir(folder.path().join("disk%2f1.reservations.new")).unwrap();
        assert_eq!(records.keep(&record(2, b"two")), Err(IoError::Write));
        assert_eq!(records.load().unwrap()["reservations"], b"one"[..]);
        fs::remove_dir(folder.path().join("disk%2f1.reservations.new")).unwrap();
        records.keep(&record(2, b"two")).unwrap();
        assert_eq!(records.load().unwrap()["reservations"], b"two"[..]);
    }
}
