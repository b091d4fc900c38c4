//! What is printed reads back as the same, and whatever is read says something.

use chiscsi_config::{Configuration, Global, KeyInfo, Target};
use proptest::prelude::*;

/// A value that a key has somewhere, or something like it.
fn value(key: &KeyInfo) -> BoxedStrategy<String> {
    let kind = key.expected.clone();
    let name = key.name;
    if let Some((least, most)) = kind.strip_prefix("a number from ").and_then(|range| range.split_once(" to ")) {
        let (least, most): (u32, u32) = (least.parse().unwrap(), most.parse().unwrap());
        return prop_oneof![Just(least), Just(most), least..=most].prop_map(|number| number.to_string()).boxed();
    }
    let words: Vec<String> = match kind.as_str() {
        "Yes or No" => vec!["Yes".into(), "No".into()],
        _ => kind.split(" or ").map(str::to_owned).collect(),
    };
    match name {
        "TargetName" => "iqn\\.20[0-9]{2}-1[0-2]\\.[a-z]{1,9}(\\.[a-z]{1,9})?:[A-Za-z0-9.-]{1,20}".boxed(),
        "TargetAlias" | "iscsi_chelsio_ini_idstr" => "[!-~][ -~]{0,20}[!-~]|[!-~\u{e9}]".boxed(),
        "iscsi_target_vendor_id" => "[!-~]{1,8}".boxed(),
        "HeaderDigest" | "DataDigest" => prop_oneof!["None", "CRC32C", "None,CRC32C", "CRC32C, None"].boxed(),
        "AuthMethod" => prop_oneof!["None", "CHAP", "None,CHAP"].boxed(),
        _ if name.contains("CHAP_Initiator") || name.contains("CHAP_Target") => {
            "\"[!#-+.-~]{1,20}\":\"[!-+.-~]{12,40}\"".boxed()
        }
        "PortalGroup" => "[1-9]@192\\.0\\.2\\.[1-9](:[1-9][0-9]{2})?(,\\[2001:db8::[1-9]\\])?(,timeout=[1-9][0-9])?(,\\[[1-9]\\])?".boxed(),
        "TargetDevice" => "/[a-z]{1,9}(,BLK|,FILE|,SYNC|,MEM|,MEM,size=[1-9][0-9]{0,2}[MG]B)?(,NULLRW)?(,RO)?(,ID=[a-z]{1,24})?(,SN=[a-z0-9]{1,16})?".boxed(),
        "ACL" => "(iname=iqn\\.2001-04\\.com\\.[a-z]{1,9};)?sip=192\\.0\\.2\\.[1-9](;dip=2001:db8::[1-9])?(;lun=([0-4]~[5-9]|ALL|7):(R|RW|WR))?".boxed(),
        _ => prop::sample::select(words).boxed(),
    }
}

/// How often a key is there.
fn count(key: &KeyInfo) -> std::ops::RangeInclusive<usize> {
    match key.name {
        "TargetName" => 1..=1,
        "PortalGroup" | "TargetDevice" => 1..=2,
        "ACL" | "Auth_CHAP_Initiator" | "DISC_Auth_CHAP_Initiator" => 0..=2,
        _ => 0..=1,
    }
}

fn block(name: &'static str, keys: Vec<KeyInfo>) -> impl Strategy<Value = String> {
    let lines = |key: KeyInfo| {
        let line = value(&key).prop_map(move |value| format!("  {} = {value}\n", key.name));
        prop::collection::vec(line, count(&key))
    };
    let lines: Vec<_> = keys.into_iter().map(lines).collect();
    lines.prop_map(move |lines| format!("{name}:\n# a comment\n{}", lines.concat().concat()))
}

fn file() -> impl Strategy<Value = String> {
    let targets = prop::collection::vec(block("target", Target::keys()), 1..3);
    (block("global", Global::keys()), targets).prop_map(|(global, targets)| global + &targets.concat())
}

/// The file without the lines that are faults, as long as that is of use.
fn without_faults(mut text: String) -> Option<(String, Configuration)> {
    for _ in 0..8 {
        let faults = match text.parse::<Configuration>() {
            Ok(configuration) => return Some((text, configuration)),
            Err(faults) => faults,
        };
        let is_faulty = |line: usize| faults.as_slice().iter().any(|fault| fault.line == line);
        let is_kept = |line: &usize| !is_faulty(*line) || text.lines().nth(line - 1).unwrap().ends_with(':');
        let lines: Vec<&str> =
            (1..=text.lines().count()).filter(is_kept).map(|line| text.lines().nth(line - 1).unwrap()).collect();
        text = lines.join("\n");
    }
    None
}

proptest! {
    #[test]
    fn what_is_printed_reads_back_as_the_same(text in file()) {
        let Some((text, configuration)) = without_faults(text) else { return Err(TestCaseError::reject("no target is left")) };
        let printed = configuration.to_text();
        let again: Configuration = printed.parse().map_err(|faults| TestCaseError::fail(format!("{faults}\n{printed}")))?;
        prop_assert_eq!(&again, &configuration, "{}\n{}", text, printed);
        prop_assert_eq!(again.to_text(), printed);
        for (old, new) in configuration.targets.iter().zip(&again.targets) {
            prop_assert_eq!(old.changes(new), []);
        }
    }

    #[test]
    fn any_text_is_a_configuration_or_has_faults(text in "\\PC*|((global|target):\n|[A-Za-z_0-9]{1,20}=[ -~]{0,30}\n){0,20}") {
        match text.parse::<Configuration>() {
            Ok(configuration) => prop_assert!(!configuration.targets.is_empty()),
            Err(faults) => prop_assert!(faults.as_slice().iter().all(|fault| fault.line <= text.lines().count().max(1))),
        }
    }
}
