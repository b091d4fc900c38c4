//! Memory that is mapped: pages of our own, or what a device has.

#![allow(unsafe_code, reason = "mappings are made and ended by the kernel")]

use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use std::ffi::c_void;
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

#[cfg(not(target_arch = "x86_64"))]
compile_error!("the feature `vfio` is for x86-64: its fences order memory and registers there and nowhere else");

/// A mapping that is read and written, from the beginning of a page on, until this is dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<c_void>,
    bytes: usize,
}

// SAFETY: the mapping belongs to the process and not to a thread, and ends only with its owner.
unsafe impl Send for Mapping {}
// SAFETY: what `&self` gives are numbers and a pointer, whose use has proofs of its own.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// New pages, zeros at first.
    pub(crate) fn of_pages(bytes: usize, flags: MapFlags) -> io::Result<Self> {
        // SAFETY: the kernel chooses a place where nothing is, so that no memory of ours changes; nobody else learns of it.
        let base =
            unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, Self::protection(), MapFlags::PRIVATE | flags) }?;
        Self::at(base, bytes)
    }

    /// `bytes` of a file, or of a device, from `offset` on.
    pub(crate) fn of_file(file: BorrowedFd<'_>, offset: u64, bytes: usize) -> io::Result<Self> {
        // SAFETY: as in `of_pages`.
        let base = unsafe { mmap(std::ptr::null_mut(), bytes, Self::protection(), MapFlags::SHARED, file, offset) }?;
        Self::at(base, bytes)
    }

    fn protection() -> ProtFlags {
        ProtFlags::READ | ProtFlags::WRITE
    }

    fn at(base: *mut c_void, bytes: usize) -> io::Result<Self> {
        let base = NonNull::new(base).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { base, bytes })
    }

    /// Where it begins.
    pub(crate) fn base(&self) -> NonNull<c_void> {
        self.base
    }

    /// How long it is, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped with that length, and whatever points into it borrows its owner, which ends.
        let unmapped = unsafe { munmap(self.base.as_ptr(), self.bytes) };
        debug_assert!(unmapped.is_ok(), "a mapping of ours can be ended");
    }
}
