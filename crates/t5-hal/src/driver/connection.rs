//! What a driver knows of one connection.

use super::Offload;
use crate::dma::{Block, Heap, Mapping};
use bytes::{Bytes, BytesMut};
use iscsi_pdu::{Frame, Header};
use iscsi_transport::{Digests, PortError, PortErrorKind, Received};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

/// How much of the protocols the adapter does on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffloadMode {
    /// TCP, and of iSCSI framing, digests and placement.
    Ulp,
    /// TCP.
    Toe,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Accepted, and not established.
    Accepting,
    Established,
    /// Its owner is gone; our FIN is on the way or was acknowledged.
    Closing {
        ours_done: bool,
    },
    /// We have aborted it and wait for the adapter to say so.
    Aborting,
    /// The adapter is done with it; its owner is not.
    Ended,
}

/// A PDU that waits to be sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) frame: Frame,
    pub(super) digests: Digests,
}

/// A work request whose credits have not come back.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) credits: u32,
    /// Where its payload was copied to.
    pub(super) block: Option<Block>,
    /// Payload that the adapter reads where it is.
    pub(super) _payload: Option<Mapping>,
}

/// A PDU of which the header has come.
#[derive(Debug)]
pub(super) struct Assembly {
    pub(super) header: Header,
    pub(super) ahs: Box<[u8]>,
    /// Payload that was not placed.
    pub(super) data: BytesMut,
    /// With the header digest.
    pub(super) header_bytes: u32,
}

/// What has come and was not taken, with the bytes of the window that it holds.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) what: Received,
    pub(super) window_bytes: u32,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) offload: Offload,
    pub(super) state: State,
    pub(super) local: SocketAddr,
    pub(super) peer: SocketAddr,
    pub(super) listener: Option<u32>,
    /// Whether it has an owner who knows of it.
    pub(super) told: bool,

    // Sending.
    pub(super) digests: Digests,
    /// Answers to SET_TCB_FIELD that are to come before anything is sent.
    pub(super) changes_pending: u32,
    pub(super) queue: VecDeque<Outgoing>,
    pub(super) queued_bytes: usize,
    pub(super) credits: u32,
    pub(super) credits_max: u32,
    pub(super) in_flight: VecDeque<InFlight>,
    /// Credits that came back and are less than the oldest work request took.
    pub(super) credits_over: u32,
    /// Credits of work requests since one that asked for them.
    pub(super) credits_unasked: u32,
    pub(super) snd_nxt: u32,
    pub(super) data_sent: bool,
    pub(super) flow_sent: bool,

    // Receiving.
    pub(super) rcv_nxt: u32,
    pub(super) assembly: Option<Assembly>,
    pub(super) arrived: VecDeque<Arrived>,
    /// Data of a connection without iSCSI in the adapter.
    pub(super) stream: VecDeque<Bytes>,
    /// Bytes that have come and for which the window was not opened again.
    pub(super) window_used: u32,
    /// Those of them that were taken.
    pub(super) window_owed: u32,
    pub(super) peer_closed: bool,

    pub(super) failure: Option<PortError>,
    pub(super) announced: bool,
    /// Whether it waits for what others hold.
    pub(super) starved: bool,
    /// Whether its owner has left.
    pub(super) abandoned: bool,
    /// When that was noticed.
    pub(super) left_at: Option<Instant>,
    /// Places in use.
    pub(super) places: u32,
}

impl Connection {
    pub(super) fn new(offload: Offload, state: State, local: SocketAddr, peer: SocketAddr, credits: u32) -> Self {
        Self {
            offload,
            state,
            local,
            peer,
            listener: None,
            told: false,
            digests: Digests::default(),
            changes_pending: 0,
            queue: VecDeque::new(),
            queued_bytes: 0,
            credits,
            credits_max: credits,
            in_flight: VecDeque::new(),
            credits_over: 0,
            credits_unasked: 0,
            snd_nxt: 0,
            data_sent: false,
            flow_sent: false,
            rcv_nxt: 0,
            assembly: None,
            arrived: VecDeque::new(),
            stream: VecDeque::new(),
            window_used: 0,
            window_owed: 0,
            peer_closed: false,
            failure: None,
            announced: false,
            starved: false,
            abandoned: false,
            left_at: None,
            places: 0,
        }
    }

    /// Remembers the first thing that went wrong. Nothing is sent any more.
    pub(super) fn fail(&mut self, kind: PortErrorKind, text: impl Into<std::borrow::Cow<'static, str>>) {
        self.failure.get_or_insert_with(|| PortError::new(kind, text));
        self.drop_queue();
    }

    pub(super) fn drop_queue(&mut self) {
        self.queue.clear();
        self.queued_bytes = 0;
    }

    /// Whether work requests may still be sent on it.
    pub(super) fn is_open(&self) -> bool {
        self.state == State::Established && self.failure.is_none()
    }

    /// Takes credits for a work request, and says whether the adapter is to give them back when it is done: whenever it is
    /// `wanted`, and when half of all are out.
    pub(super) fn spend(&mut self, credits: u32, wanted: bool, block: Option<Block>, payload: Option<Mapping>) -> bool {
        self.credits -= credits;
        self.in_flight.push_back(InFlight { credits, block, _payload: payload });
        self.credits_unasked += credits;
        let ask = wanted || self.credits_unasked >= self.credits_max / 2;
        if ask {
            self.credits_unasked = 0;
        }
        ask
    }

    /// Takes credits back, and with them what their work requests held. Whether so many were out.
    pub(super) fn refund(&mut self, credits: u32, heap: &mut Heap) -> bool {
        let mut over = self.credits_over + credits;
        while let Some(oldest) = self.in_flight.front().filter(|oldest| oldest.credits <= over) {
            over -= oldest.credits;
            self.credits += oldest.credits;
            if let Some(block) = self.in_flight.pop_front().and_then(|oldest| oldest.block) {
                heap.free(block);
            }
        }
        let possible = over == 0 || !self.in_flight.is_empty();
        self.credits_over = if possible { over } else { 0 };
        possible
    }

    /// Gives back what work requests of an ended connection held.
    pub(super) fn free_all(&mut self, heap: &mut Heap) {
        self.in_flight.drain(..).filter_map(|request| request.block).for_each(|block| heap.free(block));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn credits_are_conserved_and_each_request_is_acknowledged_once(steps in prop::collection::vec((any::<bool>(), 1..20u32), 0..200)) {
            let anywhere = ([0, 0, 0, 0], 0).into();
            let offload = Offload { mode: OffloadMode::Ulp, queue: 0, rule: None, settings: Default::default() };
            let mut connection = Connection::new(offload, State::Established, anywhere, anywhere, 64);
            let mut heap = Heap::new(0..1 << 16);
            let (mut spent, mut returned) = (0, 0);
            for (refund, credits) in steps {
                if refund {
                    let credits = credits.min(spent - returned);
                    prop_assert!(connection.refund(credits, &mut heap));
                    returned += credits;
                } else if credits <= connection.credits {
                    connection.spend(credits, false, heap.allocate(512), None);
                    spent += credits;
                }
                let out: u32 = connection.in_flight.iter().map(|request| request.credits).sum();
                prop_assert_eq!(connection.credits + out, 64);
                prop_assert_eq!(out - connection.credits_over, spent - returned);
            }
            prop_assert!(!connection.refund(spent - returned + 1, &mut heap), "more than were out");
        }
    }
}
