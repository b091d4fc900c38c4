//! What all functions but one take together: that one gets its whole share even so.

use crate::guest::{VICTIM, adapter};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;
use t5_hal::dma::DmaMemory;
use t5_hal::driver::{Driver, DriverConfig, DriverEvent, OffloadMode, OpenTarget};
use t5_hal::wire::*;
use t5_model::adapter::{Adapter, FunctionBus, functions};

/// Somebody on the wire, who never answers.
const STRANGER: [u8; 6] = [2, 0, 0, 0, 0, 9];
/// Connections that are asked for at once.
const AT_ONCE: u16 = 32;
/// What is there for the whole adapter.
const ALL: usize = 8192;

/// What a function is to have for itself.
fn share(function: FunctionId) -> usize {
    match (function.is_virtual(), function.pf()) {
        (true, _) => 32,
        (false, 4 | 5) => 2048,
        (false, _) => 256,
    }
}

fn driver(adapter: &Arc<Adapter>, function: FunctionId) -> Driver<FunctionBus> {
    let bus =
        adapter.function(function, Arc::new(DmaMemory::new(u64::from(function.to_wire()) << 32, 32 << 20, 1 << 20)));
    let config = DriverConfig {
        port: if function.is_virtual() { function.pf() & 1 } else { 0 },
        receive_window_bytes: 64 << 10,
        ..DriverConfig::default()
    };
    Driver::bring_up(bus, config, &mut Instant::now).unwrap()
}

/// Asks for connections until some are refused: the status that was told, the same for each.
fn take_all(adapter: &Adapter, driver: &mut Driver<FunctionBus>) -> u8 {
    let peer = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 9), 3260));
    for first in (1024..u16::MAX - AT_ONCE).step_by(AT_ONCE.into()) {
        for port in first..first + AT_ONCE {
            let local = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), port));
            let target = OpenTarget { local, peer, peer_mac: STRANGER, mode: OffloadMode::Ulp };
            driver.connect(target).unwrap();
        }
        while adapter.poll() {}
        driver.poll(Instant::now());
        let events = std::iter::from_fn(|| driver.poll_event());
        let statuses: Vec<u8> = events
            .filter_map(|event| match event {
                DriverEvent::OpenFailed { status, .. } => Some(status),
                _ => None,
            })
            .collect();
        if let [first, others @ ..] = &statuses[..] {
            assert!(others.iter().all(|status| status == first), "{statuses:?}");
            return *first;
        }
    }
    panic!("it has no end");
}

#[test]
fn all_functions_but_one_together_leave_that_one_its_connections() {
    let full = CplStatus::TcamFull.to_wire();
    let adapter = adapter();
    let mut victim = driver(&adapter, VICTIM);
    let mut hostile = Vec::new();
    for function in functions().filter(|&function| function != VICTIM) {
        let before = adapter.connections();
        let mut driver = driver(&adapter, function);
        assert_eq!(take_all(&adapter, &mut driver), full, "{function}");
        assert_eq!(adapter.connections() - before, share(function), "{function}");
        hostile.push(driver);
    }
    let before = adapter.connections();
    assert_eq!(take_all(&adapter, &mut victim), full);
    assert_eq!(adapter.connections() - before, share(VICTIM), "its whole share is there");
    assert!(adapter.connections() <= ALL);
    for function in functions() {
        assert_eq!(adapter.take_fault(function), None, "{function}");
    }
}
