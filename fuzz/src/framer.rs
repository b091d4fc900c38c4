//! The software port: a stream gives the same PDUs wherever it is cut.

use crate::input::{take, take_byte};
use iscsi_pdu::HEADER_LENGTH;
use iscsi_transport::{
    BufferPool, ByteStream, Digests, MemoryStream, PduPort, PortErrorKind, ReceiveLimits, Received, SoftwarePort,
};
use std::io::IoSlice;

const SEGMENT_BYTES_MAX: [u32; 4] = [0, 512, 8192, (1 << 24) - 1];

/// A byte of options, a byte that says how many cuts there are, the cuts, and the stream.
pub fn framer(mut input: &[u8]) {
    let options = take_byte(&mut input);
    let count = take_byte(&mut input);
    let cuts = take(&mut input, count.into());
    let whole = receive(input, &[], options);
    assert_eq!(receive(input, cuts, options), whole, "PDUs do not depend on where the stream is cut");

    let used: usize = whole.0.iter().map(length).sum();
    assert!(used <= input.len(), "no PDU comes from nowhere");
}

fn length(received: &Received) -> usize {
    match received {
        Received::Frame(frame) => HEADER_LENGTH + frame.ahs.len() + frame.data.len(),
        Received::BadDataDigest(_) | Received::BadHeaderDigest(_) => HEADER_LENGTH,
    }
}

/// All that a port receives of the stream, and why it ends.
fn receive(stream: &[u8], cuts: &[u8], options: u8) -> (Vec<Received>, PortErrorKind) {
    let (mut end, mut peer) = MemoryStream::pair(usize::MAX);
    // Nothing of an empty stream.
    let _ = peer.send(&[IoSlice::new(stream)]);
    drop(peer);
    // A cut of nothing would stand for ever.
    let mut cuts = Vec::from(cuts).into_iter().chain([u8::MAX]).cycle();
    end.set_cuts(move |_| match cuts.next() {
        None | Some(u8::MAX) => usize::MAX,
        Some(cut) => cut.into(),
    });
    let mut port = SoftwarePort::new(end, BufferPool::new());
    port.set_digests(Digests { header: options & 1 != 0, data: options & 2 != 0 });
    port.set_receive_limits(ReceiveLimits::of_segments(SEGMENT_BYTES_MAX[usize::from(options >> 2 & 3)]));
    let mut all = Vec::new();
    loop {
        match port.receive() {
            Ok(received) => all.extend(received),
            Err(error) => return (all, error.kind()),
        }
    }
}
