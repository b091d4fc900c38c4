//! What the tests share: a process that ends with its test, files of their own, addresses that are free.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command};

/// A process that does not outlive its test.
pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// An `iscsi-target` that is to be.
pub(crate) fn iscsi_target() -> Command {
    Command::new(env!("CARGO_BIN_EXE_iscsi-target"))
}

impl Killed {
    /// The URLs of a target that says on stdout that it is ready, as many as are expected.
    pub(crate) fn urls(&mut self, expected: usize) -> Vec<String> {
        let lines = BufReader::new(self.0.stdout.as_mut().expect("stdout is a pipe")).lines();
        let url =
            |line: std::io::Result<String>| line.unwrap().strip_prefix("ready ").expect("a ready line").to_owned();
        let urls: Vec<String> = lines.take(expected).map(url).collect();
        assert_eq!(urls.len(), expected, "a line for each address");
        urls
    }
}

/// An address of this machine that nobody listens on.
pub(crate) fn free_address(ip: &str) -> SocketAddr {
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap()
}

/// Writes a file that its owner alone may read.
pub(crate) fn write(file: &Path, text: &str) {
    fs::write(file, text).unwrap();
    fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
}
