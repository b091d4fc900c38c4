//! Memory that a driver and its adapter reach at the same time.
//!
//! ```text
//!   base                 buffers                     end                 addresses on the bus
//!   | rings: words only  | buffers: can be frozen    |   ...   | mapped |
//! ```
//!
//! Every access is made of atomic words, so that no side can break the other's program, whatever it writes and when. A part of the
//! buffers can be *frozen*: as long as it is, it is a slice that nobody writes, and is handed on without a copy. Who tries to
//! write there is refused. The other way round, payload that is elsewhere in the computer can be *mapped*: as long as it is, the adapter reads it at
//! an address of its own.

mod frozen;
mod heap;
mod leases;
mod mapped;
mod moves;
#[cfg(feature = "vfio")]
mod pages;
#[cfg(test)]
mod tests;
mod words;

pub use frozen::GRANULE_BYTES;
pub use heap::{BLOCK_BYTES_MAX, Block, Heap};
pub use mapped::Mapping;
#[cfg(feature = "vfio")]
pub use pages::Pages;

use bytes::BytesMut;
use leases::Leases;
use mapped::{FIRST_ADDRESS, Slots};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use zerocopy::FromZeros;

/// An address or a length that the memory does not have, or a write to what is frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DmaFault {
    /// Some of it is outside.
    #[error("{length} bytes at {address:#x} are not all inside the memory, {base:#x} to {end:#x}")]
    Outside {
        /// The address on the bus.
        address: u64,
        /// Number of bytes.
        length: u64,
        /// First address of the memory.
        base: u64,
        /// First address behind it.
        end: u64,
    },
    /// It is no multiple of eight.
    #[error("{address:#x} is no multiple of eight: a word was asked for")]
    Unaligned {
        /// The address on the bus.
        address: u64,
    },
    /// Some of it is frozen: it was handed on, and nobody writes there.
    #[error("{length} bytes at {address:#x} are not written: some are in use by the computer")]
    Frozen {
        /// The address on the bus.
        address: u64,
        /// Number of bytes.
        length: u64,
    },
}

/// Where the words are.
#[derive(Debug)]
enum Words {
    /// In this program alone, which keeps to what is frozen.
    Heap(Box<[AtomicU64]>),
    /// Where a device reaches them as well, which asks nobody.
    #[cfg(feature = "vfio")]
    Pages(Pages),
}

impl Deref for Words {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        match self {
            Self::Heap(words) => words,
            #[cfg(feature = "vfio")]
            Self::Pages(pages) => pages,
        }
    }
}

/// The memory of one function: zeros at first.
///
/// ```
/// use std::sync::Arc;
/// use t5_hal::dma::{DmaFault, DmaMemory};
///
/// let memory = Arc::new(DmaMemory::new(0x10000, 4096, 4096));
/// memory.write(0x11000, b"payload")?;
/// let payload = memory.freeze(0x11000, 7).unwrap();
/// assert_eq!(payload, "payload");
/// assert!(matches!(memory.write(0x11000, b"another"), Err(DmaFault::Frozen { .. })));
/// drop(payload);
/// memory.write(0x11000, b"another")?;
/// # Ok::<(), DmaFault>(())
/// ```
#[derive(Debug)]
pub struct DmaMemory {
    words: Words,
    base: u64,
    /// First byte that can be frozen, counted from the base.
    buffers_at: usize,
    leases: Leases,
    mapped: Slots,
}

impl DmaMemory {
    /// Memory at `base` on the bus: `ring_bytes` for rings, and behind them `buffer_bytes` for buffers.
    ///
    /// # Panics
    /// If one of them is no multiple of 4096, or the end is no address: bugs of the caller.
    #[must_use]
    pub fn new(base: u64, ring_bytes: usize, buffer_bytes: usize) -> Self {
        let bytes = ring_bytes.checked_add(buffer_bytes).expect("memory has an end");
        assert!(
            base.is_multiple_of(4096) && ring_bytes.is_multiple_of(4096) && buffer_bytes.is_multiple_of(4096),
            "memory is made of pages"
        );
        assert!(
            base.checked_add(bytes as u64).is_some_and(|end| end <= FIRST_ADDRESS),
            "the end is an address, and none of what is mapped"
        );
        let words =
            <[AtomicU64]>::new_box_zeroed_with_elems(bytes / 8).expect("there is memory for what is configured");
        let leases = Leases::new(buffer_bytes / GRANULE_BYTES);
        Self { words: Words::Heap(words), base, buffers_at: ring_bytes, leases, mapped: Slots::new() }
    }

    /// Memory at `base` on the bus that a device reaches by itself: half of it for rings, half for buffers. None of it can be frozen, as a
    /// device cannot be refused.
    ///
    /// # Panics
    /// If the base is no multiple of 4096, or the end is no address: bugs of the caller.
    #[cfg(feature = "vfio")]
    #[must_use]
    pub fn of_pages(base: u64, pages: Pages) -> Self {
        let bytes = pages.bytes();
        assert!(base.is_multiple_of(4096) && base.checked_add(bytes as u64).is_some(), "memory is made of pages");
        Self { words: Words::Pages(pages), base, buffers_at: bytes / 2, leases: Leases::new(0), mapped: Slots::none() }
    }

    /// How long it is, in bytes.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "memory is never empty")]
    pub fn len(&self) -> usize {
        self.words.len() * 8
    }

    /// First address.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base
    }

    /// First address of the buffers.
    #[must_use]
    pub fn buffers(&self) -> u64 {
        self.base + self.buffers_at as u64
    }

    /// First address behind the memory.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.base + self.words.len() as u64 * 8
    }

    /// Copies out of the memory, or of what is [mapped](Self::map).
    ///
    /// # Errors
    /// Some of it is outside: nothing was copied.
    pub fn read(&self, address: u64, out: &mut [u8]) -> Result<(), DmaFault> {
        match self.offset(address, out.len()) {
            Ok(at) => words::read(&self.words, at, out),
            Err(outside) => out.copy_from_slice(&self.mapped(address, out.len()).ok_or(outside)?),
        }
        Ok(())
    }

    /// Copies that many bytes out of the memory, behind what is in `out` already.
    ///
    /// # Errors
    /// Some of it is outside: nothing was copied.
    pub fn append(&self, address: u64, length: usize, out: &mut BytesMut) -> Result<(), DmaFault> {
        words::append(&self.words, self.offset(address, length)?, length, out);
        Ok(())
    }

    /// Copies into the memory.
    ///
    /// # Errors
    /// Some of it is outside or frozen: nothing was copied.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), DmaFault> {
        let at = self.offset(address, bytes.len())?;
        self.while_writing(at, bytes.len(), || words::write(&self.words, at, bytes))
    }

    /// Copies those parts into the memory, one behind the other.
    ///
    /// # Errors
    /// Some of it is outside or frozen: nothing was copied.
    pub fn write_parts(&self, address: u64, parts: &[&[u8]]) -> Result<(), DmaFault> {
        let length = parts.iter().map(|part| part.len()).sum();
        let mut at = self.offset(address, length)?;
        self.while_writing(at, length, || {
            for part in parts {
                words::write(&self.words, at, part);
                at += part.len();
            }
        })
    }

    /// Reads eight bytes at a multiple of eight; whatever was written before they were is seen from then on.
    ///
    /// # Errors
    /// The address is outside or no multiple of eight.
    pub fn load(&self, address: u64) -> Result<[u8; 8], DmaFault> {
        Ok(self.words[self.word(address)?].load(Ordering::Acquire).to_ne_bytes())
    }

    /// Writes eight bytes at a multiple of eight; whoever [loads](Self::load) them sees all that was written before.
    ///
    /// # Errors
    /// The address is outside, no multiple of eight, or frozen.
    pub fn store(&self, address: u64, bytes: [u8; 8]) -> Result<(), DmaFault> {
        let word = self.word(address)?;
        let store = || self.words[word].store(u64::from_ne_bytes(bytes), Ordering::Release);
        self.while_writing(word * 8, 8, store)
    }

    fn word(&self, address: u64) -> Result<usize, DmaFault> {
        let at = self.offset(address, 8)?;
        if at.is_multiple_of(8) { Ok(at / 8) } else { Err(DmaFault::Unaligned { address }) }
    }

    /// How far behind the base that is.
    fn offset(&self, address: u64, length: usize) -> Result<usize, DmaFault> {
        let (bytes, length) = (self.words.len() as u64 * 8, length as u64);
        match address.checked_sub(self.base) {
            Some(at) if at <= bytes && length <= bytes - at => Ok(at as usize),
            _ => Err(DmaFault::Outside { address, length, base: self.base, end: self.end() }),
        }
    }

    /// Does something that writes there, unless some of it is frozen.
    fn while_writing(&self, at: usize, length: usize, write: impl FnOnce()) -> Result<(), DmaFault> {
        let Some(granules) = self.granules(at, length) else {
            write();
            return Ok(());
        };
        if !self.leases.begin_write(granules.clone()) {
            return Err(DmaFault::Frozen { address: self.base + at as u64, length: length as u64 });
        }
        write();
        self.leases.end_write(granules);
        Ok(())
    }
}
