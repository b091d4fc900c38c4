//! What one function takes it takes from itself: the others get what they had, whatever its driver asks for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use t5_hal::Bus;
use t5_hal::dma::DmaMemory;
use t5_hal::driver::{Driver, DriverConfig, DriverError, DriverEvent, OffloadMode, OpenTarget, execute};
use t5_hal::registers::UserDoorbell;
use t5_hal::wire::*;
use t5_model::adapter::{Adapter, Fault, FunctionBus};
use t5_model::switch::{MacAddress, PortNumber};
use t5_model::tcp::{Connection, ConnectionConfig, LinkHeader, Tuple, checksum};

const HOSTILE: FunctionId = FunctionId::physical(4);
const VICTIM: FunctionId = FunctionId::physical(5);

fn bus(adapter: &Arc<Adapter>, id: FunctionId) -> FunctionBus {
    adapter.function(id, Arc::new(DmaMemory::new(0x4000_0000 * u64::from(id.pf()), 64 << 20, 1 << 20)))
}

fn adapter() -> Arc<Adapter> {
    let begin = Instant::now();
    Adapter::new(1, 1, Box::new(move || begin.elapsed()))
}

fn driver(adapter: &Arc<Adapter>, id: FunctionId) -> Driver<FunctionBus> {
    let config = DriverConfig { receive_window_bytes: 1023 << 10, ..DriverConfig::default() };
    Driver::bring_up(bus(adapter, id), config, &mut Instant::now).unwrap()
}

/// Asks for one more virtual interface.
fn interface(bus: &FunctionBus, id: FunctionId) -> Result<ViCommand, DriverError> {
    let mut ask = ViCommand::request(Access::EXEC_WRITE, id.to_wire());
    ask.length = ask.length.with_bit(AllocLength::ALLOC, true);
    execute(bus, &ask, &mut Instant::now)
}

/// Asks for an exact address, at an index of the table or anywhere; where it stands, and what is said of it.
fn address(bus: &FunctionBus, vi: u16, number: u16, index: u16) -> (u16, u16) {
    let mut ask = ViMacCommand::request(Access::WRITE, vi.into());
    ask.entries[0].index = ViMacIndex::new().with_bit(ViMacIndex::VALID, true).with(ViMacIndex::IDX, index);
    let [high, low] = number.to_be_bytes();
    ask.entries[0].address = [2, 1, 0, 0, high, low];
    let answer = execute(bus, &ask, &mut Instant::now).unwrap().entries[0].index;
    (answer.get(ViMacIndex::IDX), answer.get(ViMacIndex::SMAC_RESULT))
}

#[test]
fn interfaces_and_addresses_are_left_for_others() {
    let adapter = adapter();
    let hostile = bus(&adapter, HOSTILE);
    let mut made = Vec::new();
    let refusal = loop {
        match interface(&hostile, HOSTILE) {
            Ok(answer) => made.push(answer.kind.get(ViType::VIID)),
            Err(error) => break error,
        }
    };
    assert!(matches!(refusal, DriverError::Refused { code: Some(ReturnCode::NoMemory), .. }), "{refusal}");
    assert_eq!(made.len(), 28);
    let ask = |number: u16, index| address(&hostile, made[usize::from(number) % 28], number, index);
    let taken: Vec<u16> =
        (0..400).map(|number| ask(number, MAC_ADD)).filter(|answer| answer.1 == 0).map(|answer| answer.0).collect();
    assert_eq!(taken.len(), 40);
    // The first is replaced by another of the same interface; one that another interface has is not to be had, and the first stays.
    assert_eq!(ask(28 * 20, taken[0]), (taken[0], 0));
    assert_eq!(ask(28 * 21 + 1, taken[0]), (MAC_ADD, ViMacResult::NoMemory.to_wire().into()));
    assert_eq!(ask(28 * 20, MAC_ADD_PERSISTENT).1, ViMacResult::NoMemory.to_wire().into(), "there is still no room");
    assert_eq!(ask(28 * 22, taken[0]), (taken[0], 0), "it stood where it was");
    // All that the others need is there.
    driver(&adapter, VICTIM);
    driver(&adapter, FunctionId::physical(0));
}

#[test]
fn connections_and_their_memory_are_left_for_others() {
    let adapter = adapter();
    let (mut hostile, mut victim) = (driver(&adapter, HOSTILE), driver(&adapter, VICTIM));
    let peer_mac = victim.adapter().mac;
    let mut refused = 0;
    for port in 0..600u16 {
        let local = format!("10.0.0.2:{}", 20000 + port).parse().unwrap();
        let target = OpenTarget { local, peer: "10.0.0.5:3260".parse().unwrap(), peer_mac, mode: OffloadMode::Ulp };
        hostile.connect(target).unwrap();
        hostile.poll(Instant::now());
        while let Some(event) = hostile.poll_event() {
            refused += usize::from(matches!(event, DriverEvent::OpenFailed { .. }));
        }
    }
    let window = (1023 << 10) + (128 << 10);
    assert!(adapter.connections() <= (512 << 20) / window, "{} connections", adapter.connections());
    assert!(refused > 0, "whoever asks for more is told so");

    let listener = victim.listen("10.0.0.5:80".parse().unwrap(), OffloadMode::Ulp).unwrap();
    let mut own = driver(&adapter, FunctionId::physical(0));
    let (local, peer) = ("10.0.0.4:20000".parse().unwrap(), "10.0.0.5:80".parse().unwrap());
    let until = Instant::now() + Duration::from_secs(20);
    let mut opened = None;
    while Instant::now() < until {
        victim.poll(Instant::now());
        own.poll(Instant::now());
        while let Some(event) = victim.poll_event() {
            if event == (DriverEvent::Listening { listener, result: Ok(()) }) {
                opened = Some(own.connect(OpenTarget { local, peer, peer_mac, mode: OffloadMode::Ulp }).unwrap());
            }
        }
        let connected = std::iter::from_fn(|| own.poll_event())
            .any(|event| matches!(event, DriverEvent::Connected { open, .. } if Some(open) == opened));
        if connected {
            return;
        }
    }
    panic!("others can connect no more");
}

#[test]
fn doorbells_that_nobody_hears_are_bounded() {
    let adapter = adapter();
    let hostile = bus(&adapter, HOSTILE);
    let word = QueueDoorbell::new().with(QueueDoorbell::PIDX, 1).value();
    (0..1_000_000).for_each(|_| hostile.write_doorbell(UserDoorbell::KDOORBELL, word));
    assert!(adapter.waiting_doorbells(HOSTILE) <= 1 << 16);
    while adapter.poll() {}
    assert_eq!(adapter.waiting_doorbells(HOSTILE), 0);
    assert_eq!(adapter.take_fault(HOSTILE), Some(Fault::Doorbells), "those that were lost are told");
}

/// SYNs that a driver is asked about and does not answer.
#[test]
fn connections_that_wait_for_a_drivers_word_are_few() {
    for function in [HOSTILE, FunctionId::virtual_of(0, 1)] {
        let adapter = adapter();
        let mut asked = driver(&adapter, function);
        asked.listen("10.0.0.1:80".parse().unwrap(), OffloadMode::Ulp).unwrap();
        asked.poll(Instant::now());
        let link = LinkHeader {
            destination: MacAddress(asked.adapter().mac),
            source: MacAddress([2, 0, 0, 0, 0, 9]),
            vlan_tag: None,
            ipv6: false,
        };
        let config = ConnectionConfig {
            link,
            mtu_bytes: 1500,
            receive_bytes: 0,
            send_bytes: 0,
            nagle: false,
            keep_alive: false,
            seed: 1,
        };
        for port in 1..3000 {
            let tuple = Tuple { local: SocketAddr::from(([10, 0, 0, 9], port)), peer: "10.0.0.1:80".parse().unwrap() };
            let mut syn =
                Connection::connect(config, tuple, Duration::ZERO).unwrap().poll_transmit(Duration::ZERO).unwrap();
            checksum::fill(&mut syn[14..]);
            adapter.handle_wire(PortNumber::of(0), syn);
        }
        let most = if function.is_virtual() { 8 } else { 512 };
        assert_eq!(adapter.connections(), most, "{function}");
    }
}
