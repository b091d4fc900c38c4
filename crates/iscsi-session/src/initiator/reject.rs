//! Reject: which request it ends (RFC 7143 sections 7.3 and 11.17).

use super::task::Request;
use super::{Event, Session};
use crate::{CloseReason, Violation};
use iscsi_pdu::{InitiatorTaskTag, Opcode, Reject, RejectReason};

impl Session {
    pub(super) fn handle_reject(&mut self, pdu: Reject) -> Result<(), Violation> {
        self.numbering.update_window(pdu.exp_cmd_sn, pdu.max_cmd_sn);
        self.numbering.count_status(pdu.stat_sn)?;
        let (opcode, reason) = (pdu.rejected.opcode(), pdu.reason);
        match InitiatorTaskTag::from_wire(pdu.rejected.initiator_task_tag()) {
            Some(tag) if self.is_request(tag, opcode) => self.reject(tag, reason),
            _ => {
                self.events.push_back(Event::PduRejected { opcode, reason });
                Ok(())
            }
        }
    }

    fn is_request(&mut self, tag: InitiatorTaskTag, opcode: Opcode) -> bool {
        self.requests.sent(tag).is_some_and(|entry| entry.request.opcode() == opcode)
    }

    fn reject(&mut self, tag: InitiatorTaskTag, reason: RejectReason) -> Result<(), Violation> {
        let Some(entry) = self.requests.get(tag) else { return Ok(()) };
        let mut leaves_gap = !entry.request.is_immediate() && !self.numbering.is_acknowledged(entry.cmd_sn);
        if leaves_gap && self.is_discovery() {
            // RFC 7143 4.3: there is no NOP-Out in a discovery session, whose texts come one by one: the next takes the number.
            self.numbering.give_back(entry.cmd_sn);
            leaves_gap = false;
        }
        let Some(entry) = self.remove(tag) else { return Ok(()) };
        match entry.request {
            Request::Plug(reason) => {
                self.events.push_back(Event::TaskRejected { tag, reason });
                return if leaves_gap { Err(Violation::CommandGap) } else { Ok(()) };
            }
            // RFC 7143 7.3: the number of a rejected command counts as not received, and has to be sent again for the session
            // to go on. A NOP-Out takes it, and the tag with it.
            _ if leaves_gap => {
                self.requests.insert(tag, entry.cmd_sn, Request::Plug(reason));
                self.outbox.push_request(tag);
            }
            Request::Logout(_) => {
                self.events.push_back(Event::TaskRejected { tag, reason });
                self.close(CloseReason::LogoutFailed);
            }
            _ => self.events.push_back(Event::TaskRejected { tag, reason }),
        }
        Ok(())
    }
}
