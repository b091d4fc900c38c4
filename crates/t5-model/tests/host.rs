//! What a driver with addresses answers to frames that are no connection's, by way of the adapter's wire.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};
use t5_hal::dma::DmaMemory;
use t5_hal::driver::{Driver, DriverConfig, OffloadMode};
use t5_hal::wire::FunctionId;
use t5_model::adapter::{Adapter, FunctionBus};
use t5_model::switch::PortNumber;

const PORT: PortNumber = PortNumber::of(0);
const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 9];
const THEIR_SIX: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);

fn world(addresses: Vec<(IpAddr, u8)>) -> (Arc<Adapter>, Driver<FunctionBus>) {
    let adapter = Adapter::new(1, 1, Box::new(|| Duration::ZERO));
    let bus = adapter.function(FunctionId::physical(4), Arc::new(DmaMemory::new(0x4000_0000, 32 << 20, 1 << 20)));
    let config = DriverConfig { addresses, ..DriverConfig::default() };
    let driver = Driver::bring_up(bus, config, &mut Instant::now).unwrap();
    (adapter, driver)
}

/// Gives a frame to the adapter and lets all go on; the frames that leave it then.
fn answers(adapter: &Adapter, driver: &mut Driver<FunctionBus>, frame: &[u8]) -> Vec<Vec<u8>> {
    adapter.handle_wire(PORT, frame.to_vec());
    for _ in 0..4 {
        driver.poll(Instant::now());
        while adapter.poll() {}
    }
    std::iter::from_fn(|| adapter.poll_wire(PORT)).collect()
}

/// Who has that address? 192.0.2.9 asks.
fn question(address: [u8; 4]) -> Vec<u8> {
    let arp = [&[0, 1, 8, 0, 6, 4, 0, 1][..], &THEIRS, &[192, 0, 2, 9], &[0; 6], &address].concat();
    [&[0xff; 6][..], &THEIRS, &[8, 6], &arp].concat()
}

fn sum(words: &[u8]) -> [u8; 2] {
    let total: u32 = words.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    let folded = (total & 0xffff) + (total >> 16);
    (!((folded & 0xffff) + (folded >> 16)) as u16).to_be_bytes()
}

/// An IPv4 packet from 192.0.2.9 to 192.0.2.4 in a frame to that address of the link.
fn packet(to: [u8; 6], protocol: u8, payload: &[u8]) -> Vec<u8> {
    packet_from([192, 0, 2, 9], to, protocol, payload)
}

fn packet_from(source: [u8; 4], to: [u8; 6], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = (20 + payload.len() as u16).to_be_bytes();
    let ends = [source, [192, 0, 2, 4]].concat();
    let mut ip = [&[0x45, 0][..], &length, &[0, 0, 0, 0, 64, protocol, 0, 0], &ends].concat();
    let checksum = sum(&ip);
    ip[10..12].copy_from_slice(&checksum);
    [&to[..], &THEIRS, &[8, 0], &ip, payload].concat()
}

#[test]
fn the_address_of_the_link_is_told_and_echoes_come_back() {
    let (adapter, mut driver) = world(vec![("192.0.2.4".parse().unwrap(), 24)]);
    let mac = driver.adapter().mac;
    let told = answers(&adapter, &mut driver, &question([192, 0, 2, 4]));
    let [answer] = &told[..] else { panic!("one answer: {told:?}") };
    assert_eq!((&answer[..6], &answer[6..14]), (&THEIRS[..], &[&mac[..], &[8, 6]].concat()[..]));
    assert_eq!((&answer[20..22], &answer[22..28], &answer[28..32]), (&[0, 2][..], &mac[..], &[192, 0, 2, 4][..]));
    assert!(answers(&adapter, &mut driver, &question([192, 0, 2, 5])).is_empty(), "another's address");

    for payload in [56, 150] {
        let mut echo = [&[8, 0, 0, 0, 0, 1, 0, 7][..], &vec![0xa5; payload]].concat();
        let checksum = sum(&echo);
        echo[2..4].copy_from_slice(&checksum);
        let told = answers(&adapter, &mut driver, &packet(mac, 1, &echo));
        let [answer] = &told[..] else { panic!("one answer: {told:?}") };
        assert_eq!((answer[34], &answer[38..]), (0, &echo[4..]), "an echo reply with what was sent");
    }
    assert_eq!(adapter.take_fault(FunctionId::physical(4)), None);
}

/// A neighbour solicitation of 2001:db8::9, which says its address of the link, for that address, to its solicited-node group (RFC 4861 section 4.3).
fn solicitation(address: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c] = address.octets();
    let ends = [THEIR_SIX.octets(), [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]].concat();
    let mut icmp = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &address.octets(), &[1, 1], &THEIRS].concat();
    let pseudo = [&ends[..], &[0, 0, 0, 32, 0, 0, 0, 58], &icmp].concat();
    icmp[2..4].copy_from_slice(&sum(&pseudo));
    let ip = [&[0x60, 0, 0, 0, 0, 32, 58, 255][..], &ends].concat();
    [&[0x33, 0x33, 0xff, a, b, c][..], &THEIRS, &[0x86, 0xdd], &ip, &icmp].concat()
}

#[test]
fn neighbours_over_ipv6_are_told_the_address_of_the_link() {
    let ours: Ipv6Addr = "2001:db8::4:5:6".parse().unwrap();
    let (adapter, mut driver) = world(vec![("192.0.2.4".parse().unwrap(), 24), (ours.into(), 64)]);
    let mac = driver.adapter().mac;
    let told = answers(&adapter, &mut driver, &solicitation(ours));
    let [answer] = &told[..] else { panic!("one answer: {told:?}") };
    assert_eq!((&answer[..6], &answer[6..14]), (&THEIRS[..], &[&mac[..], &[0x86, 0xdd]].concat()[..]));
    assert_eq!((&answer[22..38], &answer[38..54]), (&ours.octets()[..], &THEIR_SIX.octets()[..]));
    let advertised = [&ours.octets()[..], &[2, 1], &mac].concat();
    assert_eq!(
        (answer[54], &answer[62..]),
        (136, &advertised[..]),
        "a neighbour advertisement with the link's address"
    );
    assert!(answers(&adapter, &mut driver, &solicitation("2001:db8::4:5:7".parse().unwrap())).is_empty());
    assert_eq!(answers(&adapter, &mut driver, &question([192, 0, 2, 4])).len(), 1);
    assert_eq!(adapter.take_fault(FunctionId::physical(4)), None);
}

#[test]
fn a_segment_that_nobody_takes_gets_a_rst() {
    let (adapter, mut driver) = world(vec![("192.0.2.4".parse().unwrap(), 24)]);
    let mac = driver.adapter().mac;
    answers(&adapter, &mut driver, &question([192, 0, 2, 4]));
    let mut tcp = [&[0x80, 0, 12, 189, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0x10, 0, 0, 0, 0, 0][..]].concat();
    let pseudo = [&[192, 0, 2, 9, 192, 0, 2, 4, 0, 6, 0, 20][..], &tcp].concat();
    tcp[16..18].copy_from_slice(&sum(&pseudo));
    let told = answers(&adapter, &mut driver, &packet(mac, 6, &tcp));
    let [answer] = &told[..] else { panic!("one answer: {told:?}") };
    assert_eq!(answer[14 + 20 + 13] & 0x16, 0x14, "RST and ACK");
}

/// A SYN to port 3260 from the same port of `source`.
fn syn(source: [u8; 4], to: [u8; 6]) -> Vec<u8> {
    let mut tcp = [12, 188, 12, 188, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0x10, 0, 0, 0, 0, 0];
    let pseudo = [&source[..], &[192, 0, 2, 4, 0, 6, 0, 20], &tcp].concat();
    tcp[16..18].copy_from_slice(&sum(&pseudo));
    packet_from(source, to, 6, &tcp)
}

#[test]
fn nobody_has_a_connection_with_himself() {
    let (adapter, mut driver) = world(vec![("192.0.2.4".parse().unwrap(), 24)]);
    let mac = driver.adapter().mac;
    driver.listen("192.0.2.4:3260".parse().unwrap(), OffloadMode::Ulp).unwrap();
    answers(&adapter, &mut driver, &question([192, 0, 2, 4]));
    assert!(answers(&adapter, &mut driver, &syn([192, 0, 2, 4], mac)).is_empty(), "from the listener's own address");
    let told = answers(&adapter, &mut driver, &syn([192, 0, 2, 9], mac));
    let [answer] = &told[..] else { panic!("one answer: {told:?}") };
    assert_eq!(answer[14 + 20 + 13] & 0x16, 0x12, "SYN and ACK");
    assert_eq!(adapter.take_fault(FunctionId::physical(4)), None);
}

#[test]
fn without_addresses_nobody_is_told_anything() {
    let (adapter, mut driver) = world(Vec::new());
    assert!(answers(&adapter, &mut driver, &question([192, 0, 2, 4])).is_empty());
}

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn whoever_carries_frames_is_woken_when_there_are_some() {
    let (adapter, mut driver) = world(vec![("192.0.2.4".parse().unwrap(), 24)]);
    let count = Arc::new(Count(AtomicUsize::new(0)));
    adapter.set_carrier(PORT, Some(Waker::from(Arc::clone(&count))));
    driver.poll(Instant::now());
    assert_eq!(count.0.load(Ordering::Relaxed), 0);
    assert_eq!(answers(&adapter, &mut driver, &question([192, 0, 2, 4])).len(), 1);
    let woken = count.0.swap(0, Ordering::Relaxed);
    assert!(woken > 0);
    adapter.set_carrier(PORT, None);
    assert_eq!(answers(&adapter, &mut driver, &question([192, 0, 2, 4])).len(), 1);
    assert_eq!(count.0.load(Ordering::Relaxed), 0);
}
