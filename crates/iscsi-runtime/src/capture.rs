//! Captures in files.

use iscsi_transport::Capture;
use std::fs::OpenOptions;
use std::io::{self, BufWriter};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::SystemTime;

/// A capture in a new file, which its owner alone may read: it holds payload.
///
/// # Errors
/// The file cannot be made.
pub(crate) fn create(file: &Path) -> io::Result<Capture> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
    let sink = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file).map_err(named)?;
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Capture::new(BufWriter::new(sink), now).map_err(named)
}
