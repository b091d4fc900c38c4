//! Cuts PDUs off the front of a byte stream (RFC 7143 section 11.2).
//!
//! In: any bytes. Out: one PDU a call with its digests checked, or how many bytes it needs. Nothing is believed of a header
//! before its digest was checked, and nothing asked for beyond the longest data segment that was declared. What a header with a bad
//! digest says of its length is tried once: the next header there proves it right or wrong (RFC 7143 section 7.8).

use crate::{Digests, PortError, ReceiveLimits, Received};
use bytes::{Buf, Bytes, BytesMut};
use iscsi_pdu::digest::{self, DIGEST_LENGTH};
use iscsi_pdu::{Frame, HEADER_LENGTH, Header, padding};

#[derive(Debug)]
pub(super) struct Framer {
    digests: Digests,
    limits: ReceiveLimits,
    /// Whether the header at the front was checked already, when its data was not there.
    header_checked: bool,
    /// Bytes that are dropped, since their header had a bad digest.
    to_drop: usize,
    /// Whether no header has proven yet that they were the right ones.
    in_doubt: bool,
}

/// What is at the front of the stream.
pub(super) enum Cut {
    /// A PDU, which stands there no more.
    Pdu(Received),
    /// The beginning of a PDU that takes this many bytes in all, as far as is known; more than there are.
    Needs(usize),
}

impl Framer {
    pub(super) fn new() -> Self {
        Self {
            digests: Digests::default(),
            limits: ReceiveLimits::default(),
            header_checked: false,
            to_drop: 0,
            in_doubt: false,
        }
    }

    pub(super) fn set_digests(&mut self, digests: Digests) {
        self.digests = digests;
        self.header_checked = false;
    }

    pub(super) fn set_limits(&mut self, limits: ReceiveLimits) {
        self.limits = limits;
        self.header_checked = false;
    }

    // RFC 7143 13.1-2: no PDU passes without the digests that were agreed upon.
    /// Cuts off the PDU at the front. Its data shares the memory of `bytes`, unless it is to be copied.
    pub(super) fn cut(&mut self, bytes: &mut BytesMut, copy: bool) -> Result<Cut, PortError> {
        if self.to_drop > 0 && !self.drop_front(bytes) {
            return Ok(Cut::Needs(1));
        }
        let Some(header) = bytes.first_chunk::<HEADER_LENGTH>() else {
            return Ok(Cut::Needs(HEADER_LENGTH));
        };
        let header = Header(*header);
        self.limits.check_ahs(&header)?;
        let header_end = HEADER_LENGTH + header.ahs_length();
        let data_start = header_end + if self.digests.header { DIGEST_LENGTH } else { 0 };
        if bytes.len() < data_start {
            return Ok(Cut::Needs(data_start));
        }
        let length = header.data_segment_length();
        let data_end = data_start + length + padding(length);
        // RFC 7143 11.2.3: no digest behind no data.
        let end = data_end + if self.digests.data && length > 0 { DIGEST_LENGTH } else { 0 };
        if !self.header_checked {
            if self.digests.header && digest::of(&bytes[..header_end]) != bytes[header_end..data_start] {
                return self.doubt(header, end);
            }
            self.limits.check_segment(&header)?;
            (self.header_checked, self.in_doubt) = (true, false);
        }
        if bytes.len() < end {
            return Ok(Cut::Needs(end));
        }
        self.header_checked = false;
        if end > data_end && digest::of(&bytes[data_start..data_end]) != bytes[data_end..end] {
            // RFC 7143 7.8-5: the data is dropped here, at either end; what else is done is the session's to say.
            bytes.advance(end);
            return Ok(Cut::Pdu(Received::BadDataDigest(header)));
        }
        let ahs = bytes[HEADER_LENGTH..header_end].into();
        bytes.advance(data_start);
        let data = if copy { Bytes::copy_from_slice(&bytes[..length]) } else { share(bytes, length) };
        bytes.advance(end - data_start - if copy { 0 } else { length });
        Ok(Cut::Pdu(Received::Frame(Frame { header, ahs, data })))
    }

    /// A header has a bad digest, and says that its PDU is so long: that is believed once.
    fn doubt(&mut self, header: Header, pdu_bytes: usize) -> Result<Cut, PortError> {
        // RFC 7143 7.8-1: where no later PDU can be found by other means, the connection ends.
        if self.in_doubt || self.limits.check_segment(&header).is_err() {
            return Err(PortError::header_digest(&header));
        }
        (self.in_doubt, self.to_drop) = (true, pdu_bytes);
        Ok(Cut::Pdu(Received::BadHeaderDigest(header)))
    }

    /// Drops what is to be dropped, as far as it has come. Whether that was all.
    fn drop_front(&mut self, bytes: &mut BytesMut) -> bool {
        let dropped = self.to_drop.min(bytes.len());
        bytes.advance(dropped);
        self.to_drop -= dropped;
        self.to_drop == 0
    }
}

/// The first `length` bytes, which stand in `bytes` no more. Nothing is shared for nothing.
fn share(bytes: &mut BytesMut, length: usize) -> Bytes {
    if length == 0 { Bytes::new() } else { bytes.split_to(length).freeze() }
}
