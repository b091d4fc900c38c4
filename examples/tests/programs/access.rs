//! Who comes in, with which secret, and what is told of it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use rustix::process::Signal;
use tempfile::TempDir;

use super::support::{Target, initiator, iscsi_target, path, refused, said, with_secrets};

const SECRET: &str = "hunter2hunter2";
const TARGET_SECRET: &str = "correct horse battery";

#[test]
fn secrets_open_the_door_and_are_never_told() {
    let folder = TempDir::new().unwrap();
    let secret = |name: &str, secret: &str| {
        let file = folder.path().join(name);
        fs::write(&file, format!("{secret}\n")).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        format!("{name}:{}", path(&file))
    };
    let (alice, disk) = (secret("alice", SECRET), secret("disk", TARGET_SECRET));
    let target = Target::start(&["--chap", &alice, "--mutual-chap", &disk, "--lun", "memory:1M", "--log", "trace"]);
    let as_alice = target.url().replace("iscsi://", "iscsi://alice@");
    let both_ways = format!("{as_alice}?target_user=disk");
    let own = ("ISCSI_CHAP_SECRET", SECRET);

    let mut told = String::new();
    let mut keep = |output: Output| {
        told += &(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr));
        output
    };
    let capacity = |url: &str, flags: &[&str], secrets: &[(&str, &str)]| {
        with_secrets(&[&["capacity", "--log", "trace", url], flags].concat(), secrets)
    };
    for output in [
        capacity(target.url(), &["--chap", &alice], &[]),
        capacity(target.url(), &["--chap", &alice, "--mutual-chap", &disk], &[]),
        capacity(&as_alice, &[], &[own]),
        capacity(&both_ways, &[], &[own, ("ISCSI_MUTUAL_CHAP_SECRET", TARGET_SECRET)]),
        capacity(&both_ways, &["--chap", &alice, "--mutual-chap", &disk], &[]),
    ] {
        assert!(keep(output).status.success());
    }
    let portal = target.url().split("/iqn").next().unwrap().to_owned();
    let discover = |flags: &[&str], secrets: &[(&str, &str)]| {
        with_secrets(&[&["discover", "--log", "trace", &portal], flags].concat(), secrets)
    };
    for output in [
        discover(&[], &[]),
        discover(&["--chap", &alice], &[]),
        discover(&["--chap", &alice, "--mutual-chap", &disk], &[]),
    ] {
        assert!(said(keep(output)).contains(target.url().strip_suffix("/0").unwrap()));
    }
    let impostor = secret("impostor", "hunter2hunter4").replacen("impostor", "alice", 1);
    for (output, code) in [
        (discover(&["--chap", &impostor], &[]), 4),
        (capacity(target.url(), &[], &[]), 4),
        (capacity(&as_alice, &[], &[("ISCSI_CHAP_SECRET", "hunter2hunter3")]), 4),
        (capacity(&both_ways, &[], &[own, ("ISCSI_MUTUAL_CHAP_SECRET", "correct horse batterie")]), 4),
        (capacity(&as_alice, &[], &[]), 2),
        (capacity(&as_alice, &["--chap", &disk], &[]), 2),
        (capacity(target.url(), &["--mutual-chap", &disk], &[]), 2),
    ] {
        let output = keep(output);
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let (_, log) = target.end(Signal::TERM);
    for text in [&told, &log] {
        assert!(!text.contains("hunter2") && !text.contains("correct horse"), "{text}");
    }

    fs::set_permissions(folder.path().join("alice"), Permissions::from_mode(0o644)).unwrap();
    let target = iscsi_target().args(["--chap", &alice]).output().unwrap();
    assert!(refused(target, 2).contains("everybody may read that"));
}

#[test]
fn only_those_who_are_named_come_in() {
    let friend = "iqn.2026-01.io.example:friend";
    let target = Target::start(&["--allow-initiator", friend, "--lun", "memory:1M"]);
    said(initiator(&["capacity", "--initiator-name", friend, target.url()]));
    refused(initiator(&["capacity", target.url()]), 4);
}
