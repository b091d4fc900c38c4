//! `iscsi-target` with a chiscsi.conf, as whoever has written one meets it.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use iscsi_runtime::{Authentication, Client, ClientConfig, Credential, Limits, Request, Secret, Transfer, discover};
use iscsi_session::ChapAlgorithm;
use scsi_block::LogicalUnitNumber;
use scsi_block::cdb::Cdb;
use scsi_block::designator::Designator;
use scsi_block::vpd::DeviceIdentification;
use tempfile::TempDir;

use super::support::{self, Killed, free_address, iscsi_target};

/// The file of the paper, with a device and an address that are here.
fn paper(folder: &Path) -> (PathBuf, String) {
    let address = free_address("127.0.0.1").to_string();
    let device = folder.join("disk");
    fs::File::create(&device).unwrap().set_len(1 << 20).unwrap();
    let text = include_str!("../../../tests/paper/chiscsi.conf");
    let text = text.replace("/dev/ssdb1", device.to_str().unwrap()).replace("102.11.11.32:3260", &address);
    (write(folder, "chiscsi.conf", &text), address)
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let file = folder.join(name);
    support::write(&file, text);
    file
}

fn check(file: &Path) -> Output {
    iscsi_target().arg("--check").arg(file).output().unwrap()
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

/// A target that serves a file, and the URLs of its disks.
fn serve(file: &Path, addresses: usize) -> (Killed, Vec<String>) {
    let mut command = iscsi_target();
    command.arg("--config").arg(file).args(["--control", "none"]);
    let mut served = Killed(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let urls = served.urls(addresses);
    (served, urls)
}

#[test]
fn the_file_of_the_paper_is_served_as_it_says() {
    let folder = TempDir::new().unwrap();
    let (file, address) = paper(folder.path());
    let (_served, ready) = serve(&file, 1);
    let name = "iqn.2004-05.com.chelsio.target0";
    assert_eq!(ready, [format!("iscsi://{address}/{name}/0")]);

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
fn tags_are_those_of_each_target() {
    let folder = TempDir::new().unwrap();
    let [one, two] = ["127.0.0.1", "127.0.0.2"].map(free_address);
    let target = |name: &str, groups: &str| {
        format!("target:\nTargetName=iqn.2001-04.com.example:{name}\nTargetDevice={name},MEM,size=1MB\n{groups}")
    };
    let text = [
        target("d", &format!("PortalGroup=1@{one}\n")),
        target("e", &format!("PortalGroup=1@{two}\nPortalGroup=7@{one}\n")),
    ];
    let (_served, urls) = serve(&write(folder.path(), "f", &text.concat()), 3);
    let url = |address: SocketAddr, name: &str| format!("iscsi://{address}/iqn.2001-04.com.example:{name}/0");
    assert_eq!(urls, [url(one, "d"), url(two, "e"), url(one, "e")]);
    let told = discover(ClientConfig::discovery(one.to_string())).wait().unwrap();
    let told: Vec<_> = told.into_iter().map(|record| record.addresses).collect();
    assert_eq!(told, [vec![format!("{one},1")], vec![format!("{one},7"), format!("{two},1")]]);
    let log_in = |address: SocketAddr, name: &str| {
        Client::connect(ClientConfig::new(address.to_string(), format!("iqn.2001-04.com.example:{name}"))).wait()
    };
    for (address, name) in [(one, "d"), (one, "e"), (two, "e")] {
        log_in(address, name).unwrap().logout().wait().unwrap();
    }
    let refused = log_in(two, "d").unwrap_err().to_string();
    assert!(refused.contains("(0x0203)"), "{refused}");
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

const NAME: &str = "iqn.2001-04.com.example:d";

fn log_in(address: SocketAddr, initiator: &str) -> Result<Client, String> {
    let config = ClientConfig::new(address.to_string(), NAME).initiator_name(initiator);
    Client::connect(config).wait().map_err(|error| error.to_string())
}

#[test]
fn an_access_list_says_who_comes_in_from_where_and_to_which_units() {
    let folder = TempDir::new().unwrap();
    let (one, two) = (free_address("127.0.0.1"), free_address("127.0.0.2"));
    let text = format!(
        "target:\nTargetName={NAME}\nTargetDevice=a,MEM,size=1MB\nTargetDevice=b,MEM,size=1MB\nTargetDevice=c,MEM,size=1MB\n\
         PortalGroup=1@{one},{two}\nACL_Enable=Yes\n\
         ACL=iname=iqn.2001-04.com.example:reader;dip=127.0.0.2;lun=0:R,1:RW\n\
         ACL=iname=iqn.2001-04.com.example:owner\n\
         ACL=iname=iqn.2001-04.com.example:elsewhere;sip=192.0.2.1\n"
    );
    let (_served, _) = serve(&write(folder.path(), "f", &text), 2);
    let initiator = |name: &str| format!("iqn.2001-04.com.example:{name}");

    for (address, name) in [(one, "reader"), (one, "elsewhere"), (two, "elsewhere"), (two, "nobody")] {
        let Err(refusal) = log_in(address, &initiator(name)) else { panic!("{name} is let in") };
        assert!(refusal.contains("0x0202"), "{name}: {refusal}");
    }
    let owner = log_in(one, &initiator("owner")).unwrap();
    let reader = log_in(two, &initiator("reader")).unwrap();
    assert_eq!(owner.report_luns().wait().unwrap(), [0, 1, 2].map(LogicalUnitNumber::from));
    assert_eq!(reader.report_luns().wait().unwrap(), [0, 1].map(LogicalUnitNumber::from));
    let block = || bytes::Bytes::from(vec![7; 512]);
    owner.disk(0).wait().unwrap().write(0, block()).wait().unwrap();
    let shared = reader.disk(0).wait().unwrap();
    assert_eq!(shared.read(0, 1).wait().unwrap(), block());
    let refusal = shared.write(0, block()).wait().unwrap_err().to_string();
    assert!(refusal.to_lowercase().contains("write protected"), "{refusal}");
    reader.disk(1).wait().unwrap().write(0, block()).wait().unwrap();
    assert!(reader.disk(2).wait().is_err());
}

#[test]
fn a_device_has_the_names_that_its_line_gives_it() {
    let (folder, address) = (TempDir::new().unwrap(), free_address("127.0.0.1"));
    let text = |second: &str| {
        format!(
            "target:\nTargetName={NAME}\nPortalGroup=1@{address}\nTargetDevice=a,MEM,size=1MB,ID=shelf 7 disk 1,WWN=5000C500A1b2c3d4,SN=one\n\
             TargetDevice=b,MEM,size=1MB,{second}\n"
        )
    };
    let (_served, _) = serve(&write(folder.path(), "f", &text("WWN=0017470000000001,SN=two")), 1);
    let client = log_in(address, "iqn.2001-04.com.example:h").unwrap();
    let names = |lun: u16| -> Vec<String> {
        let inquiry = Request::new(lun.into(), &Cdb::inquiry_page(0x83, 1024), Transfer::Read(1024));
        let names = DeviceIdentification::decode(&client.execute(inquiry).wait().unwrap().data.concat()).unwrap().0;
        names.iter().map(ToString::to_string).collect()
    };
    for name in ["CHISCSI shelf 7 disk 1", "CHISCSI one", "naa.5000c500a1b2c3d4"] {
        assert!(names(0).contains(&name.into()), "{name}: {:?}", names(0));
    }
    assert!(names(1).contains(&"eui.0017470000000001".into()), "{:?}", names(1));

    let odd = String::from_utf8(check(&write(folder.path(), "odd", &text("WWN=disk two"))).stdout).unwrap();
    assert!(odd.contains("TargetDevice: WWN= is a name if it has 16 hexadecimal digits"), "{odd}");
    let twice =
        iscsi_target().arg("--config").arg(write(folder.path(), "twice", &text("WWN=5000c500a1b2c3d4"))).output();
    let said = String::from_utf8(twice.unwrap().stderr).unwrap();
    assert!(said.contains("the name naa.5000c500a1b2c3d4 is given to two units"), "{said}");
}

#[test]
fn an_access_list_is_looked_at_before_or_after_authentication() {
    let (folder, secret) = (TempDir::new().unwrap(), "a-long-enough-secret");
    let statuses = |order: &str| {
        let address = free_address("127.0.0.1");
        let text = format!(
            "global:\n{order}target:\nTargetName={NAME}\nTargetDevice=a,MEM,size=1MB\nPortalGroup=1@{address}\n\
             AuthMethod=CHAP\nAuth_CHAP_Initiator=\"user\":\"{secret}\"\nACL_Enable=Yes\nACL=iname=iqn.2001-04.com.example:listed\n"
        );
        let file = write(folder.path(), "f", &text);
        let said = String::from_utf8(check(&file).stderr).unwrap();
        assert!(!said.contains("iscsi_auth_order"), "it does what it says: {said}");
        let (_served, _) = serve(&file, 1);
        let status = |initiator: &str, secret: &str| {
            let user = Credential { name: "user".into(), secret: Secret::new(secret).unwrap() };
            let config = ClientConfig::new(address.to_string(), NAME)
                .initiator_name(format!("iqn.2001-04.com.example:{initiator}"))
                .authentication(Authentication::chap(vec![user], None, ChapAlgorithm::ALL.to_vec()).unwrap());
            let Err(refusal) = Client::connect(config).wait() else { return "in" };
            let refusal = refusal.to_string();
            let found = ["0x0201", "0x0202"].into_iter().find(|status| refusal.contains(status));
            found.unwrap_or_else(|| panic!("{refusal}"))
        };
        ["listed", "other"].map(|name| [status(name, secret), status(name, "another-long-secret")])
    };
    assert_eq!(statuses("iscsi_auth_order=ACL\n"), [["in", "0x0201"], ["0x0202", "0x0202"]]);
    assert_eq!(statuses("iscsi_auth_order=CHAP\n"), [["in", "0x0201"], ["0x0202", "0x0201"]]);
    assert_eq!(statuses(""), statuses("iscsi_auth_order=CHAP\n"));
}

/// The portal group that a session came through, by the name of its target port.
fn group_of(client: &Client) -> u16 {
    let inquiry = Request::new(0.into(), &Cdb::inquiry_page(0x83, 1024), Transfer::Read(1024));
    let names = DeviceIdentification::decode(&client.execute(inquiry).wait().unwrap().data.concat()).unwrap().0;
    let port = names.iter().find(|name| name.kind == Designator::RELATIVE_TARGET_PORT).unwrap();
    u16::from_be_bytes(port.value[2..].try_into().unwrap())
}

#[test]
fn a_portal_group_with_a_list_sends_initiators_to_the_others_in_turn() {
    let folder = TempDir::new().unwrap();
    let addresses: Vec<SocketAddr> = (0..3).map(|_| free_address("127.0.0.1")).collect();
    let [door, first, second] = addresses[..] else { unreachable!() };
    let text = format!(
        "target:\nTargetName={NAME}\nTargetDevice=a,MEM,size=1MB\nPortalGroup=1@{door},[2,3]\nPortalGroup=2@{first}\nPortalGroup=3@{second}\n"
    );
    let (_served, _) = serve(&write(folder.path(), "f", &text), 3);
    let groups = |address| -> Vec<u16> {
        let clients: Vec<Client> =
            (0..4).map(|n| log_in(address, &format!("iqn.2001-04.com.example:h{n}")).unwrap()).collect();
        clients.iter().map(group_of).collect()
    };
    assert_eq!(groups(door), [2, 3, 2, 3]);
    assert_eq!(groups(first), [2; 4]);

    let elsewhere = format!(
        "target:\nTargetName={NAME}\nShadowMode=Yes\nPortalGroup=1@{},[2]\nPortalGroup=2@{second}\n",
        free_address("127.0.0.1")
    );
    let shadow = write(folder.path(), "shadow", &elsewhere);
    let (_shadow, ready) = serve(&shadow, 1);
    let address = ready[0].strip_prefix("iscsi://").unwrap().split('/').next().unwrap().parse().unwrap();
    assert_eq!(groups(address), [3; 4], "what the other target calls it");
}

#[test]
fn a_null_device_is_as_big_as_its_file() {
    let folder = TempDir::new().unwrap();
    let (address, device) = (free_address("127.0.0.1"), folder.path().join("disk"));
    fs::write(&device, vec![1; 1 << 20]).unwrap();
    let text =
        format!("target:\nTargetName={NAME}\nTargetDevice={},NULLRW\nPortalGroup=1@{address}\n", device.display());
    let (_served, _) = serve(&write(folder.path(), "f", &text), 1);
    let disk = log_in(address, "iqn.2001-04.com.example:h").unwrap().disk(0).wait().unwrap();
    assert_eq!(disk.blocks(), 2048);
    disk.write(0, vec![7; 512].into()).wait().unwrap();
    assert_eq!(fs::read(&device).unwrap(), vec![1; 1 << 20], "nothing is kept");
}
