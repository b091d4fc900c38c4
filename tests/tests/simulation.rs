//! Worlds of fixed seeds, and worlds with bugs put in on purpose, which have to be found.

use ferriscsi_tests::simulator::{Bug, Options, Totals, run};

/// A second or two of an unoptimised build each.
const SEEDS: std::ops::Range<u64> = 0..50;
const REQUESTS_MAX: u32 = 120;

/// Within so many seeds a bug shows; most do at the first.
const SEEDS_PER_BUG: u64 = 24;

/// Worlds in which something was found once: seed, level, connections, requests.
const FOUND: [(u64, Option<u8>, Option<u16>, u32); 12] = [
    (77, None, None, 120),
    (20248, Some(2), Some(3), 400),
    (21107, Some(2), Some(3), 400),
    (21318, Some(2), Some(3), 400),
    (35010, Some(1), Some(2), 400),
    (35022, Some(0), Some(2), 400),
    (35573, Some(2), Some(4), 400),
    (35983, Some(0), Some(4), 400),
    (36138, Some(2), Some(1), 400),
    (36156, Some(1), Some(4), 400),
    (37055, Some(1), Some(1), 400),
    (41260, Some(0), Some(4), 400),
];

fn worlds(level: Option<u8>, connections: Option<u16>, requests_max: u32) -> Options {
    Options { requests_max, level, connections, ..Options::default() }
}

fn run_clean(seed: u64, options: &Options) -> Totals {
    let Options { level, connections, requests_max, .. } = *options;
    run(seed, options).result.unwrap_or_else(|failure| {
        panic!(
            "{}\nseed {seed}: {}\nreplay: cargo run --release -p ferriscsi-tests --bin simulate -- --trace \
             --requests {requests_max} --seed {seed}{}{}",
            failure.ladder,
            failure.text,
            level.map_or(String::new(), |level| format!(" --level {level}")),
            connections.map_or(String::new(), |connections| format!(" --connections {connections}"))
        )
    })
}

#[test]
fn worlds_of_fixed_seeds_run_clean() {
    let mut totals = Totals::default();
    for (level, connections) in [(Some(0), Some(4)), (Some(1), Some(4)), (Some(2), Some(3)), (None, None)] {
        let options = worlds(level, connections, REQUESTS_MAX);
        SEEDS.for_each(|seed| totals += run_clean(seed, &options));
    }
    // Nothing is proven by worlds in which nothing happens.
    let is_busy = totals.commands > 20_000 && totals.faults > 200 && totals.sessions.iter().all(|count| *count > 60);
    assert!(is_busy, "{totals:?}");
}

#[test]
fn worlds_that_have_found_something_run_clean() {
    for (seed, level, connections, requests_max) in FOUND {
        run_clean(seed, &worlds(level, connections, requests_max));
    }
}

#[test]
fn a_seed_runs_the_same_way_each_time() {
    let options = Options { requests_max: 60, ..Options::default() };
    for seed in 100..110 {
        let (first, second) = (run(seed, &options), run(seed, &options));
        assert_eq!(first.fingerprint, second.fingerprint, "seed {seed}");
        assert_eq!(first.ladder, second.ladder, "seed {seed}");
    }
}

#[test]
fn every_bug_is_found() {
    let missed: Vec<&Bug> = Bug::ALL.iter().filter(|bug| first_seed_that_finds(**bug).is_none()).collect();
    assert!(missed.is_empty(), "not found within {SEEDS_PER_BUG} seeds: {missed:?}");
    let of_connections = Bug::ALL.iter().filter(|bug| bug.needs_connections()).count();
    assert!(Bug::ALL.len() >= 40 && of_connections >= 12);
}

fn first_seed_that_finds(bug: Bug) -> Option<u64> {
    let (level, connections) = if bug.needs_connections() { (Some(2), Some(3)) } else { (None, None) };
    let options = Options { requests_max: 60, level, connections, bug: Some(bug), ..Options::default() };
    (0..SEEDS_PER_BUG).find(|seed| run(*seed, &options).result.is_err())
}
