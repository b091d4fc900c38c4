//! `iscsi-target` with a chiscsi.conf, as whoever has written one meets it.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use iscsi_runtime::{Client, ClientConfig, Limits};
use tempfile::TempDir;

/// The file of the paper, with a device and an address that are here.
fn paper(folder: &Path) -> (PathBuf, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let device = folder.join("disk");
    fs::File::create(&device).unwrap().set_len(1 << 20).unwrap();
    let text = include_str!("../../tests/paper/chiscsi.conf");
    let text = text.replace("/dev/ssdb1", device.to_str().unwrap()).replace("102.11.11.32:3260", &address);
    (write(folder, "chiscsi.conf", &text), address)
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let file = folder.join(name);
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    file
}

fn check(file: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_iscsi-target")).arg("--check").arg(file).output().unwrap()
}

/// What is said of a file that is not served, its path shortened.
fn refusal(text: &str) -> String {
    let folder = TempDir::new().unwrap();
    let file = write(folder.path(), "f", text);
    let output = check(&file);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(output.stdout.is_empty(), "{text}");
    String::from_utf8(output.stderr).unwrap().replace(file.to_str().unwrap(), "f").replace("iscsi-target: ", "")
}

struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn the_file_of_the_paper_is_served_as_it_says() {
    let folder = TempDir::new().unwrap();
    let (file, address) = paper(folder.path());
    let mut child = Command::new(env!("CARGO_BIN_EXE_iscsi-target"))
        .arg("--config")
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let _served = Served(child);
    let name = "iqn.2004-05.com.chelsio.target0";
    assert_eq!(lines.next().unwrap().unwrap(), format!("ready iscsi://{address}/{name}/0"));

    let wanted = Limits { header_digest: vec![true], data_digest: vec![true], max_connections: 9, ..Limits::default() };
    let client = Client::connect(ClientConfig::new(&*address, name).limits(wanted)).wait().unwrap();
    let agreed = client.parameters();
    assert_eq!((agreed.max_connections, agreed.outstanding_r2t_max), (4, 1));
    assert_eq!((agreed.header_digest, agreed.data_digest), (true, true));
    assert_eq!((agreed.initial_r2t, agreed.immediate_data), (true, true));
    assert_eq!(agreed.send_segment_bytes_max, 8192);
    let disk = client.disk(0).wait().unwrap();
    assert_eq!(disk.blocks(), 2048);
    disk.write(7, vec![7; 512].into()).wait().unwrap();
    disk.flush().wait().unwrap();
    client.logout().wait().unwrap();
    assert_eq!(fs::read(folder.path().join("disk")).unwrap()[7 * 512..8 * 512], [7; 512]);
}

#[test]
fn a_good_file_is_found_good_with_notes() {
    let folder = TempDir::new().unwrap();
    let output = check(&paper(folder.path()).0);
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].ends_with(": iqn.2004-05.com.chelsio.target0: 1 device"), "{said}");
    assert!(lines[1].starts_with("note: ") && lines[1].contains("iscsi_offload_mode"), "{said}");
    assert!(lines.last().unwrap().ends_with("chiscsi.conf: good"), "{said}");
}

#[test]
fn rules_that_keep_nobody_out_are_told() {
    let folder = TempDir::new().unwrap();
    let target = "target:\nTargetName=iqn.2001-04.com.example:d\nTargetDevice=m,MEM\nPortalGroup=1@127.0.0.1\n";
    let file = write(folder.path(), "f", &format!("{target}ACL=sip=192.0.2.1\n"));
    let said = String::from_utf8(check(&file).stdout).unwrap();
    assert!(said.contains("ACL: without ACL_Enable=Yes everybody is let in"), "{said}");
}

#[test]
fn all_faults_are_told_each_on_its_line() {
    let said =
        refusal("target:\nMaxConnections=0\nTargetName=iqn.2001-04.com.example:d\nTargetDevice=m,MEM\nPortalGroup=1\n");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert_eq!(lines[0], "f:2: MaxConnections: expected a number from 1 to 65535, found '0'");
    assert!(lines[1].starts_with("f:5: PortalGroup: expected TAG@"), "{said}");
}

#[test]
fn what_is_not_done_yet_is_refused_where_it_would_open_a_door() {
    let target = "target:\nTargetName=iqn.2001-04.com.example:d\nTargetDevice=m,MEM\nPortalGroup=1@127.0.0.1\n";
    for (more, expected) in [
        ("ACL_Enable=Yes\nACL=sip=192.0.2.1\n", "ACL: only iname"),
        ("ACL_Enable=Yes\nACL=iname=iqn.2001-04.com.example:h;lun=ALL:R\n", "ACL: only iname"),
        ("PortalGroup=2@127.0.0.2,[1]\n", "PortalGroup: a list of groups to redirect to is not served so far"),
        ("TargetDevice=/dev/null,NULLRW\n", "TargetDevice: NULLRW is served with MEM"),
        (
            "target:\nTargetName=iqn.2001-04.com.example:e\nTargetDevice=m,MEM\nPortalGroup=1@127.0.0.2\n",
            "expected the same addresses for tag 1",
        ),
        (
            "target:\nTargetName=iqn.2001-04.com.example:e\nTargetDevice=m,MEM\nPortalGroup=2@127.0.0.1\n",
            "expected the same addresses for tag",
        ),
    ] {
        let said = refusal(&format!("{target}{more}"));
        assert!(said.contains(expected), "{more}: {said}");
    }
}

#[test]
fn secrets_are_kept_in_files_that_not_everybody_may_read() {
    let folder = TempDir::new().unwrap();
    let text = "target:\nTargetName=iqn.2001-04.com.example:d\nTargetDevice=m,MEM\nPortalGroup=1@127.0.0.1\nAuth_CHAP_Initiator=\"a\":\"hunter2hunter2\"\n";
    let file = write(folder.path(), "f", text);
    assert_eq!(check(&file).status.code(), Some(0));
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let output = check(&file);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("chmod 600") && !said.contains("hunter2"), "{said}");
}
