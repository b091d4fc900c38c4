//! `logs`: the log pages of a logical unit, and counters that begin again.
//!
//! In: the bytes of each page. Out: [`Section`]s. A parameter that has no name here is shown in hexadecimal.

use bytes::Bytes;
use clap::Args;
use iscsi_runtime::url::Url;
use scsi_block::DecodeError;
use scsi_block::cdb::Cdb;
use scsi_block::log::{LogPage, LogParameter, ResourceCount, Statistics, SupportedLogPages, page};
use scsi_block::sense::AdditionalSense;
use serde_json::{Map, Value};

use super::connection::{Connection, at};
use super::section::{Item, Section, hexadecimal, item, named, to_json, to_text};
use super::unit::Unit;
use crate::failure::{Failure, Kind};
use crate::parse::hidden;
use crate::show;

/// Bytes of a page that are asked for.
const PAGE_BYTES: u16 = 8192;

#[derive(Debug, Args)]
pub(super) struct Logs {
    /// The disk
    #[arg(value_name = "URL", value_parser = hidden::<Url>())]
    url: Url,

    /// Lets all counters that can begin again at zero, after they were shown
    #[arg(long)]
    reset: bool,

    /// Answers in JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connection: Connection,
}

/// Shows all log pages.
///
/// # Errors
/// The unit cannot be asked, or does not tell which pages it has.
pub(super) fn run(logs: &Logs) -> Result<(), Failure> {
    let unit = Unit::open(&logs.url, &logs.connection)?;
    let supported = read(&unit, page::SUPPORTED_PAGES).map_err(at(&logs.url))?;
    let wrong = |error: DecodeError| Failure::new(Kind::Device, error.to_string()).context(&logs.url);
    let pages = SupportedLogPages::decode(&supported).map_err(wrong)?.0;
    let mut sections = Vec::new();
    for (code, _) in pages.into_iter().filter(|(code, _)| *code != page::SUPPORTED_PAGES) {
        sections.push((code, section(code, read(&unit, code))));
    }
    if logs.reset {
        unit.run(&Cdb::log_reset(page::SUPPORTED_PAGES), Bytes::new()).map_err(at(&logs.url))?;
    }
    unit.close();
    if logs.json {
        let pages: Map<String, Value> =
            sections.into_iter().map(|(code, section)| (format!("{code:02x}"), to_json(section))).collect();
        show::print(&Value::from(pages).to_string());
    } else {
        let sections: Vec<String> = sections.into_iter().map(|(_, section)| to_text(section)).collect();
        show::print(sections.join("\n").trim_end());
    }
    Ok(())
}

fn read(unit: &Unit, code: u8) -> Result<Bytes, Failure> {
    unit.read(&Cdb::log_sense(code, 0, PAGE_BYTES), PAGE_BYTES.into())
}

/// Names of log pages (SPC-5 table 347, SBC-4 table 213).
const PAGE_NAMES: &[(u8, &str)] = &[
    (page::WRITE_ERRORS, "write error counters"),
    (page::READ_ERRORS, "read error counters"),
    (0x05, "verify error counters"),
    (0x06, "non-medium errors"),
    (page::LOGICAL_BLOCK_PROVISIONING, "logical block provisioning"),
    (page::TEMPERATURE, "temperature"),
    (page::START_STOP_CYCLES, "start-stop cycle counter"),
    (0x10, "self-test results"),
    (0x11, "solid state media"),
    (page::BACKGROUND_SCAN, "background scan"),
    (0x18, "protocol specific port"),
    (page::GENERAL_STATISTICS, "general statistics and performance"),
    (0x1a, "power condition transitions"),
    (page::INFORMATIONAL_EXCEPTIONS, "informational exceptions"),
];

fn section(code: u8, bytes: Result<Bytes, Failure>) -> Section {
    let name = PAGE_NAMES.iter().find(|(known, _)| *known == code).map_or("", |(_, name)| name);
    let title = format!("Log page {code:02x}h{}{name}", if name.is_empty() { "" } else { ", " });
    let items = match bytes {
        Err(failure) => vec![item("error", failure.to_string())],
        Ok(bytes) => match LogPage::decode(&bytes) {
            Ok(page) => page.parameters.iter().flat_map(|parameter| items(code, parameter)).collect(),
            Err(error) => vec![item("error", error.to_string()), item("bytes", hexadecimal(&bytes))],
        },
    };
    Section { title, items }
}

/// Labels of the error counters, by parameter code (SPC-5 table 367).
const ERROR_COUNTERS: [&str; 7] = [
    "corrected without delay",
    "corrected with delay",
    "repeated",
    "corrected",
    "runs of the correction",
    "processed",
    "not corrected",
];

/// What a parameter says.
fn items(code: u8, parameter: &LogParameter) -> Vec<Item> {
    let number = || parameter.number().map_or(Value::Null, Value::from);
    match (code, parameter.code) {
        (page::WRITE_ERRORS | page::READ_ERRORS | 0x05, counter @ 0..=6) => {
            vec![item(ERROR_COUNTERS[usize::from(counter)], number()).remark(if counter == 5 {
                "bytes"
            } else {
                "times"
            })]
        }
        (page::LOGICAL_BLOCK_PROVISIONING, ResourceCount::AVAILABLE) => {
            resources(parameter, "available", "available to")
        }
        (page::LOGICAL_BLOCK_PROVISIONING, ResourceCount::USED) => resources(parameter, "used", "used by"),
        (page::TEMPERATURE, 0) => vec![item("temperature", temperature(parameter)).remark("degrees Celsius")],
        (page::TEMPERATURE, 1) => vec![item("reference temperature", temperature(parameter)).remark("degrees Celsius")],
        (page::START_STOP_CYCLES, 3) => vec![item("starts over lifetime", specified(parameter))],
        (page::START_STOP_CYCLES, 4) => vec![item("starts", number())],
        (page::START_STOP_CYCLES, 5) => vec![item("loads over lifetime", specified(parameter))],
        (page::START_STOP_CYCLES, 6) => vec![item("loads", number())],
        (page::BACKGROUND_SCAN, 0) => background_scan(&parameter.value),
        (page::GENERAL_STATISTICS, 1) => {
            Statistics::decode(&parameter.value).map_or_else(Vec::new, |counts| statistics(&counts))
        }
        (page::INFORMATIONAL_EXCEPTIONS, 0) => exception(&parameter.value),
        (_, other) => vec![item("parameter", other), item("value", hexadecimal(&parameter.value))],
    }
}

/// Space, in threshold sets of the size that VPD page B2h tells, and whose it is.
fn resources(parameter: &LogParameter, label: &'static str, whose: &'static str) -> Vec<Item> {
    const SCOPES: &[(u8, &str)] = &[(0, "not told"), (1, "this unit"), (2, "others too")];
    let Some(count) = ResourceCount::decode(&parameter.value) else { return Vec::new() };
    vec![item(label, count.threshold_sets).remark("threshold sets"), item(whose, named(count.scope, SCOPES))]
}

/// FFh: there is none to tell.
fn temperature(parameter: &LogParameter) -> Value {
    parameter.value.get(1).filter(|degrees| **degrees != 0xff).map_or(Value::Null, |degrees| (*degrees).into())
}

fn specified(parameter: &LogParameter) -> Value {
    parameter.number().filter(|count| *count != u64::from(u32::MAX)).map_or(Value::Null, Value::from)
}

fn background_scan(value: &[u8]) -> Vec<Item> {
    let minutes = value.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
    let scans = value.get(6..8).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
    vec![
        item("powered on", minutes).remark("minutes"),
        item("scan active", value.get(5).is_some_and(|status| *status == 1)),
        item("scans", scans),
    ]
}

fn statistics(counts: &Statistics) -> Vec<Item> {
    vec![
        item("read commands", counts.read_commands),
        item("write commands", counts.write_commands),
        item("blocks received", counts.blocks_received),
        item("blocks transmitted", counts.blocks_transmitted),
    ]
}

fn exception(value: &[u8]) -> Vec<Item> {
    let Some(&[code, qualifier, ..]) = value.first_chunk::<3>() else { return Vec::new() };
    let exception = AdditionalSense::from_code(u16::from_be_bytes([code, qualifier]));
    let told = if exception == AdditionalSense::NONE { "none".to_owned() } else { exception.to_string() };
    vec![item("exception", told)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn people_see_names_and_programs_the_same() {
        let errors = [0x83, 0, 0, 24, 0, 5, 2, 8, 0, 0, 0, 0, 0, 0, 2, 0, 0, 6, 2, 8, 0, 0, 0, 0, 0, 0, 0, 1];
        let show = |code, bytes: &[u8]| section(code, Ok(Bytes::copy_from_slice(bytes)));
        let text = to_text(show(0x03, &errors));
        for line in ["Log page 03h, read error counters", "  processed      512 bytes", "  not corrected  1 times"] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert_eq!(to_json(show(0x03, &errors))["not_corrected"], 1);
        let temperature = to_json(show(0x0d, &[0x0d, 0, 0, 12, 0, 0, 3, 2, 0, 0xff, 0, 1, 3, 2, 0, 40]));
        assert_eq!((&temperature["temperature"], &temperature["reference_temperature"]), (&Value::Null, &40.into()));
        assert_eq!(to_json(show(0x30, &[0x30, 0, 0, 5, 0, 9, 3, 1, 7]))["value"][0], "07");
    }

    proptest! {
        #[test]
        fn any_page_is_shown(code: u8, bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let bytes = Bytes::from(bytes);
            let _ = to_json(section(code, Ok(bytes.clone())));
            let _ = to_text(section(code, Ok(bytes)));
        }
    }
}
