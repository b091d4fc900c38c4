//! [`Bus`]: how a driver reaches one function of an adapter, be it hardware or a program.

use crate::dma::DmaMemory;
use core::task::Waker;
use std::sync::Arc;

/// One function of an adapter, as its driver sees it. Whoever stands behind it is the adapter.
///
/// ```text
///   driver ── write_register, write_doorbell, write_descriptor ──> adapter
///   driver <──────────── read_register, the waker ──────────────── adapter
///   driver <──────────── memory(), at any time ───────────────────> adapter
/// ```
///
/// Whatever the driver has written to the memory before it rings a doorbell, the adapter sees once it was rung. No method blocks.
pub trait Bus {
    /// Reads a register of BAR 0.
    fn read_register(&self, offset: u32) -> u32;

    /// Writes a register of BAR 0. What nobody has at that offset is ignored.
    fn write_register(&self, offset: u32, value: u32);

    /// Writes a word of BAR 2: a user doorbell (see [`UserDoorbell`](crate::registers::UserDoorbell)).
    fn write_doorbell(&self, offset: u32, value: u32);

    /// Writes one descriptor to a queue's window of BAR 2, which rings for it as well.
    fn write_descriptor(&self, offset: u32, descriptor: &[u8; 64]);

    /// The memory that both sides reach.
    fn memory(&self) -> &Arc<DmaMemory>;

    /// Whether the function is a virtual one, whose BAR 0 has a mailbox, doorbells and its number, and nothing else.
    fn is_virtual(&self) -> bool {
        false
    }

    /// Who is woken by the interrupt of that vector, each time, until another takes its place. An interrupt from before may
    /// wake it at once; a driver that polls needs none.
    fn set_waker(&self, vector: u16, waker: Waker);

    /// Lets an adapter that has no thread of its own come forward. Hardware needs no such thing.
    fn poll(&self) {}
}

impl<B: Bus + ?Sized> Bus for Arc<B> {
    fn read_register(&self, offset: u32) -> u32 {
        (**self).read_register(offset)
    }

    fn write_register(&self, offset: u32, value: u32) {
        (**self).write_register(offset, value);
    }

    fn write_doorbell(&self, offset: u32, value: u32) {
        (**self).write_doorbell(offset, value);
    }

    fn write_descriptor(&self, offset: u32, descriptor: &[u8; 64]) {
        (**self).write_descriptor(offset, descriptor);
    }

    fn memory(&self) -> &Arc<DmaMemory> {
        (**self).memory()
    }

    fn is_virtual(&self) -> bool {
        (**self).is_virtual()
    }

    fn set_waker(&self, vector: u16, waker: Waker) {
        (**self).set_waker(vector, waker);
    }

    fn poll(&self) {
        (**self).poll();
    }
}
