//! `iscsictl` as a person meets it: against a running `iscsi-target --config`, with a session of our client in it.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use iscsi_runtime::{Client, ClientConfig, ClientError, Isid, Limits};
use serde_json::Value;
use tempfile::TempDir;

use super::support::{Killed, free_address, iscsi_target, write};

const ONE: &str = "iqn.2004-05.com.example:one";
const TWO: &str = "iqn.2004-05.com.example:two";
const SECRET: &str = "hunter2hunter2";

/// A running `iscsi-target`; it does not outlive its test.
struct Target {
    child: Killed,
    folder: TempDir,
    address: String,
}

/// Two targets at one address, one of which keeps a secret.
fn configuration(address: &str) -> String {
    format!(
        "global:\n    iscsi_login_complete_time=60\n    iscsi_auth_order=ACL\n\
         target:\n    TargetName={ONE}\n    TargetAlias=first\n    MaxConnections=4\n    HeaderDigest=CRC32C,None\n    \
         TargetDevice=m,MEM,size=1MB\n    PortalGroup=1@{address}\n\
         target:\n    TargetName={TWO}\n    TargetDevice=m,MEM,size=2MB\n    TargetDevice=n,MEM,size=1MB\n    PortalGroup=1@{address}\n    \
         AuthMethod=CHAP\n    Auth_CHAP_Initiator=\"alice\":\"{SECRET}\"\n"
    )
}

impl Target {
    /// Starts one with both targets.
    fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let address = free_address("127.0.0.1").to_string();
        let file = folder.path().join("chiscsi.conf");
        write(&file, &configuration(&address));
        Self::with(folder, address, &["--config", file.to_str().unwrap()])
    }

    fn with(folder: TempDir, address: String, words: &[&str]) -> Self {
        let mut command = iscsi_target();
        command.args(words).args(["--cores", "1", "--control"]).arg(folder.path().join("c.sock"));
        let mut child = Killed(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
        child.urls(1);
        Self { child, folder, address }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("c.sock")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn ctl(&self, words: &[&str]) -> Output {
        ctl(&self.socket(), words)
    }

    /// What is said on stdout, if it ends with 0.
    fn said(&self, words: &[&str]) -> String {
        let output = self.ctl(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.said(&[words, &["--json"]].concat())).unwrap()
    }

    /// What is said on stderr, if it ends with `code` and says nothing else.
    fn refused(&self, words: &[&str], code: i32) -> String {
        refused(self.ctl(words), code)
    }

    fn login(&self) -> Result<Client, ClientError> {
        let limits = Limits { header_digest: vec![true], ..Limits::default() };
        let config = ClientConfig::new(&*self.address, ONE).limits(limits).isid(Isid([0x80, 0, 0, 0, 0, 7]));
        Client::connect(config.initiator_name("iqn.2004-05.com.example:host")).wait()
    }
}

fn ctl(socket: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_iscsictl")).args(words).arg("--socket").arg(socket).output().unwrap()
}

fn refused(output: Output, code: i32) -> String {
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(output.stdout.is_empty());
    error
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn it_says_what_runs_and_who_is_there() {
    let target = Target::start();
    let pid = target.child.0.id();
    let (file, address) = (target.file("chiscsi.conf"), &target.address);
    let expected = format!(
        "process  {pid}, version {}\nconfig   {}\nportals  {address},1\n\
         {ONE}  started  1 LUN   0 sessions\n{TWO}  started  2 LUNs  0 sessions\n",
        env!("CARGO_PKG_VERSION"),
        file.display()
    );
    assert_eq!(target.said(&["status"]), expected);
    assert_eq!(target.said(&["-r"]), "no sessions\n");

    let client = target.login().unwrap();
    let disk = client.disk(0).wait().unwrap();
    let before = target.json(&["-r"])["sessions"][0].clone();
    disk.write(0, vec![7; 1024].into()).wait().unwrap();
    disk.read(0, 1).wait().unwrap();
    let session = target.json(&["-r", &format!("target={ONE}"), "-k", "initiator=iqn.2004-05.com.EXAMPLE:Host"]);
    let session = &session["sessions"][0];
    let grown = |key: &str| session[key].as_u64().unwrap() - before[key].as_u64().unwrap();
    assert_eq!((grown("bytes_written"), grown("bytes_read"), grown("commands")), (1024, 512, 2));
    let text = target.said(&["-r", &format!("target={ONE}")]);
    let peer = session["connections"][0]["initiator_address"].as_str().unwrap();
    let [handle, commands, read] = ["handle", "commands", "bytes_read"].map(|key| session[key].as_u64().unwrap());
    let read = ferriscsi::show::size(read);
    let expected = format!(
        "session {handle}
  initiator    iqn.2004-05.com.example:host
  target       {ONE}
  ISID         800000000007, portal group 1, core 0
  commands     {commands} answered, 0 open; {read} read, 1 KiB written
  connections  0: {peer} -> {address}, HeaderDigest=CRC32C, DataDigest=None, offload none
  keys         MaxConnections=1 InitialR2T=Yes ImmediateData=Yes MaxRecvDataSegmentLength=8192
               MaxBurstLength=262144 FirstBurstLength=65536 DefaultTime2Wait=2 DefaultTime2Retain=0
               MaxOutstandingR2T=1 DataPDUInOrder=Yes DataSequenceInOrder=Yes ErrorRecoveryLevel=0
               iSCSIProtocolLevel=2
"
    );
    assert_eq!(text, expected);
    assert_eq!(target.said(&["sessions", TWO]), "no sessions\n");
    assert_eq!(target.said(&["sessions", "--initiator", "iqn.2004-05.com.example:other"]), "no sessions\n");
    assert!(target.said(&["status"]).contains("1 LUN   1 session\n"));
    client.logout().wait().unwrap();
}

#[test]
fn it_shows_the_configuration_without_secrets_and_writes_it_with_them() {
    let target = Target::start();
    let one = target.said(&["-c", &format!("target={ONE}")]);
    assert!(one.starts_with(&format!("target:\n    TargetName={ONE}\n    TargetAlias=first\n    MaxConnections=4\n")));
    assert!(!one.contains(TWO) && one.contains("    DefaultTime2Wait=2\n"), "{one}");
    let all = target.said(&["-c"]);
    assert!(all.contains("    Auth_CHAP_Initiator=\"alice\":\"***\"\n") && !all.contains(SECRET), "{all}");
    assert!(!target.said(&["config", "--json"]).contains(SECRET));
    assert_eq!(target.said(&["-c", "target=ALL", "-k", "TargetAlias=first"]), one);
    assert_eq!(
        target.said(&["-c", "-k", "MaxConnections"]),
        format!(
            "target:\n    TargetName={ONE}\n    MaxConnections=4\ntarget:\n    TargetName={TWO}\n    MaxConnections=1\n"
        )
    );
    assert!(target.refused(&["-c", "-k", "maxconnections"], 2).contains("there is no key maxconnections"));
    let globals = target.said(&["-g"]);
    assert!(globals.starts_with("global:\n    iscsi_offload_mode=AUTO\n"), "{globals}");
    assert!(globals.contains("    iscsi_login_complete_time=60\n"), "{globals}");

    let copy = target.file("copy.conf");
    assert_eq!(
        target.said(&["-W", "-f", copy.to_str().unwrap()]),
        format!("{} holds what is in force\n", copy.display())
    );
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let [copy, file] = [&copy, &target.file("chiscsi.conf")].map(|file| fs::read_to_string(file).unwrap());
    let read = |text: &str| text.parse::<chiscsi_config::Configuration>().unwrap();
    assert_eq!(read(&copy), read(&file));
}

#[test]
fn a_target_is_stopped_and_started() {
    let target = Target::start();
    let client = target.login().unwrap();
    let one = format!("target={ONE}");
    let said = target.said(&["-s", &one]);
    assert!(
        said.starts_with(&format!("{ONE}: no login is let in: at once\nsessions that were asked to log out: 1")),
        "{said}"
    );
    drop(client);
    assert!(target.login().is_err());
    assert!(target.said(&["status"]).contains(&format!("{ONE}  stopped  1 LUN   0 sessions\n{TWO}  started")));
    assert_eq!(target.said(&["-s", &one]), "nothing has changed\n");
    // What is stopped stays so when the others are told to do what the file says.
    assert_eq!(target.said(&["-S"]), "nothing has changed\n");
    assert!(target.login().is_err());
    assert_eq!(target.said(&["-S", &one]), format!("{ONE}: logins are let in: at once\n"));
    target.login().unwrap().logout().wait().unwrap();
    let error = target.refused(&["-s", "target=iqn.2004-05.com.example:three"], 2);
    assert!(error.contains("there is no target iqn.2004-05.com.example:three"), "{error}");
}

#[test]
fn a_file_is_read_again_while_a_session_goes_on() {
    let target = Target::start();
    let client = target.login().unwrap();
    let (file, disk) = (target.file("chiscsi.conf"), client.disk(0).wait().unwrap());
    let text = configuration(&target.address);
    disk.write(0, vec![7; 512].into()).wait().unwrap();
    let grown = text.replace("TargetAlias=first", "TargetAlias=other\n    TargetDevice=x,MEM,size=1MB");
    write(&file, &grown.replace("complete_time=60", "complete_time=61"));
    let said = target.said(&["-S", &format!("target={ONE}")]);
    assert!(
        said.contains(&format!("{ONE}: LUN 1 comes")) && said.contains(&format!("{ONE}: the alias: for new logins"))
    );
    assert!(target.said(&["-g"]).contains("iscsi_login_complete_time=60\n"), "single targets leave global: alone");
    assert!(target.said(&["-S"]).contains("the time that a login may take: for new logins"));
    assert!(target.said(&["-g"]).contains("iscsi_login_complete_time=61\n"));
    assert!(target.said(&["-c", "-k", "TargetAlias"]).contains("TargetAlias=other"));
    assert_eq!(disk.read(0, 1).wait().unwrap_or_else(|_| disk.read(0, 1).wait().unwrap()), vec![7; 512]);

    // What cannot change is named, and nothing changes, not even what could.
    write(&file, &grown.replace("MaxConnections=4", "TargetSessionMaxCmd=7").replace("=other", "=third"));
    let error = target.refused(&["-S"], 2);
    assert!(error.contains(&format!("{ONE}: TargetSessionMaxCmd: it cannot change while the target runs")), "{error}");
    write(&file, &text.replace("size=2MB", "size=2QB").replace("size=1MB", "size=0MB"));
    let error = target.refused(&["-S", "target=ALL"], 2);
    assert!(error.lines().count() == 3 && error.contains("chiscsi.conf:"), "{error}");
    assert!(target.said(&["-c", "-k", "TargetAlias"]).contains("TargetAlias=other"));

    // Another file, with a target more and one less.
    let other = target.file("other.conf");
    let three = format!(
        "target:\n    TargetName=iqn.2004-05.com.example:three\n    TargetDevice=z,MEM\n    PortalGroup=1@{}\n",
        target.address
    );
    let one_and_three = format!("{}{three}", &grown[..grown.rfind("target:").unwrap()]);
    write(&other, &one_and_three);
    let said = target.said(&["-S", "target=ALL", "-f", other.to_str().unwrap()]);
    assert!(said.contains("iqn.2004-05.com.example:three: the target comes: at once"), "{said}");
    assert!(
        said.contains(&format!("{TWO} is not there any more and runs on: iscsictl -s target={TWO} stops it")),
        "{said}"
    );
    target.said(&["-s", &format!("target={TWO}")]);
    assert!(target.said(&["-S"]).contains(&format!("{TWO}: the target goes: at once")));
    assert!(!target.said(&["status"]).contains(TWO));
    assert!(target.refused(&["-S", &format!("target={TWO}")], 2).contains(&format!("there is no target {TWO}")));
    assert_eq!(disk.read(0, 1).wait().unwrap_or_else(|_| disk.read(0, 1).wait().unwrap()), vec![7; 512]);
    client.logout().wait().unwrap();
}

#[test]
fn a_file_for_targets_by_name_is_read_for_these_once() {
    let target = Target::start();
    let (file, other) = (target.file("chiscsi.conf"), target.file("other.conf"));
    let first = format!(
        "global:\n    iscsi_HA_mode=Yes\ntarget:\n    TargetName={ONE}\n    TargetAlias=elsewhere\n    MaxConnections=4\n    HeaderDigest=CRC32C,None\n    \
         Auth_CHAP_ChallengeLength=32\n    TargetDevice=m,MEM,size=1MB\n    PortalGroup=1@{}\n",
        target.address
    );
    write(&other, &first);
    let by_name = ["-S", &format!("target={ONE}"), "-f", other.to_str().unwrap()];
    let said = target.said(&by_name);
    assert!(said.contains(&format!("{ONE}: the alias: for new logins")) && !said.contains(TWO), "{said}");
    let note = format!("note: {}: {ONE}: Auth_CHAP_ChallengeLength: ", other.display());
    assert!(said.contains(&note) && !said.contains("iscsi_HA_mode"), "what does nothing is told: {said}");
    let status = target.said(&["status"]);
    assert!(status.contains(&format!("config   {}\n", file.display())) && status.contains(TWO), "{status}");
    // What is read as a whole is the file of before.
    rustix::process::kill_process(rustix::process::Pid::from_child(&target.child.0), rustix::process::Signal::HUP)
        .unwrap();
    wait_until("the file is read", || target.said(&["-c", "-k", "TargetAlias"]).contains("TargetAlias=first"));
    assert!(target.said(&["status"]).contains(TWO));

    let pipe = target.file("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    let error = target.refused(&["-S", "-f", pipe.to_str().unwrap()], 2);
    assert!(error.contains("pipe: it cannot be opened: expected a file"), "{error}");
    let said = target.said(&["-G", "iscsi_offload_mode=TOE"]);
    assert!(said.contains("note: ") && said.contains("iSCSI is done in software"), "{said}");
}

#[test]
fn options_are_told_in_the_words_of_a_file_that_serves_the_same() {
    let folder = TempDir::new().unwrap();
    let address = free_address("127.0.0.1").to_string();
    write(&folder.path().join("alice"), SECRET);
    let chap = format!("alice:{}", folder.path().join("alice").display());
    let words = [
        &["--listen", &address, "--lun", "memory:2M,serial=one", "--lun", "null:1M,block=4096"][..],
        &["--chap", &chap, "--max-connections", "3", "--error-recovery-level", "2", "--resettable"],
    ]
    .concat();
    let mut target = Target::with(folder, address.clone(), &words);
    let said = target.said(&["-c"]);
    for line in [
        "# LUN 1 is more than its TargetDevice says\n# --resettable has no key\ntarget:",
        "    TargetName=iqn.2026-01.io.ferriscsi:disk",
        "    MaxConnections=3",
        "    ErrorRecoveryLevel=2",
        "    AuthMethod=CHAP",
        "    Auth_CHAP_Initiator=\"alice\":\"***\"",
        &format!("    PortalGroup=1@{address}"),
        "    TargetDevice=memory0,MEM,size=2MB,SN=one",
        "    TargetDevice=null1,MEM,size=1MB,NULLRW",
    ] {
        assert!(said.contains(&format!("{line}\n")), "{line} is not in\n{said}");
    }
    assert!(target.said(&["-g"]).contains("iscsi_login_complete_time=15\n"));
    let file = target.file("written.conf");
    target.said(&["-W", "-f", file.to_str().unwrap()]);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("# LUN 1") && text.contains(SECRET), "{text}");

    // Who serves that file says the same, but for what it had no words for.
    target.child.0.kill().unwrap();
    target.child.0.wait().unwrap();
    let Target { folder, .. } = target;
    let target = Target::with(folder, address, &["--config", file.to_str().unwrap()]);
    assert_eq!(target.said(&["-c"]), said[said.find("target:").unwrap()..]);
}

#[test]
fn what_is_said_of_all_targets_is_set() {
    let target = Target::start();
    let said = target.said(&["-G", "iscsi_login_complete_time=7"]);
    let expected =
        "the time that a login may take: for new logins\niscsi_login_complete_time is 7 until the file is read again\n";
    assert_eq!(said, expected);
    assert!(target.said(&["globals"]).contains("    iscsi_login_complete_time=7\n"));
    assert!(target.said(&["set", "iscsi_offload_mode=ULP"]).contains("iscsi_offload_mode is ULP"));
    assert!(target.refused(&["-G", "iscsi_login_complete_time=soon"], 2).contains("expected a number from 0 to 3600"));
    let error = target.refused(&["-G", "DISC_AuthMethod=CHAP"], 2);
    assert!(error.contains("DISC_AuthMethod: CHAP expects a DISC_Auth_CHAP_Initiator"), "{error}");
    let error = target.refused(&["-G", &format!("DISC_Auth_CHAP_Target=\"a\":\"{SECRET}\"")], 2);
    assert!(error.contains("a secret is not for command lines") && !error.contains(SECRET), "{error}");
    assert!(target.said(&["-S"]).contains("the time that a login may take"));
    assert!(target.said(&["globals"]).contains("    iscsi_login_complete_time=60\n"));
}

#[test]
fn it_drops_sessions_and_flushes_disks() {
    let target = Target::start();
    let client = target.login().unwrap();
    let handle = target.json(&["-r"])["sessions"][0]["handle"].to_string();
    assert_eq!(target.said(&["-D", &handle]), format!("session {handle} has ended\n"));
    assert_eq!(target.said(&["-r"]), "no sessions\n");
    drop(client);
    let error = target.refused(&["drop", &handle], 2);
    assert_eq!(error, format!("iscsictl: there is no session {handle}: iscsictl -r shows those that there are\n"));

    let expected = format!("{ONE}: LUN 0 is flushed\n{TWO}: LUN 0 is flushed\n{TWO}: LUN 1 is flushed\n");
    assert_eq!(target.said(&["-F"]), expected);
    assert_eq!(target.said(&["-F", &format!("target={TWO}"), "-k", "lun=1"]), format!("{TWO}: LUN 1 is flushed\n"));
    assert_eq!(target.refused(&["flush", ONE, "--lun", "9"], 2), "iscsictl: there is no LUN 9\n");
    let error = target.refused(&["flush", "iqn.2004-05.com.example:three"], 2);
    assert!(
        error.contains(&format!("there is no target iqn.2004-05.com.example:three: there is {ONE}, {TWO}")),
        "{error}"
    );
}

#[test]
fn a_policy_is_for_a_target_on_an_adapter_and_errors_in_it_are_told() {
    let target = Target::start();
    let (good, bad) = (target.file("cop.conf"), target.file("bad.conf"));
    fs::write(&good, "any => offload ddp bind random\n").unwrap();
    fs::write(&bad, format!("{}any => ofload\n", "# nothing\n".repeat(299))).unwrap();
    let error = target.refused(&["policy", good.to_str().unwrap()], 5);
    assert!(error.contains("cop.conf: the target is on no adapter"), "{error}");
    let error = target.refused(&["adapter"], 5);
    assert!(error.contains("no adapter: start it with iscsi-target --port t5-model"), "{error}");
    let error = target.refused(&["policy", bad.to_str().unwrap()], 2);
    assert!(error.contains("bad.conf:300:8: `ofload` is no setting"), "{error}");
    assert!(target.refused(&["policy", "/nowhere"], 6).contains("/nowhere: No such file"));
}

#[test]
fn what_is_no_request_costs_an_error_line_and_others_are_served() {
    let target = Target::start();
    let mut rude = UnixStream::connect(target.socket()).unwrap();
    let mut silent = UnixStream::connect(target.socket()).unwrap();
    silent.write_all(b"{\"request\":\"status\"").unwrap();
    let client = target.login().unwrap();
    rude.write_all(&[b"\xff\xfe\n{}\n", &[b'x'; 1 << 20][..], b"\n{\"request\":\"stop\"}\n"].concat()).unwrap();
    rude.shutdown(std::net::Shutdown::Write).unwrap();
    let lines: Vec<String> = BufReader::new(rude).lines().map(Result::unwrap).collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines.iter().all(|line| line.contains(r#""problem":"malformed""#)), "{lines:?}");
    assert!(lines[3].contains("missing field `targets`"), "{lines:?}");
    assert!(target.said(&["-r"]).starts_with("session "));
    client.disk(0).wait().unwrap().read(0, 1).wait().unwrap();
}

#[test]
fn another_user_cannot_ask() {
    let target = Target::start();
    if !rustix::process::geteuid().is_root() {
        eprintln!("not root: nobody else can be tried");
        return;
    }
    // What another user needs in order to come as far as the socket.
    fs::set_permissions(target.folder.path(), Permissions::from_mode(0o755)).unwrap();
    let program = target.file("iscsictl");
    fs::copy(env!("CARGO_BIN_EXE_iscsictl"), &program).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    let as_nobody = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
        refused(command.args(["-s", "target=ALL", "--socket"]).arg(target.socket()).output().unwrap(), 3)
    };
    let error = as_nobody();
    assert!(error.contains("c.sock is not yours: its owner and root may ask"), "{error}");
    // Even somebody who can open it is not heard.
    fs::set_permissions(target.socket(), Permissions::from_mode(0o666)).unwrap();
    let error = as_nobody();
    assert!(error.contains("user 65534 may not"), "{error}");
    assert!(!target.said(&["status"]).contains("stopped"));
}

#[test]
fn a_socket_of_a_killed_target_is_replaced_and_that_of_a_running_one_is_not() {
    let mut target = Target::start();
    let start = |socket: &Path| {
        let mut command = iscsi_target();
        command.args(["--listen", "127.0.0.1:0", "--lun", "memory:1M", "--control"]).arg(socket);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let error = refused(start(&target.socket()).wait_with_output().unwrap(), 6);
    let expected =
        format!("another target is running, pid {}: end it, or give this one another path", target.child.0.id());
    assert!(error.contains(&expected), "{error}");

    target.child.0.kill().unwrap();
    target.child.0.wait().unwrap();
    assert!(target.socket().exists());
    let error = target.refused(&["status"], 3);
    assert!(error.starts_with(&format!("iscsictl: no target is running at {}", target.socket().display())), "{error}");
    target.child = Killed(start(&target.socket()));
    wait_until("the new target answers", || target.ctl(&["status"]).status.success());

    // It has no configuration, and says so.
    let status = target.said(&["status"]);
    assert!(status.contains("\nconfig   none\n"), "{status}");
    let name = "iqn.2026-01.io.ferriscsi:disk";
    assert!(target.said(&["stop", "ALL"]).contains(&format!("{name}: no login is let in: at once")));
    assert_eq!(target.said(&["start", name]), format!("{name}: logins are let in: at once\n"));
    assert!(target.refused(&["-S"], 5).contains("was started by options and has no configuration"));
    let error = target.refused(&["-G", "iscsi_offload_mode=ULP"], 5);
    assert!(error.contains("was started by options and has no configuration"), "{error}");

    let pid = rustix::process::Pid::from_child(&target.child.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(target.child.0.wait().unwrap().success());
    assert!(!target.socket().exists(), "it goes with its target");
}
