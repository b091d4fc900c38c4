//! Policies and connections from chance, and what the language means, said as plainly as can be.

use proptest::prelude::*;
use std::net::{IpAddr, SocketAddr};
use t5_policy::{
    Bind, Congestion, Filter, NO_VLAN, Network, OpenKind, Opening, Policy, Quantity, Relation, Rule, Settings, Side,
};

/// Index of the first rule that matches, found by trying each.
pub(crate) fn brute_force(policy: &Policy, opening: &Opening) -> Option<usize> {
    policy.rules.iter().position(|rule| matches(&rule.filter, opening))
}

fn matches(filter: &Filter, opening: &Opening) -> bool {
    let (source, destination) = (opening.source, opening.destination);
    match filter {
        Filter::Everything => true,
        Filter::Open(kind) => *kind == opening.kind,
        Filter::Address { side, negated, network } => {
            on(*side, source.ip(), destination.ip(), |address| contains(network, address) != *negated)
        }
        Filter::Ports { side, first, last } => {
            on(*side, source.port(), destination.port(), |port| (*first..=*last).contains(&port))
        }
        Filter::Number { quantity, mask, relation, value } => {
            let holds = |number: u32| relation.holds(number & mask.unwrap_or(u32::MAX), *value);
            match quantity {
                Quantity::Port(side) => on(*side, source.port(), destination.port(), |port| holds(port.into())),
                Quantity::Version => holds(if source.is_ipv4() { 4 } else { 6 }),
                Quantity::TypeOfService => holds(opening.tos.into()),
                Quantity::Dscp => holds(u32::from(opening.tos) / 4),
                Quantity::Vlan => holds(opening.vlan.into()),
                Quantity::Mark => holds(opening.mark),
            }
        }
        Filter::Not(filter) => !matches(filter, opening),
        Filter::All(filters) => filters.iter().all(|filter| matches(filter, opening)),
        Filter::Any(filters) => filters.iter().any(|filter| matches(filter, opening)),
        Filter::Choose(parts) => matches(&parts[if matches(&parts[0], opening) { 1 } else { 2 }], opening),
    }
}

fn on<T>(side: Side, source: T, destination: T, holds: impl Fn(T) -> bool) -> bool {
    match side {
        Side::Source => holds(source),
        Side::Destination => holds(destination),
        Side::Either => holds(source) || holds(destination),
        Side::Both => holds(source) && holds(destination),
    }
}

fn contains(network: &Network, address: IpAddr) -> bool {
    match (network.address(), network.mask(), address) {
        (IpAddr::V4(network), IpAddr::V4(mask), IpAddr::V4(address)) => address & mask == network,
        (IpAddr::V6(network), IpAddr::V6(mask), IpAddr::V6(address)) => address & mask == network,
        _ => false,
    }
}

/// Few addresses, so that some agree.
fn addresses() -> impl Strategy<Value = IpAddr> {
    let v4 = prop::sample::select(vec![0x0a00_0001u32, 0x0a00_0002, 0x0a01_0001, 0xc0a8_0001, 0]);
    let v6 = prop::sample::select(vec![0x0a00_0001u128 << 96, 0xfd << 120 | 1, 0xfd << 120 | 2, 1]);
    prop_oneof![v4.prop_map(|bits| IpAddr::V4(bits.into())), v6.prop_map(|bits| IpAddr::V6(bits.into()))]
}

fn sides() -> impl Strategy<Value = Side> {
    prop::sample::select(vec![Side::Source, Side::Destination, Side::Either, Side::Both])
}

fn networks() -> impl Strategy<Value = Network> {
    (addresses(), 0..=128u32, any::<u32>(), 0..3).prop_map(|(address, bits, mask, kind)| match (kind, address) {
        (0, _) => Network::host(address),
        (1, IpAddr::V4(_)) => Network::masked(address, IpAddr::V4(mask.into())).unwrap(),
        (1, IpAddr::V6(_)) => Network::masked(address, IpAddr::V6((u128::from(mask) << 90).into())).unwrap(),
        (_, IpAddr::V4(_)) => Network::prefix(address, bits % 33).unwrap(),
        (_, IpAddr::V6(_)) => Network::prefix(address, bits).unwrap(),
    })
}

fn small_or_any(max: u32) -> impl Strategy<Value = u32> {
    prop_oneof![0..=max.min(8), 0..=max]
}

fn numbers() -> impl Strategy<Value = Filter> {
    use Quantity::{Dscp, Mark, Port, TypeOfService, Version, Vlan};
    let relations = prop::sample::select(vec![
        Relation::Equal,
        Relation::NotEqual,
        Relation::Less,
        Relation::AtMost,
        Relation::Greater,
        Relation::AtLeast,
    ]);
    let quantity =
        prop_oneof![sides().prop_map(Port), prop::sample::select(vec![Version, TypeOfService, Dscp, Vlan, Mark])];
    quantity
        .prop_flat_map(move |quantity| {
            let value = match quantity {
                Version => (4..=6u32).prop_filter("a version", |version| *version != 5).boxed(),
                _ => small_or_any(quantity.max()).boxed(),
            };
            (Just(quantity), prop::option::of(small_or_any(quantity.max())), relations.clone(), value)
        })
        .prop_map(|(quantity, mask, relation, value)| Filter::Number { quantity, mask, relation, value })
}

fn filters() -> impl Strategy<Value = Filter> {
    let leaf = prop_oneof![
        Just(Filter::Everything),
        prop::sample::select(OpenKind::ALL.to_vec()).prop_map(Filter::Open),
        (sides(), any::<bool>(), networks()).prop_map(|(side, negated, network)| Filter::Address {
            side,
            negated,
            network
        }),
        (sides(), small_or_any(65535), small_or_any(65535)).prop_map(|(side, one, other)| {
            let (first, last) = (one.min(other) as u16, one.max(other) as u16);
            Filter::Ports { side, first, last }
        }),
        numbers(),
        numbers(),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|filter| Filter::Not(Box::new(filter))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Filter::All),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Filter::Any),
            [inner.clone(), inner.clone(), inner].prop_map(|parts| Filter::Choose(Box::new(parts))),
        ]
    })
}

fn settings() -> impl Strategy<Value = Settings> {
    let bind = prop_oneof![Just(Bind::Random), Just(Bind::Cpu), (0..1024u16).prop_map(Bind::Queue)];
    let congestion = prop::option::of(prop::sample::select(Congestion::ALL.to_vec()));
    let switches = any::<[Option<bool>; 6]>();
    (any::<bool>(), switches, bind, prop::option::of(0..=14u8), congestion, prop::option::of(1..=64u16)).prop_map(
        |(offload, switches, bind, class, congestion, mss_kib)| {
            let [ddp, timestamps, coalesce, sack, nagle, tls] = switches;
            Settings { offload, ddp, timestamps, coalesce, sack, nagle, tls, bind, class, congestion, mss_kib }
        },
    )
}

pub(crate) fn policies() -> impl Strategy<Value = Policy> {
    let rule = (filters(), settings()).prop_map(|(filter, settings)| Rule { filter, settings });
    prop::collection::vec(rule, 0..6).prop_map(|rules| Policy { rules })
}

pub(crate) fn openings() -> impl Strategy<Value = Opening> {
    let end = || (addresses(), small_or_any(65535));
    let vlan = prop_oneof![Just(u32::from(NO_VLAN)), small_or_any(4095)];
    let kind = prop::sample::select(OpenKind::ALL.to_vec());
    (kind, end(), end(), small_or_any(255), vlan, small_or_any(u32::MAX)).prop_filter_map(
        "both ends are of one family",
        |(kind, source, destination, tos, vlan, mark)| {
            let [source, destination] = [source, destination].map(|(ip, port)| SocketAddr::new(ip, port as u16));
            let ends = (kind, source, destination);
            (source.is_ipv4() == destination.is_ipv4()).then(|| {
                let opening = Opening::new(ends.0, ends.1, ends.2);
                Opening { tos: tos as u8, vlan: vlan as u16, mark, ..opening }
            })
        },
    )
}
