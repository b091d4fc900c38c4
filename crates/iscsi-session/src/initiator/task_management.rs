//! Task management functions and the requests that they end (RFC 7143 sections 4.2.3 and 11.5).

use super::task::{Entry, Request, Standing};
use super::{Event, Session, TaskManagement};
use crate::{Parameters, Violation};
use iscsi_pdu::TaskManagementFunction as Function;
use iscsi_pdu::TaskManagementResponseCode as Response;
use iscsi_pdu::{Cid, CmdSn, InitiatorTaskTag, LunField, StatSn, TaskManagementRequest, TaskManagementResponse};
use std::time::Instant;

/// A function that was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct TaskManagementTask {
    pub(super) asked: TaskManagement,
    /// CmdSN of the command that is to be aborted.
    ref_cmd_sn: CmdSn,
    /// The next Data-In that a task expects which is to be reassigned.
    exp_data_sn: u32,
}

/// Which requests a function ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// None.
    Nothing,
    /// The request that is named.
    Referenced,
    /// SCSI commands to the logical unit.
    LogicalUnit,
    /// All SCSI commands.
    Target,
}

/// RFC 7143 4.2.3.2; RFC 7144 4.2 for the I_T NEXUS RESET.
const fn scope(function: Function) -> Scope {
    match function {
        Function::AbortTask => Scope::Referenced,
        Function::AbortTaskSet | Function::ClearTaskSet | Function::LogicalUnitReset => Scope::LogicalUnit,
        Function::TargetWarmReset | Function::TargetColdReset | Function::ItNexusReset => Scope::Target,
        _ => Scope::Nothing,
    }
}

/// Whether a function needs iSCSIProtocolLevel 2.
const fn is_of_rfc_7144(function: Function) -> bool {
    use Function::{ItNexusReset, QueryAsynchronousEvent, QueryTask, QueryTaskSet};
    matches!(function, QueryTask | QueryTaskSet | ItNexusReset | QueryAsynchronousEvent)
}

/// Whether a function is about one task: the others name none.
const fn refers_to_task(function: Function) -> bool {
    matches!(function, Function::AbortTask | Function::TaskReassign | Function::QueryTask)
}

impl TaskManagementTask {
    // RFC 7143 11.5.1-19, 11.5.4-1: always immediate.
    pub(super) fn request(&self, tag: InitiatorTaskTag, cmd_sn: CmdSn, exp_stat_sn: StatSn) -> TaskManagementRequest {
        TaskManagementRequest {
            immediate: true,
            function: self.asked.function,
            lun: self.asked.lun,
            initiator_task_tag: tag,
            referenced_task_tag: self.asked.referenced.filter(|_| refers_to_task(self.asked.function)),
            cmd_sn,
            exp_stat_sn,
            ref_cmd_sn: self.ref_cmd_sn,
            exp_data_sn: self.exp_data_sn,
        }
    }

    /// The task that the function is to reassign.
    pub(super) fn reassigned(&self) -> Option<InitiatorTaskTag> {
        self.asked.referenced.filter(|_| self.asked.function == Function::TaskReassign)
    }

    /// Whether the function has ended a command that was sent before it.
    pub(super) fn ends(&self, tag: InitiatorTaskTag, lun: LunField) -> bool {
        match scope(self.asked.function) {
            Scope::Nothing => false,
            Scope::Referenced => self.asked.referenced == Some(tag),
            Scope::LogicalUnit => self.asked.lun == lun,
            Scope::Target => true,
        }
    }
}

impl Session {
    // RFC 7143 11.5.1-9: while that is there.
    /// The connection on which a function goes, or the answer that needs no target.
    pub(super) fn way_of(&mut self, cid: Cid, asked: TaskManagement) -> Result<Cid, Response> {
        let has_scsi_features = self.parameters(cid).is_some_and(Parameters::has_scsi_features);
        match asked.function {
            function if is_of_rfc_7144(function) && !has_scsi_features => return Err(Response::FunctionNotSupported),
            Function::AbortTask => {
                let tag = asked.referenced.ok_or(Response::TaskDoesNotExist)?;
                let entry = self.requests.get(tag).ok_or(Response::TaskDoesNotExist)?;
                match (&entry.request, entry.standing) {
                    // RFC 7143 11.5.1: its status may still come, before the answer to the function.
                    (Request::Command(_), Standing::Orphaned) => self.take_over(cid, asked, Standing::Sent)?,
                    // RFC 7143 11.5.1: otherwise it goes where the task is.
                    (Request::Command(_), _) => return Ok(entry.cid),
                    _ => return Err(Response::TaskDoesNotExist),
                }
            }
            Function::TaskReassign => self.take_over(cid, asked, Standing::Orphaned)?,
            // SAM-5 7: a task that is not there has the function complete. It goes where the task is, so that it comes behind it.
            Function::QueryTask => {
                let entry = asked.referenced.and_then(|tag| self.requests.get(tag));
                let entry = entry.filter(|entry| matches!(entry.request, Request::Command(_)));
                let entry = entry.ok_or(Response::FunctionComplete)?;
                return Ok(if entry.standing == Standing::Orphaned { cid } else { entry.cid });
            }
            _ => {}
        }
        Ok(cid)
    }

    /// A function that needs no target has ended.
    pub(super) fn answer_here(&mut self, tag: InitiatorTaskTag, response: Response) {
        self.events.push_back(Event::TaskManagementComplete { tag, response, additional_information: [0; 3] });
    }

    // RFC 7143 11.5.1-8, 11.5.5-2, 11.5.6-1, 11.5.6-3: of the command that is meant; all data that has come is
    // acknowledged, and no other was kept.
    /// A function with what it says of the command that it refers to, while that is outstanding.
    pub(super) fn task_management(&self, mut asked: TaskManagement) -> TaskManagementTask {
        let referenced = asked.referenced.filter(|_| refers_to_task(asked.function));
        let entry = referenced.and_then(|tag| self.requests.get(tag));
        if let Some(Entry { request: Request::Command(task), .. }) = entry {
            asked.lun = task.lun;
        }
        let (ref_cmd_sn, exp_data_sn) = match (entry, asked.function) {
            // RFC 7143 11.5.6: for commands that read.
            (Some(Entry { request: Request::Command(task), .. }), Function::TaskReassign)
                if task.data.read.is_some() =>
            {
                (CmdSn::default(), task.data.exp_data_sn())
            }
            (Some(Entry { request: Request::Command(_), cmd_sn, .. }), Function::AbortTask | Function::QueryTask) => {
                (*cmd_sn, 0)
            }
            _ => (CmdSn::default(), 0),
        };
        TaskManagementTask { asked, ref_cmd_sn, exp_data_sn }
    }

    // RFC 7143 4.2.3.3-3, 4.2.3.3-4, 4.2.3.3-5, 4.2.3.3-6, 4.2.3.4-4, 4.2.3.4-6, 4.2.3.4-7, 11.5.1-2: what it has ended is not answered to the owner any more.
    pub(super) fn handle_task_management_response(
        &mut self,
        now: Instant,
        cid: Cid,
        pdu: TaskManagementResponse,
    ) -> Result<(), Violation> {
        self.numbering.update_window(pdu.exp_cmd_sn, pdu.max_cmd_sn);
        self.connections.known(cid).count_status(pdu.stat_sn)?;
        let (tag, response) = (pdu.initiator_task_tag, pdu.response);
        let Some(&mut Entry { request: Request::TaskManagement(task), cmd_sn, .. }) = self.requests.sent(cid, tag)
        else {
            return self.check_concluded(cid, tag);
        };
        self.remove(tag);
        // RFC 7143 11.6.1: a task that does not exist will not be answered either.
        let is_referenced_gone =
            response == Response::TaskDoesNotExist && scope(task.asked.function) == Scope::Referenced;
        if response == Response::FunctionComplete || is_referenced_gone {
            self.conclude(|command, entry, lun| entry.cmd_sn.precedes(cmd_sn) && task.ends(command, lun));
        }
        if let Some(command) = task.reassigned() {
            self.end_reassignment(now, cid, command, response);
        }
        let additional_information = pdu.additional_information;
        self.events.push_back(Event::TaskManagementComplete { tag, response, additional_information });
        Ok(())
    }

    /// Ends the commands of which the target knows and that are meant, in their order, without a response.
    pub(super) fn conclude(&mut self, is_meant: impl Fn(InitiatorTaskTag, &Entry, LunField) -> bool) {
        let is_concluded = |tag, entry: &Entry| {
            let is_known = match entry.standing {
                Standing::Queued => false,
                Standing::Sent => true,
                // What it has not received of a connection that is gone still misses in its count.
                Standing::Orphaned => self.numbering.is_acknowledged(entry.cmd_sn),
            };
            matches!(&entry.request, Request::Command(task) if is_known && is_meant(tag, entry, task.lun))
        };
        for tag in self.requests.ordered(self.numbering.cmd_sn(), is_concluded) {
            self.remove(tag);
            self.concluded.push(tag);
            self.events.push_back(Event::TaskAborted { tag });
        }
    }
}
