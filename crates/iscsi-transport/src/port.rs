//! The seam: one PDU at a time, whole, each way.

use crate::{PortError, PortErrorKind};
use iscsi_pdu::{Frame, Header};

/// One end of a connection, cut at the PDU: what is below frames PDUs, checks and adds digests and padding, and may place payload.
///
/// A port never blocks and lives on one thread. Its owner
///
/// - calls [`receive`](Self::receive) until it gives `None`, after the world has said that there may be something to receive,
/// - calls [`send`](Self::send) while [`can_send`](Self::can_send), then [`flush`](Self::flush) once for the whole batch,
///   and again when the world takes more, if that was [`Flush::Pending`],
/// - drops the port at the first error, or to close the connection; what is queued then is lost.
///
/// Tags belong to the port: every Initiator Task Tag and Target Transfer Tag that a session uses comes from
/// [`reserve`](Self::reserve), because in an adapter a tag *is* the place where payload goes.
pub trait PduPort {
    /// What this port does by itself, and how much.
    fn capabilities(&self) -> &Capabilities;

    /// Reserves a tag for a transfer of `length` bytes, from which the buffer offsets of its PDUs count; one of 0 bytes places
    /// nothing.
    ///
    /// Never fails: where nothing can be placed, the tag is one that places nothing. It differs from all others that are
    /// reserved at the same time, and is never `0xffffffff`.
    fn reserve(&mut self, length: u32) -> u32;

    /// Gives a tag back, once nothing that carries it is on the way any more.
    ///
    /// # Panics
    /// If the tag is not reserved: a bug of the caller.
    fn release(&mut self, tag: u32);

    /// The next PDU, header first, then payload. `None`: nothing whole is there, ask again when the world has more.
    ///
    /// # Errors
    /// The connection is over: see [`PortErrorKind`](crate::PortErrorKind).
    fn receive(&mut self) -> Result<Option<Received>, PortError>;

    /// Whether [`send`](Self::send) takes another PDU. It does again after a [`flush`](Self::flush) that got rid of something.
    fn can_send(&self) -> bool;

    /// Queues a PDU, with the digests in force now. Call it only while [`can_send`](Self::can_send): beyond that the queue
    /// grows past its bound.
    fn send(&mut self, frame: Frame);

    /// Hands what is queued to the world, all of it in one go if the world takes it.
    ///
    /// # Errors
    /// The connection is over.
    fn flush(&mut self) -> Result<Flush, PortError>;

    /// Nothing more is sent: the peer is told, once all that was queued has been flushed. A port that cannot say so before it is dropped
    /// does nothing.
    fn finish(&mut self) {}

    /// Which digests stand behind headers and data, both ways, from the next [`send`](Self::send) and the next
    /// [`receive`](Self::receive) on. None at the beginning.
    fn set_digests(&mut self, digests: Digests);

    /// How much a PDU may bring from now on; [`ReceiveLimits::default`] at the beginning. One that brings more ends the
    /// connection before anything is allocated for it.
    fn set_receive_limits(&mut self, limits: ReceiveLimits);
}

/// What a port receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A PDU whose digests, if there are any, match.
    Frame(Frame),
    /// A PDU whose header can be trusted, but not its data, which is dropped (RFC 7143 section 7.8).
    BadDataDigest(Header),
    /// A header that cannot be trusted, nor anything behind it. It is dropped, and as many bytes as it says; if the header that is
    /// found there has no digest that matches either, the connection is over. An owner that does not recover from the loss of a
    /// PDU closes the connection (RFC 7143 section 7.8).
    BadHeaderDigest(Header),
}

/// How far a [`PduPort::flush`] has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Nothing is queued any more.
    Done,
    /// The world takes no more now; call again when it does.
    Pending,
}

/// Which digests are in use (RFC 7143 section 13.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digests {
    /// CRC32C behind every header.
    pub header: bool,
    /// CRC32C behind every data segment that is not empty.
    pub data: bool,
}

/// What a port does by itself, and how much of it. Its limits are inputs to the login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Longest data segment that the port can receive, in bytes.
    pub receive_segment_bytes_max: u32,
    /// Longest data segment that the port can send, in bytes.
    pub send_segment_bytes_max: u32,
    /// Most bytes of additional header segments in one PDU, both ways.
    pub ahs_bytes_max: u32,
    /// Digests that cost this computer nothing, since hardware makes and checks them or nothing can flip a bit.
    pub free_digests: Digests,
    /// Longest transfer, in bytes, whose payload the port can place at a reserved tag; 0 if it places none.
    pub placement_bytes_max: u32,
}

/// Longest data segment that the length field of a header can say (RFC 7143 section 11.2.1.6).
pub const SEGMENT_BYTES_MAX: u32 = (1 << 24) - 1;

/// Most additional header segments that the length field of a header can say (RFC 7143 section 11.2.1.5).
pub const AHS_BYTES_MAX: u32 = 255 * 4;

/// MaxRecvDataSegmentLength before it is negotiated (RFC 7143 section 13.12).
pub const RECEIVE_SEGMENT_BYTES_DEFAULT: u32 = 8192;

/// How much one PDU may bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveLimits {
    /// Longest data segment, in bytes, that this side has declared (MaxRecvDataSegmentLength, RFC 7143 section 13.12).
    pub segment_bytes_max: u32,
    /// Most bytes of additional header segments.
    pub ahs_bytes_max: u32,
}

impl ReceiveLimits {
    /// What a login may bring: the default data segment, and no additional header segment, which only a SCSI Command has
    /// (RFC 7143 sections 11.2.2 and 11.3).
    pub const LOGIN: Self = Self { segment_bytes_max: RECEIVE_SEGMENT_BYTES_DEFAULT, ahs_bytes_max: 0 };

    /// Data segments up to `bytes`, and all additional header segments.
    #[must_use]
    pub const fn of_segments(bytes: u32) -> Self {
        Self { segment_bytes_max: bytes, ahs_bytes_max: AHS_BYTES_MAX }
    }

    /// Checks how much additional header segments a PDU brings.
    ///
    /// # Errors
    /// More than may come.
    pub fn check_ahs(self, header: &Header) -> Result<(), PortError> {
        let (length, max) = (header.ahs_length(), self.ahs_bytes_max as usize);
        if length <= max {
            return Ok(());
        }
        let text =
            format!("a {} came with {length} bytes of additional header segments: at most {max}", header.opcode());
        Err(PortError::new(PortErrorKind::AhsTooLong, text))
    }

    /// Checks how long a PDU's data segment is.
    ///
    /// # Errors
    /// Longer than it may be.
    pub fn check_segment(self, header: &Header) -> Result<(), PortError> {
        let (length, max) = (header.data_segment_length(), self.segment_bytes_max as usize);
        if length <= max {
            return Ok(());
        }
        let text = format!("a {} came with a data segment of {length} bytes: at most {max}", header.opcode());
        Err(PortError::new(PortErrorKind::SegmentTooLong, text))
    }
}

impl Default for ReceiveLimits {
    fn default() -> Self {
        Self::of_segments(RECEIVE_SEGMENT_BYTES_DEFAULT)
    }
}
