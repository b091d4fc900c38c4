//! What every port does, as checks that the tests of a port call: [`run`] takes a way to connect two of them.
//!
//! Each check stands for a sentence in the documentation of [`PduPort`], and panics with what was expected.

use crate::{Digests, Flush, PduPort, PortErrorKind, RECEIVE_SEGMENT_BYTES_DEFAULT, ReceiveLimits, Received};
use bytes::Bytes;
use iscsi_pdu::ahs::Ahs;
use iscsi_pdu::{CmdSn, DataIn, Frame, InitiatorTaskTag, NopOut, Pdu, ScsiCommand};
use std::collections::HashSet;

/// So often an exchange goes round before it is called stuck.
const ROUNDS_MAX: usize = 1_000_000;

/// Runs all checks, each on a new connection.
///
/// # Panics
/// If a port does not do what a port does.
pub fn run<A: PduPort, B: PduPort>(connect: impl Fn() -> (A, B)) {
    let (mut left, mut right) = connect();
    an_idle_port_has_nothing(&mut left);
    pdus_arrive_whole_and_in_order(&mut left, &mut right);
    pdus_arrive_whole_and_in_order(&mut right, &mut left);

    let (mut left, mut right) = connect();
    segments_of_any_declared_length_arrive(&mut left, &mut right);
    let (mut left, mut right) = connect();
    digests_switch_between_two_pdus(&mut left, &mut right);
    let (mut left, mut right) = connect();
    a_longer_segment_than_declared_ends_the_connection(&mut left, &mut right);
    let (mut left, mut right) = connect();
    a_full_queue_says_so_and_loses_nothing(&mut left, &mut right);
    let (mut left, _right) = connect();
    tags_are_unique(&mut left);
    let (left, right) = connect();
    what_was_flushed_arrives_before_the_end(left, right);
}

/// Sends `frames` from one port to the other, and says what arrives, until as many have arrived.
///
/// # Panics
/// If a port fails, or nothing moves any more.
pub fn exchange(from: &mut impl PduPort, to: &mut impl PduPort, frames: &[Frame]) -> Vec<Received> {
    let mut unsent = frames.iter();
    let mut arrived = Vec::new();
    for _ in 0..ROUNDS_MAX {
        while from.can_send()
            && let Some(frame) = unsent.next()
        {
            from.send(frame.clone());
        }
        from.flush().expect("a flush while both ends live");
        while let Some(received) = to.receive().expect("good PDUs are received") {
            arrived.push(received);
        }
        if arrived.len() >= frames.len() {
            return arrived;
        }
    }
    panic!("{} of {} PDUs have arrived, and no more come", arrived.len(), frames.len());
}

fn assert_arrives(from: &mut impl PduPort, to: &mut impl PduPort, frames: &[Frame]) {
    let arrived = exchange(from, to, frames);
    assert_eq!(arrived.len(), frames.len(), "as many PDUs arrive as are sent");
    for (arrived, sent) in arrived.into_iter().zip(frames) {
        assert!(arrived == Received::Frame(sent.clone()), "sent {sent:?}, received {arrived:?}");
    }
}

/// A frame with that many bytes of data, which no two lengths have in common.
#[must_use]
pub fn frame_with_data(length: usize) -> Frame {
    let data: Bytes = (0..length).map(|at| (at.wrapping_mul(31) ^ length ^ (at >> 8)) as u8).collect();
    Pdu::from(DataIn { data_sn: length as u32, data, ..DataIn::default() }).encode()
}

/// PDUs with and without data and additional header segments.
fn assorted_frames() -> Vec<Frame> {
    let mut frames: Vec<Frame> = (0..40).map(frame_with_data).collect();
    frames.extend([255, 256, 257, 4096, 8191, 8192].map(frame_with_data));
    frames.extend((1..=244).step_by(27).map(|length| {
        let ahs = Ahs { extended_cdb: Some(vec![length; length.into()].into()), bidirectional_read_length: Some(7) };
        let command = ScsiCommand {
            initiator_task_tag: InitiatorTaskTag(length.into()),
            ahs: ahs.encode(),
            data: vec![length; 512].into(),
            ..ScsiCommand::default()
        };
        Pdu::from(command).encode()
    }));
    frames.push(Pdu::from(NopOut { cmd_sn: CmdSn(9), ..NopOut::default() }).encode());
    frames
}

fn an_idle_port_has_nothing(port: &mut impl PduPort) {
    for _ in 0..3 {
        assert_eq!(port.receive(), Ok(None), "nothing was sent");
        assert_eq!(port.flush(), Ok(Flush::Done), "nothing is queued");
        assert!(port.can_send(), "an empty queue has room");
    }
}

fn pdus_arrive_whole_and_in_order(from: &mut impl PduPort, to: &mut impl PduPort) {
    let max = from.capabilities().ahs_bytes_max.min(to.capabilities().ahs_bytes_max) as usize;
    let mut frames = assorted_frames();
    frames.retain(|frame| frame.ahs.len() <= max);
    assert_arrives(from, to, &frames);
}

fn segments_of_any_declared_length_arrive(from: &mut impl PduPort, to: &mut impl PduPort) {
    let max = from.capabilities().send_segment_bytes_max.min(to.capabilities().receive_segment_bytes_max);
    let max = max.min(1 << 20) as usize;
    to.set_receive_limits(ReceiveLimits::of_segments(max as u32));
    let lengths = [max, 1, max - 1, max / 2 + 1, max, 0, max];
    assert_arrives(from, to, &lengths.map(frame_with_data));
}

fn digests_switch_between_two_pdus(left: &mut impl PduPort, right: &mut impl PduPort) {
    for (header, data) in [(false, false), (true, false), (true, true), (false, true), (false, false)] {
        left.set_digests(Digests { header, data });
        right.set_digests(Digests { header, data });
        pdus_arrive_whole_and_in_order(left, right);
        pdus_arrive_whole_and_in_order(right, left);
    }
}

fn a_longer_segment_than_declared_ends_the_connection(from: &mut impl PduPort, to: &mut impl PduPort) {
    let max = RECEIVE_SEGMENT_BYTES_DEFAULT as usize;
    assert_arrives(from, to, &[frame_with_data(max)]);
    from.send(frame_with_data(max + 1));
    for _ in 0..ROUNDS_MAX {
        from.flush().expect("a flush while both ends live");
        match to.receive() {
            Ok(None) => {}
            Ok(Some(received)) => panic!("8192 bytes are the default, {received:?} came"),
            Err(error) => {
                assert_eq!(error.kind(), PortErrorKind::SegmentTooLong);
                assert_eq!(to.receive(), Err(error), "the first error stays");
                return;
            }
        }
    }
    panic!("a segment that is too long is found");
}

fn a_full_queue_says_so_and_loses_nothing(from: &mut impl PduPort, to: &mut impl PduPort) {
    let mut sent = Vec::new();
    while from.can_send() {
        sent.push(frame_with_data(sent.len() % 4096));
        from.send(sent[sent.len() - 1].clone());
        assert!(sent.len() < 1_000_000, "a queue is bounded");
    }
    let mut arrived = Vec::new();
    for _ in 0..ROUNDS_MAX {
        if arrived.len() == sent.len() {
            break;
        }
        from.flush().expect("a flush while both ends live");
        arrived.extend(to.receive().expect("good PDUs are received"));
    }
    let sent: Vec<_> = sent.into_iter().map(Received::Frame).collect();
    assert!(arrived == sent, "{} PDUs sent, {} received", sent.len(), arrived.len());
    assert_eq!(from.flush(), Ok(Flush::Done), "all has gone");
    assert_arrives(from, to, &[frame_with_data(1)]);
}

fn tags_are_unique(port: &mut impl PduPort) {
    let mut live = HashSet::new();
    let longest = port.capabilities().placement_bytes_max;
    for round in 0..1000u32 {
        let tag = port.reserve([0, 1, 4096, longest, u32::MAX][round as usize % 5]);
        assert_ne!(tag, u32::MAX, "this tag means none");
        assert!(live.insert(tag), "tag {tag:#x} is reserved already");
        if round % 3 == 0 {
            let oldest = *live.iter().min().expect("one was inserted");
            live.remove(&oldest);
            port.release(oldest);
        }
    }
    for tag in live {
        port.release(tag);
    }
}

fn what_was_flushed_arrives_before_the_end(mut from: impl PduPort, mut to: impl PduPort) {
    let frames: Vec<Frame> = (0..10).map(frame_with_data).collect();
    for frame in &frames {
        from.send(frame.clone());
    }
    let mut rounds = 0;
    while from.flush().expect("a flush while both ends live") == Flush::Pending {
        rounds += 1;
        assert!(rounds < ROUNDS_MAX, "a flush ends when the peer has room");
    }
    drop(from);
    let mut arrived = Vec::new();
    let error = loop {
        match to.receive() {
            Ok(received) => arrived.extend(received),
            Err(error) => break error,
        }
    };
    assert_eq!(arrived, frames.into_iter().map(Received::Frame).collect::<Vec<_>>());
    assert!(matches!(error.kind(), PortErrorKind::Closed | PortErrorKind::Reset), "{error}");
    assert_eq!(to.receive(), Err(error), "the end stays");
    to.send(frame_with_data(1));
    assert!(to.flush().is_err(), "nothing goes to nobody");
}
