//! Measures against commands that have not ended in time.

use super::escalation::Measure;
use super::event::Event;
use super::node::InitiatorNode;
use super::tasks::{Open, Purpose, watches};
use iscsi_pdu::{InitiatorTaskTag, TaskManagementFunction};
use iscsi_session::initiator::TaskManagement;
use iscsi_transport::PduPort;
use std::time::Instant;

impl<P: PduPort> InitiatorNode<P> {
    // RFC 7143 7.11-1
    /// Does what is to be done about commands that have not ended in time.
    pub(super) fn take(&mut self, now: Instant, measure: Measure) {
        let (function, lun, referenced) = match measure {
            Measure::AbortTask(tag, lun) => (TaskManagementFunction::AbortTask, lun, Some(InitiatorTaskTag(tag))),
            Measure::ResetUnit(lun) => (TaskManagementFunction::LogicalUnitReset, lun, None),
            Measure::EndSession => return self.abandon(Event::Unresponsive),
        };
        let request = TaskManagement { function, lun, referenced };
        self.ask_for(Purpose::Measure(measure), None, |session, cid, tag| session.manage_task(now, cid, tag, request));
        self.handle_events(now);
    }

    /// Goes on to the next measure if one has failed that was taken with this tag.
    pub(super) fn check_measure(&mut self, now: Instant, tag: InitiatorTaskTag, has_worked: bool) {
        if !has_worked && let Some(Open { purpose: Purpose::Measure(measure), .. }) = self.open.get(&tag.0) {
            let measure = *measure;
            self.watchdog.handle_failure(now, measure, watches(&mut self.open));
        }
    }
}
