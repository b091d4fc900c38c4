//! Task management functions of a client (RFC 7143 section 11.5; RFC 7144 for the queries and I_T NEXUS RESET).

use super::mailbox::{Ask, CommandName, completion, failure};
use super::{Client, ClientError, Operation};
use iscsi_node::initiator::{Completion, Outcome, Request};
use iscsi_pdu::TaskManagementFunction as Function;
use iscsi_pdu::TaskManagementResponseCode as Response;
use scsi_block::sense::{AdditionalSense, SenseKey};
use scsi_block::{AsynchronousEvent, EventDepth, LogicalUnitNumber};
use std::sync::atomic::Ordering;

/// A command that can be spoken of: see [`Client::begin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandHandle(CommandName);

impl Client {
    /// Sends a SCSI command that can be [queried](Self::query) and [aborted](Self::abort) while it is under way; its status may be any.
    pub fn begin(&self, request: Request) -> (CommandHandle, Operation<Completion>) {
        let name = CommandName(self.handle.named.fetch_add(1, Ordering::Relaxed));
        let answer = self.ask(Ask::Command(request, Some(name)));
        (CommandHandle(name), Operation::new(async move { completion(answer.await?) }))
    }

    /// Ends a command (ABORT TASK). It then ends with [`ClientError::Aborted`], unless its status was faster. A command that has ended,
    /// or waits for the target to have room, is told as [`ClientError::TaskManagement`].
    pub fn abort(&self, command: CommandHandle) -> Operation<()> {
        self.carry_out(Ask::ManageCommand(Function::AbortTask, command.0))
    }

    /// Whether the target has a command (QUERY TASK), which asks for `iSCSIProtocolLevel` 2.
    pub fn query(&self, command: CommandHandle) -> Operation<bool> {
        self.query_with(Ask::ManageCommand(Function::QueryTask, command.0))
    }

    /// Whether a logical unit has any command of this session (QUERY TASK SET), which asks for `iSCSIProtocolLevel` 2.
    pub fn query_unit(&self, lun: u16) -> Operation<bool> {
        self.query_with(Ask::Manage(Function::QueryTaskSet, LogicalUnitNumber::from(lun)))
    }

    /// The unit attention condition that the next command to a logical unit would be told (QUERY ASYNCHRONOUS EVENT), which asks for
    /// `iSCSIProtocolLevel` 2. A target may say that there is one without saying which.
    pub fn query_asynchronous_event(&self, lun: u16) -> Operation<Option<AsynchronousEvent>> {
        let answer = self.ask(Ask::Manage(Function::QueryAsynchronousEvent, LogicalUnitNumber::from(lun)));
        Operation::new(async move {
            match answer.await? {
                Outcome::AsynchronousEvent(event) => Ok(Some(event)),
                Outcome::TaskManagement(Response::FunctionSucceeded) => Ok(Some(UNKNOWN)),
                Outcome::TaskManagement(Response::FunctionComplete) => Ok(None),
                other => Err(failure(&other)),
            }
        })
    }

    /// Resets a logical unit: every task of every initiator on it ends, without an answer.
    pub fn reset(&self, lun: u16) -> Operation<()> {
        self.carry_out(Ask::Manage(Function::LogicalUnitReset, LogicalUnitNumber::from(lun)))
    }

    /// Ends all tasks of this session, and what its units keep for it (I_T NEXUS RESET), which asks for `iSCSIProtocolLevel` 2. The
    /// session goes on.
    pub fn reset_nexus(&self) -> Operation<()> {
        self.carry_out(Ask::Manage(Function::ItNexusReset, LogicalUnitNumber::from(0)))
    }

    fn carry_out(&self, ask: Ask) -> Operation<()> {
        let answer = self.ask(ask);
        Operation::new(async move {
            match answer.await? {
                Outcome::TaskManagement(Response::FunctionComplete) => Ok(()),
                other => Err(failure(&other)),
            }
        })
    }

    fn query_with(&self, ask: Ask) -> Operation<bool> {
        let answer = self.ask(ask);
        Operation::new(async move { found(&answer.await?) })
    }
}

/// What a target tells of an event that says no more than that there is one.
const UNKNOWN: AsynchronousEvent =
    AsynchronousEvent { depth: EventDepth::Unknown, key: SenseKey::NoSense, additional: AdditionalSense::from_code(0) };

/// Whether what was asked for is there. What this end has no name for any more, the target does not have either.
fn found(outcome: &Outcome) -> Result<bool, ClientError> {
    match outcome {
        Outcome::TaskManagement(Response::FunctionSucceeded) => Ok(true),
        Outcome::TaskManagement(Response::FunctionComplete | Response::TaskDoesNotExist) => Ok(false),
        other => Err(failure(other)),
    }
}
