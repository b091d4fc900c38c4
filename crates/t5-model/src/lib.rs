//! The Chelsio T5 adapter in software: behind [`Bus`](t5_hal::Bus), below the driver.
//!
//! ```text
//!   adapter  functions, physical and virtual, registers, mailbox and firmware, queues, connections: it joins the others
//!   switch   virtual interfaces, wires and loopbacks: who gets which frame
//!   tcp      offloaded connections, over smoltcp
//!   initiator  the initiator in the firmware: sessions and SCSI commands, over iscsi-session
//!   iscsi    PDUs in the stream: framing, digests, placement by page pods
//!   wire     what a port is attached to: another adapter, over a cable that may be bad
//!   runner   an adapter that runs by itself
//!   tap      a port of such an adapter attached to a TAP device of Linux (feature `tap`)
//! ```
//!
//! Guarantees:
//!
//! - Nothing here has a clock, a thread or a source of randomness of its own, but for the runner and the TAP device.
//! - What one function has, no other reaches: a virtual function has what the profile deals it and its physical function leaves it.
//! - Whatever a frame holds, nothing panics, and the work for it is bounded by the number of virtual interfaces and filters.
//!
//! What the real adapter does is not public in every point. Where this model had to choose, `docs/t5-assumptions.md` says so.

#![forbid(unsafe_code)]

pub mod adapter;
mod initiator;
pub mod iscsi;
pub mod runner;
pub mod switch;
#[cfg(feature = "tap")]
pub mod tap;
pub mod tcp;
pub mod wire;

pub use initiator::SESSIONS_MAX as FIRMWARE_SESSIONS_MAX;
