//! Tasks that are gone while data for them may be on the way: it is dropped in silence, since the initiator could not know, and their
//! tag stays with the session until no more can come.
//!
//! In: tasks that end before their data has come, and that data. Out: their tags, once each.
//!
//! Invariants: a tag is not free before its last data has come, the initiator has heard of the end of its task, or the connection has
//! ended; of those without one, no more are kept than [`Stragglers::LENGTH_MAX`]; where too many have one, no command begins.

use super::event::Event;
use super::receive::Receive;
use super::session::Session;
use iscsi_pdu::{DataOut, InitiatorTaskTag, LunField, StatSn, TargetTransferTag};
use std::collections::VecDeque;

/// A task that is gone.
#[derive(Debug)]
pub(super) struct Straggler {
    pub(super) task: InitiatorTaskTag,
    pub(super) lun: LunField,
    /// What may still come under the tag that its R2Ts carry, if the owner has lent one.
    data: Option<Receive>,
    /// The task management function that ended it, on this connection.
    function: Option<InitiatorTaskTag>,
    /// StatSN of the response to that: whoever has that sends no more data.
    told_by: Option<StatSn>,
}

impl Straggler {
    pub(super) fn new(task: InitiatorTaskTag, lun: LunField, data: Option<Receive>) -> Self {
        Self { task, lun, data, function: None, told_by: None }
    }

    fn take_tag(&mut self) -> Option<TargetTransferTag> {
        self.data.take()?.lent_tag()
    }
}

/// Those of one connection.
#[derive(Debug, Default)]
pub(super) struct Stragglers(VecDeque<Straggler>);

impl Stragglers {
    /// Most that are kept if not for their tags.
    const LENGTH_MAX: usize = 128;
    /// Most tags that are waited for while commands begin: the initiator sends what R2Ts have asked for, and what it is told of is none.
    const TAGS_MAX: usize = 1024;

    fn add(&mut self, straggler: Straggler) {
        if straggler.data.is_none() && self.contains(straggler.task) {
            return;
        }
        self.0.push_back(straggler);
        while self.0.len() > Self::LENGTH_MAX
            && let Some(place) = self.0.iter().position(|straggler| straggler.data.is_none())
        {
            self.0.remove(place);
        }
    }

    /// Whether the initiator owes data for so many that it breaks a rule.
    pub(super) fn is_full(&self) -> bool {
        let owed = || self.0.iter().filter(|straggler| straggler.data.is_some()).count();
        self.0.len() > Self::TAGS_MAX && owed() > Self::TAGS_MAX
    }

    fn contains(&self, task: InitiatorTaskTag) -> bool {
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
            self.0.iter_mut().filter(|straggler| straggler.data.is_some() && straggler.function == Some(function));
        ended.map(|straggler| straggler.told_by = Some(stat_sn)).count() > 0
    }
}

impl Session {
    /// Data may come on a connection for a task that is gone.
    pub(super) fn add_straggler(&mut self, at: usize, straggler: Straggler) {
        self.connections[at].stragglers.add(straggler);
    }

    /// A Data-Out of `length` bytes has come on a connection for no task that is there. Returns whether there was one.
    pub(super) fn hear_straggler(&mut self, at: usize, pdu: &DataOut, length: u32) -> bool {
        let connection = &mut self.connections[at];
        let mut stragglers = connection.stragglers.0.iter_mut();
        let Some(straggler) = stragglers.rfind(|straggler| straggler.task == pdu.initiator_task_tag) else {
            return false;
        };
        if let Some(data) = &mut straggler.data {
            // Its F bit counts, if it belongs to anything.
            let _ = data.accept(pdu, length, None, &self.parameters);
            if data.is_settled() {
                let tag = straggler.take_tag();
                self.events.extend(tag.map(|tag| Event::TagFree { cid: connection.cid, tag }));
            }
        }
        true
    }

    /// No more data comes on a connection for some of the tasks that are gone.
    pub(super) fn let_go(&mut self, at: usize, of: impl Fn(&Straggler) -> bool) {
        let connection = &mut self.connections[at];
        let gone = connection.stragglers.0.iter_mut().filter(|straggler| of(straggler));
        let tags = gone.filter_map(Straggler::take_tag);
        self.events.extend(tags.map(|tag| Event::TagFree { cid: connection.cid, tag }));
    }

    /// The initiator has answered a ping: what it had sent before has come, and it had what it has acknowledged.
    pub(super) fn let_go_acknowledged(&mut self, at: usize) {
        let next = self.connections[at].statuses.first_unacknowledged();
        self.let_go(at, |straggler| straggler.told_by.is_some_and(|stat_sn| stat_sn.precedes(next)));
    }
}
