//! Why a port has ended.

use iscsi_pdu::Header;
use std::borrow::Cow;
use std::io;

/// Why a port carries nothing any more: once given, a port gives it again and again.
///
/// Errors of what a PDU says are no port errors: those are the session's to find.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct PortError {
    kind: PortErrorKind,
    text: Cow<'static, str>,
}

/// The kinds of [`PortError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PortErrorKind {
    /// The peer has closed the connection.
    Closed,
    /// The connection was broken off.
    Reset,
    /// A header digest did not match, and where the next PDU begins is not known any more (RFC 7143 section 7.8).
    HeaderDigest,
    /// A data segment is longer than this side has declared that it receives (RFC 7143 section 13.12).
    SegmentTooLong,
    /// Additional header segments are longer than the port can receive.
    AhsTooLong,
    /// Anything else that the operating system or an adapter says.
    Io,
}

impl PortError {
    /// An error of that kind, with a sentence that says what was expected and what came.
    #[must_use]
    pub fn new(kind: PortErrorKind, text: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, text: text.into() }
    }

    /// The digest of a header does not match, and the connection cannot go on.
    #[must_use]
    pub fn header_digest(header: &Header) -> Self {
        Self::new(PortErrorKind::HeaderDigest, format!("the digest of a header does not match: {header:?}"))
    }

    /// What kind of error it is.
    #[must_use]
    pub fn kind(&self) -> PortErrorKind {
        self.kind
    }
}

impl From<io::Error> for PortError {
    fn from(error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
                PortErrorKind::Reset
            }
            io::ErrorKind::UnexpectedEof | io::ErrorKind::NotConnected => PortErrorKind::Closed,
            _ => PortErrorKind::Io,
        };
        Self::new(kind, format!("the connection failed: {error}"))
    }
}
