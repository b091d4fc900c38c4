//! An ingress queue with its free list, from the adapter's side: messages go in as far as there is room.

use super::fault::Fault;
use std::time::Duration;
use t5_hal::dma::{DmaFault, DmaMemory};
use t5_hal::queue::{FREE_LIST_ALIGNMENT, FREE_LIST_UNIT};
use t5_hal::wire::{
    EntryKind, EntryType, FreeListLength, INGRESS_ENTRY_BYTES, IngressDoorbell, IngressEntry, ReplyOpcode, RssHeader,
    RxPkt, TIMER_UPDATE_ONLY,
};
use zerocopy::IntoBytes;

/// Lengths of buffers that the low bits of a free list's entry mean.
pub(super) const BUFFER_BYTES: [u32; 16] = [4096, 65536, 1536, 9024, 9216, 2048, 128, 8192, 16384, 0, 0, 0, 0, 0, 0, 0];
/// Hold-off of the timers 0 to 5.
const HOLD_OFFS: [Duration; 6] = [
    Duration::from_micros(5),
    Duration::from_micros(10),
    Duration::from_micros(20),
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(200),
];
/// How many messages end the hold-off at once, by the index that the queue was made with.
const THRESHOLDS: [u32; 4] = [1, 4, 8, 16];
/// Bytes of a message that stand in the entry itself.
const INLINE_BYTES: usize = 40;
/// Messages that may wait for room in a queue; more are lost.
const BACKLOG_MAX: usize = 4096;

/// How an ingress queue was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct IngressSetup {
    pub(super) id: u16,
    pub(super) address: u64,
    pub(super) entries: u16,
    pub(super) vector: u16,
    pub(super) threshold: u16,
    pub(super) free_list: Option<FreeListSetup>,
}

/// How a free list was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct FreeListSetup {
    pub(super) id: u32,
    pub(super) address: u64,
    pub(super) buffers: u32,
}

#[derive(Debug)]
pub(super) struct IngressQueue {
    setup: IngressSetup,
    producer: u16,
    generation: bool,
    /// Entries that the driver has not read, as far as it has told.
    used: u16,
    list: FreeList,
    backlog: std::collections::VecDeque<Message>,
    armed: Option<Armed>,
}

/// An interrupt is wanted.
#[derive(Clone, Copy, Debug)]
struct Armed {
    hold_off: Duration,
    messages: u32,
    due: Option<Duration>,
}

struct Message {
    bytes: Box<[u8]>,
    in_buffer: bool,
}

impl std::fmt::Debug for Message {
    /// Its length alone: what is in it is somebody's data.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} bytes", self.bytes.len())
    }
}

#[derive(Debug, Default)]
struct FreeList {
    setup: Option<FreeListSetup>,
    /// Buffers that the driver has given and that were not begun.
    available: u32,
    next: u32,
    current: Option<Buffer>,
}

#[derive(Clone, Copy, Debug)]
struct Buffer {
    address: u64,
    bytes: u32,
    filled: u32,
}

impl FreeList {
    /// Takes the driver's buffers.
    fn give(&mut self, units: u32) {
        let Some(setup) = self.setup else { return };
        self.available = (self.available + units * FREE_LIST_UNIT as u32).min(setup.buffers);
    }

    /// Where a message goes, and whether it begins a buffer. Nothing if there is no buffer for it.
    fn take(&mut self, memory: &DmaMemory, length: u32) -> Result<Option<(u64, bool)>, Fault> {
        if let Some(current) = self.current.as_mut().filter(|current| current.bytes - current.filled >= length) {
            let at = current.address.wrapping_add(current.filled.into());
            current.filled = (current.filled + length).next_multiple_of(FREE_LIST_ALIGNMENT).min(current.bytes);
            return Ok(Some((at, false)));
        }
        let Some(next) = self.peek(memory)? else { return Ok(None) };
        let setup = self.setup.expect("there is a buffer, so there is a list");
        if next.bytes < length {
            return Err(Fault::SmallBuffer { queue: setup.id, length });
        }
        self.available -= 1;
        self.next = (self.next + 1) % setup.buffers;
        let filled = length.next_multiple_of(FREE_LIST_ALIGNMENT).min(next.bytes);
        self.current = Some(Buffer { filled, ..next });
        Ok(Some((next.address, true)))
    }

    /// The next buffer, if the driver has given one.
    fn peek(&self, memory: &DmaMemory) -> Result<Option<Buffer>, DmaFault> {
        let Some(setup) = self.setup.filter(|_| self.available > 0) else { return Ok(None) };
        let entry = u64::from_be_bytes(memory.load(setup.address.wrapping_add(u64::from(self.next) * 8))?);
        let bytes = BUFFER_BYTES[(entry & 0xf) as usize];
        Ok(Some(Buffer { address: entry & !0xf, bytes, filled: 0 }))
    }
}

impl IngressQueue {
    pub(super) fn new(setup: IngressSetup) -> Self {
        Self {
            setup,
            producer: 0,
            generation: true,
            used: 0,
            list: FreeList { setup: setup.free_list, ..FreeList::default() },
            backlog: std::collections::VecDeque::new(),
            armed: None,
        }
    }

    pub(super) const fn vector(&self) -> u16 {
        self.setup.vector
    }

    pub(super) fn free_list_id(&self) -> Option<u32> {
        self.setup.free_list.map(|list| list.id)
    }

    /// The driver has given buffers.
    pub(super) fn handle_buffers(&mut self, units: u32) {
        self.list.give(units);
    }

    /// The driver has read entries, and may want an interrupt.
    pub(super) fn handle_doorbell(&mut self, word: IngressDoorbell, now: Duration) {
        let read = word.get(IngressDoorbell::CIDXINC) as u16;
        self.used = self.used.saturating_sub(read);
        let timer = word.get(IngressDoorbell::TIMERREG);
        if word.is_set(IngressDoorbell::SEINTARM) && timer != TIMER_UPDATE_ONLY {
            let hold_off = HOLD_OFFS.get(timer as usize).copied().unwrap_or_default();
            // What waits already counts as well.
            let at_once = u32::from(self.used) >= THRESHOLDS[usize::from(self.setup.threshold & 3)];
            let due = (self.used > 0).then(|| if at_once { now } else { now + hold_off });
            self.armed = Some(Armed { hold_off, messages: 0, due });
        }
    }

    /// Whether the next PDU, as large as it may be, finds room.
    pub(super) fn has_room(&self) -> bool {
        self.backlog.is_empty() && self.free_entries() >= 16 && self.list.available >= 6
    }

    /// The most bytes that one message can have in a buffer.
    pub(super) fn buffer_bytes(&self, memory: &DmaMemory) -> Result<u32, DmaFault> {
        Ok(self.list.peek(memory)?.map_or(0, |buffer| buffer.bytes))
    }

    /// Whether a message of that length finds room and a buffer that is long enough.
    pub(super) fn takes(&self, memory: &DmaMemory, length: usize) -> bool {
        self.has_room() && self.buffer_bytes(memory).is_ok_and(|bytes| bytes as usize >= length)
    }

    fn free_entries(&self) -> u16 {
        self.setup.entries - 1 - self.used.min(self.setup.entries - 1)
    }

    /// Sends a message that may wait for room.
    pub(super) fn send(
        &mut self,
        memory: &DmaMemory,
        parts: [&[u8]; 2],
        in_buffer: bool,
        now: Duration,
    ) -> Result<(), Fault> {
        let length = parts[0].len() + parts[1].len();
        let in_buffer = in_buffer || length > INLINE_BYTES;
        if self.backlog.is_empty() && self.put(memory, parts, in_buffer, now)? {
            return Ok(());
        }
        if self.backlog.len() >= BACKLOG_MAX {
            return Err(Fault::IngressOverflow { queue: self.setup.id });
        }
        self.backlog.push_back(Message { bytes: parts.concat().into(), in_buffer });
        Ok(())
    }

    /// Puts what waits into the queue, as far as there is room now.
    pub(super) fn flush(&mut self, memory: &DmaMemory, now: Duration) -> Result<(), Fault> {
        while let Some(message) = self.backlog.pop_front() {
            if !self.put(memory, [&message.bytes, &[]], message.in_buffer, now)? {
                self.backlog.push_front(message);
                break;
            }
        }
        Ok(())
    }

    /// Puts one message into the queue; false if there is no room now. One that is too long for the next buffer is lost.
    fn put(
        &mut self,
        memory: &DmaMemory,
        [message, payload]: [&[u8]; 2],
        in_buffer: bool,
        now: Duration,
    ) -> Result<bool, Fault> {
        if self.free_entries() == 0 {
            return Ok(false);
        }
        let header = RssHeader { opcode: message[0], queue: self.setup.id.into(), ..RssHeader::default() };
        let mut entry = IngressEntry { header, ..IngressEntry::default() };
        let mut kind = EntryKind::Cpl;
        if in_buffer {
            // Of a frame the message stands in the entry, and the frame is moved by two bytes.
            let is_frame = message[0] == ReplyOpcode::RxPkt.to_wire();
            let (inline, behind) = message.split_at(if is_frame { size_of::<RxPkt>() } else { 0 });
            entry.message[..inline.len()].copy_from_slice(inline);
            let shift = &[0; 2][..if is_frame { 2 } else { 0 }];
            let length = shift.len() + behind.len() + payload.len();
            let Some((at, new)) = self.list.take(memory, length as u32)? else { return Ok(false) };
            memory.write_parts(at, &[shift, behind, payload])?;
            kind = EntryKind::FreeListBuffer;
            entry.length =
                FreeListLength::new().with(FreeListLength::LEN, length as u32).with_bit(FreeListLength::NEWBUF, new);
        } else {
            entry.message[..message.len()].copy_from_slice(message);
            entry.message[message.len()..message.len() + payload.len()].copy_from_slice(payload);
        }
        entry.kind = EntryType::new().with_bit(EntryType::GEN, self.generation).with(EntryType::TYPE, kind.to_wire());
        let at = self.setup.address.wrapping_add(u64::from(self.producer) * INGRESS_ENTRY_BYTES as u64);
        let (front, last) = entry.as_bytes().split_last_chunk::<8>().expect("an entry has 64 bytes");
        memory.write(at, front)?;
        memory.store(at.wrapping_add(front.len() as u64), *last)?;
        self.producer += 1;
        self.used += 1;
        if self.producer == self.setup.entries {
            (self.producer, self.generation) = (0, !self.generation);
        }
        if let Some(armed) = &mut self.armed {
            armed.messages += 1;
            let at_once = armed.messages >= THRESHOLDS[usize::from(self.setup.threshold & 3)];
            let due = if at_once { now } else { now + armed.hold_off };
            armed.due = Some(armed.due.map_or(due, |earlier| earlier.min(due)));
        }
        Ok(true)
    }

    /// Whether the interrupt is due; it is disarmed then.
    pub(super) fn take_interrupt(&mut self, now: Duration) -> bool {
        self.armed.take_if(|armed| armed.due.is_some_and(|due| due <= now)).is_some()
    }

    /// When the interrupt is due.
    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        self.armed.and_then(|armed| armed.due)
    }
}
