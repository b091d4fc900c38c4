//! A session of a host, from the attempt to log in until nothing of it can land any more.

use super::books::SessionBooks;
use super::bugs::Mixed;
use super::client::Client;
use super::oracle::Write;
use iscsi_pdu::Tsih;
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) host: usize,
    /// None once the initiator's end is over.
    pub(crate) client: Option<Client>,
    /// Its connections that have not ended at both ends, the oldest first.
    pub(crate) links: Vec<usize>,
    pub(crate) books: SessionBooks,
    /// What bugs mix up, at each end.
    pub(crate) mixed: [Mixed; 2],
    /// What the target calls it, once it may begin.
    pub(crate) tsih: Option<Tsih>,
    /// The target has said that it ends.
    pub(crate) is_closed: bool,
    /// The target has said that it has ended, with all its block I/O.
    pub(crate) has_ended: bool,
    /// ErrorRecoveryLevel, once the target has begun it.
    pub(crate) level: u8,
    /// Time2Wait and Time2Retain together.
    pub(crate) retention: Duration,
    /// At the target it has no connection since then.
    pub(crate) alone_since: Option<Duration>,
    /// It may end, whatever its connections do: another takes the place, or it was ended.
    pub(crate) is_doomed: bool,
    /// Until then the loss of a connection may be the reason for what happens.
    pub(crate) troubled_until: Duration,
    /// The host has logged out, or gone away.
    pub(crate) has_left: bool,
    /// When its timer rings.
    pub(crate) timer_due: Option<Duration>,
    /// Writes without an answer, which may land until it has ended at the target.
    pub(crate) unknown: Vec<Write>,
}
