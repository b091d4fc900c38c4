//! `cop` as a person meets it: the steps of the founding paper, errors, and questions.

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use t5_policy::{Opening, Program};
use tempfile::TempDir;

fn cop(folder: &TempDir, words: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cop"))
        .current_dir(folder)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("cop starts");
    // Who has enough ends before all is written.
    drop(child.stdin.take().expect("stdin is a pipe").write_all(input.as_bytes()));
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

/// `echo "any => offload ddp bind random" > cop.conf; cop -d -o cop.out cop.conf`, as the paper has it.
#[test]
fn the_papers_policy_is_compiled() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("cop.conf"), "any => offload ddp bind random\n").unwrap();
    let output = cop(&folder, &["-d", "-o", "cop.out", "cop.conf"], "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = "rule 1: any => offload ddp bind random\nrule 2: any => !offload (implied)\nbegin with rule 1\n";
    assert_eq!(text(&output.stdout), shown);
    let program = Program::from_bytes(&fs::read(folder.path().join("cop.out")).unwrap()).unwrap();
    assert_eq!(program.text(1), Some("any => offload ddp bind random"));
    let decision = program.decide(&Opening::parse("listen 10.0.0.1:3260").unwrap());
    assert!(decision.settings.offload && decision.settings.ddp == Some(true));
}

#[test]
fn errors_name_file_line_and_column_and_nothing_is_written() {
    let folder = TempDir::new().unwrap();
    let policy = format!("{}any => ofload bind many\n", "# nothing\n".repeat(299));
    fs::write(folder.path().join("bad.conf"), policy).unwrap();
    let output = cop(&folder, &["-o", "cop.out", "bad.conf"], "");
    assert_eq!(output.status.code(), Some(6));
    let lines: Vec<&str> = text(&output.stderr).lines().collect();
    assert!(lines[0].starts_with("bad.conf:300:8: `ofload` is no setting"), "{lines:?}");
    assert!(lines[1].starts_with("bad.conf:300:20: `many`"), "{lines:?}");
    assert_eq!(lines[2], "cop: bad.conf: 2 errors: nothing was done");
    assert!(!folder.path().join("cop.out").exists());
}

#[test]
fn connections_are_tested_by_arguments_and_by_lines_from_text_and_compiled() {
    let folder = TempDir::new().unwrap();
    let policy = "dst port 3260 => offload bind 1\nvlan 7 => offload sack\n";
    let output = cop(&folder, &["-o", "cop.out"], policy);
    assert!(output.status.success());
    assert_eq!(text(&output.stderr), "cop: rule 2 asks for sack: a T5 refuses the policy\n");
    let [passive, tagged] = ["popen 10.0.0.1:9 10.0.0.2:3260", "aopen [::1]:9 [::2]:80 vlan 7"];
    let output = cop(&folder, &["-t", "cop.out", passive, tagged], "");
    assert_eq!(text(&output.stdout), "offload bind 1\trule 1\noffload sack bind random\trule 2\n");

    fs::write(folder.path().join("cop.conf"), policy).unwrap();
    let output = cop(&folder, &["-t", "cop.conf"], "listen 10.0.0.1:3260\n\nnonsense\naopen 1.2.3.4:5 1.2.3.4:3260\n");
    assert_eq!(output.status.code(), Some(6));
    let rule = "offload bind 1\trule 1: dst port 3260 => offload bind 1\n";
    assert_eq!(text(&output.stdout), format!("!offload\tno rule\n{rule}"));
    assert!(text(&output.stderr).contains("cop: \"nonsense\": a connection begins with listen, aopen or popen"));
    assert!(text(&output.stderr).ends_with("cop: 1 of the connections are none\n"));
}

#[test]
fn what_is_no_policy_is_told() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("noise"), [0, 0, 0, 1, 0, 0]).unwrap();
    fs::write(folder.path().join("latin1"), [b'#', 0xe4]).unwrap();
    for (words, code, said) in [
        (&["noise"][..], 6, "noise: no compiled policy: no header of six numbers at byte 0"),
        (&["latin1"], 6, "latin1: no text"),
        (&["nowhere"], 6, "nowhere: No such file"),
        (&["-t"], 2, "-t needs the policy's FILE"),
        (&["noise", "surplus"], 2, "-t"),
    ] {
        let output = cop(&folder, words, "");
        assert_eq!(output.status.code(), Some(code), "{words:?}");
        assert!(text(&output.stderr).contains(said), "{}", text(&output.stderr));
    }
}
