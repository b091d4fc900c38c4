//! Files that a target reads and writes because somebody asks it to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The bytes of a file that has no more than `bytes_max`.
pub(super) fn read(file: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    // Before it is opened: that of a pipe waits for whoever writes.
    if !fs::metadata(file)?.is_file() {
        return Err(io::Error::other("expected a file"));
    }
    let opened = File::open(file)?;
    let mut bytes = Vec::new();
    opened.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        return Err(io::Error::other(format!("expected at most {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// Puts a file that its owner alone may read in the place of `file`: at any moment there is the old or the new one as a whole.
pub(super) fn replace(file: &Path, text: &str) -> io::Result<()> {
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
        assert_eq!(read(&file, 3).unwrap(), b"new");
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
        assert!(read(&file, 3).unwrap_err().to_string().contains("at most 3 bytes"));
        assert!(read(Path::new("/dev/zero"), 3).unwrap_err().to_string().contains("expected a file"));
    }
}
