//! Interrupts: whom they wake, and when. They come after a hold-off, or with as many messages as the queue's threshold says.

#[path = "hostile/guest.rs"]
mod guest;

use guest::Hostile;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;
use t5_hal::Bus;
use t5_hal::registers::GTS;
use t5_hal::wire::*;
use t5_model::adapter::Adapter;

/// The first listener of PF4.
const FIRST: u32 = 4 * 496;
/// Messages that end the hold-off, by index 1.
const FOUR: u16 = 1;
/// Hold-off of timer 3.
const HOLD_OFF: u64 = 50;

#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A guest with two ingress queues, each with a vector of its own, and a clock that stands still unless it is told to go on.
struct World {
    adapter: Arc<Adapter>,
    time: Arc<AtomicU64>,
    guest: Hostile,
    queues: [u16; 2],
    woken: [Arc<Counter>; 2],
    listeners: u32,
}

impl World {
    fn new() -> Self {
        let time = Arc::new(AtomicU64::new(0));
        let clock = Arc::clone(&time);
        let adapter = Adapter::new(1, 7, Box::new(move || Duration::from_micros(clock.load(Ordering::Relaxed))));
        let guest = Hostile::new(&adapter);
        let queues = [guest.ingress_queue(36864, 5, FOUR), guest.ingress_queue(45056, 6, FOUR)];
        let woken: [Arc<Counter>; 2] = Default::default();
        for (vector, counter) in [5, 6].into_iter().zip(&woken) {
            guest.bus.set_waker(vector, Waker::from(Arc::clone(counter)));
        }
        Self { adapter, time, guest, queues, woken, listeners: 0 }
    }

    /// A message comes to a queue: the answer to a listener.
    fn tell(&mut self, queue: usize) {
        let opt1 = Opt1::new().with(Opt1::SYN_RSS_QUEUE, self.queues[queue].into());
        let number = self.listeners;
        self.listeners += 1;
        self.guest.request(PassOpenReq {
            local_port: (number as u16).into(),
            opt1,
            ..PassOpenReq::new(0, FIRST + number)
        });
        while self.adapter.poll() {}
    }

    /// The driver has read so many entries, and wants an interrupt by timer 3, or none.
    fn report(&self, queue: usize, read: u32, armed: bool) {
        let word = IngressDoorbell::new()
            .with(IngressDoorbell::INGRESSQID, self.queues[queue].into())
            .with(IngressDoorbell::TIMERREG, if armed { 3 } else { TIMER_UPDATE_ONLY })
            .with_bit(IngressDoorbell::SEINTARM, armed)
            .with(IngressDoorbell::CIDXINC, read);
        self.guest.bus.write_register(self.guest.registers() + GTS, word.value());
        while self.adapter.poll() {}
    }

    fn pass(&self, micros: u64) {
        self.time.fetch_add(micros, Ordering::Relaxed);
        while self.adapter.poll() {}
    }

    fn woken(&self) -> [usize; 2] {
        [0, 1].map(|queue| self.woken[queue].0.load(Ordering::Relaxed))
    }

    fn due(&self) -> Option<Duration> {
        self.adapter.poll_timeout()
    }
}

#[test]
fn nobody_is_woken_who_has_not_asked_for_it() {
    let mut world = World::new();
    (0..10).for_each(|_| world.tell(0));
    world.pass(1_000_000);
    assert_eq!((world.woken(), world.due()), ([0, 0], None));
}

#[test]
fn one_message_is_told_after_the_hold_off_and_once() {
    let mut world = World::new();
    world.report(0, 0, true);
    assert_eq!(world.due(), None, "nothing has come");
    world.pass(1000);
    world.tell(0);
    assert_eq!(world.due(), Some(Duration::from_micros(1000 + HOLD_OFF)));
    world.pass(HOLD_OFF / 2);
    // A second one does not put it off.
    world.tell(0);
    world.pass(HOLD_OFF / 2 - 1);
    assert_eq!(world.woken(), [0, 0]);
    world.pass(1);
    assert_eq!((world.woken(), world.due()), ([1, 0], None));
    world.tell(0);
    world.pass(1000);
    assert_eq!(world.woken(), [1, 0], "it was armed for one");
}

#[test]
fn as_many_as_the_threshold_are_told_at_once() {
    let mut world = World::new();
    world.report(0, 0, true);
    (0..3).for_each(|_| world.tell(0));
    assert_eq!(world.woken(), [0, 0]);
    world.tell(0);
    assert_eq!(world.woken(), [1, 0]);
}

#[test]
fn what_came_before_it_was_armed_counts_too() {
    let mut world = World::new();
    world.tell(0);
    world.report(0, 0, true);
    assert_eq!(world.due(), Some(Duration::from_micros(HOLD_OFF)));
    world.pass(HOLD_OFF);
    assert_eq!(world.woken(), [1, 0]);
    (0..3).for_each(|_| world.tell(0));
    world.report(0, 0, true);
    assert_eq!(world.woken(), [2, 0], "four wait");
    world.report(0, 4, true);
    world.pass(1000);
    assert_eq!(world.woken(), [2, 0], "all of it was read");
}

#[test]
fn each_queue_wakes_whom_its_vector_is_for() {
    let mut world = World::new();
    world.report(0, 0, true);
    world.report(1, 0, true);
    world.tell(1);
    world.pass(HOLD_OFF);
    assert_eq!(world.woken(), [0, 1]);
    world.tell(0);
    world.pass(HOLD_OFF);
    assert_eq!(world.woken(), [1, 1]);
}
