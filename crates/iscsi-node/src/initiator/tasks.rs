//! What was asked of the target, and how it ends for the owner.

use super::escalation::{Measure, Watch};
use super::event::{Event, Outcome};
use super::node::{InitiatorNode, Phase};
use super::{Completion, Segments};
use iscsi_pdu::{Cid, InitiatorTaskTag, ScsiResponseCode};
use iscsi_session::initiator::{Session, TaskResult};
use iscsi_transport::PduPort;
use smallvec::SmallVec;
use std::collections::HashMap;

pub(super) struct Open {
    /// The owner's name; none for what the node asks by itself.
    pub(super) token: Option<u64>,
    /// The connection on which it began.
    pub(super) cid: Cid,
    /// The link that gave its tag.
    link: u32,
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

/// A request without an answer, on a connection that has ended: the target may still be at it. It stays open, and keeps its tag.
pub(super) struct Doubtful {
    tag: InitiatorTaskTag,
    /// One of these it was on: the session may have sent it on another than the node knows of.
    cids: SmallVec<[Cid; 2]>,
}

impl<P: PduPort> InitiatorNode<P> {
    /// Gives a request that begins on a connection its tag.
    pub(super) fn begin(&mut self, cid: Cid, bytes: u32, token: Option<u64>, purpose: Purpose) -> InitiatorTaskTag {
        let (tag, link) = self.connections.reserve(cid, bytes, &self.open);
        self.open.insert(tag, Open { token, cid, link, data: Segments::new(), purpose });
        InitiatorTaskTag(tag)
    }

    /// The tag of what the owner calls `token`, if that is under way.
    pub(super) fn tag_of(&self, token: u64) -> Option<InitiatorTaskTag> {
        let found = self.open.iter().find(|(_, open)| open.token == Some(token));
        found.map(|(tag, _)| InitiatorTaskTag(*tag))
    }

    /// Asks for something on the connection that has the least to do.
    pub(super) fn ask(&mut self, token: Option<u64>, how: impl FnOnce(&mut Session, Cid, InitiatorTaskTag)) {
        self.ask_for(Purpose::Other, token, how);
    }

    pub(super) fn ask_for(
        &mut self,
        purpose: Purpose,
        token: Option<u64>,
        how: impl FnOnce(&mut Session, Cid, InitiatorTaskTag),
    ) {
        match self.carrier() {
            Some(cid) => self.ask_on(cid, purpose, token, how),
            None => self.events.extend(token.map(|token| Event::Complete { token, outcome: Outcome::Lost })),
        }
    }

    pub(super) fn ask_on(
        &mut self,
        cid: Cid,
        purpose: Purpose,
        token: Option<u64>,
        how: impl FnOnce(&mut Session, Cid, InitiatorTaskTag),
    ) {
        let tag = self.begin(cid, 0, token, purpose);
        if let Phase::FullFeature(session) = &mut self.phase {
            how(session, cid, tag);
        }
    }

    /// A connection on which requests can be made.
    pub(super) fn carrier(&self) -> Option<Cid> {
        let Phase::FullFeature(session) = &self.phase else { return None };
        session.least_busy().or_else(|| session.cids().next())
    }

    pub(super) fn complete(&mut self, tag: InitiatorTaskTag, outcome: impl FnOnce(Segments) -> Outcome) {
        if let Some(open) = self.open.remove(&tag.0) {
            self.connections.release(tag.0, open.link);
            let outcome = outcome(open.data);
            self.events.extend(open.token.map(|token| Event::Complete { token, outcome }));
        }
    }

    /// A SCSI command has ended.
    pub(super) fn complete_command(&mut self, tag: InitiatorTaskTag, result: TaskResult) {
        let cid = self.open.get(&tag.0).map(|open| open.cid);
        if let Some(connection) = cid.and_then(|cid| self.connections.get_mut(cid)) {
            connection.handle_success();
        }
        self.complete(tag, |data| command_outcome(result, data));
    }

    pub(super) fn complete_aborted(&mut self, tag: InitiatorTaskTag) {
        let purpose = self.open.get(&tag.0).map(|open| &open.purpose);
        let is_overdue = matches!(purpose, Some(Purpose::Watched(watch)) if watch.is_overdue());
        self.complete(tag, |_| if is_overdue { Outcome::TimedOut } else { Outcome::Aborted });
    }

    /// A request is without an answer. Who asked for it may ask again once he hears of it: not before the target has let go of it.
    pub(super) fn complete_lost(&mut self, tag: InitiatorTaskTag) {
        let cids = self.connections.iter().map(|connection| connection.cid);
        let cids: SmallVec<_> = match &self.phase {
            Phase::FullFeature(session) => cids.filter(|cid| session.is_in_cleanup(*cid)).collect(),
            _ => SmallVec::new(),
        };
        if cids.is_empty() {
            return self.complete(tag, |_| Outcome::Lost);
        }
        let Some(open) = self.open.get_mut(&tag.0) else { return };
        // Nothing more comes of it, and there is nothing to be done about it.
        (open.data, open.purpose) = (Segments::new(), Purpose::Other);
        self.doubtful.push(Doubtful { tag, cids });
    }

    // RFC 7143 7.2.1: a second one of a command that goes on would be carried out beside it.
    // RFC 7143 11.2.1.8: nor is its tag another's before that.
    /// Ends the requests whose connections the target knows to be gone, or has forgotten.
    pub(super) fn end_doubtful(&mut self) {
        let Phase::FullFeature(session) = &self.phase else { return };
        let is_over = |request: &mut Doubtful| {
            request.cids.retain(|cid| session.is_in_cleanup(*cid));
            request.cids.is_empty()
        };
        let over: SmallVec<[Doubtful; 8]> = self.doubtful.extract_if(.., is_over).collect();
        over.into_iter().for_each(|request| self.complete(request.tag, |_| Outcome::Lost));
    }

    /// With the session everything is lost.
    pub(super) fn lose_all(&mut self) {
        self.doubtful.clear();
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

fn command_outcome(result: TaskResult, data: Segments) -> Outcome {
    match result.response {
        ScsiResponseCode::CompletedAtTarget => {
            let TaskResult { status, status_qualifier, sense, residual, .. } = result;
            Outcome::Command(Completion { status, status_qualifier, sense, residual, data })
        }
        _ => Outcome::TargetFailure,
    }
}
