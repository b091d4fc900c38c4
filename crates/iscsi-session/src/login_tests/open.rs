//! Logins without authentication.

use super::bench::{Bench, INITIATOR, Owner, TARGET, TSIH, initiator_config, target_config, value_of};
use crate::{Authentication, Parameters, SessionType, TaskReporting};
use iscsi_pdu::Pdu;

/// RFC 7143 6.2-4, 6.3-1, 6.3-9: one request with T, one response with T.
/// RFC 7143 11.12-1: it is the first thing that the initiator sends.
#[test]
fn a_login_without_authentication_takes_one_exchange() {
    let mut bench = Bench::new(initiator_config(), target_config(), Owner::with(Authentication::None));
    let (ours, theirs) = bench.run().complete();
    assert_eq!(bench.sent.len(), 2);
    assert_eq!(
        ours.parameters,
        Parameters {
            initial_r2t: false,
            receive_segment_bytes_max: 262_144,
            send_segment_bytes_max: 262_144,
            burst_bytes_max: 1_048_576,
            first_burst_bytes_max: 262_144,
            time_2_retain: 0,
            outstanding_r2t_max: 16,
            protocol_level: 2,
            task_reporting: TaskReporting::ResponseFence,
            ..Parameters::default()
        }
    );
    assert_eq!(ours, theirs);
    assert_eq!((ours.initiator_name.as_str(), ours.target_name.as_deref()), (INITIATOR, Some(TARGET)));
    assert_eq!((ours.tsih, ours.authenticated_as), (TSIH, None));
    assert_eq!(ours.max_cmd_sn, ours.cmd_sn.advanced_by(31));
}

/// RFC 7143 4.2.7.1-4, 6.3-3, 7.4.1-2: nor does it recover anything.
#[test]
fn a_discovery_session_needs_no_target() {
    let config =
        crate::initiator::LoginConfig { target_name: None, session_type: SessionType::Discovery, ..initiator_config() };
    let mut bench = Bench::new(config, target_config(), Owner::with(Authentication::None));
    let (ours, theirs) = bench.run().complete();
    // RFC 7143 13.21-2: the type is said at once.
    let Some(Pdu::LoginRequest(first)) = bench.sent.first() else { panic!("a request comes first") };
    assert_eq!(value_of(&first.data, "SessionType"), Some("Discovery"));
    assert_eq!(ours, theirs);
    assert_eq!((ours.session_type, ours.target_name), (SessionType::Discovery, None));
    assert_eq!((ours.parameters.max_connections, ours.parameters.error_recovery_level), (1, 0));
}
