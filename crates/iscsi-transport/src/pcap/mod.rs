//! The capture port: any port, and a file of all that goes through it for Wireshark and tshark.
//!
//! In: PDUs of the port below. Out: the same PDUs, and in the capture the bytes that they have on the wire, with their padding
//! and digests, in synthetic TCP segments. What the port below does not keep is made anew: padding of a PDU received is
//! shown as zeros, and a PDU with a digest that did not match as a gap in the stream.

mod capture;
mod packet;

pub use capture::Capture;

use crate::{Capabilities, Digests, Flush, PduPort, PortError, ReceiveLimits, Received};
use iscsi_pdu::digest::{self, DIGEST_LENGTH};
use iscsi_pdu::{Frame, HEADER_LENGTH, Header, padding};
use packet::Envelope;
use std::net::SocketAddr;

/// Bytes of a PDU in one packet.
const SEGMENT_BYTES_MAX: usize = 32 * 1024;

/// A port whose PDUs are written to a [`Capture`].
#[derive(Debug)]
pub struct PcapPort<P> {
    port: P,
    capture: FlushedAtEnd,
    sent: Direction,
    received: Direction,
    digests: Digests,
}

/// The capture of a connection, which is written out when that ends.
#[derive(Debug)]
struct FlushedAtEnd(Capture);

impl Drop for FlushedAtEnd {
    fn drop(&mut self) {
        self.0.flush();
    }
}

/// One direction of the connection.
#[derive(Debug)]
struct Direction {
    from: SocketAddr,
    to: SocketAddr,
    /// Bytes so far, as TCP counts them.
    sequence: u32,
}

impl<P: PduPort> PcapPort<P> {
    /// Captures what goes through `port`, as a connection between two addresses. Put it around a port before its first PDU.
    pub fn new(port: P, capture: Capture, local: SocketAddr, peer: SocketAddr) -> Self {
        Self {
            port,
            capture: FlushedAtEnd(capture),
            sent: Direction { from: local, to: peer, sequence: 0 },
            received: Direction { from: peer, to: local, sequence: 0 },
            digests: Digests::default(),
        }
    }

    /// The port.
    pub fn port(&self) -> &P {
        &self.port
    }

    /// The port, for what does not carry PDUs.
    pub fn port_mut(&mut self) -> &mut P {
        &mut self.port
    }
}

impl<P> PcapPort<P> {
    /// The same capture, around what `change` makes of the port.
    pub fn map_port<Q>(self, change: impl FnOnce(P) -> Q) -> PcapPort<Q> {
        let Self { port, capture, sent, received, digests } = self;
        PcapPort { port: change(port), capture, sent, received, digests }
    }
}

impl Direction {
    /// Writes a PDU that went this way, when the other way had come to `acknowledgement`.
    fn write(&mut self, wire: &[u8], acknowledgement: u32, capture: &Capture) {
        let (from, to) = (self.from, self.to);
        capture.write_packets(wire.chunks(SEGMENT_BYTES_MAX).map(|segment| {
            let envelope = Envelope { from, to, sequence: self.sequence, acknowledgement };
            self.skip(segment.len());
            (envelope, segment)
        }));
    }

    fn skip(&mut self, bytes: usize) {
        self.sequence = self.sequence.wrapping_add(bytes as u32);
    }
}

/// The bytes of a PDU with padding and digests (RFC 7143 section 11.2).
fn wire(frame: &Frame, digests: Digests) -> Vec<u8> {
    let mut wire = Vec::with_capacity(wire_length(&frame.header, digests));
    wire.extend_from_slice(&frame.header.0);
    wire.extend_from_slice(&frame.ahs);
    if digests.header {
        wire.extend(digest::header(&frame.header, &frame.ahs));
    }
    wire.extend_from_slice(&frame.data);
    wire.extend_from_slice(&[0; 3][..padding(frame.data.len())]);
    if digests.data && !frame.data.is_empty() {
        wire.extend(digest::data(&frame.data));
    }
    wire
}

fn wire_length(header: &Header, digests: Digests) -> usize {
    let length = header.data_segment_length();
    let digests = usize::from(digests.header) + usize::from(digests.data && length > 0);
    HEADER_LENGTH + header.ahs_length() + length + padding(length) + digests * DIGEST_LENGTH
}

impl<P: PduPort> PduPort for PcapPort<P> {
    fn capabilities(&self) -> &Capabilities {
        self.port.capabilities()
    }

    fn reserve(&mut self, length: u32) -> u32 {
        self.port.reserve(length)
    }

    fn release(&mut self, tag: u32) {
        self.port.release(tag);
    }

    fn receive(&mut self) -> Result<Option<Received>, PortError> {
        let received = self.port.receive()?;
        match &received {
            Some(Received::Frame(frame)) => {
                self.received.write(&wire(frame, self.digests), self.sent.sequence, &self.capture.0);
            }
            Some(Received::BadDataDigest(header) | Received::BadHeaderDigest(header)) => {
                self.received.skip(wire_length(header, self.digests))
            }
            None => {}
        }
        Ok(received)
    }

    fn can_send(&self) -> bool {
        self.port.can_send()
    }

    fn send(&mut self, frame: Frame) {
        self.sent.write(&wire(&frame, self.digests), self.received.sequence, &self.capture.0);
        self.port.send(frame);
    }

    fn flush(&mut self) -> Result<Flush, PortError> {
        self.capture.0.flush();
        self.port.flush()
    }

    fn finish(&mut self) {
        self.port.finish();
    }

    fn set_digests(&mut self, digests: Digests) {
        self.digests = digests;
        self.port.set_digests(digests);
    }

    fn set_receive_limits(&mut self, limits: ReceiveLimits) {
        self.port.set_receive_limits(limits);
    }
}
