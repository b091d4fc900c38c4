//! The subcommands about a disk's blocks: `lbastatus`, `verify`, `unmap`, `writesame`, `sanitize`. Those that destroy what is there want `--yes`.

use std::time::Duration;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use iscsi_runtime::RemoteDisk;
use iscsi_runtime::url::Url;
use scsi_block::cdb::Cdb;
use scsi_block::parameters::{LbaStatusList, OverwriteList};
use scsi_block::sense::{AdditionalSense, Sense, SenseKey};
use serde_json::json;

use super::connection::{Connection, at};
use super::unit::Unit;
use crate::bench::table;
use crate::failure::{Failure, Kind};
use crate::parse::hidden;
use crate::show;

/// Bytes of one GET LBA STATUS answer.
const STATUS_BYTES: u32 = 4096;
/// Blocks that one command is asked to look at or write at most.
const STEP_BLOCKS: u64 = 1 << 14;
/// Time between two questions how far a SANITIZE is.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// A run of blocks of a disk.
#[derive(Debug, Args)]
pub(super) struct Range {
    /// The disk
    #[arg(value_name = "URL", value_parser = hidden::<Url>())]
    url: Url,

    /// First block
    #[arg(long, value_name = "BLOCK", default_value_t = 0)]
    lba: u64,

    /// Number of blocks [default: to the end of the disk]
    #[arg(long, value_name = "NUMBER")]
    blocks: Option<u64>,

    /// Answers in JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connection: Connection,
}

/// A run of blocks that will not be the same afterwards.
#[derive(Debug, Args)]
pub(super) struct Destroy {
    #[command(flatten)]
    range: Range,

    /// Says that what is there may be lost
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(super) struct WriteSame {
    #[command(flatten)]
    destroy: Destroy,

    /// The byte that all blocks are filled with
    #[arg(long, value_name = "BYTE", default_value_t = 0)]
    fill: u8,

    /// Lets the disk give the space back, if its blocks read as zeros then
    #[arg(long)]
    unmap: bool,
}

/// Ways to make a medium unreadable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Method {
    Overwrite,
    BlockErase,
    CryptoErase,
    ExitFailureMode,
}

#[derive(Debug, Args)]
pub(super) struct Sanitize {
    /// The disk
    #[arg(value_name = "URL", value_parser = hidden::<Url>())]
    url: Url,

    /// How
    #[arg(long, value_enum, default_value = "block-erase")]
    method: Method,

    /// Passes of an overwrite
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=31))]
    passes: u8,

    /// The byte that an overwrite fills the disk with
    #[arg(long, value_name = "BYTE", default_value_t = 0)]
    fill: u8,

    /// Inverts the byte from pass to pass
    #[arg(long)]
    invert: bool,

    /// Does not wait for the end
    #[arg(long)]
    no_wait: bool,

    /// Says that everything on the disk may be lost
    #[arg(long)]
    yes: bool,

    /// Answers in JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connection: Connection,
}

impl Range {
    fn open(&self) -> Result<(Unit, RemoteDisk, u64), Failure> {
        let unit = Unit::open(&self.url, &self.connection)?;
        let disk = unit.disk().map_err(at(&self.url))?;
        let rest = disk.blocks().checked_sub(self.lba).filter(|rest| *rest > 0);
        let blocks =
            rest.map(|rest| self.blocks.unwrap_or(rest)).filter(|blocks| rest.is_some_and(|rest| *blocks <= rest));
        match blocks {
            Some(blocks) => Ok((unit, disk, blocks)),
            None => Err(Failure::usage(format!(
                "{} blocks at {} are not on a disk of {} blocks",
                self.blocks.map_or("the".into(), |blocks| blocks.to_string()),
                self.lba,
                disk.blocks()
            ))),
        }
    }

    /// The range in steps: first block and number of blocks of each.
    fn steps(&self, blocks: u64, step: u64) -> impl Iterator<Item = (u64, u32)> {
        let (first, end) = (self.lba, self.lba + blocks);
        let step = step.clamp(1, u32::MAX.into());
        (first..end).step_by(step as usize).map(move |lba| (lba, step.min(end - lba) as u32))
    }

    fn report(&self, what: &str, blocks: u64) {
        match self.json {
            true => show::print(&json!({ "lba": self.lba, "blocks": blocks, "done": what }).to_string()),
            false => show::print(&format!("{what}: {blocks} blocks from {}", self.lba)),
        }
    }
}

impl Destroy {
    fn check(&self) -> Result<(), Failure> {
        must_be_meant(self.yes, &self.range.url)
    }
}

fn must_be_meant(yes: bool, url: &Url) -> Result<(), Failure> {
    match yes {
        true => Ok(()),
        false => Err(Failure::usage(format!("this destroys data on {url}: say --yes if it is meant"))),
    }
}

/// Which blocks have space of their own.
///
/// # Errors
/// The disk cannot be asked, or does not know.
pub(super) fn lba_status(range: &Range) -> Result<(), Failure> {
    let (unit, _, blocks) = range.open()?;
    let mut rows = table(&["first block", "blocks", "state"]);
    let (mut list, mut next, end) = (Vec::new(), range.lba, range.lba + blocks);
    while next < end {
        let bytes = unit.read(&Cdb::get_lba_status_16(next, STATUS_BYTES), STATUS_BYTES).map_err(at(&range.url))?;
        let runs = LbaStatusList::decode(&bytes).map_err(|error| Failure::new(Kind::Device, error.to_string()))?.0;
        let before = next;
        for run in runs {
            if run.extent.lba != next || next == end {
                break;
            }
            let count = run.extent.blocks.min(end - next);
            let state = if run.mapped { "mapped" } else { "deallocated" };
            rows.add_row([next.to_string(), count.to_string(), state.to_owned()]);
            list.push(json!({ "lba": next, "blocks": count, "state": state }));
            next += count;
        }
        if next == before {
            return Err(Failure::new(Kind::Device, "GET LBA STATUS tells no status".to_owned()).context(&range.url));
        }
    }
    show::print(&if range.json { json!(list).to_string() } else { rows.trim_fmt() });
    unit.close();
    Ok(())
}

/// Lets the disk look whether it can read the blocks.
///
/// # Errors
/// It cannot.
pub(super) fn verify(range: &Range) -> Result<(), Failure> {
    let (unit, disk, blocks) = range.open()?;
    for (lba, count) in range.steps(blocks, STEP_BLOCKS.min(disk.transfer_blocks_max())) {
        unit.run(&Cdb::verify_16(lba, count, false), Bytes::new()).map_err(at(&range.url))?;
    }
    range.report("verified", blocks);
    unit.close();
    Ok(())
}

/// Gives the space of the blocks back.
///
/// # Errors
/// The disk does not do it.
pub(super) fn unmap(destroy: &Destroy) -> Result<(), Failure> {
    destroy.check()?;
    let range = &destroy.range;
    let (unit, disk, blocks) = range.open()?;
    if disk.unmap_blocks_max() == 0 {
        return Err(Failure::new(Kind::Device, "the disk has no UNMAP".to_owned()).context(&range.url));
    }
    for (lba, count) in range.steps(blocks, disk.unmap_blocks_max()) {
        disk.unmap(lba, count.into()).wait().map_err(at(&range.url))?;
    }
    range.report("unmapped", blocks);
    unit.close();
    Ok(())
}

/// Fills the blocks with one byte.
///
/// # Errors
/// The disk does not do it.
pub(super) fn write_same(arguments: &WriteSame) -> Result<(), Failure> {
    arguments.destroy.check()?;
    let range = &arguments.destroy.range;
    let (unit, disk, blocks) = range.open()?;
    let block = Bytes::from(vec![arguments.fill; disk.block_size() as usize]);
    for (lba, count) in range.steps(blocks, STEP_BLOCKS.min(disk.transfer_blocks_max())) {
        unit.run(&Cdb::write_same_16(lba, count, arguments.unmap), block.clone()).map_err(at(&range.url))?;
    }
    range.report("written", blocks);
    unit.close();
    Ok(())
}

/// Makes everything on the disk unreadable, and tells how far that is.
///
/// # Errors
/// The disk does not do it, or it fails.
pub(super) fn sanitize(arguments: &Sanitize) -> Result<(), Failure> {
    must_be_meant(arguments.yes, &arguments.url)?;
    let unit = Unit::open(&arguments.url, &arguments.connection)?;
    let (cdb, list) = match arguments.method {
        Method::Overwrite => {
            let (invert, passes) = (arguments.invert, arguments.passes);
            let list = OverwriteList { invert, passes, pattern: vec![arguments.fill] }.encode();
            (Cdb::sanitize_overwrite(true, list.len() as u16), list)
        }
        Method::BlockErase => (Cdb::sanitize_block_erase(true), Vec::new()),
        Method::CryptoErase => (Cdb::sanitize_cryptographic_erase(true), Vec::new()),
        Method::ExitFailureMode => (Cdb::sanitize_exit_failure_mode(), Vec::new()),
    };
    unit.run(&cdb, list.into()).map_err(at(&arguments.url))?;
    let done = arguments.no_wait || wait(&unit, arguments.json).map_err(at(&arguments.url))?;
    let state = if arguments.no_wait { "begun" } else { "done" };
    match arguments.json {
        true => show::print(&json!({ "sanitize": state }).to_string()),
        false => show::print(&format!("sanitize {state}")),
    }
    unit.close();
    match done {
        true => Ok(()),
        false => Err(Failure::new(Kind::Device, "the SANITIZE has failed".to_owned()).context(&arguments.url)),
    }
}

/// Waits for the end; false if it has failed.
fn wait(unit: &Unit, quiet: bool) -> Result<bool, Failure> {
    const SENSE_BYTES: u8 = 252;
    loop {
        let bytes = unit.read(&Cdb::request_sense(true, SENSE_BYTES), SENSE_BYTES.into())?;
        let sense = Sense::decode(&bytes).map_err(|error| Failure::new(Kind::Device, error.to_string()))?;
        match outcome(&sense) {
            Some(done) => return Ok(done),
            // What has happened to the unit besides says nothing of the SANITIZE.
            None if sense.key == SenseKey::UnitAttention => {}
            None => {
                if let Some(progress) = sense.progress.filter(|_| !quiet) {
                    show::complain(&format!("{} %", u32::from(progress) * 100 / 65536));
                }
                std::thread::sleep(PROGRESS_EVERY);
            }
        }
    }
}

/// What the answer to REQUEST SENSE says of a SANITIZE: whether it was done, or nothing as long as that is open.
fn outcome(sense: &Sense) -> Option<bool> {
    match (sense.key, sense.additional) {
        (SenseKey::UnitAttention, _) | (_, AdditionalSense::SANITIZE_IN_PROGRESS) => None,
        (_, code) => Some(code != AdditionalSense::SANITIZE_COMMAND_FAILED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sanitize_is_done_only_when_the_disk_has_nothing_to_say_of_it() {
        let said = |key, code| outcome(&Sense::new(key, code));
        assert_eq!(said(SenseKey::NotReady, AdditionalSense::SANITIZE_IN_PROGRESS), None);
        assert_eq!(said(SenseKey::UnitAttention, AdditionalSense::BUS_DEVICE_RESET), None);
        assert_eq!(said(SenseKey::MediumError, AdditionalSense::SANITIZE_COMMAND_FAILED), Some(false));
        assert_eq!(outcome(&Sense::NONE), Some(true));
    }
}
