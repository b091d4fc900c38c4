//! What a session tells its owner.

use super::TaskId;
use crate::{CloseReason, SendTargetsScope, Violation};
use bytes::Bytes;
use iscsi_pdu::{Cid, LunField, TargetTransferTag, TaskAttribute, TaskManagementFunction};

/// Names a request of the initiator that the owner answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(pub(super) u32);

/// Data of a write, and where it belongs.
pub(super) type DataPiece = (u32, Bytes);

/// Something that the owner of a session has to know or do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A SCSI command is to be executed. The owner ends it with [`complete`](super::Session::complete) or
    /// [`discard`](super::Session::discard), or the session does with [`Aborted`](Self::Aborted).
    Command(Command),
    /// Data of a write that [`receive_data`](super::Session::receive_data) asked for, in order and never empty.
    Data {
        /// The command.
        task: TaskId,
        /// Where in the command's data the piece begins, in bytes.
        offset: u32,
        /// The piece.
        data: Bytes,
    },
    /// All that [`receive_data`](super::Session::receive_data) asked for has come.
    DataComplete {
        /// The command.
        task: TaskId,
    },
    /// No data comes any more under a tag that [`receive_data`](super::Session::receive_data) was given: its command has ended before its
    /// data had come. The tag may go back to the port of its connection.
    TagFree {
        /// The connection.
        cid: Cid,
        /// The tag.
        tag: TargetTransferTag,
    },
    /// The command goes on with another connection, whose port its data and its status move through from now on. If its data was asked
    /// for and has not all come, the owner calls [`receive_data`](super::Session::receive_data) again, with a tag of that port.
    Reassigned {
        /// The command.
        task: TaskId,
        /// Its connection.
        cid: Cid,
    },
    /// The command is gone, and what is in flight for it leads nowhere. If its data was asked for and had not all come, its tag is in
    /// use until [`TagFree`](Self::TagFree).
    Aborted {
        /// The command.
        task: TaskId,
    },
    /// A task management function is to be carried out in the device. The session's own tasks that it ends came before, as
    /// [`Aborted`](Self::Aborted). The owner answers with
    /// [`answer_task_management`](super::Session::answer_task_management) when nothing of them is in flight any more.
    TaskManagement {
        /// To be given with the answer.
        id: RequestId,
        /// ABORT TASK, ABORT TASK SET, CLEAR ACA, CLEAR TASK SET, LOGICAL UNIT RESET, TARGET WARM RESET, TARGET COLD RESET,
        /// I_T NEXUS RESET or QUERY ASYNCHRONOUS EVENT.
        function: TaskManagementFunction,
        /// The logical unit, for functions about one.
        lun: LunField,
    },
    /// The initiator asks which targets there are. The owner answers with
    /// [`answer_send_targets`](super::Session::answer_send_targets).
    SendTargets {
        /// To be given with the answer.
        id: RequestId,
        /// Which ones.
        scope: SendTargetsScope,
    },
    /// The initiator has broken a rule, and the session has done what [`Violation::answer`] says: for the owner to count or to write down,
    /// nothing else. A rule whose breach ends the session comes with [`Closed`](Self::Closed) instead. An initiator that recovers may
    /// send a command again that had come, or ask too late for what is not kept: that comes here too.
    Violated {
        /// The connection.
        cid: Cid,
        /// The rule.
        violation: Violation,
    },
    /// A connection has ended, and the session goes on. The connection is to be closed when
    /// [`poll_transmit`](super::Session::poll_transmit) has nothing left for it. The tasks that end with it came before, as
    /// [`Aborted`](Self::Aborted).
    ConnectionClosed {
        /// The connection.
        cid: Cid,
        /// Why it has ended.
        reason: CloseReason,
    },
    /// The session has ended, and with it all its connections. Each is to be closed when [`poll_transmit`](super::Session::poll_transmit) has nothing
    /// left for it. No event comes after this one.
    Closed(CloseReason),
}

/// A SCSI command that is to be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Names it from now on.
    pub task: TaskId,
    /// The connection that its data and its status move on: where its tag is to be reserved.
    pub cid: Cid,
    /// The logical unit.
    pub lun: LunField,
    /// The CDB, if it has no more than 16 bytes; else its first 16.
    pub cdb: [u8; 16],
    /// The whole CDB, if it has more than 16 bytes; else empty.
    pub extended_cdb: Box<[u8]>,
    /// How it is ordered among others.
    pub attribute: TaskAttribute,
    /// Which of SIMPLE tasks should go first (RFC 7144; SAM-5 clause 8.7): 1, the first, to 15; 0 says nothing.
    pub priority: u8,
    /// The initiator expects to read.
    pub read: bool,
    /// The initiator expects to write.
    pub write: bool,
    /// Bytes that the initiator expects to move: of the write if it writes, else of the read.
    pub expected_data_transfer_length: u32,
    /// Bytes that the initiator expects to read, if it also writes; else zero.
    pub bidirectional_read_length: u32,
    /// Immediate data: the first bytes of the write.
    pub data: Bytes,
}

/// Whether the data that a command asked for is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataProgress {
    /// All of it came with the command.
    Complete,
    /// It comes with [`Event::Data`], until [`Event::DataComplete`] or [`Event::Aborted`].
    Pending,
}
