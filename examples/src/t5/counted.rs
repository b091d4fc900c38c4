//! What an adapter in software has counted, in the words of the control socket.

use iscsi_control::{AdapterCounters, FilterCounters, Frames, InterfaceCounters, PortCounters};
use t5_model::adapter::{Adapter, functions};
use t5_model::switch::{Count, Filter, FilterAction, Interface, PORTS, PortNumber, Switch};

/// All of it. The adapter goes on meanwhile: what is of one kind is of one moment.
pub(crate) fn counted(adapter: &Adapter) -> AdapterCounters {
    let iscsi = adapter.iscsi_counters();
    let owners: Vec<_> = functions().map(|function| (function.to_string(), adapter.interfaces(function))).collect();
    let connections = adapter.connections();
    adapter.with_switch(|switch| {
        let interfaces = switch.interfaces().filter_map(|(number, interface)| {
            let (function, _) = owners.iter().find(|(_, interfaces)| interfaces.contains(number))?;
            Some(of_interface(number.index() as u8, function, interface))
        });
        let ports = (0..PORTS as u8).filter_map(PortNumber::new);
        AdapterCounters {
            connections,
            pdus_placed: iscsi.placed_pdus,
            bytes_placed: iscsi.placed_bytes,
            pdus_delivered: iscsi.delivered_pdus,
            bytes_delivered: iscsi.delivered_bytes,
            pdus_passed: iscsi.passed_pdus,
            digests_inserted: iscsi.digests_inserted,
            digests_checked: iscsi.digests_checked,
            digests_wrong: iscsi.digests_wrong,
            interfaces: interfaces.collect(),
            ports: ports.map(|port| of_port(switch, port)).collect(),
            filters: switch.filters().map(|(index, filter)| of_filter(index, filter)).collect(),
        }
    })
}

fn of_interface(number: u8, function: &str, interface: &Interface) -> InterfaceCounters {
    let counters = interface.counters();
    InterfaceCounters {
        number,
        function: function.to_owned(),
        port: interface.port.index() as u8,
        sent: frames(counters.transmitted.total()),
        offloaded: frames(counters.offloaded),
        received: frames(counters.received.total()),
        sends_dropped: counters.transmit_dropped,
        receives_dropped: counters.receive_dropped,
    }
}

fn of_port(switch: &Switch, port: PortNumber) -> PortCounters {
    let (wire, inside) = (switch.wire_counters(port), switch.loopback_counters(port));
    PortCounters {
        number: port.index() as u8,
        sent: frames(wire.transmitted.total()),
        received: frames(wire.received.total()),
        inside: frames(inside.received.total()),
        unclaimed: wire.received_by_none + inside.received_by_none,
    }
}

fn of_filter(index: usize, filter: &Filter) -> FilterCounters {
    let action = match filter.action {
        FilterAction::Pass { queue: None } => "pass".to_owned(),
        FilterAction::Pass { queue: Some(queue) } => format!("queue {queue}"),
        FilterAction::Drop => "drop".to_owned(),
        FilterAction::Switch { port } => format!("port {}", port.index()),
    };
    FilterCounters { index, action, hits: filter.counts.then_some(frames(filter.hits)) }
}

const fn frames(count: Count) -> Frames {
    Frames { frames: count.frames, bytes: count.bytes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::t5::Model;
    use std::time::{Duration, Instant};
    use t5_model::switch::{FilterKey, Masked};

    /// A frame for everybody that nobody has use for.
    fn broadcast(ethertype: u16) -> Vec<u8> {
        let mut frame = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 9], &ethertype.to_be_bytes()].concat();
        frame.resize(60, 0);
        frame
    }

    #[test]
    fn what_went_where_is_told_by_interface_port_and_filter() {
        const DROPPED: u16 = 0x88b5;
        let (model, ..) = Model::start().unwrap();
        let adapter = model.adapter();
        let at_rest = counted(&adapter);
        let names: Vec<_> = at_rest.interfaces.iter().map(|interface| (&*interface.function, interface.port)).collect();
        assert_eq!(names, [("PF4", 0), ("PF5", 0)]);
        assert_eq!((at_rest.filters.len(), at_rest.ports.len()), (0, 4));

        let key = FilterKey { ethertype: Masked::exactly(DROPPED), ..FilterKey::default() };
        let filter = Filter { key, action: FilterAction::Drop, counts: true, hits: Count::default() };
        adapter.with_switch(|switch| switch.set_filter(3, Some(filter)));
        adapter.handle_wire(PortNumber::of(0), broadcast(DROPPED));
        adapter.handle_wire(PortNumber::of(0), broadcast(0x88b6));
        let until = Instant::now() + Duration::from_secs(30);
        while counted(&adapter).ports[0].received.frames < 2 {
            assert!(Instant::now() < until, "{:?}", counted(&adapter));
            std::thread::yield_now();
        }
        let told = counted(&adapter);
        let once = Frames { frames: 1, bytes: 60 };
        let twice = Frames { frames: 2, bytes: 120 };
        for interface in &told.interfaces {
            assert_eq!((interface.received, interface.receives_dropped), (once, 1), "{interface:?}");
        }
        assert_eq!((told.ports[0].received, told.ports[1].received), (twice, Frames::default()));
        let filter = FilterCounters { index: 3, action: "drop".to_owned(), hits: Some(twice) };
        assert_eq!(told.filters, [filter]);
    }
}
