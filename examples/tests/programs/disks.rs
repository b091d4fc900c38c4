//! What `iscsi-initiator` does with disks of a target: finds them, describes them, copies, fills, shows and changes them.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::support::{Target, initiator, iscsi_target, path, refused, said};

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
