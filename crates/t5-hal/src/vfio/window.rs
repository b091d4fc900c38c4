//! A BAR of a function in our address space.

#![allow(unsafe_code, reason = "registers of a device are memory that is mapped")]

use crate::mapping::Mapping;
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

/// A BAR, as 32-bit registers with their lowest byte first.
///
/// All accesses are single volatile ones of 32 bits, which a device takes in any order from any number of threads; no reference to the
/// registers is ever made.
#[derive(Debug)]
pub(super) struct Window(Mapping);

impl Window {
    /// Maps `bytes` at `offset` of the device's file.
    pub(super) fn map(device: BorrowedFd<'_>, offset: u64, bytes: usize) -> io::Result<Self> {
        Mapping::of_file(device, offset, bytes).map(Self)
    }

    /// Where a register is, if it is inside and at a multiple of four.
    fn register(&self, offset: u32) -> Option<NonNull<u32>> {
        let offset = offset as usize;
        let is_inside = offset.is_multiple_of(4) && offset.checked_add(4).is_some_and(|end| end <= self.0.bytes());
        // SAFETY: the offset and the four bytes behind it are inside the mapping, which is one object.
        is_inside.then(|| unsafe { self.0.base().byte_add(offset).cast() })
    }

    /// Reads a register. Where there is none, all bits are set, as of a device that does not answer.
    pub(super) fn read(&self, offset: u32) -> u32 {
        // SAFETY: the place is inside the mapping and aligned, as pages are and `register` says of the offset; `self` keeps it mapped.
        self.register(offset).map_or(u32::MAX, |place| u32::from_le(unsafe { place.read_volatile() }))
    }

    /// Writes a register, if there is one.
    pub(super) fn write(&self, offset: u32, value: u32) {
        if let Some(place) = self.register(offset) {
            // SAFETY: as in `read`. What a write makes the device do to our memory is bounded by the IOMMU to what was mapped for it.
            unsafe { place.write_volatile(value.to_le()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, Write};
    use std::os::fd::AsFd;

    #[test]
    fn registers_have_their_lowest_byte_first_and_nothing_is_outside() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[0; 8192]).unwrap();
        let window = Window::map(file.as_fd(), 4096, 4096).unwrap();
        window.write(8, 0x0102_0304);
        window.write(4092, 7);
        for outside in [4096, 9, 4094, u32::MAX] {
            window.write(outside, 1);
            assert_eq!(window.read(outside), u32::MAX);
        }
        assert_eq!((window.read(8), window.read(12), window.read(4092)), (0x0102_0304, 0, 7));
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes[4096 + 8..][..4], [4, 3, 2, 1]);
        assert_eq!(bytes.iter().filter(|&&byte| byte != 0).count(), 5);
        drop(window);
    }
}
