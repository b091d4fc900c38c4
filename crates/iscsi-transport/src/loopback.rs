//! The loopback port: two ends in one process, and no network between them.

use crate::port::{AHS_BYTES_MAX, SEGMENT_BYTES_MAX};
use crate::tags::Tags;
use crate::{Capabilities, Digests, Flush, PduPort, PortError, PortErrorKind, ReceiveLimits, Received};
use iscsi_pdu::Frame;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// PDUs that may wait at each end, and on the way between: 256 at each of the three places.
pub const LOOPBACK_FRAMES_MAX: usize = 256;

const CAPABILITIES: Capabilities = Capabilities {
    receive_segment_bytes_max: SEGMENT_BYTES_MAX,
    send_segment_bytes_max: SEGMENT_BYTES_MAX,
    ahs_bytes_max: AHS_BYTES_MAX,
    free_digests: Digests { header: true, data: true },
    placement_bytes_max: 0,
};

/// One end of a pair. The ends may live on two threads; each takes the lock between them once a batch.
///
/// PDUs cross as values: payload is shared, digests are not made because nothing can flip a bit. Who wakes whom is the
/// owners' affair.
#[derive(Debug)]
pub struct LoopbackPort {
    incoming: Arc<Mutex<Lane>>,
    outgoing: Arc<Mutex<Lane>>,
    /// PDUs taken off the incoming lane.
    received: VecDeque<Frame>,
    /// PDUs not yet put on the outgoing lane.
    queued: VecDeque<Frame>,
    tags: Tags,
    limits: ReceiveLimits,
    failure: Option<PortError>,
}

/// What is on the way in one direction.
#[derive(Debug, Default)]
struct Lane {
    frames: VecDeque<Frame>,
    /// Nothing more comes.
    finished: bool,
    /// One of the ends is gone.
    closed: bool,
}

fn lock(lane: &Mutex<Lane>) -> MutexGuard<'_, Lane> {
    // A panic elsewhere leaves a queue of whole PDUs.
    lane.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LoopbackPort {
    /// Two ends that are connected.
    #[must_use]
    pub fn pair() -> (Self, Self) {
        let (there, back) = (Arc::default(), Arc::default());
        (Self::new(Arc::clone(&there), Arc::clone(&back)), Self::new(back, there))
    }

    fn new(incoming: Arc<Mutex<Lane>>, outgoing: Arc<Mutex<Lane>>) -> Self {
        Self {
            incoming,
            outgoing,
            received: VecDeque::new(),
            queued: VecDeque::new(),
            tags: Tags::default(),
            limits: ReceiveLimits::default(),
            failure: None,
        }
    }

    /// Takes all that is on the way to this end.
    fn take_batch(&mut self) -> Result<(), PortError> {
        let mut lane = lock(&self.incoming);
        std::mem::swap(&mut lane.frames, &mut self.received);
        if self.received.is_empty() && (lane.finished || lane.closed) {
            return Err(PortError::new(PortErrorKind::Closed, "the peer has closed the connection"));
        }
        Ok(())
    }

    fn receive_next(&mut self) -> Result<Option<Received>, PortError> {
        if self.received.is_empty() {
            self.take_batch()?;
        }
        let Some(frame) = self.received.pop_front() else { return Ok(None) };
        self.limits.check_ahs(&frame.header)?;
        self.limits.check_segment(&frame.header)?;
        Ok(Some(Received::Frame(frame)))
    }

    fn hand_over(&mut self) -> Result<Flush, PortError> {
        let mut lane = lock(&self.outgoing);
        if lane.closed {
            return Err(PortError::new(PortErrorKind::Reset, "the peer has closed the connection"));
        }
        let room = LOOPBACK_FRAMES_MAX.saturating_sub(lane.frames.len()).min(self.queued.len());
        lane.frames.extend(self.queued.drain(..room));
        Ok(if self.queued.is_empty() { Flush::Done } else { Flush::Pending })
    }

    /// Does something unless the connection has failed, and remembers if it fails.
    fn unless_failed<T>(&mut self, what: impl FnOnce(&mut Self) -> Result<T, PortError>) -> Result<T, PortError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        what(self).inspect_err(|error| self.failure = Some(error.clone()))
    }
}

impl Drop for LoopbackPort {
    fn drop(&mut self) {
        lock(&self.outgoing).closed = true;
        lock(&self.incoming).closed = true;
    }
}

impl PduPort for LoopbackPort {
    fn capabilities(&self) -> &Capabilities {
        &CAPABILITIES
    }

    fn reserve(&mut self, _length: u32) -> u32 {
        self.tags.reserve()
    }

    fn release(&mut self, tag: u32) {
        self.tags.release(tag);
    }

    fn receive(&mut self) -> Result<Option<Received>, PortError> {
        self.unless_failed(Self::receive_next)
    }

    fn can_send(&self) -> bool {
        self.queued.len() < LOOPBACK_FRAMES_MAX
    }

    fn send(&mut self, frame: Frame) {
        self.queued.push_back(frame);
    }

    fn flush(&mut self) -> Result<Flush, PortError> {
        self.unless_failed(Self::hand_over)
    }

    fn finish(&mut self) {
        lock(&self.outgoing).finished = true;
    }

    fn set_digests(&mut self, _digests: Digests) {}

    fn set_receive_limits(&mut self, limits: ReceiveLimits) {
        self.limits = limits;
    }
}
