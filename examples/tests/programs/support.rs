//! What the tests share: programs that run and what they say, files of their own, addresses that are free.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

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

/// A running `iscsi-target`; it does not outlive its test.
pub(crate) struct Target {
    pub(crate) child: Killed,
    /// URL of LUN 0, one for each address.
    pub(crate) urls: Vec<String>,
}

impl Target {
    /// Starts one on loopback, and waits until it is ready.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let listen: &[&str] = if flags.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
        let mut command = iscsi_target();
        command.args(listen).args(flags).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Killed(command.spawn().expect("the target starts"));
        let urls = child.urls(listen.iter().chain(flags).filter(|flag| **flag == "--listen").count());
        Self { child, urls }
    }

    pub(crate) fn url(&self) -> &str {
        &self.urls[0]
    }

    /// Ends it, and gives back how long that took and what it has said on stderr.
    pub(crate) fn end(mut self, signal: Signal) -> (Duration, String) {
        let begun = Instant::now();
        kill_process(Pid::from_child(&self.child.0), signal).unwrap();
        let mut log = String::new();
        self.child.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        let status = self.child.0.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{log}");
        (begun.elapsed(), log)
    }
}

pub(crate) fn initiator(words: &[&str]) -> Output {
    with_secrets(words, &[])
}

pub(crate) fn with_secrets(words: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_iscsi-initiator"))
        .args(words)
        .envs(variables.iter().copied())
        .output()
        .expect("the initiator starts")
}

/// What it says on stdout, if it ends with 0.
pub(crate) fn said(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What it says on stderr, one line, if it ends with `code`.
pub(crate) fn refused(output: Output, code: i32) -> String {
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

pub(crate) fn path(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}
