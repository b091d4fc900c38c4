//! The requests that wait for an answer, by the tags that the owner gave them.

use super::logout::LogoutTask;
use super::task_management::TaskManagementTask;
use super::text::TextExchange;
use super::transfer::Data;
use super::{Command, Event};
use bytes::Bytes;
use iscsi_pdu::{Cid, CmdSn, InitiatorTaskTag, LunField, Opcode, RejectReason, TaskAttribute};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

/// A SCSI command.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) lun: LunField,
    pub(super) cdb: [u8; 16],
    pub(super) extended_cdb: Box<[u8]>,
    pub(super) attribute: TaskAttribute,
    pub(super) priority: u8,
    pub(super) data: Data,
}

impl Task {
    pub(super) fn new(command: Command) -> Self {
        let Command { lun, cdb, extended_cdb, attribute, priority, data } = command;
        Self { lun, cdb, extended_cdb, attribute, priority, data: Data::new(data) }
    }
}

/// Any request that has an Initiator Task Tag.
#[derive(Clone, Debug)]
pub(super) enum Request {
    Command(Task),
    TaskManagement(TaskManagementTask),
    /// NOP-Out, with the ping data until it is sent.
    Ping(Bytes),
    Text(Box<TextExchange>),
    Logout(LogoutTask),
    /// NOP-Out in the place of a command whose number the target misses.
    Plug(Plugged),
}

/// What became of a command whose number is taken by a NOP-Out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plugged {
    /// The target has rejected it.
    Rejected(RejectReason),
    /// Its connection has ended.
    Lost,
}

impl Plugged {
    /// The end of the request, once its number has arrived.
    pub(super) const fn event(self, tag: InitiatorTaskTag) -> Event {
        match self {
            Self::Rejected(reason) => Event::TaskRejected { tag, reason },
            Self::Lost => Event::TaskLost { tag },
        }
    }
}

impl Request {
    /// The request's opcode.
    pub(super) const fn opcode(&self) -> Opcode {
        match self {
            Self::Command(_) => Opcode::ScsiCommand,
            Self::TaskManagement(_) => Opcode::TaskManagementRequest,
            Self::Ping(_) | Self::Plug(_) => Opcode::NopOut,
            Self::Text(_) => Opcode::TextRequest,
            Self::Logout(_) => Opcode::LogoutRequest,
        }
    }

    /// Whether the number of its entry is its own: an immediate request shares it with the command after it, and a text that
    /// waits for its turn has none yet.
    pub(super) const fn has_number(&self) -> bool {
        match self {
            Self::Command(_) | Self::Plug(_) => true,
            Self::Text(exchange) => exchange.is_under_way(),
            Self::TaskManagement(_) | Self::Ping(_) | Self::Logout(_) => false,
        }
    }

    /// Whether it uses up no CmdSN.
    pub(super) const fn is_immediate(&self) -> bool {
        matches!(self, Self::TaskManagement(_) | Self::Ping(_) | Self::Logout(_))
    }
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The target cannot know of it: it waits to be sent, or for what it has to say.
    Queued,
    /// Its answer is waited for.
    Sent,
    /// It was sent on a connection that has ended.
    Orphaned,
}

/// A request and its place among the others.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The number that it carries; an immediate one shares it with the command after it.
    pub(super) cmd_sn: CmdSn,
    /// The connection to which it is allegiant (RFC 7143 section 4.2.5.1).
    pub(super) cid: Cid,
    pub(super) standing: Standing,
    /// When it was sent last, as a count of the requests sent on its connection.
    pub(super) sent_as: u32,
    /// How often it was sent again.
    pub(super) retries: u8,
    pub(super) request: Request,
}

impl Entry {
    pub(super) fn is_sent(&self) -> bool {
        self.standing == Standing::Sent
    }
}

/// Requests by tag. Tags are ours, so a fast hash without a secret does.
#[derive(Debug, Default)]
pub(super) struct Requests {
    by_tag: HashMap<InitiatorTaskTag, Entry, BuildHasherDefault<TagHasher>>,
}

impl Requests {
    pub(super) fn insert(&mut self, tag: InitiatorTaskTag, cid: Cid, cmd_sn: CmdSn, request: Request) {
        let before =
            self.by_tag.insert(tag, Entry { cmd_sn, cid, standing: Standing::Queued, sent_as: 0, retries: 0, request });
        assert!(before.is_none(), "a tag names one request at a time");
    }

    pub(super) fn get(&self, tag: InitiatorTaskTag) -> Option<&Entry> {
        self.by_tag.get(&tag)
    }

    pub(super) fn get_mut(&mut self, tag: InitiatorTaskTag) -> Option<&mut Entry> {
        self.by_tag.get_mut(&tag)
    }

    pub(super) fn remove(&mut self, tag: InitiatorTaskTag) -> Option<Entry> {
        self.by_tag.remove(&tag)
    }

    /// A request that was sent on this connection, if `tag` names one.
    pub(super) fn sent(&mut self, cid: Cid, tag: InitiatorTaskTag) -> Option<&mut Entry> {
        self.by_tag.get_mut(&tag).filter(|entry| entry.is_sent() && entry.cid == cid)
    }

    /// A SCSI command that was sent on this connection, if `tag` names one.
    pub(super) fn command(&mut self, cid: Cid, tag: InitiatorTaskTag) -> Option<&mut Task> {
        match self.sent(cid, tag) {
            Some(Entry { request: Request::Command(task), .. }) => Some(task),
            _ => None,
        }
    }

    /// Whether a command is among those that a task management function is to end.
    #[cold]
    pub(super) fn is_to_be_ended(&self, command: InitiatorTaskTag, function: InitiatorTaskTag) -> bool {
        match (self.get(command), self.get(function)) {
            (
                Some(Entry { request: Request::Command(task), cmd_sn, .. }),
                Some(Entry { request: Request::TaskManagement(function), cmd_sn: of_function, .. }),
            ) => cmd_sn.precedes(*of_function) && function.ends(command, task.lun),
            _ => false,
        }
    }

    /// The requests that are meant, in the order of their numbers, which end before `next`.
    pub(super) fn ordered(
        &self,
        next: CmdSn,
        is_meant: impl Fn(InitiatorTaskTag, &Entry) -> bool,
    ) -> Vec<InitiatorTaskTag> {
        let meant = self.iter().filter(|(tag, entry)| is_meant(*tag, entry));
        let mut meant: Vec<_> = meant.map(|(tag, entry)| (entry.cmd_sn.distance_to(next), tag)).collect();
        meant.sort_unstable_by(|one, other| other.cmp(one));
        meant.into_iter().map(|(_, tag)| tag).collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (InitiatorTaskTag, &Entry)> {
        self.by_tag.iter().map(|(tag, entry)| (*tag, entry))
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = InitiatorTaskTag> {
        self.by_tag.drain().map(|(tag, _)| tag)
    }
}

/// The last requests that were ended without their response: one that comes late all the same is discarded (RFC 7143
/// section 4.2.3.4).
#[derive(Debug, Default)]
pub(super) struct Concluded(VecDeque<InitiatorTaskTag>);

impl Concluded {
    const MAX: usize = 512;

    pub(super) fn push(&mut self, tag: InitiatorTaskTag) {
        if self.0.len() == Self::MAX {
            self.0.pop_front();
        }
        self.0.push_back(tag);
    }

    pub(super) fn contains(&self, tag: InitiatorTaskTag) -> bool {
        self.0.contains(&tag)
    }
}

/// Multiplies by an odd number near 2^64 divided by the golden ratio, and folds: dense tags and tags that differ in their
/// upper bits alone both spread over the low bits and the high ones.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TagHasher(u64);

impl Hasher for TagHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, tag: u32) {
        self.0 = (self.0 ^ u64::from(tag)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}
