//! Several target ports: names, access states, what each lets through, and reservations of nexuses that come through different ports.

#[path = "../pages/harness.rs"]
mod harness;

mod access;
mod changing;
mod lets_through;
mod model;
mod names;
mod reservations;

use std::sync::Arc;

use scsi_block::access::AccessReport;
use scsi_block::cdb::Cdb;
use scsi_block::designator::{Association, Designator};
use scsi_block::reservations::{NexusName, Path, TransportId};
use scsi_block::*;

use harness::*;

const ISCSI: Option<u8> = Some(5);

/// The ports 1 and 2 in group 10, and the port 3 in group 20.
fn groups() -> [TargetPortGroup; 2] {
    let port = |identifier: u16| {
        let name = format!("iqn.2026-01.org:d,t,0x{identifier:04x}");
        TargetPort { identifier, name: Some(Designator::scsi_name(Association::TargetPort, ISCSI, &name)) }
    };
    [
        TargetPortGroup { preferred: true, ..TargetPortGroup::new(10, vec![port(1), port(2)]) },
        TargetPortGroup::new(20, vec![port(3)]),
    ]
}

fn device_of(configs: impl IntoIterator<Item = LogicalUnitConfig>) -> Arc<TargetDevice> {
    let units = configs.into_iter().zip(0..).map(|(config, number)| (lun(number), config));
    Arc::new(TargetDevice::with_ports(groups(), units).unwrap())
}

fn through(port: u16, initiator: &str) -> NexusName {
    let initiator_port = TransportId::iscsi_port(initiator, [0; 6]);
    NexusName { path: Path { initiator_port, target_port: port }, initiator_device: None }
}

/// A nexus through a port, that has taken its first unit attentions.
fn settled_through(device: &Arc<TargetDevice>, port: u16, initiator: &str) -> Nexus {
    let mut nexus = device.connect(through(port, initiator));
    for unit in device.logical_units() {
        let outcome = run(&mut nexus, &Command::new(unit.number, Cdb::request_sense(true, 252).as_bytes()), &[]);
        assert_eq!(outcome.data_in[2..4], [0x29, 0]);
    }
    nexus
}

fn report(nexus: &mut Nexus) -> AccessReport {
    AccessReport::decode(&good(nexus, &Cdb::report_target_port_groups(false, 4096), &[])).unwrap()
}

/// The states of the two groups.
fn states(nexus: &mut Nexus) -> [u8; 2] {
    let report = report(nexus);
    assert_eq!(report.groups.iter().map(|group| group.group).collect::<Vec<_>>(), [10, 20]);
    [report.groups[0].state, report.groups[1].state]
}
