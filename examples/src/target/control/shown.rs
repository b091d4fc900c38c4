//! What a server and a configuration are, in the words of the control socket.

use std::collections::BTreeSet;

use chiscsi_config::{Configuration, Global};
use iscsi_control::{Answer, Block, Connection, KeyValues, Session, Status, TargetStatus};
use iscsi_runtime::{ConnectionState, NetworkState, OffloadMode, Parameters, ServerState, SessionState, SessionType};

use super::Configured;

pub(super) fn status(state: &ServerState, configured: Option<&Configured>) -> Answer {
    let groups = state.targets.iter().flat_map(|target| &target.portal_groups);
    let portals: BTreeSet<String> =
        groups.flat_map(|group| group.addresses.iter().map(|address| format!("{address},{}", group.tag))).collect();
    let targets = state.targets.iter().map(|target| {
        let has = |session: &&SessionState| session.target_name.as_ref() == Some(&target.name);
        TargetStatus {
            name: target.name.clone(),
            started: target.offered,
            luns: target.luns.len(),
            sessions: state.sessions.iter().filter(has).count(),
        }
    });
    Answer::Status(Status {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").into(),
        config: configured.map(|configured| configured.file().into()),
        portals: portals.into_iter().collect(),
        targets: targets.collect(),
        silent_cores: state.silent_cores,
    })
}

pub(super) fn session(session: &SessionState) -> Session {
    Session {
        handle: session.tsih.0,
        discovery: session.session_type == SessionType::Discovery,
        target: session.target_name.clone(),
        initiator: session.initiator_name.clone(),
        isid: session.isid.0.iter().map(|byte| format!("{byte:02x}")).collect(),
        portal_group: session.portal_group_tag,
        authenticated_as: session.authenticated_as.clone(),
        core: session.core,
        commands: session.traffic.commands,
        open_commands: session.open_commands,
        bytes_read: session.traffic.read_bytes,
        bytes_written: session.traffic.written_bytes,
        violations: session.violations,
        keys: session.connections.first().map(|connection| keys(&connection.parameters)).unwrap_or_default(),
        connections: session.connections.iter().map(connection).collect(),
    }
}

fn connection(connection: &ConnectionState) -> Connection {
    let (offload, queue, rule) = match connection.network {
        NetworkState::Kernel | NetworkState::Loopback => ("none", None, None),
        NetworkState::Adapter { offload_mode: OffloadMode::Toe, queue, rule } => ("TOE", Some(queue), rule),
        NetworkState::Adapter { offload_mode: OffloadMode::Ulp, queue, rule } => ("ULP", Some(queue), rule),
    };
    Connection {
        cid: connection.cid.0,
        initiator_address: connection.peer.to_string(),
        target_address: connection.local.to_string(),
        header_digest: digest(connection.parameters.header_digest),
        data_digest: digest(connection.parameters.data_digest),
        offload: offload.into(),
        queue,
        rule,
    }
}

fn digest(crc: bool) -> String {
    if crc { "CRC32C" } else { "None" }.into()
}

/// What was negotiated for a session as a whole.
fn keys(agreed: &Parameters) -> Vec<KeyValues> {
    let yes = |yes: bool| if yes { "Yes" } else { "No" }.to_owned();
    [
        ("MaxConnections", agreed.max_connections.to_string()),
        ("InitialR2T", yes(agreed.initial_r2t)),
        ("ImmediateData", yes(agreed.immediate_data)),
        ("MaxRecvDataSegmentLength", agreed.receive_segment_bytes_max.to_string()),
        ("MaxBurstLength", agreed.burst_bytes_max.to_string()),
        ("FirstBurstLength", agreed.first_burst_bytes_max.to_string()),
        ("DefaultTime2Wait", agreed.time_2_wait.to_string()),
        ("DefaultTime2Retain", agreed.time_2_retain.to_string()),
        ("MaxOutstandingR2T", agreed.outstanding_r2t_max.to_string()),
        ("DataPDUInOrder", yes(agreed.data_pdu_in_order)),
        ("DataSequenceInOrder", yes(agreed.data_sequence_in_order)),
        ("ErrorRecoveryLevel", agreed.error_recovery_level.to_string()),
        ("iSCSIProtocolLevel", agreed.protocol_level.to_string()),
    ]
    .into_iter()
    .map(|(key, value)| KeyValues { key: key.into(), values: vec![value] })
    .collect()
}

/// The blocks of the targets with these names.
pub(super) fn configuration(configuration: &Configuration, names: &BTreeSet<String>, notes: &[String]) -> Answer {
    let targets = configuration.targets.iter().filter(|target| names.contains(target.name.as_str()));
    let blocks = targets.map(|target| block("target", target.shown())).collect();
    Answer::Configuration { blocks, notes: notes.to_vec() }
}

pub(super) fn globals(global: &Global) -> Answer {
    Answer::Configuration { blocks: vec![block("global", global.shown())], notes: Vec::new() }
}

fn block(name: &str, keys: Vec<(&'static str, Vec<String>)>) -> Block {
    let keys = keys.into_iter().map(|(key, values)| KeyValues { key: key.into(), values });
    Block { block: name.into(), keys: keys.collect() }
}
