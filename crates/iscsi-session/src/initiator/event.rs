//! What a session tells its owner.

use super::TaskResult;
use crate::{CloseReason, TargetRecord};
use bytes::Bytes;
use iscsi_pdu::{
    AsyncMessage, Cid, InitiatorTaskTag, LogoutResponseCode, Opcode, RejectReason, TaskManagementResponseCode,
};
use std::time::Duration;

/// Something that the owner of a session has to know.
///
/// Every tag that was given to the session comes back in exactly one of the events that end a request: those whose name
/// ends in `Complete`, [`Targets`](Self::Targets), [`TaskAborted`](Self::TaskAborted), [`TaskRejected`](Self::TaskRejected) and
/// [`TaskLost`](Self::TaskLost). Then it may be used again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A piece of a read, within the command's expected length. Never empty.
    Data {
        /// The command.
        tag: InitiatorTaskTag,
        /// Where in the command's data the piece begins, in bytes.
        offset: u32,
        /// The piece.
        data: Bytes,
    },
    /// A command has ended.
    TaskComplete {
        /// The command.
        tag: InitiatorTaskTag,
        /// How it ended.
        result: TaskResult,
    },
    /// A request has ended through a task management function of ours, or was terminated by the target; its effects are unknown.
    TaskAborted {
        /// The request.
        tag: InitiatorTaskTag,
    },
    /// The target did not accept a request, or the session type does not have it; it had no effect.
    TaskRejected {
        /// The request.
        tag: InitiatorTaskTag,
        /// Why.
        reason: RejectReason,
    },
    /// No answer will come to a request, since its connection or the session has ended, or since a ping was lost; its effects are
    /// unknown.
    TaskLost {
        /// The request.
        tag: InitiatorTaskTag,
    },
    /// A task management function has ended. The requests that it ended came before, as [`TaskAborted`](Self::TaskAborted).
    TaskManagementComplete {
        /// The request.
        tag: InitiatorTaskTag,
        /// How it ended.
        response: TaskManagementResponseCode,
        /// What a QUERY ASYNCHRONOUS EVENT that has succeeded tells of the event (SAM-5 clause 7); else zeros.
        additional_information: [u8; 3],
    },
    /// The target has answered a ping.
    PingComplete {
        /// The request.
        tag: InitiatorTaskTag,
        /// What the target has echoed: it may be less than was sent.
        data: Bytes,
    },
    /// The answer to SendTargets.
    Targets {
        /// The request.
        tag: InitiatorTaskTag,
        /// The targets.
        targets: Vec<TargetRecord>,
    },
    /// A parameter negotiation has ended; the target may have declared another MaxRecvDataSegmentLength.
    NegotiationComplete {
        /// The request.
        tag: InitiatorTaskTag,
    },
    /// The target has answered a logout.
    LogoutComplete {
        /// The request.
        tag: InitiatorTaskTag,
        /// How it went.
        response: LogoutResponseCode,
    },
    /// The target has been silent on a connection for the ping interval, or something else is to be learnt by an answer: it is time for
    /// a [`ping`](super::Session::ping). Below error recovery level 1 none is due while another waits for its answer.
    PingDue {
        /// The connection.
        cid: Cid,
    },
    /// The target wants to negotiate: it is time for a [`negotiate`](super::Session::negotiate).
    NegotiationRequested {
        /// The connection.
        cid: Cid,
    },
    /// The target wants a connection to end: it takes no command any more, and a [`logout`](super::Session::logout) has to follow.
    LogoutRequested {
        /// The connection.
        cid: Cid,
        /// How long the target waits for it.
        grace: Duration,
    },
    /// The target has rejected a PDU that is no request. It changes nothing: the request that it belongs to will be answered.
    PduRejected {
        /// What the PDU was.
        opcode: Opcode,
        /// Why.
        reason: RejectReason,
    },
    /// The target speaks of something that is not the session's: a SCSI event or a vendor's. See [`split_sense`](super::split_sense).
    Async(AsyncMessage),
    /// A connection has ended, and the session goes on: close its port. The requests that are lost with it came before, as
    /// [`TaskLost`](Self::TaskLost). Others end later: at error recovery level 2 tasks wait for another connection; below, commands
    /// whose number the target may miss wait until it is filled, and no later command is executed before (RFC 7143 section 4.2.2.1).
    ConnectionClosed {
        /// The connection.
        cid: Cid,
        /// Why it has ended.
        reason: CloseReason,
    },
    /// The target may be told now that a connection is gone: by a [`logout`](super::Session::logout) of it over another, or by a
    /// new login with the same CID and [`add_connection`](super::Session::add_connection). At error recovery level 2 the logout is
    /// to be one for recovery. Otherwise the target forgets the connection by itself, after Time2Retain, and its tasks with it.
    CleanupDue {
        /// The connection.
        cid: Cid,
    },
    /// A command has lost its connection, and may go on on another: it is time for a TASK REASSIGN by
    /// [`manage_task`](super::Session::manage_task), on the connection that is to have it. Otherwise the command is lost, when
    /// Time2Retain has passed. It comes again after a while if the target has refused that for the moment.
    ReassignmentDue {
        /// The command.
        tag: InitiatorTaskTag,
    },
    /// The session has ended: close all connections. Nothing comes after this.
    Closed(CloseReason),
}
