//! Files that somebody names: read with a bound and without waiting for anybody, and replaced as a whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// Permission to read for everybody.
const OTHERS_READ: u32 = 0o004;

/// Opens a file to read it, at once: what is none, such as a pipe that waits for whoever writes, is refused.
///
/// # Errors
/// It is no file, or the system refuses.
pub fn open(file: &Path) -> io::Result<File> {
    let no_file = || io::Error::other("expected a file");
    // Before it is opened, since that alone does something to some devices; and after, since it may be another by then.
    if !fs::metadata(file)?.is_file() {
        return Err(no_file());
    }
    let opened = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(file)?;
    if opened.metadata()?.is_file() { Ok(opened) } else { Err(no_file()) }
}

/// Whether everybody may read it, where it is a file.
///
/// # Errors
/// The system does not tell.
pub fn is_everybodys(file: &File) -> io::Result<bool> {
    let metadata = file.metadata()?;
    Ok(metadata.is_file() && metadata.mode() & OTHERS_READ != 0)
}

/// The bytes of what has no more than `bytes_max`.
///
/// # Errors
/// It has more, or cannot be read.
pub fn read(source: impl Read, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        return Err(io::Error::other(format!("expected at most {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// The text of what has no more than `bytes_max`.
///
/// # Errors
/// It has more, cannot be read, or is no text.
pub fn read_text(source: impl Read, bytes_max: usize) -> io::Result<String> {
    String::from_utf8(read(source, bytes_max)?).map_err(|error| io::Error::other(format!("no text: {error}")))
}

/// Puts a file that its owner alone may read in the place of `file`: at any moment there is the old or the new one as a whole.
///
/// # Errors
/// The path is not that of a file or of none, or the system refuses.
pub fn replace(file: &Path, text: &str) -> io::Result<()> {
    if !file.is_absolute() || fs::symlink_metadata(file).is_ok_and(|found| !found.is_file()) {
        return Err(io::Error::other("expected the absolute path of a file, or of none that is there"));
    }
    let name = file.file_name().ok_or_else(|| io::Error::other("expected a file"))?;
    let folder = file.parent().unwrap_or(Path::new("/"));
    let new = folder.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    // One that a killed process of the same number has left.
    drop(fs::remove_file(&new));
    let written = write(&new, text).and_then(|()| fs::rename(&new, file));
    if written.is_err() {
        drop(fs::remove_file(&new));
    }
    written.and_then(|()| File::open(folder)?.sync_all())
}

fn write(file: &Path, text: &str) -> io::Result<()> {
    let mut opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    opened.write_all(text.as_bytes())?;
    opened.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_is_its_owners_alone() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("f");
        fs::write(&file, "old").unwrap();
        replace(&file, "new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(replace(folder.path(), "x").is_err(), "a folder is no file");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_too_long_or_no_file_is_not_read() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("f");
        fs::write(&file, "four").unwrap();
        assert!(read(open(&file).unwrap(), 3).unwrap_err().to_string().contains("at most 3 bytes"));
        assert_eq!(read_text(open(&file).unwrap(), 4).unwrap(), "four");
        assert!(read_text(&b"\xff"[..], 4).unwrap_err().to_string().contains("no text"));
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        for path in [Path::new("/dev/zero"), folder.path(), &pipe] {
            assert!(open(path).unwrap_err().to_string().contains("expected a file"), "{}", path.display());
        }
    }
}
