//! What one function may have of what all share, so that a driver that means harm cannot take it from the others.
//!
//! The adapter of the paper gives each function its share by the configuration of its firmware; these are shares of that kind. What a
//! function has for itself alone (queues, next hops, listeners, page pods, sessions) is bounded where it is made.

use super::Core;
use super::firmware::TIDS;
use super::open::SEND_BYTES;
use t5_hal::wire::FunctionId;

/// Virtual interfaces, of 128: those of the target's function in the shipped configuration.
pub(super) const INTERFACES_MAX: usize = 28;
/// Exact addresses, of 336: four for each virtual interface.
pub(super) const ADDRESSES_MAX: usize = 4 * INTERFACES_MAX;
/// Connections.
pub(super) const CONNECTIONS_MAX: usize = TIDS as usize / 2;
/// Connections that wait for the driver's word.
pub(super) const ASKED_MAX: usize = TIDS as usize / 8;
/// Bytes of the windows of all connections.
pub(super) const WINDOWS_BYTES_MAX: usize = 512 << 20;
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
        self.held(who).window_bytes + receive_bytes + SEND_BYTES <= WINDOWS_BYTES_MAX
    }
}
