//! From a connection to a port on it, in one place for all connections of a client.

use super::seat::Seat;
use super::{ClientConfig, ClientError};
use crate::network::{Port, Stream};
use iscsi_pdu::Cid;
use iscsi_transport::{BufferPool, Capture};
use std::io;

/// What the ports of all connections share.
pub(super) struct Ports {
    capture: Option<Capture>,
    buffers: BufferPool,
}

impl Ports {
    /// # Errors
    /// The file for the capture cannot be made.
    pub(super) fn new(config: &ClientConfig) -> Result<Self, ClientError> {
        let capture = config.capture.as_deref().map(crate::capture::create).transpose()?;
        Ok(Self { capture, buffers: BufferPool::default() })
    }

    /// A port on a new connection.
    ///
    /// # Errors
    /// The connection is gone already, or the system refuses.
    pub(super) fn open(&self, seat: &Seat<'_>, cid: Cid, stream: Stream) -> io::Result<Port> {
        seat.open_port(cid, stream, &self.buffers, self.capture.as_ref())
    }
}

/// Random bytes for a login.
///
/// # Errors
/// The system has none.
pub(super) fn challenge() -> Result<[u8; 32], ClientError> {
    let mut challenge = [0; 32];
    getrandom::fill(&mut challenge).map_err(|error| ClientError::System(error.to_string()))?;
    Ok(challenge)
}
