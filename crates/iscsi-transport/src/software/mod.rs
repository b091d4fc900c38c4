//! The software port: frames PDUs over a byte stream, and checks and adds digests by itself.
//!
//! ```text
//!  stream.receive ──> chunk of the pool ──cut──> Frame, data shared with the chunk
//!  stream.send   <── one gathered write <──────── headers copied side by side, data where it is
//! ```
//!
//! In: bytes of a peer, any at all, in pieces of any size. Out: PDUs, one a call, or the reason why there are no more.
//! Memory is bounded by the longest data segment that was declared and by [`SEND_QUEUE_BYTES_MAX`], and an idle
//! connection holds none: chunks and queues come from the core's [`BufferPool`] and go back to it.

mod detached;
mod framer;
mod pool;
mod receive_buffer;
mod send_queue;
#[cfg(test)]
mod tests;

pub use detached::DetachedPort;
pub use pool::{BufferPool, CHUNK_BYTES};

use crate::port::{AHS_BYTES_MAX, SEGMENT_BYTES_MAX};
use crate::tags::Tags;
use crate::{ByteStream, Capabilities, Digests, Flush, PduPort, PortError, PortErrorKind, ReceiveLimits, Received};
use framer::{Cut, Framer};
use iscsi_pdu::Frame;
use receive_buffer::ReceiveBuffer;
use send_queue::{PIECES_MAX, SendQueue};
use std::io::{self, IoSlice};
use std::mem;

/// Bytes that may wait to be sent before [`PduPort::can_send`] says no; the last PDU may reach beyond.
pub const SEND_QUEUE_BYTES_MAX: usize = 1 << 20;

const CAPABILITIES: Capabilities = Capabilities {
    receive_segment_bytes_max: SEGMENT_BYTES_MAX,
    send_segment_bytes_max: SEGMENT_BYTES_MAX,
    ahs_bytes_max: AHS_BYTES_MAX,
    free_digests: Digests { header: false, data: false },
    placement_bytes_max: 0,
};

/// A port over a byte stream that does not block.
///
/// ```
/// use iscsi_pdu::{NopOut, Pdu};
/// use iscsi_transport::{BufferPool, Digests, MemoryStream, PduPort, Received, SoftwarePort};
///
/// // One pool for all connections of a core, and a stream each: a socket, or here a pipe in memory.
/// let pool = BufferPool::new();
/// let (here, there) = MemoryStream::pair(65536);
/// let (mut here, mut there) = (SoftwarePort::new(here, pool.clone()), SoftwarePort::new(there, pool));
/// for port in [&mut here, &mut there] {
///     port.set_digests(Digests { header: true, data: true });
/// }
///
/// let ping = Pdu::from(NopOut { data: "are you there".into(), ..NopOut::default() });
/// here.send(ping.clone().encode());
/// here.flush().unwrap();
/// assert_eq!(there.receive().unwrap(), Some(Received::Frame(ping.encode())));
/// ```
#[derive(Debug)]
pub struct SoftwarePort<S> {
    stream: S,
    pool: BufferPool,
    tags: Tags,
    framer: Framer,
    received: ReceiveBuffer,
    send_digests: Digests,
    queue: SendQueue,
    failure: Option<PortError>,
}

impl<S: ByteStream> SoftwarePort<S> {
    /// A port over `stream` that borrows its memory from `pool`.
    pub fn new(stream: S, pool: BufferPool) -> Self {
        Self {
            stream,
            tags: Tags::default(),
            framer: Framer::new(),
            received: ReceiveBuffer::new(pool.clone()),
            send_digests: Digests::default(),
            queue: SendQueue::default(),
            failure: None,
            pool,
        }
    }

    /// The stream.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// The stream, to be registered with whoever says when it is ready. Neither read from it nor write to it.
    pub fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    fn receive_next(&mut self) -> Result<Option<Received>, PortError> {
        loop {
            let pdu_bytes = match self.framer.cut(&mut self.received.bytes, self.pool.is_strained())? {
                Cut::Pdu(received) => return Ok(Some(received)),
                Cut::Needs(bytes) => bytes,
            };
            if !self.read(pdu_bytes)? {
                self.received.rest();
                return Ok(None);
            }
        }
    }

    /// Reads once, with room for a PDU of `pdu_bytes`. Whether there was anything.
    fn read(&mut self, pdu_bytes: usize) -> Result<bool, PortError> {
        self.received.make_room(pdu_bytes);
        let buffer = &mut self.received.bytes;
        match self.stream.receive(buffer) {
            Ok(0) if buffer.is_empty() => {
                Err(PortError::new(PortErrorKind::Closed, "the peer has closed the connection"))
            }
            Ok(0) => {
                let text =
                    format!("the peer has closed the connection after {} of {pdu_bytes} bytes of a PDU", buffer.len());
                Err(PortError::new(PortErrorKind::Closed, text))
            }
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    fn write_queue(&mut self) -> Result<Flush, PortError> {
        while self.queue.length() > 0 {
            let mut slices = [IoSlice::new(&[]); PIECES_MAX];
            let (count, total) = self.queue.gather(&mut slices);
            match self.stream.send(&slices[..count]) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(sent) => {
                    self.queue.advance(sent);
                    if sent < total {
                        return Ok(Flush::Pending);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Flush::Pending),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if self.queue.has_memory() {
            self.pool.give_send_queue(mem::take(&mut self.queue));
        }
        Ok(Flush::Done)
    }

    /// Does something unless the connection has failed, and remembers if it fails.
    fn unless_failed<T>(&mut self, what: impl FnOnce(&mut Self) -> Result<T, PortError>) -> Result<T, PortError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        what(self).inspect_err(|error| self.failure = Some(error.clone()))
    }
}

impl<S: ByteStream> PduPort for SoftwarePort<S> {
    fn capabilities(&self) -> &Capabilities {
        &CAPABILITIES
    }

    fn reserve(&mut self, _length: u32) -> u32 {
        self.tags.reserve()
    }

    fn release(&mut self, tag: u32) {
        self.tags.release(tag);
    }

    fn receive(&mut self) -> Result<Option<Received>, PortError> {
        self.unless_failed(Self::receive_next)
    }

    fn can_send(&self) -> bool {
        self.queue.length() < SEND_QUEUE_BYTES_MAX
    }

    fn send(&mut self, frame: Frame) {
        if !self.queue.has_memory() {
            self.queue = self.pool.take_send_queue();
        }
        self.queue.push(frame, self.send_digests);
    }

    fn flush(&mut self) -> Result<Flush, PortError> {
        self.unless_failed(Self::write_queue)
    }

    fn finish(&mut self) {
        self.stream.finish();
    }

    fn set_digests(&mut self, digests: Digests) {
        self.framer.set_digests(digests);
        self.send_digests = digests;
    }

    fn set_receive_limits(&mut self, limits: ReceiveLimits) {
        self.framer.set_limits(limits);
    }
}
