//! `alua`: how a unit is reached through each group of target ports, seen and changed (SPC-4 5.16).

use bytes::Bytes;
use clap::Args;
use iscsi_runtime::url::Url;
use scsi_block::access::{AccessReport, AccessState, GroupReport, SetAccessList};
use scsi_block::cdb::Cdb;
use scsi_block::designator::Designator;
use scsi_block::vpd::{DeviceIdentification, page};
use serde_json::{Value, json};

use super::connection::{Connection, at};
use super::section::{named, plain};
use super::unit::Unit;
use crate::bench::table;
use crate::failure::{Failure, Kind};
use crate::parse::{self, hidden};
use crate::show;

/// Bytes of an answer: room for hundreds of groups.
const ANSWER_BYTES: u32 = 64 << 10;

#[derive(Debug, Args)]
pub(super) struct Alua {
    /// The disk
    #[arg(value_name = "URL", value_parser = hidden::<Url>())]
    url: Url,

    /// Has a target port group take another state first: active, non-optimized, standby or unavailable; may be repeated
    #[arg(long, value_name = "GROUP=STATE", value_parser = parse::access_change)]
    set: Vec<(u16, AccessState)>,

    /// Answers in JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connection: Connection,
}

/// The port and the group that we have come through, as far as the unit tells.
#[derive(Default)]
struct Way {
    port: Option<u16>,
    group: Option<u16>,
}

/// Changes states if that is asked for, and shows all of them.
///
/// # Errors
/// The unit cannot be asked, or refuses.
pub(super) fn run(alua: &Alua) -> Result<(), Failure> {
    let Alua { url, set, json, connection } = alua;
    let unit = Unit::open(url, connection)?;
    if !set.is_empty() {
        let list = SetAccessList(set.clone()).encode();
        unit.run(&Cdb::set_target_port_groups(list.len() as u32), Bytes::from(list)).map_err(at(url))?;
    }
    let bytes = unit.read(&Cdb::report_target_port_groups(false, ANSWER_BYTES), ANSWER_BYTES).map_err(at(url))?;
    let report =
        AccessReport::decode(&bytes).map_err(|error| Failure::new(Kind::Device, error.to_string()).context(url))?;
    let way = way(&unit);
    unit.close();
    show::print(&if *json { for_programs(&report, &way).to_string() } else { for_people(&report, &way) });
    Ok(())
}

fn way(unit: &Unit) -> Way {
    let page = unit.page(page::DEVICE_IDENTIFICATION).ok();
    let names = page.and_then(|page| DeviceIdentification::decode(&page).ok()).map_or_else(Vec::new, |page| page.0);
    let number = |kind| names.iter().find(|name| name.kind == kind)?.to_string().parse().ok();
    Way { port: number(Designator::RELATIVE_TARGET_PORT), group: number(Designator::TARGET_PORT_GROUP) }
}

/// Who has changed a state last.
const CHANGED_BY: &[(u8, &str)] = &[(0, "nobody"), (1, "an initiator"), (2, "the target")];

/// The states that a group can be in.
fn supported(group: &GroupReport) -> Vec<&'static str> {
    (0..=0xf).filter(|state| group.supports(*state)).map(AccessState::name_of).collect()
}

fn for_people(report: &AccessReport, way: &Way) -> String {
    let mut rows = table(&["group", "state", "preferred", "changed by", "ports"]);
    for group in &report.groups {
        let ports = group.ports.iter().map(|port| match way.port {
            Some(own) if own == *port && way.group == Some(group.group) => format!("{port} (ours)"),
            _ => port.to_string(),
        });
        rows.add_row([
            group.group.to_string(),
            AccessState::name_of(group.state).into(),
            plain(&group.preferred.into()),
            plain(&named(group.status, CHANGED_BY)),
            ports.collect::<Vec<_>>().join(", "),
        ]);
    }
    rows.trim_fmt()
}

fn for_programs(report: &AccessReport, way: &Way) -> Value {
    let group = |group: &GroupReport| {
        json!({
            "group": group.group,
            "state": AccessState::name_of(group.state),
            "preferred": group.preferred,
            "changed_by": named(group.status, CHANGED_BY),
            "supported": supported(group),
            "ports": group.ports,
        })
    };
    json!({ "port": way.port, "group": way.group, "groups": report.groups.iter().map(group).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_way_is_marked() {
        let group = |group, state, port| GroupReport {
            group,
            state,
            supported: 0x8f,
            ports: vec![port],
            ..GroupReport::default()
        };
        let report = AccessReport { transition_seconds: 0, groups: vec![group(1, 0, 1), group(7, 2, 9)] };
        let way = Way { port: Some(9), group: Some(7) };
        let text = for_people(&report, &way);
        assert!(text.contains("active/optimized") && text.contains("9 (ours)") && !text.contains("1 (ours)"), "{text}");
        let told = for_programs(&report, &way);
        assert_eq!((&told["port"], &told["groups"][1]["state"]), (&json!(9), &json!("standby")));
        assert_eq!(told["groups"][0]["supported"].as_array().unwrap().len(), 5);
        assert_eq!(told["groups"][0]["changed_by"], "nobody");
    }
}
