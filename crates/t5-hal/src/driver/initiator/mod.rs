//! The driver of the initiator in the firmware (FOiSCSI): nodes, sessions and SCSI commands as work requests.
//!
//! ```text
//!   set_address, add_node, set_chap, log_in ──┐                        ┌─ data queue ──> adapter, which does TCP and iSCSI
//!   read, write, command, abort, log_out ─────┼── FirmwareInitiator ───┤
//!   InitiatorEvent <── poll_event <───────────┘                        └─ ingress queue <── FW6_MSG
//! ```
//!
//! It has a function of the adapter to itself, and belongs to one thread. What was asked for has a [`RequestId`], by which its
//! end is told once, whatever the adapter says. Data of a read is lent where the adapter has put it.

mod end;
mod request;

pub use end::{Completion, InitiatorEvent};
pub use request::{AuthenticationWanted, ScsiRequest, SessionRequest};

use super::bring_up::{Adapter, bring_up};
use super::{DriverConfig, DriverError, Queues};
use crate::bus::Bus;
use crate::dma::{Block, Heap, Mapping};
use crate::wire::*;
use slab::Slab;
use std::collections::VecDeque;
use std::time::Instant;

/// Longest data of a SCSI command, in bytes.
pub const TRANSFER_BYTES_MAX: u32 = 1 << 20;
/// Bytes for a response with its sense data.
const RESPONSE_BYTES: usize = 512;
/// Lent blocks that are looked at before another is wanted.
const LOOKED_AT: usize = 4;

/// What was asked for. No other request of the driver has the same; that of the default is none's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RequestId(u64);

impl RequestId {
    /// Its place among the requests whose end was not told: small, and another's once its end was told.
    #[must_use]
    pub const fn slot(self) -> usize {
        self.0 as u32 as usize
    }
}

/// A request whose end was not told.
#[derive(Debug)]
struct Pending {
    generation: u32,
    what: What,
}

#[derive(Debug)]
enum What {
    /// Something that ends with its reply: an address, a node, a secret.
    Setting,
    /// A session, from the request for it to its end; by which flow its device is reached, and the session's number.
    Session {
        flow: Option<u32>,
        number: Option<u32>,
        device: Option<Box<RemoteDevice>>,
    },
    /// The end of that session.
    LogOut(RequestId),
    Command(InFlight),
    Abort(RequestId),
}

/// Memory of a SCSI command.
#[derive(Debug)]
struct InFlight {
    read_bytes: u32,
    data: Option<Block>,
    /// Payload that the adapter reads where it is.
    _payload: Option<Mapping>,
    response: Block,
}

/// The driver of a function whose firmware is an initiator.
#[derive(Debug)]
pub struct FirmwareInitiator<B> {
    bus: B,
    adapter: Adapter,
    queues: Queues,
    /// Blocks that are only read and written.
    send_heap: Heap,
    /// Blocks that can be frozen.
    place_heap: Heap,
    /// Blocks whose data is lent, or that the adapter may still be reading.
    lent: VecDeque<Block>,
    pending: Slab<Pending>,
    generation: u32,
    events: VecDeque<InitiatorEvent>,
    failure: Option<DriverError>,
}

impl<B: Bus> FirmwareInitiator<B> {
    /// Brings up a function that is reached by `bus`. `clock` is asked while the firmware works.
    ///
    /// # Errors
    /// The adapter, its firmware, or the memory are not fit for it.
    pub fn bring_up(bus: B, config: &DriverConfig, clock: &mut dyn FnMut() -> Instant) -> Result<Self, DriverError> {
        let memory = bus.memory();
        let mut send_heap = Heap::new(memory.base()..memory.buffers());
        let place_heap = Heap::new(memory.buffers()..memory.end());
        let (adapter, queues) = bring_up(&bus, &mut send_heap, config, ViFunction::Foiscsi, clock)?;
        Ok(Self {
            bus,
            adapter,
            queues,
            send_heap,
            place_heap,
            lent: VecDeque::new(),
            pending: Slab::new(),
            generation: 0,
            events: VecDeque::new(),
            failure: None,
        })
    }

    /// The bus.
    #[must_use]
    pub fn bus(&self) -> &B {
        &self.bus
    }

    /// What the adapter has told.
    #[must_use]
    pub fn adapter(&self) -> &Adapter {
        &self.adapter
    }

    /// Why the driver can go on no more, if it cannot.
    #[must_use]
    pub fn failure(&self) -> Option<&DriverError> {
        self.failure.as_ref()
    }

    /// Requests whose end was not told; a session is one until it has ended.
    #[must_use]
    pub fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// The next thing that has happened.
    pub fn poll_event(&mut self) -> Option<InitiatorEvent> {
        self.events.pop_front()
    }

    /// Asks for an interrupt once something comes; call [`poll`](Self::poll) once more before sleeping on it.
    pub fn arm(&mut self) {
        self.queues.incoming.iter_mut().for_each(|incoming| incoming.queue.report(&self.bus, true));
    }

    /// Remembers a request, and gives its name.
    fn begin(&mut self, what: What) -> RequestId {
        self.generation = self.generation.wrapping_add(1);
        let index = self.pending.insert(Pending { generation: self.generation, what });
        RequestId(u64::from(self.generation) << 32 | index as u64)
    }

    /// What a name stands for, if its end was not told.
    fn find(&mut self, id: RequestId) -> Option<&mut What> {
        let pending = self.pending.get_mut(id.slot())?;
        (u64::from(pending.generation) == id.0 >> 32).then_some(&mut pending.what)
    }

    /// The same, and forgets it.
    fn take(&mut self, id: RequestId) -> Option<What> {
        self.find(id)?;
        Some(self.pending.remove(id.slot()).what)
    }

    /// Whether a work request of that length finds room.
    fn check_room(&self, bytes: usize) -> Result<(), DriverError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if self.queues.data.room_bytes() < bytes {
            return Err(DriverError::Exhausted("room in the queue"));
        }
        Ok(())
    }

    fn push(&mut self, parts: &[&[u8]]) {
        self.queues.data.push(&self.bus, parts);
        self.queues.data.ring(&self.bus);
    }

    /// A block of that size, once what is not lent any more has come back.
    fn allocate_place(&mut self, bytes: usize) -> Option<Block> {
        // A few of the oldest each time, so that what is used again is still in the processor's cache.
        self.take_back(LOOKED_AT);
        self.place_heap.allocate(bytes).or_else(|| {
            self.take_back(self.lent.len());
            self.place_heap.allocate(bytes)
        })
    }

    /// Frees those of so many of the oldest blocks whose data is not lent any more.
    fn take_back(&mut self, most: usize) {
        for _ in 0..most.min(self.lent.len()) {
            let block = self.lent.pop_front().expect("as many as there are");
            if self.bus.memory().is_frozen(block.address(), block.bytes()) {
                self.lent.push_back(block);
            } else {
                self.place_heap.free(block);
            }
        }
    }
}
