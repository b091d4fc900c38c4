//! Task management functions and the requests that they end (RFC 7143 sections 4.2.3 and 11.5).

use super::task::{Entry, Request, Standing};
use super::{Event, Session, TaskManagement};
use crate::Violation;
use iscsi_pdu::TaskManagementFunction as Function;
use iscsi_pdu::TaskManagementResponseCode as Response;
use iscsi_pdu::{Cid, CmdSn, InitiatorTaskTag, LunField, StatSn, TaskManagementRequest, TaskManagementResponse};

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

impl TaskManagementTask {
    pub(super) fn request(&self, tag: InitiatorTaskTag, cmd_sn: CmdSn, exp_stat_sn: StatSn) -> TaskManagementRequest {
        TaskManagementRequest {
            immediate: true,
            function: self.asked.function,
            lun: self.asked.lun,
            initiator_task_tag: tag,
            referenced_task_tag: self.asked.referenced,
            cmd_sn,
            exp_stat_sn,
            ref_cmd_sn: self.ref_cmd_sn,
            exp_data_sn: self.exp_data_sn,
        }
    }

    /// Whether the function has ended a command that was sent before it.
    fn ends(&self, tag: InitiatorTaskTag, lun: LunField) -> bool {
        match scope(self.asked.function) {
            Scope::Nothing => false,
            Scope::Referenced => self.asked.referenced == Some(tag),
            Scope::LogicalUnit => self.asked.lun == lun,
            Scope::Target => true,
        }
    }
}

impl Session {
    /// The connection on which a function goes, or the answer that needs no target.
    pub(super) fn way_of(&mut self, cid: Cid, asked: TaskManagement) -> Result<Cid, Response> {
        match asked.function {
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
            _ => {}
        }
        Ok(cid)
    }

    /// A function with what it says of the command that it refers to, while that is outstanding.
    pub(super) fn task_management(&self, asked: TaskManagement) -> TaskManagementTask {
        let entry = asked.referenced.and_then(|tag| self.requests.get(tag));
        let (ref_cmd_sn, exp_data_sn) = match (entry, asked.function) {
            // RFC 7143 11.5.6: for commands that read.
            (Some(Entry { request: Request::Command(task), .. }), Function::TaskReassign)
                if task.data.read.is_some() =>
            {
                (CmdSn::default(), task.data.next_data_sn())
            }
            (Some(Entry { request: Request::Command(_), cmd_sn, .. }), Function::AbortTask | Function::QueryTask) => {
                (*cmd_sn, 0)
            }
            _ => (CmdSn::default(), 0),
        };
        TaskManagementTask { asked, ref_cmd_sn, exp_data_sn }
    }

    pub(super) fn handle_task_management_response(
        &mut self,
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
        if let (Function::TaskReassign, Some(command)) = (task.asked.function, task.asked.referenced) {
            self.end_reassignment(cid, command, response);
        }
        self.events.push_back(Event::TaskManagementComplete { tag, response });
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
