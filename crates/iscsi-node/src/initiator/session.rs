//! What the session says, and what the node makes of it.

use super::event::{Event, Outcome};
use super::node::InitiatorNode;
use super::tasks::command_outcome;
use bytes::Bytes;
use iscsi_pdu::TaskManagementResponseCode;
use iscsi_session::initiator::Event as SessionEvent;
use iscsi_transport::PduPort;
use std::time::Instant;

impl<P: PduPort> InitiatorNode<P> {
    pub(super) fn handle_session_event(&mut self, now: Instant, event: SessionEvent) {
        match event {
            SessionEvent::Data { tag, data, .. } => {
                if let Some(open) = self.open.get_mut(&tag.0) {
                    open.data.push(data);
                }
            }
            SessionEvent::TaskComplete { tag, result } => self.complete(tag, |data| command_outcome(result, data)),
            SessionEvent::TaskAborted { tag } => self.complete_aborted(tag),
            SessionEvent::TaskRejected { tag, reason } => {
                self.check_measure(now, tag, false);
                self.complete(tag, |_| Outcome::Rejected(reason));
            }
            SessionEvent::TaskLost { tag } => self.complete(tag, |_| Outcome::Lost),
            SessionEvent::TaskManagementComplete { tag, response } => {
                // A task that does not exist was ended by the target, or is about to be.
                let has_worked = matches!(
                    response,
                    TaskManagementResponseCode::FunctionComplete | TaskManagementResponseCode::TaskDoesNotExist
                );
                self.check_measure(now, tag, has_worked);
                self.complete(tag, |_| Outcome::TaskManagement(response));
            }
            SessionEvent::PingComplete { tag, data } => self.complete(tag, |_| Outcome::Ping(data)),
            SessionEvent::Targets { tag, targets } => self.complete(tag, |_| Outcome::Targets(targets)),
            SessionEvent::NegotiationComplete { tag } => self.complete(tag, |_| Outcome::Lost),
            SessionEvent::LogoutComplete { tag, response } => self.complete(tag, |_| Outcome::Logout(response)),
            SessionEvent::PingDue { .. } => {
                self.ask(None, |session, cid, tag| session.ping(now, cid, tag, Bytes::new()))
            }
            SessionEvent::NegotiationRequested { .. } => {
                self.ask(None, |session, cid, tag| session.negotiate(now, cid, tag))
            }
            SessionEvent::LogoutRequested { grace, .. } => self.events.push_back(Event::LogoutRequested { grace }),
            // What they speak of shows in the commands that it concerns.
            SessionEvent::PduRejected { .. } | SessionEvent::Async(_) => {}
            // At error recovery level 2 the session would go on; the node has no other connection.
            SessionEvent::ConnectionClosed { reason, .. } => {
                self.lose_all();
                self.end(Event::Closed(reason));
            }
            SessionEvent::CleanupDue { .. } | SessionEvent::ReassignmentDue { .. } => {}
            SessionEvent::Closed(reason) => self.end(Event::Closed(reason)),
        }
    }
}
