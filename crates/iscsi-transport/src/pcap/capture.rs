//! A capture file in the pcapng format (draft-ietf-opsawg-pcapng), which Wireshark and tshark read.

use super::packet::Envelope;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const LINK_TYPE_ETHERNET: u32 = 1;
/// Option `if_tsresol` with 10^-9 seconds, and the end of the options.
const NANOSECONDS: [u8; 12] = [9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0];

/// A capture that any number of connections write to; clones write to the same one.
///
/// Trouble with the sink does not trouble the connections: the capture ends with the first error, which
/// [`failure`](Self::failure) tells.
#[derive(Clone)]
pub struct Capture(Arc<Mutex<Inner>>);

struct Inner {
    sink: Box<dyn Write + Send>,
    now: Box<dyn Fn() -> Duration + Send>,
    failure: Option<Arc<io::Error>>,
    block: Vec<u8>,
}

impl Capture {
    /// A capture into `sink`, whose packets are stamped with what `now` says: the time since 1970-01-01 UTC.
    ///
    /// # Errors
    /// The sink does not take the head of the file.
    pub fn new(sink: impl Write + Send + 'static, now: impl Fn() -> Duration + Send + 'static) -> io::Result<Self> {
        let mut inner = Inner { sink: Box::new(sink), now: Box::new(now), failure: None, block: Vec::new() };
        inner.write_block(SECTION_HEADER, |body| {
            body.extend(BYTE_ORDER_MAGIC.to_le_bytes());
            // Version 1.0, and a section of unknown length.
            body.extend([1, 0, 0, 0]);
            body.extend([0xff; 8]);
        })?;
        inner.write_block(INTERFACE_DESCRIPTION, |body| {
            body.extend(LINK_TYPE_ETHERNET.to_le_bytes());
            // Packets are whole.
            body.extend(0u32.to_le_bytes());
            body.extend(NANOSECONDS);
        })?;
        Ok(Self(Arc::new(Mutex::new(inner))))
    }

    /// What ended the capture before its time, if something did.
    #[must_use]
    pub fn failure(&self) -> Option<Arc<io::Error>> {
        self.lock().failure.clone()
    }

    /// Writes packets that were sent or received at the same time.
    pub(super) fn write_packets<'a>(&self, packets: impl Iterator<Item = (Envelope, &'a [u8])>) {
        self.lock().unless_failed(|inner| {
            let stamp = (inner.now)().as_nanos() as u64;
            for (envelope, payload) in packets {
                inner.write_block(ENHANCED_PACKET, |body| write_packet(stamp, envelope, payload, body))?;
            }
            Ok(())
        });
    }

    /// Hands on what the sink still holds.
    pub(super) fn flush(&self) {
        self.lock().unless_failed(|inner| inner.sink.flush());
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves at worst a file that ends early.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn unless_failed(&mut self, what: impl FnOnce(&mut Self) -> io::Result<()>) {
        if self.failure.is_none()
            && let Err(error) = what(self)
        {
            self.failure = Some(Arc::new(error));
        }
    }

    /// Writes a block: its type, its length, its body, padding, and its length again.
    fn write_block(&mut self, kind: u32, body: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let block = &mut self.block;
        block.clear();
        block.extend(kind.to_le_bytes());
        block.extend([0; 4]);
        body(block);
        block.resize(block.len().next_multiple_of(4), 0);
        let length = (block.len() as u32 + 4).to_le_bytes();
        block[4..8].copy_from_slice(&length);
        block.extend(length);
        self.sink.write_all(block)
    }
}

/// Appends the body of an Enhanced Packet Block: interface, time, twice the packet's length, the packet.
fn write_packet(stamp: u64, envelope: Envelope, payload: &[u8], body: &mut Vec<u8>) {
    body.extend(0u32.to_le_bytes());
    body.extend(((stamp >> 32) as u32).to_le_bytes());
    body.extend((stamp as u32).to_le_bytes());
    let lengths = body.len();
    body.extend([0; 8]);
    let start = body.len();
    envelope.write(payload, body);
    let length = ((body.len() - start) as u32).to_le_bytes();
    body[lengths..lengths + 4].copy_from_slice(&length);
    body[lengths + 4..start].copy_from_slice(&length);
}

impl fmt::Debug for Capture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Capture").field("failure", &self.failure()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    /// Sends what is written to the test, and takes `room` bytes at most.
    struct Sink {
        written: Sender<Vec<u8>>,
        room: usize,
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.room = self.room.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            self.written.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn envelope(sequence: u32) -> Envelope {
        Envelope {
            from: ([192, 0, 2, 1], 3260).into(),
            to: ([192, 0, 2, 2], 50000).into(),
            sequence,
            acknowledgement: 0,
        }
    }

    fn word(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn every_block_has_its_length_at_both_ends() {
        let (written, blocks) = channel();
        let capture = Capture::new(Sink { written, room: usize::MAX }, || Duration::from_nanos(0x1_0000_0002)).unwrap();
        capture.write_packets([(envelope(0), &b"a"[..]), (envelope(1), b"bcd")].into_iter());
        drop(capture);
        let blocks: Vec<_> = blocks.iter().collect();
        let kinds: Vec<_> = blocks.iter().map(|block| word(block, 0)).collect();
        assert_eq!(kinds, [SECTION_HEADER, INTERFACE_DESCRIPTION, ENHANCED_PACKET, ENHANCED_PACKET]);
        for block in &blocks {
            let length = block.len();
            assert_eq!(length % 4, 0);
            assert_eq!((word(block, 4) as usize, word(block, length - 4) as usize), (length, length));
        }
        // Interface, time in nanoseconds, captured and original length of 54 bytes of headers and one of data.
        let fields: Vec<_> = (8..28).step_by(4).map(|at| word(&blocks[2], at)).collect();
        assert_eq!(fields, [0, 1, 2, 55, 55]);
    }

    #[test]
    fn a_full_disk_ends_the_capture_alone() {
        let (written, blocks) = channel();
        let capture = Capture::new(Sink { written, room: 200 }, || Duration::ZERO).unwrap();
        assert!(capture.failure().is_none());
        for sequence in 0..10 {
            capture.write_packets([(envelope(sequence), &b"data"[..])].into_iter());
            capture.flush();
        }
        assert_eq!(capture.failure().unwrap().kind(), io::ErrorKind::StorageFull);
        drop(capture);
        assert_eq!(blocks.iter().count(), 3, "nothing is written after what failed");
    }
}
