//! Command numbers of a session (RFC 7143 section 4.2.2.1): each is used once, over whichever connection, and none is acknowledged
//! that has not come.

use super::field::{CMD_SN, word};
use super::precedes;
use iscsi_pdu::{Header, Opcode};
use std::collections::BTreeSet;

/// Numbers about which something is known.
const KNOWN_MAX: usize = 1024;

/// What is known of a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Known {
    cmd_sn: u32,
    /// The SCSI command that has it, if one has.
    tag: Option<u32>,
    has_arrived: bool,
}

#[derive(Debug)]
pub(super) struct CommandNumbers {
    /// Commands that a session may have open.
    window: u32,
    /// After the highest that was sent; none before the login has ended.
    next: Option<u32>,
    max: Option<u32>,
    /// Lower ones that another connection has not sent yet.
    unsent: BTreeSet<u32>,
    /// Those of commands that were rejected, which others are to take.
    rejected: Vec<u32>,
    /// The target says that it has all before this one.
    acknowledged: u32,
    known: Vec<Known>,
}

impl CommandNumbers {
    pub(super) fn new(window: u32) -> Self {
        Self {
            window,
            next: None,
            max: None,
            unsent: BTreeSet::new(),
            rejected: Vec::new(),
            acknowledged: 0,
            known: vec![Known::default(); KNOWN_MAX],
        }
    }

    /// The session begins with this number.
    pub(super) fn begin(&mut self, cmd_sn: u32) {
        self.next = Some(cmd_sn);
        self.acknowledged = cmd_sn;
    }

    fn known(&mut self, cmd_sn: u32) -> &mut Known {
        let known = &mut self.known[cmd_sn as usize % KNOWN_MAX];
        if known.cmd_sn != cmd_sn {
            *known = Known { cmd_sn, ..Known::default() };
        }
        known
    }

    /// A number goes out, with the tag of a SCSI command or something else. Whether that is the first time.
    pub(super) fn send(&mut self, cmd_sn: u32, tag: Option<u32>, may_recover: bool) -> Result<bool, &'static str> {
        let Some(next) = self.next else { return Err("a command is sent before the login has ended") };
        if self.max.is_some_and(|max| precedes(max, cmd_sn)) {
            return Err("a CmdSN is beyond MaxCmdSN");
        }
        let is_new = !precedes(cmd_sn, next);
        if is_new {
            let skipped = cmd_sn.wrapping_sub(next);
            if skipped > self.window {
                return Err("a CmdSN leaves out more than the window has");
            }
            self.unsent.extend((0..skipped).map(|ahead| next.wrapping_add(ahead)));
            self.next = Some(cmd_sn.wrapping_add(1));
        }
        let is_first = is_new || self.unsent.remove(&cmd_sn);
        let rejected = self.rejected.iter().position(|rejected| *rejected == cmd_sn);
        let is_free = is_first || rejected.map(|place| self.rejected.swap_remove(place)).is_some();
        let known = self.known(cmd_sn);
        // A plug stands for a command that was lost; a command that is sent again keeps its number.
        let is_same = tag.is_none() || known.tag == tag;
        let may = is_free || may_recover && is_same;
        if !may {
            return Err("a CmdSN is used twice");
        }
        known.tag = tag.or(known.tag);
        Ok(is_first)
    }

    /// The target says what it has, and how far commands may go. The window never shrinks, and is never larger than the target was told.
    pub(super) fn open_window(&mut self, exp_cmd_sn: u32, max_cmd_sn: u32) -> Result<(), &'static str> {
        if self.max.is_none_or(|max| precedes(max, max_cmd_sn)) {
            self.max = Some(max_cmd_sn);
        }
        let size = max_cmd_sn.wrapping_sub(exp_cmd_sn).wrapping_add(1);
        if size <= self.window { Ok(()) } else { Err("the window is too large") }
    }

    /// RFC 7143 7.3: the number of a command that was rejected has to be used again.
    pub(super) fn reject(&mut self, rejected: &[u8]) {
        let Some(header) = rejected.first_chunk().copied().map(Header) else { return };
        if !header.is_immediate() && !matches!(header.opcode(), Opcode::DataOut | Opcode::SnackRequest) {
            self.rejected.push(word(&header, CMD_SN));
        }
    }

    /// A number has come to the target.
    pub(super) fn arrive(&mut self, cmd_sn: u32) {
        self.known(cmd_sn).has_arrived = true;
    }

    /// All before a number have come, or count as if they had; perhaps it too.
    pub(super) fn arrive_until(&mut self, cmd_sn: u32, inclusive: bool) {
        let end = cmd_sn.wrapping_add(u32::from(inclusive));
        let mut missing = self.acknowledged;
        while self.next.is_some() && precedes(missing, end) {
            self.arrive(missing);
            missing = missing.wrapping_add(1);
        }
    }

    /// The target says that it has all commands before this one.
    pub(super) fn acknowledge(&mut self, exp_cmd_sn: u32) -> Result<(), &'static str> {
        if self.next.is_none() {
            return Ok(());
        }
        while precedes(self.acknowledged, exp_cmd_sn) {
            let cmd_sn = self.acknowledged;
            if !self.known(cmd_sn).has_arrived {
                return Err("a command is acknowledged that has not come");
            }
            self.acknowledged = cmd_sn.wrapping_add(1);
        }
        Ok(())
    }
}
