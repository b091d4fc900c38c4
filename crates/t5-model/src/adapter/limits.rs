//! What one function may have of what all share, so that a driver that means harm cannot take it from the others.
//!
//! How much a function may have of what is counted is its [`Share`](super::profile::Share) and its limits; how much work is done for it in one turn
//! stands here. What a function has for itself alone (listeners, page pods, sessions) is bounded where it is made.

use super::Core;
use super::open::SEND_BYTES;
use t5_hal::wire::FunctionId;

/// Work requests that are done before others have their turn.
pub(super) const REQUESTS_A_TURN: usize = 128;
/// Bytes of frames, each copy counted, after which others have their turn.
pub(super) const COPIED_BYTES_A_TURN: u64 = 16 << 20;

/// What a function has of connections.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Held {
    pub(super) connections: usize,
    pub(super) asked: usize,
    pub(super) window_bytes: usize,
}

impl Core {
    /// What a function has of connections.
    pub(super) fn held(&self, who: FunctionId) -> Held {
        self.flows.iter().filter(|(_, flow)| flow.owner == who).fold(Held::default(), |held, (_, flow)| Held {
            connections: held.connections + 1,
            asked: held.asked + usize::from(flow.is_asked()),
            window_bytes: held.window_bytes + flow.tcp.as_ref().map_or(0, |_| flow.window_bytes as usize + SEND_BYTES),
        })
    }

    /// Whether a function may have a receive window of that many bytes more. Connections are counted where they get their number.
    pub(super) fn may_open(&self, who: FunctionId, receive_bytes: usize) -> bool {
        let share = self.functions[who].as_ref().expect("a driver was heard of, so its function is there").share;
        self.held(who).window_bytes + receive_bytes + SEND_BYTES <= share.windows_bytes
    }
}
