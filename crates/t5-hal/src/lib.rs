//! The Chelsio T5 adapter, which does TCP and iSCSI in hardware: its wire formats, and how a driver reaches it.
//!
//! ```text
//!   computer                                   adapter
//!   TpHeader + ActOpenReq, ... ── egress ────> TP, ULP_TX
//!   Reply::decode <───────────── ingress ───── CPL messages
//! ```
//!
//! Guarantees:
//!
//! - Sizes, offsets, and that bit fields do not overlap, are checked when this is compiled.
//! - No decoder panics, or does more than its input is long.
//! - No address that one side of a [`Bus`] gives makes the other touch anything but their common memory, and payload that was
//!   [frozen](dma::DmaMemory::freeze) does not change.
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
pub mod registers;
pub mod wire;

pub use bus::Bus;
