//! What the measurements have come to: tables, JSON, and the figure.

use fio_job::Direction;
use serde::Serialize;

use super::way::Way;
use crate::bench::{Report, number, table};
use crate::failure::Failure;
use crate::figure::{self, Measure};
use crate::show;
use crate::t5::Counters;

/// One measurement, or why there is none.
#[derive(Debug, Serialize)]
pub struct Measurement {
    /// What was between target and initiator.
    pub way: &'static str,
    /// Which way the data went.
    #[serde(serialize_with = "crate::bench::by_name")]
    pub rw: Direction,
    /// Bytes in a request.
    pub block_size: u32,
    /// What was measured.
    pub report: Option<Report>,
    /// Why nothing was.
    pub failure: Option<String>,
}

impl Measurement {
    /// A request took so long that all the others have waited too, in milliseconds; if one did.
    #[must_use]
    pub fn stall_ms(&self) -> Option<f64> {
        const STALL_MS: f64 = 1000.0;
        let longest = self.report.as_ref()?.total.latency_us.max / 1000.0;
        (longest >= STALL_MS).then_some(longest)
    }
}

/// The words for a load in tables and the figure.
#[must_use]
pub fn load_name(rw: Direction) -> &'static str {
    match rw {
        Direction::Randread => "random READ",
        Direction::Randwrite => "random WRITE",
        Direction::Randrw => "random READ/WRITE",
        Direction::Read => "READ",
        Direction::Write => "WRITE",
        Direction::Rw => "READ/WRITE",
    }
}

/// The measurements of one way as a table.
#[must_use]
pub fn text(way: Way, measurements: &[Measurement]) -> String {
    let mut rows =
        table(&[way.name(), "IOPS", "MiB/s", "mean us", "p50", "p99", "p99.9", "CPU %", "CPU us/IO", "verified MiB"]);
    for measurement in measurements.iter().filter(|measurement| measurement.way == way.name()) {
        let name = format!("{}, {}", load_name(measurement.rw), show::size(measurement.block_size.into()));
        let row = match &measurement.report {
            Some(report) => {
                let latency = &report.total.latency_us;
                let numbers = [report.total.iops, report.total.mib_s, latency.mean, latency.p50, latency.p99];
                let rest = [latency.p99_9, report.cpu_percent, report.cpu_us_per_io];
                let verified = report.verified_bytes.unwrap_or(0) as f64 / f64::from(1 << 20);
                std::iter::once(name).chain(numbers.into_iter().chain(rest).chain([verified]).map(number)).collect()
            }
            None => vec![name, "-".to_owned()],
        };
        rows.add_row(row);
    }
    rows.trim_fmt()
}

/// What did not go as it should, a line each.
#[must_use]
pub fn faults(measurements: &[Measurement]) -> Vec<String> {
    let fault = |measurement: &Measurement| {
        let what = match (&measurement.failure, measurement.stall_ms()) {
            (Some(failure), _) => format!("not measured: {failure}"),
            (None, Some(ms)) => format!("stalled: a request took {} ms", number(ms)),
            (None, None) => return None,
        };
        let size = show::size(measurement.block_size.into());
        Some(format!("{}, {}, {size}: {what}", measurement.way, load_name(measurement.rw)))
    };
    measurements.iter().filter_map(fault).collect()
}

/// What the adapter did, a line for each subject.
#[must_use]
pub fn adapter(counters: &Counters) -> String {
    let mebibytes = |bytes: u64| number(bytes as f64 / f64::from(1 << 20));
    let Counters { digests_inserted, digests_checked, digests_wrong, frames_inside, frames_on_the_wire, .. } = counters;
    format!(
        "placed     {:.1} % of the bytes received went directly to their place: {} of {} MiB\n\
         digests    {digests_inserted} inserted, {digests_checked} checked, {digests_wrong} wrong\n\
         frames     {frames_inside} switched inside, {frames_on_the_wire} on the wire",
        counters.placed_percent(),
        mebibytes(counters.bytes_placed),
        mebibytes(counters.bytes_placed + counters.bytes_delivered),
    )
}

/// The picture.
///
/// # Errors
/// Nothing was measured.
pub fn picture(title: &str, measurements: &[Measurement]) -> Result<String, Failure> {
    let measure = |measurement: &Measurement| {
        let total = &measurement.report.as_ref()?.total;
        Some(Measure {
            load: load_name(measurement.rw).into(),
            way: measurement.way.into(),
            block_size: measurement.block_size,
            iops: total.iops,
            mib_s: total.mib_s,
        })
    };
    let measures: Vec<Measure> = measurements.iter().filter_map(measure).collect();
    figure::svg(title, &measures).map_err(|error| Failure::local(format!("no figure: {error}")))
}
