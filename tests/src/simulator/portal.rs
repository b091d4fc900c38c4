//! The target of a world, and the logins to it.

use super::host::Host;
use super::plan::Plan;
use iscsi_node::target::{Portal, TargetConfig};
use iscsi_pdu::{Cid, Isid, Tsih};
use iscsi_session::initiator::LoginConfig;
use iscsi_session::{Authentication, ChapAlgorithm, Credential, Secret, SessionType};
use scsi_block::{Geometry, LogicalUnitConfig, LogicalUnitNumber, TargetDevice};
use std::sync::Arc;
use std::time::Duration;

/// What the plan makes of a portal.
pub(crate) fn of(plan: &Plan) -> Portal {
    let target = |(index, blocks): (usize, &Vec<u64>)| TargetConfig {
        authentication: authentication(plan),
        resettable: plan.resettable,
        ..TargetConfig::new(target_name(index), Arc::new(device(blocks)))
    };
    Portal {
        targets: plan.targets.iter().enumerate().map(target).collect(),
        discovery_authentication: authentication(plan),
        limits: plan.limits.clone(),
        ping_interval: plan.ping_interval,
        ping_timeout: Duration::from_secs(5),
        window: plan.window,
        immediate_max: plan.immediate_max,
        ..Portal::new()
    }
}

/// What a host logs in with.
pub(crate) fn login(plan: &Plan, host: &Host) -> LoginConfig {
    let identity = host.plan.identity;
    LoginConfig {
        initiator_name: format!("iqn.2026-01.test:host{identity}"),
        initiator_alias: None,
        target_name: host.plan.target.map(target_name),
        session_type: if host.plan.target.is_some() { SessionType::Normal } else { SessionType::Discovery },
        isid: Isid([0x80, 0, 0, 0, 0, identity]),
        tsih: Tsih(0),
        cid: Cid(0),
        limits: host.plan.limits.clone(),
        authentication: authentication(plan),
        timeout: Duration::from_secs(10),
    }
}

fn target_name(index: usize) -> String {
    format!("iqn.2026-01.test:target{index}")
}

fn device(blocks_of_units: &[u64]) -> TargetDevice {
    let unit = |(index, blocks): (usize, &u64)| {
        let geometry = Geometry { block_size: 512, blocks: *blocks };
        let config = LogicalUnitConfig { thin: true, ..LogicalUnitConfig::new(geometry, format!("unit{index}")) };
        (LogicalUnitNumber::from(index as u16), config)
    };
    TargetDevice::new(blocks_of_units.iter().enumerate().map(unit)).expect("the units make sense")
}

fn authentication(plan: &Plan) -> Authentication {
    let credential = |name: &str| Credential {
        name: name.into(),
        secret: Secret::new(format!("the secret of {name}")).expect("it is long enough"),
    };
    if !plan.authenticates {
        return Authentication::None;
    }
    let (host, target) = (credential("host"), credential("target"));
    Authentication::chap(vec![host], Some(target), vec![ChapAlgorithm::Sha3_256, ChapAlgorithm::Md5])
        .expect("the secrets differ")
}
