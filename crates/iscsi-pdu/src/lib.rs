//! iSCSI protocol data units (RFC 7143 section 11), as bytes and as typed values.
//!
//! ```text
//!   48 bytes + AHS + data            names, any value             meaningful values only
//!  ┌───────────────────────┐  view  ┌───────────────────┐ decode ┌──────────────────────┐
//!  │ Frame: Header + Bytes │ ─────> │ ScsiCommandHeader │ ─────> │ Pdu::ScsiCommand(..) │
//!  └───────────────────────┘        └───────────────────┘ <───── └──────────────────────┘
//!                                                         encode
//! ```
//!
//! There are two levels. A [`Header`] is any 48 bytes; [`Header::view`] gives the fields of one PDU their names, in place,
//! and cannot fail. A [`Pdu`] holds only values that mean something: [`Pdu::decode`] says which field does not. What a PDU
//! carries has modules of its own: [`text`] for the `key=value` pairs of login and text PDUs, [`ahs`] for additional header
//! segments, [`digest`] for what protects both.
//!
//! Guarantees:
//!
//! - No function of this crate panics on any input from a peer, and none does work or takes memory beyond the length of its input.
//! - Payload is never copied: it is [`bytes::Bytes`] from the frame to the PDU and back.
//! - RFC 7143 11-1, 11-2: reserved bits are sent as zero and ignored when received.
//! - What `encode` makes of a value whose fields keep to their documentation, `decode` reads back as the same value.
//! - A header is decoded or encoded in less than 15 ns (benchmark `codec`); the work on a text is linear in its length.
//!
//! ```
//! use iscsi_pdu::{InitiatorTaskTag, NopOut, Pdu, CmdSn, StatSn};
//!
//! let ping = Pdu::from(NopOut {
//!     immediate: true,
//!     initiator_task_tag: Some(InitiatorTaskTag(7)),
//!     cmd_sn: CmdSn(1),
//!     exp_stat_sn: StatSn(1),
//!     data: "are you there".into(),
//!     ..NopOut::default()
//! });
//! let frame = ping.clone().encode();
//! assert_eq!(frame.header.data_segment_length(), 13);
//! assert_eq!(Pdu::decode(frame).unwrap(), ping);
//! ```

#![forbid(unsafe_code)]

pub mod ahs;
pub mod digest;
mod enumeration;
mod error;
mod frame;
mod lun;
mod opcode;
mod pdu;
mod serial;
mod tag;
pub mod text;

pub use error::DecodeError;
pub use frame::{Frame, HEADER_LENGTH, Header, padding};
pub use lun::LunField;
pub use opcode::Opcode;
pub use pdu::*;
pub use serial::{CmdSn, StatSn};
pub use tag::{InitiatorTaskTag, TargetTransferTag};
