//! Pages of memory that a function of an adapter may reach by itself.

#![allow(unsafe_code, reason = "pages are words from when they are mapped")]

use crate::mapping::Mapping;
use rustix::mm::MapFlags;
use std::ffi::c_void;
use std::io;
use std::ops::Deref;
use std::sync::atomic::AtomicU64;

/// Bytes of a huge page.
const HUGE_BYTES: usize = 2 << 20;

/// Whole huge pages, if there are any, or as many small ones: zeros at first.
#[derive(Debug)]
pub struct Pages(Mapping);

impl Pages {
    /// At least that many bytes, in whole huge pages.
    ///
    /// # Errors
    /// The kernel has no memory.
    pub fn new(bytes: usize) -> io::Result<Self> {
        let bytes = bytes.max(1).checked_next_multiple_of(HUGE_BYTES).ok_or(io::ErrorKind::OutOfMemory)?;
        // Of 2 MiB each, whatever size the computer takes for huge pages by itself: it may be 1 GiB.
        let huge = MapFlags::HUGETLB | MapFlags::HUGE_2MB;
        Mapping::of_pages(bytes, huge).or_else(|_| Mapping::of_pages(bytes, MapFlags::empty())).map(Self)
    }

    /// How many there are, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }

    /// Where they begin.
    #[must_use]
    pub fn as_ptr(&self) -> *mut c_void {
        self.0.base().as_ptr()
    }
}

impl Deref for Pages {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is that long, aligned to a page, zeros at first, and lives as long as `self`. Words that others write meanwhile,
        // a device among them, are atomic, and any bits are a valid one.
        unsafe { std::slice::from_raw_parts(self.as_ptr().cast(), self.bytes() / size_of::<AtomicU64>()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dma::DmaMemory;
    use std::sync::Arc;

    #[test]
    fn pages_are_memory_that_cannot_be_frozen() {
        let pages = Pages::new(5000).unwrap();
        assert_eq!((pages.bytes(), pages.len() * 8), (HUGE_BYTES, HUGE_BYTES));
        assert_eq!(pages.as_ptr().addr() % 4096, 0);
        let memory = Arc::new(DmaMemory::of_pages(1 << 32, pages));
        assert_eq!((memory.base(), memory.end(), memory.len()), (1 << 32, (1 << 32) + HUGE_BYTES as u64, HUGE_BYTES));
        let last = memory.end() - 3;
        memory.write(last, b"abc").unwrap();
        let mut read = [0; 3];
        memory.read(last, &mut read).unwrap();
        assert_eq!(&read, b"abc");
        assert!(memory.write(last, b"abcd").is_err());
        assert!(memory.freeze(memory.buffers(), 3).is_none() && !memory.is_frozen(memory.buffers(), 3));
    }
}
