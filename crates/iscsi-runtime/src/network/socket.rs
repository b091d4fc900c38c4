//! A TCP socket as a byte stream for the software port.
//!
//! In: gathered slices. Out: bytes appended to a buffer. Non-blocking both ways.

use bytes::BytesMut;
use iscsi_transport::ByteStream;
use mio::net::TcpStream;
use rustix::net::RecvFlags;
use std::io::{self, IoSlice, Write};
use std::net::Shutdown;

/// A non-blocking TCP connection.
#[derive(Debug)]
pub(crate) struct Socket(pub(super) TcpStream);

impl ByteStream for Socket {
    #[expect(unsafe_code, reason = "the kernel fills spare capacity, so that no buffer is zeroed first")]
    fn receive(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        let before = buffer.len();
        let ((filled, _), count) = rustix::net::recv(&self.0, buffer.spare_capacity_mut(), RecvFlags::empty())?;
        let length = before + filled.len();
        debug_assert_eq!(filled.len(), count, "a stream socket is never cut");
        // SAFETY: the first `before` bytes were initialised already, and `recv` says that it has initialised `filled`, which
        // is the beginning of the spare capacity right behind them. So `length` bytes are initialised and within the capacity.
        unsafe { buffer.set_len(length) };
        Ok(count)
    }

    fn send(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(slices)
    }

    fn finish(&mut self) {
        // A connection that is gone needs no end.
        drop(self.0.shutdown(Shutdown::Write));
    }
}
