//! What the connections of a session have in common, as it is seen from outside: tags, command numbers, whether PDUs may be lost.

use super::field::{CMD_SN, EXP_CMD_SN, is_task_reassign, word};
use super::numbers::CommandNumbers;
use super::task::Task;
use crate::simulator::tags::Tags;
use crate::simulator::verdict::Verdict;
use iscsi_pdu::{Header, Opcode};
use std::cell::{RefCell, RefMut};
use std::collections::BTreeSet;
use std::rc::Rc;

/// The books of one session; clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct SessionBooks(Rc<RefCell<Inner>>);

#[derive(Debug)]
pub(super) struct Inner {
    verdict: Verdict,
    pub(super) numbers: CommandNumbers,
    /// Tags of the initiator, with the commands that go by them.
    pub(super) tags: Tags<Option<Task>>,
    /// Tags of requests that the initiator has ended without an answer: one may be on its way.
    unanswered: BTreeSet<u32>,
    /// Tags of commands that a function has ended: their answers come before its, if they come (RFC 7143 section 4.2.3.3).
    aborted: BTreeSet<u32>,
    /// Tags of requests beside commands that have their answer.
    answered: BTreeSet<u32>,
    tags_max: usize,
    uses: u32,
    level: u8,
    /// PDUs may be lost, or tasks go elsewhere: what comes out of order then, or twice, may.
    pub(super) may_recover: bool,
}

impl SessionBooks {
    pub(crate) fn new(window: u32, tags_max: usize, verdict: Verdict) -> Self {
        let (numbers, tags) = (CommandNumbers::new(window), Tags::default());
        Self(Rc::new(RefCell::new(Inner {
            verdict,
            numbers,
            tags,
            unanswered: BTreeSet::new(),
            aborted: BTreeSet::new(),
            answered: BTreeSet::new(),
            tags_max,
            uses: 0,
            level: 0,
            may_recover: false,
        })))
    }

    pub(super) fn borrow_mut(&self) -> RefMut<'_, Inner> {
        self.0.borrow_mut()
    }

    /// The leading login has ended with this.
    pub(crate) fn begin(&self, level: u8, cmd_sn: u32) {
        let mut inner = self.borrow_mut();
        inner.level = level;
        inner.numbers.begin(cmd_sn);
    }

    /// PDUs may be lost from now on, or a connection with what was to go over it.
    pub(crate) fn expect_recovery(&self, has_connections: bool) {
        let mut inner = self.borrow_mut();
        inner.may_recover |= inner.level > 0 || has_connections;
    }

    /// A tag that no request of the session has.
    pub(crate) fn take_tag(&self) -> u32 {
        let mut inner = self.borrow_mut();
        inner.uses += 1;
        let tag = inner.tags.unused(inner.uses % 4095);
        inner.insert(tag);
        tag
    }

    /// A port has given a tag.
    pub(crate) fn insert_tag(&self, tag: u32) {
        self.borrow_mut().insert(tag);
    }

    /// A tag is given back. Whether it was in use.
    pub(crate) fn remove_tag(&self, tag: u32) -> bool {
        let mut inner = self.borrow_mut();
        let known = inner.tags.remove(tag).is_some();
        inner.verdict.check(known, || format!("tag {tag:#x} is given back that is not reserved"));
        known
    }

    /// A tag is given back whose request the initiator has ended by itself. One answer may come still, if none has.
    pub(crate) fn give_up_tag(&self, tag: u32) {
        if self.borrow_mut().lives(tag) {
            self.borrow_mut().unanswered.insert(tag);
        }
        self.remove_tag(tag);
    }

    /// A port has its tag back. Where PDUs may be lost, a ping is given up when a later one is answered: its answer may come still.
    pub(crate) fn release_tag(&self, tag: u32) -> bool {
        let mut inner = self.borrow_mut();
        let is_ping = inner.level > 0 && inner.tags.get_mut(tag).is_some_and(|task| task.is_none());
        if is_ping && !inner.answered.contains(&tag) {
            inner.unanswered.insert(tag);
        }
        drop(inner);
        self.remove_tag(tag)
    }

    /// A tag is given back whose command a function has ended.
    pub(crate) fn abort_tag(&self, tag: u32) {
        if self.borrow_mut().lives(tag) {
            self.borrow_mut().aborted.insert(tag);
        }
        self.remove_tag(tag);
    }

    /// Whether a request may have this tag.
    pub(crate) fn has_tag(&self, tag: u32) -> bool {
        self.0.borrow().tags.contains(tag)
    }

    /// A PDU has come to the target on one of the connections.
    pub(crate) fn handle_arrival(&self, header: &Header) {
        let cmd_sn = word(header, CMD_SN);
        match header.opcode() {
            Opcode::DataOut | Opcode::SnackRequest => {}
            // RFC 7143 4.2.3.3: what is missing before a function counts as received, and ended by it.
            Opcode::TaskManagementRequest if !is_task_reassign(header) => {
                self.borrow_mut().numbers.arrive_until(cmd_sn, !header.is_immediate());
            }
            _ if header.is_immediate() => {}
            _ => self.borrow_mut().numbers.arrive(cmd_sn),
        }
    }

    /// The target sends a PDU on one of the connections.
    pub(crate) fn handle_acknowledgement(&self, header: &Header) {
        let mut inner = self.borrow_mut();
        if let Err(what) = inner.numbers.acknowledge(word(header, EXP_CMD_SN)) {
            inner.verdict.fail(what);
        }
    }
}

impl Inner {
    /// Whether a tag is that of a request without an answer.
    fn lives(&mut self, tag: u32) -> bool {
        self.tags.get_mut(tag).is_some_and(|task| task.as_ref().is_none_or(|task| !task.is_answered))
    }

    /// Whether an answer may come for this tag; `may_be_late` if the target has not seen its last ones acknowledged.
    pub(super) fn take_answer(&mut self, tag: u32, may_be_late: bool) -> bool {
        let lives = self.lives(tag);
        if lives && self.tags.get_mut(tag).is_some_and(|task| task.is_none()) {
            self.answered.insert(tag);
        }
        lives || self.unanswered.remove(&tag) || may_be_late && self.aborted.remove(&tag)
    }

    fn insert(&mut self, tag: u32) {
        let fresh = self.tags.insert(tag, None);
        self.unanswered.remove(&tag);
        self.aborted.remove(&tag);
        self.answered.remove(&tag);
        self.verdict.check(fresh, || format!("tag {tag:#x} is given that is in use"));
        self.verdict.check(self.tags.len() <= self.tags_max, || "more tags are reserved than tasks can be".into());
    }
}
