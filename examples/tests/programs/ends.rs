//! How a target refuses to begin, and how it ends when nobody wants to wait.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use super::support::{Killed, Target, iscsi_target, refused};

#[test]
fn a_later_second_signal_ends_at_once() {
    let mut target = Target::start(&["--lun", "memory:1M"]);
    let words = ["bench", "--runtime", "60s", target.url()];
    let initiator = Command::new(env!("CARGO_BIN_EXE_iscsi-initiator")).args(words).stderr(Stdio::null()).spawn();
    let mut load = Killed(initiator.unwrap());
    // The first session asks for the size, the second is the load's. Nobody reads the log after that.
    let log = BufReader::new(target.child.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(log.filter(|line| line.contains("logged in")).nth(1).is_some());
    kill_process(Pid::from_child(&load.0), Signal::STOP).unwrap();
    // All its threads, before it can answer.
    waitpid(Some(Pid::from_child(&load.0)), WaitOptions::UNTRACED).unwrap();
    for _ in 0..2 {
        kill_process(Pid::from_child(&target.child.0), Signal::TERM).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(target.child.0.try_wait().unwrap(), None, "it waits for the session to end");
    // Again and again, since a slow machine may take the first for one that came together with those before.
    let status = loop {
        kill_process(Pid::from_child(&target.child.0), Signal::INT).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        if let Some(status) = target.child.0.try_wait().unwrap() {
            break status;
        }
    };
    assert_eq!(status.code(), Some(128 + 2));
    kill_process(Pid::from_child(&load.0), Signal::CONT).unwrap();
    assert_eq!(load.0.wait().unwrap().code(), Some(3), "a load that was cut off is no success");
}

#[test]
fn an_address_in_use_is_told() {
    let target = Target::start(&["--lun", "memory:1M"]);
    let address = target.url().strip_prefix("iscsi://").unwrap().split('/').next().unwrap();
    let second = iscsi_target().args(["--listen", address]).output().unwrap();
    assert!(refused(second, 6).contains(address));
}
