//! The language: what it takes, what it refuses and where, and that printing and reading are inverse.

use proptest::prelude::*;
use t5_policy::{Bind, Congestion, Opening, Policy};

/// Rules that are none: the column, and a part of what is said.
const REFUSED: &[(&str, u32, &str)] = &[
    ("any offload", 12, "the `=>` is missing"),
    ("any => ofload", 8, "`ofload` is no setting"),
    ("net 10.10/24 => offload", 11, "24 bits is longer than the 2 octets"),
    ("net 10/9 => offload", 8, "9 bits is longer than the 1 octets"),
    ("net 10.0.0.0/33 => offload", 14, "longer than the 4 octets"),
    ("vlan 4096 => offload", 6, "4095 at most, and not 4096"),
    ("vlan > 4096 => offload", 8, "4095 at most"),
    ("vlan -3 => offload", 6, "negative"),
    ("port -1 => offload", 6, "negative"),
    ("src vlan 3 => offload", 5, "after src or dst comes host, net, port or portrange, and not `vlan`"),
    ("22 => offload", 1, "22 of what?"),
    ("listen 22 => offload", 8, "22 of what?"),
    ("host 10.0.0.256 => offload", 6, "octet `256`"),
    ("host 10.0.0 => offload", 6, "3 of four octets"),
    ("host 10.0.0.0.1 => offload", 6, "expected an address"),
    ("host fd00:::1 => offload", 6, "expected an address"),
    ("mark 10.0.0.1 => offload", 6, "a number from 0 to 4294967295"),
    ("any => offload cong high_speed", 21, "`cong` is reno, tahoe, newreno or highspeed"),
    ("tos 5 => offload class -1", 24, "negative"),
    ("tos -5 => offload class 1", 5, "negative"),
    ("any => offload class 15", 22, "from 0 to 14"),
    ("any => offload not bind 3", 20, "leave the `not` out"),
    ("any => offload bind 1024", 21, "random, cpu or a queue"),
    ("any => offload bind", 20, "the value of `bind` is missing"),
    ("any => offload ddp !ddp", 21, "twice"),
    ("any => offload !", 17, "A setting is missing"),
    ("any => ", 7, "settings are missing"),
    ("=> offload", 1, "a filter is missing"),
    ("dscp 64 => offload", 6, "63 at most"),
    ("vers 5 => offload", 6, "4 and 6"),
    ("host < 10.0.0.1 => offload", 6, "compared by == and !="),
    ("portrange 20-10 => offload", 11, "20 is above 10"),
    ("portrange 20 => offload", 11, "expected two ports"),
    ("net 10.0 => offload", 10, "ADDRESS/LENGTH"),
    ("net 10.0.0.0 mask fd00:: => offload", 19, "both IPv4 or both IPv6"),
    ("port ishi => offload", 6, "and not `ishi`"),
    ("(port 22 => offload", 10, "expected a `)`, and not the end of the filter"),
    ("port 22) => offload", 8, "cannot stand here"),
    ("listen ? port 22 => offload", 18, "expected the `:`"),
    ("port 22 or => offload", 12, "the filter ends"),
    ("port 22 | vlan 3 => offload", 9, "belongs to no word"),
    ("frobnicate => offload", 1, "nothing to match"),
];

#[test]
fn bad_rules_are_refused_where_they_are_bad() {
    for &(text, column, said) in REFUSED {
        let errors = Policy::parse(text).expect_err(text).0;
        let told = errors.iter().any(|error| (error.line, error.column) == (1, column) && error.text.contains(said));
        assert!(told && errors.len() == 1, "{text}: {errors:?}");
    }
}

#[test]
fn all_errors_are_told_at_once() {
    let lines: Vec<String> = (1..=300).map(|line| format!("port {line} => offload")).collect();
    let mut text = lines.join("\n");
    text += "\nvlan 9999 => ofload cong fast # two in settings\n\nany => offload\nhost => bind x";
    let errors = Policy::parse(&text).unwrap_err();
    let places: Vec<_> = errors.0.iter().map(|error| (error.line, error.column)).collect();
    assert_eq!(places, [(301, 6), (301, 14), (301, 26), (304, 6), (304, 14)]);
    assert!(errors.to_string().starts_with("301:6: the value of vlan is 4095 at most, and not 9999\n301:14: "));
}

#[test]
fn deep_nesting_and_long_texts_are_refused() {
    let deep = format!("{}port 22{} => offload", "(".repeat(5000), ")".repeat(5000));
    assert!(Policy::parse(&deep).unwrap_err().0[0].text.contains("64 deep"));
    let deep = format!("{}any => offload", "!".repeat(5000));
    assert!(Policy::parse(&deep).unwrap_err().0[0].text.contains("64 deep"));
    let choices = format!("{}any => offload", "any ? any : ".repeat(5000));
    assert!(Policy::parse(&choices).unwrap_err().0[0].text.contains("64 deep"));
    assert!(Policy::parse(&"#".repeat(300_000)).unwrap_err().0[0].text.contains("262144 bytes at most"));
}

/// Texts that mean the same.
#[test]
fn what_may_be_left_out_may_be_written() {
    for (short, long) in [
        ("-", "any"),
        ("all", "any"),
        ("dst port 22 or 23", "dst port == 22 || dest port = 23"),
        ("host 10.0.0.1 or 10.0.0.2", "(host 10.0.0.1) or src or dst host 10.0.0.2"),
        ("port ssh vlan 3 !listen", "port 22 and vlan 3 && not listen"),
        ("net 10.10/16", "net 10.10.0.0 mask 255.255.0.0"),
        ("net 10.10.7.7/16", "net 10.10/16"),
        ("net 10.0.0.1/32", "host 10.0.0.1"),
        ("portrange iscsi-target-3269", "portrange 3260-3269"),
        ("mark 0x10", "mark 16"),
        ("port 22 or vlan 3 and tos 4", "port 22 or (vlan 3 and tos 4)"),
        ("not port 22 and vlan 3", "(not port 22) and vlan 3"),
        ("listen ? vlan 3 : popen ? vlan 4 : any", "listen ? vlan 3 : (popen ? vlan 4 : any)"),
        ("port 22 or listen ? any : aopen", "(port 22 or listen) ? any : aopen"),
        ("port > 5 or 7", "port > 5 or port == 7"),
    ] {
        let [short, long] = [short, long].map(|filter| Policy::parse(&format!("{filter} => offload\n")).unwrap());
        assert_eq!(short, long);
    }
}

#[test]
fn settings_are_read() {
    let text = "any => offload !!!ddp timestamp not not sack !nagle coalesce bind cpu class 14 cong newreno mss 9 !tls";
    let settings = Policy::parse(text).unwrap().rules[0].settings;
    assert!(settings.offload);
    assert_eq!((settings.ddp, settings.timestamps, settings.sack), (Some(false), Some(true), Some(true)));
    assert_eq!((settings.nagle, settings.coalesce, settings.tls), (Some(false), Some(true), Some(false)));
    assert_eq!((settings.bind, settings.class, settings.mss_kib), (Bind::Cpu, Some(14), Some(9)));
    assert_eq!(settings.congestion, Some(Congestion::NewReno));
    assert_eq!(settings.beyond_t5(), Some("tstamp"));
    // Without offload nothing is offloaded, whatever else is said.
    assert!(!Policy::parse("any => ddp bind 3").unwrap().rules[0].settings.offload);
}

/// The rule of the paper.
#[test]
fn the_papers_rule_offloads_everything() {
    let policy = Policy::parse("any => offload ddp bind random\n").unwrap();
    assert_eq!(policy.to_string(), "any => offload ddp bind random\n");
    let program = policy.compile().unwrap();
    let opening = Opening::parse("popen 10.0.0.1:4000 10.0.0.2:3260").unwrap();
    let decision = program.decide(&opening);
    assert_eq!((decision.rule, decision.settings.ddp), (Some(1), Some(true)));
}

#[test]
fn descriptions_of_connections_are_read() {
    let opening = Opening::parse("aopen [fd00::1]:9 [fd00::2]:3260 vlan 7 tos 8 mark 9").unwrap();
    assert_eq!((opening.vlan, opening.tos, opening.mark, opening.destination.port()), (7, 8, 9, 3260));
    assert_eq!(Opening::parse("listen 10.0.0.1:3260").unwrap(), Opening::listen("10.0.0.1:3260".parse().unwrap()));
    for bad in [
        "",
        "close 1.2.3.4:5",
        "aopen 1.2.3.4:5",
        "aopen 1.2.3.4:5 [::1]:5",
        "listen 1.2.3.4",
        "listen 1.2.3.4:5 vlan 4096",
    ] {
        assert!(Opening::parse(bad).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn a_printed_policy_reads_back_as_itself(policy in crate::common::policies()) {
        let text = policy.to_string();
        prop_assert_eq!(Policy::parse(&text), Ok(policy), "{}", text);
    }

    #[test]
    fn any_text_is_a_policy_or_errors(text in "[ -~äé\n]{0,80}|((port|host|net|src|dst|or|and|not|[(]|[)]|[?]|:|=>|offload|bind|vlan|[0-9]{1,5}|10[.]1|/|&|<|!=|\n) ){0,20}") {
        match Policy::parse(&text) {
            Ok(policy) => prop_assert_eq!(Policy::parse(&policy.to_string()), Ok(policy)),
            Err(errors) => {
                let lines: Vec<&str> = text.lines().collect();
                for error in errors.0 {
                    let line = lines[error.line as usize - 1];
                    prop_assert!(error.column >= 1 && error.column as usize <= line.chars().count() + 1);
                }
            }
        }
    }
}
