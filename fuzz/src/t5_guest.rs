//! The adapter in software, against a guest that means harm: mailbox, registers, doorbells, work requests, its own memory, and
//! frames from a wire. Whatever it does, the adapter does not fall, and the memory of another function stays as it is.

use crate::input::{take, take_byte};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use t5_hal::Bus;
use t5_hal::dma::DmaMemory;
use t5_hal::driver::execute;
use t5_hal::registers::{KDOORBELL, MY_PF, MailboxRegisters};
use t5_hal::wire::*;
use t5_model::adapter::{Adapter, FunctionBus};
use t5_model::switch::PortNumber;

/// The guest has a physical function, or a virtual one.
const GUESTS: [FunctionId; 2] = [FunctionId::physical(5), FunctionId::virtual_of(0, 1)];
const BASE: u64 = 0x2000_0000;
/// Where the rings of the guest are: of the ingress queue, of its free list, and of the egress queue.
const RINGS: [u64; 3] = [BASE, BASE + 8192, BASE + 12288];
const DESCRIPTORS: u16 = 64;
const STEPS_MAX: usize = 256;

/// What a guest does, a step after the other.
pub fn t5_guest(input: &[u8]) {
    GUESTS.into_iter().for_each(|guest| play(guest, input));
}

fn play(guest: FunctionId, input: &[u8]) {
    let ticks = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&ticks);
    let adapter = Adapter::new(1, 7, Box::new(move || Duration::from_micros(clock.fetch_add(1, Ordering::Relaxed))));
    let other = Arc::new(DmaMemory::new(0x4000_0000, 4096, 4096));
    other.write(other.base(), &[0xee; 8192]).expect("it is inside");
    let _other = adapter.function(FunctionId::physical(4), Arc::clone(&other));
    let bus = adapter.function(guest, Arc::new(DmaMemory::new(BASE, 32 << 10, 32 << 10)));
    let Some(queue) = make_queues(&bus) else { panic!("queues can be made") };

    let mut input = input;
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        step(&mut input, &adapter, &bus, queue, &ticks);
        bus.poll();
        while adapter.poll_wire(PortNumber::of(0)).is_some() {}
    }
    (0..8).for_each(|_| bus.poll());
    let mut seen = [0; 8192];
    other.read(other.base(), &mut seen).expect("it is inside");
    assert!(seen == [0xee; 8192], "the memory of another function is not reached");
}

fn step(input: &mut &[u8], adapter: &Adapter, bus: &FunctionBus, queue: u32, ticks: &AtomicU64) {
    match take_byte(input) % 7 {
        0 => {
            let mailbox = MailboxRegisters::of(bus.is_virtual());
            for (at, word) in take(input, 64).chunks(4).enumerate() {
                let mut bytes = [0; 4];
                bytes[..word.len()].copy_from_slice(word);
                bus.write_register(mailbox.data + 4 * at as u32, u32::from_be_bytes(bytes));
            }
            // VALID, and the firmware's.
            bus.write_register(mailbox.control, 9);
        }
        1 => {
            let count = take_byte(input) % 33;
            let mut request = take(input, usize::from(count) * 16).to_vec();
            request.resize(usize::from(count).max(1) * 16, 0);
            request[7] = count;
            // The ring is read where it has come to: the request stands everywhere that it finds room.
            for at in 0..u64::from(DESCRIPTORS) {
                let room = (u64::from(DESCRIPTORS) - at) * 64;
                let length = request.len().min(room as usize);
                _ = bus.memory().write(RINGS[2] + at * 64, &request[..length]);
            }
            ring(bus, queue, request.len().div_ceil(64) as u32);
        }
        2 => {
            let offset = registers(bus) + u32::from(take_byte(input)) * 4;
            bus.write_register(offset, word(input));
        }
        3 => {
            let offset = u32::from(take_byte(input)) * 4;
            bus.write_doorbell(offset, word(input));
        }
        4 => {
            let at = word(input) % (64 << 10);
            let count = usize::from(take_byte(input));
            _ = bus.memory().write(BASE + u64::from(at), take(input, count));
        }
        5 => _ = ticks.fetch_add(u64::from(word(input)), Ordering::Relaxed),
        _ => {
            let count = usize::from(take_byte(input));
            adapter.handle_wire(PortNumber::of(0), take(input, count).to_vec());
        }
    }
}

fn word(input: &mut &[u8]) -> u32 {
    u32::from_be_bytes([take_byte(input), take_byte(input), take_byte(input), take_byte(input)])
}

/// Where the guest's own registers begin.
fn registers(bus: &FunctionBus) -> u32 {
    if bus.is_virtual() { 0 } else { MY_PF }
}

fn ring(bus: &FunctionBus, queue: u32, count: u32) {
    let word = QueueDoorbell::new().with(QueueDoorbell::QID, queue).with(QueueDoorbell::PIDX, count);
    bus.write_register(registers(bus) + KDOORBELL, word.value());
}

/// An interface, an ingress queue with a free list, and an egress queue, whose number it gives.
fn make_queues(bus: &FunctionBus) -> Option<u32> {
    let start = Instant::now();
    let mut clock = || start;
    let made = |length: AllocLength| length.with_bit(AllocLength::ALLOC, true).with_bit(AllocLength::START, true);
    let target = bus.function().to_wire();
    let mut ask = ViCommand::request(Access::EXEC_WRITE, target);
    ask.length = made(ask.length);
    execute(bus, &ask, &mut clock).ok()?;
    let mut ask = IqCommand::request(Access::EXEC_WRITE, target);
    ask.length = made(ask.length);
    ask.flags = IqFlags::new().with(IqFlags::IQESIZE, 2);
    (ask.size, ask.address) = (64.into(), RINGS[0].into());
    (ask.free_list0_size, ask.free_list0_address) = (3.into(), RINGS[1].into());
    let iq = execute(bus, &ask, &mut clock).ok()?.iq.get();
    let mut ask = EqOffloadCommand::request(Access::EXEC_WRITE, target);
    ask.length = made(ask.length);
    ask.fetch = EgressFetch::new().with(EgressFetch::IQID, iq.into());
    ask.size = EgressSize::new().with(EgressSize::EQSIZE, u32::from(DESCRIPTORS) + 1);
    ask.address = RINGS[2].into();
    Some(execute(bus, &ask, &mut clock).ok()?.eq.get(EgressId::EQID))
}
