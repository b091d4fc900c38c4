//! How a driver comes up on a virtual function, and what it says if the function may not have what it needs.

use std::sync::Arc;
use std::time::{Duration, Instant};
use t5_hal::dma::DmaMemory;
use t5_hal::driver::{Driver, DriverConfig, DriverError, execute, identify};
use t5_hal::wire::*;
use t5_model::adapter::{Adapter, FunctionBus};

const FUNCTION: FunctionId = FunctionId::virtual_of(1, 2);

fn adapter() -> Arc<Adapter> {
    Adapter::new(1, 1, Box::new(|| Duration::ZERO))
}

fn bus(adapter: &Arc<Adapter>, function: FunctionId) -> FunctionBus {
    adapter.function(function, Arc::new(DmaMemory::new(0x1000_0000, 32 << 20, 1 << 20)))
}

/// Those of PF1 are at the second port.
fn config() -> DriverConfig {
    DriverConfig { port: 1, ..DriverConfig::default() }
}

fn refusal(bus: FunctionBus, config: DriverConfig) -> String {
    Driver::bring_up(bus, config, &mut Instant::now).unwrap_err().to_string()
}

#[test]
fn it_says_who_it_is() {
    let adapter = adapter();
    let found = identify(&bus(&adapter, FUNCTION), &mut Instant::now).unwrap();
    assert_eq!((found.function, found.function.to_string()), (FUNCTION, "PF1 VF2".into()));
    assert_eq!((found.chip_revision, found.firmware.to_string()), (1, "1.13.43.0".into()));
}

#[test]
fn it_comes_up_with_addresses_on_what_is_shipped() {
    let adapter = adapter();
    let config = DriverConfig { addresses: vec![("10.0.0.1".parse().unwrap(), 24)], ..config() };
    let driver = Driver::bring_up(bus(&adapter, FUNCTION), config, &mut Instant::now).unwrap();
    assert_eq!(driver.adapter().function, FUNCTION);
    assert_eq!(adapter.take_fault(FUNCTION), None, "it reads and writes what it has");
}

#[test]
fn it_comes_up_again_over_what_was_left() {
    let adapter = adapter();
    let bus = Arc::new(bus(&adapter, FUNCTION));
    for _ in 0..3 {
        Driver::bring_up(Arc::clone(&bus), config(), &mut Instant::now).unwrap();
    }
}

#[test]
fn what_is_missing_is_said() {
    let adapter = adapter();
    let said = refusal(bus(&adapter, FUNCTION), DriverConfig::default());
    assert!(said.contains("PMASK is 0x2: with the bit of the port that is asked for"), "{said}");
    let said = refusal(bus(&adapter, FUNCTION), DriverConfig { ingress_queues: 3, ..config() });
    assert!(said.contains("NEQ is 0x4: one for each ingress queue, two more"), "{said}");
    let said = refusal(bus(&adapter, FUNCTION), DriverConfig { ingress_queues: 5, ..config() });
    assert!(said.contains("NIQFLINT is 0x4: as many as the ingress queues"), "{said}");

    let parent = bus(&adapter, FUNCTION.parent());
    let set = |change: &dyn Fn(&mut PfVfCommand)| {
        let mut limits = execute(&parent, &PfVfCommand::request(Access::READ, FUNCTION.to_wire()), &mut Instant::now);
        let limits = limits.as_mut().unwrap();
        let PfVfCommand { op, length, .. } = PfVfCommand::request(Access::WRITE, FUNCTION.to_wire());
        (limits.op, limits.length) = (op, length);
        change(limits);
        execute(&parent, limits, &mut Instant::now).unwrap();
    };
    set(&|limits| limits.caps = limits.caps.with(PfVfCaps::NETHCTRL, 1));
    let addresses = vec![("10.0.0.1".parse().unwrap(), 24)];
    let said = refusal(bus(&adapter, FUNCTION), DriverConfig { addresses, ..config() });
    assert!(said.contains("NETHCTRL is 0x1: one, and one for frames"), "{said}");
    set(&|limits| limits.interfaces = limits.interfaces.with(PfVfInterfaces::NVI, 0));
    let said = refusal(bus(&adapter, FUNCTION), config());
    assert!(said.contains("NVI is 0x0: 1 or more"), "{said}");
    set(&|limits| limits.caps = limits.caps.with(PfVfCaps::WX_CAPS, 0));
    let error = Driver::bring_up(bus(&adapter, FUNCTION), config(), &mut Instant::now).unwrap_err();
    assert!(matches!(error, DriverError::Refused { code: Some(ReturnCode::NotPermitted), .. }), "{error}");
}
