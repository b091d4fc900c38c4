//! A port that watches what goes through it: tags at both ends, and at the initiator's end all that a connection must look like.
//!
//! In: PDUs both ways, tags. Out: a verdict.

use super::books::Books;
use super::verdict::Verdict;
use iscsi_pdu::{Frame, Opcode};
use iscsi_session::Parameters;
use iscsi_transport::{Capabilities, Digests, Flush, PduPort, PortError, ReceiveLimits, Received};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;

/// Which end of the connection is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    Initiator,
    Target,
}

/// What the world tells a watching port.
#[derive(Clone, Debug, Default)]
pub(crate) struct WireControl(Rc<Told>);

#[derive(Debug, Default)]
struct Told {
    parameters: RefCell<Option<Parameters>>,
    expects_recovery: Cell<bool>,
}

impl WireControl {
    /// What this end has negotiated.
    pub(crate) fn set_parameters(&self, parameters: &Parameters) {
        *self.0.parameters.borrow_mut() = Some(parameters.clone());
    }

    /// PDUs may be lost from now on, and come again where that was agreed upon.
    pub(crate) fn expect_recovery(&self) {
        self.0.expects_recovery.set(true);
    }
}

#[derive(Debug)]
pub(crate) struct WirePort<P> {
    port: P,
    end: End,
    name: String,
    verdict: Verdict,
    control: WireControl,
    reserved: HashSet<u32>,
    tags_max: usize,
    /// Kept at the initiator's end, where all that the target's end does is seen too.
    books: Books,
    /// A task was or will be ended before its data has come: by a task management function, or since a data digest was wrong.
    may_end_early: bool,
}

impl<P: PduPort> WirePort<P> {
    /// Watches `port`, whose tags are at most `tags_max` at a time.
    pub(crate) fn new(
        port: P,
        end: End,
        name: &str,
        verdict: Verdict,
        window: u32,
        tags_max: usize,
    ) -> (Self, WireControl) {
        let control = WireControl::default();
        let watching = Self {
            port,
            end,
            name: name.into(),
            books: Books::new(name, verdict.clone(), window),
            verdict,
            control: control.clone(),
            reserved: HashSet::new(),
            tags_max,
            may_end_early: false,
        };
        (watching, control)
    }

    fn check(&self, holds: bool, what: &str) {
        self.verdict.check(holds, || format!("{}: {what}", self.name));
    }

    fn learn(&mut self) {
        if let Some(parameters) = self.control.0.parameters.borrow_mut().take() {
            self.books.set_parameters(&parameters);
        }
        if self.control.0.expects_recovery.get() {
            self.books.expect_recovery();
            self.may_end_early = true;
        }
    }

    fn watch_sent(&mut self, frame: &Frame) {
        self.learn();
        let tag = frame.header.initiator_task_tag();
        match (self.end, frame.header.opcode()) {
            (End::Target, Opcode::R2t) => {
                let lives = self.reserved.contains(&transfer_tag(frame));
                self.check(lives, "an R2T has a tag that is not reserved");
            }
            (End::Target, _) | (End::Initiator, Opcode::LoginRequest) => {}
            (End::Initiator, _) => {
                let lives = tag == u32::MAX || self.reserved.contains(&tag);
                self.check(lives, "a request has a tag that is not reserved");
                self.books.handle_request(frame);
            }
        }
    }

    fn watch_received(&mut self, frame: &Frame) {
        self.learn();
        match (self.end, frame.header.opcode()) {
            (End::Initiator, _) => self.books.handle_response(frame),
            (End::Target, Opcode::TaskManagementRequest) => self.may_end_early = true,
            (End::Target, Opcode::DataOut) => {
                let tag = transfer_tag(frame);
                let lives = tag == u32::MAX || self.reserved.contains(&tag);
                self.check(lives || self.may_end_early, "data comes for a tag that was given back already");
            }
            (End::Target, _) => {}
        }
    }
}

/// RFC 7143 11.7.4 and 11.8.5: TargetTransferTag of a Data-Out and of an R2T.
fn transfer_tag(frame: &Frame) -> u32 {
    let bytes = &frame.header.0[20..24];
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

impl<P: PduPort> PduPort for WirePort<P> {
    fn capabilities(&self) -> &Capabilities {
        self.port.capabilities()
    }

    fn reserve(&mut self, length: u32) -> u32 {
        let tag = self.port.reserve(length);
        let fresh = self.reserved.insert(tag);
        self.check(fresh, "a tag is reserved that is in use");
        self.check(self.reserved.len() <= self.tags_max, "more tags are reserved than tasks can be");
        tag
    }

    fn release(&mut self, tag: u32) {
        let known = self.reserved.remove(&tag);
        self.check(known, "a tag is given back that is not reserved");
        self.books.forget(tag);
        if known {
            self.port.release(tag);
        }
    }

    fn receive(&mut self) -> Result<Option<Received>, PortError> {
        let received = self.port.receive()?;
        match &received {
            Some(Received::Frame(frame)) => self.watch_received(frame),
            Some(Received::BadDataDigest(_) | Received::BadHeaderDigest(_)) => self.may_end_early = true,
            None => {}
        }
        Ok(received)
    }

    fn can_send(&self) -> bool {
        self.port.can_send()
    }

    fn send(&mut self, frame: Frame) {
        // The last answer of a login goes, whatever the port's bound.
        let may = self.port.can_send() || frame.header.opcode() == Opcode::LoginResponse;
        self.check(may, "a PDU is sent to a port that takes none");
        self.watch_sent(&frame);
        self.port.send(frame);
    }

    fn flush(&mut self) -> Result<Flush, PortError> {
        self.port.flush()
    }

    fn set_digests(&mut self, digests: Digests) {
        self.port.set_digests(digests);
    }

    fn set_receive_limits(&mut self, limits: ReceiveLimits) {
        self.port.set_receive_limits(limits);
    }
}
