//! What the values of a file say of each other.

use crate::parse::{Block, Lines, Reading};
use crate::{AuthMethod, ChapPolicy, Global, Target};
use iscsi_session::Credential;
use std::collections::{HashMap, HashSet};

/// Adds the faults that no key has alone.
pub(crate) fn check(reading: &mut Reading) {
    let mut say = |line, text: String| reading.faults.add(line, text);
    if let Some(Block { value, lines }) = &reading.global {
        check_discovery(value, lines, &mut say);
    }
    if reading.targets.is_empty() {
        say(1, "expected at least one target: block".into());
    }
    let mut names = HashMap::new();
    for Block { value, lines } in &reading.targets {
        check_name(value, lines, &mut names, &mut say);
        check_lengths(value, lines, &mut say);
        check_authentication(value, lines, &mut say);
        check_portal_groups(value, lines, &mut say);
        check_units(value, lines, &mut say);
    }
}

fn check_discovery(global: &Global, lines: &Lines, say: &mut impl FnMut(usize, String)) {
    if global.discovery_auth_method == AuthMethod::Chap && global.discovery_chap_initiators.is_empty() {
        say(lines.of("DISC_AuthMethod"), "DISC_AuthMethod: CHAP expects a DISC_Auth_CHAP_Initiator".into());
    }
    if global.discovery_chap_policy == ChapPolicy::Mutual && global.discovery_chap_target.is_none() {
        say(lines.of("DISC_Auth_CHAP_Policy"), "DISC_Auth_CHAP_Policy: Mutual expects a DISC_Auth_CHAP_Target".into());
    }
    if shares(&global.discovery_chap_initiators, global.discovery_chap_target.as_ref()) {
        say(lines.of("DISC_Auth_CHAP_Target"), format!("DISC_Auth_CHAP_Target: {OWN_SECRET}"));
    }
}

const OWN_SECRET: &str = "expected a secret that no initiator has (RFC 7143 9.2.1)";

/// Whether a target would prove itself with what an initiator knows.
fn shares(initiators: &[Credential], target: Option<&Credential>) -> bool {
    target.is_some_and(|target| initiators.iter().any(|initiator| initiator.secret == target.secret))
}

fn check_name<'a>(
    target: &'a Target,
    lines: &Lines,
    names: &mut HashMap<&'a str, usize>,
    say: &mut impl FnMut(usize, String),
) {
    let line = lines.of("TargetName");
    let name = target.name.as_str();
    if name.is_empty() {
        // One that could not be read is told already.
        if line == lines.header() {
            say(line, "TargetName: expected in each target: block".into());
        }
    } else if let Some(first) = names.insert(name, line) {
        say(line, format!("TargetName: expected another name, the target of line {first} has it"));
    }
}

fn check_lengths(target: &Target, lines: &Lines, say: &mut impl FnMut(usize, String)) {
    let (first, most) = (target.first_burst_length.get(), target.max_burst_length.get());
    if first > most {
        let line = lines.of("FirstBurstLength").max(lines.of("MaxBurstLength"));
        say(line, format!("FirstBurstLength: expected at most MaxBurstLength, {most}, found {first} (RFC 7143 13.14)"));
    }
}

fn check_authentication(target: &Target, lines: &Lines, say: &mut impl FnMut(usize, String)) {
    if target.auth_method == [AuthMethod::Chap] && target.chap_initiators.is_empty() {
        say(lines.of("AuthMethod"), "AuthMethod: CHAP alone expects an Auth_CHAP_Initiator".into());
    }
    if target.chap_policy == ChapPolicy::Mutual && target.chap_target.is_none() {
        say(lines.of("Auth_CHAP_Policy"), "Auth_CHAP_Policy: Mutual expects an Auth_CHAP_Target".into());
    }
    if shares(&target.chap_initiators, target.chap_target.as_ref()) {
        say(lines.of("Auth_CHAP_Target"), format!("Auth_CHAP_Target: {OWN_SECRET}"));
    }
}

fn check_portal_groups(target: &Target, lines: &Lines, say: &mut impl FnMut(usize, String)) {
    let groups = &target.portal_groups;
    if groups.is_empty() && lines.of("PortalGroup") == lines.header() {
        say(lines.header(), "PortalGroup: expected in each target: block".into());
    }
    let (mut tags, mut addresses) = (HashSet::new(), HashSet::new());
    let all: HashSet<u16> = groups.iter().map(|group| group.tag).collect();
    for (index, group) in groups.iter().enumerate() {
        let mut fault = |text: String| say(lines.of_entry("PortalGroup", index), format!("PortalGroup: {text}"));
        if !tags.insert(group.tag) {
            fault(format!("expected each tag once in a target, found {} again", group.tag));
        }
        for address in group.addresses.iter().filter(|address| !addresses.insert(**address)) {
            fault(format!("expected each address once in a target, found {address} again"));
        }
        for tag in group.redirect.iter().filter(|tag| **tag == group.tag || !all.contains(tag)) {
            fault(format!("expected tags of other portal groups to redirect to, found {tag}"));
        }
        let redirects = |tag: u16| groups.iter().any(|other| other.tag == tag && !other.redirect.is_empty());
        for tag in group.redirect.iter().filter(|tag| **tag != group.tag && redirects(**tag)) {
            fault(format!("expected tags of groups that redirect nobody themselves, found {tag}"));
        }
    }
    if target.shadow_mode && !groups.is_empty() && groups.iter().all(|group| group.redirect.is_empty()) {
        say(lines.of("ShadowMode"), "ShadowMode: Yes expects a PortalGroup with a list to redirect to".into());
    }
}

fn check_units(target: &Target, lines: &Lines, say: &mut impl FnMut(usize, String)) {
    if target.devices.is_empty() && !target.shadow_mode && lines.of("TargetDevice") == lines.header() {
        say(lines.header(), "TargetDevice: expected in each target: block without ShadowMode=Yes".into());
    }
    let mut serials = HashSet::new();
    for (index, device) in target.devices.iter().enumerate() {
        if let Some(serial) = device.serial.as_ref().filter(|serial| !serials.insert(serial.as_str())) {
            let line = lines.of_entry("TargetDevice", index);
            say(line, format!("TargetDevice: expected each SN once in a target, found {} again", serial.as_str()));
        }
    }
    if target.acl_enable && target.acls.is_empty() && lines.of("ACL") == lines.header() {
        say(lines.of("ACL_Enable"), "ACL_Enable: Yes expects an ACL, since nobody could log in".into());
    }
}
