//! What the session says, and what the node makes of it.

use super::event::{Event, Outcome};
use super::node::InitiatorNode;
use super::tasks::Purpose;
use bytes::Bytes;
use iscsi_pdu::TaskManagementResponseCode;
use iscsi_session::initiator::Event as SessionEvent;
use iscsi_transport::PduPort;
use scsi_block::AsynchronousEvent;
use std::time::Instant;

impl<P: PduPort> InitiatorNode<P> {
    pub(super) fn handle_session_event(&mut self, now: Instant, event: SessionEvent) {
        match event {
            SessionEvent::Data { tag, data, .. } => {
                if let Some(open) = self.open.get_mut(&tag.0) {
                    open.data.push(data);
                }
            }
            SessionEvent::TaskComplete { tag, result } => self.complete_command(tag, result),
            SessionEvent::TaskAborted { tag } => self.complete_aborted(tag),
            SessionEvent::TaskRejected { tag, reason } => {
                self.check_measure(now, tag, false);
                self.complete(tag, |_| Outcome::Rejected(reason));
            }
            SessionEvent::TaskLost { tag } => self.complete_lost(tag),
            SessionEvent::TaskManagementComplete { tag, response, additional_information } => {
                // A task that does not exist was ended by the target, or is about to be.
                let has_worked = matches!(
                    response,
                    TaskManagementResponseCode::FunctionComplete | TaskManagementResponseCode::TaskDoesNotExist
                );
                self.check_measure(now, tag, has_worked);
                self.complete(tag, |_| management_outcome(response, additional_information));
            }
            SessionEvent::PingComplete { tag, data } => self.complete(tag, |_| Outcome::Ping(data)),
            SessionEvent::Targets { tag, targets } => self.complete(tag, |_| Outcome::Targets(targets)),
            SessionEvent::NegotiationComplete { tag } => self.complete(tag, |_| Outcome::Lost),
            SessionEvent::LogoutComplete { tag, response } => self.complete(tag, |_| Outcome::Logout(response)),
            SessionEvent::PingDue { cid } => {
                self.ask_on(cid, Purpose::Other, None, |session, cid, tag| session.ping(now, cid, tag, Bytes::new()));
            }
            SessionEvent::NegotiationRequested { cid } => {
                self.ask_on(cid, Purpose::Other, None, |session, cid, tag| session.negotiate(now, cid, tag));
            }
            // RFC 7143 11.9.1: the whole session may be logged out, whichever connection the target means.
            SessionEvent::LogoutRequested { grace, .. } => {
                self.want_no_more();
                self.events.push_back(Event::LogoutRequested { grace });
            }
            // What they speak of shows in the commands that it concerns.
            SessionEvent::PduRejected { .. } | SessionEvent::Async(_) => {}
            SessionEvent::ConnectionClosed { cid, reason } => self.handle_connection_closed(cid, reason),
            SessionEvent::CleanupDue { cid } => self.clean_up(now, cid),
            SessionEvent::ReassignmentDue { tag } => self.reassign(now, tag),
            SessionEvent::Closed(reason) => self.handle_closed(reason),
        }
    }
}

fn management_outcome(response: TaskManagementResponseCode, additional_information: [u8; 3]) -> Outcome {
    match (response, additional_information) {
        (_, [0, 0, 0]) => Outcome::TaskManagement(response),
        (TaskManagementResponseCode::FunctionSucceeded, event) => {
            Outcome::AsynchronousEvent(AsynchronousEvent::from_bytes(event))
        }
        _ => Outcome::TaskManagement(response),
    }
}
