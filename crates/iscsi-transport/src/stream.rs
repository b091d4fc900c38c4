//! What a software port needs of a byte stream.

use bytes::BytesMut;
use std::io::{self, IoSlice};

/// A byte stream that never blocks: a socket, or a test's stand-in. [`ReadyStream`](crate::ReadyStream) around a socket saves
/// the calls that would only say that nothing is there.
pub trait ByteStream {
    /// Appends what has come to `buffer`, within its spare capacity, and says how many bytes that was. Zero is the end of the
    /// stream.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`]: nothing is there now. Any other but [`io::ErrorKind::Interrupted`] ends the connection.
    fn receive(&mut self, buffer: &mut BytesMut) -> io::Result<usize>;

    /// Takes bytes from the front of `slices`, at least one, and says how many. Fewer than all mean that the stream takes no
    /// more now: it is not asked again in the same flush.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`]: the stream takes nothing now. Any other but [`io::ErrorKind::Interrupted`] ends the
    /// connection.
    fn send(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Nothing more is sent: the peer reads the end of the stream behind what was. A stream that cannot say so before it is dropped does
    /// nothing.
    fn finish(&mut self) {}
}
