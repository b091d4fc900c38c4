//! The wire formats of the Chelsio T5 adapter, which does TCP and iSCSI in hardware.
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

#![forbid(unsafe_code)]

pub mod wire;
