//! Task management functions and the requests that they end (RFC 7143 sections 4.2.3 and 11.5).

use super::task::{Entry, Request};
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
    pub(super) ref_cmd_sn: Option<CmdSn>,
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
            ref_cmd_sn: self.ref_cmd_sn.unwrap_or_default(),
            exp_data_sn: 0,
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
    /// The connection and the CmdSN of the command that a function refers to, while it is outstanding.
    pub(super) fn referenced(&self, asked: TaskManagement) -> Option<(Cid, CmdSn)> {
        let entry = self.requests.get(asked.referenced?)?;
        matches!(entry.request, Request::Command(_)).then_some((entry.cid, entry.cmd_sn))
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
        self.events.push_back(Event::TaskManagementComplete { tag, response });
        Ok(())
    }

    /// Ends the commands of which the target knows and that are meant, in their order, without a response.
    pub(super) fn conclude(&mut self, is_meant: impl Fn(InitiatorTaskTag, &Entry, LunField) -> bool) {
        let is_concluded = |tag, entry: &Entry| match &entry.request {
            Request::Command(task) => entry.is_sent && is_meant(tag, entry, task.lun),
            _ => false,
        };
        for tag in self.requests.ordered(self.numbering.cmd_sn(), is_concluded) {
            self.remove(tag);
            self.concluded.push(tag);
            self.events.push_back(Event::TaskAborted { tag });
        }
    }
}
