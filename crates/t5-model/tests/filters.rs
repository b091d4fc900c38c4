//! Filters that a driver asks for by work request: what becomes of frames, what is counted, and what is refused.

use std::sync::Arc;
use std::time::{Duration, Instant};
use t5_hal::dma::DmaMemory;
use t5_hal::driver::{Driver, DriverConfig, DriverEvent, FilterError, FilterRule, FilterVerdict};
use t5_hal::wire::{FilterResult, FunctionId};
use t5_model::adapter::{Adapter, FunctionBus};
use t5_model::switch::{InterfaceNumber, PortNumber};

/// The first filter's number.
const FIRST: u32 = 8192;
const PORT: PortNumber = PortNumber::of(0);
const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 9];

fn adapter() -> Arc<Adapter> {
    Adapter::new(1, 1, Box::new(|| Duration::ZERO))
}

fn driver(adapter: &Arc<Adapter>, pf: u8) -> Driver<FunctionBus> {
    let bus = adapter
        .function(FunctionId::physical(pf), Arc::new(DmaMemory::new(0x4000_0000 * u64::from(pf), 32 << 20, 1 << 20)));
    Driver::bring_up(bus, DriverConfig::default(), &mut Instant::now).unwrap()
}

/// What has become of what was asked for; filters are counted from the first.
fn result(driver: &mut Driver<FunctionBus>) -> Option<(u32, Option<FilterResult>)> {
    for _ in 0..4 {
        driver.poll(Instant::now());
    }
    std::iter::from_fn(|| driver.poll_event()).find_map(|event| match event {
        DriverEvent::Filter { index, result } => Some((index - FIRST, result)),
        _ => None,
    })
}

/// A TCP segment from 10.0.0.9 to 10.0.0.4 in a frame, with a VLAN if there is one.
fn segment(to: [u8; 6], vlan: Option<u8>, port: u16) -> Vec<u8> {
    let mut frame = [to, THEIRS].concat();
    frame.extend(vlan.map(|vlan| [0x81, 0, 0, vlan]).iter().flatten());
    let mut ip = [0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 9, 10, 0, 0, 4, 0x4e, 0x21].to_vec();
    ip.extend(port.to_be_bytes());
    ip.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
    t5_model::tcp::checksum::fill(&mut ip);
    frame.extend([8, 0]);
    frame.extend(ip);
    frame
}

fn received(adapter: &Adapter) -> u64 {
    adapter.with_switch(|switch| {
        switch.interface(InterfaceNumber::new(0).unwrap()).unwrap().counters().received.total().frames
    })
}

fn hits(adapter: &Adapter, index: usize) -> Option<(u64, u64)> {
    adapter.with_switch(|switch| switch.filter(index).map(|filter| (filter.hits.frames, filter.hits.bytes)))
}

#[test]
fn a_filter_drops_and_counts_what_it_matches_and_nothing_else() {
    let adapter = adapter();
    let mut driver = driver(&adapter, 4);
    assert_eq!(driver.adapter().filters, FIRST..FIRST + 496);
    let mac = driver.adapter().mac;
    let rule = FilterRule {
        protocol: Some(6),
        local: Some(("10.0.0.0".parse().unwrap(), 24)),
        local_port: Some(23),
        ..FilterRule::all(FilterVerdict::Drop)
    };
    driver.set_filter(FIRST + 7, Some(&rule)).unwrap();
    assert_eq!(result(&mut driver), Some((7, Some(FilterResult::Added))));
    let counted = |port, vlan| {
        let before = received(&adapter);
        adapter.handle_wire(PORT, segment(mac, vlan, port));
        received(&adapter) - before
    };
    assert_eq!((counted(23, None), counted(22, None), counted(23, Some(5))), (0, 1, 0));
    assert_eq!(hits(&adapter, 7), Some((2, 54 + 58)));

    let tagged = FilterRule { vlan: Some(5), counted: false, ..FilterRule::all(FilterVerdict::Drop) };
    driver.set_filter(FIRST + 3, Some(&tagged)).unwrap();
    assert_eq!(result(&mut driver), Some((3, Some(FilterResult::Added))));
    assert_eq!((counted(80, Some(5)), counted(80, Some(6)), counted(80, None)), (0, 1, 1));
    assert_eq!(hits(&adapter, 3), Some((0, 0)), "it was asked not to count");

    driver.set_filter(FIRST + 7, None).unwrap();
    assert_eq!(result(&mut driver), Some((7, Some(FilterResult::Deleted))));
    assert_eq!((counted(23, None), hits(&adapter, 7)), (1, None));
    assert_eq!(adapter.take_fault(FunctionId::physical(4)), None);
}

/// What the driver is told that filters have counted.
fn told_hits(driver: &mut Driver<FunctionBus>, index: u32) -> Option<(u32, u64)> {
    driver.filter_hits(FIRST + index).unwrap();
    (0..4).for_each(|_| driver.poll(Instant::now()));
    std::iter::from_fn(|| driver.poll_event()).find_map(|event| match event {
        DriverEvent::FilterHits { index: which, frames, bytes } if which == FIRST + index => Some((frames, bytes)),
        _ => None,
    })
}

#[test]
fn a_driver_is_told_what_its_filters_have_counted() {
    let adapter = adapter();
    let mut driver = driver(&adapter, 4);
    let mac = driver.adapter().mac;
    let http = FilterRule { local_port: Some(80), ..FilterRule::all(FilterVerdict::Drop) };
    driver.set_filter(FIRST + 2, Some(&http)).unwrap();
    driver.set_filter(FIRST + 5, Some(&FilterRule::all(FilterVerdict::Pass(None)))).unwrap();
    assert_eq!(told_hits(&mut driver, 2), Some((0, 0)));
    for port in [80, 22, 80, 80] {
        adapter.handle_wire(PORT, segment(mac, None, port));
    }
    assert_eq!((told_hits(&mut driver, 2), told_hits(&mut driver, 5)), (Some((3, 3 * 54)), Some((1, 54))));
    assert_eq!(adapter.take_fault(FunctionId::physical(4)), None);
    assert_eq!(told_hits(&mut driver, 3), None, "there is none");
    assert!(adapter.take_fault(FunctionId::physical(4)).is_some());
    assert!(matches!(driver.filter_hits(0), Err(FilterError::Index { index: 0, .. })), "the number of a connection");
}

/// A TCP segment of IPv6 to that port.
fn segment_of_ipv6(to: [u8; 6], port: u16) -> Vec<u8> {
    let ends =
        [[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9], [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4]]
            .concat();
    let tcp =
        [&[0x4e, 0x21][..], &port.to_be_bytes(), &[0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]].concat();
    let mut ip = [&[0x60, 0, 0, 0, 0, 20, 6, 64][..], &ends, &tcp].concat();
    t5_model::tcp::checksum::fill(&mut ip);
    [&to[..], &THEIRS, &[0x86, 0xdd], &ip].concat()
}

#[test]
fn a_rule_with_a_port_and_without_address_is_for_ipv4_and_one_for_any_address_of_ipv6_for_ipv6() {
    let adapter = adapter();
    let mut driver = driver(&adapter, 4);
    let mac = driver.adapter().mac;
    let of_ipv4 = FilterRule { local_port: Some(23), ..FilterRule::all(FilterVerdict::Drop) };
    let of_ipv6 = FilterRule { local: Some(("::".parse().unwrap(), 0)), ..of_ipv4.clone() };
    let both = |adapter: &Adapter| {
        let before = received(adapter);
        adapter.handle_wire(PORT, segment(mac, None, 23));
        let of_ipv4 = received(adapter) - before;
        adapter.handle_wire(PORT, segment_of_ipv6(mac, 23));
        (of_ipv4, received(adapter) - before - of_ipv4)
    };
    assert_eq!(both(&adapter), (1, 1));
    driver.set_filter(FIRST, Some(&of_ipv4)).unwrap();
    assert_eq!(result(&mut driver), Some((0, Some(FilterResult::Added))));
    assert_eq!(both(&adapter), (0, 1));
    driver.set_filter(FIRST, Some(&of_ipv6)).unwrap();
    assert_eq!(result(&mut driver), Some((0, Some(FilterResult::Added))));
    assert_eq!(both(&adapter), (1, 0));
}

#[test]
fn a_filter_sends_frames_out_of_another_port() {
    let adapter = adapter();
    let mut driver = driver(&adapter, 4);
    let mac = driver.adapter().mac;
    driver.set_filter(FIRST, Some(&FilterRule { port: Some(0), ..FilterRule::all(FilterVerdict::Send(2)) })).unwrap();
    assert_eq!(result(&mut driver), Some((0, Some(FilterResult::Added))));
    adapter.handle_wire(PORT, segment(mac, None, 80));
    assert_eq!(adapter.poll_wire(PortNumber::of(2)), Some(segment(mac, None, 80)));
    assert_eq!(hits(&adapter, 0), Some((1, 54)));
}

#[test]
fn frames_of_others_are_not_a_drivers_to_drop() {
    let adapter = adapter();
    let (other, mut driver) = (driver(&adapter, 5), driver(&adapter, 4));
    driver.set_filter(FIRST, Some(&FilterRule::all(FilterVerdict::Drop))).unwrap();
    assert_eq!(result(&mut driver), Some((0, Some(FilterResult::Added))));
    let before = received(&adapter);
    adapter.handle_wire(PORT, segment(other.adapter().mac, None, 80));
    assert_eq!((received(&adapter) - before, hits(&adapter, 0)), (1, Some((0, 0))));
    adapter.handle_wire(PORT, segment(driver.adapter().mac, None, 80));
    assert_eq!(hits(&adapter, 0), Some((1, 54)));
}

#[test]
fn a_driver_that_goes_takes_its_filters() {
    let adapter = adapter();
    let mut first = driver(&adapter, 4);
    first.set_filter(FIRST, Some(&FilterRule::all(FilterVerdict::Drop))).unwrap();
    assert_eq!(result(&mut first), Some((0, Some(FilterResult::Added))));
    drop(first);
    let second = driver(&adapter, 4);
    assert_eq!(hits(&adapter, 0), None);
    adapter.handle_wire(PORT, segment(second.adapter().mac, None, 80));
    assert_eq!(received(&adapter), 1);
}

#[test]
fn what_is_no_filter_is_refused() {
    let adapter = adapter();
    let mut driver = driver(&adapter, 4);
    let all = FilterRule::all(FilterVerdict::Drop);
    assert!(matches!(driver.set_filter(FIRST + 496, Some(&all)), Err(FilterError::Index { index: 8688, .. })));
    let error = |driver: &mut Driver<FunctionBus>, rule: FilterRule| {
        driver.set_filter(FIRST, Some(&rule)).unwrap_err().to_string()
    };
    let text = error(&mut driver, FilterRule { vlan: Some(4096), ..all.clone() });
    assert_eq!(text, "the filter's VLAN is 4096: expected below 4096");
    let mixed = FilterRule {
        local: Some(("10.0.0.4".parse().unwrap(), 32)),
        foreign: Some(("fd00::1".parse().unwrap(), 64)),
        ..all.clone()
    };
    assert_eq!(error(&mut driver, mixed), FilterError::Families.to_string());
    assert!(
        error(&mut driver, FilterRule::all(FilterVerdict::Pass(Some(1)))).contains("an ingress queue of the driver")
    );
    assert!(error(&mut driver, FilterRule::all(FilterVerdict::Send(4))).contains("below 4"));

    let mut other = self::driver(&adapter, 5);
    assert!(other.adapter().filters.is_empty(), "the shipped configuration gives filters to PF4 alone");
    assert!(matches!(other.set_filter(FIRST, Some(&all)), Err(FilterError::Index { .. })));
}
