//! An offloaded connection as the adapter keeps it, beside its TCP.

use super::fault::Fault;
use super::firmware::FLOW_CREDITS;
use crate::iscsi::{Burst, Settings};
use crate::switch::InterfaceNumber;
use crate::tcp::{Connection, Tuple};
use iscsi_pdu::{HEADER_LENGTH, Header};
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;
use t5_hal::wire::{FunctionId, Piece, Pieces, TcbField, TxDataFlags, UlpMode};

/// Words of a control block, and one behind it, as changes are of two words.
const TCB_WORDS: usize = 33;

/// How far a connection has come.
#[derive(Debug)]
pub(super) enum Phase {
    /// The driver has asked for it; the open's number.
    Opening { atid: u32 },
    /// A SYN has come, in that frame, which the driver is asked about.
    Asked { listener: u32, frame: Vec<u8> },
    /// The driver has accepted it.
    Accepted { listener: u32 },
    /// It stands.
    Open,
    /// It is the firmware's: a session of its initiator.
    Firmware { session: u32 },
    /// The driver has been told that it is over, or has ended it: only TCP has something left to do.
    Over,
}

/// What the driver wants to be done once what it has asked for before is done.
#[derive(Debug)]
pub(super) enum Request {
    /// Bytes to send.
    Send { payload: Payload, flags: TxDataFlags, credits: u32, acknowledge: bool },
    /// Data to be cut into PDUs when its turn comes.
    Burst(Box<WaitingBurst>),
    /// No more bytes will be sent.
    Close { credits: u32 },
    /// Nothing any more, as it was done when it came: but its credits go back in their turn, since the driver takes those that come
    /// back for those of its oldest requests.
    Done { credits: u32, acknowledge: bool },
}

/// A burst, the pattern of its headers, and its data.
#[derive(Debug)]
pub(super) struct WaitingBurst {
    pub(super) burst: Burst,
    pub(super) pattern: Header,
    pub(super) data: Payload,
    pub(super) flags: TxDataFlags,
    pub(super) credits: u32,
    pub(super) acknowledge: bool,
}

/// Where the bytes of a request are.
#[derive(Debug)]
pub(super) enum Payload {
    /// In the request itself: a header, most of the time.
    Immediate(SmallVec<[u8; 64]>),
    /// In the driver's memory.
    Pieces(Pieces),
    /// A PDU that was cut: its header, and where its data is, without padding.
    Cut(Box<(Header, Payload)>),
}

impl Payload {
    pub(super) fn length(&self) -> usize {
        match self {
            Self::Immediate(bytes) => bytes.len(),
            Self::Pieces(pieces) => pieces.iter().map(|piece| piece.length as usize).sum(),
            Self::Cut(cut) => HEADER_LENGTH + cut.1.length().next_multiple_of(4),
        }
    }

    /// A part of it, as far as it goes. Nothing is cut out of what was cut.
    pub(super) fn part(&self, part: Range<usize>) -> Self {
        match self {
            Self::Immediate(bytes) => Self::Immediate(bytes.get(part).unwrap_or_default().into()),
            Self::Pieces(pieces) => {
                let mut at = 0;
                let within = pieces.iter().filter_map(|piece| {
                    let whole = at..at + piece.length as usize;
                    at = whole.end;
                    let (begin, end) = (part.start.max(whole.start), part.end.min(whole.end));
                    let length = u32::try_from(end.checked_sub(begin).filter(|&length| length > 0)?).ok()?;
                    Some(Piece { address: piece.address.wrapping_add((begin - whole.start) as u64), length })
                });
                Self::Pieces(within.collect())
            }
            Self::Cut(_) => Self::Pieces(Pieces::new()),
        }
    }
}

#[derive(Debug)]
pub(super) struct Flow {
    /// The function whose driver has it.
    pub(super) owner: FunctionId,
    pub(super) interface: InterfaceNumber,
    pub(super) tuple: Tuple,
    /// Where the driver is told of it.
    pub(super) iq: u16,
    pub(super) phase: Phase,
    pub(super) tcp: Option<Connection>,
    /// The other end, if it is a connection of this adapter.
    pub(super) other_end: Option<u32>,
    tcb: [u32; TCB_WORDS],
    /// Whether the driver has told the firmware of it: the first work request of a connection.
    pub(super) flow_known: bool,
    pub(super) requests: VecDeque<Request>,
    /// Credits of requests that are waiting, in units of 16 bytes.
    pub(super) credits_held: u32,
    /// Credits of requests that are done, which the driver does not know yet.
    pub(super) credits_owed: u32,
    /// Bytes that the driver has and has not opened the window for.
    pub(super) unacknowledged_bytes: u32,
    pub(super) window_bytes: u32,
    /// Whether the driver has been told that the other end sends no more, and that it got all.
    pub(super) told_peer_close: bool,
    pub(super) told_close: bool,
    /// The driver was told that the connection is lost, and has not said that it knows.
    pub(super) awaits_abort_reply: bool,
    /// When TCP wants to be asked again, and whether it stands in the list of those to be looked after.
    pub(super) timer: Option<Duration>,
    pub(super) is_ready: bool,
}

impl Flow {
    pub(super) const fn is_asked(&self) -> bool {
        matches!(self.phase, Phase::Asked { .. })
    }

    /// The session of the firmware that has it.
    pub(super) const fn session(&self) -> Option<u32> {
        if let Phase::Firmware { session } = self.phase { Some(session) } else { None }
    }

    pub(super) fn new(owner: FunctionId, interface: InterfaceNumber, tuple: Tuple, iq: u16, phase: Phase) -> Self {
        Self {
            owner,
            interface,
            tuple,
            iq,
            phase,
            tcp: None,
            other_end: None,
            tcb: [0; TCB_WORDS],
            flow_known: false,
            requests: VecDeque::new(),
            credits_held: 0,
            credits_owed: 0,
            unacknowledged_bytes: 0,
            window_bytes: 0,
            told_peer_close: false,
            told_close: false,
            awaits_abort_reply: false,
            timer: None,
            is_ready: false,
        }
    }

    /// Whether the driver has credits for one more work request. Those that are owed are not its own yet.
    pub(super) fn check_credits(&self, tid: u32, credits: u32) -> Result<(), Fault> {
        let left = FLOW_CREDITS.saturating_sub(self.credits_held + self.credits_owed);
        if credits > left { Err(Fault::Credits { tid }) } else { Ok(()) }
    }

    /// Puts PDUs in the place of a burst that is the first request. Its credits go back with the last of them.
    pub(super) fn cut_first(&mut self) {
        let Some(Request::Burst(_)) = self.requests.front() else { return };
        let Some(Request::Burst(first)) = self.requests.pop_front() else { return };
        let WaitingBurst { burst, pattern, data, flags, mut credits, mut acknowledge } = *first;
        for (header, part) in burst.cut(pattern).rev() {
            let payload = Payload::Cut(Box::new((header, data.part(part))));
            self.requests.push_front(Request::Send { payload, flags, credits, acknowledge });
            (credits, acknowledge) = (0, false);
        }
    }

    /// A field of the control block.
    fn tcb(&self, field: TcbField) -> u64 {
        (self.tcb_words(field.word) & field.mask()) >> field.low
    }

    fn tcb_words(&self, word: u16) -> u64 {
        let word = usize::from(word);
        u64::from(self.tcb[word]) | u64::from(self.tcb[word + 1]) << 32
    }

    /// Changes two words of the control block where the mask is one; gives what stood there.
    pub(super) fn set_tcb(&mut self, word: u16, mask: u64, value: u64) -> u64 {
        let old = self.tcb_words(word);
        let new = old & !mask | value & mask;
        let word = usize::from(word);
        (self.tcb[word], self.tcb[word + 1]) = (new as u32, (new >> 32) as u32);
        old
    }

    /// The control block as the driver reads it, the first word first.
    pub(super) fn tcb_bytes(&self) -> Vec<u8> {
        self.tcb[..TCB_WORDS - 1].iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    pub(super) fn set_ulp_mode(&mut self, mode: u64) {
        self.set_tcb(TcbField::ULP_TYPE.word, TcbField::ULP_TYPE.mask(), mode);
    }

    /// Whether the adapter cuts PDUs out of the stream.
    pub(super) fn is_iscsi(&self) -> bool {
        self.tcb(TcbField::ULP_TYPE) == u64::from(UlpMode::Iscsi.to_wire())
    }

    /// How PDUs are taken.
    pub(super) fn settings(&self) -> Settings {
        Settings {
            header_digest: self.tcb(TcbField::ULP_HEADER_DIGEST) != 0,
            data_digest: self.tcb(TcbField::ULP_DATA_DIGEST) != 0,
            page_size: self.tcb(TcbField::ULP_PAGE_SIZE) as u8,
        }
    }

    /// Whether the window is open.
    pub(super) const fn takes_more(&self) -> bool {
        self.unacknowledged_bytes < self.window_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credits_that_wait_or_are_owed_are_not_the_drivers() {
        let end = "10.0.0.1:1".parse().unwrap();
        let interface = InterfaceNumber::new(0).unwrap();
        let mut flow = Flow::new(FunctionId::physical(4), interface, Tuple { local: end, peer: end }, 0, Phase::Open);
        (flow.credits_held, flow.credits_owed) = (FLOW_CREDITS - 30, 20);
        assert_eq!(flow.check_credits(7, 10), Ok(()));
        assert_eq!(flow.check_credits(7, 11), Err(Fault::Credits { tid: 7 }));
        flow.credits_owed = 0;
        assert_eq!(flow.check_credits(7, 30), Ok(()));
    }
}
