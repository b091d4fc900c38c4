//! A loopback port of which a test changes some calls.

use iscsi_pdu::Frame;
use iscsi_transport::{Capabilities, Digests, Flush, LoopbackPort, PduPort, PortError, ReceiveLimits, Received};

/// What is different from a loopback port.
pub(crate) trait Twist {
    fn capabilities<'a>(&'a self, inner: &'a LoopbackPort) -> &'a Capabilities {
        inner.capabilities()
    }

    fn reserve(&mut self, inner: &mut LoopbackPort, length: u32) -> u32 {
        inner.reserve(length)
    }

    fn receive(&mut self, inner: &mut LoopbackPort) -> Result<Option<Received>, PortError> {
        inner.receive()
    }
}

pub(crate) struct TwistedPort<T> {
    pub(crate) inner: LoopbackPort,
    pub(crate) twist: T,
}

impl<T: Twist> PduPort for TwistedPort<T> {
    fn capabilities(&self) -> &Capabilities {
        self.twist.capabilities(&self.inner)
    }

    fn reserve(&mut self, length: u32) -> u32 {
        self.twist.reserve(&mut self.inner, length)
    }

    fn release(&mut self, tag: u32) {
        self.inner.release(tag);
    }

    fn receive(&mut self) -> Result<Option<Received>, PortError> {
        self.twist.receive(&mut self.inner)
    }

    fn can_send(&self) -> bool {
        self.inner.can_send()
    }

    fn send(&mut self, frame: Frame) {
        self.inner.send(frame);
    }

    fn flush(&mut self) -> Result<Flush, PortError> {
        self.inner.flush()
    }

    fn set_digests(&mut self, digests: Digests) {
        self.inner.set_digests(digests);
    }

    fn set_receive_limits(&mut self, limits: ReceiveLimits) {
        self.inner.set_receive_limits(limits);
    }
}
