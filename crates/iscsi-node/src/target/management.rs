//! What an initiator asks beside commands: task management, and which targets there are.
//!
//! Invariant: a task management function is answered only after every block I/O of the tasks that it ended has come back.

use super::event::Event;
use super::session::{Context, Session};
use iscsi_pdu::{LunField, TaskManagementFunction, TaskManagementResponseCode};
use iscsi_session::target::{RequestId, SendTargetsScope};
use iscsi_transport::PduPort;
use scsi_block::LogicalUnitNumber;

/// A task management function that waits for block I/O of the tasks it has ended.
pub(super) struct OpenManagement {
    id: RequestId,
    response: TaskManagementResponseCode,
}

impl Session {
    pub(super) fn manage<P: PduPort>(
        &mut self,
        id: RequestId,
        function: TaskManagementFunction,
        lun: LunField,
        context: &mut Context<'_, P>,
    ) {
        let response = self.manage_device(function, LogicalUnitNumber::from_wire(lun.0), context);
        self.management.push(OpenManagement { id, response });
        self.answer_management();
    }

    // RFC 7143 11.5.1-12, 11.5.1-13: by right only.
    /// The device's half of a task management function.
    fn manage_device<P: PduPort>(
        &mut self,
        function: TaskManagementFunction,
        lun: LogicalUnitNumber,
        context: &mut Context<'_, P>,
    ) -> TaskManagementResponseCode {
        use TaskManagementFunction as Function;
        use TaskManagementResponseCode as Response;
        let (Some(nexus), Some(target)) = (&mut self.nexus, self.target) else {
            return Response::FunctionRejected;
        };
        let of_unit = |done: bool| if done { Response::FunctionComplete } else { Response::LunDoesNotExist };
        match function {
            Function::AbortTask => Response::FunctionComplete,
            Function::AbortTaskSet | Function::ClearTaskSet => of_unit(nexus.abort_task_set(lun).is_ok()),
            Function::LogicalUnitReset => of_unit(nexus.logical_unit_reset(lun).is_ok()),
            Function::TargetWarmReset | Function::TargetColdReset if !context.portal.targets[target].resettable => {
                Response::FunctionAuthorizationFailed
            }
            Function::TargetWarmReset => {
                nexus.target_reset();
                Response::FunctionComplete
            }
            Function::TargetColdReset => {
                nexus.target_reset();
                context.outbox.events.push_back(Event::TargetColdReset { target });
                Response::FunctionComplete
            }
            Function::ItNexusReset => {
                nexus.reset();
                Response::FunctionComplete
            }
            Function::QueryAsynchronousEvent => match nexus.has_attention(lun) {
                Ok(true) => Response::FunctionSucceeded,
                Ok(false) => Response::FunctionComplete,
                Err(_) => Response::LunDoesNotExist,
            },
            _ => Response::FunctionNotSupported,
        }
    }

    pub(super) fn answer_management(&mut self) {
        if self.aborted_in_store.is_empty() {
            for OpenManagement { id, response } in std::mem::take(&mut self.management) {
                self.machine.answer_task_management(id, response);
            }
        }
    }

    pub(super) fn send_targets<P: PduPort>(
        &mut self,
        id: RequestId,
        scope: &SendTargetsScope,
        context: &mut Context<'_, P>,
    ) {
        let only = match scope {
            SendTargetsScope::All => None,
            SendTargetsScope::Named(name) => Some(name.as_str()),
            // RFC 7143 appendix C: an empty value asks for the session's own target.
            SendTargetsScope::ThisTarget => Some(self.outcome.target_name.as_deref().unwrap_or_default()),
        };
        let first = self.connections.first().and_then(|(_, id)| context.connections.get(*id));
        let local_address = first.map_or("", |connection| &connection.local_address);
        let records = context.portal.records(&self.outcome.initiator_name, local_address, only);
        self.machine.answer_send_targets(id, &records);
    }
}
