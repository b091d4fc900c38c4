//! [`PduPort`]: where iSCSI PDUs cross between a session and the world.
//!
//! ```text
//!   session ── Frame ──> send ┐                                 ┌ SoftwarePort over a ByteStream: the kernel's TCP
//!                             ├ PduPort, one PDU a call, whole ─┤ LoopbackPort: two ends in one process
//!                             │                                 ├ PcapPort, TracePort around any: what went through, to read
//!                             │                                 ├ FaultPort around any, FaultStream below: trouble, from a seed
//!   session <─ Frame ─ receive┘                                 └ an adapter that does all this in hardware
//! ```
//!
//! Bytes are not common ground between software and an adapter that frames PDUs, checks digests and places payload by itself;
//! PDUs are. So the cut is made there, and everything above it is written once; [`conformance`] is what every port passes.
//!
//! Guarantees:
//!
//! - Nothing here blocks, starts a thread or looks at a clock; sockets, files and time are somebody else's
//!   ([`ByteStream`], [`Capture`]).
//! - Whatever a peer sends, no port panics, nor holds more than a chunk of 256 KiB, one segment of the declared length, and what
//!   the owner has queued; an idle connection holds no buffer.
//! - Payload is not copied between the receive buffer and the session, nor, beyond 512 bytes, between the session and the write.
//!
//! ```
//! use iscsi_pdu::{CmdSn, NopOut, Pdu, StatSn};
//! use iscsi_transport::{Flush, LoopbackPort, PduPort, Received};
//!
//! let (mut initiator, mut target) = LoopbackPort::pair();
//! let ping = NopOut { cmd_sn: CmdSn(1), exp_stat_sn: StatSn(1), data: "are you there".into(), ..NopOut::default() };
//!
//! initiator.send(Pdu::from(ping.clone()).encode());
//! assert_eq!(initiator.flush().unwrap(), Flush::Done);
//!
//! let Some(Received::Frame(frame)) = target.receive().unwrap() else { panic!("a PDU is there") };
//! assert_eq!(Pdu::decode(frame).unwrap(), Pdu::from(ping));
//! assert_eq!(target.receive().unwrap(), None);
//! ```

#![forbid(unsafe_code)]

pub mod conformance;
mod error;
mod fault_port;
mod fault_stream;
mod loopback;
mod memory_stream;
mod pcap;
mod port;
mod random;
mod ready_stream;
mod software;
mod stream;
mod tags;
mod trace_port;

pub use error::{PortError, PortErrorKind};
pub use fault_port::{FaultPort, PortControl, PortFaults};
pub use fault_stream::{FaultStream, StreamControl, StreamFaults};
pub use loopback::{LOOPBACK_FRAMES_MAX, LoopbackPort};
pub use memory_stream::MemoryStream;
pub use pcap::{Capture, PcapPort};
pub use port::{
    AHS_BYTES_MAX, Capabilities, Digests, Flush, PduPort, RECEIVE_SEGMENT_BYTES_DEFAULT, ReceiveLimits, Received,
    SEGMENT_BYTES_MAX,
};
pub use random::Random;
pub use ready_stream::ReadyStream;
pub use software::{BufferPool, CHUNK_BYTES, DetachedPort, SEND_QUEUE_BYTES_MAX, SoftwarePort};
pub use stream::ByteStream;
pub use tags::Tags;
pub use trace_port::{Trace, TracePort};
