//! What an initiator asks beside commands: task management, and which targets there are.
//!
//! Invariant: a task management function is answered only after every block I/O of the tasks that it ended has come back.

use super::session::{Context, Session};
use iscsi_pdu::{LunField, TaskManagementFunction, TaskManagementResponseCode};
use iscsi_session::target::{RequestId, SendTargetsScope};
use iscsi_transport::PduPort;
use scsi_block::{AsynchronousEvent, LogicalUnitNumber, NoSuchLogicalUnit, Settling};

/// A task management function that waits for block I/O of the tasks it has ended.
pub(super) struct OpenManagement {
    id: RequestId,
    response: TaskManagementResponseCode,
    /// Of a QUERY ASYNCHRONOUS EVENT that has succeeded.
    event: Option<AsynchronousEvent>,
    /// Tasks of other nexuses among them.
    settling: Settling,
}

impl Session {
    pub(super) fn manage<P: PduPort>(
        &mut self,
        id: RequestId,
        function: TaskManagementFunction,
        lun: LunField,
        context: &mut Context<'_, P>,
    ) {
        let lun = LogicalUnitNumber::from_wire(lun.0);
        let (response, settling) = self.manage_device(function, lun);
        let event = (response == TaskManagementResponseCode::FunctionSucceeded).then(|| self.event_of(lun)).flatten();
        self.management.push(OpenManagement { id, response, event, settling });
        self.answer_management(context);
    }

    /// The device's half of a task management function.
    fn manage_device(
        &mut self,
        function: TaskManagementFunction,
        lun: LogicalUnitNumber,
    ) -> (TaskManagementResponseCode, Settling) {
        use TaskManagementFunction as Function;
        use TaskManagementResponseCode as Response;
        let Some(nexus) = &mut self.nexus else {
            return (Response::FunctionRejected, Settling::default());
        };
        let of_unit = |done: Result<Settling, NoSuchLogicalUnit>| match done {
            Ok(settling) => (Response::FunctionComplete, settling),
            Err(_) => (Response::LunDoesNotExist, Settling::default()),
        };
        let response = match function {
            Function::AbortTask => Response::FunctionComplete,
            Function::AbortTaskSet | Function::ClearTaskSet => {
                return of_unit(nexus.abort_task_set(lun).map(|()| Settling::default()));
            }
            // RFC 7143 10.2-2.
            Function::ClearAca => {
                self.has_ended = true; // tasks that it has kept back may begin
                return of_unit(nexus.clear_allegiance(lun).map(|()| Settling::default()));
            }
            Function::LogicalUnitReset => return of_unit(nexus.logical_unit_reset(lun)),
            Function::TargetWarmReset | Function::TargetColdReset => {
                return (Response::FunctionComplete, nexus.target_reset());
            }
            Function::ItNexusReset => return (Response::FunctionComplete, nexus.reset()),
            Function::QueryAsynchronousEvent => match nexus.asynchronous_event(lun) {
                Ok(Some(_)) => Response::FunctionSucceeded,
                Ok(None) => Response::FunctionComplete,
                Err(_) => Response::LunDoesNotExist,
            },
            _ => Response::FunctionNotSupported,
        };
        (response, Settling::default())
    }

    fn event_of(&self, lun: LogicalUnitNumber) -> Option<AsynchronousEvent> {
        self.nexus.as_ref()?.asynchronous_event(lun).ok()?
    }

    // RFC 7143 4.2.3.3-9: tasks that have ended are waited for, and no others.
    /// Answers what has nothing to wait for any more. Nobody says when requests of other nexuses come back: it is looked again in a while.
    pub(super) fn answer_management<P: PduPort>(&mut self, context: &mut Context<'_, P>) {
        if !self.aborted_in_store.is_empty() {
            return;
        }
        let (over, open) = std::mem::take(&mut self.management).into_iter().partition(|open| open.settling.is_over());
        self.management = open;
        for OpenManagement { id, response, event, .. } in over {
            self.machine.answer_query(id, response, event.map_or([0; 3], AsynchronousEvent::to_bytes));
        }
        if !self.management.is_empty() {
            self.look_again_after(context.now);
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
        let records = first.map_or_else(Vec::new, |connection| {
            context.portal.records(&self.outcome.initiator_name, &connection.entrance, only)
        });
        self.machine.answer_send_targets(id, &records);
    }
}
