//! Asynchronous messages (RFC 7143 section 11.9).

use super::outbox::Answer;
use super::state::Transition;
use super::{Event, Session};
use crate::{CloseReason, Violation};
use iscsi_pdu::{AsyncEvent, AsyncMessage, LunField};
use std::time::Duration;

impl Session {
    pub(super) fn handle_async_message(&mut self, pdu: AsyncMessage) -> Result<(), Violation> {
        self.numbering.update_window(pdu.exp_cmd_sn, pdu.max_cmd_sn);
        self.numbering.count_status(pdu.stat_sn)?;
        match pdu.event {
            AsyncEvent::LogoutRequest => self.handle_logout_request(pdu.parameter_3),
            AsyncEvent::ConnectionDrop if pdu.parameter_1 != self.cid.0 => {}
            AsyncEvent::ConnectionDrop | AsyncEvent::SessionDrop => {
                self.close(CloseReason::Dropped { time_2_wait: pdu.parameter_2 });
            }
            // A text exchange that is under way is an answer already.
            AsyncEvent::NegotiationRequest
                if self.texts.is_empty() && self.state.takes_requests() && !self.is_discovery() =>
            {
                self.events.push_back(Event::NegotiationRequested);
            }
            AsyncEvent::NegotiationRequest => {}
            AsyncEvent::TaskTermination => return self.handle_task_termination(pdu.lun),
            _ => self.events.push_back(Event::Async(pdu)),
        }
        Ok(())
    }

    fn handle_logout_request(&mut self, seconds: u16) {
        if self.state.takes_requests() {
            self.state = self.state.after(Transition::LogoutRequest);
            self.events.push_back(Event::LogoutRequested { grace: Duration::from_secs(seconds.into()) });
        }
    }

    /// Ends the commands to a logical unit that the target has received, and says that no data follows for them. A command that
    /// is still on its way will be answered.
    fn handle_task_termination(&mut self, lun: LunField) -> Result<(), Violation> {
        let numbering = self.numbering;
        self.conclude(|_, of_command, cmd_sn| of_command == lun && numbering.is_acknowledged(cmd_sn));
        let answer = Answer { lun, target_transfer_tag: None };
        if self.outbox.push_answer(answer) { Ok(()) } else { Err(Violation::TooManyPings) }
    }
}
