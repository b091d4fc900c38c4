//! Asynchronous messages (RFC 7143 section 11.9).

use super::outbox::Answer;
use super::state::ConnectionTransition;
use super::timers::Retention;
use super::{Event, Session};
use crate::{CloseReason, Violation};
use iscsi_pdu::{AsyncEvent, AsyncMessage, Cid, CmdSn, LunField};
use std::time::{Duration, Instant};

impl Session {
    // RFC 7143 7.1.4.3-3, 7.14-2: what the target says it has dropped is gone.
    pub(super) fn handle_async_message(&mut self, now: Instant, cid: Cid, pdu: AsyncMessage) -> Result<(), Violation> {
        self.numbering.update_window(pdu.exp_cmd_sn, pdu.max_cmd_sn);
        self.connections.known(cid).count_status(pdu.stat_sn)?;
        let dropped = CloseReason::Dropped { time_2_wait: pdu.parameter_2 };
        let retention = Retention::from_seconds(pdu.parameter_2, pdu.parameter_3);
        match pdu.event {
            AsyncEvent::LogoutRequest => self.handle_logout_request(cid, pdu.parameter_3),
            AsyncEvent::ConnectionDrop if self.is_about_another(cid, Cid(pdu.parameter_1)) => {
                self.want_ping(Cid(pdu.parameter_1));
            }
            AsyncEvent::ConnectionDrop => self.lose(now, Cid(pdu.parameter_1), dropped, retention),
            AsyncEvent::SessionDrop if self.keeps_tasks(retention) => {
                let cids: Vec<_> = self.cids().collect();
                cids.into_iter().for_each(|cid| self.lose(now, cid, dropped, retention));
            }
            AsyncEvent::SessionDrop => self.close(dropped),
            AsyncEvent::NegotiationRequest => self.handle_negotiation_request(cid),
            AsyncEvent::TaskTermination => return self.handle_task_termination(cid, pdu.lun, pdu.exp_cmd_sn),
            _ => self.events.push_back(Event::Async(pdu)),
        }
        Ok(())
    }

    /// Whether what is said of a connection over another may be about one before it with the same CID, and late: then a ping will tell.
    fn is_about_another(&self, over: Cid, cid: Cid) -> bool {
        let connection = self.connections.get(cid).filter(|_| cid != over);
        connection.is_some_and(|connection| connection.is_successor && connection.state.takes_requests())
    }

    fn handle_logout_request(&mut self, cid: Cid, seconds: u16) {
        let connection = self.connections.known(cid);
        if connection.state.takes_requests() {
            connection.make(ConnectionTransition::LogoutRequest);
            self.events.push_back(Event::LogoutRequested { cid, grace: Duration::from_secs(seconds.into()) });
        }
    }

    // RFC 7143 11.9.1-5: a negotiation that is under way is an answer.
    fn handle_negotiation_request(&mut self, cid: Cid) {
        let connection = self.connections.known(cid);
        // A text exchange that is under way is an answer already.
        if connection.texts.is_empty() && connection.state.takes_requests() && !self.is_discovery() {
            self.events.push_back(Event::NegotiationRequested { cid });
        }
    }

    // RFC 7143 4.2.3.4-5, 4.2.3.5-4, 11.9.1-6: first no more data, then the acknowledgement.
    /// Ends the commands of a connection to a logical unit that the target has received, and says that no data follows for them.
    /// A command that the message does not acknowledge was on its way, and will be answered. One that a lost connection has left is
    /// allegiant to none until it is reassigned, and the answer to that tells what has become of it.
    fn handle_task_termination(&mut self, cid: Cid, lun: LunField, exp_cmd_sn: CmdSn) -> Result<(), Violation> {
        self.conclude(|_, entry, of_command| {
            entry.cid == cid && entry.is_sent() && of_command == lun && entry.cmd_sn.precedes(exp_cmd_sn)
        });
        self.answer(cid, Answer { lun, target_transfer_tag: None })
    }
}
