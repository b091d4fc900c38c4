//! What was asked of the target, and how it ends for the owner.

use super::escalation::{Measure, Watch};
use super::event::{Event, Outcome};
use super::node::InitiatorNode;
use super::{Completion, Segments};
use iscsi_pdu::{InitiatorTaskTag, ScsiResponseCode};
use iscsi_session::initiator::TaskResult;
use iscsi_transport::PduPort;
use std::collections::HashMap;

pub(super) struct Open {
    /// The owner's name; none for what the node asks by itself.
    pub(super) token: Option<u64>,
    pub(super) data: Segments,
    pub(super) purpose: Purpose,
}

/// What a request is for, as far as the node has to know.
pub(super) enum Purpose {
    /// A command, or a function of the owner's, that has a time to end in.
    Watched(Watch),
    /// To end a command that has not.
    Measure(Measure),
    Other,
}

impl<P: PduPort> InitiatorNode<P> {
    pub(super) fn complete(&mut self, tag: InitiatorTaskTag, outcome: impl FnOnce(Segments) -> Outcome) {
        if let Some(open) = self.open.remove(&tag.0) {
            self.port.release(tag.0);
            let outcome = outcome(open.data);
            self.events.extend(open.token.map(|token| Event::Complete { token, outcome }));
        }
    }

    pub(super) fn complete_aborted(&mut self, tag: InitiatorTaskTag) {
        let purpose = self.open.get(&tag.0).map(|open| &open.purpose);
        let is_overdue = matches!(purpose, Some(Purpose::Watched(watch)) if watch.is_overdue());
        self.complete(tag, |_| if is_overdue { Outcome::TimedOut } else { Outcome::Aborted });
    }

    /// With the one connection everything is lost, whatever the session could still do with another.
    pub(super) fn lose_all(&mut self) {
        let tokens = self.open.drain().filter_map(|(_, open)| open.token);
        self.events.extend(tokens.map(|token| Event::Complete { token, outcome: Outcome::Lost }));
    }
}

/// The commands that are watched, by their tags.
pub(super) fn watches(open: &mut HashMap<u32, Open>) -> impl Iterator<Item = (u32, &mut Watch)> {
    open.iter_mut().filter_map(|(tag, open)| match &mut open.purpose {
        Purpose::Watched(watch) => Some((*tag, watch)),
        Purpose::Measure(_) | Purpose::Other => None,
    })
}

pub(super) fn command_outcome(result: TaskResult, data: Segments) -> Outcome {
    match result.response {
        ScsiResponseCode::CompletedAtTarget => {
            Outcome::Command(Completion { status: result.status, sense: result.sense, residual: result.residual, data })
        }
        _ => Outcome::TargetFailure,
    }
}
