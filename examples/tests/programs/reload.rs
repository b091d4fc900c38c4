//! `iscsi-target --config FILE` reads its file again on SIGHUP, and says what has come of it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use iscsi_runtime::{Client, ClientConfig};
use rustix::fs::{CWD, FileType, Mode};
use tempfile::TempDir;

use super::support::{Killed, free_address, iscsi_target, write};

const TARGET: &str = "iqn.2004-05.com.example:one";

struct Served {
    child: Killed,
    file: PathBuf,
    said: BufReader<ChildStderr>,
}

impl Served {
    fn start(folder: &Path, text: &str) -> Self {
        let file = folder.join("chiscsi.conf");
        write(&file, text);
        let mut command = iscsi_target();
        command.arg("--config").arg(&file).arg("--control").arg(folder.join("c.sock"));
        let mut child = Killed(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        child.urls(1);
        let said = BufReader::new(child.0.stderr.take().unwrap());
        Self { child, file, said }
    }

    fn send(&self, signal: &str) {
        let process = self.child.0.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &process]).status().unwrap().success());
    }

    /// Writes another file, has it read, and gives what is said of that, up to `last`.
    fn reload(&mut self, text: &str, last: &str) -> String {
        write(&self.file, text);
        self.signal(last)
    }

    /// The same with the file as it is.
    fn signal(&mut self, last: &str) -> String {
        self.send("HUP");
        let mut said = String::new();
        while !said.contains(last) {
            let before = said.len();
            assert!(self.said.read_line(&mut said).unwrap() > 0, "the target has ended: {said}");
            if !said[before..].contains("reload: ") {
                said.truncate(before);
            }
        }
        said
    }
}

fn text(address: &dyn std::fmt::Display, more: &str) -> String {
    format!("target:\nTargetName={TARGET}\nTargetDevice=m,MEM,size=1MB\nPortalGroup=1@{address}\n{more}")
}

#[test]
fn the_file_is_read_again_and_sessions_go_on() {
    let folder = TempDir::new().unwrap();
    let (address, second) = (free_address("127.0.0.1"), free_address("127.0.0.1"));
    let mut served = Served::start(folder.path(), &text(&address, ""));
    let client = Client::connect(ClientConfig::new(address.to_string(), TARGET)).wait().unwrap();
    let disk = client.disk(0).wait().unwrap();
    disk.write(0, vec![9; 512].into()).wait().unwrap();
    let said = served.reload(&text(&address, "Auth_CHAP_ChallengeLength=32\n"), "Auth_CHAP_ChallengeLength");
    assert!(said.contains("reload: nothing has changed") && said.contains("WARN"), "what does nothing is told: {said}");

    let device = folder.path().join("disk");
    fs::File::create(&device).unwrap().set_len(1 << 20).unwrap();
    let both = format!("{address},{second}");
    let more = format!("TargetDevice={}\nMaxConnections=3\n", device.display());
    let said = served.reload(&text(&both, &more), &format!("portal {second}"));
    assert!(said.contains("LUN 1 comes, ") && said.contains("limits of what is negotiated: for new logins"), "{said}");
    let late = Client::connect(ClientConfig::new(second.to_string(), TARGET)).wait().unwrap();
    assert_eq!(late.disk(1).wait().unwrap().blocks(), 2048);
    late.logout().wait().unwrap();

    // Told once that units have come.
    assert!(disk.read(0, 1).wait().unwrap_err().to_string().contains("REPORTED LUNS DATA HAS CHANGED"));
    assert_eq!(disk.read(0, 1).wait().unwrap(), vec![9; 512]);

    let third = free_address("127.0.0.1");
    let said = served.reload(&text(&both, &format!("{more}PortalGroup=2@{third}\n")), &format!("portal {third}"));
    assert!(said.contains("its portal groups: at once"), "{said}");
    Client::connect(ClientConfig::new(third.to_string(), TARGET)).wait().unwrap().logout().wait().unwrap();
    client.logout().wait().unwrap();
}

#[test]
fn what_cannot_be_is_named_and_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let address = free_address("127.0.0.1");
    let mut served = Served::start(folder.path(), &text(&address, ""));
    let client = Client::connect(ClientConfig::new(address.to_string(), TARGET)).wait().unwrap();
    let disk = client.disk(0).wait().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_address = taken.local_addr().unwrap();
    let file = served.file.display().to_string();
    let cases = [
        (text(&address, "Oops=1\n"), format!("{file}:5: 'Oops': there is no such key")),
        (text(&address, "TargetDevice=/nowhere/disk\n"), format!("{file}: {TARGET}: TargetDevice=/nowhere/disk: ")),
        (
            text(&format!("{address},{taken_address}"), ""),
            format!("{file}: PortalGroup: cannot listen on {taken_address}: "),
        ),
        (text(&address, "TargetSessionMaxCmd=7\n"), format!("{file}: {TARGET}: TargetSessionMaxCmd: it cannot change")),
        (text(&address, "ACL_Enable=Yes\nACL=iname=iqn.2004-05.com.example:me\n"), format!("{TARGET}: ACL: it cannot")),
        (text(&address, "global:\niscsi_target_vendor_id=ME\n"), "iscsi_target_vendor_id: it cannot change".into()),
        (String::new(), file.clone()),
    ];
    for (text, expected) in cases {
        let said = served.reload(&text, "reload: nothing has changed");
        assert!(said.contains(&expected), "{said}");
    }
    fs::remove_file(&served.file).unwrap();
    rustix::fs::mknodat(CWD, &served.file, FileType::Fifo, Mode::RWXU, 0).unwrap();
    let said = served.signal("reload: nothing has changed");
    assert!(said.contains("it cannot be opened: expected a file"), "{said}");
    fs::remove_file(&served.file).unwrap();
    drop(taken);
    disk.read(0, 1).wait().unwrap();
    let nothing = served.reload(&text(&address, ""), "reload: ");
    assert!(nothing.contains("reload: nothing has changed"), "{nothing}");
    client.logout().wait().unwrap();
}

#[test]
fn a_device_that_has_vanished_is_named_and_what_runs_goes_on() {
    let folder = TempDir::new().unwrap();
    let (address, device) = (free_address("127.0.0.1"), folder.path().join("disk"));
    fs::File::create(&device).unwrap().set_len(1 << 20).unwrap();
    let line = |more: &str| text(&address, &format!("TargetDevice={}{more}\n", device.display()));
    let mut served = Served::start(folder.path(), &line(""));
    let client = Client::connect(ClientConfig::new(address.to_string(), TARGET)).wait().unwrap();
    let disk = client.disk(1).wait().unwrap();
    disk.write(0, vec![5; 512].into()).wait().unwrap();
    fs::remove_file(&device).unwrap();
    let said = served.reload(&line(",RO"), "reload: nothing has changed");
    let device = device.display();
    let expected = format!("{TARGET}: TargetDevice={device},RO: {device} does not exist");
    assert!(said.contains(&expected), "{said}");
    assert_eq!(disk.read(0, 1).wait().unwrap(), vec![5; 512], "the file is open");
    client.logout().wait().unwrap();
}

/// Logs in by hand and says no word more: an initiator that does not do what it is asked.
fn stubborn(address: SocketAddr, target: &str) -> TcpStream {
    let mut text =
        format!("InitiatorName=iqn.2004-05.com.example:me\0TargetName={target}\0SessionType=Normal\0").into_bytes();
    let mut pdu = vec![0x43, 0x87, 0, 0, 0, 0, 0, text.len() as u8, 0x80, 0, 0, 0, 0, 1];
    pdu.resize(48, 0);
    text.resize(text.len().next_multiple_of(4), 0);
    pdu.append(&mut text);
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(&pdu).unwrap();
    let mut answer = [0; 48];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!((answer[0], answer[36], answer[37]), (0x23, 0, 0), "{answer:?}");
    stream
}

#[test]
fn a_target_ends_at_once_while_a_reload_goes_on() {
    let folder = TempDir::new().unwrap();
    let (address, second) = (free_address("127.0.0.1"), "iqn.2004-05.com.example:two");
    let one = text(&address, "");
    let both = format!("{one}target:\nTargetName={second}\nTargetDevice=n,MEM,size=1MB\nPortalGroup=1@{address}\n");
    let mut served = Served::start(folder.path(), &both);
    let _session = stubborn(address, second);
    write(&served.file, &one);
    served.send("HUP");
    // The reload waits 3 s for the session; it has begun when nobody is let in any more.
    while Client::connect(ClientConfig::new(address.to_string(), second)).wait().is_ok() {}
    let asked = Instant::now();
    served.send("TERM");
    let mut said = String::new();
    while !said.contains("ending: ") {
        assert!(served.said.read_line(&mut said).unwrap() > 0, "{said}");
    }
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    assert!(served.child.0.wait().unwrap().success());
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    served.said.read_to_string(&mut said).unwrap();
    assert!(said.contains("the rest was left as it is") && !said.contains("the target goes"), "{said}");
}
