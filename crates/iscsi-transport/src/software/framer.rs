//! Cuts PDUs off the front of a byte stream (RFC 7143 section 11.2).
//!
//! In: any bytes. Out: one PDU a call with its digests checked, or how many bytes it needs. Nothing is believed of a header
//! before its digest was checked, and nothing asked for beyond the longest data segment that was declared.

use crate::{Digests, PortError, PortErrorKind, ReceiveLimits, Received};
use bytes::{Buf, Bytes, BytesMut};
use iscsi_pdu::digest::{self, DIGEST_LENGTH};
use iscsi_pdu::{Frame, HEADER_LENGTH, Header, padding};

#[derive(Debug)]
pub(super) struct Framer {
    digests: Digests,
    limits: ReceiveLimits,
    /// Whether the header at the front was checked already, when its data was not there.
    header_checked: bool,
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
        Self { digests: Digests::default(), limits: ReceiveLimits::default(), header_checked: false }
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
        if !self.header_checked {
            self.check_header(&header, &bytes[..header_end], &bytes[header_end..data_start])?;
            self.header_checked = true;
        }
        let length = header.data_segment_length();
        let data_end = data_start + length + padding(length);
        // RFC 7143 11.2.3: no digest behind no data.
        let end = data_end + if self.digests.data && length > 0 { DIGEST_LENGTH } else { 0 };
        if bytes.len() < end {
            return Ok(Cut::Needs(end));
        }
        self.header_checked = false;
        if end > data_end && digest::of(&bytes[data_start..data_end]) != bytes[data_end..end] {
            // RFC 7143 7.8-5: the data is dropped here, at either end; what else is done is the session's to say.
            bytes.advance(end);
            return Ok(Cut::Pdu(Received::BadDataDigest(header)));
        }
        let ahs = Bytes::copy_from_slice(&bytes[HEADER_LENGTH..header_end]);
        bytes.advance(data_start);
        let data = if copy { Bytes::copy_from_slice(&bytes[..length]) } else { share(bytes, length) };
        bytes.advance(end - data_start - if copy { 0 } else { length });
        Ok(Cut::Pdu(Received::Frame(Frame { header, ahs, data })))
    }

    fn check_header(&self, header: &Header, covered: &[u8], found: &[u8]) -> Result<(), PortError> {
        if self.digests.header && digest::of(covered) != found {
            // RFC 7143 7.8-1: without markers in the stream no later PDU can be found, so the connection ends.
            let text = format!("the digest of a header does not match: {header:?} came with {found:02x?}");
            return Err(PortError::new(PortErrorKind::HeaderDigest, text));
        }
        self.limits.check_segment(header)
    }
}

/// The first `length` bytes, which stand in `bytes` no more. Nothing is shared for nothing.
fn share(bytes: &mut BytesMut, length: usize) -> Bytes {
    if length == 0 { Bytes::new() } else { bytes.split_to(length).freeze() }
}
