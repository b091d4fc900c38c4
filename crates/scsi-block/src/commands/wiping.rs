//! FORMAT UNIT and SANITIZE (SBC-4 5.4, 5.30). What they do goes on in [`wipe`](crate::wipe).
//!
//! A cryptographic erase does what a block erase does: blocks are not encrypted, so there is no key to change, and the initiator gets
//! what it wants, a medium that cannot be read any more.

use bytes::Bytes;

use super::{Context, Plan, Started, Work, medium};
use crate::cdb::Cdb;
use crate::config::LogicalUnitConfig;
use crate::io::{BlockIo, Extent, Segments};
use crate::link::Settling;
use crate::octets::{be16, be32};
use crate::opcodes::{Field, Operation};
use crate::protection::ProtectionType;
use crate::sense::{AdditionalSense, Sense};
use crate::task::Rare;
use crate::unit::LogicalUnit;
use crate::wipe::{self, Content, Kind, Progress, Wipe};

const LENGTH_ERROR: Sense = Sense::illegal(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);
/// Bytes of the parameter list of an overwrite, before the pattern.
const OVERWRITE_HEADER_BYTES: usize = 4;

/// FORMAT UNIT: the CDB.
pub(super) fn format(context: &Context<'_>, cdb: &Cdb) -> Result<Plan, Sense> {
    let config = &context.unit.config;
    if !cdb.has(Field::FormatData) {
        let wrong = [Field::LongList, Field::CompleteList].into_iter().find(|field| cdb.has(*field));
        wrong.map_or(Ok(()), |field| Err(cdb.refuse(field)))?;
    }
    let (information, usage) = format_fields(config);
    if cdb.get(Field::FormatProtection) != information || usage != 0 && !cdb.has(Field::FormatData) {
        return Err(cdb.refuse(Field::FormatProtection));
    }
    let data_out_length = cdb.data_length(config.geometry.block_size) as u32;
    Ok(Plan::taking(Work::Format { long: cdb.has(Field::LongList) }, data_out_length))
}

/// What FMTPINFO and PROTECTION FIELD USAGE have to say: the type of protection comes with the configuration and stays.
fn format_fields(config: &LogicalUnitConfig) -> (u64, u8) {
    let (information, usage) = config.protection.map_or((0, 0), ProtectionType::format_fields);
    (information.into(), usage)
}

/// FORMAT UNIT: the parameter list (SBC-4 5.4.2). There are no defects, and no pattern but zeros.
pub(super) fn start_format(unit: &LogicalUnit, data: Segments, wanted: u32, long: bool) -> Result<Started, Sense> {
    let list = medium::exactly(data, wanted).map_err(|_| LENGTH_ERROR)?;
    let mut immediate = false;
    if !list.is_empty() {
        check_format_list(&unit.config, &list, long)?;
        immediate = list[1] & 0x02 != 0;
    }
    start(unit, Kind::Format, Content::Nothing, immediate)
}

fn check_format_list(config: &LogicalUnitConfig, list: &[u8], long: bool) -> Result<(), Sense> {
    const FOV: u8 = 0x80;
    const OPTIONS: u8 = 0x70;
    const PATTERN_AND_OBSOLETE: u8 = 0x0c;
    if list[0] & 0x07 != format_fields(config).1 {
        return Err(Sense::invalid_parameter(0, Some(2)));
    }
    if list[1] & PATTERN_AND_OBSOLETE != 0 {
        return Err(Sense::invalid_parameter(1, Some(3)));
    }
    if list[1] & FOV == 0 && list[1] & OPTIONS != 0 {
        return Err(Sense::invalid_parameter(1, Some(7)));
    }
    let (at, defects) = if long { (4, be32(list, 4)) } else { (2, be16(list, 2).into()) };
    if long && list[3] != 0 {
        return Err(Sense::invalid_parameter(3, None));
    }
    match defects {
        0 => Ok(()),
        _ => Err(Sense::invalid_parameter(at, None)),
    }
}

/// SANITIZE, all but EXIT FAILURE MODE: the CDB.
pub(super) fn sanitize(context: &Context<'_>, cdb: &Cdb) -> Result<Plan, Sense> {
    let config = &context.unit.config;
    context.unit.look(|state| state.medium.may_be_wiped())?;
    let data_out_length = cdb.get(Field::ParameterListLength) as u32;
    let lengths = match cdb.operation() {
        Operation::SanitizeOverwrite => {
            OVERWRITE_HEADER_BYTES as u32 + 1..=OVERWRITE_HEADER_BYTES as u32 + config.geometry.block_size
        }
        _ => 0..=0,
    };
    if !lengths.contains(&data_out_length) {
        return Err(cdb.refuse(Field::ParameterListLength));
    }
    let work = Work::Sanitize {
        overwrites: cdb.operation() == Operation::SanitizeOverwrite,
        immediate: cdb.has(Field::Immediate),
        unrestricted_exit: cdb.has(Field::UnrestrictedExit),
    };
    Ok(Plan::taking(work, data_out_length))
}

pub(super) fn start_sanitize(
    unit: &LogicalUnit,
    data: Segments,
    wanted: u32,
    (overwrites, immediate, unrestricted_exit): (bool, bool, bool),
) -> Result<Started, Sense> {
    let content = match overwrites {
        true => pattern(&unit.config, &medium::exactly(data, wanted).map_err(|_| LENGTH_ERROR)?)?,
        false => Content::Nothing,
    };
    start(unit, Kind::Sanitize { unrestricted_exit }, content, immediate)
}

/// The parameter list of an overwrite (SBC-4 5.30.3).
fn pattern(config: &LogicalUnitConfig, list: &[u8]) -> Result<Content, Sense> {
    let passes = list[0] & 0x1f;
    if list[0] & 0x60 != 0 {
        return Err(Sense::invalid_parameter(0, Some(6)));
    }
    if passes == 0 {
        return Err(Sense::invalid_parameter(0, Some(4)));
    }
    let length = usize::from(be16(list, 2));
    let pattern = list.get(OVERWRITE_HEADER_BYTES..OVERWRITE_HEADER_BYTES + length);
    let pattern = pattern.filter(|pattern| !pattern.is_empty()).ok_or(Sense::invalid_parameter(2, None))?;
    let block_size = config.geometry.block_size as usize;
    let stored = |invert: u8| {
        let mut block: Vec<u8> = pattern.iter().map(|byte| byte ^ invert).cycle().take(block_size).collect();
        block.resize(config.stored_block_bytes() as usize, 0);
        Bytes::from(block)
    };
    Ok(Content::Pattern { block: stored(0), inverted: (list[0] & 0x80 != 0).then(|| stored(0xff)), passes })
}

/// SANITIZE, EXIT FAILURE MODE.
pub(super) fn exit_failure_mode(context: &Context<'_>, cdb: &Cdb) -> Result<Plan, Sense> {
    context.unit.look(|state| state.medium.may_be_wiped())?;
    if cdb.has(Field::ParameterListLength) {
        return Err(cdb.refuse(Field::ParameterListLength));
    }
    if context.unit.look(|state| state.medium.sanitize_failed) == Some(false) {
        return Err(Sense::invalid_cdb_field(1, 4));
    }
    Ok(Plan::work(Work::ExitFailureMode))
}

/// The failure is over, and is not to come back after a loss of power.
pub(super) fn start_exit(unit: &LogicalUnit) -> Started {
    let record = unit.change(|state| {
        let had_failed = state.medium.sanitize_failed.take_if(|unrestricted_exit| *unrestricted_exit).is_some();
        (had_failed && unit.config.kept.is_some()).then(|| state.record(wipe::RECORD, Vec::new()))
    });
    match record {
        Some(record) => Started::Io(BlockIo::Keep(record), Rare::Settle(Settling::default()).into()),
        None => Started::Done,
    }
}

/// Begins a wipe, unless somebody else was faster.
fn start(unit: &LogicalUnit, kind: Kind, content: Content, immediate: bool) -> Result<Started, Sense> {
    let keeps = unit.config.kept.is_some();
    let first = unit.change(|state| {
        state.medium.may_be_wiped()?;
        let begin = match kind {
            Kind::Sanitize { unrestricted_exit } if keeps => {
                Some(state.record(wipe::RECORD, wipe::to_kept(unrestricted_exit, &content)))
            }
            _ => None,
        };
        // Also of a FORMAT UNIT: there may be the record of a SANITIZE that has failed.
        let end = keeps.then(|| state.record(wipe::RECORD, Vec::new()));
        let waits = !immediate || begin.is_some();
        let wipe = Wipe::new(kind, content, unit.blocks(), unit.config.stored_block_bytes());
        let mut wipe = wipe.with_records(begin, end);
        let first = waits.then(|| (wipe.step(), wipe.lease(immediate)));
        state.medium.begin_wipe(wipe)?;
        state.tokens.revoke(Extent::ALL);
        Ok::<_, Sense>(first)
    })?;
    match first {
        Some((request, lease)) => Ok(Started::Io(request, Rare::Wipe(lease).into())),
        None => Ok(Started::Done),
    }
}

/// A step that the task with the lease has done: the next, or the end.
#[cold]
pub(crate) fn proceed(
    unit: &LogicalUnit,
    lease: crate::wipe::Lease,
    done: Result<(), crate::IoError>,
) -> Result<Started, Sense> {
    match unit.wiped(done, |wipe| wipe.is_leased_to(&lease)) {
        Some(Progress::Failed(kind)) => Err(kind.failed()),
        Some(Progress::Continues) if lease.until_kept => Ok(Started::Done),
        Some(Progress::Continues) => match unit.look(|state| state.medium.wipe.as_ref().map(Wipe::step)) {
            Some(request) => Ok(Started::Io(request, Rare::Wipe(lease).into())),
            None => Ok(Started::Done),
        },
        Some(Progress::Ended) | None => Ok(Started::Done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Geometry;

    fn config() -> LogicalUnitConfig {
        LogicalUnitConfig::new(Geometry { block_size: 512, blocks: 8 }, "s")
    }

    #[test]
    fn a_pattern_fills_a_block_whatever_its_length() {
        let Ok(Content::Pattern { block, inverted, passes }) = pattern(&config(), &[0x83, 0, 0, 3, 1, 2, 3]) else {
            panic!()
        };
        assert_eq!((block.len(), passes), (512, 3));
        assert_eq!(block[510..], [1, 2]);
        assert_eq!(inverted.unwrap()[510..], [0xfe, 0xfd]);
        let protected = LogicalUnitConfig { protection: Some(ProtectionType::One), ..config() };
        let Ok(Content::Pattern { inverted, .. }) = pattern(&protected, &[0x81, 0, 0, 1, 1]) else { panic!() };
        assert_eq!(inverted.unwrap()[511..], [0xfe, 0, 0, 0, 0, 0, 0, 0, 0], "a tuple that turns checks off stays");
    }

    #[test]
    fn wrong_lists_are_pointed_at() {
        let refused = |list: &[u8]| pattern(&config(), list).unwrap_err();
        assert_eq!(refused(&[0x21, 0, 0, 1, 1]), Sense::invalid_parameter(0, Some(6)));
        assert_eq!(refused(&[0x80, 0, 0, 1, 1]), Sense::invalid_parameter(0, Some(4)));
        assert_eq!(refused(&[0x01, 0, 0, 0, 1]), Sense::invalid_parameter(2, None));
        assert_eq!(refused(&[0x01, 0, 0, 2, 1]), Sense::invalid_parameter(2, None));
        let format = |list: &[u8], long| check_format_list(&config(), list, long);
        assert_eq!(format(&[0, 0x82, 0, 0], false), Ok(()));
        assert_eq!(format(&[1, 0, 0, 0], false), Err(Sense::invalid_parameter(0, Some(2))));
        assert_eq!(format(&[0, 0x88, 0, 0], false), Err(Sense::invalid_parameter(1, Some(3))));
        assert_eq!(format(&[0, 0x20, 0, 0], false), Err(Sense::invalid_parameter(1, Some(7))));
        assert_eq!(format(&[0, 0, 0, 8], false), Err(Sense::invalid_parameter(2, None)));
        assert_eq!(format(&[0, 0, 0, 1, 0, 0, 0, 0], true), Err(Sense::invalid_parameter(3, None)));
        assert_eq!(format(&[0, 0, 0, 0, 0, 0, 0, 8], true), Err(Sense::invalid_parameter(4, None)));
    }
}
