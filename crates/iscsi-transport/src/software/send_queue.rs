//! What waits to be sent: headers, digests and padding side by side in one buffer, payload where it is.
//!
//! ```text
//!   bytes:   ┌ header ┬ header ┬ padding, digest, header ┐
//!            └───▲────┴───▲────┴────▲────────────────────┘
//!   pieces:   Copied(96)       Shared   Copied(60)  Shared …
//! ```

use crate::Digests;
use bytes::{Buf, Bytes};
use iscsi_pdu::digest;
use iscsi_pdu::{Frame, padding};
use std::collections::VecDeque;
use std::io::IoSlice;

/// Payload up to this length is copied next to its header. Over loopback TCP a piece of its own costs some 25 ns in the kernel;
/// the copy costs less up to 1 KiB and more from 4 KiB on.
const COPY_BYTES_MAX: usize = 512;

/// The most pieces that one write takes.
pub(super) const PIECES_MAX: usize = 256;

/// Sent bytes that are worth moving the others to the front.
const FORGET_BYTES_MIN: usize = 16 * 1024;

#[derive(Debug, Default)]
pub(super) struct SendQueue {
    /// All copied pieces, one after the other; those before `sent` are gone.
    bytes: Vec<u8>,
    sent: usize,
    pieces: VecDeque<Piece>,
    length: usize,
}

/// A run of bytes to be sent.
#[derive(Debug)]
enum Piece {
    /// So many bytes of the buffer.
    Copied(usize),
    /// Payload.
    Shared(Bytes),
}

impl SendQueue {
    /// Bytes that wait.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Whether the queue has memory of its own.
    pub(super) fn has_memory(&self) -> bool {
        self.copied_capacity() > 0
    }

    /// Bytes of memory for what is copied.
    pub(super) fn copied_capacity(&self) -> usize {
        self.bytes.capacity()
    }

    // RFC 7143 13.1-2: every PDU, whichever it is.
    /// Queues a PDU with its padding and digests.
    pub(super) fn push(&mut self, frame: Frame, digests: Digests) {
        debug_assert_eq!(frame.header.ahs_length(), frame.ahs.len(), "a header agrees with what follows");
        debug_assert_eq!(frame.header.data_segment_length(), frame.data.len(), "a header agrees with what follows");
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&frame.header.0);
        self.bytes.extend_from_slice(&frame.ahs);
        if digests.header {
            self.bytes.extend_from_slice(&digest::header(&frame.header, &frame.ahs));
        }
        if frame.data.is_empty() {
            self.push_copied(start);
        } else {
            self.push_data(start, frame.data, digests.data);
        }
    }

    fn push_data(&mut self, start: usize, data: Bytes, with_digest: bool) {
        let digest = with_digest.then(|| digest::data(&data));
        // RFC 7143 11.1-1, 11.2-1: padding is zeros.
        let padding = &[0; 3][..padding(data.len())];
        let mut behind = start;
        if data.len() <= COPY_BYTES_MAX {
            self.bytes.extend_from_slice(&data);
        } else {
            self.push_copied(start);
            self.length += data.len();
            self.pieces.push_back(Piece::Shared(data));
            behind = self.bytes.len();
        }
        self.bytes.extend_from_slice(padding);
        if let Some(digest) = digest {
            self.bytes.extend_from_slice(&digest);
        }
        self.push_copied(behind);
    }

    /// Queues what the buffer holds from `start` on.
    fn push_copied(&mut self, start: usize) {
        let length = self.bytes.len() - start;
        self.length += length;
        match self.pieces.back_mut() {
            Some(Piece::Copied(last)) => *last += length,
            _ if length > 0 => self.pieces.push_back(Piece::Copied(length)),
            _ => {}
        }
    }

    /// Fills in what is to be sent next: how many slices, and how many bytes they have.
    ///
    /// Payload is never the last of several pieces while more follows, since some peers stall when a digest comes apart from its data.
    pub(super) fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>; PIECES_MAX]) -> (usize, usize) {
        let mut count = self.pieces.len().min(PIECES_MAX);
        if count > 1 && count < self.pieces.len() && matches!(self.pieces[count - 1], Piece::Shared(_)) {
            count -= 1;
        }
        let mut total = 0;
        let mut copied = &self.bytes[self.sent..];
        for (slice, piece) in slices.iter_mut().zip(self.pieces.iter().take(count)) {
            let bytes = match piece {
                Piece::Copied(length) => {
                    let (bytes, rest) = copied.split_at(*length);
                    copied = rest;
                    bytes
                }
                Piece::Shared(bytes) => &bytes[..],
            };
            *slice = IoSlice::new(bytes);
            total += bytes.len();
        }
        (count, total)
    }

    /// Forgets the first `bytes`, which are sent.
    pub(super) fn advance(&mut self, mut bytes: usize) {
        self.length -= bytes;
        while let Some(piece) = self.pieces.front_mut() {
            let whole = match piece {
                Piece::Copied(length) => {
                    let sent = bytes.min(*length);
                    *length -= sent;
                    self.sent += sent;
                    bytes -= sent;
                    *length == 0
                }
                Piece::Shared(data) => {
                    let sent = bytes.min(data.len());
                    data.advance(sent);
                    bytes -= sent;
                    data.is_empty()
                }
            };
            if !whole {
                break;
            }
            self.pieces.pop_front();
        }
        self.forget_sent();
    }

    /// Uses the buffer's front again: at once if all is sent, else when that moves fewer bytes than it frees.
    fn forget_sent(&mut self) {
        let rest = self.bytes.len() - self.sent;
        if rest == 0 || (self.sent >= FORGET_BYTES_MIN && self.sent >= rest) {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }
}
