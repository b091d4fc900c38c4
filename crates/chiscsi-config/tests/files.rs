//! Good and bad files, and what is said of the bad ones.

use chiscsi_config::{
    Acl, Configuration, DeviceKind, Digest, FAULTS_MAX, Global, LunRange, LunRight, Name, OffloadMode, Reload, Target,
};
use std::net::IpAddr;

/// A file without faults that others are made from.
const PLAIN: &str =
    "target:\nTargetName=iqn.2004-05.com.example:disk\nTargetDevice=/dev/sdb\nPortalGroup=1@192.0.2.1\n";

fn read(text: &str) -> Configuration {
    text.parse().unwrap_or_else(|faults| panic!("{faults}\nin\n{text}"))
}

fn faults(text: &str) -> String {
    text.parse::<Configuration>().map(|read| format!("{read:?}")).unwrap_err().to_string()
}

#[test]
fn the_file_of_the_paper_is_read() {
    let configuration = read(include_str!("../../../tests/paper/chiscsi.conf"));
    assert_eq!(configuration.global, Global { offload_mode: OffloadMode::Toe, ..Global::default() });
    let [target] = &configuration.targets[..] else { panic!("{configuration:?}") };
    assert_eq!((target.name.as_str(), target.alias.as_str()), ("iqn.2004-05.com.chelsio.target0", "iscsitarget0"));
    assert_eq!((target.max_connections.get(), target.session_max_commands.get()), (4, 2048));
    assert_eq!(target.header_digest, [Digest::None, Digest::Crc32c]);
    assert_eq!(target.data_digest, [Digest::None, Digest::Crc32c]);
    assert_eq!(target.devices[0].path.as_str(), "/dev/ssdb1");
    assert_eq!(target.portal_groups[0].addresses, ["102.11.11.32:3260".parse().unwrap()]);
    assert!(target.initial_r2t && target.immediate_data);
}

#[test]
fn every_key_is_read_and_written_as_it_was() {
    let text = include_str!("every-key.conf");
    let configuration = read(text);
    let words = |text: &str| -> Vec<String> {
        text.lines()
            .map(|line| line.trim().to_owned())
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect()
    };
    assert_eq!(words(&configuration.to_text()), words(text));
    let keys = Global::keys().into_iter().chain(Target::keys());
    let absent: Vec<&str> = keys.map(|key| key.name).filter(|key| !text.contains(&format!("{key}="))).collect();
    // They can only be what they are without being given.
    assert_eq!(absent, ["OFMarker", "IFMarker"]);
}

#[test]
fn what_is_not_given_is_as_the_table_says() {
    let configuration = read(PLAIN);
    assert_eq!(configuration.global, Global::default());
    for key in Target::keys().iter().filter(|key| !PLAIN.contains(&format!("{}=", key.name))) {
        for line in &key.default {
            let text = format!("{PLAIN}{}={line}\n", key.name);
            assert_eq!(read(&text), configuration, "{text}");
        }
    }
}

#[test]
fn several_lines_and_commas_make_one_list() {
    let with = |text: &str| read(&format!("{PLAIN}{text}")).targets.remove(0);
    let commas =
        with("HeaderDigest=CRC32C, None\nAuth_CHAP_Initiator=\"a\":\"secret of a 12\",\"b\":\"secret of b 12\"\n");
    let lines = with(
        "HeaderDigest=CRC32C\nHeaderDigest=None\nAuth_CHAP_Initiator=\"a\":\"secret of a 12\"\nAuth_CHAP_Initiator=\"b\":\"secret of b 12\"\n",
    );
    assert_eq!(commas, lines);
    assert_eq!(lines.header_digest, [Digest::Crc32c, Digest::None]);
    assert_eq!(lines.chap_initiators.len(), 2);
}

#[test]
fn a_rule_of_the_access_control_list_names_who_and_what() {
    let rule = |text: &str| -> Acl { read(&format!("{PLAIN}ACL={text}\n")).targets[0].acls[0].clone() };
    let addresses = |texts: &[&str]| -> Vec<IpAddr> { texts.iter().map(|text| text.parse().unwrap()).collect() };
    let acl = rule("iname=iqn.2004-05.com.Example:host;sip=192.0.2.7,192.0.2.8;lun=0~2:R,7:RW");
    assert_eq!(acl.initiators.iter().map(Name::as_str).collect::<Vec<_>>(), ["iqn.2004-05.com.example:host"]);
    assert_eq!((acl.sources, acl.destinations), (addresses(&["192.0.2.7", "192.0.2.8"]), Vec::new()));
    let right = |first, last, write| LunRight { luns: LunRange::Range(first, last), write };
    assert_eq!(acl.luns, [right(0, 2, false), right(7, 7, true)]);
    let acl = rule("dip=192.0.2.1");
    assert_eq!((acl.initiators, acl.destinations), (Vec::new(), addresses(&["192.0.2.1"])));
    assert_eq!(acl.luns, [LunRight { luns: LunRange::All, write: true }], "all units, if nothing is said of them");
}

#[test]
fn memory_has_a_size_and_a_portal_a_port() {
    let text = "target:\nTargetName=eui.0123456789abcdef\nTargetDevice=ram,MEM\nTargetDevice=big,MEM,size=2TB,RO\n\
        PortalGroup=2@192.0.2.1:860,[2001:db8::1],[2001:db8::2]:3261,timeout=30,[3,4]\nPortalGroup=3@192.0.2.3\nPortalGroup=4@192.0.2.4\n";
    let target = read(text).targets.remove(0);
    let kinds: Vec<DeviceKind> = target.devices.iter().map(|device| device.kind).collect();
    assert_eq!(kinds, [DeviceKind::Memory { bytes: 16 << 20 }, DeviceKind::Memory { bytes: 2 << 40 }]);
    let group = &target.portal_groups[0];
    let addresses =
        ["192.0.2.1:860", "[2001:db8::1]:3260", "[2001:db8::2]:3261"].map(|address| address.parse().unwrap());
    assert_eq!(
        (&group.addresses[..], group.timeout_seconds, &group.redirect[..]),
        (&addresses[..], Some(30), &[3, 4][..])
    );
}

#[test]
fn each_fault_says_where_it_is_and_what_was_expected() {
    let mut failures = String::new();
    for case in include_str!("faults.txt").split("----\n") {
        let (text, expected) = case.split_once("=>\n").expect("a file and what is said of it");
        let said = faults(&text.replace("PLAIN\n", PLAIN));
        if said != expected.trim_end() {
            failures += &format!("{text}=>\n{said}\n----\n");
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn a_secret_is_in_no_fault_and_in_no_debug_output() {
    for line in [
        "Auth_CHAP_Initiator=hunter2hunter2",
        "Auth_CHAP_Initiator=\"a\":\"hunter2\"",
        "Auth_CHAP_Target=\"a\":\"hunter2,hunter2\"",
        "\"a\":\"hunter2hunter2\"",
    ] {
        let said = faults(&format!("{PLAIN}{line}\n"));
        assert!(said.starts_with("line 5: ") && !said.contains("hunter2"), "{said}");
    }
    let read = read(&format!("{PLAIN}Auth_CHAP_Initiator=\"a\":\"hunter2hunter2\"\n"));
    assert!(!format!("{read:?}").contains("hunter2"));
    assert!(read.to_text().contains("hunter2"));
}

#[test]
fn so_many_faults_are_told_and_no_more() {
    let said = faults(&"nonsense\n".repeat(1_000_000));
    assert_eq!(said.lines().count(), FAULTS_MAX + 1);
    assert!(said.ends_with("\nand 999901 more"), "{}", said.lines().last().unwrap());
}

#[test]
fn what_has_changed_is_told_with_what_it_asks_for() {
    let old = read(PLAIN).targets.remove(0);
    let new = read(&format!("{PLAIN}TargetDevice=m,MEM\nMaxConnections=4\nACL_Enable=Yes\nACL=sip=192.0.2.9\n"))
        .targets
        .remove(0);
    let changes: Vec<(&str, Reload)> = old.changes(&new).into_iter().map(|key| (key.name, key.reload)).collect();
    let expected = [
        ("MaxConnections", Reload::NewLogins),
        ("TargetDevice", Reload::AtOnce),
        ("ACL_Enable", Reload::Never),
        ("ACL", Reload::Never),
    ];
    assert_eq!(changes, expected);
    assert_eq!(old.changes(&old), []);
}

#[test]
fn what_is_shown_has_users_and_no_secrets() {
    let configuration =
        read(&format!("{PLAIN}Auth_CHAP_Initiator=\"a\":\"secret of a 12\",\"b\":\"secret of b 12\"\n"));
    let shown = configuration.targets[0].shown();
    let values = |key: &str| &shown.iter().find(|(name, _)| *name == key).unwrap().1;
    assert_eq!(values("Auth_CHAP_Initiator"), &["\"a\":\"***\"", "\"b\":\"***\""]);
    assert_eq!(values("Auth_CHAP_Target"), &[""; 0]);
    assert_eq!(values("MaxConnections"), &["1"]);
}

#[test]
fn a_global_key_is_set_by_its_text() {
    let mut global = chiscsi_config::Global::default();
    global.set("iscsi_login_complete_time", " 7 ").unwrap();
    assert_eq!(global.login_complete_seconds.get(), 7);
    let wrong = |name, text| chiscsi_config::Global::default().set(name, text).unwrap_err();
    assert_eq!(
        wrong("iscsi_login_complete_time", "soon"),
        "iscsi_login_complete_time: expected a number from 0 to 3600, found 'soon'"
    );
    assert_eq!(wrong("ISCSI_HA_MODE", "Yes"), "'ISCSI_HA_MODE': it is spelled iscsi_HA_mode");
    assert_eq!(wrong("TargetName", "x"), "'TargetName': it belongs into a target: block");
    let secret = wrong("DISC_Auth_CHAP_Target", "\"a\":\"hunter2hunter2\"");
    assert!(secret.contains("not for command lines") && !secret.contains("hunter2"), "{secret}");
}
