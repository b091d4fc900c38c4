//! Tasks that are gone while data for them may be on the way: it is dropped in silence, since the initiator could not know, and their
//! tag stays with the session until no more can come.
//!
//! In: tasks that end before their data has come. Out: their tags, once each.
//!
//! Invariant: no more are kept than [`Stragglers::LENGTH_MAX`]; the oldest are forgotten.

use super::event::Event;
use super::session::Session;
use iscsi_pdu::{InitiatorTaskTag, LunField, StatSn, TargetTransferTag};
use std::collections::VecDeque;

/// A task that is gone.
#[derive(Debug)]
pub(super) struct Straggler {
    pub(super) task: InitiatorTaskTag,
    pub(super) lun: LunField,
    /// The tag that its R2Ts carry, if the owner has given one.
    pub(super) tag: Option<TargetTransferTag>,
    /// The task management function that ended it, on this connection.
    function: Option<InitiatorTaskTag>,
    /// StatSN of the response to that: whoever has that sends no more data.
    told_by: Option<StatSn>,
}

impl Straggler {
    pub(super) fn new(task: InitiatorTaskTag, lun: LunField, tag: Option<TargetTransferTag>) -> Self {
        Self { task, lun, tag, function: None, told_by: None }
    }
}

/// Those of one connection.
#[derive(Debug, Default)]
pub(super) struct Stragglers(VecDeque<Straggler>);

impl Stragglers {
    const LENGTH_MAX: usize = 128;

    /// Returns the tag of one that is forgotten for it.
    #[must_use]
    fn add(&mut self, straggler: Straggler) -> Option<TargetTransferTag> {
        if straggler.tag.is_none() && self.contains(straggler.task) {
            return None;
        }
        self.0.push_back(straggler);
        if self.0.len() > Self::LENGTH_MAX { self.0.pop_front()?.tag } else { None }
    }

    pub(super) fn contains(&self, task: InitiatorTaskTag) -> bool {
        self.0.iter().any(|straggler| straggler.task == task)
    }

    /// A function on this connection has ended a task.
    pub(super) fn end_with(&mut self, task: InitiatorTaskTag, function: InitiatorTaskTag) {
        if let Some(straggler) = self.0.iter_mut().rfind(|straggler| straggler.task == task) {
            straggler.function = Some(function);
        }
    }

    /// The response to a function leaves. Returns whether that is of use for any.
    pub(super) fn handle_response(&mut self, function: InitiatorTaskTag, stat_sn: StatSn) -> bool {
        let ended =
            self.0.iter_mut().filter(|straggler| straggler.tag.is_some() && straggler.function == Some(function));
        ended.map(|straggler| straggler.told_by = Some(stat_sn)).count() > 0
    }
}

impl Session {
    /// Data may come on a connection for a task that is gone.
    pub(super) fn add_straggler(&mut self, at: usize, straggler: Straggler) {
        let connection = &mut self.connections[at];
        if let Some(tag) = connection.stragglers.add(straggler) {
            self.events.push_back(Event::TagFree { cid: connection.cid, tag });
        }
    }

    /// No more data comes on a connection for some of the tasks that are gone.
    pub(super) fn let_go(&mut self, at: usize, of: impl Fn(&Straggler) -> bool) {
        let connection = &mut self.connections[at];
        let tags =
            connection.stragglers.0.iter_mut().filter(|straggler| of(straggler)).filter_map(|gone| gone.tag.take());
        self.events.extend(tags.map(|tag| Event::TagFree { cid: connection.cid, tag }));
    }

    /// The initiator has answered a ping: what it had sent before has come, and it had what it has acknowledged.
    pub(super) fn let_go_acknowledged(&mut self, at: usize) {
        let next = self.connections[at].statuses.first_unacknowledged();
        self.let_go(at, |straggler| straggler.told_by.is_some_and(|stat_sn| stat_sn.precedes(next)));
    }
}
