//! A portal with one target, which lets everybody in, and one unit.

use iscsi_node::target::{Portal, TargetConfig};
use scsi_block::{LogicalUnitConfig, LogicalUnitNumber, TargetDevice, TargetPort, TargetPortGroup};
use std::sync::Arc;

pub(crate) const TARGET: &str = "iqn.2026-01.test:target";

/// A portal whose target has `unit` as its LUN 0, and is reached through the portal groups 1 and 2.
pub(crate) fn portal(unit: LogicalUnitConfig) -> Portal {
    let group = |tag| TargetPortGroup::new(tag, vec![TargetPort { identifier: tag, name: None }]);
    let units = [(LogicalUnitNumber::from(0), unit)];
    let device = TargetDevice::with_ports([1, 2].map(group), units).expect("the unit makes sense");
    let mut portal = Portal::new();
    portal.targets.push(TargetConfig::new(TARGET, Arc::new(device)));
    portal
}
