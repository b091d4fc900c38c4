//! From a connection to a port on it, in one place for all connections of a client.

use super::{ClientConfig, ClientError};
use crate::port::Port;
use crate::socket::Socket;
use iscsi_pdu::Cid;
use iscsi_transport::{BufferPool, Capture};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

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

    /// A port on a new connection, whose token is its CID.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn open(&self, registry: &Registry, cid: Cid, mut stream: TcpStream) -> Result<Port, ClientError> {
        stream.set_nodelay(true)?;
        registry.register(&mut stream, Token(cid.0.into()), Interest::READABLE | Interest::WRITABLE)?;
        let ends = (stream.local_addr()?, stream.peer_addr()?);
        Ok(Port::new(Socket(stream), self.buffers.clone(), self.capture.as_ref(), ends))
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
