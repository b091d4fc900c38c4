//! What a driver did wrong, for whoever watches the adapter.

use t5_hal::dma::DmaFault;

/// A fault of a function's driver. The function goes on; what it asked for was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It named memory that it does not have.
    #[error("an address of the driver is not in its memory: {0}")]
    Memory(#[from] DmaFault),
    /// A work request is none: the queue's content was dropped.
    #[error("egress queue {queue} holds no work request: its first word is {word:#010x}")]
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
    /// A doorbell that belongs to no queue of the function.
    #[error("a doorbell was rung for {queue}, which is no queue of the function")]
    NoQueue {
        /// Which queue.
        queue: u32,
    },
    /// A message about a connection that is not the function's, or not in that state.
    #[error("a message names connection {tid}, which is not the function's or not ready for it")]
    NoConnection {
        /// Which connection.
        tid: u32,
    },
    /// A write to the adapter's memory beyond the function's own.
    #[error("a write to {address:#x} of the adapter's memory is outside the function's region")]
    AdapterMemory {
        /// The address.
        address: u32,
    },
    /// A frame was not sent.
    #[error("a frame was not sent: {0}")]
    Frame(#[from] crate::switch::Refusal),
}
