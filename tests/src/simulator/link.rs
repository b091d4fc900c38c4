//! One connection of the world: two ports over a byte stream in memory, each under trouble and under watch.

use super::books::SessionBooks;
use super::bugs::{Bug, BugPort, Mixed};
use super::plan::Plan;
use super::verdict::Verdict;
use super::wire::{End, WireControl, WirePort};
use iscsi_node::target::ConnectionId;
use iscsi_pdu::Cid;
use iscsi_transport::{
    BufferPool, Digests, FaultPort, FaultStream, MemoryStream, PortControl, PortFaults, Random, SoftwarePort,
    StreamControl, StreamFaults, Trace, TracePort,
};
use std::time::Duration;

/// A port of the world, from the node down to the bytes.
pub(crate) type Port = TracePort<WirePort<FaultPort<Bottom>>>;

/// What is below the faults.
type Bottom = BugPort<SoftwarePort<FaultStream<MemoryStream>>>;

/// One end of a connection, as the world sees it.
#[derive(Debug)]
pub(crate) struct EndOfLink {
    pub(crate) stream: StreamControl,
    pub(crate) port: PortControl,
    pub(crate) wire: WireControl,
    /// When it has its next turn.
    pub(crate) due: Option<Duration>,
    /// What the stream had done when the world looked last.
    seen: (u64, u64, bool, bool),
    /// Turns in a row that it was given because it was held back, and that have moved nothing.
    fruitless: u32,
}

impl EndOfLink {
    /// Whether the stream has done something that the other end can see, since this was last asked.
    pub(crate) fn has_moved(&mut self) -> bool {
        let stream = &self.stream;
        let now = (stream.sent_bytes(), stream.received_bytes(), stream.has_finished(), stream.has_ended());
        let has_moved = std::mem::replace(&mut self.seen, now) != now;
        if has_moved {
            self.fruitless = 0;
        }
        has_moved
    }

    /// How long it waits for its next turn, if it is to have one because nobody else will say so: the longer the less comes of it.
    pub(crate) fn take_held_back(&mut self) -> Option<Duration> {
        let (stream, port) = (self.stream.take_held_back(), self.port.take_held_back());
        let is_held_back = (stream || port) && !self.stream.has_ended();
        is_held_back.then(|| {
            self.fruitless = (self.fruitless + 1).min(12);
            Duration::from_micros(4 << self.fruitless)
        })
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Link {
    /// The initiator's session that it belongs to.
    pub(crate) session: usize,
    pub(crate) cid: Cid,
    pub(crate) connection: ConnectionId,
    pub(crate) initiator: EndOfLink,
    pub(crate) target: EndOfLink,
    /// What protects its PDUs, once its login has ended.
    pub(crate) digests: Digests,
    pub(crate) is_stalled: bool,
    /// There was a fault: it may end.
    pub(crate) is_troubled: bool,
    /// The target has a session that it is part of.
    pub(crate) is_in_session: bool,
    /// The target has said that the connection has ended.
    pub(crate) has_ended: bool,
}

impl Link {
    /// Ends all trouble but the ordinary one.
    pub(crate) fn calm(&mut self, plan: &Plan) {
        for end in [&self.initiator, &self.target] {
            end.stream.change(|faults| *faults = noise(plan));
            end.port.change(|faults| *faults = PortFaults::default());
        }
        self.is_stalled = false;
    }

    pub(crate) fn stall(&mut self, stalled: bool) {
        self.is_stalled = stalled;
        for end in [&self.initiator, &self.target] {
            end.stream.change(|faults| faults.stalled = stalled);
        }
    }

    pub(crate) fn end(&self, end: End) -> &EndOfLink {
        match end {
            End::Initiator => &self.initiator,
            End::Target => &self.target,
        }
    }

    pub(crate) fn end_mut(&mut self, end: End) -> &mut EndOfLink {
        match end {
            End::Initiator => &mut self.initiator,
            End::Target => &mut self.target,
        }
    }
}

/// What every stream of the world does all the time: it splits, merges and holds back.
fn noise(plan: &Plan) -> StreamFaults {
    StreamFaults {
        piece_bytes_max: plan.piece_bytes_max,
        blocked_one_in: plan.blocked_one_in,
        ..StreamFaults::default()
    }
}

/// What all connections of a world are made with.
#[derive(Debug)]
pub(crate) struct LinkMaker {
    pub(crate) pool: BufferPool,
    pub(crate) trace: Trace,
    pub(crate) verdict: Verdict,
    pub(crate) bug: Option<Bug>,
}

impl LinkMaker {
    /// Two ports that are connected: that of an initiator's session, and the target's.
    pub(crate) fn connect(
        &self,
        name: &str,
        link: usize,
        (books, mixed): (&SessionBooks, &[Mixed; 2]),
        plan: &Plan,
        random: &mut Random,
    ) -> [(Port, EndOfLink); 2] {
        let (here, there) = MemoryStream::pair(plan.link_bytes_max);
        let (verdict, target_name) = (self.verdict.clone(), format!("{name} targ"));
        let name = format!("{name} init");
        let initiator = self.end(here, &name, (link, &mixed[0]), plan, random, |port| {
            WirePort::of_initiator(port, &name, link, books.clone(), verdict.clone())
        });
        // A tag a task, and some for pings, texts and task management.
        let tags_max = plan.window as usize + 24;
        let target = self.end(there, &target_name, (link, &mixed[1]), plan, random, |port| {
            WirePort::of_target(port, &target_name, tags_max, books.clone(), verdict.clone())
        });
        [initiator, target]
    }

    fn end(
        &self,
        stream: MemoryStream,
        name: &str,
        (link, mixed): (usize, &Mixed),
        plan: &Plan,
        random: &mut Random,
        watch: impl FnOnce(FaultPort<Bottom>) -> (WirePort<FaultPort<Bottom>>, WireControl),
    ) -> (Port, EndOfLink) {
        let (stream, stream_control) = FaultStream::new(stream, random.fork());
        stream_control.change(|faults| *faults = noise(plan));
        let port = SoftwarePort::new(stream, self.pool.clone());
        let port = BugPort::new(port, self.bug, random.fork(), link, mixed.clone());
        let (port, port_control) = FaultPort::new(port, random.fork());
        let (port, wire) = watch(port);
        let port = TracePort::new(port, self.trace.clone(), name);
        (
            port,
            EndOfLink {
                stream: stream_control,
                port: port_control,
                wire,
                due: None,
                seen: (0, 0, false, false),
                fruitless: 0,
            },
        )
    }
}
