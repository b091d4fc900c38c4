//! What the size of a disk costs before anybody uses it. Alone in its process, whose memory it measures.

use std::time::Duration;

use iscsi_runtime::{Disk, Server, Target};

const GIB: u64 = 1 << 30;
const PIB: u64 = 1 << 50;
/// What the allocator and the threads of a server may differ by from one start to the next.
const TOLERANCE: u64 = 64 << 20;

/// Bytes of address space that the process has, used or not.
fn address_space_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096
}

/// Bytes that a server with such a disk takes at its start.
fn cost_bytes(disk: Disk) -> u64 {
    let before = address_space_bytes();
    let target = Target::new("iqn.2026-01.test:target").lun(0, disk);
    let server = Server::builder().listen("127.0.0.1:0".parse().unwrap()).cores(1).target(target).start().unwrap();
    let cost = address_space_bytes().saturating_sub(before);
    server.shutdown(Duration::from_secs(5)).unwrap();
    cost
}

#[test]
fn a_disk_of_a_pebibyte_costs_no_more_at_its_start_than_one_of_a_gibibyte() {
    cost_bytes(Disk::memory(GIB)); // what is done once in a process
    let (small, large) = (cost_bytes(Disk::memory(GIB)), cost_bytes(Disk::memory(PIB)));
    assert!(large <= small + TOLERANCE, "{large} bytes instead of {small}");
}
