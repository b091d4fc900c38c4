//! A byte stream in memory, which can cut what goes through it anywhere.

use crate::ByteStream;
use bytes::{BufMut, BytesMut};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice};
use std::rc::Rc;

/// One end of a connection in memory, for tests, simulations and benchmarks. Both ends live on one thread.
///
/// It takes bytes while there is room and gives what is there, like a socket. With [`set_cuts`](Self::set_cuts) it takes and
/// gives less, or nothing for now. When one end is dropped or finished, the other reads what was written, then the end of the stream.
pub struct MemoryStream {
    incoming: Rc<RefCell<Pipe>>,
    outgoing: Rc<RefCell<Pipe>>,
    cuts: Option<Cuts>,
}

type Cuts = Box<dyn FnMut(usize) -> usize>;

struct Pipe {
    bytes: VecDeque<u8>,
    bytes_max: usize,
    closed: bool,
}

impl MemoryStream {
    /// Two ends that are connected, with room for `bytes_max` each way.
    #[must_use]
    pub fn pair(bytes_max: usize) -> (Self, Self) {
        let pipe = || Rc::new(RefCell::new(Pipe { bytes: VecDeque::new(), bytes_max, closed: false }));
        let (there, back) = (pipe(), pipe());
        let end = |incoming: &Rc<_>, outgoing: &Rc<_>| Self {
            incoming: Rc::clone(incoming),
            outgoing: Rc::clone(outgoing),
            cuts: None,
        };
        (end(&back, &there), end(&there, &back))
    }

    /// From now on, `cuts` is asked how many of the bytes that could be read or written are: at most that many; 0 is
    /// "nothing for now".
    pub fn set_cuts(&mut self, cuts: impl FnMut(usize) -> usize + 'static) {
        self.cuts = Some(Box::new(cuts));
    }

    fn cut(&mut self, bytes: usize) -> io::Result<usize> {
        let allowed = self.cuts.as_mut().map_or(bytes, |cuts| cuts(bytes).min(bytes));
        if allowed == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(allowed) }
    }
}

impl ByteStream for MemoryStream {
    fn receive(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        let pipe = Rc::clone(&self.incoming);
        let mut pipe = pipe.borrow_mut();
        if pipe.closed && pipe.bytes.is_empty() {
            return Ok(0);
        }
        let room = buffer.capacity() - buffer.len();
        let count = self.cut(pipe.bytes.len().min(room))?;
        let (front, back) = pipe.bytes.as_slices();
        let from_front = count.min(front.len());
        buffer.put_slice(&front[..from_front]);
        buffer.put_slice(&back[..count - from_front]);
        pipe.bytes.drain(..count);
        Ok(count)
    }

    fn send(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let pipe = Rc::clone(&self.outgoing);
        let mut pipe = pipe.borrow_mut();
        if pipe.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        let count = self.cut(offered.min(pipe.bytes_max.saturating_sub(pipe.bytes.len())))?;
        let mut rest = count;
        for slice in slices {
            let part = rest.min(slice.len());
            pipe.bytes.extend(&slice[..part]);
            rest -= part;
        }
        Ok(count)
    }

    fn finish(&mut self) {
        self.outgoing.borrow_mut().closed = true;
    }
}

impl Drop for MemoryStream {
    fn drop(&mut self) {
        self.outgoing.borrow_mut().closed = true;
        self.incoming.borrow_mut().closed = true;
    }
}

impl fmt::Debug for MemoryStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MemoryStream")
            .field("incoming_bytes", &self.incoming.borrow().bytes.len())
            .field("outgoing_bytes", &self.outgoing.borrow().bytes.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_end_of_one_that_is_finished_goes_on() {
        let (mut here, mut there) = MemoryStream::pair(100);
        assert_eq!(here.send(&[IoSlice::new(b"last")]).unwrap(), 4);
        here.finish();
        let mut buffer = BytesMut::with_capacity(100);
        assert_eq!((there.receive(&mut buffer).unwrap(), &buffer[..]), (4, &b"last"[..]));
        assert_eq!(there.receive(&mut buffer).unwrap(), 0);
        assert_eq!(there.send(&[IoSlice::new(b"answer")]).unwrap(), 6);
        assert_eq!(here.receive(&mut buffer).unwrap(), 6);
        assert!(here.send(&[IoSlice::new(b"more")]).is_err());
    }
}
