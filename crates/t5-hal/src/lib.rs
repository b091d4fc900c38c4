//! The Chelsio T5 adapter, which does TCP and iSCSI in hardware: its wire formats, and how a driver reaches it.
//!
//! ```text
//!   session ── Frame ──> T5Port ──┐
//!                                 ├─ Driver ── queues, wire ── Bus ──> adapter
//!   session ── Frame ──> SoftwarePort ── T5Stream ──┘
//!   SCSI commands ──> driver::initiator ── queues, wire ── Bus ──> the initiator in the adapter's firmware
//! ```
//!
//! A driver is that of a physical or of a virtual function, as [`Bus::is_virtual`] says: a virtual one has fewer registers, greets nobody, and first looks at
//! what it may have.
//!
//! No adapter has been used for it: `docs/t5-assumptions.md` lists what is assumed.
//!
//! Guarantees:
//!
//! - Sizes, offsets, and that bit fields do not overlap, are checked when this is compiled.
//! - No decoder panics, or does more than its input is long.
//! - No address that one side of a [`Bus`] gives makes the other touch anything but their common memory, and payload that was
//!   [frozen](dma::DmaMemory::freeze) does not change.
//! - Trouble with one connection ends that connection, whatever the adapter says; a place for payload never leaks.
//!
//! ```
//! use t5_hal::wire::{Reply, DdpVerdict, ReplyOpcode, RxIscsiDdp};
//! use zerocopy::IntoBytes;
//!
//! let verdict = DdpVerdict::new().with_bit(DdpVerdict::PLACED, true);
//! let sent = RxIscsiDdp { opcode_tid: ReplyOpcode::RxIscsiDdp.of(0x345), verdict, ..RxIscsiDdp::default() };
//! let (reply, rest) = Reply::decode(sent.as_bytes()).unwrap();
//! assert_eq!(reply, Reply::RxIscsiDdp(sent));
//! assert!(rest.is_empty());
//! ```

#![deny(unsafe_code)]

mod bus;
pub mod dma;
pub mod driver;
#[cfg(feature = "vfio")]
mod mapping;
mod port;
pub mod queue;
pub mod registers;
#[cfg(feature = "vfio")]
pub mod vfio;
pub mod wire;

pub use bus::Bus;
pub use port::{Connection, SharedDriver, T5Port, T5Stream};
