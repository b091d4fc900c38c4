//! The software port against streams that cut anywhere, bytes that are no PDUs, and its own promises about memory.

use super::*;
use crate::conformance::frame_with_data;
use crate::{MemoryStream, RECEIVE_SEGMENT_BYTES_DEFAULT};
use bytes::BytesMut;
use iscsi_pdu::digest::{self, DIGEST_LENGTH};
use iscsi_pdu::{HEADER_LENGTH, Header};
use proptest::prelude::*;

type Port = SoftwarePort<MemoryStream>;

const BOTH: Digests = Digests { header: true, data: true };

fn pair(bytes_max: usize) -> (Port, Port) {
    let (left, right) = MemoryStream::pair(bytes_max);
    let pool = BufferPool::new();
    (SoftwarePort::new(left, pool.clone()), SoftwarePort::new(right, pool))
}

/// A port that receives `bytes`, cut as `cuts` say, and then the end of the stream.
fn port_with(bytes: &[u8], cuts: Vec<usize>) -> Port {
    let (mut stream, mut peer) = MemoryStream::pair(usize::MAX);
    peer.send(&[IoSlice::new(bytes)]).unwrap_or_default();
    let mut cuts = cuts.into_iter().cycle();
    stream.set_cuts(move |bytes| cuts.next().map_or(bytes, |cut| bytes.min(cut)));
    SoftwarePort::new(stream, BufferPool::new())
}

/// Everything that a port receives, with how it ends.
fn receive_all(port: &mut Port) -> (Vec<Received>, PortError) {
    let mut all = Vec::new();
    for _ in 0..100_000 {
        match port.receive() {
            Ok(received) => all.extend(received),
            Err(error) => return (all, error),
        }
    }
    panic!("a stream that ends, ends a port");
}

/// The bytes of frames on the wire, made by the port itself; `tests/captures` holds those of others.
fn wire(frames: &[Frame], digests: Digests) -> Vec<u8> {
    let (stream, mut peer) = MemoryStream::pair(usize::MAX);
    let mut port = SoftwarePort::new(stream, BufferPool::new());
    port.set_digests(digests);
    frames.iter().for_each(|frame| port.send(frame.clone()));
    assert_eq!(port.flush(), Ok(Flush::Done));
    let mut bytes = BytesMut::with_capacity(1 << 24);
    peer.receive(&mut bytes).unwrap_or_default();
    bytes.to_vec()
}

fn frames() -> impl Strategy<Value = Vec<Frame>> {
    let frame = (any::<[u8; 48]>(), 0usize..5, prop::collection::vec(any::<u8>(), 0..700))
        .prop_map(|(header, ahs_words, data)| Frame::new(Header(header), vec![7; ahs_words * 4].into(), data.into()));
    prop::collection::vec(frame, 1..12)
}

fn digests() -> impl Strategy<Value = Digests> {
    any::<(bool, bool)>().prop_map(|(header, data)| Digests { header, data })
}

/// Cuts of which not all are zero, so that bytes move.
fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![0usize..4, 0usize..100, Just(usize::MAX)], 0..20).prop_map(|mut cuts| {
        cuts.push(1);
        cuts
    })
}

proptest! {
    // RFC 7143 11.1-1, 11.2-1.
    #[test]
    fn frames_do_not_depend_on_where_the_stream_is_cut(frames in frames(), digests in digests(), cuts in cuts()) {
        let mut port = port_with(&wire(&frames, digests), cuts);
        port.set_digests(digests);
        let (received, error) = receive_all(&mut port);
        prop_assert_eq!(received, frames.into_iter().map(Received::Frame).collect::<Vec<_>>());
        prop_assert_eq!(error.kind(), PortErrorKind::Closed);
    }

    #[test]
    fn a_port_that_goes_from_pool_to_pool_loses_nothing(frames in frames(), digests in digests(), cuts in cuts()) {
        let mut port = port_with(&wire(&frames, digests), cuts);
        port.set_digests(digests);
        let mut received = Vec::new();
        let error = loop {
            match port.receive() {
                Ok(frame) => received.extend(frame),
                Err(error) => break error,
            }
            port = port.detach().attach(BufferPool::new());
        };
        prop_assert_eq!(received, frames.into_iter().map(Received::Frame).collect::<Vec<_>>());
        prop_assert_eq!(error.kind(), PortErrorKind::Closed);
    }

    #[test]
    fn any_bytes_give_frames_or_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..3000),
        digests in digests(),
        max in prop_oneof![0u32..5000, any::<u32>()],
        cuts in cuts(),
    ) {
        let length = bytes.len();
        let mut port = port_with(&bytes, cuts);
        port.set_digests(digests);
        port.set_receive_limits(ReceiveLimits::of_segments(max));
        let (received, _) = receive_all(&mut port);
        let used: usize = received.iter().map(|received| match received {
            Received::Frame(frame) => HEADER_LENGTH + frame.ahs.len() + frame.data.len(),
            Received::BadDataDigest(_) | Received::BadHeaderDigest(_) => HEADER_LENGTH,
        }).sum();
        prop_assert!(used <= length);
        prop_assert!(port.received.bytes.capacity() <= CHUNK_BYTES.max(max as usize + 2048));
    }

    /// RFC 7143 7.8-1, 7.8-5.
    /// RFC 7143 13.1-2: every PDU is protected, whatever its opcode.
    #[test]
    fn under_digests_no_flipped_bit_passes(frames in frames(), place in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut bytes = wire(&frames, BOTH);
        let at = place.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let mut port = port_with(&bytes, Vec::new());
        port.set_digests(BOTH);
        let (received, error) = receive_all(&mut port);
        let damaged = |received: &Received| !matches!(received, Received::Frame(_));
        prop_assert!(received.iter().filter(|received| damaged(received)).count() <= 1);
        // A length that was flipped may happen to skip just some whole PDUs: the others come as they were sent, in their order.
        let mut left = frames.iter();
        for received in &received {
            match received {
                Received::Frame(frame) => prop_assert!(left.any(|sent| sent == frame)),
                Received::BadDataDigest(header) => prop_assert!(left.any(|sent| sent.header == *header)),
                Received::BadHeaderDigest(header) => {
                    let sent = left.next().expect("it is one of those that were sent");
                    let differ = header.0.iter().zip(&sent.header.0).filter(|(left, right)| left != right).count();
                    prop_assert!(differ <= 1);
                }
            }
        }
        // Either one PDU is bad and all others come, or the connection ends at the header behind one whose length was flipped;
        // a flipped length may ask for more than there is.
        if received.len() == frames.len() && received.iter().any(damaged) {
            prop_assert!(matches!(error.kind(), PortErrorKind::HeaderDigest | PortErrorKind::Closed));
        } else {
            prop_assert!(received.len() < frames.len());
            prop_assert!(matches!(error.kind(), PortErrorKind::HeaderDigest | PortErrorKind::Closed));
        }
    }
}

// RFC 7143 11.1-1, 11.2-1, 13.1-3: up to three zeros, which the digest covers.
#[test]
fn padding_is_zeros() {
    for length in 1..=8 {
        let frame = frame_with_data(length);
        let bytes = wire(std::slice::from_ref(&frame), Digests { header: false, data: true });
        let (data, digest) = bytes[HEADER_LENGTH..].split_at(length.next_multiple_of(4));
        assert_eq!((&data[..length], &data[length..]), (&frame.data[..], &[0; 3][..data.len() - length]));
        assert_eq!(digest, digest::of(data));
    }
}

/// The header of a PDU that says that it has so much data.
fn header_with_length(length: u32) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_LENGTH];
    bytes[4..8].copy_from_slice(&length.to_be_bytes());
    bytes
}

#[test]
fn nothing_is_allocated_for_a_segment_that_is_too_long() {
    let mut port = port_with(&header_with_length(SEGMENT_BYTES_MAX), Vec::new());
    let (_, error) = receive_all(&mut port);
    assert_eq!(error.kind(), PortErrorKind::SegmentTooLong);
    assert!(port.received.bytes.capacity() <= CHUNK_BYTES);
    assert!(error.to_string().contains("16777215") && error.to_string().contains("8192"), "{error}");
}

#[test]
fn a_login_has_no_additional_header_segment() {
    let mut bytes = header_with_length(8);
    bytes[4] = 1;
    let mut port = port_with(&bytes, Vec::new());
    port.set_receive_limits(ReceiveLimits::LOGIN);
    assert_eq!(receive_all(&mut port).1.kind(), PortErrorKind::AhsTooLong);
}

/// RFC 7143 7.8-1.
#[test]
fn a_length_is_not_believed_before_its_digest() {
    let mut bytes = header_with_length(RECEIVE_SEGMENT_BYTES_DEFAULT + 1);
    bytes.extend([0; 4]);
    let mut port = port_with(&bytes, Vec::new());
    port.set_digests(BOTH);
    assert_eq!(receive_all(&mut port).1.kind(), PortErrorKind::HeaderDigest);
}

#[test]
fn a_connection_that_ends_within_a_pdu_says_so() {
    let mut port = port_with(&header_with_length(8)[..47], Vec::new());
    assert!(receive_all(&mut port).1.to_string().contains("47 of 48 bytes"));
    let mut port = port_with(&header_with_length(8), Vec::new());
    assert!(receive_all(&mut port).1.to_string().contains("48 of 56 bytes"));
}

#[test]
fn an_idle_port_holds_no_buffer() {
    let (mut left, mut right) = pair(usize::MAX);
    for frame in [frame_with_data(4096), frame_with_data(0)] {
        left.send(frame.clone());
        left.flush().unwrap();
        assert_eq!(right.receive().unwrap(), Some(Received::Frame(frame)));
        assert_eq!(right.receive(), Ok(None));
    }
    assert!(!left.queue.has_memory());
    assert_eq!(right.received.bytes.capacity(), 0);
}

#[test]
fn half_a_header_holds_no_chunk() {
    let (mut stream, peer) = MemoryStream::pair(usize::MAX);
    let mut port = SoftwarePort::new(peer, BufferPool::new());
    stream.send(&[IoSlice::new(&header_with_length(8)[..20])]).unwrap();
    assert_eq!(port.receive(), Ok(None));
    assert_eq!(port.received.bytes.capacity(), 20);
    stream.send(&[IoSlice::new(&header_with_length(8)[20..])]).unwrap();
    stream.send(&[IoSlice::new(&[0; 8])]).unwrap();
    assert!(matches!(port.receive(), Ok(Some(Received::Frame(_)))));
    assert_eq!(port.receive(), Ok(None));
    assert_eq!(port.received.bytes.capacity(), 0);
}

#[test]
fn data_lies_where_it_was_read_and_the_memory_is_used_again() {
    let (mut left, mut right) = pair(usize::MAX);
    let mut first = None;
    for _ in 0..100 {
        left.send(frame_with_data(1000));
        left.send(frame_with_data(1000));
        left.flush().unwrap();
        let Some(Received::Frame(one)) = right.receive().unwrap() else { panic!("a PDU is there") };
        let Some(Received::Frame(two)) = right.receive().unwrap() else { panic!("a PDU is there") };
        assert_eq!(two.data.as_ptr(), one.data.as_ptr().wrapping_add(1000 + HEADER_LENGTH));
        assert_eq!(*first.get_or_insert(one.data.as_ptr()), one.data.as_ptr());
        assert_eq!(right.receive(), Ok(None));
    }
}

#[test]
fn a_frame_holds_no_chunk_when_too_many_are_held() {
    let (pool, held) = pool::tests::strained_pool();
    let (left, right) = MemoryStream::pair(usize::MAX);
    let (mut left, mut right) = (SoftwarePort::new(left, pool.clone()), SoftwarePort::new(right, pool.clone()));
    let frames = [4096, 3, 0].map(frame_with_data);
    let received = crate::conformance::exchange(&mut left, &mut right, &frames);
    drop(held);
    assert_eq!(pool.take_chunk(1).capacity(), CHUNK_BYTES);
    assert!(received == frames.map(Received::Frame));
}

#[test]
fn a_segment_longer_than_a_chunk_has_a_buffer_of_its_own() {
    let (mut left, mut right) = pair(100_000);
    right.set_receive_limits(ReceiveLimits::of_segments(SEGMENT_BYTES_MAX));
    let frames = [1 << 20, 10, CHUNK_BYTES - HEADER_LENGTH, CHUNK_BYTES, 7].map(frame_with_data);
    let received = crate::conformance::exchange(&mut left, &mut right, &frames);
    assert!(received == frames.map(Received::Frame));
    assert_eq!(right.receive(), Ok(None));
    assert_eq!(right.received.bytes.capacity(), 0);
}

/// Takes everything, and remembers each write as the lengths of its slices.
#[derive(Default)]
struct Writes(Vec<Vec<usize>>);

impl ByteStream for Writes {
    fn receive(&mut self, _buffer: &mut BytesMut) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn send(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.push(slices.iter().map(|slice| slice.len()).collect());
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }
}

#[test]
fn a_batch_is_one_write_and_a_digest_goes_with_its_data() {
    let mut port = SoftwarePort::new(Writes::default(), BufferPool::new());
    port.set_digests(BOTH);
    (0..3).for_each(|_| port.send(frame_with_data(4095)));
    port.send(frame_with_data(10));
    port.flush().unwrap();
    // Header and its digest; data; padding, data digest, the next header and its digest; small data is copied.
    let between = 1 + 4 + 48 + 4;
    assert_eq!(port.stream.0, [[52, 4095, between, 4095, between, 4095, between + 10 + 2 + 4]]);

    port.stream.0.clear();
    (0..200).for_each(|_| port.send(frame_with_data(1024)));
    port.flush().unwrap();
    for write in &port.stream.0 {
        assert_ne!(write.last(), Some(&1024), "data is not parted from its digest");
    }
    assert_eq!(port.stream.0.len(), 2);
}

#[test]
fn a_queue_that_never_empties_does_not_grow() {
    let (mut left, mut right) = pair(10_000);
    for _ in 0..2000 {
        while left.can_send() {
            left.send(frame_with_data(100));
        }
        assert_eq!(left.flush(), Ok(Flush::Pending));
        while right.receive().unwrap().is_some() {}
    }
    assert!(left.queue.copied_capacity() <= 4 * SEND_QUEUE_BYTES_MAX);
}

#[test]
fn a_port_that_goes_to_another_pool_sends_what_it_was_given_and_leaves_its_memory_behind() {
    let (stream, mut peer) = MemoryStream::pair(usize::MAX);
    let pool = BufferPool::new();
    let mut port = SoftwarePort::new(stream, pool.clone());
    peer.send(&[IoSlice::new(&[0; 20])]).expect("the stream takes a part of a header");
    assert_eq!(port.receive(), Ok(None));
    let tag = port.reserve(0);
    port.send(frame_with_data(5000));
    let mut port = port.detach().attach(BufferPool::new());
    assert_eq!(pool.take_chunk(CHUNK_BYTES).capacity(), CHUNK_BYTES);
    assert_ne!(port.reserve(0), tag);
    assert_eq!(port.flush(), Ok(Flush::Done));
    let mut bytes = BytesMut::with_capacity(1 << 16);
    assert_eq!(peer.receive(&mut bytes).ok(), Some(HEADER_LENGTH + 5000));
}

/// Three PDUs with header digests, a bit of the second header flipped.
fn with_flipped_header(byte: usize) -> Port {
    let frames = [frame_with_data(100), frame_with_data(30_000), frame_with_data(5)];
    let digests = Digests { header: true, data: false };
    let mut bytes = wire(&frames, digests);
    bytes[HEADER_LENGTH + DIGEST_LENGTH + 100 + byte] ^= 1;
    let mut port = port_with(&bytes, vec![1000]);
    port.set_digests(digests);
    port.set_receive_limits(ReceiveLimits::of_segments(32_768));
    port
}

/// RFC 7143 7.8-1.
#[test]
fn a_header_with_a_bad_digest_is_dropped_with_its_data_if_the_next_one_is_good() {
    let (received, error) = receive_all(&mut with_flipped_header(20));
    let [Received::Frame(first), Received::BadHeaderDigest(_), Received::Frame(last)] = &received[..] else {
        panic!("{received:?}");
    };
    assert_eq!((first, last), (&frame_with_data(100), &frame_with_data(5)));
    assert_eq!(error.kind(), PortErrorKind::Closed);
}

/// RFC 7143 7.8-1.
#[test]
fn a_length_that_leads_to_no_header_ends_the_connection() {
    let (received, error) = receive_all(&mut with_flipped_header(6));
    assert!(matches!(received[..], [Received::Frame(_), Received::BadHeaderDigest(_)]), "{received:?}");
    assert_eq!(error.kind(), PortErrorKind::HeaderDigest);
}
