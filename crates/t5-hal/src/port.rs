//! The port of an adapter: PDUs of one connection, framed, checked and placed in hardware; and the stream of one that does TCP alone.
//!
//! ```text
//!   session ── Frame ──> T5Port ────────────────────────┐
//!                                                       ├─ Connection ── Driver, shared by all of a thread
//!   session ── Frame ──> SoftwarePort ── T5Stream ──────┘
//! ```

use crate::bus::Bus;
use crate::driver::{AHS_BYTES_MAX, Driver, Offload, PLACE_BYTES_MAX, SEGMENT_BYTES_MAX};
use crate::wire::Tag;
use bytes::BytesMut;
use iscsi_pdu::Frame;
use iscsi_transport::{
    ByteStream, Capabilities, Digests, Flush, PduPort, PortError, PortErrorKind, ReceiveLimits, Received, Tags,
};
use std::cell::{RefCell, RefMut};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::rc::Rc;

const CAPABILITIES: Capabilities = Capabilities {
    receive_segment_bytes_max: SEGMENT_BYTES_MAX,
    send_segment_bytes_max: SEGMENT_BYTES_MAX,
    ahs_bytes_max: AHS_BYTES_MAX,
    free_digests: Digests { header: true, data: true },
    placement_bytes_max: PLACE_BYTES_MAX,
};

/// A driver that the connections of one thread share.
pub type SharedDriver<B> = Rc<RefCell<Driver<B>>>;

/// A connection that has an owner: it is closed when this is dropped.
#[derive(Debug)]
pub struct Connection<B: Bus> {
    driver: SharedDriver<B>,
    tid: u32,
}

impl<B: Bus> Connection<B> {
    /// The connection of that number, which a [`DriverEvent`](crate::driver::DriverEvent) has told of. It has one owner.
    #[must_use]
    pub fn new(driver: SharedDriver<B>, tid: u32) -> Self {
        Self { driver, tid }
    }

    /// Its number.
    #[must_use]
    pub fn tid(&self) -> u32 {
        self.tid
    }

    /// How the adapter has it; none if it is gone.
    #[must_use]
    pub fn offload(&self) -> Option<Offload> {
        self.driver.borrow().offload(self.tid)
    }

    /// Both ends, ours first; none if it is gone.
    #[must_use]
    pub fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        self.driver.borrow().addresses(self.tid)
    }

    fn driver(&self) -> RefMut<'_, Driver<B>> {
        self.driver.borrow_mut()
    }
}

impl<B: Bus> Drop for Connection<B> {
    fn drop(&mut self) {
        self.driver().close(self.tid);
    }
}

/// A port over a connection on which the adapter does iSCSI.
#[derive(Debug)]
pub struct T5Port<B: Bus> {
    connection: Connection<B>,
    /// Tags that place nothing, by the number in them.
    tags: Tags,
    limits: ReceiveLimits,
    /// Whether the last header could not be trusted.
    in_doubt: bool,
    failure: Option<PortError>,
}

impl<B: Bus> T5Port<B> {
    /// A port over a connection that was opened with [`OffloadMode::Ulp`](crate::driver::OffloadMode::Ulp).
    #[must_use]
    pub fn new(connection: Connection<B>) -> Self {
        let bits = connection.driver().tag_format().software_bits();
        Self { connection, tags: Tags::of_bits(bits), limits: ReceiveLimits::default(), in_doubt: false, failure: None }
    }

    /// The connection.
    #[must_use]
    pub fn connection(&self) -> &Connection<B> {
        &self.connection
    }

    fn receive_next(&mut self) -> Result<Option<Received>, PortError> {
        let received = self.connection.driver().receive(self.connection.tid)?;
        match &received {
            Some(Received::Frame(Frame { header, .. }) | Received::BadDataDigest(header)) => {
                self.limits.check_ahs(header)?;
                self.limits.check_segment(header)?;
                self.in_doubt = false;
            }
            // RFC 7143 7.8-1: where no later PDU can be found by other means, the connection ends.
            Some(Received::BadHeaderDigest(header)) if self.in_doubt => return Err(PortError::header_digest(header)),
            Some(Received::BadHeaderDigest(_)) => self.in_doubt = true,
            None => {}
        }
        Ok(received)
    }

    /// Does something unless the connection has failed, and remembers if it fails.
    fn unless_failed<T>(&mut self, what: impl FnOnce(&mut Self) -> Result<T, PortError>) -> Result<T, PortError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        what(self).inspect_err(|error| {
            self.failure = Some(error.clone());
            self.connection.driver().give_up(self.connection.tid, error);
        })
    }
}

impl<B: Bus> PduPort for T5Port<B> {
    fn capabilities(&self) -> &Capabilities {
        &CAPABILITIES
    }

    fn reserve(&mut self, length: u32) -> u32 {
        let mut driver = self.connection.driver();
        driver.reserve(self.connection.tid, length).unwrap_or_else(|| driver.tag_format().software(self.tags.reserve()))
    }

    fn release(&mut self, tag: u32) {
        let mut driver = self.connection.driver();
        if driver.release(self.connection.tid, tag) {
            return;
        }
        let Tag::Software(number) = driver.tag_format().decode(tag) else {
            panic!("only a tag that is reserved is released");
        };
        self.tags.release(number);
    }

    fn receive(&mut self) -> Result<Option<Received>, PortError> {
        self.unless_failed(Self::receive_next)
    }

    fn can_send(&self) -> bool {
        self.connection.driver().can_send(self.connection.tid)
    }

    fn send(&mut self, frame: Frame) {
        self.connection.driver().send(self.connection.tid, frame);
    }

    fn flush(&mut self) -> Result<Flush, PortError> {
        self.unless_failed(|port| port.connection.driver().flush(port.connection.tid))
    }

    fn set_digests(&mut self, digests: Digests) {
        self.connection.driver().set_digests(self.connection.tid, digests);
    }

    fn set_receive_limits(&mut self, limits: ReceiveLimits) {
        self.limits = limits;
    }
}

/// The bytes of a connection on which the adapter does TCP alone, for a [`SoftwarePort`](iscsi_transport::SoftwarePort).
#[derive(Debug)]
pub struct T5Stream<B: Bus> {
    connection: Connection<B>,
}

impl<B: Bus> T5Stream<B> {
    /// The stream of a connection that was opened with [`OffloadMode::Toe`](crate::driver::OffloadMode::Toe).
    #[must_use]
    pub fn new(connection: Connection<B>) -> Self {
        Self { connection }
    }
}

fn to_io(error: &PortError) -> io::Error {
    let kind = match error.kind() {
        PortErrorKind::Reset => io::ErrorKind::ConnectionReset,
        PortErrorKind::Closed => io::ErrorKind::NotConnected,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error.to_string())
}

impl<B: Bus> ByteStream for T5Stream<B> {
    fn receive(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        let mut driver = self.connection.driver();
        match driver.receive_stream(self.connection.tid, buffer) {
            0 => match driver.end_of(self.connection.tid) {
                None => Err(io::ErrorKind::WouldBlock.into()),
                Some(end) if end.kind() == PortErrorKind::Closed => Ok(0),
                Some(end) => Err(to_io(&end)),
            },
            taken => Ok(taken),
        }
    }

    fn send(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.connection.driver().send_stream(self.connection.tid, slices) {
            Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
            Ok(sent) => Ok(sent),
            Err(error) => Err(to_io(&error)),
        }
    }
}
