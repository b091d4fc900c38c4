//! The switch against an oracle that says, in thirty lines, who has to get what.

use proptest::prelude::*;
use t5_model::switch::*;

/// A virtual interface as a test draws it. Its address is that of its number.
#[derive(Clone, Debug)]
struct Plan {
    port: u8,
    receives: bool,
    sends: bool,
    mode: ReceiveMode,
    hash: u64,
    hashes_individuals: bool,
    group: bool,
    only_own_address: bool,
    vlans: Option<VlanList>,
}

#[derive(Clone, Debug)]
struct Sent {
    /// From which interface, or from the wire of which port.
    from: Result<u8, u8>,
    path: Path,
    source: MacAddress,
    destination: MacAddress,
    vlan: Option<u16>,
}

const GROUP: MacAddress = MacAddress([1, 0, 0x5e, 0, 0, 9]);

fn address(number: u8) -> MacAddress {
    MacAddress([2, 7, 0, 0, 0, number])
}

fn number(index: usize) -> InterfaceNumber {
    InterfaceNumber::new(index as u8).unwrap()
}

fn frame(sent: &Sent) -> Vec<u8> {
    let mut frame = [sent.destination.0, sent.source.0].concat();
    if let Some(vlan) = sent.vlan {
        frame.extend([0x81, 0]);
        frame.extend((0x6000 | vlan).to_be_bytes());
    }
    frame.extend([8, 6]);
    frame.resize(60, 0);
    frame
}

fn build(plans: &[Plan]) -> Switch {
    let mut switch = Switch::default();
    for (index, plan) in plans.iter().enumerate() {
        let mut interface = Interface::new(PortNumber::of(plan.port));
        interface.receives = plan.receives;
        interface.sends = plan.sends;
        interface.mode = plan.mode;
        (interface.hash, interface.hashes_individuals) = (plan.hash, plan.hashes_individuals);
        interface.mac_list = plan.only_own_address.then(|| [address(index as u8)].into_iter().collect());
        interface.vlan_list = plan.vlans.clone();
        switch.attach(number(index), interface);
        switch.add_address(number(index), address(index as u8)).unwrap();
        if plan.group {
            switch.add_address(number(index), GROUP).unwrap();
        }
    }
    switch
}

/// Who gets the frame, and whether its port's wire does; `None` if it may not be sent.
fn oracle(plans: &[Plan], sent: &Sent) -> Option<(Vec<usize>, bool)> {
    let vlan_ok = |plan: &Plan| match (&plan.vlans, sent.vlan) {
        (None, _) => true,
        (Some(list), None) => !list.drop_untagged,
        (Some(list), Some(vlan)) => !list.drop_unlisted || list.vlans.contains(&vlan),
    };
    let (port, from) = match sent.from {
        Err(port) => (port, usize::MAX),
        Ok(from) => {
            let sender = &plans[from as usize];
            let owner = (0..plans.len()).find(|&i| plans[i].port == sender.port && address(i as u8) == sent.source);
            let foreign = owner.is_some_and(|owner| owner != from as usize);
            let listed = !sender.only_own_address || sent.source == address(from);
            if !sender.sends || foreign || !listed || sent.source.cast() != Cast::Unicast || !vlan_ok(sender) {
                return None;
            }
            (sender.port, from as usize)
        }
    };
    let unicast = sent.destination.cast() == Cast::Unicast;
    let at_port = |wanted: &dyn Fn(usize) -> bool| -> Vec<usize> {
        (0..plans.len()).filter(|&i| plans[i].port == port && (unicast || i != from) && wanted(i)).collect()
    };
    let hashed = |i: usize| plans[i].hash & 1 << sent.destination.hash_bit() != 0;
    let mut found = match sent.destination.cast() {
        Cast::Broadcast => at_port(&|i| plans[i].mode.broadcast),
        Cast::Multicast => {
            at_port(&|i| (plans[i].group && sent.destination == GROUP) || hashed(i) || plans[i].mode.all_multicast)
        }
        Cast::Unicast => {
            let exact = at_port(&|i| address(i as u8) == sent.destination);
            let takes = |i: usize| hashed(i) && plans[i].hashes_individuals && !plans[i].only_own_address;
            if exact.is_empty() { at_port(&takes) } else { exact }
        }
    };
    let from_wire = sent.from.is_err();
    let known = !found.is_empty();
    if unicast && !known && (from_wire || sent.path == Path::Loopback) {
        found = at_port(&|i| plans[i].mode.promiscuous && i != from);
    }
    if !from_wire && sent.path == Path::Wire {
        found.clear();
    }
    found.retain(|&i| plans[i].receives && vlan_ok(&plans[i]));
    let wire = !from_wire && (sent.path == Path::Wire || sent.path == Path::Switched && !(unicast && known));
    Some((found, wire))
}

fn vlan_list() -> impl Strategy<Value = Option<VlanList>> {
    prop::option::weighted(
        0.3,
        (prop::collection::vec(1..4u16, 0..3), any::<bool>(), any::<bool>()).prop_map(|(vlans, untagged, unlisted)| {
            VlanList { vlans: vlans.into_iter().collect(), drop_untagged: untagged, drop_unlisted: unlisted }
        }),
    )
}

fn plan() -> impl Strategy<Value = Plan> {
    let mode = (prop::bool::weighted(0.2), prop::bool::weighted(0.2), prop::bool::weighted(0.7))
        .prop_map(|(promiscuous, all_multicast, broadcast)| ReceiveMode { promiscuous, all_multicast, broadcast });
    let hash = prop_oneof![4 => Just((0, true)), 1 => any::<(u64, bool)>()];
    let usual = prop::bool::weighted(0.9);
    let rare = prop::bool::weighted(0.3);
    (0..2u8, usual, usual, mode, hash, rare, rare, vlan_list()).prop_map(
        |(port, receives, sends, mode, (hash, hashes_individuals), group, only_own_address, vlans)| Plan {
            port,
            receives,
            sends,
            mode,
            hash,
            hashes_individuals,
            group,
            only_own_address,
            vlans,
        },
    )
}

fn sent(interfaces: u8) -> impl Strategy<Value = Sent> {
    let anyone = prop_oneof![8 => (0..interfaces).prop_map(address), 1 => (200..255u8).prop_map(address)];
    let destination = prop_oneof![
        6 => anyone.clone(),
        1 => Just(GROUP),
        1 => Just(MacAddress([0x33, 0x33, 0, 0, 0, 1])),
        1 => Just(MacAddress::BROADCAST),
    ];
    let from = prop_oneof![4 => (0..interfaces).prop_map(Ok), 1 => (0..2u8).prop_map(Err)];
    let path = prop_oneof![Just(Path::Wire), Just(Path::Switched), Just(Path::Loopback)];
    let source = prop_oneof![12 => Just(None), 4 => anyone.prop_map(Some), 1 => Just(Some(GROUP))];
    (from, path, source, destination, prop::option::of(0..5u16)).prop_map(|(from, path, source, destination, vlan)| {
        let own = address(from.unwrap_or(222));
        Sent { from, path, source: source.unwrap_or(own), destination, vlan }
    })
}

fn network(interfaces: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = (Vec<Plan>, Vec<Sent>)> {
    prop::collection::vec(plan(), interfaces).prop_flat_map(|plans| {
        let count = plans.len() as u8;
        (Just(plans), prop::collection::vec(sent(count), 1..40))
    })
}

fn run(switch: &mut Switch, sent: &Sent) -> Option<(Vec<usize>, bool)> {
    let delivery = match sent.from {
        Err(port) => switch.receive(PortNumber::of(port), &frame(sent)),
        Ok(from) => switch.transmit(number(from.into()), sent.path, Origin::Owner, &frame(sent)).ok()?,
    };
    let mut receivers: Vec<usize> = delivery.copies.iter().map(|copy| copy.receiver.index()).collect();
    receivers.sort_unstable();
    Some((receivers, !delivery.wires.is_empty()))
}

/// What was counted is what was seen.
fn counters_add_up(switch: &Switch, plans: &[Plan], all: &[Sent], seen: &[Option<(Vec<usize>, bool)>]) {
    let interfaces = || (0..plans.len()).map(|index| switch.interface(number(index)).unwrap().counters());
    let sum = |of: &dyn Fn(&InterfaceCounters) -> u64| interfaces().map(of).sum::<u64>();
    let copies: usize = seen.iter().flatten().map(|(receivers, _)| receivers.len()).sum();
    assert_eq!(sum(&|c| c.received.total().frames), copies as u64);
    let from_interfaces = || all.iter().zip(seen).filter(|(sent, _)| sent.from.is_ok());
    let refused = from_interfaces().filter(|(_, seen)| seen.is_none()).count();
    assert_eq!(sum(&|c| c.transmit_dropped), refused as u64);
    let admitted: Vec<_> = from_interfaces().filter(|(_, seen)| seen.is_some()).collect();
    assert_eq!(sum(&|c| c.transmitted.total().frames), admitted.len() as u64);
    let bytes: usize = admitted.iter().map(|(sent, _)| frame(sent).len()).sum();
    assert_eq!(sum(&|c| c.transmitted.total().bytes), bytes as u64);

    let ports = (0..PORTS as u8).map(PortNumber::of);
    let wires = || ports.clone().map(|port| switch.wire_counters(port));
    let out = seen.iter().flatten().filter(|(_, wire)| *wire).count();
    assert_eq!(wires().map(|c| c.transmitted.total().frames).sum::<u64>(), out as u64);
    let came = all.len() - from_interfaces().count();
    assert_eq!(wires().map(|c| c.received.total().frames).sum::<u64>(), came as u64);
    let nobodys = |(sent, seen): &(&Sent, &Option<(Vec<usize>, bool)>)| {
        sent.from.is_err() && seen.as_ref().is_some_and(|(receivers, _)| receivers.is_empty())
    };
    let nobodys = all.iter().zip(seen).filter(nobodys).count();
    assert_eq!(wires().map(|c| c.received_by_none).sum::<u64>(), nobodys as u64);
    for port in ports {
        let loopback = switch.loopback_counters(port);
        assert_eq!(loopback.transmitted, loopback.received);
    }
}

proptest! {
    /// A frame that passes without being there counts as one that is, and passes only where it would reach that interface alone.
    #[test]
    fn what_passes_counts_as_what_is_sent((plans, all) in network(1..=6)) {
        let (mut passing, mut sending) = (build(&plans), build(&plans));
        let ip = IpHeader::of_segment("192.0.2.1:40000".parse().unwrap(), "192.0.2.2:3260".parse().unwrap());
        let drops = |local_port| {
            let key = FilterKey { local_port: Masked::exactly(local_port), ..FilterKey::default() };
            Some(Filter { key, action: FilterAction::Drop, counts: true, hits: Count::default() })
        };
        passing.set_filter(0, drops(3261));
        for sent in &all {
            let Ok(from) = sent.from else { continue };
            let frame = frame(sent);
            let header = EthernetHeader::decode(&frame).unwrap();
            let expected = oracle(&plans, &Sent { path: Path::Switched, ..sent.clone() });
            for to in 0..plans.len() {
                passing.set_filter(1, drops(3260));
                let filtered = passing.pass(number(from.into()), number(to), &header, &ip, frame.len());
                prop_assert!(!filtered, "a filter has a say");
                passing.set_filter(1, None);
                let passes = passing.pass(number(from.into()), number(to), &header, &ip, frame.len());
                if passes {
                    prop_assert_eq!(&expected, &Some((vec![to], false)));
                    sending.transmit(number(from.into()), Path::Switched, Origin::Offload, &frame).unwrap();
                } else if sent.destination == address(to as u8) {
                    prop_assert_ne!(&expected, &Some((vec![to], false)));
                }
            }
        }
        for index in 0..plans.len() {
            let counters = |switch: &Switch| *switch.interface(number(index)).unwrap().counters();
            prop_assert_eq!(counters(&passing), counters(&sending));
        }
        for port in (0..PORTS as u8).map(PortNumber::of) {
            prop_assert_eq!(passing.loopback_counters(port), sending.loopback_counters(port));
            prop_assert_eq!(passing.wire_counters(port), sending.wire_counters(port));
        }
    }

    #[test]
    fn every_frame_reaches_exactly_whom_the_oracle_names((plans, all) in network(1..=12)) {
        let mut switch = build(&plans);
        let mut seen = Vec::new();
        for sent in &all {
            let got = run(&mut switch, sent);
            prop_assert_eq!(&got, &oracle(&plans, sent), "{:?}", sent);
            seen.push(got);
        }
        counters_add_up(&switch, &plans, &all, &seen);
    }

    #[test]
    fn the_same_at_all_virtual_interfaces((plans, all) in network(INTERFACES..=INTERFACES)) {
        let mut switch = build(&plans);
        for sent in &all {
            prop_assert_eq!(run(&mut switch, sent), oracle(&plans, sent), "{:?}", sent);
        }
    }

    #[test]
    fn no_frame_between_local_interfaces_reaches_the_wire((plans, all) in network(2..=INTERFACES)) {
        let mut switch = build(&plans);
        for sent in all.iter().filter(|sent| sent.from.is_ok() && sent.path != Path::Wire) {
            let from = sent.from.unwrap() as usize;
            let local = (0..plans.len()).any(|i| address(i as u8) == sent.destination && plans[i].port == plans[from].port);
            if let Some((_, wire)) = run(&mut switch, sent) {
                prop_assert!(!(local && wire), "{:?}", sent);
            }
        }
    }

    #[test]
    fn any_bytes_are_sent_or_refused(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..20)) {
        let open = Plan {
            port: 0, receives: true, sends: true, hash: u64::MAX, hashes_individuals: true, group: true, only_own_address: false, vlans: None,
            mode: ReceiveMode { promiscuous: true, all_multicast: true, broadcast: true },
        };
        let mut switch = build(&[open.clone(), open]);
        switch.set_filter(0, Some(Filter {
            key: FilterKey { foreign_port: Masked::exactly(7), ..FilterKey::default() },
            action: FilterAction::Drop,
            counts: true,
            hits: Count::default(),
        }));
        for frame in frames {
            let _ = switch.transmit(number(0), Path::Switched, Origin::Owner, &frame);
            let _ = switch.receive(PortNumber::of(0), &frame);
        }
    }
}

fn open(switch: &mut Switch, index: u8) -> InterfaceNumber {
    let number = number(index.into());
    let mut interface = Interface::new(PortNumber::of(0));
    (interface.receives, interface.sends) = (true, true);
    switch.attach(number, interface);
    switch.add_address(number, address(index)).unwrap();
    number
}

fn tcp(from: u8, to: u8, port: u16) -> Vec<u8> {
    let mut frame = [address(to).0, address(from).0].concat();
    frame.extend([8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, from, 10, 0, 0, to, 0x4e, 0x21]);
    frame.extend(port.to_be_bytes());
    frame.resize(60, 0);
    frame
}

#[test]
fn whoever_spoofs_gets_nothing_out() {
    let mut switch = Switch::default();
    let (honest, hostile) = (open(&mut switch, 0), open(&mut switch, 1));
    for path in [Path::Wire, Path::Switched, Path::Loopback] {
        let refused = switch.transmit(hostile, path, Origin::Owner, &tcp(0, 9, 80));
        assert_eq!(refused, Err(Refusal::Source(address(0))), "another's address");
    }
    assert_eq!(switch.add_address(hostile, address(0)), Err(AddressError::Taken));
    assert_eq!(switch.wire_counters(PortNumber::of(0)).transmitted.total().frames, 0);
    assert_eq!(switch.interface(hostile).unwrap().counters().transmit_dropped, 3);
    let delivery = switch.transmit(honest, Path::Wire, Origin::Owner, &tcp(0, 9, 80)).unwrap();
    assert_eq!(delivery.wires[..], [PortNumber::of(0)]);
}

#[test]
fn an_access_list_holds_for_addresses_too() {
    let mut switch = Switch::default();
    let guest = open(&mut switch, 0);
    switch.interface_mut(guest).unwrap().mac_list = Some([address(0)].into_iter().collect());
    assert_eq!(switch.add_address(guest, address(7)), Err(AddressError::NotAllowed));
    assert!(switch.add_address(guest, GROUP).is_ok(), "groups are not on the list");
}

#[test]
fn filters_pass_drop_and_switch_and_count() {
    let mut switch = Switch::default();
    let (from, to) = (open(&mut switch, 0), open(&mut switch, 1));
    let filter = |port: u16, action| {
        let key = FilterKey {
            loopback: Some(true),
            receivers: Some(InterfaceSet::of(to)),
            protocol: Masked::exactly(6),
            local_address: Masked { value: 0x0a00_0001, mask: 0xffff_ff0f },
            local_port: Masked::exactly(port),
            ..FilterKey::default()
        };
        Some(Filter { key, action, counts: true, hits: Count::default() })
    };
    assert!(switch.set_filter(5, filter(3260, FilterAction::Pass { queue: Some(17) })));
    assert!(switch.set_filter(6, filter(23, FilterAction::Drop)));
    assert!(switch.set_filter(7, filter(80, FilterAction::Switch { port: PortNumber::of(3) })));
    assert!(switch.set_filter(8, filter(23, FilterAction::Pass { queue: None })), "the lower index decides");
    assert!(!switch.set_filter(FILTERS_MAX, None));

    let mut send = |port| switch.transmit(from, Path::Switched, Origin::Offload, &tcp(0, 1, port)).unwrap();
    let copy = Copy { receiver: to, matched: Match::ExactUnicast, queue: Some(17) };
    assert_eq!(send(3260).copies.as_slice(), [copy]);
    assert_eq!(send(22).copies.as_slice(), [Copy { queue: None, ..copy }], "no filter matches");
    assert_eq!(send(23), Delivery::default());
    assert_eq!(send(80), Delivery { wires: [PortNumber::of(3)].into_iter().collect(), ..Delivery::default() });

    let hits: Vec<u64> = (5..9).map(|index| switch.filter(index).unwrap().hits.frames).collect();
    assert_eq!(hits, [1, 1, 1, 0]);
    assert_eq!(switch.filter(5).unwrap().hits.bytes, 60);
    let counters = switch.interface(to).unwrap().counters();
    assert_eq!((counters.received.unicast.frames, counters.receive_dropped), (2, 2));
    assert_eq!(switch.interface(from).unwrap().counters().offloaded, Count { frames: 4, bytes: 240 });
    assert_eq!(switch.wire_counters(PortNumber::of(3)).transmitted.unicast.frames, 1);
    assert!(switch.set_filter(6, None));
    assert_eq!(switch.filter(6), None);
}

/// Each field of a key: a frame that has it is dropped, and one that differs in it alone is not.
#[test]
fn each_field_of_a_filter_decides() {
    let mut switch = Switch::default();
    let (from, to) = (open(&mut switch, 0), open(&mut switch, 1));
    let plain = tcp(0, 1, 80);
    let changed = |at: usize, to: &[u8]| {
        let mut frame = plain.clone();
        frame[at..at + to.len()].copy_from_slice(to);
        frame
    };
    let tagged = |vlan: u8| [&plain[..12], &[0x81, 0, 0, vlan], &plain[12..]].concat();
    // The packet begins at byte 14.
    let (fragment, udp, other_tos) = (changed(20, &[0x20, 0]), changed(23, &[17]), changed(15, &[4]));
    let (from_elsewhere, to_elsewhere) = (changed(26, &[10, 1]), changed(30, &[10, 1]));
    let (from_port, to_port) = (changed(34, &[1]), changed(36, &[1]));
    let none = FilterKey::default;
    let cases = [
        ("tagged", FilterKey { tagged: Some(true), ..none() }, tagged(5), plain.clone()),
        ("untagged", FilterKey { tagged: Some(false), ..none() }, plain.clone(), tagged(5)),
        ("vlan", FilterKey { vlan: Masked::exactly(5), ..none() }, tagged(5), tagged(6)),
        ("ethertype", FilterKey { ethertype: Masked::exactly(0x800), ..none() }, plain.clone(), changed(12, &[8, 6])),
        ("protocol", FilterKey { protocol: Masked::exactly(6), ..none() }, plain.clone(), udp),
        ("tos", FilterKey { tos: Masked::exactly(4), ..none() }, other_tos, plain.clone()),
        ("fragment", FilterKey { fragment: Some(true), ..none() }, fragment.clone(), plain.clone()),
        ("no fragment", FilterKey { fragment: Some(false), ..none() }, plain.clone(), fragment),
        ("version", FilterKey { ip_version: Some(4), ..none() }, plain.clone(), changed(12, &[8, 6])),
        ("local", FilterKey { local_address: Masked::exactly(0x0a00_0001), ..none() }, plain.clone(), to_elsewhere),
        (
            "foreign",
            FilterKey { foreign_address: Masked::exactly(0x0a00_0000), ..none() },
            plain.clone(),
            from_elsewhere,
        ),
        ("local port", FilterKey { local_port: Masked::exactly(80), ..none() }, plain.clone(), to_port),
        ("foreign port", FilterKey { foreign_port: Masked::exactly(0x4e21), ..none() }, plain.clone(), from_port),
    ];
    let mut dropped = |key: FilterKey, path: Path, frame: &[u8]| {
        let counts = Count::default();
        switch.set_filter(0, Some(Filter { key, action: FilterAction::Drop, counts: true, hits: counts }));
        let delivery = match path {
            Path::Wire => switch.receive(PortNumber::of(0), frame),
            _ => switch.transmit(from, path, Origin::Owner, frame).unwrap(),
        };
        let hits = switch.filter(0).unwrap().hits;
        assert_eq!(hits.frames == 1, delivery.copies.is_empty(), "what is dropped is counted");
        delivery.copies.is_empty()
    };
    for (name, key, with, without) in cases {
        assert!(dropped(key, Path::Switched, &with), "{name}");
        assert!(!dropped(key, Path::Switched, &without), "{name}: another");
    }
    // Where a frame comes in, for whom, and how it was found.
    for (name, key, other) in [
        (
            "port",
            FilterKey { port: Some(PortNumber::of(0)), ..none() },
            FilterKey { port: Some(PortNumber::of(1)), ..none() },
        ),
        ("loopback", FilterKey { loopback: Some(true), ..none() }, FilterKey { loopback: Some(false), ..none() }),
        (
            "match",
            FilterKey { matched: Some(Match::ExactUnicast), ..none() },
            FilterKey { matched: Some(Match::Broadcast), ..none() },
        ),
        (
            "receivers",
            FilterKey { receivers: Some(InterfaceSet::of(to)), ..none() },
            FilterKey { receivers: Some(InterfaceSet::of(from)), ..none() },
        ),
    ] {
        assert!(dropped(key, Path::Switched, &plain), "{name}");
        assert!(!dropped(other, Path::Switched, &plain), "{name}: another");
    }
    let wire = FilterKey { loopback: Some(false), ..none() };
    assert!(dropped(wire, Path::Wire, &changed(6, &address(9).0)));
}

#[test]
fn copies_for_many_that_a_filter_sends_out_leave_once() {
    let mut switch = Switch::default();
    let members = [0, 1, 2].map(|index| open(&mut switch, index));
    members.iter().for_each(|&member| _ = switch.add_address(member, GROUP).unwrap());
    let (key, action) = (FilterKey::default(), FilterAction::Switch { port: PortNumber::of(2) });
    switch.set_filter(0, Some(Filter { key, action, counts: true, hits: Count::default() }));
    let sent = Sent { from: Err(0), path: Path::Switched, source: address(9), destination: GROUP, vlan: None };
    let delivery = switch.receive(PortNumber::of(0), &frame(&sent));
    assert_eq!((delivery.copies.len(), &delivery.wires[..]), (0, &[PortNumber::of(2)][..]));
    assert_eq!(switch.wire_counters(PortNumber::of(2)).transmitted.multicast.frames, 1);
    assert_eq!(switch.filter(0).unwrap().hits.frames, 3, "each copy is judged");
}

#[test]
fn a_detached_interface_leaves_nothing_behind() {
    let mut switch = Switch::default();
    let (from, to) = (open(&mut switch, 0), open(&mut switch, 1));
    switch.detach(to);
    let delivery = switch.transmit(from, Path::Switched, Origin::Owner, &tcp(0, 1, 80)).unwrap();
    assert_eq!((delivery.copies.len(), delivery.wires.len()), (0, 1));
    assert_eq!(switch.transmit(to, Path::Wire, Origin::Owner, &tcp(1, 0, 80)), Err(Refusal::NoInterface));
    assert_eq!(switch.add_address(from, address(1)), Ok(1), "address and place are free");
}
