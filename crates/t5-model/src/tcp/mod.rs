//! TCP of offloaded connections, by smoltcp: one small stack for each connection.
//!
//! In: frames for the connection ([`Connection::handle_packet`]), bytes to send, time. Out: Ethernet frames
//! ([`Connection::poll_transmit`]), what has become of it ([`Connection::poll_event`]), bytes that have come, in place.
//!
//! The adapter finds a connection by its addresses and ports before TCP sees a frame, so a stack has exactly one socket, no table
//! to search, no neighbours to ask: the link header is given to it, as the tables of next hops and source addresses are to the
//! adapter. Checksums are neither computed nor looked at here: [`checksum`] does both where a frame crosses a wire.
//!
//! Invariants:
//!
//! - Memory of a connection is bounded by its two windows and a few packets.
//! - Nothing happens by itself: `now` is an argument, and the initial sequence number comes from a seed.

pub mod checksum;
mod connection;
mod device;
mod packet;

pub use connection::{Connection, ConnectionConfig, Event, Loss, OpenError};
pub use device::LinkHeader;
pub use packet::{Segment, Tuple};
