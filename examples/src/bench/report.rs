//! What a run has measured, for people and for programs.

use std::fmt;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use super::statistics::{Latency, Rates, Tally};
use super::{Measured, Shape};
use crate::t5::Counters;

/// The result of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where the load went.
    pub target: String,
    /// Which load it was.
    #[serde(flatten)]
    pub shape: Shape,
    /// Seconds that were measured.
    pub elapsed_s: f64,
    /// Reads and writes together.
    #[serde(flatten)]
    pub total: Rates,
    /// Reads alone, if there were any.
    pub read: Option<Rates>,
    /// Writes alone, if there were any.
    pub write: Option<Rates>,
    /// Processor time of this process, in percent of one processor; with a target of its own, of both ends.
    pub cpu_percent: f64,
    /// Processor time of this process for one request, in microseconds.
    pub cpu_us_per_io: f64,
    /// Bytes that were read and found to be what was written; absent if nothing was verified.
    pub verified_bytes: Option<u64>,
    /// What the adapter did in all of the run; absent without one.
    pub adapter: Option<Counters>,
}

impl Report {
    /// What was measured, in the figures that people ask for.
    #[must_use]
    pub fn new(target: String, shape: Shape, measured: &Measured) -> Self {
        let Measured { reads, writes, elapsed, process_time, .. } = measured;
        let (seconds, processor_seconds) = (elapsed.as_secs_f64(), process_time.as_secs_f64());
        let mut both = reads.clone();
        both.add(writes);
        let rates = |tally: &Tally| tally.rates(shape.block_size, *elapsed);
        let some = |tally: &Tally| (tally.count() > 0).then(|| rates(tally));
        Self {
            target,
            elapsed_s: seconds,
            total: rates(&both),
            read: some(reads),
            write: some(writes),
            cpu_percent: 100.0 * processor_seconds / seconds.max(f64::EPSILON),
            cpu_us_per_io: processor_seconds * 1e6 / both.count().max(1) as f64,
            verified_bytes: measured.verified_bytes,
            adapter: None,
            shape,
        }
    }
}

/// A table with the numbers to the right, and no frame.
#[must_use]
pub fn table(heading: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(heading);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        column.set_cell_alignment(if index == 0 { CellAlignment::Left } else { CellAlignment::Right });
    }
    table
}

/// A number of requests, MiB or microseconds: three figures where they matter.
#[must_use]
pub fn number(value: f64) -> String {
    let digits = if value < 100.0 { 1 } else { 0 };
    let plain = format!("{value:.digits$}");
    let (whole, fraction) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    let grouped = whole.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ");
    grouped + fraction
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} on {}", self.shape, self.target)?;
        let mut table = table(&["", "IOPS", "MiB/s", "mean us", "p50", "p90", "p99", "p99.9", "max"]);
        let both = self.read.as_ref().zip(self.write.as_ref()).map(|_| &self.total);
        for (name, rates) in [("read", self.read.as_ref()), ("write", self.write.as_ref()), ("both", both)] {
            let Some(Rates { iops, mib_s, latency_us }) = rates else { continue };
            let Latency { mean, p50, p90, p99, p99_9, max, .. } = latency_us;
            let numbers = [iops, mib_s, mean, p50, p90, p99, p99_9, max].map(|value| number(*value));
            table.add_row(std::iter::once(name.to_owned()).chain(numbers));
        }
        writeln!(f, "{}", table.trim_fmt())?;
        write!(f, "{:.0} % of a processor, {:.2} us a request", self.cpu_percent, self.cpu_us_per_io)?;
        if let Some(bytes) = self.verified_bytes {
            write!(f, "; {} MiB verified", number(bytes as f64 / f64::from(1 << 20)))?;
        }
        if let Some(adapter) = &self.adapter {
            write!(f, "\n{adapter}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Direction;
    use std::time::Duration;

    fn report() -> Report {
        let mut tally = Tally::default();
        (0..3000).for_each(|_| tally.record(Duration::from_micros(200), Duration::ZERO));
        let shape = Shape { rw: Direction::Randread, block_size: 4096, iodepth: 32, jobs: 2, connections: 4 };
        let (elapsed, process_time) = (Duration::from_secs(1), Duration::from_millis(500));
        let measured = Measured { reads: tally, elapsed, process_time, ..Measured::default() };
        Report::new("iscsi://h:1/iqn.2026-01.a:b/0".into(), shape, &measured)
    }

    #[test]
    fn programs_find_the_names_that_are_promised() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["iops"], 3000.0);
        assert_eq!(json["mib_s"], 11.71875);
        assert!((json["latency_us"]["p99"].as_f64().unwrap() - 200.0).abs() < 1.0);
        assert_eq!(json["read"]["iops"], json["iops"]);
        assert!(json["write"].is_null() && json["verified_bytes"].is_null());
        assert_eq!((&json["rw"], &json["block_size"], &json["jobs"]), (&"randread".into(), &4096.into(), &2.into()));
        assert_eq!(json["connections"], 4);
        assert_eq!(json["cpu_percent"], 50.0);
    }

    #[test]
    fn people_get_a_table() {
        let text = report().to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "randread, 4 KiB, depth 32, 2 jobs, 4 connections a session on iscsi://h:1/iqn.2026-01.a:b/0"
        );
        assert!(lines[1].contains("IOPS") && lines[2].contains("read") && lines[2].contains("3 000"), "{text}");
        assert_eq!(lines[3], "50 % of a processor, 166.67 us a request");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(number(1234567.8), "1 234 568");
        assert_eq!(number(12.34), "12.3");
        assert_eq!(number(999.0), "999");
    }
}
