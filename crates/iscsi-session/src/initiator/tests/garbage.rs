//! A target that sends anything at all: the session neither panics nor grows, hands out nothing beyond what was expected, and
//! ends every request once.

use super::*;
use crate::BadPdu;
use crate::initiator::TaskManagement;
use crate::initiator::task::Request;
use proptest::prelude::*;
use std::collections::HashMap;

/// Opcodes of targets, the busy ones more than once, and one of an initiator, which comes in the place of another.
const OPCODES: [u8; 19] =
    [0x20, 0x20, 0x21, 0x21, 0x21, 0x22, 0x22, 0x24, 0x24, 0x25, 0x25, 0x25, 0x25, 0x31, 0x31, 0x32, 0x3f, 0x26, 0x01];
const EXPECTED: u32 = 2000;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Happening {
    Submit(u32, u8),
    Manage(u32, u8),
    Ping(u32),
    SendTargets(u32),
    Logout(u32),
    /// What follows is about this connection.
    Turn(u16),
    Join(u16),
    Lose,
    Send(u8),
    Pass(u16),
    /// A header that is anything, but likely where the bits of `wrong` do not say otherwise.
    Take {
        header: [u8; 48],
        opcode: usize,
        tag: usize,
        wrong: u8,
        small: [u16; 3],
        data: Vec<u8>,
    },
}

fn happening() -> impl Strategy<Value = Happening> {
    let wrong = prop_oneof![12 => Just(0), 1 => (0_u32..8).prop_map(|bit| 1 << bit), 1 => any::<u8>()];
    let take = (any::<[u8; 48]>(), 0..OPCODES.len(), any::<usize>(), wrong, any::<[u16; 3]>(), data()).prop_map(
        |(header, opcode, tag, wrong, small, data)| Happening::Take { header, opcode, tag, wrong, small, data },
    );
    prop_oneof![
        4 => (0_u32..8, any::<u8>()).prop_map(|(tag, kind)| Happening::Submit(tag, kind)),
        1 => (8_u32..12, any::<u8>()).prop_map(|(tag, function)| Happening::Manage(tag, function)),
        1 => (8_u32..12).prop_map(Happening::Ping),
        1 => (8_u32..12).prop_map(Happening::SendTargets),
        1 => (8_u32..60).prop_map(Happening::Logout),
        2 => (1_u16..4).prop_map(Happening::Turn),
        1 => (1_u16..4).prop_map(Happening::Join),
        1 => Just(Happening::Lose),
        6 => any::<u8>().prop_map(Happening::Send),
        1 => any::<u16>().prop_map(Happening::Pass),
        12 => take,
    ]
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    let text = b"TargetName=iqn.2026-01.a:b\0TargetAddress=10.0.0.1,1\0";
    prop_oneof![Just(Vec::new()), proptest::collection::vec(any::<u8>(), 0..600), Just(text.to_vec())]
}

/// The requests that an answer with this opcode may belong to.
fn answerable(bench: &Bench, opcode: u8) -> Vec<InitiatorTaskTag> {
    let is_answer = |request: &Request| match (opcode, request) {
        (0x25, Request::Command(task)) => task.data.read.is_some(),
        (0x31, Request::Command(task)) => task.data.write.is_some(),
        (0x20, request) => matches!(request, Request::Ping(_) | Request::Plug(_)),
        (0x3f, _) => true,
        (opcode, request) => request.opcode().to_wire() | 0x20 == opcode,
    };
    let sent = bench
        .session
        .requests
        .iter()
        .filter(|(_, entry)| entry.is_sent() && entry.cid == bench.cid && is_answer(&entry.request));
    let mut tags: Vec<_> = sent.map(|(tag, _)| tag).collect();
    tags.sort_unstable();
    tags
}

/// A PDU that would be in its place, but for what is `wrong`; none if there is no place for it.
fn frame(bench: &Bench, happening: Happening) -> Option<Frame> {
    let Happening::Take { mut header, opcode, tag, wrong, small, mut data } = happening else { return None };
    let mut opcode = OPCODES[opcode];
    let tags = answerable(bench, opcode);
    let tag = tags.get(tag % tags.len().max(1));
    let task = tag.and_then(|tag| match &bench.session.requests.get(*tag)?.request {
        Request::Command(task) => Some(&task.data),
        _ => None,
    });
    let (data_sn, offset) = task.map_or((0, 0), |data| data.next_numbers(opcode == 0x25));
    if tag.is_none() && !matches!(opcode, 0x20 | 0x32 | 0x3f) && !(wrong > 0 && wrong.is_power_of_two()) {
        return None;
    }
    match opcode {
        0x01 if wrong == 0 => opcode = 0x32,
        // A ping of the target's, or an echo.
        0x20 if wrong == 0 && tag.is_none() => data.clear(),
        0x21 if wrong & 64 == 0 => data.clear(),
        // The beginning of a request of ours.
        0x3f if wrong & 64 == 0 => {
            data = header.to_vec();
            data[0] =
                tag.and_then(|tag| Some(bench.session.requests.get(*tag)?.request.opcode().to_wire())).unwrap_or(5);
            data[16..20].copy_from_slice(&tag.map_or(u32::MAX, |tag| tag.0).to_be_bytes());
        }
        _ => {}
    }
    header[0] = opcode;
    let small = small.map(u32::from);
    let mut put = |at: usize, value: u32, bit: u8| {
        if wrong & bit == 0 {
            header[at..at + 4].copy_from_slice(&value.to_be_bytes());
        }
    };
    let numbering = bench.session.numbering;
    let has_transfer_tag = opcode == 0x31 || opcode == 0x20 && tag.is_none() || opcode == 0x24 && small[0] % 2 == 0;
    put(16, tag.map_or(u32::MAX, |tag| tag.0), 1);
    put(20, if has_transfer_tag { small[1] } else { u32::MAX }, 128);
    put(24, bench.session.connections.get(bench.cid).map_or(0, |connection| connection.exp_stat_sn.0), 2);
    put(28, numbering.cmd_sn().0, 4);
    put(32, numbering.cmd_sn().0.wrapping_add(small[0] % 20), 4);
    put(36, if opcode == 0x21 { 0 } else { data_sn }, 8);
    put(40, offset, 8);
    put(44, 1 + small[0] % 700, 16);
    if wrong & 32 == 0 {
        header[8..16].copy_from_slice(&LUN.0);
    }
    if wrong & 64 == 0 {
        header[1] = match opcode {
            0x25 => 0x80 | u8::from(small[2] % 4 == 0),
            0x24 if has_transfer_tag => 0,
            _ => 0x80,
        };
        (header[2], header[3]) = (u8::from(small[2] % 8 == 0), 0);
    }
    Some(Frame::new(Header(header), Box::default(), data.into()))
}

/// What the session has been asked for, and what it has told.
struct Watch {
    bench: Bench,
    /// Requests that have not ended, and what a read has got.
    outstanding: HashMap<InitiatorTaskTag, u32>,
    is_closed: bool,
}

impl Watch {
    fn happen(&mut self, happening: Happening) {
        let (now, cid) = (self.bench.now, self.bench.cid);
        match happening {
            Happening::Submit(number, kind) if self.is_free(number) => {
                let data = match kind % 4 {
                    0 => Transfer::Read(EXPECTED),
                    1 => Transfer::Write(pattern(EXPECTED as usize)),
                    2 => Transfer::Bidirectional { write: pattern(600), read: EXPECTED },
                    _ => Transfer::None,
                };
                let command = Command { lun: LUN, data, ..Command::default() };
                if self.bench.session.submit(now, cid, tag(number), command).is_ok() {
                    self.outstanding.insert(tag(number), 0);
                }
            }
            Happening::Manage(number, function) if self.is_free(number) => {
                self.outstanding.insert(tag(number), 0);
                let function = TaskManagementFunction::from_wire(function % 13);
                let referenced = Some(tag(number % 8));
                self.bench.session.manage_task(
                    now,
                    cid,
                    tag(number),
                    TaskManagement { function, lun: LUN, referenced },
                );
            }
            Happening::Ping(number) if self.is_free(number) => {
                self.outstanding.insert(tag(number), 0);
                self.bench.session.ping(now, cid, tag(number), pattern(10));
            }
            Happening::SendTargets(number) if self.is_free(number) => {
                self.outstanding.insert(tag(number), 0);
                self.bench.session.send_targets(now, cid, tag(number), SendTargetsScope::All);
            }
            Happening::Logout(number) if self.is_free(number) => {
                self.outstanding.insert(tag(number), 0);
                let logout = match number % 7 {
                    0 => Logout::Session,
                    1..=4 => Logout::Connection(Cid((number % 4) as u16)),
                    _ => Logout::ForRecovery(Cid((number % 4) as u16)),
                };
                self.bench.session.logout(now, cid, tag(number), logout);
            }
            Happening::Turn(number) => {
                self.bench.on(Cid(number));
            }
            Happening::Join(number) if !self.is_closed => {
                self.bench.join(Cid(number));
            }
            Happening::Lose => self.bench.session.handle_connection_lost(now, cid),
            Happening::Send(count) => {
                for _ in 0..count % 16 {
                    self.bench.session.poll_transmit(cid);
                }
            }
            Happening::Pass(milliseconds) => {
                self.bench.now += Duration::from_millis(u64::from(milliseconds) / 16);
                self.bench.session.handle_timeout(self.bench.now);
            }
            Happening::Take { .. } => {
                let Some(frame) = frame(&self.bench, happening) else { return };
                match Pdu::decode(frame.clone()) {
                    Ok(pdu) => self.bench.take(pdu),
                    Err(error) => {
                        let what = BadPdu::Undecodable(error);
                        self.bench.session.handle_bad_pdu(now, cid, frame.header, what);
                    }
                }
            }
            _ => {}
        }
        self.look();
    }

    fn is_free(&self, number: u32) -> bool {
        !self.outstanding.contains_key(&tag(number))
    }

    fn end(&mut self, tag: InitiatorTaskTag) -> u32 {
        self.outstanding.remove(&tag).expect("a request ends once")
    }

    fn look(&mut self) {
        for event in self.bench.events() {
            match event {
                Event::Data { tag, offset, data } => {
                    let received = self.outstanding.get_mut(&tag).expect("data of a request that has not ended");
                    assert_eq!(*received, offset, "in order and once");
                    *received += data.len() as u32;
                    assert!(*received <= EXPECTED);
                }
                Event::TaskComplete { tag, result } => {
                    let received = self.end(tag);
                    if let Residual::Underflow(count) = result.residual {
                        assert!(count <= EXPECTED);
                    }
                    let is_complete = result.response == ScsiResponseCode::CompletedAtTarget;
                    let claimed = |residual| crate::initiator::TaskResult::transferred_bytes(EXPECTED, residual);
                    if received > 0 && is_complete {
                        let residuals = [result.residual, result.bidirectional_read_residual];
                        assert!(residuals.into_iter().any(|residual| claimed(residual) <= received));
                    }
                }
                Event::TaskAborted { tag }
                | Event::TaskRejected { tag, .. }
                | Event::TaskLost { tag }
                | Event::TaskManagementComplete { tag, .. }
                | Event::PingComplete { tag, .. }
                | Event::Targets { tag, .. }
                | Event::NegotiationComplete { tag }
                | Event::LogoutComplete { tag, .. } => {
                    self.end(tag);
                }
                Event::Closed(_) => {
                    assert!(!std::mem::replace(&mut self.is_closed, true), "closed once");
                    assert!(self.outstanding.is_empty(), "every request has ended before");
                }
                Event::PingDue { .. }
                | Event::NegotiationRequested { .. }
                | Event::LogoutRequested { .. }
                | Event::PduRejected { .. }
                | Event::ConnectionClosed { .. }
                | Event::CleanupDue { .. }
                | Event::ReassignmentDue { .. }
                | Event::Async(_) => {}
            }
        }
        assert_eq!(self.is_closed, self.bench.session.is_closed());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn nothing_that_a_target_sends_does_harm(
        happenings in proptest::collection::vec(happening(), 0..60),
        initial_r2t: bool,
        immediate_data: bool,
        error_recovery_level in 0_u8..3,
    ) {
        let parameters = Parameters {
            error_recovery_level,
            initial_r2t,
            immediate_data,
            send_segment_bytes_max: 512,
            first_burst_bytes_max: 1024,
            outstanding_r2t_max: 2,
            ..Parameters::default()
        };
        let mut bench = Bench::new(parameters);
        bench.join(Cid(2)).join(Cid(3)).on(CID);
        let mut watch = Watch { bench, outstanding: HashMap::new(), is_closed: false };
        for happening in happenings {
            watch.happen(happening);
        }
        // However it went, what is to be sent ends, and with the last connection everything does.
        for cid in 1..4 {
            let sent = watch.bench.on(Cid(cid)).sent();
            prop_assert!(sent.len() < 400, "{} PDUs for a handful of requests", sent.len());
        }
        watch.look();
        for cid in 1..4 {
            watch.bench.session.handle_connection_lost(watch.bench.now, Cid(cid));
        }
        // At level 2 the target has to forget it first.
        watch.bench.session.handle_timeout(watch.bench.now + Duration::from_secs(1 << 18));
        watch.look();
        prop_assert!(watch.outstanding.is_empty() && watch.is_closed);
    }
}
