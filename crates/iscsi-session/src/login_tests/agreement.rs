//! Whatever two ends are configured to, they end with the same view of what was agreed upon, over however many PDUs.

use super::bench::{Bench, Ends, Owner, alice, bob, chap, initiator_config, target_config};
use crate::initiator::{self, LoginEvent};
use crate::{Authentication, Limits, LoginOutcome, Parameters, SessionType, TaskReporting, target};
use proptest::prelude::*;

fn digests() -> impl Strategy<Value = Vec<bool>> {
    prop_oneof![Just(vec![false]), Just(vec![true]), Just(vec![true, false]), Just(vec![false, true]), Just(vec![])]
}

fn bytes() -> impl Strategy<Value = u32> {
    prop_oneof![0..2000_u32, 4000..300_000_u32, (1 << 24) - 2..(1 << 24) + 2_u32, Just(u32::MAX)]
}

fn limits() -> impl Strategy<Value = Limits> {
    let lengths = (bytes(), bytes(), bytes());
    let numbers = (0..4_u16, 0..4000_u16, 0..4000_u16, 0..20_u16, 0..4_u8, any::<[bool; 3]>(), 0..4_u8);
    (digests(), digests(), any::<bool>(), any::<bool>(), lengths, numbers).prop_map(
        |(header_digest, data_digest, initial_r2t, immediate_data, (receive, burst, first), numbers)| Limits {
            header_digest,
            data_digest,
            initial_r2t,
            immediate_data,
            receive_segment_bytes_max: receive,
            burst_bytes_max: burst,
            first_burst_bytes_max: first,
            max_connections: numbers.0,
            time_2_wait: numbers.1,
            time_2_retain: numbers.2,
            outstanding_r2t_max: numbers.3,
            error_recovery_level: numbers.4,
            data_pdu_in_order: numbers.5[0],
            data_sequence_in_order: numbers.5[1],
            protocol_level_max: numbers.6,
            task_reporting: [TaskReporting::Rfc3720, TaskReporting::FastAbort][usize::from(numbers.5[2])],
        },
    )
}

fn session_type() -> impl Strategy<Value = SessionType> {
    prop_oneof![Just(SessionType::Normal), Just(SessionType::Discovery)]
}

fn run(ours: &Limits, theirs: &Limits, session_type: SessionType, segments: [usize; 2]) -> (Ends, usize) {
    let initiator = initiator::LoginConfig { limits: ours.clone(), session_type, ..initiator_config() };
    let target = target::LoginConfig { limits: theirs.clone(), ..target_config() };
    let mut bench = Bench::with_segments(initiator, target, Owner::with(Authentication::None), segments);
    let ends = bench.run();
    (ends, bench.sent.len())
}

/// The other end's view of the same parameters.
fn seen_from_the_other_end(parameters: &Parameters) -> Parameters {
    Parameters {
        receive_segment_bytes_max: parameters.send_segment_bytes_max,
        send_segment_bytes_max: parameters.receive_segment_bytes_max,
        ..parameters.clone()
    }
}

fn is_kept(limits: &Limits, parameters: &Parameters) -> bool {
    let limits = limits.clone().within_ranges();
    let unsolicited = parameters.allows_unsolicited_data();
    limits.header_digest.contains(&parameters.header_digest)
        && limits.data_digest.contains(&parameters.data_digest)
        && parameters.max_connections <= limits.max_connections
        && (parameters.initial_r2t || !limits.initial_r2t)
        && (!parameters.immediate_data || limits.immediate_data)
        && parameters.receive_segment_bytes_max == limits.receive_segment_bytes_max
        && parameters.burst_bytes_max <= limits.burst_bytes_max
        && (!unsolicited || parameters.first_burst_bytes_max <= limits.first_burst_bytes_max)
        && parameters.first_burst_bytes_max <= parameters.burst_bytes_max
        && parameters.time_2_wait >= limits.time_2_wait
        && parameters.time_2_retain <= limits.time_2_retain
        && parameters.outstanding_r2t_max <= limits.outstanding_r2t_max
        && parameters.error_recovery_level <= limits.error_recovery_level
        && (parameters.error_recovery_level == 0
            || !parameters.data_sequence_in_order
            || parameters.outstanding_r2t_max == 1)
        && (parameters.data_pdu_in_order || !limits.data_pdu_in_order)
        && (parameters.data_sequence_in_order || !limits.data_sequence_in_order)
        && parameters.protocol_level <= limits.protocol_level_max
        && parameters.task_reporting <= limits.task_reporting
}

/// Limits that leave nothing to negotiate.
fn exactly(parameters: &Parameters) -> Limits {
    Limits {
        header_digest: vec![parameters.header_digest],
        data_digest: vec![parameters.data_digest],
        max_connections: parameters.max_connections,
        initial_r2t: parameters.initial_r2t,
        immediate_data: parameters.immediate_data,
        receive_segment_bytes_max: parameters.receive_segment_bytes_max,
        burst_bytes_max: parameters.burst_bytes_max,
        first_burst_bytes_max: parameters.first_burst_bytes_max,
        time_2_wait: parameters.time_2_wait,
        time_2_retain: parameters.time_2_retain,
        outstanding_r2t_max: parameters.outstanding_r2t_max,
        error_recovery_level: parameters.error_recovery_level,
        data_pdu_in_order: parameters.data_pdu_in_order,
        data_sequence_in_order: parameters.data_sequence_in_order,
        protocol_level_max: parameters.protocol_level,
        task_reporting: parameters.task_reporting,
    }
}

fn same_views(ours: &LoginOutcome, theirs: &LoginOutcome) {
    assert_eq!(seen_from_the_other_end(&ours.parameters), theirs.parameters);
    assert_eq!(&LoginOutcome { parameters: theirs.parameters.clone(), ..ours.clone() }, theirs);
}

fn have_a_digest_in_common(ours: &[bool], theirs: &[bool]) -> bool {
    let choices = |digests: &[bool]| if digests.is_empty() { vec![false] } else { digests.to_vec() };
    choices(ours).iter().any(|digest| choices(theirs).contains(digest))
}

proptest! {
    /// RFC 7143 6.2-16, 6.2-17, 6.2.2-2: both have the same view in the end, or none.
    #[test]
    fn both_ends_agree_within_the_limits_of_each(ours in limits(), theirs in limits(), session_type in session_type()) {
        let agreeable = have_a_digest_in_common(&ours.header_digest, &theirs.header_digest)
            && have_a_digest_in_common(&ours.data_digest, &theirs.data_digest);
        let (ends, _) = run(&ours, &theirs, session_type, [8192; 2]);
        if !agreeable {
            prop_assert!(matches!(ends.initiator, Some(LoginEvent::Failed(_))));
            return Ok(());
        }
        let (initiator, target) = ends.complete();
        same_views(&initiator, &target);
        if session_type == SessionType::Normal {
            prop_assert!(is_kept(&ours, &initiator.parameters), "{:?}", initiator.parameters);
            prop_assert!(is_kept(&theirs, &target.parameters), "{:?}", target.parameters);
        }
    }

    #[test]
    fn what_was_agreed_upon_is_agreed_upon_again(ours in limits(), theirs in limits()) {
        let (ends, _) = run(&ours, &theirs, SessionType::Normal, [8192; 2]);
        let Some(LoginEvent::Complete(_)) = ends.initiator else { return Ok(()) };
        let (initiator, target) = ends.complete();
        let (again, _) = run(&exactly(&initiator.parameters), &exactly(&target.parameters), SessionType::Normal, [8192; 2]);
        let (initiator_again, target_again) = again.complete();
        prop_assert_eq!(initiator.parameters, initiator_again.parameters);
        prop_assert_eq!(target.parameters, target_again.parameters);
    }

    /// RFC 7143 6.2-1, 6.2-2, 6.2-3: over however many PDUs.
    #[test]
    fn the_length_of_the_segments_changes_nothing(ours in limits(), theirs in limits(), segments in [24..600_usize, 24..600_usize]) {
        let (whole, exchanges) = run(&ours, &theirs, SessionType::Normal, [8192; 2]);
        let (split, more) = run(&ours, &theirs, SessionType::Normal, segments);
        prop_assert!(more >= exchanges);
        if let (Some(LoginEvent::Complete(whole)), Some(LoginEvent::Complete(split))) = (&whole.initiator, &split.initiator) {
            prop_assert_eq!(&whole.parameters, &split.parameters);
        }
        prop_assert_eq!(
            matches!(whole.initiator, Some(LoginEvent::Complete(_))),
            matches!(split.initiator, Some(LoginEvent::Complete(_)))
        );
    }

    /// RFC 7143 6.1-5, 6.2-3: each part is answered with nothing.
    #[test]
    fn chap_in_segments_of_any_length_authenticates(segments in [40..300_usize, 40..300_usize]) {
        let authentication = chap(&alice(), Some(bob()));
        let config = initiator::LoginConfig { authentication: authentication.clone(), ..initiator_config() };
        let mut bench = Bench::with_segments(config, target_config(), Owner::with(authentication), segments);
        let (ours, theirs) = bench.run().complete();
        same_views(&ours, &theirs);
    }
}
