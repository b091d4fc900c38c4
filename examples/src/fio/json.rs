//! Results in the shape of fio's JSON. What fio tells and we do not know is left out, or zero where programs rely on it.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::{Class, Group, PERCENTILES};
use crate::bench::{Spread, Tally};

/// The whole report. `fio version` says what has made it; `global` are the options of all jobs.
#[must_use]
pub fn json(global: &[(String, String)], groups: &[Group]) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut report = json!({
        "fio version": concat!("iscsi-initiator-", env!("CARGO_PKG_VERSION")),
        "timestamp": now.as_secs(),
        "timestamp_ms": now.as_millis() as u64,
        "jobs": groups.iter().map(|group| job(group, groups)).collect::<Vec<_>>(),
        "disk_util": [],
    });
    if !global.is_empty() {
        report["global options"] = options(global);
    }
    report
}

fn options(options: &[(String, String)]) -> Value {
    options.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect::<Map<_, _>>().into()
}

fn job(group: &Group, all: &[Group]) -> Value {
    let [user, system] = group.processor_percent();
    let usage = group.measured.thread_usage;
    let mut job = json!({
        "jobname": group.job.name,
        "groupid": group.number,
        "error": 0,
        "eta": 0,
        "elapsed": group.elapsed().as_secs_f64().ceil() as u64,
        "job options": options(&group.job.options),
        "trim": direction(group, &Tally::default(), 0.0),
        "sync": { "total_ios": 0, "lat_ns": latency(&Tally::default(), false) },
        "job_runtime": (group.elapsed().as_millis() as u64) * u64::from(group.job.numjobs),
        "usr_cpu": user,
        "sys_cpu": system,
        "ctx": usage.switches,
        "majf": usage.major_faults,
        "minf": usage.minor_faults,
        "iodepth_level": group.depths().into_iter().collect::<BTreeMap<_, _>>(),
        "latency_depth": group.job.iodepth,
        "latency_target": 0,
        "latency_percentile": 100.0,
        "latency_window": 0,
    });
    for (index, (name, tally)) in group.directions().into_iter().enumerate() {
        job[name] = direction(group, tally, group.share(index, all));
    }
    for Class { unit, name, percent } in group.distribution() {
        job[format!("latency_{unit}s")][name] = percent.into();
    }
    job
}

fn direction(group: &Group, tally: &Tally, share: f64) -> Value {
    let bytes = group.bytes(tally);
    let bandwidth = group.per_second(bytes);
    let ran = if tally.count() == 0 { 0 } else { group.elapsed().as_millis() as u64 };
    let mut value = json!({
        "io_bytes": bytes,
        "io_kbytes": bytes >> 10,
        "bw_bytes": bandwidth as u64,
        "bw": bandwidth as u64 >> 10,
        "iops": group.per_second(tally.count()),
        "runtime": ran,
        "total_ios": tally.count(),
        "short_ios": 0,
        "drop_ios": 0,
        // A request is under way as soon as it is given to the session.
        "slat_ns": latency(&Tally::default(), false),
        "clat_ns": latency(tally, true),
        "lat_ns": latency(tally, false),
    });
    let Spread { min, max, mean, deviation, samples } = group.spread(tally);
    let kib = |iops: f64| iops * f64::from(group.job.block_size) / 1024.0;
    let sampled = json!({
        "bw_min": kib(min) as u64,
        "bw_max": kib(max) as u64,
        "bw_agg": share,
        "bw_mean": kib(mean),
        "bw_dev": kib(deviation),
        "bw_samples": samples,
        "iops_min": min as u64,
        "iops_max": max as u64,
        "iops_mean": mean,
        "iops_stddev": deviation,
        "iops_samples": samples,
    });
    value.as_object_mut().expect("an object").extend(sampled.as_object().expect("an object").clone());
    value
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
