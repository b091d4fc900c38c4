//! Connections over good and bad cables: what is sent arrives, once and in order, and both ends agree on how it ended.

use proptest::prelude::*;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;
use t5_model::switch::{EthernetHeader, MacAddress};
use t5_model::tcp::*;
use t5_model::wire::{Wire, WireFaults};

const HERE: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
const THERE: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);

fn config(mtu_bytes: usize, vlan_tag: Option<u16>, from: MacAddress, to: MacAddress) -> ConnectionConfig {
    ConnectionConfig {
        link: LinkHeader { destination: to, source: from, vlan_tag, ipv6: false },
        mtu_bytes,
        receive_bytes: 32 << 10,
        send_bytes: 16 << 10,
        nagle: false,
        keep_alive: true,
        seed: u64::from(from.0[5]),
    }
}

fn tuple(ipv6: bool) -> Tuple {
    let end = |host: u8, port| {
        let address = if ipv6 { format!("[fd00::{host}]:{port}") } else { format!("10.0.0.{host}:{port}") };
        address.parse::<SocketAddr>().unwrap()
    };
    Tuple { local: end(1, 20000), peer: end(2, 3260) }
}

struct End {
    connection: Option<Connection>,
    /// What it is still to send, and what it has received.
    to_send: VecDeque<u8>,
    received: Vec<u8>,
    events: Vec<Event>,
    close_when_sent: bool,
}

impl End {
    fn new(connection: Option<Connection>, to_send: &[u8]) -> Self {
        let to_send = to_send.iter().copied().collect();
        Self { connection, to_send, received: Vec::new(), events: Vec::new(), close_when_sent: true }
    }

    fn has(&self, event: Event) -> bool {
        self.events.contains(&event)
    }

    fn step(&mut self, out: &mut Wire, now: Duration) {
        let Some(connection) = &mut self.connection else { return };
        while let Some(event) = connection.poll_event() {
            self.events.push(event);
        }
        let some = connection.received().len();
        self.received.extend_from_slice(connection.received());
        connection.consume(some);
        if self.events.contains(&Event::Established) {
            let sent = connection.send(self.to_send.make_contiguous());
            self.to_send.drain(..sent);
            if self.close_when_sent && self.to_send.is_empty() {
                connection.close();
            }
        }
        while let Some(mut frame) = connection.poll_transmit(now) {
            let at = EthernetHeader::decode(&frame).unwrap().length;
            checksum::fill(&mut frame[at..]);
            out.send(frame, now);
        }
    }

    fn take(&mut self, wire: &mut Wire, vlan: Option<u16>, now: Duration) {
        while let Some(frame) = wire.poll(now) {
            let Some(header) = EthernetHeader::decode(&frame) else { continue };
            let packet = &frame[header.length..];
            if !checksum::verify(packet) {
                continue;
            }
            match &mut self.connection {
                Some(connection) => connection.handle_packet(packet, now),
                None => self.connection = Connection::accept(config(1500, vlan, THERE, HERE), packet, now).ok(),
            }
        }
    }
}

/// Runs both ends until nothing is left to happen, for at most ten minutes of their time.
fn run(ends: &mut [End; 2], wires: &mut [Wire; 2], vlan: Option<u16>, until: impl Fn(&[End; 2]) -> bool) -> Duration {
    let mut now = Duration::ZERO;
    let mut idle_turns = 0;
    while now < Duration::from_secs(600) && !until(ends) {
        for at in 0..2 {
            ends[at].step(&mut wires[at], now);
        }
        for at in 0..2 {
            ends[1 - at].take(&mut wires[at], vlan, now);
        }
        let arrival = wires.iter().filter_map(Wire::poll_timeout).min();
        let timers = ends.iter_mut().filter_map(|end| end.connection.as_mut()?.poll_timeout(now)).min();
        let soon = now + Duration::from_micros(10);
        let next = [arrival, timers].into_iter().flatten().min();
        // Where nothing is left to wait for, the ends are looked at once more.
        idle_turns = if next.is_some() { 0 } else { idle_turns + 1 };
        if idle_turns > 1 {
            break;
        }
        now = next.unwrap_or(soon).max(soon);
    }
    now
}

fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..length).map(|_| random.u8(..)).collect()
}

/// Both have got all. The last word may be lost so often that the other end has forgotten the connection, and resets.
fn both_done(ends: &[End; 2]) -> bool {
    ends.iter().all(|end| end.has(Event::PeerClosed) && (end.has(Event::Closed) || end.has(Event::Lost(Loss::Reset))))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn over_any_cable_bytes_arrive_in_order_and_no_end_is_told_otherwise(
        loss in 0.0..0.1, repeat in 0.0..0.2, spoil in 0.0..0.05, jitter in 0..3000u64, seed in any::<u64>(),
        lengths in (0..200_000usize, 0..200_000usize), mtu in 600..65535usize, ipv6 in any::<bool>(),
        vlan in prop::option::of(1..4095u16),
    ) {
        let faults = WireFaults { loss, repeat, spoil, delay: Duration::from_micros(50), jitter: Duration::from_micros(jitter) };
        let mut wires = [Wire::new(faults, seed), Wire::new(faults, seed ^ 1)];
        let sent = [bytes(lengths.0, seed), bytes(lengths.1, !seed)];
        let connection = Connection::connect(config(mtu, vlan, HERE, THERE), tuple(ipv6), Duration::ZERO).unwrap();
        let mut ends = [End::new(Some(connection), &sent[0]), End::new(None, &sent[1])];
        let took = run(&mut ends, &mut wires, vlan, both_done);
        prop_assert!(sent[1].starts_with(&ends[0].received) && sent[0].starts_with(&ends[1].received));
        // On a cable this bad smoltcp may stall; then the connection is lost, and that is told.
        if ends.iter().any(|end| end.has(Event::Lost(Loss::TimedOut))) {
            return Ok(());
        }
        prop_assert!(both_done(&ends), "after {took:?}: {:?} {:?}", ends[0].events, ends[1].events);
        prop_assert!(ends[0].received == sent[1] && ends[1].received == sent[0]);
        let numbers = |end: &End| {
            let connection = end.connection.as_ref().unwrap();
            (connection.snd_isn().unwrap(), connection.rcv_isn().unwrap(), connection.snd_nxt(), connection.rcv_nxt())
        };
        let (here, there) = (numbers(&ends[0]), numbers(&ends[1]));
        prop_assert_eq!((here.0, here.2), (there.1, there.3), "both count the same way");
        prop_assert_eq!((here.1, here.3), (there.0, there.2));
        prop_assert_eq!(here.2.wrapping_sub(here.0), lengths.0 as u32);
    }

    #[test]
    fn any_packets_are_taken(packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 20..80), 0..20), flags in any::<u8>()) {
        let mut connection = Connection::connect(config(1500, None, HERE, THERE), tuple(false), Duration::ZERO).unwrap();
        let first = connection.poll_transmit(Duration::ZERO).unwrap();
        for mut packet in packets {
            // The beginning of a packet for this connection, so that it is looked at.
            let mut header = first[14..34].to_vec();
            header[2..4].copy_from_slice(&(packet.len() as u16 + 20).to_be_bytes());
            header[12..20].rotate_left(4);
            packet[..4].copy_from_slice(&[0x0c, 0xbc, 0x4e, 0x20]);
            packet[12] = 0x50 | packet[12] & 0xf;
            packet[13] = flags;
            connection.handle_packet(&[header, packet].concat(), Duration::ZERO);
            while connection.poll_event().is_some() {}
            while connection.poll_transmit(Duration::ZERO).is_some() {}
        }
    }
}

fn established() -> ([End; 2], [Wire; 2]) {
    let mut wires = [Wire::new(WireFaults::default(), 1), Wire::new(WireFaults::default(), 2)];
    let connection = Connection::connect(config(1500, None, HERE, THERE), tuple(false), Duration::ZERO).unwrap();
    let mut ends = [End::new(Some(connection), &[]), End::new(None, &[])];
    ends.iter_mut().for_each(|end| end.close_when_sent = false);
    run(&mut ends, &mut wires, None, |ends| ends.iter().all(|end| end.has(Event::Established)));
    (ends, wires)
}

#[test]
fn an_abort_resets_the_other_end() {
    let (mut ends, mut wires) = established();
    ends[0].connection.as_mut().unwrap().abort();
    run(&mut ends, &mut wires, None, |ends| ends[1].has(Event::Lost(Loss::Reset)));
    assert_eq!(ends[1].events, [Event::Established, Event::Lost(Loss::Reset)]);
    assert_eq!(ends[0].events, [Event::Established], "who aborts is told nothing");
    assert!(ends.iter().all(|end| end.connection.as_ref().unwrap().is_over()));
}

#[test]
fn silence_ends_a_connection() {
    let (mut ends, _) = established();
    ends[0].to_send = b"is anybody there".iter().copied().collect();
    let mut cut = [WireFaults { loss: 1.0, ..WireFaults::default() }; 2].map(|faults| Wire::new(faults, 1));
    let took = run(&mut ends, &mut cut, None, |ends| ends[0].has(Event::Lost(Loss::TimedOut)));
    assert!(ends[0].has(Event::Lost(Loss::TimedOut)), "{:?}", ends[0].events);
    assert!(took < Duration::from_secs(120), "{took:?}");
}

#[test]
fn what_is_not_consumed_stops_the_other_end() {
    let (mut ends, mut wires) = established();
    let [mut sender, mut receiver] = ends.each_mut().map(|end| end.connection.take().unwrap());
    let mut sent = 0;
    for turn in 0..1000u64 {
        let now = Duration::from_millis(turn);
        sent += sender.send(&[7; 1 << 20]);
        while let Some(frame) = sender.poll_transmit(now) {
            wires[0].send(frame, now);
        }
        while let Some(frame) = wires[0].poll(now) {
            receiver.handle_packet(&frame[14..], now);
        }
        while let Some(frame) = receiver.poll_transmit(now) {
            sender.handle_packet(&frame[14..], now);
        }
    }
    assert_eq!(sent, (32 << 10) + (16 << 10), "both windows are full");
    assert_eq!(receiver.received().len(), 32 << 10);
}

#[test]
fn answers_that_are_not_fetched_are_few() {
    let (mut ends, _) = established();
    let [mut sender, mut receiver] = ends.each_mut().map(|end| end.connection.take().unwrap());
    sender.send(b"again");
    let mut sent = std::iter::from_fn(|| sender.poll_transmit(Duration::ZERO));
    let segment = sent.find(|frame| frame.ends_with(b"again")).unwrap();
    (0..1000).for_each(|_| receiver.handle_packet(&segment[14..], Duration::ZERO));
    let answers = std::iter::from_fn(|| receiver.poll_transmit(Duration::ZERO)).count();
    assert!((1..=65).contains(&answers), "{answers} answers to what came a thousand times");
    assert_eq!(receiver.received(), b"again");
}

#[test]
fn a_reset_undoes_a_connection_that_does_not_stand() {
    let mut connecting = Connection::connect(config(1500, None, HERE, THERE), tuple(false), Duration::ZERO).unwrap();
    let syn = connecting.poll_transmit(Duration::ZERO).unwrap();
    let mut accepted = Connection::accept(config(1500, None, THERE, HERE), &syn[14..], Duration::ZERO).unwrap();
    let answer = accepted.poll_transmit(Duration::ZERO).unwrap();
    connecting.handle_packet(&answer[14..], Duration::ZERO);
    connecting.abort();
    while let Some(frame) = connecting.poll_transmit(Duration::ZERO) {
        accepted.handle_packet(&frame[14..], Duration::ZERO);
    }
    assert_eq!(accepted.poll_event(), Some(Event::Lost(Loss::Reset)));
}

#[test]
fn ends_that_cannot_be_connected_are_refused() {
    let bad = |local: &str, peer: &str| {
        let tuple = Tuple { local: local.parse().unwrap(), peer: peer.parse().unwrap() };
        Connection::connect(config(1500, None, HERE, THERE), tuple, Duration::ZERO).unwrap_err()
    };
    for (local, peer) in [
        ("10.0.0.1:0", "10.0.0.2:3260"),
        ("10.0.0.1:1", "10.0.0.2:0"),
        ("0.0.0.0:1", "10.0.0.2:1"),
        ("10.0.0.1:1", "[fd00::1]:1"),
        ("10.0.0.1:1", "224.0.0.1:1"),
        ("10.0.0.1:1", "255.255.255.255:1"),
    ] {
        assert_eq!(bad(local, peer), OpenError::Unaddressable, "{local} {peer}");
    }
    assert_eq!(
        Connection::accept(config(1500, None, HERE, THERE), &[0x45; 60], Duration::ZERO).unwrap_err(),
        OpenError::NoSyn
    );
}

#[test]
fn all_bytes_arrive_over_bad_cables() {
    let faults = WireFaults {
        loss: 0.02,
        repeat: 0.05,
        spoil: 0.02,
        delay: Duration::from_micros(50),
        jitter: Duration::from_millis(1),
    };
    for seed in 0..20 {
        let mut wires = [Wire::new(faults, seed), Wire::new(faults, !seed)];
        let sent = [bytes(100_000, seed), bytes(50_000, !seed)];
        let connection = Connection::connect(config(9000, None, HERE, THERE), tuple(false), Duration::ZERO).unwrap();
        let mut ends = [End::new(Some(connection), &sent[0]), End::new(None, &sent[1])];
        run(&mut ends, &mut wires, None, both_done);
        assert!(both_done(&ends), "seed {seed}: {:?} {:?}", ends[0].events, ends[1].events);
        assert!(ends[0].received == sent[1] && ends[1].received == sent[0], "seed {seed}");
    }
}
