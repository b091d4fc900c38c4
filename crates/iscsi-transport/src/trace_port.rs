//! The trace port: any port, and the last PDUs that went through it, for people to read.

use crate::{Capabilities, Digests, Flush, PduPort, PortError, ReceiveLimits, Received};
use iscsi_pdu::{Frame, Header, Opcode};
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The last PDUs of any number of connections, in the order in which they were seen; clones are the same trace. Its
/// `Display` is a ladder: one line a PDU, with its direction, tags and numbers (RFC 7143 section 11).
#[derive(Clone, Debug)]
pub struct Trace(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    now: Duration,
    rungs: VecDeque<Rung>,
    rungs_max: usize,
    fingerprint: u64,
    pdus: u64,
}

/// One line of the ladder.
#[derive(Debug)]
struct Rung {
    at: Duration,
    name: Arc<str>,
    what: What,
}

#[derive(Debug)]
enum What {
    Sent(Header),
    Received(Header),
    BadDataDigest(Header),
    BadHeaderDigest(Header),
    Failed(PortError),
}

impl Trace {
    /// A trace that keeps the last `rungs_max` PDUs.
    #[must_use]
    pub fn new(rungs_max: usize) -> Self {
        let (now, rungs, fingerprint, pdus) = (Duration::ZERO, VecDeque::new(), 0, 0);
        Self(Arc::new(Mutex::new(Inner { now, rungs, rungs_max, fingerprint, pdus })))
    }

    /// What the PDUs from now on are stamped with: the time since some beginning.
    pub fn set_time(&self, now: Duration) {
        self.lock().now = now;
    }

    /// A number made of the headers and times of all PDUs so far: two runs with the same number went the same way.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.lock().fingerprint
    }

    /// PDUs so far.
    #[must_use]
    pub fn pdus(&self) -> u64 {
        self.lock().pdus
    }

    fn note(&self, name: &Arc<str>, what: What) {
        let mut inner = self.lock();
        let at = inner.now;
        if let What::Sent(header)
        | What::Received(header)
        | What::BadDataDigest(header)
        | What::BadHeaderDigest(header) = &what
        {
            inner.pdus += 1;
            inner.fingerprint = mix(inner.fingerprint, at.as_nanos() as u64);
            for word in header.0.chunks_exact(8) {
                let word = word.try_into().expect("a chunk of eight bytes");
                inner.fingerprint = mix(inner.fingerprint, u64::from_le_bytes(word));
            }
        }
        if inner.rungs.len() == inner.rungs_max {
            inner.rungs.pop_front();
        }
        inner.rungs.push_back(Rung { at, name: Arc::clone(name), what });
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn mix(hash: u64, word: u64) -> u64 {
    (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23)
}

impl fmt::Display for Trace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lock().rungs.iter().try_for_each(|rung| writeln!(formatter, "{rung}"))
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:>13.6}  {:<10} ", self.at.as_secs_f64(), self.name)?;
        match &self.what {
            What::Sent(header) => write!(formatter, "-> {}", Described(header)),
            What::Received(header) => write!(formatter, "<- {}", Described(header)),
            What::BadDataDigest(header) => write!(formatter, "<- bad data digest: {}", Described(header)),
            What::BadHeaderDigest(header) => write!(formatter, "<- bad header digest: {}", Described(header)),
            What::Failed(error) => write!(formatter, "-- {error}"),
        }
    }
}

/// A header in one line.
struct Described<'a>(&'a Header);

impl fmt::Display for Described<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = self.0;
        let word = |offset: usize| {
            u32::from_be_bytes([header.0[offset], header.0[offset + 1], header.0[offset + 2], header.0[offset + 3]])
        };
        let immediate = if header.is_immediate() && is_request(header.opcode()) { " I" } else { "" };
        write!(formatter, "{}{immediate} flags={:02x}", header.opcode(), header.0[1])?;
        for (name, offset) in fields(header.opcode()) {
            match word(*offset) {
                u32::MAX if name.ends_with("TT") => {}
                tag if name.ends_with("TT") => write!(formatter, " {name}={tag:#x}")?,
                number => write!(formatter, " {name}={number}")?,
            }
        }
        match header.data_segment_length() {
            0 => Ok(()),
            bytes => write!(formatter, " data={bytes}"),
        }
    }
}

const fn is_request(opcode: Opcode) -> bool {
    opcode.to_wire() < 0x20
}

/// The fields that a reader of a ladder looks for, and where they are (RFC 7143 section 11).
fn fields(opcode: Opcode) -> &'static [(&'static str, usize)] {
    match opcode {
        Opcode::ScsiCommand => &[("ITT", 16), ("EDTL", 20), ("CmdSN", 24), ("ExpStatSN", 28)],
        Opcode::TaskManagementRequest => &[("ITT", 16), ("RTT", 20), ("CmdSN", 24), ("ExpStatSN", 28)],
        Opcode::NopOut => &[("ITT", 16), ("TTT", 20), ("CmdSN", 24), ("ExpStatSN", 28)],
        Opcode::DataOut => &[("ITT", 16), ("TTT", 20), ("ExpStatSN", 28), ("DataSN", 36), ("offset", 40)],
        Opcode::DataIn => {
            &[("ITT", 16), ("StatSN", 24), ("ExpCmdSN", 28), ("MaxCmdSN", 32), ("DataSN", 36), ("offset", 40)]
        }
        Opcode::R2t => {
            &[("ITT", 16), ("TTT", 20), ("StatSN", 24), ("MaxCmdSN", 32), ("R2TSN", 36), ("offset", 40), ("length", 44)]
        }
        opcode if is_request(opcode) => &[("ITT", 16), ("CmdSN", 24), ("ExpStatSN", 28)],
        _ => &[("ITT", 16), ("StatSN", 24), ("ExpCmdSN", 28), ("MaxCmdSN", 32)],
    }
}

/// A port whose PDUs are noted in a [`Trace`].
#[derive(Debug)]
pub struct TracePort<P> {
    port: P,
    trace: Trace,
    name: Arc<str>,
    has_failed: bool,
}

impl<P: PduPort> TracePort<P> {
    /// `port`, noted under `name`.
    pub fn new(port: P, trace: Trace, name: &str) -> Self {
        Self { port, trace, name: name.into(), has_failed: false }
    }

    fn note_failure(&mut self, error: &PortError) {
        if !std::mem::replace(&mut self.has_failed, true) {
            self.trace.note(&self.name, What::Failed(error.clone()));
        }
    }
}

impl<P: PduPort> PduPort for TracePort<P> {
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
        let received = self.port.receive();
        match &received {
            Ok(Some(Received::Frame(frame))) => self.trace.note(&self.name, What::Received(frame.header)),
            Ok(Some(Received::BadDataDigest(header))) => self.trace.note(&self.name, What::BadDataDigest(*header)),
            Ok(Some(Received::BadHeaderDigest(header))) => self.trace.note(&self.name, What::BadHeaderDigest(*header)),
            Ok(None) => {}
            Err(error) => self.note_failure(error),
        }
        received
    }

    fn can_send(&self) -> bool {
        self.port.can_send()
    }

    fn send(&mut self, frame: Frame) {
        self.trace.note(&self.name, What::Sent(frame.header));
        self.port.send(frame);
    }

    fn flush(&mut self) -> Result<Flush, PortError> {
        let flushed = self.port.flush();
        if let Err(error) = &flushed {
            self.note_failure(error);
        }
        flushed
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LoopbackPort;
    use iscsi_pdu::{CmdSn, InitiatorTaskTag, NopOut, Pdu, StatSn, TargetTransferTag};

    fn ping(cmd_sn: u32) -> Frame {
        let ping = NopOut {
            immediate: true,
            initiator_task_tag: Some(InitiatorTaskTag(0xab)),
            target_transfer_tag: None::<TargetTransferTag>,
            cmd_sn: CmdSn(cmd_sn),
            exp_stat_sn: StatSn(3),
            data: "ping".into(),
            ..NopOut::default()
        };
        Pdu::from(ping).encode()
    }

    #[test]
    fn the_ladder_is_of_the_last_pdus() {
        let trace = Trace::new(2);
        let (here, mut peer) = LoopbackPort::pair();
        let mut port = TracePort::new(here, trace.clone(), "disk");
        for cmd_sn in 1..=3 {
            trace.set_time(Duration::from_millis(u64::from(cmd_sn)));
            port.send(ping(cmd_sn));
        }
        port.flush().unwrap();
        drop(peer.receive());
        let expected = "     0.002000  disk       -> NOP-Out I flags=80 ITT=0xab CmdSN=2 ExpStatSN=3 data=4\n     \
                        0.003000  disk       -> NOP-Out I flags=80 ITT=0xab CmdSN=3 ExpStatSN=3 data=4\n";
        assert_eq!(trace.to_string(), expected);
        assert_eq!(trace.pdus(), 3);
    }

    #[test]
    fn an_end_is_noted_once() {
        let trace = Trace::new(10);
        let (here, peer) = LoopbackPort::pair();
        let mut port = TracePort::new(here, trace.clone(), "disk");
        drop(peer);
        assert!(port.receive().is_err() && port.receive().is_err());
        assert_eq!(trace.to_string().lines().count(), 1, "{trace}");
    }

    #[test]
    fn the_fingerprint_tells_runs_apart() {
        let run = |cmd_sn| {
            let trace = Trace::new(1);
            let (here, _peer) = LoopbackPort::pair();
            TracePort::new(here, trace.clone(), "disk").send(ping(cmd_sn));
            trace.fingerprint()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }
}
