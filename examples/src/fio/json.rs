//! Results in the shape of fio's JSON. What fio tells and we do not know is left out, or zero where programs rely on it.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::{Group, PERCENTILES};
use crate::bench::Tally;

/// The whole report. `fio version` says what has made it.
#[must_use]
pub fn json(groups: &[Group]) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    json!({
        "fio version": concat!("iscsi-initiator-", env!("CARGO_PKG_VERSION")),
        "timestamp": now.as_secs(),
        "timestamp_ms": now.as_millis() as u64,
        "jobs": groups.iter().map(job).collect::<Vec<_>>(),
        "disk_util": [],
    })
}

fn job(group: &Group) -> Value {
    let [user, system] = group.processor_percent();
    let options: Map<String, Value> =
        group.job.options.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let mut job = json!({
        "jobname": group.job.name,
        "groupid": group.number,
        "error": 0,
        "elapsed": group.elapsed.as_secs_f64().ceil() as u64,
        "job options": options,
        "trim": direction(group, &Tally::default()),
        "job_runtime": (group.elapsed.as_millis() as u64) * u64::from(group.job.numjobs),
        "usr_cpu": user,
        "sys_cpu": system,
        "latency_depth": group.job.iodepth,
    });
    for (name, tally) in group.directions() {
        job[name] = direction(group, tally);
    }
    job
}

fn direction(group: &Group, tally: &Tally) -> Value {
    let bytes = group.bytes(tally);
    let bandwidth = group.per_second(bytes);
    let runtime = if tally.count() == 0 { 0 } else { group.elapsed.as_millis() as u64 };
    json!({
        "io_bytes": bytes,
        "io_kbytes": bytes >> 10,
        "bw_bytes": bandwidth as u64,
        "bw": bandwidth as u64 >> 10,
        "iops": group.per_second(tally.count()),
        "runtime": runtime,
        "total_ios": tally.count(),
        "short_ios": 0,
        "drop_ios": 0,
        // A request is under way as soon as it is given to the session.
        "slat_ns": { "min": 0, "max": 0, "mean": 0.0, "stddev": 0.0, "N": 0 },
        "clat_ns": latency(tally, true),
        "lat_ns": latency(tally, false),
    })
}

fn latency(tally: &Tally, percentiles: bool) -> Value {
    let latencies = tally.latencies();
    let mut value = json!({
        "min": if tally.count() == 0 { 0 } else { latencies.min() },
        "max": latencies.max(),
        "mean": latencies.mean(),
        "stddev": latencies.stdev(),
        "N": tally.count(),
    });
    if percentiles && tally.count() > 0 {
        let at = |percentile: f64| (format!("{percentile:.6}"), latencies.value_at_quantile(percentile / 100.0).into());
        value["percentile"] = Value::Object(PERCENTILES.map(at).into_iter().collect());
    }
    value
}
