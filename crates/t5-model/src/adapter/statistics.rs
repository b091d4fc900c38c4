//! Counters as the firmware's statistics commands read them, six at a time.

use crate::switch::{CastCounts, InterfaceCounters, PathCounters};
use zerocopy::big_endian::U64;

/// Copies `count` counters from the first on; what there is not reads as 0.
pub(super) fn select(all: &[u64], first: usize, count: usize, out: &mut [U64; 6]) {
    *out = [U64::ZERO; 6];
    for (to, value) in out.iter_mut().take(count).zip(all.iter().skip(first)) {
        *to = (*value).into();
    }
}

fn bytes_and_frames(counts: &CastCounts) -> [u64; 6] {
    let CastCounts { unicast, multicast, broadcast } = counts;
    [broadcast.bytes, broadcast.frames, multicast.bytes, multicast.frames, unicast.bytes, unicast.frames]
}

/// In the order of the statistics of a virtual function, or of a physical one.
pub(super) fn interface(counters: &InterfaceCounters, is_virtual: bool) -> [u64; 17] {
    if is_virtual { of_virtual(counters) } else { of_physical(counters) }
}

fn of_virtual(counters: &InterfaceCounters) -> [u64; 17] {
    let mut all = [0; 17];
    all[..6].copy_from_slice(&bytes_and_frames(&counters.transmitted));
    all[6] = counters.transmit_dropped;
    (all[7], all[8]) = (counters.offloaded.bytes, counters.offloaded.frames);
    all[9..15].copy_from_slice(&bytes_and_frames(&counters.received));
    all[15] = counters.receive_dropped;
    all
}

fn of_physical(counters: &InterfaceCounters) -> [u64; 17] {
    let mut all = [0; 17];
    all[..6].copy_from_slice(&bytes_and_frames(&counters.transmitted));
    (all[6], all[7]) = (counters.offloaded.bytes, counters.offloaded.frames);
    let received = counters.received.total();
    (all[8], all[9]) = (received.bytes, received.frames);
    all[10..16].copy_from_slice(&bytes_and_frames(&counters.received));
    all[16] = counters.receive_dropped;
    all
}

fn totals(counts: &CastCounts) -> [u64; 5] {
    let total = counts.total();
    [total.bytes, total.frames, counts.broadcast.frames, counts.multicast.frames, counts.unicast.frames]
}

/// In the order of a port's statistics: 23 of what was sent, then what was received.
pub(super) fn port(counters: &PathCounters) -> [u64; 28] {
    let mut all = [0; 28];
    all[..5].copy_from_slice(&totals(&counters.transmitted));
    all[23..].copy_from_slice(&totals(&counters.received));
    all
}

/// In the order of a loopback's statistics: 13 of what was sent, then what nobody took.
pub(super) fn loopback(counters: &PathCounters) -> [u64; 14] {
    let mut all = [0; 14];
    all[..5].copy_from_slice(&totals(&counters.transmitted));
    all[13] = counters.received_by_none;
    all
}
