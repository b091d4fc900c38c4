//! A byte stream that is asked only when there is something to say.

use crate::ByteStream;
use bytes::BytesMut;
use std::io::{self, IoSlice};

/// A stream whose readiness is told, as epoll tells it edge-triggered: a read or write that moved less than it could was the last
/// until the next such event. Until then it is answered here, which saves a call into the kernel a batch.
///
/// Whoever has the events passes each of them to [`handle_readable`](Self::handle_readable) and
/// [`handle_writable`](Self::handle_writable).
#[derive(Debug)]
pub struct ReadyStream<S> {
    stream: S,
    is_readable: bool,
    /// The peer has sent its last byte: no event will say that the end can be read.
    is_ended: bool,
    is_writable: bool,
}

impl<S> ReadyStream<S> {
    /// A stream of which nothing is known: it is asked.
    pub fn new(stream: S) -> Self {
        Self { stream, is_readable: true, is_ended: false, is_writable: true }
    }

    /// The stream.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// The stream, to be registered with whoever has the events.
    pub fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// An event says that there is something to read; and whether it also says that the peer has closed its half, or that
    /// there is an error, after which no event comes any more.
    pub fn handle_readable(&mut self, is_ended: bool) {
        self.is_readable = true;
        self.is_ended |= is_ended;
    }

    /// An event says that there is room to write, or an error to be told.
    pub fn handle_writable(&mut self) {
        self.is_writable = true;
    }
}

impl<S: ByteStream> ByteStream for ReadyStream<S> {
    fn receive(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        if !self.is_readable {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let room = buffer.capacity() - buffer.len();
        let result = self.stream.receive(buffer);
        self.is_readable = self.is_ended || may_go_on(&result, room);
        result
    }

    fn send(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if !self.is_writable {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let offered = slices.iter().map(|slice| slice.len()).sum();
        let result = self.stream.send(slices);
        self.is_writable = may_go_on(&result, offered);
        result
    }

    fn finish(&mut self) {
        self.stream.finish();
    }
}

/// Whether the stream may move more, after it has moved so much of `all`. The end of the stream and an error stay to be read.
fn may_go_on(result: &io::Result<usize>, all: usize) -> bool {
    match result {
        Ok(moved) => *moved == all || *moved == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// Answers from a script, and fails the test when it is asked too often.
    struct Script(VecDeque<io::Result<usize>>);

    impl ByteStream for Script {
        fn receive(&mut self, _buffer: &mut BytesMut) -> io::Result<usize> {
            self.0.pop_front().expect("asked once too often")
        }

        fn send(&mut self, _slices: &[IoSlice<'_>]) -> io::Result<usize> {
            self.0.pop_front().expect("asked once too often")
        }
    }

    fn stream(script: impl IntoIterator<Item = io::Result<usize>>) -> ReadyStream<Script> {
        ReadyStream::new(Script(script.into_iter().collect()))
    }

    fn is_blocked(result: io::Result<usize>) -> bool {
        result.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    #[test]
    fn a_short_read_is_the_last_until_the_next_event() {
        let buffer = &mut BytesMut::with_capacity(100);
        let mut stream = stream([Ok(100), Ok(99), Ok(1)]);
        assert_eq!(stream.receive(buffer).unwrap(), 100);
        assert_eq!(stream.receive(buffer).unwrap(), 99);
        assert!(is_blocked(stream.receive(buffer)));
        stream.handle_readable(false);
        assert_eq!(stream.receive(buffer).unwrap(), 1);
        assert!(is_blocked(stream.receive(buffer)));
    }

    #[test]
    fn the_end_is_read_even_if_the_last_bytes_came_with_it() {
        let buffer = &mut BytesMut::with_capacity(100);
        let mut stream = stream([Ok(50), Ok(0), Ok(0)]);
        stream.handle_readable(true);
        assert_eq!(stream.receive(buffer).unwrap(), 50);
        assert_eq!(stream.receive(buffer).unwrap(), 0);
        assert_eq!(stream.receive(buffer).unwrap(), 0);
    }

    #[test]
    fn a_short_write_is_the_last_until_the_next_event() {
        let slices = &[IoSlice::new(b"1234")];
        let mut stream = stream([Ok(4), Ok(3), Err(io::ErrorKind::WouldBlock.into())]);
        assert_eq!(stream.send(slices).unwrap(), 4);
        assert_eq!(stream.send(slices).unwrap(), 3);
        assert!(is_blocked(stream.send(slices)));
        stream.handle_writable();
        assert!(is_blocked(stream.send(slices)));
        assert!(is_blocked(stream.send(slices)));
    }
}
