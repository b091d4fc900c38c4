//! LOG SENSE and LOG SELECT (SPC-5 6.9, 6.8): what a unit has counted, and how to begin again.

use bytes::Bytes;

use super::{Context, Plan, allocated};
use crate::cdb::Cdb;
use crate::counters::Totals;
use crate::io::Space;
use crate::log::{
    ALL_SUBPAGES, LogPage, LogParameter, ResourceCount, Statistics, THRESHOLD_EXPONENT, page, with_header,
};
use crate::opcodes::Field;
use crate::sense::{AdditionalSense, Sense};
use crate::unit::{CountedPage, State};

/// The pages of parameters, in order. That of logical block provisioning is there once somebody has told how full the store is.
const PAGES: [u8; 8] = [
    page::WRITE_ERRORS,
    page::READ_ERRORS,
    page::LOGICAL_BLOCK_PROVISIONING,
    page::TEMPERATURE,
    page::START_STOP_CYCLES,
    page::BACKGROUND_SCAN,
    page::GENERAL_STATISTICS,
    page::INFORMATIONAL_EXCEPTIONS,
];

/// No sensor tells a temperature.
const NO_TEMPERATURE: u8 = 0xff;
/// Nobody has said how many cycles the unit stands.
const UNSPECIFIED: u32 = u32::MAX;

/// PC (SPC-5 table 339).
const CUMULATIVE: u64 = 1;
const DEFAULT_CUMULATIVE: u64 = 3;

/// The pages of parameters that the unit has now.
fn pages(context: &Context<'_>) -> Vec<u8> {
    let knows_space = context.unit.look(|state| state.space.is_some());
    PAGES.into_iter().filter(|code| *code != page::LOGICAL_BLOCK_PROVISIONING || knows_space).collect()
}

/// LOG SENSE.
pub(super) fn sense(context: &Context<'_>, cdb: &Cdb) -> Result<Bytes, Sense> {
    let own = pages(context);
    let (code, subpage) = (cdb.get(Field::PageCode) as u8, cdb.get(Field::SubpageCode) as u8);
    let data = match (code, subpage) {
        (page::SUPPORTED_PAGES, 0) => with_header(code, 0, &[&[code][..], &own].concat()),
        (page::SUPPORTED_PAGES, ALL_SUBPAGES) => {
            let pages = [(0, 0), (0, ALL_SUBPAGES)].into_iter().chain(own.iter().map(|code| (*code, 0)));
            with_header(code, subpage, &pages.flat_map(|(code, subpage)| [code, subpage]).collect::<Vec<u8>>())
        }
        (code, ALL_SUBPAGES) if own.contains(&code) => with_header(code, subpage, &[code, 0]),
        (code, 0) if own.contains(&code) => return parameters(context, cdb, code),
        (page::SUPPORTED_PAGES, _) => return Err(cdb.refuse(Field::SubpageCode)),
        (code, _) if own.contains(&code) => return Err(cdb.refuse(Field::SubpageCode)),
        _ => return Err(cdb.refuse(Field::PageCode)),
    };
    match cdb.has(Field::ParameterPointer) {
        true => Err(cdb.refuse(Field::ParameterPointer)),
        false => Ok(allocated(cdb, data)),
    }
}

/// A page from PARAMETER POINTER on. Nothing here has a threshold.
fn parameters(context: &Context<'_>, cdb: &Cdb, code: u8) -> Result<Bytes, Sense> {
    let is_default = match cdb.get(Field::PageControl) {
        CUMULATIVE => false,
        DEFAULT_CUMULATIVE => true,
        _ => return Err(cdb.refuse(Field::PageControl)),
    };
    let mut parameters = context.unit.look(|state| of_page(context, state, code, is_default));
    let first = cdb.get(Field::ParameterPointer) as u16;
    parameters.retain(|parameter| parameter.code >= first);
    match parameters.is_empty() {
        true => Err(cdb.refuse(Field::ParameterPointer)),
        false => Ok(allocated(cdb, LogPage { code, subpage: 0, parameters }.encode())),
    }
}

fn of_page(context: &Context<'_>, state: &State, code: u8, is_default: bool) -> Vec<LogParameter> {
    let block_bytes = u64::from(context.unit.config.stored_block_bytes());
    let totals = |page| if is_default { Totals::default() } else { state.totals(page) };
    match code {
        page::WRITE_ERRORS => {
            let totals = totals(CountedPage::WriteErrors);
            errors(totals.bytes_written, totals.write_errors)
        }
        page::READ_ERRORS => {
            let totals = totals(CountedPage::ReadErrors);
            errors(totals.blocks_read.wrapping_mul(block_bytes), totals.read_errors)
        }
        page::GENERAL_STATISTICS => vec![statistics(totals(CountedPage::Statistics), block_bytes)],
        page::LOGICAL_BLOCK_PROVISIONING => state.space.map_or_else(Vec::new, |space| resources(space, block_bytes)),
        page::TEMPERATURE => (0..=1).map(|code| LogParameter::binary(code, vec![0, NO_TEMPERATURE])).collect(),
        page::START_STOP_CYCLES => [UNSPECIFIED, state.medium.starts, UNSPECIFIED, state.medium.loads]
            .into_iter()
            .zip(3..)
            .map(|(count, code)| LogParameter::binary(code, count.to_be_bytes().to_vec()))
            .collect(),
        page::BACKGROUND_SCAN => vec![background_scan(context)],
        _ => {
            let [code, qualifier] = state.settings.exception().unwrap_or(AdditionalSense::NONE).code().to_be_bytes();
            vec![LogParameter::binary(0, vec![code, qualifier, NO_TEMPERATURE, 0])]
        }
    }
}

/// Total errors corrected, bytes processed, and errors that were not corrected (SPC-5 table 367): a store corrects nothing that it tells of.
fn errors(bytes: u64, uncorrected: u64) -> Vec<LogParameter> {
    [(3, 0), (5, bytes), (6, uncorrected)].map(|(code, count)| LogParameter::counter(code, count)).into()
}

/// What blocks can still take, if there is a bound, and what they have taken, in threshold sets. Others than this unit have no part in what it
/// has taken.
fn resources(space: Space, block_bytes: u64) -> Vec<LogParameter> {
    const OF_THE_UNIT: u8 = 1;
    const OF_OTHERS_TOO: u8 = 2;
    let set_bytes = block_bytes << THRESHOLD_EXPONENT;
    let parameter = |code, sets: u64, scope| {
        let count = ResourceCount { threshold_sets: u32::try_from(sets).unwrap_or(u32::MAX), scope };
        LogParameter::binary(code, count.encode())
    };
    let scope = if space.is_shared { OF_OTHERS_TOO } else { OF_THE_UNIT };
    let available = space.available_bytes.map(|bytes| parameter(ResourceCount::AVAILABLE, bytes / set_bytes, scope));
    let used = parameter(ResourceCount::USED, space.used_bytes.div_ceil(set_bytes), OF_THE_UNIT);
    available.into_iter().chain([used]).collect()
}

fn statistics(totals: Totals, block_bytes: u64) -> LogParameter {
    let statistics = Statistics {
        read_commands: totals.reads,
        write_commands: totals.writes,
        blocks_received: totals.bytes_written / block_bytes,
        blocks_transmitted: totals.blocks_read,
    };
    LogParameter::binary(1, statistics.encode())
}

/// The minutes since the device has a clock. No scan is ever made.
fn background_scan(context: &Context<'_>) -> LogParameter {
    let since = context.device.clock().zip(context.now).map(|(clock, now)| clock.age(now));
    let minutes = u32::try_from(since.unwrap_or_default().as_secs() / 60).unwrap_or(u32::MAX);
    let mut value = minutes.to_be_bytes().to_vec();
    value.resize(12, 0);
    LogParameter::binary(0, value)
}

/// LOG SELECT: sets counters back to zero, of one page or of all. There is no parameter that a list could set.
pub(super) fn select(context: &Context<'_>, cdb: &Cdb) -> Result<Plan, Sense> {
    let code = cdb.get(Field::PageCode) as u8;
    if cdb.has(Field::ParameterListLength) {
        return Err(cdb.refuse(Field::ParameterListLength));
    }
    if code != page::SUPPORTED_PAGES && !pages(context).contains(&code) {
        return Err(cdb.refuse(Field::PageCode));
    }
    if cdb.has(Field::SubpageCode) {
        return Err(cdb.refuse(Field::SubpageCode));
    }
    if cdb.has(Field::ParameterCodeReset) || cdb.get(Field::PageControl) == DEFAULT_CUMULATIVE {
        let pages: &[CountedPage] = match code {
            page::SUPPORTED_PAGES => &CountedPage::ALL,
            page::WRITE_ERRORS => &[CountedPage::WriteErrors],
            page::READ_ERRORS => &[CountedPage::ReadErrors],
            page::GENERAL_STATISTICS => &[CountedPage::Statistics],
            _ => &[],
        };
        context.unit.change(|state| {
            pages.iter().for_each(|page| state.clear_totals(*page));
            state.post(AdditionalSense::LOG_PARAMETERS_CHANGED, Some(context.nexus));
        });
    }
    Ok(Plan::DONE)
}
