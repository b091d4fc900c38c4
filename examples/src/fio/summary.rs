//! Results as fio tells them to people.

use std::fmt::Write as _;

use super::{Class, Group, PERCENTILES};
use crate::bench::{Spread, Tally};
use crate::process::ThreadUsage;

/// The whole report.
#[must_use]
pub fn summary(groups: &[Group]) -> String {
    let mut text = String::new();
    for group in groups {
        job(&mut text, group, groups);
    }
    let stages = groups.iter().map(|group| group.number + 1).max().unwrap_or(0);
    for stage in 0..stages {
        let members: Vec<&Group> = groups.iter().filter(|group| group.number == stage).collect();
        _ = writeln!(text, "\nRun status group {stage} (all jobs):");
        status(&mut text, "   READ", &members, |group| &group.measured.reads);
        status(&mut text, "  WRITE", &members, |group| &group.measured.writes);
    }
    text.trim_end().into()
}

fn job(text: &mut String, group: &Group, all: &[Group]) {
    let job = &group.job;
    let lines = [
        format!(
            "{}: (g={}): rw={}, bs=(R) {size}B-{size}B, (W) {size}B-{size}B, (T) {size}B-{size}B, ioengine=iscsi, iodepth={}",
            job.name,
            group.number,
            job.rw,
            job.iodepth,
            size = job.block_size,
        ),
        format!("{}: (groupid={}, jobs={}): err= 0", job.name, group.number, job.numjobs),
    ];
    lines.iter().for_each(|line| _ = writeln!(text, "{line}"));
    for (index, (name, tally)) in group.directions().into_iter().enumerate() {
        if tally.count() > 0 {
            direction(text, group, name, tally);
            spread(text, group, tally, group.share(index, all));
        }
    }
    let [user, system] = group.processor_percent();
    let (reads, writes) = (group.measured.reads.count(), group.measured.writes.count());
    distribution(text, group);
    let ThreadUsage { switches, major_faults, minor_faults, .. } = group.measured.thread_usage;
    _ = writeln!(
        text,
        "  cpu          : usr={user:.2}%, sys={system:.2}%, ctx={switches}, majf={major_faults}, minf={minor_faults}"
    );
    let depths = group.depths().map(|(name, percent)| format!("{name}={percent:.1}%"));
    _ = writeln!(text, "  IO depths    : {}", depths.join(", "));
    _ = writeln!(text, "     issued rwts: total={reads},{writes},0,0 short=0,0,0,0 dropped=0,0,0,0");
    _ = writeln!(text, "     latency   : target=0, window=0, percentile=100.00%, depth={}", job.iodepth);
}

/// The shares of latencies of which there are any, five a line.
fn distribution(text: &mut String, group: &Group) {
    let classes: Vec<Class> = group.distribution().into_iter().filter(|class| class.percent > 0.0).collect();
    for of_unit in classes.chunk_by(|one, other| one.unit == other.unit) {
        for line in of_unit.chunks(5) {
            let shares: Vec<String> =
                line.iter().map(|Class { name, percent, .. }| format!("{name}={percent:.2}%")).collect();
            _ = writeln!(text, "  lat ({}sec)   : {}", line[0].unit, shares.join(", "));
        }
    }
}

fn direction(text: &mut String, group: &Group, name: &str, tally: &Tally) {
    let (bytes, milliseconds) = (group.bytes(tally), group.elapsed().as_millis());
    let (iops, bandwidth) = (group.per_second(tally.count()), group.per_second(bytes));
    let iops = thousands(iops);
    let (binary, decimal) = (binary(bandwidth), decimal(bandwidth));
    let moved = self::binary(bytes as f64);
    _ = writeln!(text, "  {name}: IOPS={iops}, BW={binary}/s ({decimal}/s)({moved}/{milliseconds}msec)");
    let latencies = tally.latencies();
    let (unit, divisor) = unit(latencies.mean());
    let scaled = |nanoseconds: f64| nanoseconds / divisor;
    let [min, max] = [latencies.min(), latencies.max()].map(|latency| scaled(latency as f64));
    let (mean, deviation) = (scaled(latencies.mean()), scaled(latencies.stdev()));
    for kind in ["clat", " lat"] {
        _ = writeln!(
            text,
            "    {kind} ({unit}): min={}, max={}, avg={mean:.2}, stdev={deviation:.2}",
            thousands(min),
            thousands(max)
        );
    }
    _ = writeln!(text, "    clat percentiles ({unit}):");
    let values = PERCENTILES.map(|percentile| {
        let value = scaled(latencies.value_at_quantile(percentile / 100.0) as f64);
        format!("{percentile:5.2}th=[{value:5.0}]")
    });
    let lines: Vec<String> = values.chunks(4).map(|values| format!("     | {}", values.join(", "))).collect();
    _ = writeln!(text, "{}", lines.join(",\n"));
}

/// The unit in which fio would tell latencies around this one, and its nanoseconds.
fn unit(nanoseconds: f64) -> (&'static str, f64) {
    match nanoseconds {
        ..=2_000.0 => ("nsec", 1.0),
        ..=2_000_000.0 => ("usec", 1e3),
        _ => ("msec", 1e6),
    }
}

/// Four figures at most, and a k or M behind them.
fn thousands(value: f64) -> String {
    match value {
        ..10_000.0 => format!("{value:.0}"),
        ..10_000_000.0 => format!("{:.1}k", value / 1e3),
        _ => format!("{:.1}M", value / 1e6),
    }
}

/// How steady it was, and which part of all that moved in the stage.
fn spread(text: &mut String, group: &Group, tally: &Tally, share: f64) {
    let Spread { min, max, mean, deviation, samples } = group.spread(tally);
    let kib = |iops: f64| iops * f64::from(group.job.block_size) / 1024.0;
    _ = writeln!(
        text,
        "   bw (  KiB/s): min={:.0}, max={:.0}, per={share:.2}%, avg={:.2}, stdev={:.2}, samples={samples}",
        kib(min),
        kib(max),
        kib(mean),
        kib(deviation)
    );
    _ = writeln!(
        text,
        "   iops        : min={min:.0}, max={max:.0}, avg={mean:.2}, stdev={deviation:.2}, samples={samples}"
    );
}

fn binary(bytes: f64) -> String {
    scale(bytes, 1024.0, ["B", "KiB", "MiB", "GiB", "TiB"])
}

fn decimal(bytes: f64) -> String {
    scale(bytes, 1000.0, ["B", "kB", "MB", "GB", "TB"])
}

/// About four figures, as fio writes them.
fn scale(bytes: f64, base: f64, units: [&str; 5]) -> String {
    let mut value = bytes;
    let mut units = units.into_iter();
    let mut unit = units.next().unwrap_or_default();
    for larger in units {
        if value < 10.0 * base {
            break;
        }
        (value, unit) = (value / base, larger);
    }
    let digits = if value < 100.0 && unit != "B" { 1 } else { 0 };
    format!("{value:.digits$}{unit}")
}

fn status(text: &mut String, name: &str, groups: &[&Group], tally: fn(&Group) -> &Tally) {
    let members: Vec<&&Group> = groups.iter().filter(|group| tally(group).count() > 0).collect();
    let Some(longest) = members.iter().map(|group| group.elapsed().as_millis()).max() else { return };
    let shortest = members.iter().map(|group| group.elapsed().as_millis()).min().unwrap_or(longest);
    let bytes: u64 = members.iter().map(|group| group.bytes(tally(group))).sum();
    let rates: Vec<f64> = members.iter().map(|group| group.per_second(group.bytes(tally(group)))).collect();
    let total = bytes as f64 * 1000.0 / longest.max(1) as f64;
    let least = rates.iter().copied().fold(f64::INFINITY, f64::min);
    let most = rates.iter().copied().fold(0.0, f64::max);
    _ = writeln!(
        text,
        "{name}: bw={}/s ({}/s), {}/s-{}/s ({}/s-{}/s), io={} ({}), run={shortest}-{longest}msec",
        binary(total),
        decimal(total),
        binary(least),
        binary(most),
        decimal(least),
        decimal(most),
        binary(bytes as f64),
        decimal(bytes as f64),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Depths, Measured};
    use crate::fio::json;
    use fio_job::{Direction, Job};
    use std::time::Duration;

    fn group() -> Group {
        let (mut reads, mut writes) = (Tally::default(), Tally::default());
        (0..30_000).for_each(|_| reads.record(Duration::from_micros(200), Duration::ZERO));
        (0..10).for_each(|_| writes.record(Duration::from_millis(5), Duration::from_millis(700)));
        let job = Job { name: "mixed".into(), rw: Direction::Randrw, iodepth: 64, numjobs: 2, ..Job::default() };
        let thread_usage = ThreadUsage {
            user: Duration::from_millis(3000),
            system: Duration::from_millis(500),
            minor_faults: 7,
            major_faults: 1,
            switches: 42,
        };
        let (elapsed, mut depths) = (Duration::from_secs(2), Depths::default());
        [1, 64, 64, 64].iter().for_each(|depth| depths.record(*depth));
        Group {
            job,
            number: 0,
            measured: Measured { reads, writes, elapsed, thread_usage, depths, ..Measured::default() },
        }
    }

    #[test]
    fn people_find_what_fio_would_tell_them() {
        let text = summary(&[group()]);
        let lines: Vec<&str> = text.lines().collect();
        let heading =
            "mixed: (g=0): rw=randrw, bs=(R) 4096B-4096B, (W) 4096B-4096B, (T) 4096B-4096B, ioengine=iscsi, iodepth=64";
        assert_eq!(lines[0], heading);
        assert_eq!(lines[1], "mixed: (groupid=0, jobs=2): err= 0");
        assert_eq!(lines[2], "  read: IOPS=15.0k, BW=58.6MiB/s (61.4MB/s)(117MiB/2000msec)");
        assert_eq!(lines[3], "    clat (usec): min=200, max=200, avg=200.00, stdev=0.00");
        assert!(lines[6].starts_with("     |  1.00th=[  200],  5.00th=[  200], "), "{}", lines[6]);
        assert!(text.contains("\n  write: IOPS=5, BW=20.0KiB/s (20.5kB/s)(40.0KiB/2000msec)\n"), "{text}");
        assert!(text.contains("\n  cpu          : usr=75.00%, sys=12.50%, ctx=42, majf=1, minf=7\n"), "{text}");
        let depths = "\n  IO depths    : 1=25.0%, 2=0.0%, 4=0.0%, 8=0.0%, 16=0.0%, 32=0.0%, >=64=75.0%\n";
        assert!(text.contains(depths), "{text}");
        let steady = "\n   bw (  KiB/s): min=0, max=240000, per=100.00%, avg=60000.00, stdev=120000.00, samples=4\n   iops        : min=0, max=60000, avg=15000.00, stdev=30000.00, samples=4\n";
        assert!(text.contains(steady), "{text}");
        let status = "   READ: bw=58.6MiB/s (61.4MB/s), 58.6MiB/s-58.6MiB/s (61.4MB/s-61.4MB/s), io=117MiB (123MB), run=2000-2000msec";
        assert!(text.contains(status), "{text}");
        assert!(text.contains("\n  lat (usec)   : 250=99.97%\n  lat (msec)   : 10=0.03%\n"), "{text}");
        let mut reads_only = group();
        reads_only.measured.writes = Tally::default();
        assert!(!summary(&[reads_only]).contains("WRITE"));
    }

    #[test]
    fn programs_find_the_names_of_fio() {
        let value = json(&[("runtime".into(), "2".into())], &[group()]);
        let job = &value["jobs"][0];
        assert_eq!((&job["jobname"], &job["groupid"], &job["error"]), (&"mixed".into(), &0.into(), &0.into()));
        let read = &job["read"];
        assert_eq!((read["total_ios"].as_u64(), read["iops"].as_f64()), (Some(30_000), Some(15_000.0)));
        assert_eq!((read["io_bytes"].as_u64(), read["bw"].as_u64()), (Some(30_000 << 12), Some(60_000)));
        let p99 = read["clat_ns"]["percentile"]["99.000000"].as_u64().unwrap();
        let sampled = |name: &str| read[name].as_f64().unwrap();
        assert_eq!(
            ["bw_min", "bw_max", "bw_mean", "bw_agg", "bw_samples"].map(sampled),
            [0.0, 240_000.0, 60_000.0, 100.0, 4.0]
        );
        assert_eq!(["iops_max", "iops_mean", "iops_stddev"].map(sampled), [60_000.0, 15_000.0, 30_000.0]);
        let halves = json(&[], &[group(), group()]);
        assert_eq!(halves["jobs"][1]["write"]["bw_agg"].as_f64(), Some(50.0));
        assert!((199_000..=201_000).contains(&p99), "{p99}");
        assert_eq!((job["trim"]["total_ios"].as_u64(), job["trim"]["clat_ns"]["N"].as_u64()), (Some(0), Some(0)));
        assert!(job["trim"]["clat_ns"].get("percentile").is_none());
        assert_eq!(value["global options"]["runtime"], "2");
        let total: f64 = ["latency_ns", "latency_us", "latency_ms"]
            .iter()
            .flat_map(|unit| job[unit].as_object().unwrap().values())
            .map(|share| share.as_f64().unwrap())
            .sum();
        assert!((total - 100.0).abs() < 0.001 && job["latency_us"]["250"].as_f64() > Some(99.9), "{job}");
        assert_eq!((job["usr_cpu"].as_f64(), job["sys_cpu"].as_f64()), (Some(75.0), Some(12.5)));
        assert_eq!((&job["ctx"], &job["majf"], &job["minf"]), (&42.into(), &1.into(), &7.into()));
        let level = |name: &str| job["iodepth_level"][name].as_f64();
        assert_eq!([level("1"), level("32"), level(">=64")], [Some(25.0), Some(0.0), Some(75.0)]);
    }
}
