//! What job files ask for, and what is wrong with them.

use crate::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::time::Duration;

/// The file of the paper as it is printed.
const PAPER: &str = include_str!("../../../tests/paper/fio_config_file");

fn read(text: &str) -> Result<JobFile, FileError> {
    text.parse()
}

#[test]
fn the_job_of_the_paper_is_read() {
    let JobFile { stages, global, notes } = read(PAPER).unwrap();
    let [Stage(jobs)] = &stages[..] else { panic!("{stages:?}") };
    let [job] = &jobs[..] else { panic!("{jobs:?}") };
    assert_eq!((job.name.as_str(), job.rw, job.block_size), ("random_read_4k", Direction::Randread, 4096));
    assert_eq!((job.iodepth, job.numjobs, job.runtime), (64, 32, Some(Duration::from_secs(60))));
    assert_eq!((job.bytes, job.cpus.as_deref()), (Some(1 << 30), Some(&[0, 1][..])));
    let left_out: Vec<&str> = notes.iter().filter_map(|note| note.split(' ').next()).collect();
    assert_eq!(left_out, ["ioengine", "direct", "ioscheduler", "filename"]);
    assert!(job.group_reporting);
    let names: Vec<&str> = job.options.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["rw", "bs", "filename", "stonewall"]);
    assert!(global.contains(&("ioengine".into(), "libaio".into())));
}

#[test]
fn a_job_without_time_is_bounded_by_its_size() {
    let JobFile { stages, .. } = read("[a]\nsize=1m\n[b]\nloops=3\nruntime=5\n").unwrap();
    let [a, b] = &stages[0].0[..] else { panic!("{stages:?}") };
    assert_eq!((a.time_based, a.bytes, a.loops, a.runtime), (false, Some(1 << 20), 1, None));
    assert_eq!((b.time_based, b.bytes, b.loops, b.runtime), (false, None, 3, Some(Duration::from_secs(5))));
}

#[test]
fn a_disk_is_large_enough_for_each_stage() {
    let bytes = |text| read(text).unwrap().bytes();
    assert_eq!(bytes("[a]\n"), None);
    assert_eq!(bytes("[a]\nsize=1m\n[b]\nsize=3m\n[c]\nstonewall\nsize=4m\n"), Some(6 << 20));
    let huge = read("[a]\nsize=8388607T\n[b]\n[c]\n").unwrap_err().to_string();
    let told = "expected jobs that use less than 8 EiB together";
    assert_eq!(huge, format!("line 3: {told}\nline 4: {told}"));
}

#[test]
fn a_stonewall_begins_a_stage() {
    let text = "[global]\ntime_based\nruntime=1s\n[a]\n[b]\nrw=randwrite\n[c]\nstonewall\nbs=64KiB\n[d]\nrwmixwrite=70\nrw=rw\n";
    let JobFile { stages, notes, .. } = read(text).unwrap();
    let names: Vec<Vec<&str>> =
        stages.iter().map(|stage| stage.0.iter().map(|job| job.name.as_str()).collect()).collect();
    assert_eq!(names, [["a", "b"], ["c", "d"]]);
    let (c, d) = (&stages[1].0[0], &stages[1].0[1]);
    assert_eq!((c.block_size, c.rw), (65536, Direction::Read));
    assert_eq!((d.block_size, d.rw, d.read_percent), (4096, Direction::Rw, 30));
    assert!(notes.is_empty());
}

#[test]
fn each_fault_says_where_it_is_and_what_was_expected() {
    let cases = [
        ("", "line 1: expected the [NAME] of a job"),
        (
            "rw=read\n[a]\ntime_based\nruntime=1",
            "line 1: expected [global] or the [NAME] of a job before the first option",
        ),
        ("[a\n", "line 1: expected [NAME]"),
        ("[a]\ntime_based\n", "line 1: [a]: time_based expects runtime=TIME, here or in [global]"),
        (
            "[a]\nruntime=x\nloops=0\n",
            "line 2: runtime: expected a time such as 500ms, 5s, 2m or 1h, at most 24h\nline 3: loops: expected a number from 1 to 1000000",
        ),
        (
            "[a]\ntime_based\nruntime=1\nrw=trim\nbs=5\niodepth=0\nnumjobs=x\nsize=all\nrwmixread=101\ncpus_allowed=3-1\nrw\n",
            "line 4: rw: expected read, write, rw, randread, randwrite or randrw\n\
             line 5: bs: expected a size from 512 to 16M\n\
             line 6: iodepth: expected a number from 1 to 4096\n\
             line 7: numjobs: expected a number from 1 to 256\n\
             line 8: size: expected a size such as 4096, 4k, 64M or 1G\n\
             line 9: rwmixread: expected a number from 0 to 100\n\
             line 10: cpus_allowed: expected processors, such as 0,1 or 0-3\n\
             line 11: rw: {UNKNOWN}",
        ),
        (
            "[a]\ntime_based=yes\nruntime=1\nfsync=1\n",
            "line 2: time_based: expected 0, 1 or nothing\nline 4: fsync: {UNKNOWN}",
        ),
    ];
    for (text, expected) in cases {
        let expected = expected.replace("{UNKNOWN}", crate::option::UNKNOWN);
        assert_eq!(read(text).unwrap_err().to_string(), expected, "{text}");
    }
    let seeds = read("[a]\nrandseed=-1\nnorandommap=2\n").unwrap_err().to_string();
    assert_eq!(seeds, "line 2: randseed: expected a number of 64 bits\nline 3: norandommap: expected 0, 1 or nothing");
    let many = read(&"[\n".repeat(1000)).unwrap_err().to_string();
    assert!(many.ends_with("\nand 980 more"), "{many}");
}

#[test]
fn random_places_come_once_unless_the_file_says_otherwise() {
    let JobFile { stages, notes, .. } = read("[a]\nrandseed=7\n[b]\nnorandommap\n[c]\nnorandommap=0\n").unwrap();
    let told: Vec<_> = stages[0].0.iter().map(|job| (job.random_map, job.random_seed)).collect();
    assert_eq!(told, [(true, Some(7)), (false, None), (true, None)]);
    assert!(notes.is_empty());
}

#[test]
fn a_file_has_a_bound_in_length_and_in_jobs() {
    let many = |count| read(&"[a]\n".repeat(count));
    assert_eq!(many(JOBS_MAX).unwrap().stages[0].0.len(), JOBS_MAX);
    assert_eq!(many(JOBS_MAX + 1).unwrap_err().to_string(), "line 1001: expected at most 1000 jobs");
    let comment = |length| read(&["[a]\n", &"#".repeat(length)].concat());
    assert!(comment(FILE_BYTES_MAX - 4).is_ok());
    let expected = "line 1: expected a file of at most 1048576 bytes, found 1048577";
    assert_eq!(comment(FILE_BYTES_MAX - 3).unwrap_err().to_string(), expected);
    let processors = ["[global]\ncpus_allowed=", &"0-1023,".repeat(140_000), "0\n[a]\n"].concat();
    assert_eq!(read(&processors).unwrap().stages[0].0[0].cpus.as_ref().map(Vec::len), Some(1024));
}

#[test]
fn what_is_left_out_is_noted_once() {
    let text =
        "[a]\ntime_based\nruntime=1s\nnumjobs=2\ndirect=1\nverify=crc32c\n[b]\ntime_based\nruntime=1s\ndirect=0\n";
    let notes = [
        "direct is left out: no page cache of this machine is in the way",
        "verify checks each block against our own pattern, whichever way is asked for",
        "the processes of a job are reported together, as with group_reporting",
    ];
    assert_eq!(read(text).unwrap().notes, notes);
}

proptest! {
    /// Text of anybody costs a value or an error, and no more faults than are told.
    #[test]
    fn any_text_is_judged(text in "\\PC{0,200}") {
        drop(read(&text));
    }

    #[test]
    fn any_lines_are_judged(lines in vec("(\\[|\\]|global|rw|bs|size|runtime|numjobs|cpus_allowed|time_based|=|-|,|[0-9]{1,20}|k|G|\u{e9}| ){0,6}", 0..60)) {
        if let Err(error) = read(&lines.join("\n")) {
            prop_assert!((1..=FAULTS_MAX + 1).contains(&error.to_string().lines().count()));
        }
    }
}
