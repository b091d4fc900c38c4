//! Bugs put in on purpose, around code that has none of them, to show that the oracle finds such.

use super::pattern::BLOCK_BYTES;
use bytes::Bytes;
use iscsi_pdu::{Frame, Opcode};
use iscsi_transport::{Capabilities, Digests, Flush, PduPort, PortError, Random, ReceiveLimits, Received};
use std::cell::RefCell;
use std::rc::Rc;

macro_rules! bugs {
    ($($(#[$doc:meta])* $variant:ident,)*) => {
        /// A bug of the world around the nodes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bug {
            $($(#[$doc])* $variant,)*
        }

        impl Bug {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];
        }
    };
}

bugs! {
    /// The store acknowledges a write and forgets it.
    StoreLosesWrite,
    /// The store answers a read with what stood there before the last write.
    StoreReadsOldData,
    /// The store acknowledges a write and carries it out later.
    StoreAnswersEarly,
    /// The store carries out a write, and once more after others.
    StoreWritesTwice,
    /// The store puts a write one block further on.
    StoreMissesPlace,
    /// The store writes without comparing.
    StoreComparesNothing,
    /// The store never answers a request.
    StoreForgetsRequest,
    /// The store answers a request twice.
    StoreAnswersTwice,
    /// A PDU of the initiator arrives twice.
    RequestTwice,
    /// A PDU of the target arrives twice.
    ResponseTwice,
    /// Two PDUs of the target change places.
    ResponsesSwapped,
    /// A PDU of the initiator does not arrive, and the connection goes on.
    RequestDropped,
    /// A PDU of the target does not arrive, and the connection goes on.
    ResponseDropped,
    /// A bit of read data is flipped, and no digest tells.
    DataInFlipped,
    /// A bit of write data is flipped, and no digest tells.
    DataOutFlipped,
    /// A status comes with the StatSN after the one that is due.
    StatSnSkipped,
    /// A task that has failed is answered as if it had not.
    FailureHidden,
    /// A task is said to have moved one byte less than it has.
    ResidualOffByOne,
    /// A task is answered with the tag of another.
    ResponseOfAnother,
    /// Read data is said to begin one byte further on.
    DataInMoved,
    /// An R2T asks for four bytes beyond the data of the command.
    R2tBeyondData,
    /// An R2T comes twice.
    R2tTwice,
    /// An R2T has the tag of one that was served.
    R2tStaleTag,
    /// A window is announced that is one command larger than the target's.
    WindowOffByOne,
    /// A port gives the same tag to two transfers.
    TagGivenTwice,
    /// The target's owner lets a session begin before the one of the same name has ended.
    AdmitAtOnce,
    /// The target's owner does not hear that a connection has ended.
    EndedForgotten,
    /// The target's owner does not see that a connection has become ready.
    WakeUpMissed,
    /// The initiator's owner does not hear that a request has ended.
    CompletionForgotten,
    /// The initiator's owner hears twice that a request has ended.
    CompletionTwice,
    /// The initiator's owner does not hear that a request was lost with its session.
    LostForgotten,
    /// A response goes over another connection than its request.
    ResponseElsewhere,
    /// Data goes over another connection than its command.
    DataOutElsewhere,
    /// A status of a connection that is gone is taken for one of the next.
    OldStatusTaken,
    /// Two commands of a session go with one CmdSN, each over its own connection.
    CmdSnTwice,
    /// Statuses are counted over all connections of a session, not on each.
    StatSnOfSession,
    /// A task is reassigned twice.
    ReassignTwice,
    /// A logout of a connection that is gone ends the one that it goes over.
    LogoutOfItself,
    /// A connection that is to join a session begins one.
    JoinAsLeading,
    /// A connection joins with the CID of another that lives.
    JoinAsAnother,
    /// The target's owner ends a session without connections before Time2Retain is over.
    ForgottenEarly,
    /// The target's owner keeps no time: what is to be forgotten after Time2Retain is kept.
    TimeoutForgotten,
    /// The initiator's owner gives back the tags of tasks that wait for another connection.
    TagFreedWithConnection,
}

impl Bug {
    /// Whether only sessions with several connections, or of error recovery level 2, can show it.
    #[must_use]
    pub fn needs_connections(self) -> bool {
        Self::ALL.iter().position(|bug| *bug == self)
            >= Self::ALL.iter().position(|bug| *bug == Self::ResponseElsewhere)
    }

    /// Whether it takes something of one connection of a session to another.
    fn mixes_up(self) -> bool {
        matches!(
            self,
            Self::ResponseElsewhere
                | Self::DataOutElsewhere
                | Self::OldStatusTaken
                | Self::CmdSnTwice
                | Self::StatSnOfSession
        )
    }
}

/// What the ports at one end of a session's connections have in common, for bugs that mix them up: a PDU, and of which connection it was.
pub(crate) type Mixed = Rc<RefCell<Option<(usize, Frame)>>>;

/// One PDU or call that a bug concerns in so many shows it.
pub(crate) const SHOWS_ONE_IN: u32 = 8;

/// A port with the bug of a link, if there is one: it does wrong with PDUs that it is given to send, or with tags.
#[derive(Debug)]
pub(crate) struct BugPort<P> {
    port: P,
    bug: Option<Bug>,
    random: Random,
    /// A PDU that others overtake.
    held: Option<Frame>,
    /// The tag that was given last, if it was not given back.
    tag: Option<u32>,
    /// A field of an earlier PDU.
    earlier: Option<u32>,
    /// Tells the connections of a session apart.
    link: usize,
    mixed: Mixed,
    /// Its CID, in the place that it has in a header.
    cid: u32,
    /// Whether a bug shows in the login of this connection.
    spoils_login: bool,
}

impl<P: PduPort> BugPort<P> {
    pub(crate) fn new(port: P, bug: Option<Bug>, mut random: Random, link: usize, mixed: Mixed) -> Self {
        let spoils_login = random.one_in(2);
        Self { port, bug, random, held: None, tag: None, earlier: None, link, mixed, cid: 0, spoils_login }
    }

    /// What is sent in the place of a PDU where a bug mixes up the connections of a session.
    fn mix_up(&mut self, bug: Bug, frame: Frame) -> Vec<Frame> {
        let is_meant = concerns(bug, &frame);
        let mut mixed = self.mixed.borrow_mut();
        let of_another = mixed.take_if(|(link, _)| *link != self.link).map(|(_, frame)| frame);
        match bug {
            Bug::OldStatusTaken | Bug::CmdSnTwice | Bug::StatSnOfSession if !is_meant => {
                *mixed = of_another.map(|frame| (usize::MAX, frame));
                vec![frame]
            }
            Bug::OldStatusTaken => {
                *mixed = Some((self.link, frame.clone()));
                of_another.into_iter().chain([frame]).collect()
            }
            Bug::CmdSnTwice | Bug::StatSnOfSession => {
                let number = of_another.map(|frame| word(&frame, 24).wrapping_add(u32::from(bug != Bug::CmdSnTwice)));
                *mixed = Some((self.link, frame.clone()));
                vec![number.map_or(frame.clone(), |number| with_word(frame, 24, number))]
            }
            _ if is_meant && mixed.is_none() && self.random.one_in(SHOWS_ONE_IN) => {
                *mixed = Some((self.link, frame));
                of_another.into_iter().collect()
            }
            _ => of_another.into_iter().chain([frame]).collect(),
        }
    }

    /// What is sent in the place of a PDU.
    fn spoil(&mut self, bug: Bug, frame: Frame) -> Vec<Frame> {
        if bug.mixes_up() {
            return self.mix_up(bug, frame);
        }
        if frame.header.opcode() == Opcode::LoginRequest {
            self.cid = word(&frame, 20);
        }
        // RFC 7143 11.12.4 and 11.12.6: a login that joins a session names it.
        if matches!(bug, Bug::JoinAsLeading | Bug::JoinAsAnother) {
            let joins = frame.header.opcode() == Opcode::LoginRequest && frame.header.0[14..16] != [0, 0];
            return vec![if joins && self.spoils_login { joining_as(bug, frame) } else { frame }];
        }
        let field = match bug {
            Bug::ResponseOfAnother => word(&frame, 16),
            _ => word(&frame, 20),
        };
        let is_rare = matches!(bug, Bug::ReassignTwice | Bug::LogoutOfItself);
        let shows = concerns(bug, &frame) && (is_rare || self.random.one_in(SHOWS_ONE_IN));
        if !shows {
            if concerns(bug, &frame) {
                self.earlier = Some(field);
            }
            return [frame].into_iter().chain(self.held.take()).collect();
        }
        match bug {
            Bug::RequestTwice | Bug::ResponseTwice | Bug::R2tTwice => vec![frame.clone(), frame],
            Bug::RequestDropped | Bug::ResponseDropped => Vec::new(),
            Bug::ResponsesSwapped => self.held.replace(frame).into_iter().collect(),
            Bug::DataInFlipped | Bug::DataOutFlipped => vec![flipped(&frame)],
            Bug::StatSnSkipped => vec![with_word_added(frame, 24, 1)],
            Bug::DataInMoved => vec![with_word_added(frame, 40, 1)],
            Bug::R2tBeyondData => vec![with_word_added(frame, 40, 4)],
            Bug::WindowOffByOne => vec![with_word_added(frame, 32, 1)],
            Bug::ResidualOffByOne => vec![with_word_added(frame, 44, 1)],
            Bug::FailureHidden => vec![without_status(frame)],
            Bug::ResponseOfAnother => vec![with_word(frame, 16, self.earlier.unwrap_or(field))],
            Bug::R2tStaleTag => vec![with_word(frame, 20, self.earlier.unwrap_or(field))],
            Bug::ReassignTwice => vec![frame.clone(), frame],
            Bug::LogoutOfItself => vec![with_word(frame, 20, self.cid)],
            _ => vec![frame],
        }
    }
}

/// Whether a bug shows in a PDU that is sent.
fn concerns(bug: Bug, frame: &Frame) -> bool {
    let opcode = frame.header.opcode();
    if matches!(opcode, Opcode::LoginRequest | Opcode::LoginResponse) {
        return false;
    }
    let is_request = opcode.to_wire() < 0x20;
    match bug {
        Bug::RequestTwice | Bug::RequestDropped => is_request,
        Bug::ResponseTwice | Bug::ResponseDropped | Bug::ResponsesSwapped | Bug::WindowOffByOne => !is_request,
        Bug::DataInFlipped => opcode == Opcode::DataIn && !frame.data.is_empty(),
        Bug::DataOutFlipped => {
            matches!(opcode, Opcode::ScsiCommand | Opcode::DataOut) && frame.data.len() >= BLOCK_BYTES
        }
        Bug::StatSnSkipped
        | Bug::ResponseOfAnother
        | Bug::ResponseElsewhere
        | Bug::OldStatusTaken
        | Bug::StatSnOfSession => opcode == Opcode::ScsiResponse,
        Bug::DataOutElsewhere => opcode == Opcode::DataOut,
        Bug::CmdSnTwice => opcode == Opcode::ScsiCommand,
        Bug::ReassignTwice => {
            // RFC 7143 11.5.1: function 8.
            opcode == Opcode::TaskManagementRequest && frame.header.0[1] & 0x7f == 8
        }
        // RFC 7143 11.14.1: any reason but that of the whole session.
        Bug::LogoutOfItself => opcode == Opcode::LogoutRequest && frame.header.0[1] & 0x7f != 0,
        // RFC 7143 11.4.1 and 11.7.3: the O and the U bit; with data-in they mean something beside the S bit.
        Bug::ResidualOffByOne => match opcode {
            Opcode::ScsiResponse => frame.header.0[1] & 0x06 != 0,
            Opcode::DataIn => frame.header.0[1] & 0x01 != 0 && frame.header.0[1] & 0x06 != 0,
            _ => false,
        },
        Bug::FailureHidden => opcode == Opcode::ScsiResponse && frame.header.0[3] != 0,
        Bug::DataInMoved => opcode == Opcode::DataIn,
        Bug::R2tBeyondData | Bug::R2tTwice | Bug::R2tStaleTag => opcode == Opcode::R2t,
        _ => false,
    }
}

/// A login that begins a session, or one with the CID of the leading connection.
fn joining_as(bug: Bug, mut frame: Frame) -> Frame {
    let field = if bug == Bug::JoinAsLeading { 14..16 } else { 20..22 };
    frame.header.0[field].fill(0);
    frame
}

fn flipped(frame: &Frame) -> Frame {
    let mut data = frame.data.to_vec();
    let middle = data.len() / 2;
    data[middle] ^= 1;
    Frame { data: Bytes::from(data), ..frame.clone() }
}

/// RFC 7143 11.4: status GOOD, without residual and sense.
fn without_status(mut frame: Frame) -> Frame {
    frame.header.0[1] = 0x80;
    frame.header.0[3] = 0;
    frame.header.0[5..8].fill(0);
    Frame { data: Bytes::new(), ..frame }
}

fn word(frame: &Frame, offset: usize) -> u32 {
    let word = &frame.header.0[offset..offset + 4];
    u32::from_be_bytes([word[0], word[1], word[2], word[3]])
}

fn with_word(mut frame: Frame, offset: usize, value: u32) -> Frame {
    frame.header.0[offset..offset + 4].copy_from_slice(&value.to_be_bytes());
    frame
}

fn with_word_added(frame: Frame, offset: usize, addend: u32) -> Frame {
    let value = word(&frame, offset).wrapping_add(addend);
    with_word(frame, offset, value)
}

impl<P: PduPort> PduPort for BugPort<P> {
    fn capabilities(&self) -> &Capabilities {
        self.port.capabilities()
    }

    fn reserve(&mut self, length: u32) -> u32 {
        if self.bug == Some(Bug::TagGivenTwice)
            && let Some(tag) = self.tag
            && self.random.one_in(SHOWS_ONE_IN)
        {
            return tag;
        }
        let tag = self.port.reserve(length);
        self.tag = Some(tag);
        tag
    }

    fn release(&mut self, tag: u32) {
        if self.tag == Some(tag) {
            self.tag = None;
        }
        self.port.release(tag);
    }

    fn receive(&mut self) -> Result<Option<Received>, PortError> {
        self.port.receive()
    }

    fn can_send(&self) -> bool {
        self.port.can_send()
    }

    fn send(&mut self, frame: Frame) {
        match self.bug {
            None => self.port.send(frame),
            Some(bug) => {
                for frame in self.spoil(bug, frame) {
                    self.port.send(frame);
                }
            }
        }
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
