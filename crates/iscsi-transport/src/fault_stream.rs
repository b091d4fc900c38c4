//! The fault stream: any byte stream, with the trouble that a network can make below a framer.

use crate::{ByteStream, Random};
use bytes::BytesMut;
use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::rc::Rc;

/// The trouble of a [`FaultStream`]; the default is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamFaults {
    /// Most bytes that one call moves, drawn anew from 1 to this for each; 0 moves all that there are.
    pub piece_bytes_max: usize,
    /// One call in so many moves nothing for now; 0 is none.
    pub blocked_one_in: u32,
    /// One call in so many that receives finds one bit of what it receives flipped; 0 is none.
    pub flipped_one_in: u32,
    /// The connection is reset when so many more bytes were moved, both ways together.
    pub cut_after_bytes: Option<u64>,
    /// Nothing moves.
    pub stalled: bool,
}

/// What the maker of a [`FaultStream`] keeps of it: its trouble can be changed, and what it has done be seen. Clones speak of
/// the same stream.
#[derive(Clone, Debug, Default)]
pub struct StreamControl(Rc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    faults: RefCell<StreamFaults>,
    sent_bytes: Cell<u64>,
    received_bytes: Cell<u64>,
    flipped: Cell<u64>,
    held_back: Cell<bool>,
    finished: Cell<bool>,
    ended: Cell<bool>,
}

impl StreamControl {
    /// Changes the trouble from the next call of the stream on.
    pub fn change(&self, change: impl FnOnce(&mut StreamFaults)) {
        change(&mut self.0.faults.borrow_mut());
    }

    /// Bytes that the stream has taken.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.0.sent_bytes.get()
    }

    /// Bytes that the stream has given.
    #[must_use]
    pub fn received_bytes(&self) -> u64 {
        self.0.received_bytes.get()
    }

    /// Bits that were flipped.
    #[must_use]
    pub fn flipped(&self) -> u64 {
        self.0.flipped.get()
    }

    /// Whether the stream has moved less than it could, or could move nothing out, since this was last asked: nobody but the
    /// maker will say when it is ready again.
    #[must_use]
    pub fn take_held_back(&self) -> bool {
        self.0.held_back.take()
    }

    /// Whether the stream has said that it sends nothing more.
    #[must_use]
    pub fn has_finished(&self) -> bool {
        self.0.finished.get()
    }

    /// Whether the stream was cut or dropped.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.0.ended.get()
    }
}

/// A byte stream with trouble: pieces of any size, calls that move nothing, flipped bits, a stall, a reset at any byte. The same
/// random numbers and the same calls make the same trouble.
///
/// Below a [`SoftwarePort`](crate::SoftwarePort) it reaches the framer, the digests and the send queue.
#[derive(Debug)]
pub struct FaultStream<S> {
    /// None once the connection was cut, so that the peer sees it.
    stream: Option<S>,
    control: StreamControl,
    random: Random,
}

impl<S: ByteStream> FaultStream<S> {
    /// `stream`, without trouble at first; what there is comes through the control.
    pub fn new(stream: S, random: Random) -> (Self, StreamControl) {
        let control = StreamControl::default();
        (Self { stream: Some(stream), control: control.clone(), random }, control)
    }

    /// How many bytes may be moved by the call that begins.
    fn allowance(&mut self) -> io::Result<usize> {
        let shared = Rc::clone(&self.control.0);
        let faults = shared.faults.borrow();
        if faults.cut_after_bytes == Some(0) {
            self.stream = None;
            shared.ended.set(true);
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if faults.stalled || self.random.one_in(faults.blocked_one_in) {
            shared.held_back.set(true);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let piece = match faults.piece_bytes_max {
            0 => usize::MAX,
            max => self.random.between(1, max as u64) as usize,
        };
        let until_cut = faults.cut_after_bytes.map_or(usize::MAX, |bytes| bytes as usize);
        Ok(piece.min(until_cut))
    }

    fn count(&self, counter: &Cell<u64>, bytes: usize) {
        counter.set(counter.get() + bytes as u64);
        if let Some(left) = &mut self.control.0.faults.borrow_mut().cut_after_bytes {
            *left = left.saturating_sub(bytes as u64);
        }
    }

    fn flip(&mut self, received: &mut [u8]) {
        let one_in = self.control.0.faults.borrow().flipped_one_in;
        if !received.is_empty() && self.random.one_in(one_in) {
            let bit = self.random.below(received.len() as u64 * 8) as usize;
            received[bit / 8] ^= 1 << (bit % 8);
            self.control.0.flipped.set(self.control.0.flipped.get() + 1);
        }
    }
}

impl<S: ByteStream> ByteStream for FaultStream<S> {
    fn receive(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        let allowed = self.allowance()?;
        let Some(stream) = &mut self.stream else { return Err(io::ErrorKind::ConnectionReset.into()) };
        let before = buffer.len();
        let spare = buffer.capacity() - before;
        let received = if allowed >= spare {
            stream.receive(buffer)?
        } else {
            let mut piece = BytesMut::with_capacity(allowed);
            let received = receive_at_most(stream, &mut piece, allowed)?;
            buffer.extend_from_slice(&piece);
            received
        };
        self.count(&self.control.0.received_bytes, received);
        self.flip(&mut buffer[before..]);
        Ok(received)
    }

    fn send(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let allowed = self.allowance().inspect_err(|_| self.control.0.held_back.set(true))?;
        let Some(stream) = &mut self.stream else { return Err(io::ErrorKind::ConnectionReset.into()) };
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        let sent = match allowed >= offered {
            true => stream.send(slices),
            false => stream.send(&front(slices, allowed)),
        };
        if !sent.as_ref().is_ok_and(|sent| *sent == offered) {
            self.control.0.held_back.set(true);
        }
        let sent = sent?;
        self.count(&self.control.0.sent_bytes, sent);
        Ok(sent)
    }

    fn finish(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.finish();
            self.control.0.finished.set(true);
        }
    }
}

/// A buffer may have been given more room than was asked for: what a stream below gives is held to `bytes_max` by a
/// buffer whose rest is filled.
fn receive_at_most(stream: &mut impl ByteStream, piece: &mut BytesMut, bytes_max: usize) -> io::Result<usize> {
    let surplus = piece.capacity().saturating_sub(bytes_max);
    piece.resize(surplus, 0);
    let received = stream.receive(piece)?;
    let _ = piece.split_to(surplus);
    Ok(received)
}

/// The first `bytes` bytes of `slices`.
fn front<'a>(slices: &'a [IoSlice<'a>], bytes: usize) -> Vec<IoSlice<'a>> {
    let mut left = bytes;
    let mut front = Vec::with_capacity(slices.len());
    for slice in slices {
        let part = left.min(slice.len());
        if part > 0 {
            front.push(IoSlice::new(&slice[..part]));
        }
        left -= part;
    }
    front
}

impl<S> Drop for FaultStream<S> {
    fn drop(&mut self) {
        self.control.0.ended.set(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStream;

    type Ends = (FaultStream<MemoryStream>, StreamControl, MemoryStream);

    fn ends(seed: u64) -> Ends {
        let (here, there) = MemoryStream::pair(1 << 20);
        let (stream, control) = FaultStream::new(here, Random::new(seed));
        (stream, control, there)
    }

    fn receive(stream: &mut impl ByteStream) -> io::Result<Vec<u8>> {
        let mut buffer = BytesMut::with_capacity(4096);
        stream.receive(&mut buffer)?;
        Ok(buffer.to_vec())
    }

    #[test]
    fn pieces_are_as_small_as_asked_and_nothing_is_lost() {
        let (mut stream, control, mut peer) = ends(1);
        control.change(|faults| *faults = StreamFaults { piece_bytes_max: 7, blocked_one_in: 3, ..Default::default() });
        let sent: Vec<u8> = (0..=255).collect();
        let mut left = &sent[..];
        while !left.is_empty() {
            let (first, rest) = left.split_at(left.len() / 2);
            match stream.send(&[IoSlice::new(first), IoSlice::new(rest)]) {
                Ok(count) => {
                    assert!((1..=7).contains(&count));
                    left = &left[count..];
                }
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        assert!(control.take_held_back() && !control.take_held_back());
        assert_eq!(receive(&mut peer).unwrap(), sent);

        peer.send(&[IoSlice::new(&sent)]).unwrap();
        let mut received = Vec::new();
        while received.len() < sent.len() {
            match receive(&mut stream) {
                Ok(piece) => {
                    assert!((1..=7).contains(&piece.len()));
                    received.extend(piece);
                }
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        assert_eq!(received, sent);
        assert_eq!((control.sent_bytes(), control.received_bytes()), (256, 256));
    }

    #[test]
    fn a_connection_is_cut_at_the_byte_and_stays_cut() {
        let (mut stream, control, mut peer) = ends(2);
        control.change(|faults| faults.cut_after_bytes = Some(5));
        assert_eq!(stream.send(&[IoSlice::new(b"abc"), IoSlice::new(b"defg")]).unwrap(), 5);
        assert!(!control.has_ended());
        assert_eq!(stream.send(&[IoSlice::new(b"fg")]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(receive(&mut stream).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert!(control.has_ended());
        assert_eq!(receive(&mut peer).unwrap(), b"abcde");
        assert_eq!(receive(&mut peer).unwrap(), b"", "then the end of the stream");
    }

    #[test]
    fn one_bit_is_flipped_where_asked() {
        let (mut stream, control, mut peer) = ends(3);
        control.change(|faults| faults.flipped_one_in = 1);
        peer.send(&[IoSlice::new(&[0; 100])]).unwrap();
        let ones: u32 = receive(&mut stream).unwrap().iter().map(|byte| byte.count_ones()).sum();
        assert_eq!((ones, control.flipped()), (1, 1));
    }

    #[test]
    fn a_stalled_stream_moves_nothing_until_it_goes_on() {
        let (mut stream, control, mut peer) = ends(4);
        peer.send(&[IoSlice::new(b"here")]).unwrap();
        control.change(|faults| faults.stalled = true);
        assert_eq!(receive(&mut stream).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(stream.send(&[IoSlice::new(b"there")]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        control.change(|faults| faults.stalled = false);
        assert_eq!(receive(&mut stream).unwrap(), b"here");
    }
}
