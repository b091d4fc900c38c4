//! An egress queue from the adapter's side: work requests come out, one at a time.

use super::fault::Fault;
use t5_hal::dma::DmaMemory;
use t5_hal::queue::{DESCRIPTOR_BYTES, WORK_REQUEST_BYTES_MAX};
use t5_hal::wire::{WorkRequestFlow, WorkRequestHeader};
use zerocopy::{FromBytes, IntoBytes};

/// What an egress queue is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EgressKind {
    /// Frames.
    Ethernet(crate::switch::InterfaceNumber),
    /// Messages.
    Control,
    /// Offloaded connections.
    Offload,
}

#[derive(Debug)]
pub(super) struct EgressQueue {
    pub(super) id: u32,
    pub(super) kind: EgressKind,
    /// The ingress queue that is told how far this one was read.
    pub(super) iq: u16,
    address: u64,
    descriptors: u16,
    consumer: u16,
    /// Descriptors that the driver has rung for.
    ready: u16,
}

/// A work request, with the descriptors it took.
pub(super) struct WorkRequest {
    bytes: [u8; WORK_REQUEST_BYTES_MAX],
    length: usize,
}

impl std::ops::Deref for WorkRequest {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl EgressQueue {
    /// A queue of `size` descriptors, the status page included.
    pub(super) fn new(id: u32, kind: EgressKind, iq: u16, address: u64, size: u16) -> Self {
        Self { id, kind, iq, address, descriptors: size - 1, consumer: 0, ready: 0 }
    }

    pub(super) fn handle_doorbell(&mut self, descriptors: u16) -> Result<(), Fault> {
        if u32::from(self.ready) + u32::from(descriptors) >= u32::from(self.descriptors) {
            return Err(Fault::EgressOverflow { queue: self.id });
        }
        self.ready += descriptors;
        Ok(())
    }

    pub(super) const fn has_work(&self) -> bool {
        self.ready > 0
    }

    pub(super) const fn consumer(&self) -> u16 {
        self.consumer
    }

    pub(super) const fn producer(&self) -> u16 {
        (self.consumer + self.ready) % self.descriptors
    }

    /// The next work request. If what is there is none, all that the driver has rung for is dropped.
    pub(super) fn fetch(&mut self, memory: &DmaMemory) -> Result<Option<WorkRequest>, Fault> {
        if self.ready == 0 {
            return Ok(None);
        }
        let request = self.read(memory);
        if request.is_err() {
            self.consumer = self.producer();
            self.ready = 0;
        }
        request.map(Some)
    }

    fn read(&mut self, memory: &DmaMemory) -> Result<WorkRequest, Fault> {
        let mut request = WorkRequest { bytes: [0; WORK_REQUEST_BYTES_MAX], length: 0 };
        let at = self.descriptor(self.consumer);
        memory.read(at, &mut request.bytes[..DESCRIPTOR_BYTES])?;
        let (header, _) = WorkRequestHeader::read_from_prefix(&request.bytes).expect("a descriptor has a header");
        let length = header.flow.get(WorkRequestFlow::LEN16) as usize * 16;
        let count = length.div_ceil(DESCRIPTOR_BYTES);
        if !(16..=WORK_REQUEST_BYTES_MAX).contains(&length) || count > usize::from(self.ready) {
            return Err(self.malformed(header));
        }
        let until_end = usize::from(self.descriptors - self.consumer) * DESCRIPTOR_BYTES;
        let (first, wrapped) = request.bytes[..length].split_at_mut(length.min(until_end));
        memory.read(at, first)?;
        memory.read(self.address, wrapped)?;
        request.length = length;
        self.consumer = (self.consumer + count as u16) % self.descriptors;
        self.ready -= count as u16;
        Ok(request)
    }

    /// Writes how far it was read into the status page behind the ring.
    pub(super) fn write_status(&self, memory: &DmaMemory) -> Result<(), Fault> {
        let mut status = [0; 8];
        status[..4].copy_from_slice(&self.id.to_be_bytes());
        status[4..6].copy_from_slice(&self.consumer.to_be_bytes());
        status[6..].copy_from_slice(&self.producer().to_be_bytes());
        Ok(memory.store(self.descriptor(self.descriptors), status)?)
    }

    /// Where a descriptor stands. The driver may have named any address: one that wraps around is outside its memory, or harmless.
    const fn descriptor(&self, index: u16) -> u64 {
        self.address.wrapping_add(index as u64 * DESCRIPTOR_BYTES as u64)
    }

    /// The fault of a work request that could not be read or done.
    pub(super) fn malformed(&self, header: WorkRequestHeader) -> Fault {
        Fault::WorkRequest { queue: self.id, word: header.op.value() }
    }
}

/// The structure at the beginning of a work request.
pub(super) fn header(request: &[u8]) -> WorkRequestHeader {
    WorkRequestHeader::read_from_prefix(request).map_or_else(|_| WorkRequestHeader::default(), |(header, _)| header)
}

/// The bytes of a message and nothing behind it.
pub(super) fn alone<T: IntoBytes + zerocopy::Immutable>(message: &T) -> [&[u8]; 2] {
    [message.as_bytes(), &[]]
}
