//! A software port between two cores: what it is without the memory that it borrows.

use super::framer::Framer;
use super::receive_buffer::ReceiveBuffer;
use super::send_queue::SendQueue;
use super::{BufferPool, SoftwarePort};
use crate::tags::Tags;
use crate::{ByteStream, Digests, PortError};
use bytes::BytesMut;

/// A [`SoftwarePort`] without a pool, which can go to another thread if its stream can.
///
/// What has come and was not received yet, what was sent and is not written yet, and all tags go with it.
#[derive(Debug)]
pub struct DetachedPort<S> {
    stream: S,
    tags: Tags,
    framer: Framer,
    received: BytesMut,
    send_digests: Digests,
    queue: SendQueue,
    failure: Option<PortError>,
}

impl<S: ByteStream> SoftwarePort<S> {
    /// Gives back what the port has borrowed from its pool.
    pub fn detach(self) -> DetachedPort<S> {
        let Self { stream, pool: _, tags, framer, received, send_digests, queue, failure } = self;
        let received = received.into_bytes();
        DetachedPort { stream, tags, framer, received, send_digests, queue, failure }
    }
}

impl<S: ByteStream> DetachedPort<S> {
    /// The port again, with memory from `pool`. Ask it for PDUs at once: the world may have nothing more to say than it has said.
    pub fn attach(self, pool: BufferPool) -> SoftwarePort<S> {
        let Self { stream, tags, framer, received, send_digests, queue, failure } = self;
        let received = ReceiveBuffer::with_bytes(received, pool.clone());
        SoftwarePort { stream, pool, tags, framer, received, send_digests, queue, failure }
    }

    /// The stream, to be registered elsewhere. Neither read from it nor write to it.
    pub fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }
}
