//! The binaries as a person meets them: started with flags, read from stdout and stderr, ended by signals.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::Value;
use tempfile::TempDir;

use super::support::{Killed, iscsi_target};

const SECRET: &str = "hunter2hunter2";
const TARGET_SECRET: &str = "correct horse battery";

/// A running `iscsi-target`; it does not outlive its test.
struct Target {
    child: Killed,
    /// URL of LUN 0, one for each address.
    urls: Vec<String>,
}

impl Target {
    /// Starts one on loopback, and waits until it is ready.
    fn start(flags: &[&str]) -> Self {
        let listen: &[&str] = if flags.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
        let mut command = iscsi_target();
        command.args(listen).args(flags).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Killed(command.spawn().expect("the target starts"));
        let urls = child.urls(listen.iter().chain(flags).filter(|flag| **flag == "--listen").count());
        Self { child, urls }
    }

    fn url(&self) -> &str {
        &self.urls[0]
    }

    /// Ends it, and gives back how long that took and what it has said on stderr.
    fn end(mut self, signal: Signal) -> (Duration, String) {
        let begun = Instant::now();
        kill_process(Pid::from_child(&self.child.0), signal).unwrap();
        let mut log = String::new();
        self.child.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        let status = self.child.0.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{log}");
        (begun.elapsed(), log)
    }
}

fn initiator(words: &[&str]) -> Output {
    with_secrets(words, &[])
}

fn with_secrets(words: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_iscsi-initiator"))
        .args(words)
        .envs(variables.iter().copied())
        .output()
        .expect("the initiator starts")
}

/// What it says on stdout, if it ends with 0.
fn said(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What it says on stderr, one line, if it ends with `code`.
fn refused(output: Output, code: i32) -> String {
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

#[test]
fn reservations_are_seen_and_changed_and_outlive_the_target() {
    let folder = TempDir::new().unwrap();
    let state = folder.path().join("state");
    let target = Target::start(&["--lun", "memory:1M", "--state", path(&state)]);
    let as_host = |host: &str, url: &str, words: &[&str]| {
        let name = format!("iqn.2026-01.io.ferriscsi:{host}");
        initiator(&[&["persist"], words, &["--json", "--initiator-name", &name, url]].concat())
    };
    let url = target.url().to_owned();
    let one = |words: &[&str]| said(as_host("one", &url, words));
    assert!(one(&["capabilities"]).contains(r#""can_persist":true"#));
    one(&["register", "--new-key", "0xa1", "--persist"]);
    said(as_host("two", &url, &["register", "--new-key", "178", "--persist"]));
    one(&["reserve", "--key", "0xa1", "--type", "exclusive-access"]);
    let conflict = as_host("two", &url, &["reserve", "--key", "178", "--type", "exclusive-access"]);
    assert!(refused(conflict, 5).contains("RESERVATION CONFLICT"));
    let before: Value = serde_json::from_str(&one(&["status"])).unwrap();
    drop(target);

    let target = Target::start(&["--lun", "memory:1M", "--state", path(&state)]);
    let url = target.url().to_owned();
    let one = |words: &[&str]| said(as_host("one", &url, words));
    let after: Value = serde_json::from_str(&one(&["status"])).unwrap();
    assert_eq!(after["registrations"], before["registrations"]);
    let registrations = after["registrations"].as_array().unwrap();
    assert_eq!(registrations.len(), 2);
    assert_eq!((&registrations[0]["key"], &registrations[0]["holds"]), (&"0xa1".into(), &"exclusive access".into()));
    one(&[
        "move",
        "--key",
        "0xa1",
        "--new-key",
        "178",
        "--initiator-port",
        registrations[1]["initiator_port"].as_str().unwrap(),
    ]);
    assert!(one(&["reservation"]).contains("0xb2"));
    let two = |words: &[&str]| said(as_host("two", &url, words));
    two(&["release", "--key", "0xb2", "--type", "exclusive-access"]);
    two(&["preempt", "--key", "0xb2", "--victim", "0xa1", "--type", "write-exclusive", "--abort"]);
    assert!(one(&["keys"]).contains(r#""keys":["0xb2"]"#));
    two(&["clear", "--key", "0xb2"]);
    assert!(one(&["keys"]).contains(r#""keys":[]"#));
    drop(target);

    let record = fs::read_dir(&state).unwrap().next().unwrap().unwrap().path();
    fs::write(&record, "damaged").unwrap();
    let target = Target::start(&["--lun", "memory:1M", "--state", path(&state)]);
    let url = target.url().to_owned();
    assert!(refused(as_host("two", &url, &["keys"]), 5).contains("PERSISTENT RESERVATION INFORMATION LOST"));
    let replace = ["replace", "--new-key", "0xc3", "--type", "write-exclusive", "--persist"];
    said(as_host("one", &url, &replace));
    assert!(said(as_host("two", &url, &["reservation"])).contains("0xc3"));
    refused(as_host("two", &url, &replace), 5);
    drop(target);

    fs::rename(&record, record.with_extension("mode")).unwrap();
    let words = ["--listen", "127.0.0.1:0", "--lun", "memory:1M", "--state", path(&state)];
    let output = iscsi_target().args(words).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(6), "{error}");
    assert!(error.contains("is damaged") && error.contains("remove it to start without"), "{error}");
}

/// Bytes of memory that a target has with a disk: what it has touched, and what it has taken as its own.
fn memory_with(lun: &str) -> [u64; 2] {
    let target = Target::start(&["--lun", lun]);
    let status = fs::read_to_string(format!("/proc/{}/status", target.child.0.id())).unwrap();
    ["VmRSS:", "VmData:"].map(|name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux tells of memory");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    })
}

/// One bit for each chunk of 64 KiB would be 2 GiB.
#[test]
fn a_disk_of_a_pebibyte_takes_no_more_memory_at_start_than_one_of_a_gibibyte() {
    let folder = TempDir::new().unwrap();
    let file = |name: &str| format!("file:{}", path(&folder.path().join(name)));
    let kinds = [
        ("memory:1G".to_owned(), "memory:1P".to_owned()),
        ("null:1G".to_owned(), "null:1P".to_owned()),
        ("memory:1G,pi=1".to_owned(), "memory:1P,pi=1".to_owned()),
        // As large as file systems let a file be.
        (file("small") + ",size=1G", file("large") + ",size=8T"),
    ];
    for (small, large) in kinds {
        let (least, most) = (memory_with(&small), memory_with(&large));
        for (least, most) in least.into_iter().zip(most) {
            assert!(most <= least + (8 << 20), "{large} takes {most} bytes, {small} {least}");
        }
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}

/// A sparse image of 16 MiB with islands of data, one of them across a chunk.
fn image(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("image");
    let file = File::create(&path).unwrap();
    file.set_len(16 << 20).unwrap();
    for (offset, length) in [(0, 5000), (512 * 1024 - 100, 70_000), (9 << 20, 1 << 20)] {
        let data: Vec<u8> = (0..length).map(|index| (index % 251 + 1) as u8).collect();
        file.write_all_at(&data, offset).unwrap();
    }
    path
}

#[test]
fn a_disk_is_found_described_and_measured() {
    let target = Target::start(&["--lun", "memory:16M", "--lun", "memory:32M,block=4096,serial=second"]);
    let portal = &target.url()[..target.url().find("/iqn").unwrap()];
    let target_url = target.url().strip_suffix("/0").unwrap();

    assert_eq!(said(initiator(&["discover", portal])).trim_end(), target_url);
    let luns: Value = serde_json::from_str(&said(initiator(&["luns", "--json", target_url]))).unwrap();
    assert_eq!(luns[1], serde_json::json!({ "lun": "1", "bytes": 32 << 20, "blocks": 8192, "block_size": 4096 }));
    let luns = said(initiator(&["luns", target_url]));
    assert!(luns.contains("16 MiB") && luns.contains("32 MiB") && luns.contains("4096"), "{luns}");
    let capacity: Value = serde_json::from_str(&said(initiator(&["capacity", "--json", target.url()]))).unwrap();
    assert_eq!((&capacity["bytes"], &capacity["blocks"]), (&16_777_216.into(), &32_768.into()));

    let second = format!("{target_url}/1");
    let text = said(initiator(&["inquiry", &second]));
    for words in ["VPD page 80h", "second", "VPD page b2h", "unmapped blocks read as   zeros"] {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
    let json: Value = serde_json::from_str(&said(initiator(&["inquiry", "--json", &second]))).unwrap();
    assert_eq!(json["pages"]["80"]["unit_serial_number"], "second");
    assert_eq!(json["standard"]["device_type"], "disk");

    let ping = said(initiator(&["ping", "--count", "2", "--interval", "1ms", target.url()]));
    assert_eq!(ping.lines().filter(|line| line.starts_with("answer ")).count(), 2);
    let (took, _) = target.end(Signal::TERM);
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn an_image_goes_there_and_back_and_stays_sparse() {
    let folder = TempDir::new().unwrap();
    let image = image(&folder);
    let disk = folder.path().join("disk");
    let target = Target::start(&["--lun", &format!("file:{},size=20M", path(&disk)), "--lun", "memory:16M"]);
    let second = target.url().strip_suffix("/0").unwrap().to_owned() + "/1";

    // What was there before is overwritten, its blocks given back.
    let bench = ["bench", "--rw", "write", "--block-size", "1M", "--runtime", "300ms", target.url()];
    said(initiator(&bench));
    let before = fs::metadata(&disk).unwrap().blocks();
    let words = said(initiator(&["copy", "--verify", path(&image), target.url()]));
    assert!(words.contains("copied 16 MiB") && words.contains("verified 16 MiB"), "{words}");
    assert!(fs::metadata(&disk).unwrap().blocks() < before);
    assert!(fs::read(&disk).unwrap()[..16 << 20] == fs::read(&image).unwrap());

    said(initiator(&["copy", "--verify", "--size", "16M", target.url(), &second]));
    let back = folder.path().join("back");
    fs::write(&back, vec![0xff; 30 << 20]).unwrap();
    said(initiator(&["copy", "--verify", &second, path(&back)]));
    assert!(fs::read(&back).unwrap() == fs::read(&image).unwrap());
    assert!(fs::metadata(&back).unwrap().blocks() * 512 < 3 << 20, "holes are kept");

    said(initiator(&["compare", path(&image), &second]));
    let changed = OpenOptions::new().write(true).open(&back).unwrap();
    changed.write_all_at(b"x", 9_999_999).unwrap();
    let error = refused(initiator(&["compare", &second, path(&back)]), 1);
    assert!(error.contains("first at byte 9999999"), "{error}");
}

#[test]
fn a_target_copies_between_its_disks_by_itself() {
    let folder = TempDir::new().unwrap();
    let image = image(&folder);
    let target = Target::start(&["--lun", "memory:40M", "--lun", "memory:40M,block=4096", "--lun", "memory:40M,pi=1"]);
    let lun = |number: &str| format!("{}/{number}", target.url().strip_suffix("/0").unwrap());
    said(initiator(&["copy", path(&image), target.url()]));
    // More than one command, the last of them shorter.
    let words = said(initiator(&["copy", "--offload", "--verify", "--size", "37M", target.url(), &lun("1")]));
    assert!(words.contains("copied 37 MiB") && words.contains("by the target"), "{words}");
    assert!(words.contains("verified 37 MiB"), "{words}");
    said(initiator(&["compare", path(&image), &lun("1")]));

    let elsewhere = Target::start(&["--lun", "memory:40M,serial=elsewhere"]);
    let refusals: [(&[&str], i32, &str); 4] = [
        (&[path(&image), &lun("1")], 2, "is a file"),
        (&["--size", "512", target.url(), &lun("1")], 2, "whole blocks of 4096"),
        (&[target.url(), elsewhere.url()], 5, "COPY TARGET DEVICE NOT REACHABLE"),
        (&[target.url(), &lun("2")], 5, "INVALID COMMAND OPERATION CODE"),
    ];
    for (words, code, text) in refusals {
        let error = refused(initiator(&[&["copy", "--offload"], words].concat()), code);
        assert!(error.contains(text), "{words:?}: {error}");
    }
}

#[test]
fn copies_that_cannot_be_say_why() {
    let folder = TempDir::new().unwrap();
    let image = image(&folder);
    let small = Target::start(&["--lun", "memory:1M"]);
    let expected: [(&[&str], i32, &str); 6] = [
        (&["copy", path(&image), small.url()], 2, "has 1 MiB, and"),
        (&["copy", "/nowhere/image", small.url()], 6, "/nowhere/image: No such file"),
        (&["copy", path(&image), path(&image)], 2, "is the source itself"),
        (&["copy", path(&image), small.url().strip_suffix("/0").unwrap()], 2, "names no logical unit"),
        (&["copy", &small.url().replace("/0", "/9"), "/dev/null"], 5, "LOGICAL UNIT NOT SUPPORTED"),
        (&["compare", "--size", "2M", small.url(), path(&image)], 2, "--size 2097152"),
    ];
    for (words, code, text) in expected {
        let error = refused(initiator(words), code);
        assert!(error.contains(text), "{words:?}: {error}");
    }
    let url = small.url().to_owned();
    small.end(Signal::INT);
    let error = refused(initiator(&["capacity", &url]), 3);
    assert!(error.contains("is the target running"), "{error}");
    let error = refused(initiator(&["capacity", "--timeout", "1s", "iscsi://host.invalid/iqn.2026-01.a:b/0"]), 3);
    assert!(error.contains("host.invalid"), "{error}");
}

#[test]
fn blocks_are_filled_shown_given_back_and_sanitized() {
    let target = Target::start(&["--lun", "memory:8M", "--lun", "memory:1M,pi=1,serial=protected"]);
    let url = target.url();
    for words in [&["unmap"][..], &["writesame"], &["sanitize"]] {
        let error = refused(initiator(&[words, &[url]].concat()), 2);
        assert!(error.contains("--yes"), "{error}");
    }
    said(initiator(&["writesame", "--lba", "256", "--blocks", "256", "--fill", "7", "--yes", url]));
    let states_of = |url: &str| -> Vec<(u64, u64, String)> {
        let list: Value = serde_json::from_str(&said(initiator(&["lbastatus", "--json", url]))).unwrap();
        let number = |run: &Value, name: &str| run[name].as_u64().unwrap();
        let run = |run: &Value| (number(run, "lba"), number(run, "blocks"), run["state"].as_str().unwrap().to_owned());
        list.as_array().unwrap().iter().map(run).collect()
    };
    let states = || states_of(url);
    let (mapped, deallocated) = ("mapped".to_owned(), "deallocated".to_owned());
    let rest = (512, 16384 - 512, deallocated.clone());
    assert_eq!(states(), [(0, 256, deallocated.clone()), (256, 256, mapped.clone()), rest.clone()]);
    said(initiator(&["unmap", "--lba", "256", "--blocks", "128", "--yes", url]));
    assert_eq!(states(), [(0, 384, deallocated.clone()), (384, 128, mapped.clone()), rest]);
    said(initiator(&["sanitize", "--method", "overwrite", "--fill", "170", "--passes", "2", "--yes", url]));
    assert_eq!(states(), [(0, 16384, mapped)]);
    let done = said(initiator(&["sanitize", "--json", "--yes", url]));
    assert_eq!(done.trim(), r#"{"sanitize":"done"}"#);
    assert_eq!(states(), [(0, 16384, deallocated.clone())]);
    let protected = url.replace("/0", "/1");
    assert!(said(initiator(&["verify", &protected])).contains("verified: 2048 blocks"));
    assert_eq!(states_of(&protected), [(0, 2048, deallocated)]);
}

#[test]
fn access_states_are_seen_and_changed_through_either_portal() {
    let folder = TempDir::new().unwrap();
    let state = folder.path().join("state");
    let flags = [
        &["--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0,group=7", "--lun", "memory:1M"][..],
        &["--portal-group", "7=non-optimized,preferred", "--management-url", "https://192.0.2.1/"],
        &["--state", path(&state)],
    ]
    .concat();
    let json = |words: &[&str], url: &str| -> Value {
        serde_json::from_str(&said(initiator(&[words, &["--json", url]].concat()))).unwrap()
    };
    let target = Target::start(&flags);
    let [near, far] = [0, 1].map(|portal| target.urls[portal].clone());
    let told = json(&["alua"], &far);
    assert_eq!((&told["port"], &told["group"]), (&7.into(), &7.into()));
    let states = |told: &Value| [0, 1].map(|group: usize| told["groups"][group]["state"].as_str().unwrap().to_owned());
    assert_eq!(states(&told), ["active/optimized", "active/non-optimized"]);
    assert_eq!(told["groups"][1]["preferred"], true);
    assert_eq!(states(&json(&["alua", "--set", "7=standby", "--set", "1=non-optimized"], &near))[1], "standby");
    assert!(refused(initiator(&["verify", &far]), 5).contains("TARGET PORT IN STANDBY STATE"));
    said(initiator(&["verify", &near]));
    assert!(said(initiator(&["alua", &near])).contains("1 (ours)"));
    assert!(refused(initiator(&["alua", "--set", "3=standby", &near]), 5).contains("INVALID FIELD IN PARAMETER LIST"));
    let pages = &json(&["inquiry"], &far)["pages"];
    assert_eq!(pages["88"]["ports"][1]["identifier"], 7);
    assert_eq!(pages["85"]["addresses"][0]["address"], "https://192.0.2.1/");
    assert_eq!(pages["87"]["policies"][0]["policy"], "shared");
    let portal = near.split("/iqn.").next().unwrap();
    let found = said(initiator(&["discover", portal]));
    assert_eq!(found.lines().count(), 2, "{found}");
    drop(target);
    let target = Target::start(&flags);
    assert_eq!(states(&json(&["alua"], target.url())), ["active/non-optimized", "standby"]);
}

#[test]
fn commands_modes_and_logs_are_shown_and_fields_set() {
    let target = Target::start(&["--lun", "memory:8M"]);
    let json = |words: &[&str]| -> Value {
        serde_json::from_str(&said(initiator(&[words, &["--json", target.url()]].concat()))).unwrap()
    };
    let supported = json(&["opcodes"]);
    let has = |name: &str| supported["commands"].as_array().unwrap().iter().any(|command| command["name"] == name);
    assert!(has("READ (10)") && has("LOG SENSE") && has("SET TIMESTAMP") && !has("PREVENT ALLOW MEDIUM REMOVAL"));
    let functions = supported["task_management_functions"].as_array().unwrap();
    assert!(functions.contains(&"LOGICAL UNIT RESET".into()));
    assert!(said(initiator(&["opcodes", target.url()])).contains("READ CAPACITY (16)"));

    let field = |modes: &Value, name: &str| {
        modes.as_array().unwrap().iter().find(|line| line["field"] == name).unwrap().clone()
    };
    let before = field(&json(&["modes"]), "WCE");
    assert_eq!((&before["current"], &before["changeable"], &before["saved"]), (&0.into(), &1.into(), &Value::Null));
    let after = json(&["modes", "--set", "wce=1", "--set", "QERR=1"]);
    assert_eq!((&field(&after, "WCE")["current"], &field(&after, "WCE")["default"]), (&1.into(), &0.into()));
    assert_eq!(field(&json(&["modes"]), "QERR")["current"], 1);
    assert!(said(initiator(&["modes", target.url()])).contains("write cache enable"));
    assert!(refused(initiator(&["modes", "--set", "TST=0", target.url()]), 5).contains("cannot be changed"));
    assert!(refused(initiator(&["modes", "--set", "WCE=1", "--save", target.url()]), 5).contains("cannot be saved"));

    said(initiator(&["verify", target.url()]));
    let counts = &json(&["logs", "--reset"])["19"];
    assert!(counts["read_commands"].as_u64().unwrap() > 0, "{counts}");
    assert_eq!(json(&["logs"])["19"]["read_commands"], 0);
    assert!(said(initiator(&["logs", target.url()])).contains("Log page 02h, write error counters"));
}

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

#[test]
fn load_is_verified_and_reported() {
    let target = Target::start(&["--lun", "memory:8M", "--listen", "127.0.0.1:0", "--listen", "[::1]:0"]);
    for rw in ["randread", "randwrite", "randrw", "read", "write"] {
        let words = ["bench", "--rw", rw, "--runtime", "100ms", "--jobs", "2", "--verify", "--json", &target.urls[1]];
        let report: Value = serde_json::from_str(&said(initiator(&words))).unwrap();
        assert!(report["iops"].as_f64().unwrap() > 0.0 && report["mib_s"].as_f64().unwrap() > 0.0, "{report}");
        assert!(report["latency_us"]["p99"].as_f64().unwrap() >= report["latency_us"]["p50"].as_f64().unwrap());
        assert!(report["verified_bytes"].as_u64().unwrap() > 0, "{report}");
        assert_eq!(report["read"].is_null(), rw.ends_with("write"), "{report}");
    }
    let digests = ["--header-digest", "crc32c", "--data-digest", "crc32c", "--runtime", "100ms", "--verify"];
    let text = said(initiator(&[&["bench", "--rw", "randrw", target.url()], &digests[..]].concat()));
    assert!(text.contains("both") && text.contains("MiB verified"), "{text}");
    let own = said(initiator(&["bench", "--runtime", "100ms", "--size", "4M"]));
    let within =
        ["bench", "--port", "loopback", "--jobs", "3", "--runtime", "100ms", "--size", "4M", "--verify", "--json"];
    for rw in ["randread", "randwrite", "randrw"] {
        let report: Value = serde_json::from_str(&said(initiator(&[&within[..], &["--rw", rw]].concat()))).unwrap();
        assert!(report["verified_bytes"].as_u64() > Some(0), "{report}");
    }
    assert!(own.contains("target in this process"), "{own}");
    refused(initiator(&["bench", "--block-size", "6000", target.url()]), 2);
}

#[test]
fn load_goes_through_an_adapter_in_software() {
    let load =
        ["bench", "--port", "t5-model", "--jobs", "3", "--iodepth", "8", "--runtime", "100ms", "--verify", "--json"];
    for rw in ["randread", "randwrite", "randrw"] {
        let words = [&load[..], &["--rw", rw, "--size", "6M"]].concat();
        let report: Value = serde_json::from_str(&said(initiator(&words))).unwrap();
        let adapter = |name: &str| report["adapter"][name].as_u64().unwrap_or_else(|| panic!("{name}: {report}"));
        assert!(report["iops"].as_f64().unwrap() > 0.0 && report["verified_bytes"].as_u64().unwrap() > 0, "{report}");
        assert!(adapter("bytes_placed") > 0, "reads are placed: {report}");
        assert!(
            adapter("digests_checked") > 0 && adapter("digests_checked") == adapter("digests_inserted"),
            "{report}"
        );
        assert!(adapter("frames_inside") > 0, "{report}");
        assert_eq!((adapter("digests_wrong"), adapter("frames_on_the_wire")), (0, 0), "{report}");
    }
    let long = [&load[..], &["--rw", "randwrite", "--size", "24M", "--block-size", "1M"]].concat();
    let report: Value = serde_json::from_str(&said(initiator(&long))).unwrap();
    assert!(report["adapter"]["bytes_placed"].as_u64() > report["verified_bytes"].as_u64(), "writes too: {report}");
}

#[test]
fn load_goes_through_the_firmware_of_an_adapter_in_software() {
    let firmware = ["bench", "--port", "t5-model", "--initiator", "firmware", "--runtime", "100ms", "--verify"];
    for rw in ["randread", "randwrite", "randrw"] {
        let words = [&firmware[..], &["--jobs", "3", "--iodepth", "8", "--size", "6M", "--json", "--rw", rw]].concat();
        let report: Value = serde_json::from_str(&said(initiator(&words))).unwrap();
        let adapter = |name: &str| report["adapter"][name].as_u64().unwrap_or_else(|| panic!("{name}: {report}"));
        assert!(report["latency_us"]["p99"].as_f64().unwrap() > 0.0, "{report}");
        assert!(report["verified_bytes"].as_u64().unwrap() > 0, "{report}");
        assert!(report["target"].as_str().unwrap().contains("firmware"), "{report}");
        assert!(adapter("bytes_placed") >= report["verified_bytes"].as_u64().unwrap(), "{report}");
        assert!(adapter("digests_checked") > 0, "{report}");
        assert_eq!(adapter("digests_checked"), adapter("digests_inserted"), "{report}");
        assert_eq!((adapter("digests_wrong"), adapter("frames_on_the_wire")), (0, 0), "{report}");
    }
    assert!(refused(initiator(&["bench", "--initiator", "firmware"]), 2).contains("--port t5-model"));
    for (words, expected) in [(["--jobs", "65"], "64 sessions"), (["--block-size", "2M"], "1 MiB")] {
        assert!(refused(initiator(&[&firmware[..], &words].concat()), 2).contains(expected));
    }
}

#[test]
fn an_adapter_has_a_cable_and_a_cable_an_adapter() {
    let url = "iscsi://192.0.2.1/iqn.2026-01.a:b/0";
    let cable = ["--tap", "t5", "--address", "192.0.2.4/24"];
    let cases: [(Vec<&str>, &str); 5] = [
        (vec!["capacity", "--port", "t5-model", url], "add --tap NAME and --address IP/PREFIX"),
        (vec!["bench", "--port", "t5-model", url], "add --tap NAME and --address IP/PREFIX"),
        ([&["inquiry", url][..], &cable].concat(), "add --port t5-model"),
        (vec!["discover", "--port", "loopback", "iscsi://192.0.2.1"], "it is for bench without URL"),
        (vec!["bench", "--port", "loopback", "--threads", "2"], "--threads is for --port kernel"),
    ];
    for (words, expected) in cases {
        let error = refused(initiator(&words), 2);
        assert!(error.contains(expected), "{words:?}: {error}");
    }
}

#[test]
fn the_experiment_measures_draws_and_tells() {
    let folder = TempDir::new().unwrap();
    let figure = folder.path().join("figure1.svg");
    let experiment = |words: &[&str]| {
        let short = ["--runtime", "20ms", "--size", "8M", "--jobs", "2", "--iodepth", "8", "--figure"];
        said(Command::new(env!("CARGO_BIN_EXE_experiment")).args(short).arg(&figure).args(words).output().unwrap())
    };
    let text = experiment(&[]);
    for words in
        ["T5 in software", "kernel's TCP", "loopback port", "random READ/WRITE, 64 KiB", " 0 wrong", " 0 on the wire"]
    {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
    let picture = fs::read_to_string(&figure).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("random READ/WRITE"), "{picture}");

    // What was measured is not lost with the figure.
    let words =
        ["--json", "--full", "--way", "loopback", "--runtime", "5ms", "--size", "8M", "--figure", "/nowhere/f.svg"];
    let output = Command::new(env!("CARGO_BIN_EXE_experiment")).args(words).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((report["measurements"].as_array().unwrap().len(), &report["jobs"]), (15, &32.into()));
    assert!(report["figure"].is_null() && refused(output, 6).contains("--figure /nowhere/f.svg: "));

    let device = folder.path().join("disk");
    File::create(&device).unwrap().set_len(8 << 20).unwrap();
    let text = experiment(&["--json", "--way", "loopback", "--device", device.to_str().unwrap(), "--yes"]);
    let report: Value = serde_json::from_str(&text).unwrap();
    let measurements = report["measurements"].as_array().unwrap();
    assert_eq!((measurements.len(), &report["faults"]), (15, &serde_json::json!([])), "{text}");
    assert!(measurements.iter().all(|one| one["report"]["verified_bytes"].as_u64() > Some(0)), "{text}");
    assert!(report["adapter"].is_null() && fs::read(&device).unwrap().iter().any(|byte| *byte != 0));
}

#[test]
fn a_job_file_of_fio_runs_and_reports_as_fio_does() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("jobs.fio");
    let jobs = "[global]\nioengine=libaio\ntime_based\nruntime=60\nsize=4m\niodepth=8\nnumjobs=2\ngroup_reporting\ncpus_allowed=0\n\
                [a]\nrw=randread\nstonewall\n[b]\nrw=randrw\nbs=8k\nverify=crc32c\nstonewall\n[c]\nrw=write\nbs=64k\n";
    fs::write(&file, jobs).unwrap();
    let words = ["bench", "--runtime", "100ms", "--fio", file.to_str().unwrap()];
    let output = initiator(&[&words[..], &["--json"]].concat());
    let notes = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(notes.contains("note: ioengine is left out: "), "{notes}");
    assert!(notes.contains("stage 2 of 2: b, c, 100ms"), "{notes}");
    let report: Value = serde_json::from_str(&said(output)).unwrap();
    let told: Vec<_> =
        report["jobs"].as_array().unwrap().iter().map(|job| (&job["jobname"], &job["groupid"])).collect();
    assert_eq!(told, [(&"a".into(), &0.into()), (&"b".into(), &1.into()), (&"c".into(), &1.into())], "{report}");
    assert!(report["jobs"][1]["write"]["clat_ns"]["percentile"]["99.000000"].as_u64() > Some(0), "{report}");
    assert_eq!(report["global options"]["ioengine"], "libaio");

    let target = Target::start(&["--lun", "memory:16M", "--cores", "cpu:0"]);
    let text = said(initiator(&[&words[..], &[target.url()]].concat()));
    assert!(
        text.contains("a: (groupid=0, jobs=2): err= 0") && text.contains("Run status group 1 (all jobs):"),
        "{text}"
    );

    fs::write(&file, "[a]\nrw=randwrite\nsize=1m\nloops=3\nnumjobs=2\nverify=crc32c\n[b]\nrw=read\nsize=1m\n").unwrap();
    let report: Value =
        serde_json::from_str(&said(initiator(&["bench", "--json", "--fio", file.to_str().unwrap()]))).unwrap();
    let moved = |job: usize, way: &str| report["jobs"][job][way]["io_bytes"].as_u64().unwrap();
    assert_eq!((moved(0, "write"), moved(1, "read")), (6 << 20, 1 << 20), "{report}");
    assert!(report["jobs"][0]["iodepth_level"]["1"].as_f64() > Some(99.9), "{report}");

    for (port, more) in [("t5-model", &["--initiator", "firmware"][..]), ("t5-model", &[]), ("loopback", &[])] {
        let words = [&["bench", "--json", "--port", port, "--fio", file.to_str().unwrap()], more].concat();
        let output = initiator(&words);
        let counters = String::from_utf8(output.stderr.clone()).unwrap();
        assert_eq!(counters.contains("adapter: "), port == "t5-model", "{counters}");
        let report: Value = serde_json::from_str(&said(output)).unwrap();
        let moved = |job: usize, way: &str| report["jobs"][job][way]["io_bytes"].as_u64().unwrap();
        assert_eq!((moved(0, "write"), moved(1, "read")), (6 << 20, 1 << 20), "{report}");
    }

    fs::write(&file, "[a]\nrw=sideways\n").unwrap();
    let output = initiator(&["bench", "--fio", file.to_str().unwrap()]);
    let told = String::from_utf8(output.stderr.clone()).unwrap();
    refused(output, 2);
    assert!(told.contains("jobs.fio: line 2: rw: expected read, write, rw, randread"), "{told}");
}

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
