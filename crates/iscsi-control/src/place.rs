//! A socket at a path: made so that nobody else ever finds it open, put in the place of one that was left, and taken away.

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// Folders of our own that are tried before it is given up.
const FOLDERS_MAX: u32 = 100;

/// Where a target of this user is asked unless somebody says otherwise: for root in `/run`, for others in their `XDG_RUNTIME_DIR`, if there is one.
#[must_use]
pub fn default_path() -> Option<PathBuf> {
    let folder = if rustix::process::geteuid().is_root() {
        PathBuf::from("/run")
    } else {
        PathBuf::from(std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty())?)
    };
    Some(folder.join("ferriscsi.sock"))
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// Somebody listens there.
    #[error("{path}: another target is running{}: end it, or give this one another path", of_process(*pid))]
    Taken {
        /// The socket.
        path: String,
        /// The process that listens, if the system says it.
        pid: Option<i32>,
    },
    /// What is there is no socket, and is left alone.
    #[error("{0}: there is something that is no socket: move it away, or give another path")]
    NoSocket(String),
    /// The system refuses something.
    #[error("{path}: there can be no socket: {error}")]
    System {
        /// The socket that was to be.
        path: String,
        /// What the system says.
        error: io::Error,
    },
}

fn of_process(pid: Option<i32>) -> String {
    pid.map_or(String::new(), |pid| format!(", pid {pid}"))
}

/// A socket that is listened on, at its path until this is dropped.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) listener: UnixListener,
    path: PathBuf,
    /// Of a file beside it, which stays; as long as this is held, nobody else touches what is at the path.
    _lock: OwnedFd,
}

/// What is at a path.
enum Found {
    Nothing,
    /// A socket on which nobody listens.
    Left,
    /// A socket on which a process listens, which the system may name.
    Live(Option<i32>),
    NoSocket,
}

impl Placed {
    /// Listens at a path.
    ///
    /// # Errors
    /// Somebody else listens there, there is something that is no socket, or the system refuses it.
    pub(crate) fn new(path: &Path) -> Result<Self, PlaceError> {
        let system = |error: io::Error| PlaceError::System { path: path.display().to_string(), error };
        let lock = lock(path).map_err(system)?;
        match look(path).map_err(system)? {
            Found::Nothing | Found::Left if lock.is_some() => {}
            // Who has the lock is about to listen, or does so no more.
            Found::Nothing | Found::Left => {
                return Err(PlaceError::Taken { path: path.display().to_string(), pid: None });
            }
            Found::Live(pid) => return Err(PlaceError::Taken { path: path.display().to_string(), pid }),
            Found::NoSocket => return Err(PlaceError::NoSocket(path.display().to_string())),
        }
        let folder = OwnFolder::beside(path).map_err(system)?;
        // Nobody else can enter the folder: when the socket moves out of it, its mode is what it is to be.
        let own = folder.0.join("s");
        let listener = UnixListener::bind(&own).map_err(system)?;
        fs::set_permissions(&own, Permissions::from_mode(0o600)).map_err(system)?;
        fs::rename(&own, path).map_err(system)?;
        let lock = lock.expect("without it there was an error before");
        Ok(Self { listener, path: path.into(), _lock: lock })
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the socket cannot be removed");
        }
    }
}

/// The lock of a path, unless another process has it. The file stays, since a file that comes and goes can be locked by two.
fn lock(path: &Path) -> io::Result<Option<OwnedFd>> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let flags = OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::RDWR;
    let file = rustix::fs::open(name, flags, Mode::RUSR | Mode::WUSR)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Looks what is at a path; asks nothing of who listens there.
fn look(path: &Path) -> io::Result<Found> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => return Ok(Found::NoSocket),
        Ok(_) => {}
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &SocketAddrUnix::new(path)?) {
        Ok(()) => {
            let listener = rustix::net::sockopt::socket_peercred(&socket).ok();
            Ok(Found::Live(listener.map(|listener| listener.pid.as_raw_nonzero().get())))
        }
        // Its queue of connections is full, so there is one.
        Err(Errno::AGAIN) => Ok(Found::Live(None)),
        Err(Errno::CONNREFUSED) => Ok(Found::Left),
        Err(Errno::NOENT) => Ok(Found::Nothing),
        Err(error) => Err(error.into()),
    }
}

/// A folder that its owner alone may enter, removed with what is in it.
struct OwnFolder(PathBuf);

impl OwnFolder {
    /// Makes one on the file system of `path`.
    fn beside(path: &Path) -> io::Result<Self> {
        let parent = path.parent().unwrap_or(Path::new(""));
        let mut number = 0;
        loop {
            let folder = parent.join(format!(".{}-{number}", std::process::id()));
            match rustix::fs::mkdir(&folder, Mode::RWXU) {
                Ok(()) => return Ok(Self(folder)),
                Err(Errno::EXIST) if number < FOLDERS_MAX => number += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for OwnFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "a folder cannot be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;
    use tempfile::TempDir;

    #[test]
    fn it_is_for_its_owner_alone_leaves_nothing_else_and_goes_with_its_process() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("c.sock");
        let placed = Placed::new(&path).unwrap();
        let metadata = fs::symlink_metadata(&path).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        let lock = folder.path().join("c.sock.lock");
        assert_eq!(fs::metadata(&lock).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "the socket and its lock");
        UnixStream::connect(&path).unwrap();
        drop(placed);
        assert!(!path.exists() && lock.exists());
    }

    #[test]
    fn one_that_was_left_is_replaced_and_a_live_one_is_not() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("c.sock");
        // The file stays when its listener goes.
        drop(UnixListener::bind(&path).unwrap());
        assert!(UnixStream::connect(&path).is_err());
        let placed = Placed::new(&path).unwrap();
        UnixStream::connect(&path).unwrap();
        let error = Placed::new(&path).unwrap_err().to_string();
        let pid = std::process::id();
        assert!(
            error.ends_with(&format!("another target is running, pid {pid}: end it, or give this one another path"))
        );
        UnixStream::connect(&path).unwrap();
        drop(placed);
        Placed::new(&path).unwrap();
    }

    #[test]
    fn what_is_no_socket_and_what_another_program_listens_on_is_left_alone() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("c.sock");
        fs::write(&path, "a file").unwrap();
        assert!(matches!(Placed::new(&path), Err(PlaceError::NoSocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "a file");
        fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        assert!(matches!(Placed::new(&path), Err(PlaceError::Taken { pid: Some(_), .. })));
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn several_at_once_are_one_in_the_end() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("c.sock");
        drop(UnixListener::bind(&path).unwrap());
        let placed: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| Placed::new(&path))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(placed.iter().filter(|placed| placed.is_ok()).count(), 1, "{placed:?}");
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_folder_that_is_not_there_is_told() {
        let error = Placed::new(Path::new("/nonexistent/c.sock")).unwrap_err().to_string();
        assert!(error.starts_with("/nonexistent/c.sock: there can be no socket: No such file"), "{error}");
    }
}
