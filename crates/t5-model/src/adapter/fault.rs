//! What a driver did wrong, for whoever watches the adapter.

use crate::switch::Refusal;
use t5_hal::dma::DmaFault;
use t5_hal::wire::{Access, AccessError, ErrorCommand, ErrorKind, FunctionId, WorkRequestError};
use zerocopy::IntoBytes;

/// A fault of a function's driver. The function goes on; what it asked for was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It named memory that it does not have.
    #[error("an address of the driver is not in its memory: {0}")]
    Memory(#[from] DmaFault),
    /// A work request is none: it was dropped, and what stands behind it if its length is wrong.
    #[error("egress queue {queue} holds no work request of its kind: its first word is {word:#010x}")]
    WorkRequest {
        /// Which queue.
        queue: u32,
        /// Its first word.
        word: u32,
    },
    /// A doorbell was rung for more than the queue holds.
    #[error("egress queue {queue} was rung for more descriptors than it has")]
    EgressOverflow {
        /// Which queue.
        queue: u32,
    },
    /// Messages for the driver were lost: it does not read them.
    #[error("ingress queue {queue} is full, and its backlog too: messages were lost")]
    IngressOverflow {
        /// Which queue.
        queue: u16,
    },
    /// A message for the driver was lost: the next buffer is too short for it.
    #[error("the next buffer of free list {queue} is too short for a message of {length} bytes, which was lost")]
    SmallBuffer {
        /// Which free list.
        queue: u32,
        /// Length of the message in bytes.
        length: u32,
    },
    /// A register that a virtual function does not have.
    #[error("a virtual function has no register at {offset:#x}")]
    Register {
        /// Offset into BAR 0.
        offset: u32,
    },
    /// A doorbell that belongs to no queue of the function.
    #[error("a doorbell was rung for {queue}, which is no queue of the function")]
    NoQueue {
        /// Which queue.
        queue: u32,
    },
    /// More doorbells were rung before the adapter had a turn than it keeps: queues have grown by less than the driver believes.
    #[error("doorbells were rung faster than they are heard, and some were lost")]
    Doorbells,
    /// A message about a connection that is not the function's, or not in that state.
    #[error("a message names connection {tid}, which is not the function's or not ready for it")]
    NoConnection {
        /// Which connection.
        tid: u32,
    },
    /// A work request takes more credits than the connection has left.
    #[error("a work request of connection {tid} takes more credits than are left: wait for FW4_ACK")]
    Credits {
        /// Which connection.
        tid: u32,
    },
    /// What a connection was to send is no PDU, and digests were to be inserted.
    #[error("a connection cannot send what it was given: {0}")]
    Pdu(#[from] crate::iscsi::MalformedPdu),
    /// A row of the table of source addresses that belongs to no interface of the function.
    #[error("row {row} of the table of source addresses is no interface of the function")]
    NoInterface {
        /// Which row.
        row: u8,
    },
    /// A write to the adapter's memory beyond the function's own.
    #[error("a write to {address:#x} of the adapter's memory is outside the function's region")]
    AdapterMemory {
        /// The address.
        address: u32,
    },
    /// A frame was not sent.
    #[error("a frame was not sent: {0}")]
    Frame(#[from] Refusal),
}

impl Fault {
    /// How the firmware tells a driver of a fault of one of its egress queues, which was read so far: what an access list forbids, or the work
    /// request as it begins.
    pub(super) fn to_command(self, who: FunctionId, queue: u32, consumer: u16, request: &[u8]) -> ErrorCommand {
        let (consumer, pfn_vfn, egress_queue) = (consumer.into(), (who.to_wire() as u16).into(), queue.into());
        let error = |kind: ErrorKind, data: &[u8]| {
            let mut command = ErrorCommand::request(Access::WRITE, kind.to_wire().into());
            command.data.copy_from_slice(data);
            command
        };
        let access = |kind: u16, value: [u8; 6]| {
            let kind = kind.into();
            let told = AccessError { consumer, pfn_vfn, egress_queue, kind, value, ..AccessError::default() };
            error(ErrorKind::AccessList, told.as_bytes())
        };
        match self {
            Self::Frame(Refusal::Source(address)) => access(0, address.0),
            Self::Frame(Refusal::Vlan(vlan)) => {
                let [high, low] = vlan.unwrap_or(0).to_be_bytes();
                access(1, [high, low, 0, 0, 0, 0])
            }
            _ => {
                let mut told = WorkRequestError { consumer, pfn_vfn, egress_queue, ..WorkRequestError::default() };
                let shown = request.len().min(told.header.len());
                told.header[..shown].copy_from_slice(&request[..shown]);
                error(ErrorKind::WorkRequest, told.as_bytes())
            }
        }
    }
}
