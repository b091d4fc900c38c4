//! The fault port: any port, with the trouble that can be made between whole PDUs.

use crate::{Capabilities, Digests, Flush, PduPort, PortError, PortErrorKind, Random, ReceiveLimits, Received};
use iscsi_pdu::Frame;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// The trouble of a [`FaultPort`]; the default is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortFaults {
    /// One call in so many finds nothing to receive for now; 0 is none.
    pub late_one_in: u32,
    /// One flush in so many gets rid of nothing, and no PDU is taken before the next; 0 is none.
    pub refused_one_in: u32,
    /// One PDU in so many is received with a flipped bit, which the digests that are in use find, if one covers it; 0 is none.
    /// Without digests nothing happens.
    pub flipped_one_in: u32,
    /// The connection is reset after so many more PDUs, both ways together.
    pub cut_after_pdus: Option<u64>,
    /// Nothing is received, nothing is sent.
    pub stalled: bool,
}

/// What the maker of a [`FaultPort`] keeps of it: its trouble can be changed, and what it has done be seen. Clones speak of
/// the same port.
#[derive(Clone, Debug, Default)]
pub struct PortControl(Rc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    faults: RefCell<PortFaults>,
    flipped: Cell<u64>,
    held_back: Cell<bool>,
}

impl PortControl {
    /// Changes the trouble from the next call of the port on.
    pub fn change(&self, change: impl FnOnce(&mut PortFaults)) {
        change(&mut self.0.faults.borrow_mut());
    }

    /// PDUs whose digest did not match for our sake.
    #[must_use]
    pub fn flipped(&self) -> u64 {
        self.0.flipped.get()
    }

    /// Whether the port has done less than it could since this was last asked: nobody but the maker will say when it is
    /// ready again.
    #[must_use]
    pub fn take_held_back(&self) -> bool {
        self.0.held_back.take()
    }
}

/// A port with trouble: PDUs that come late, a queue that is full for a while, digests that do not match, a stall, a reset
/// between two PDUs. It goes around every port, also one that does not cut its PDUs out of bytes; what a byte stream can
/// suffer is [`FaultStream`](crate::FaultStream)'s. The same random numbers and the same calls make the same trouble.
#[derive(Debug)]
pub struct FaultPort<P> {
    port: P,
    control: PortControl,
    random: Random,
    digests: Digests,
    /// The last flush got rid of nothing.
    refuses: bool,
    /// The last header had a bad digest.
    in_doubt: bool,
    failure: Option<PortError>,
}

impl<P: PduPort> FaultPort<P> {
    /// `port`, without trouble at first; what there is comes through the control.
    pub fn new(port: P, random: Random) -> (Self, PortControl) {
        let control = PortControl::default();
        let port = Self {
            port,
            control: control.clone(),
            random,
            digests: Digests::default(),
            refuses: false,
            in_doubt: false,
            failure: None,
        };
        (port, control)
    }

    fn faults(&self) -> std::cell::Ref<'_, PortFaults> {
        self.control.0.faults.borrow()
    }

    fn check_cut(&mut self) -> Result<(), PortError> {
        if self.failure.is_none() && self.faults().cut_after_pdus == Some(0) {
            self.fail(PortErrorKind::Reset, "the connection was broken off");
        }
        self.failure.clone().map_or(Ok(()), Err)
    }

    fn fail(&mut self, kind: PortErrorKind, text: &'static str) {
        self.failure = Some(PortError::new(kind, text));
    }

    fn count_pdu(&self) {
        if let Some(left) = &mut self.control.0.faults.borrow_mut().cut_after_pdus {
            *left = left.saturating_sub(1);
        }
    }

    /// Flips a bit of a PDU, if there is a digest that finds it.
    fn flip(&mut self, frame: Frame) -> Result<Received, PortError> {
        let one_in = self.faults().flipped_one_in;
        let covered = Digests { data: self.digests.data && !frame.data.is_empty(), ..self.digests };
        if covered == Digests::default() || !self.random.one_in(one_in) {
            self.in_doubt = false;
            return Ok(Received::Frame(frame));
        }
        self.control.0.flipped.set(self.control.0.flipped.get() + 1);
        if covered.data && (!covered.header || self.random.one_in(2)) {
            self.in_doubt = false;
            return Ok(Received::BadDataDigest(frame.header));
        }
        if !std::mem::replace(&mut self.in_doubt, true) {
            return Ok(Received::BadHeaderDigest(frame.header));
        }
        let error = PortError::header_digest(&frame.header);
        self.failure = Some(error.clone());
        Err(error)
    }
}

impl<P: PduPort> PduPort for FaultPort<P> {
    fn capabilities(&self) -> &Capabilities {
        self.port.capabilities()
    }

    fn reserve(&mut self, length: u32) -> u32 {
        self.port.reserve(length)
    }

    fn release(&mut self, tag: u32) {
        self.port.release(tag);
    }

    fn receive(&mut self) -> Result<Option<Received>, PortError> {
        self.check_cut()?;
        let (stalled, late_one_in) = (self.faults().stalled, self.faults().late_one_in);
        if stalled || self.random.one_in(late_one_in) {
            self.control.0.held_back.set(true);
            return Ok(None);
        }
        let received = self.port.receive().inspect_err(|error| self.failure = Some(error.clone()))?;
        if received.is_some() {
            self.count_pdu();
        }
        match received {
            Some(Received::Frame(frame)) => self.flip(frame).map(Some),
            other => Ok(other),
        }
    }

    fn can_send(&self) -> bool {
        !self.refuses && self.port.can_send()
    }

    fn send(&mut self, frame: Frame) {
        self.count_pdu();
        self.port.send(frame);
    }

    fn flush(&mut self) -> Result<Flush, PortError> {
        self.check_cut()?;
        let (stalled, refused_one_in) = (self.faults().stalled, self.faults().refused_one_in);
        self.refuses = stalled || self.random.one_in(refused_one_in);
        if self.refuses {
            self.control.0.held_back.set(true);
            return Ok(Flush::Pending);
        }
        self.port.flush().inspect_err(|error| self.failure = Some(error.clone()))
    }

    fn finish(&mut self) {
        self.port.finish();
    }

    fn set_digests(&mut self, digests: Digests) {
        self.digests = digests;
        self.port.set_digests(digests);
    }

    fn set_receive_limits(&mut self, limits: ReceiveLimits) {
        self.port.set_receive_limits(limits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LoopbackPort;
    use iscsi_pdu::{NopOut, Pdu};

    fn ping() -> Frame {
        Pdu::from(NopOut { data: "ping".into(), ..NopOut::default() }).encode()
    }

    fn ends() -> (FaultPort<LoopbackPort>, PortControl, LoopbackPort) {
        let (here, there) = LoopbackPort::pair();
        let (port, control) = FaultPort::new(here, Random::new(1));
        (port, control, there)
    }

    #[test]
    fn a_connection_is_cut_after_the_pdu_and_stays_cut() {
        let (mut port, control, mut peer) = ends();
        control.change(|faults| faults.cut_after_pdus = Some(2));
        port.send(ping());
        assert_eq!(port.flush().unwrap(), Flush::Done);
        assert!(peer.receive().unwrap().is_some());
        port.send(ping());
        assert_eq!(port.flush().unwrap_err().kind(), PortErrorKind::Reset);
        assert_eq!(peer.receive().unwrap(), None, "the second PDU was not flushed before the cut");
        control.change(|faults| faults.cut_after_pdus = None);
        assert_eq!(port.receive().unwrap_err().kind(), PortErrorKind::Reset);
    }

    #[test]
    fn a_full_queue_takes_nothing_until_a_flush_succeeds() {
        let (mut port, control, mut peer) = ends();
        port.send(ping());
        control.change(|faults| faults.refused_one_in = 1);
        assert_eq!(port.flush().unwrap(), Flush::Pending);
        assert!(!port.can_send() && control.take_held_back());
        control.change(|faults| faults.refused_one_in = 0);
        assert_eq!(port.flush().unwrap(), Flush::Done);
        assert!(port.can_send());
        assert_eq!(peer.receive().unwrap(), Some(Received::Frame(ping())));
    }

    #[test]
    fn a_flipped_bit_is_what_a_digest_finds() {
        let (mut port, control, mut peer) = ends();
        control.change(|faults| faults.flipped_one_in = 1);
        let mut next = |digests| {
            port.set_digests(digests);
            peer.send(ping());
            peer.flush().unwrap();
            port.receive()
        };
        assert_eq!(next(Digests::default()).unwrap(), Some(Received::Frame(ping())), "nobody would notice");
        let bad = next(Digests { header: false, data: true }).unwrap();
        assert_eq!(bad, Some(Received::BadDataDigest(ping().header)));
        let header = Digests { header: true, data: false };
        assert_eq!(next(header).unwrap(), Some(Received::BadHeaderDigest(ping().header)));
        let error = next(header).unwrap_err();
        assert_eq!(error.kind(), PortErrorKind::HeaderDigest);
        assert_eq!(next(Digests::default()), Err(error), "once given, an error is given again");
        assert_eq!(control.flipped(), 3);
    }

    #[test]
    fn a_stalled_port_moves_nothing_until_it_goes_on() {
        let (mut port, control, mut peer) = ends();
        control.change(|faults| faults.stalled = true);
        peer.send(ping());
        peer.flush().unwrap();
        port.send(ping());
        assert_eq!((port.receive().unwrap(), port.flush().unwrap()), (None, Flush::Pending));
        assert_eq!(peer.receive().unwrap(), None);
        control.change(|faults| faults.stalled = false);
        assert_eq!(port.flush().unwrap(), Flush::Done);
        assert_eq!(peer.receive().unwrap(), Some(Received::Frame(ping())));
        assert_eq!(port.receive().unwrap(), Some(Received::Frame(ping())));
    }

    #[test]
    fn what_is_late_comes() {
        let (mut port, control, mut peer) = ends();
        peer.send(ping());
        peer.flush().unwrap();
        control.change(|faults| faults.late_one_in = 1);
        assert_eq!(port.receive().unwrap(), None);
        assert!(control.take_held_back());
        control.change(|faults| faults.late_one_in = 0);
        assert_eq!(port.receive().unwrap(), Some(Received::Frame(ping())));
    }
}
