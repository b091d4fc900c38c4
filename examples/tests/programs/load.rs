//! Loads: `iscsi-initiator bench` by each way, the experiment, and job files of fio.

use std::fs::{self, File};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::support::{Target, initiator, refused, said};

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
