//! The subcommands that ask and change nothing: `discover`, `luns`, `capacity`, `ping`.

use std::time::Duration;

use iscsi_runtime::url::Url;
use iscsi_runtime::{RemoteDisk, TargetRecord};
use scsi_block::LogicalUnitNumber;
use serde_json::json;

use super::connection::{Connection, at};
use super::unit::Unit;
use crate::bench::table;
use crate::failure::Failure;
use crate::show;

/// The targets behind a portal, one line for each of their addresses.
///
/// # Errors
/// The portal cannot be asked.
pub(super) fn targets(url: &Url, connection: &Connection, json: bool) -> Result<(), Failure> {
    if url.target_name().is_some() {
        return Err(Failure::usage(format!("discovery asks a portal: write iscsi://{}", url.address())));
    }
    let client = connection.connect(url)?;
    let targets = client.targets().wait().map_err(at(url))?;
    drop(client.logout().wait());
    if json {
        let list: Vec<_> =
            targets.iter().map(|target| json!({ "name": target.name, "urls": urls(target, url) })).collect();
        show::print(&json!(list).to_string());
    } else if targets.is_empty() {
        show::complain(&format!("{url} offers no target to us"));
    } else {
        let lines: Vec<String> = targets.iter().flat_map(|target| urls(target, url)).collect();
        show::print(&lines.join("\n"));
    }
    Ok(())
}

/// The URLs under which a target says it can be reached; the one that was asked if it does not say.
fn urls(target: &TargetRecord, asked: &Url) -> Vec<String> {
    let asked = [asked.address()];
    let addresses = if target.addresses.is_empty() { &asked[..] } else { &target.addresses };
    let host = |address: &String| show::text(address.split(',').next().unwrap_or_default());
    addresses.iter().map(|address| format!("iscsi://{}/{}", host(address), show::text(&target.name))).collect()
}

/// The logical units of a target.
///
/// # Errors
/// The target cannot be asked.
pub(super) fn luns(url: &Url, connection: &Connection, json: bool) -> Result<(), Failure> {
    if url.target_name().is_none() {
        return Err(Failure::usage(format!(
            "{url} names no target: `iscsi-initiator discover {url}` shows those that there are"
        )));
    }
    let client = connection.connect(url)?;
    let units = client.report_luns().wait().map_err(at(url))?;
    // A controller, or a disk that is not ready, is a unit all the same.
    let disk = |number: &LogicalUnitNumber| number.as_u16().and_then(|number| client.disk(number).wait().ok());
    let units: Vec<_> = units.iter().map(|number| (number.to_string(), disk(number))).collect();
    if json {
        let unit = |(number, disk): &(String, Option<RemoteDisk>)| {
            let disk = disk.as_ref();
            json!({
                "lun": number,
                "bytes": disk.map(bytes),
                "blocks": disk.map(RemoteDisk::blocks),
                "block_size": disk.map(RemoteDisk::block_size),
            })
        };
        show::print(&json!(units.iter().map(unit).collect::<Vec<_>>()).to_string());
    } else {
        let mut rows = table(&["LUN", "size", "blocks of"]);
        for (number, disk) in &units {
            rows.add_row(match disk {
                Some(disk) => [number.clone(), show::size(bytes(disk)), disk.block_size().to_string()],
                None => [number.clone(), "no disk".into(), String::new()],
            });
        }
        show::print(&rows.trim_fmt());
    }
    drop(client.logout().wait());
    Ok(())
}

/// The size of a disk, or the most that the number holds.
fn bytes(disk: &RemoteDisk) -> u64 {
    disk.blocks().saturating_mul(disk.block_size().into())
}

/// How large a disk is.
///
/// # Errors
/// The disk cannot be asked.
pub(super) fn capacity(url: &Url, connection: &Connection, json: bool) -> Result<(), Failure> {
    let unit = Unit::open(url, connection)?;
    let disk = unit.disk().map_err(at(url))?;
    let capacity = disk.capacity();
    let physical = u64::from(disk.block_size()) << capacity.physical_block_exponent.min(15);
    if json {
        let object = json!({
            "bytes": bytes(&disk),
            "blocks": disk.blocks(),
            "block_size": disk.block_size(),
            "physical_block_size": physical,
            "thin_provisioned": capacity.provisioning,
            "unmapped_blocks_read_zero": capacity.reads_zero,
            "protection_type": capacity.protection_type,
        });
        show::print(&object.to_string());
    } else {
        let (bytes, size) = (bytes(&disk), show::size(bytes(&disk)));
        let thin = match (capacity.provisioning, capacity.reads_zero) {
            (false, _) => "no",
            (true, false) => "yes",
            (true, true) => "yes, unmapped blocks read as zeros",
        };
        show::print(&format!(
            "size              {bytes} bytes ({size})\nblocks            {} of {} bytes\nphysical blocks   {physical} bytes\n\
             thin provisioned  {thin}",
            disk.blocks(),
            disk.block_size(),
        ));
    }
    unit.close();
    Ok(())
}

/// How long a target takes to answer a NOP-Out.
///
/// # Errors
/// The target cannot be reached, or does not answer.
pub(super) fn ping(url: &Url, connection: &Connection, count: u32, interval: Duration) -> Result<(), Failure> {
    let client = connection.connect(url)?;
    let mut times = Vec::new();
    for number in 1..=count {
        let time = client.ping(vec![number as u8; 64].into()).wait().map_err(at(url))?;
        show::print(&format!("answer {number} from {} after {} us", url.address(), time.as_micros()));
        times.push(time);
        if number < count {
            std::thread::sleep(interval);
        }
    }
    let total: Duration = times.iter().sum();
    let least = times.iter().min().copied().unwrap_or_default();
    let most = times.iter().max().copied().unwrap_or_default();
    let mean = total / count.max(1);
    show::print(&format!("us: least {}, mean {}, most {}", least.as_micros(), mean.as_micros(), most.as_micros()));
    drop(client.logout().wait());
    Ok(())
}
