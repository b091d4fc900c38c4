//! What happens on the way, and in which order.

use super::*;

/// Most faults in what is about one task, or about the statuses from one on. Nobody asks for the same for ever.
const FAULTS_OF_ONE_MAX: u32 = 4;

/// What a PDU is about, in all its repetitions.
#[derive(PartialEq, Eq, Hash)]
pub(super) enum Subject {
    Task([u8; 4]),
    Status(u32),
}

impl Subject {
    fn of(pdu: &Pdu) -> Self {
        match pdu {
            Pdu::Snack(snack) if snack.initiator_task_tag.is_none() => Self::Status(snack.begin_run),
            _ => Self::Task(pdu.clone().encode().header.0[16..20].try_into().expect("four bytes")),
        }
    }
}

impl World {
    /// Whether a PDU is lost or spoilt, among those that a level recovers from.
    fn fault(&mut self, pdu: &Pdu) -> Option<bool> {
        if self.level == 0 || self.faults_left == 0 || !self.dice.one_in(12) {
            return None;
        }
        let is_spoilt = match pdu {
            // Requests that are immediate are not sent again.
            Pdu::NopOut(_) | Pdu::NopIn(_) | Pdu::TaskManagementRequest(_) | Pdu::LogoutRequest(_) => return None,
            Pdu::ScsiCommand(pdu) => !pdu.data.is_empty(),
            Pdu::DataOut(pdu) => !pdu.data.is_empty(),
            Pdu::DataIn(pdu) => !pdu.data.is_empty(),
            _ => false,
        };
        let before = self.faults.entry(Subject::of(pdu)).or_insert(0);
        if *before == FAULTS_OF_ONE_MAX {
            return None;
        }
        *before += 1;
        self.faults_left -= 1;
        Some(is_spoilt && self.dice.one_in(2))
    }

    fn carry(&mut self, cid: Cid, is_to_target: bool, count: usize) {
        for _ in 0..count {
            let Some(wire) = self.wires.get_mut(&cid) else { return };
            let queue = if is_to_target { &mut wire.to_target } else { &mut wire.to_initiator };
            let Some(pdu) = queue.pop_front() else { return };
            self.cut_anew += u32::from(matches!(&pdu, Pdu::Snack(snack) if snack.kind == SnackType::RData));
            let fault = self.fault(&pdu);
            match (fault, is_to_target) {
                (None, true) => self.target.handle_pdu(self.now, cid, carried(&pdu)),
                (None, false) => self.initiator.handle_pdu(self.now, cid, carried(&pdu)),
                (Some(true), true) => {
                    self.target.handle_bad_pdu(self.now, cid, pdu.encode().header, BadPdu::DataDigest)
                }
                (Some(true), false) => {
                    self.initiator.handle_bad_pdu(self.now, cid, pdu.encode().header, BadPdu::DataDigest);
                }
                (Some(false), _) => {}
            }
            self.handle_events();
            self.handle_target_events();
        }
    }

    /// A connection breaks; what was on its way is lost.
    fn cut(&mut self, cid: Cid) {
        self.wires.remove(&cid);
        self.faults_left -= 1;
        if self.dice.one_in(2) {
            self.target.handle_connection_lost(self.now, cid);
            self.initiator.handle_connection_lost(self.now, cid);
        } else {
            self.initiator.handle_connection_lost(self.now, cid);
            self.target.handle_connection_lost(self.now, cid);
        }
    }

    /// One thing happens, or a few of a kind.
    fn step(&mut self) {
        let count = 1 + self.dice.below(8);
        let cids: Vec<_> = self.wires.keys().copied().collect();
        let cid = if cids.is_empty() { Cid(1) } else { cids[self.dice.below(cids.len())] };
        match self.dice.below(9) {
            0 => self.submit(),
            1 => {
                if let Some(wire) = self.wires.get_mut(&cid) {
                    wire.to_target.extend((0..count).map_while(|_| self.initiator.poll_transmit(cid)));
                }
            }
            2 => {
                if let Some(wire) = self.wires.get_mut(&cid) {
                    wire.to_initiator.extend((0..count).map_while(|_| self.target.poll_transmit(cid)));
                }
            }
            3 => self.carry(cid, true, count),
            4 => self.carry(cid, false, count),
            5 => self.execute(),
            6 => self.recover(),
            7 if self.faults_left > 0 && self.wires.contains_key(&cid) && self.may_cut() => self.cut(cid),
            _ => {
                self.now += Duration::from_millis(self.dice.below(40) as u64);
                self.initiator.handle_timeout(self.now);
                self.target.handle_timeout(self.now);
            }
        }
        self.handle_events();
        self.handle_target_events();
    }

    /// Below level 2 the last connection takes the session along.
    fn may_cut(&mut self) -> bool {
        (self.level == 2 || self.initiator.cids().count() > 1) && self.dice.one_in(300)
    }

    pub(super) fn run(&mut self) {
        for _ in 0..400_000 {
            if self.is_idle() {
                return;
            }
            self.step();
        }
        panic!("this does not end: {:#?} {:#?}", self.initiator, self.target);
    }
}
