//! Status numbers of one connection (RFC 7143 section 4.2.2.2): none is left out, and each stands for one status.

use super::field::{STAT_SN, TASK_TAG, takes_stat_sn, word};
use super::precedes;
use iscsi_pdu::Header;
use std::collections::BTreeSet;

/// Statuses of which it is known whose they were.
const KNOWN_MAX: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct StatusNumbers {
    /// All before this one have come.
    due: Option<u32>,
    /// Those after a gap.
    ahead: BTreeSet<u32>,
    /// Task tags, by the end of the number.
    tags: Vec<u32>,
}

impl StatusNumbers {
    /// Whether all before this number have come.
    pub(super) fn has_received_before(&self, stat_sn: u32) -> bool {
        self.due.is_none_or(|due| !precedes(due, stat_sn))
    }

    /// A PDU has come. Whether it has a number that none had before, or what is wrong with that; gaps are none while PDUs may be lost.
    pub(super) fn receive(&mut self, header: &Header, may_recover: bool) -> Result<bool, String> {
        let Some(takes_one) = takes_stat_sn(header) else { return Ok(false) };
        let (stat_sn, tag) = (word(header, STAT_SN), word(header, TASK_TAG));
        let due = *self.due.get_or_insert(stat_sn);
        if stat_sn != due && !may_recover {
            return Err(format!("StatSN {stat_sn} comes where {due} is due"));
        }
        if !takes_one {
            return Ok(false);
        }
        if self.tags.is_empty() {
            self.tags.resize(KNOWN_MAX, 0);
        }
        let is_again = precedes(stat_sn, due) || self.ahead.contains(&stat_sn);
        let known = &mut self.tags[stat_sn as usize % KNOWN_MAX];
        if is_again && *known != tag && due.wrapping_sub(stat_sn) < KNOWN_MAX as u32 {
            return Err(format!("StatSN {stat_sn} stands for the status of two tasks"));
        }
        *known = tag;
        self.advance(stat_sn, due);
        Ok(!is_again)
    }

    fn advance(&mut self, stat_sn: u32, mut due: u32) {
        if stat_sn != due {
            if precedes(due, stat_sn) {
                self.ahead.insert(stat_sn);
            }
            return;
        }
        due = due.wrapping_add(1);
        while self.ahead.remove(&due) {
            due = due.wrapping_add(1);
        }
        self.due = Some(due);
    }
}
