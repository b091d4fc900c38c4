//! Pings of the initiator, and its answers to ours (RFC 7143 sections 11.18 and 11.19).

use super::session::{Request, Session};
use super::transmit::Transmission;
use crate::Violation;
use iscsi_pdu::NopOut;

impl Session {
    // RFC 7143 11.19-4: a NOP-Out without a task tag is not answered.
    pub(super) fn handle_nop_out(&mut self, at: usize, pdu: NopOut) {
        self.acknowledge(at, pdu.exp_stat_sn);
        let admitted = self.admit_nop_out(at, &pdu);
        match admitted {
            Err(violation) => self.violate(at, violation, pdu.into()),
            Ok(_) if pdu.initiator_task_tag.is_none() => match pdu.target_transfer_tag {
                Some(_) => self.let_go_acknowledged(at),
                None => self.hear_termination(at, pdu.lun),
            },
            Ok(true) => {
                self.count(at, pdu.immediate);
                self.echo(at, pdu);
            }
            Ok(false) => self.hold(at, pdu.cmd_sn, Request::NopOut(pdu)),
        }
    }

    // RFC 7143 11.18.1-4: without a task tag it is immediate.
    fn admit_nop_out(&mut self, at: usize, pdu: &NopOut) -> Result<bool, Violation> {
        // RFC 7143 11.18.2: a target transfer tag answers the ping that carried it.
        match pdu.target_transfer_tag {
            Some(tag) if tag == self.connections[at].tag => self.connections[at].timers.hear_ping_answer(),
            Some(_) => return Err(Violation::UnknownTransferTag),
            None => {}
        }
        // RFC 7143 11.18.1: a NOP-Out that wants no answer is immediate.
        let Some(tag) = pdu.initiator_task_tag else {
            return if pdu.immediate { Ok(true) } else { Err(Violation::NopOutNotImmediate) };
        };
        self.refuse_in_discovery()?;
        let turn = self.admit(at, pdu.immediate, pdu.cmd_sn)?;
        if self.has_request(tag) { Err(Violation::TagInUse) } else { Ok(turn) }
    }

    // RFC 7143 11.18.1-3, 11.19-1, 11.19-2, 11.19-3: with its tag and as much of its data as fits.
    /// RFC 7143 11.19: a NOP-In duplicates as much of the ping data as the initiator receives.
    pub(super) fn echo(&mut self, at: usize, pdu: NopOut) {
        let Some(tag) = pdu.initiator_task_tag else {
            return;
        };
        let mut data = pdu.data;
        let connection = &mut self.connections[at];
        data.truncate(connection.send_segment_bytes_max as usize);
        connection.transmit.push_before_fences(Transmission::Echo { tag, data, immediate: pdu.immediate });
    }
}
