//! A port that watches what goes through it: tags at both ends, at the target's what has come, and at the initiator's end all that a
//! connection must look like.
//!
//! In: PDUs both ways, tags. Out: a verdict.

use super::books::{Books, SessionBooks};
use super::tags::Tags;
use super::verdict::Verdict;
use iscsi_pdu::{Frame, Opcode};
use iscsi_session::Parameters;
use iscsi_transport::{Capabilities, Digests, Flush, PduPort, PortError, ReceiveLimits, Received};
use std::cell::{Cell, RefCell};
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
    may_end_early: Cell<bool>,
    may_be_late: Cell<bool>,
}

impl WireControl {
    /// What this end has negotiated.
    pub(crate) fn set_parameters(&self, parameters: &Parameters) {
        *self.0.parameters.borrow_mut() = Some(parameters.clone());
    }

    /// Tasks may be ended before their data has come.
    pub(crate) fn expect_early_ends(&self) {
        self.0.may_end_early.set(true);
    }

    /// The connection has failed for the target: what is on its way may come after what it sends on others.
    pub(crate) fn expect_late_answers(&self) {
        self.0.may_be_late.set(true);
    }
}

#[derive(Debug)]
pub(crate) struct WirePort<P> {
    port: P,
    verdict: Verdict,
    name: String,
    control: WireControl,
    session: SessionBooks,
    watch: Watch,
}

#[derive(Debug)]
enum Watch {
    /// All that the target's end does is seen here too.
    Initiator(Books),
    /// Its tags, and how many there may be.
    Target(Tags<()>, usize),
}

impl<P: PduPort> WirePort<P> {
    /// Watches the initiator's end of a link.
    pub(crate) fn of_initiator(
        port: P,
        name: &str,
        link: usize,
        session: SessionBooks,
        verdict: Verdict,
    ) -> (Self, WireControl) {
        let books = Books::new(name, link, session.clone(), verdict.clone());
        Self::new(port, name, session, verdict, Watch::Initiator(books))
    }

    /// Watches the target's end, whose tags are at most `tags_max` at a time.
    pub(crate) fn of_target(
        port: P,
        name: &str,
        tags_max: usize,
        session: SessionBooks,
        verdict: Verdict,
    ) -> (Self, WireControl) {
        Self::new(port, name, session, verdict, Watch::Target(Tags::default(), tags_max))
    }

    fn new(port: P, name: &str, session: SessionBooks, verdict: Verdict, watch: Watch) -> (Self, WireControl) {
        let control = WireControl::default();
        (Self { port, verdict, name: name.into(), control: control.clone(), session, watch }, control)
    }

    fn check(&self, holds: bool, what: &str) {
        self.verdict.check(holds, || format!("{}: {what}", self.name));
    }

    fn watch_sent(&mut self, frame: &Frame) {
        let opcode = frame.header.opcode();
        match &mut self.watch {
            Watch::Target(tags, _) => {
                let lives = opcode != Opcode::R2t || tags.contains(transfer_tag(frame));
                self.check(lives, "an R2T has a tag that is not reserved");
                if opcode != Opcode::LoginResponse {
                    self.session.handle_acknowledgement(&frame.header);
                }
            }
            Watch::Initiator(_) if opcode == Opcode::LoginRequest => {}
            Watch::Initiator(books) => {
                learn(&self.control, books);
                books.handle_request(frame);
                let tag = frame.header.initiator_task_tag();
                let lives = tag == u32::MAX || self.session.has_tag(tag);
                self.check(lives, "a request has a tag that is not reserved");
            }
        }
    }

    fn watch_received(&mut self, frame: &Frame) {
        match (&mut self.watch, frame.header.opcode()) {
            (Watch::Initiator(books), _) => {
                learn(&self.control, books);
                books.handle_response(frame, self.control.0.may_be_late.get());
            }
            (Watch::Target(..), Opcode::LoginRequest) => {}
            (Watch::Target(tags, _), opcode) => {
                let tag = transfer_tag(frame);
                let lives = opcode != Opcode::DataOut || tag == u32::MAX || tags.contains(tag);
                // RFC 7143 11.5: whoever asks for a function may have data on its way.
                if opcode == Opcode::TaskManagementRequest {
                    self.control.expect_early_ends();
                }
                let may = lives || self.control.0.may_end_early.get();
                self.check(may, "data comes for a tag that was given back already");
                self.session.handle_arrival(&frame.header);
            }
        }
    }
}

/// Takes over what the world has told.
fn learn(control: &WireControl, books: &mut Books) {
    if let Some(parameters) = control.0.parameters.borrow_mut().take() {
        books.set_parameters(&parameters);
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
        match &mut self.watch {
            Watch::Initiator(_) => self.session.insert_tag(tag),
            Watch::Target(tags, tags_max) => {
                let (fresh, few) = (tags.insert(tag, ()), tags.len() <= *tags_max);
                self.check(fresh, "a tag is reserved that is in use");
                self.check(few, "more tags are reserved than tasks can be");
            }
        }
        tag
    }

    fn release(&mut self, tag: u32) {
        let known = match &mut self.watch {
            Watch::Initiator(_) => self.session.release_tag(tag),
            Watch::Target(tags, _) => tags.remove(tag).is_some(),
        };
        self.check(known, "a tag is given back that is not reserved");
        if known {
            self.port.release(tag);
        }
    }

    fn receive(&mut self) -> Result<Option<Received>, PortError> {
        let received = self.port.receive()?;
        match &received {
            Some(Received::Frame(frame)) => self.watch_received(frame),
            Some(Received::BadDataDigest(_) | Received::BadHeaderDigest(_)) => self.control.expect_early_ends(),
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

    fn finish(&mut self) {
        self.port.finish();
    }

    fn set_digests(&mut self, digests: Digests) {
        self.port.set_digests(digests);
    }

    fn set_receive_limits(&mut self, limits: ReceiveLimits) {
        self.port.set_receive_limits(limits);
    }
}
