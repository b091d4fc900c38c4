//! The checks that every port passes, on the ports of this crate.

use iscsi_transport::{
    BufferPool, Capture, FaultPort, FaultStream, LoopbackPort, MemoryStream, PcapPort, Random, SoftwarePort, Trace,
    TracePort, conformance,
};
use std::cell::Cell;
use std::io;
use std::time::Duration;

fn software_pair(
    bytes_max: usize,
    cuts: impl Fn(usize) -> usize + Clone + 'static,
) -> (SoftwarePort<MemoryStream>, SoftwarePort<MemoryStream>) {
    let (mut left, mut right) = MemoryStream::pair(bytes_max);
    left.set_cuts(cuts.clone());
    right.set_cuts(cuts);
    let pool = BufferPool::new();
    (SoftwarePort::new(left, pool.clone()), SoftwarePort::new(right, pool))
}

#[test]
fn loopback() {
    conformance::run(LoopbackPort::pair);
}

#[test]
fn software_over_a_stream_with_room() {
    conformance::run(|| software_pair(usize::MAX, |bytes| bytes));
}

#[test]
fn software_over_a_narrow_stream() {
    conformance::run(|| software_pair(1000, |bytes| bytes));
}

#[test]
fn software_over_a_stream_that_cuts_and_stalls() {
    let state = Cell::new(1u32);
    conformance::run(|| {
        let state = Cell::new(state.replace(state.get().wrapping_add(1)));
        software_pair(300_000, move |bytes| {
            // A linear congruential generator: some calls move nothing, some a few bytes, some all.
            state.set(state.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
            let dice = state.get() >> 8;
            match dice % 8 {
                0 => 0,
                1..=3 => bytes.min(dice as usize % 70),
                4..=6 => bytes.min(dice as usize % 20_000),
                _ => bytes,
            }
        })
    });
}

#[test]
fn captured() {
    let capture = Capture::new(io::sink(), || Duration::from_secs(1)).unwrap();
    conformance::run(|| {
        let (left, right) = software_pair(usize::MAX, |bytes| bytes);
        let (here, there) = (([192, 0, 2, 1], 50000).into(), ([192, 0, 2, 2], 3260).into());
        (PcapPort::new(left, capture.clone(), here, there), PcapPort::new(right, capture.clone(), there, here))
    });
    assert!(capture.failure().is_none());
}

#[test]
fn software_over_streams_with_faults() {
    conformance::run(|| {
        let (left, right) = MemoryStream::pair(300_000);
        let port = |stream, seed| {
            let (stream, control) = FaultStream::new(stream, Random::new(seed));
            control.change(|faults| (faults.piece_bytes_max, faults.blocked_one_in) = (20_000, 5));
            SoftwarePort::new(stream, BufferPool::new())
        };
        (port(left, 1), port(right, 2))
    });
}

#[test]
fn traced_and_late() {
    let trace = Trace::new(100);
    conformance::run(|| {
        let (left, right) = LoopbackPort::pair();
        let port = |port, name| {
            let (port, control) = FaultPort::new(port, Random::new(3));
            control.change(|faults| faults.late_one_in = 3);
            TracePort::new(port, trace.clone(), name)
        };
        (port(left, "left"), port(right, "right"))
    });
    assert!(trace.pdus() > 100);
}
