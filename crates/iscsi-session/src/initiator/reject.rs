//! Reject: which request it ends (RFC 7143 sections 7.3 and 11.17).

use super::task::{Entry, Plugged, Request};
use super::{Event, Session};
use crate::Violation;
use iscsi_pdu::{Cid, InitiatorTaskTag, Opcode, Reject, RejectReason};
use std::time::Instant;

impl Session {
    pub(super) fn handle_reject(&mut self, now: Instant, cid: Cid, pdu: Reject) -> Result<(), Violation> {
        self.numbering.update_window(pdu.exp_cmd_sn, pdu.max_cmd_sn);
        self.connections.known(cid).count_status(pdu.stat_sn)?;
        let (opcode, reason) = (pdu.rejected.opcode(), pdu.reason);
        match InitiatorTaskTag::from_wire(pdu.rejected.initiator_task_tag()) {
            Some(tag) if self.is_request(cid, tag, opcode) => self.reject(now, cid, tag, reason),
            _ => {
                self.events.push_back(Event::PduRejected { opcode, reason });
                Ok(())
            }
        }
    }

    fn is_request(&mut self, cid: Cid, tag: InitiatorTaskTag, opcode: Opcode) -> bool {
        self.requests.sent(cid, tag).is_some_and(|entry| entry.request.opcode() == opcode)
    }

    // RFC 7143 7.3-3: the gap is filled.
    fn reject(&mut self, now: Instant, cid: Cid, tag: InitiatorTaskTag, reason: RejectReason) -> Result<(), Violation> {
        let is_discovery = self.is_discovery();
        let entry = self.requests.get_mut(tag).expect("a request that was found");
        // RFC 7143 7.2.1: the target has taken one copy of a command that was sent again: that another was damaged changes nothing.
        let is_spare_copy = entry.retries > 0 && self.numbering.is_acknowledged(entry.cmd_sn);
        if is_spare_copy && reason == RejectReason::DataDigestError {
            return Ok(());
        }
        // RFC 7143 7.3: the number of a rejected command counts as not received, and has to be sent again for the session
        // to go on. A NOP-Out takes it, and the tag with it.
        if !entry.request.is_immediate() && !self.numbering.is_acknowledged(entry.cmd_sn) {
            if !is_discovery {
                return if self.retry_rejected(tag, reason) { Ok(()) } else { self.plug(cid, tag, reason) };
            }
            // RFC 7143 4.3: there is no NOP-Out in a discovery session, whose texts come one by one: the next takes the number.
            self.numbering.give_back(entry.cmd_sn);
        }
        let Some(entry) = self.remove(tag) else { return Ok(()) };
        match entry.request {
            Request::Plug(plugged) => self.events.push_back(plugged.event(tag)),
            Request::Logout(task) => {
                self.events.push_back(Event::TaskRejected { tag, reason });
                self.fail_logout(now, cid, task, self.default_retention());
            }
            Request::TaskManagement(task) => {
                self.events.push_back(Event::TaskRejected { tag, reason });
                if let Some(command) = task.reassigned() {
                    self.reject_reassignment(now, cid, command, reason);
                }
            }
            _ => self.events.push_back(Event::TaskRejected { tag, reason }),
        }
        Ok(())
    }

    fn plug(&mut self, cid: Cid, tag: InitiatorTaskTag, reason: RejectReason) -> Result<(), Violation> {
        let Some(Entry { cmd_sn, request, .. }) = self.remove(tag) else { return Ok(()) };
        if let Request::Plug(plugged) = request {
            self.events.push_back(plugged.event(tag));
            return Err(Violation::CommandGap);
        }
        self.insert(cid, tag, cmd_sn, Request::Plug(Plugged::Rejected(reason))).outbox.push_request(tag);
        self.plugs.push(tag);
        Ok(())
    }
}
