//! What our target answers to each key.

use super::bench::{Owner, Script, TargetEnd, policy, target_config, value_of};
use crate::target::{Identification, LoginConfig, LoginEvent, LoginPolicy};
use crate::{Authentication, Limits, Parameters, TaskReporting};

/// The target's answers to these keys, one for each, and what was agreed upon if that was all there was to say.
fn answers(limits: Limits, keys: &[(&str, &str)]) -> (Vec<Option<String>>, Option<Parameters>) {
    let config = LoginConfig { limits, ..target_config() };
    let mut target = TargetEnd::new(config, Owner::with(Authentication::None));
    let (response, end) = target.response(Script::new().first(1, Some(3), keys));
    let parameters = match end {
        Some(LoginEvent::Complete(outcome)) => Some(outcome.parameters),
        None => None,
        Some(other) => panic!("{keys:?}: {other:?}"),
    };
    let answer = |key| value_of(&response.data, key).map(str::to_owned);
    (keys.iter().map(|(key, _)| answer(key)).collect(), parameters)
}

fn answer(key: &str, value: &str) -> Option<String> {
    let limits = Limits {
        burst_bytes_max: 300_000,
        time_2_wait: 5,
        time_2_retain: 10,
        outstanding_r2t_max: 4,
        ..Limits::default()
    };
    answers(limits, &[(key, value)]).0.remove(0)
}

/// RFC 7143 6.2-7, 6.2.1-1, 6.2.1-3, 6.2.2-1, 6.2.2-2, 6.2.2-3, 6.2.2-4, 6.2.2-5, 7.1.5-3, 13.23-1: TaskReporting among them.
/// RFC 7143 11.12.10-2, 11.13.8-2: the keys of chapter 13.
/// RFC 7143 13.24-1, 13.25-1, 13.25-2, 13.25-3, 13.25-4, 13.1-1: some by rules of their own.
#[test]
fn each_key_is_answered_by_its_rule() {
    for (key, offer, expected) in [
        // Booleans.
        ("InitialR2T", "Yes", "Yes"),
        ("InitialR2T", "No", "No"),
        ("InitialR2T", "yes", "Reject"),
        ("ImmediateData", "Yes", "Yes"),
        ("ImmediateData", "No", "No"),
        ("ImmediateData", "1", "Reject"),
        ("DataPDUInOrder", "No", "Yes"),
        ("DataSequenceInOrder", "Yes", "Yes"),
        // The lower of two.
        ("MaxBurstLength", "262144", "262144"),
        ("MaxBurstLength", "0x40000", "262144"),
        ("MaxBurstLength", "512", "512"),
        ("MaxBurstLength", "16777215", "300000"),
        ("MaxBurstLength", "16777216", "300000"),
        ("MaxBurstLength", "18446744073709551615", "300000"),
        ("MaxBurstLength", "18446744073709551616", "Reject"),
        ("MaxBurstLength", "511", "Reject"),
        ("MaxBurstLength", "512~1024", "Reject"),
        ("MaxBurstLength", "-1", "Reject"),
        ("MaxBurstLength", "", "Reject"),
        ("DefaultTime2Retain", "20", "10"),
        ("DefaultTime2Retain", "0", "0"),
        ("MaxOutstandingR2T", "8", "4"),
        ("MaxOutstandingR2T", "0", "Reject"),
        ("MaxConnections", "8", "1"),
        ("ErrorRecoveryLevel", "2", "0"),
        ("iSCSIProtocolLevel", "2", "2"),
        ("iSCSIProtocolLevel", "1", "1"),
        ("iSCSIProtocolLevel", "0", "0"),
        // The higher of two.
        ("DefaultTime2Wait", "2", "5"),
        ("DefaultTime2Wait", "3600", "3600"),
        ("DefaultTime2Wait", "3601", "Reject"),
        // Lists.
        ("HeaderDigest", "CRC32C,None", "CRC32C"),
        ("HeaderDigest", "None,CRC32C", "None"),
        ("HeaderDigest", "Y-com.example.md5,CRC32C", "CRC32C"),
        ("DataDigest", "Y-com.example.md5", "Reject"),
        ("DataDigest", "crc32c", "Reject"),
        ("TaskReporting", "FastAbort,ResponseFence,RFC3720", "ResponseFence"),
        ("TaskReporting", "RFC3720,FastAbort", "RFC3720"),
        // Obsolete.
        ("IFMarker", "No", "Reject"),
        ("OFMarker", "Yes", "Reject"),
        ("IFMarkInt", "2048~8192", "Reject"),
        ("OFMarkInt", "2048", "Reject"),
        // Unknown.
        ("X-com.example.bar.foo.do_something", "3", "NotUnderstood"),
        ("RDMAExtensions", "Yes", "NotUnderstood"),
        ("headerdigest", "None", "NotUnderstood"),
    ] {
        assert_eq!(answer(key, offer).as_deref(), Some(expected), "{key}={offer}");
    }
}

/// RFC 7143 6.2-11, 6.2-13: a declaration of the standard is understood without a word.
/// RFC 7143 13.26.2-1, 13.26.2-2: X#NodeArchitecture changes nothing.
#[test]
fn what_is_declared_or_answers_nothing_of_ours_is_not_answered() {
    assert_eq!(answer("MaxRecvDataSegmentLength", "512").as_deref(), Some("262144"), "our own declaration");
    for (key, value) in [
        ("InitiatorAlias", "Web Server 4"),
        ("X#NodeArchitecture", "ExampleOS/v1234"),
        ("SessionType", "Normal"),
        ("X-com.example.a", "NotUnderstood"),
        ("X-com.example.a", "Reject"),
    ] {
        assert_eq!(answer(key, value), None, "{key}");
    }
}

/// RFC 7143 6.2-6, 6.2-17: whatever was offered, it stays within MaxBurstLength.
/// RFC 7143 13.14-1: it is cut to MaxBurstLength.
#[test]
fn first_burst_length_follows_what_else_was_agreed_upon() {
    let ours = Limits { first_burst_bytes_max: 100_000, ..Limits::default() };
    for (keys, expected, effective) in [
        // Whatever the order in the text.
        (&[("FirstBurstLength", "262144"), ("MaxBurstLength", "65536")][..], "65536", 65_536),
        (&[("FirstBurstLength", "262144")], "100000", 100_000),
        (&[("FirstBurstLength", "4192"), ("InitialR2T", "Yes"), ("ImmediateData", "No")], "Irrelevant", 65_536),
        (&[("FirstBurstLength", "4192"), ("InitialR2T", "Yes")], "4192", 4192),
        (&[("FirstBurstLength", "4192"), ("InitialR2T", "No"), ("ImmediateData", "No")], "4192", 4192),
    ] {
        let (answers, parameters) = answers(ours.clone(), keys);
        assert_eq!(answers[0].as_deref(), Some(expected), "{keys:?}");
        assert_eq!(parameters.unwrap().first_burst_bytes_max, effective, "{keys:?}");
    }
}

// RFC 7143 13.19-2: whatever was offered.
#[test]
fn with_recovery_there_is_one_r2t_at_a_time() {
    let limits = Limits { error_recovery_level: 1, outstanding_r2t_max: 8, ..Limits::default() };
    let (both, _) = answers(limits.clone(), &[("MaxOutstandingR2T", "8"), ("ErrorRecoveryLevel", "2")]);
    assert_eq!(both, [Some("1".to_owned()), Some("1".to_owned())]);
    let (none, _) = answers(limits.clone(), &[("MaxOutstandingR2T", "8"), ("ErrorRecoveryLevel", "0")]);
    assert_eq!(none[0].as_deref(), Some("8"));
    // RFC 7143 13.19: unless sequences may come in any order.
    let any_order = Limits { data_sequence_in_order: false, ..limits };
    for (order, outstanding) in [("No", "8"), ("Yes", "1")] {
        let keys = [("MaxOutstandingR2T", "8"), ("DataSequenceInOrder", order), ("ErrorRecoveryLevel", "1")];
        let (answered, parameters) = answers(any_order.clone(), &keys);
        assert_eq!(answered[0].as_deref(), Some(outstanding), "{order}");
        assert_eq!(answered[1].as_deref(), Some(order));
        assert_eq!(parameters.unwrap().data_sequence_in_order, order == "Yes");
    }
}

// RFC 7143 13.23-1, 13.23-2: the first of the list that the target supports; whoever offers one offers those below.
#[test]
fn of_the_ways_to_report_tasks_the_first_that_both_have_is_taken() {
    for (ours, theirs, agreed) in [
        (TaskReporting::Rfc3720, "FastAbort,ResponseFence,RFC3720", "RFC3720"),
        (TaskReporting::ResponseFence, "FastAbort,ResponseFence,RFC3720", "ResponseFence"),
        (TaskReporting::FastAbort, "FastAbort,ResponseFence,RFC3720", "FastAbort"),
        (TaskReporting::FastAbort, "ResponseFence,RFC3720", "ResponseFence"),
        (TaskReporting::ResponseFence, "RFC3720,ResponseFence", "RFC3720"),
    ] {
        let limits = Limits { task_reporting: ours, ..Limits::default() };
        let (answered, parameters) = answers(limits, &[("TaskReporting", theirs)]);
        assert_eq!(answered[0].as_deref(), Some(agreed));
        let word = parameters.unwrap().task_reporting;
        assert_eq!(format!("{word:?}").to_lowercase(), agreed.to_lowercase());
    }
}

// RFC 7143 13.23-2.
#[test]
fn who_offers_a_way_to_report_tasks_offers_those_below_too() {
    for (best, offered) in [
        (TaskReporting::FastAbort, Some("FastAbort,ResponseFence,RFC3720")),
        (TaskReporting::ResponseFence, Some("ResponseFence,RFC3720")),
        (TaskReporting::Rfc3720, None),
    ] {
        let limits = Limits { task_reporting: best, ..Limits::default() };
        let config = crate::initiator::LoginConfig { limits, ..super::bench::initiator_config() };
        let mut login =
            crate::initiator::Login::new(config, iscsi_pdu::InitiatorTaskTag(1), [7; 32], std::time::Instant::now());
        let Some(iscsi_pdu::Pdu::LoginRequest(request)) = login.poll_transmit() else { panic!("a request") };
        assert_eq!(value_of(&request.data, "TaskReporting"), offered);
    }
}

#[test]
fn the_level_of_the_protocol_is_the_lower_one() {
    for (ours, theirs, agreed) in [(1, "2", 1), (2, "2", 2), (2, "31", 2), (2, "1", 1)] {
        let limits = Limits { protocol_level_max: ours, ..Limits::default() };
        let (answered, parameters) = answers(limits, &[("iSCSIProtocolLevel", theirs)]);
        assert_eq!(answered[0].as_deref(), Some(&*agreed.to_string()));
        assert_eq!(parameters.unwrap().protocol_level, agreed);
    }
}

// RFC 7143 13.6-1: with an alias that is any text.
#[test]
fn an_alias_is_told_in_normal_sessions_and_never_breaks_a_text() {
    let told = |keys: &[(&str, &str)], alias: &str| {
        let mut target = TargetEnd::usual(Authentication::None);
        target.owner.identification =
            Identification::Proceed(LoginPolicy { target_alias: Some(alias.into()), ..policy(Authentication::None) });
        let (response, _) = target.response(Script::new().first(1, Some(3), keys));
        value_of(&response.data, "TargetAlias").map(str::to_owned)
    };
    assert_eq!(told(&[], "Bob-s Disk").as_deref(), Some("Bob-s Disk"));
    assert_eq!(told(&[], "Bob\0AuthMethod=None").as_deref(), Some("BobAuthMethod=None"));
    assert_eq!(told(&[], &"ä".repeat(300)).unwrap().len(), 254);
    assert_eq!(told(&[("SessionType", "Discovery")], "Bob-s Disk"), None);
}

#[test]
fn a_target_has_limits_and_a_window_of_its_own() {
    let mut target = TargetEnd::usual(Authentication::None);
    let limits = Limits { max_connections: 3, receive_segment_bytes_max: u32::MAX, ..Limits::default() };
    let own = LoginPolicy { limits: Some(limits), window: Some(7), ..policy(Authentication::None) };
    target.owner.identification = Identification::Proceed(own);
    let (response, _) =
        target.response(Script::new().first(1, Some(3), &[("MaxConnections", "8"), ("MaxBurstLength", "1024")]));
    assert_eq!(value_of(&response.data, "MaxConnections"), Some("3"));
    assert_eq!(response.max_cmd_sn, response.exp_cmd_sn.advanced_by(6));
    // What all have in common bounds a segment: it may be what the port can take.
    let longest = Limits::default().receive_segment_bytes_max.to_string();
    assert_eq!(value_of(&response.data, "MaxRecvDataSegmentLength"), Some(&*longest));
}
