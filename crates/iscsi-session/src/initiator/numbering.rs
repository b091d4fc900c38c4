//! CmdSN as the initiator keeps it, for all connections of a session (RFC 7143 section 4.2.2.1).
//!
//! In: the numbers of every PDU from the target. Out: the number of the next command, and how many more the target takes. All
//! comparisons are serial arithmetic.

use crate::LoginOutcome;
use iscsi_pdu::CmdSn;

#[derive(Clone, Copy, Debug)]
pub(super) struct Numbering {
    /// The number that the next command gets.
    cmd_sn: CmdSn,
    /// The target has received all commands before this one.
    exp_cmd_sn: CmdSn,
    /// The last number that the target takes.
    max_cmd_sn: CmdSn,
}

impl Numbering {
    pub(super) fn new(outcome: &LoginOutcome) -> Self {
        Self { cmd_sn: outcome.cmd_sn, exp_cmd_sn: outcome.cmd_sn, max_cmd_sn: outcome.max_cmd_sn }
    }

    /// How many more commands the target takes.
    pub(super) fn room(&self) -> u32 {
        u32::try_from(self.cmd_sn.distance_to(self.max_cmd_sn.next())).unwrap_or(0)
    }

    /// The number of the next command, without using it: what immediate commands carry.
    pub(super) fn cmd_sn(&self) -> CmdSn {
        self.cmd_sn
    }

    /// The target has received all commands before this one.
    pub(super) fn exp_cmd_sn(&self) -> CmdSn {
        self.exp_cmd_sn
    }

    /// Whether there is a command of which the target has not said that it has received it.
    pub(super) fn has_unacknowledged(&self) -> bool {
        self.exp_cmd_sn.precedes(self.cmd_sn)
    }

    // RFC 7143 4.2.2.1-3, 4.2.2.1-12: one for each command.
    /// Uses the number of the next command.
    pub(super) fn take_cmd_sn(&mut self) -> CmdSn {
        let cmd_sn = self.cmd_sn;
        self.cmd_sn = cmd_sn.next();
        cmd_sn
    }

    /// The last command that was numbered was rejected: the next has its number.
    pub(super) fn give_back(&mut self, cmd_sn: CmdSn) {
        self.cmd_sn = cmd_sn;
    }

    /// Whether the target has said that it has received the command of this number.
    pub(super) fn is_acknowledged(&self, cmd_sn: CmdSn) -> bool {
        cmd_sn.precedes(self.exp_cmd_sn)
    }

    /// Takes ExpCmdSN and MaxCmdSN of any PDU.
    pub(super) fn update_window(&mut self, exp_cmd_sn: CmdSn, max_cmd_sn: CmdSn) {
        // RFC 7143 4.2.2.1: a pair that contradicts itself is ignored, and so is a number that goes back.
        // RFC 7143 4.2.2.1-14: a window of 2^31 numbers is among those.
        if exp_cmd_sn.previous().distance_to(max_cmd_sn) < 0 {
            return;
        }
        if self.max_cmd_sn.precedes(max_cmd_sn) {
            self.max_cmd_sn = max_cmd_sn;
        }
        if self.exp_cmd_sn.precedes(exp_cmd_sn) {
            self.exp_cmd_sn = exp_cmd_sn;
        }
    }
}
