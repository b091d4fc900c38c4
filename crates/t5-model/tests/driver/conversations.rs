//! One suite for all ports: random conversations come out as the same PDUs with the same data over byte streams, over the loopback port, and over the
//! adapter, within one and between two with a bad cable; and placement writes nothing but its place.

use super::world::{BAD_CABLE, PHYSICAL, VIRTUAL, World, data_out};
use bytes::Bytes;
use iscsi_pdu::Frame;
use iscsi_transport::{
    BufferPool, Digests, Flush, LoopbackPort, MemoryStream, PduPort, Received, SoftwarePort, conformance,
};
use proptest::prelude::*;
use std::sync::Arc;
use t5_hal::Bus;

/// What unused memory is full of.
const GUARD: u8 = 0xa5;
/// Bytes on either side of a place that are looked at.
const GUARD_BYTES: u64 = 8192;
/// As much memory as all places of a conversation are in.
const GUARDED_BYTES: usize = 1 << 20;

/// Data goes to the target for a tag, and an answer comes back.
#[derive(Clone, Debug)]
struct Turn {
    digests: Digests,
    /// Whether the tag has a place, where the port has places.
    placed: bool,
    /// Lengths of the segments that the data is cut into.
    segments: Vec<usize>,
    /// Length of the answer.
    answer: usize,
}

impl Turn {
    fn data(&self) -> Vec<u8> {
        let total = self.segments.iter().sum::<usize>();
        (0..total).map(|at| (at * 7 + at / 251 + total) as u8 & !1).collect()
    }

    /// The PDUs of the data for that tag.
    fn frames(&self, tag: u32) -> Vec<Frame> {
        let (data, mut at) = (self.data(), 0);
        let cut = |&length: &usize| {
            at += length;
            data_out(tag, (at - length) as u32, data[at - length..at].to_vec())
        };
        self.segments.iter().map(cut).collect()
    }
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let segments = prop_oneof![
        prop::collection::vec(1..8192usize, 1..5),
        prop::collection::vec((1..16usize).prop_map(|sectors| sectors * 512), 1..5),
    ];
    let turn = (any::<[bool; 3]>(), segments, 0..8192usize).prop_map(|([header, data, placed], segments, answer)| {
        Turn { digests: Digests { header, data }, placed, segments, answer }
    });
    prop::collection::vec(turn, 1..6)
}

/// Carries those PDUs from one port to the other, and says what comes out.
fn carry(from: &mut impl PduPort, to: &mut impl PduPort, frames: &[Frame], step: &impl Fn()) -> Vec<Received> {
    let (mut unsent, mut arrived) = (frames.iter(), Vec::new());
    for _ in 0..200_000 {
        while from.can_send()
            && let Some(frame) = unsent.next()
        {
            from.send(frame.clone());
        }
        from.flush().unwrap();
        to.flush().unwrap();
        step();
        while let Some(received) = to.receive().unwrap() {
            arrived.push(received);
        }
        if arrived.len() >= frames.len() {
            return arrived;
        }
    }
    panic!("{} of {} PDUs have come", arrived.len(), frames.len());
}

fn data_of(received: &[Received]) -> Vec<Bytes> {
    let data = |one: &Received| match one {
        Received::Frame(frame) => frame.data.clone(),
        other => panic!("a good PDU comes, not {other:?}"),
    };
    received.iter().map(data).collect()
}

/// Has one turn of a conversation between an initiator's and a target's port. `judge` sees the data as it has come, before its tag is given back.
fn take_turn<A: PduPort, B: PduPort>(
    turn: &Turn,
    (initiator, target): &mut (A, B),
    step: &impl Fn(),
    judge: impl FnOnce(&[Bytes]),
) {
    initiator.set_digests(turn.digests);
    target.set_digests(turn.digests);
    let tag = target.reserve(if turn.placed { turn.data().len() as u32 } else { 0 });
    while target.flush().unwrap() == Flush::Pending {
        step();
    }
    let sent = turn.frames(tag);
    let arrived = carry(initiator, target, &sent, step);
    let wanted: Vec<_> = sent.into_iter().map(Received::Frame).collect();
    assert!(arrived == wanted, "other PDUs than were sent: {turn:?}");
    judge(&data_of(&arrived));
    drop(arrived);
    target.release(tag);
    let answer = conformance::frame_with_data(turn.answer);
    assert_eq!(carry(target, initiator, std::slice::from_ref(&answer), step), [Received::Frame(answer)]);
}

/// A conversation over ports of software.
fn converse<A: PduPort, B: PduPort>(turns: &[Turn], mut ports: (A, B)) {
    turns.iter().for_each(|turn| take_turn(turn, &mut ports, &|| {}, |_| {}));
}

/// The same over adapters, with guards around all that is placed.
fn converse_over(world: &World, turns: &[Turn]) {
    let mut ports = world.ports();
    let memory = Arc::clone(world.target.borrow().bus().memory());
    let guard = |address: u64, length: usize| memory.write(address, &vec![GUARD; length]).unwrap();
    guard(memory.buffers(), (memory.end() - memory.buffers()) as usize);
    for turn in turns {
        let (total, mut placed_at) = (turn.data().len(), None);
        take_turn(turn, &mut ports, &|| world.carry(), |data| {
            placed_at = memory.locate(&data[0]);
            let can_be_lent = turn.placed && turn.segments.iter().all(|length| length.is_multiple_of(512));
            assert!(placed_at.is_some() || !can_be_lent, "it has a place: {turn:?}");
            let Some(place) = placed_at else { return };
            let begin = (place - GUARD_BYTES).max(memory.buffers());
            let end = (place + total as u64 + GUARD_BYTES).min(memory.end());
            let mut around = vec![0; (end - begin) as usize];
            memory.read(begin, &mut around).unwrap();
            let (before, rest) = around.split_at((place - begin) as usize);
            assert!(rest[..total] == turn.data(), "the place has the data: {turn:?}");
            let mut beside = before.iter().chain(&rest[total..]);
            assert!(beside.all(|&byte| byte == GUARD), "something was written beside the place: {turn:?}");
        });
        if turn.placed {
            // Places that were copied out of are guards again as well.
            guard(memory.buffers(), GUARDED_BYTES);
        }
    }
    assert_eq!(world.faults(), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn conversations_are_the_same_over_every_port(turns in turns(), cuts in prop::collection::vec(1..3000usize, 1..8)) {
        let (mut here, there) = MemoryStream::pair(32 << 10);
        let mut next = cuts.into_iter().cycle();
        here.set_cuts(move |bytes| bytes.min(next.next().unwrap()));
        let port = |stream| SoftwarePort::new(stream, BufferPool::default());
        converse(&turns, (port(here), port(there)));
        converse(&turns, LoopbackPort::pair());
        converse_over(&World::new(), &turns);
        converse_over(&World::between(VIRTUAL), &turns);
        converse_over(&World::over(VIRTUAL, BAD_CABLE), &turns);
        converse_over(&World::over(PHYSICAL, BAD_CABLE), &turns);
    }
}

#[test]
fn the_guard_is_no_byte_of_any_data() {
    // So that a byte too many shows.
    let turn = Turn { digests: Digests::default(), placed: true, segments: vec![4096], answer: 0 };
    assert!(!turn.data().contains(&GUARD));
}
