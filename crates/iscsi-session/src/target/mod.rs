//! The target's end of a session: the login, then the full feature phase.
//!
//! ```text
//!  PDUs ──> Login ── Complete(LoginOutcome) ──> Session ──> events: Command, Data, DataComplete, Aborted, TaskManagement, …
//!      <── poll_transmit                 poll_transmit <── receive_data, complete, discard, answer_…
//! ```
//!
//! A [`Login`] ends in a [`LoginOutcome`](crate::LoginOutcome), from which a [`Session`] begins, or with which a connection joins one.
//! Both are state machines without input or output of their own; their owner moves PDUs and carries out the events.
//!
//! Guarantees of a session, whatever the initiator sends:
//!
//! - It does not panic, and holds no more than its window of commands, as many immediate ones a connection as it was told to take,
//!   FirstBurstLength bytes of early data a command, one text exchange and 64 Rejects a connection.
//! - Commands come in CmdSN order, whatever connection they come on, and end exactly once. The data of a write comes in order, without gap or overlap.
//! - What each broken rule leads to stands in one table: [`Violation`](crate::Violation).
//! - From error recovery level 1 on, what was lost is asked for and sent again, and what is kept for that is bounded by
//!   [`SessionConfig`]; at level 0 nothing is kept.
//! - At level 0 a command costs no allocation once the session has reached its depth. Read data is sent from the bytes that the owner
//!   gave, and written data is handed on as it came; only unsolicited data that comes before the owner wants it is copied.
//!
//! ```
//! use iscsi_pdu::{Cid, CmdSn, InitiatorTaskTag, Pdu, ScsiCommand, StatSn, TargetTransferTag};
//! use iscsi_session::target::{Event, Session, SessionConfig, TaskOutcome};
//! use iscsi_session::{LoginOutcome, Parameters, SessionType};
//! use std::time::Instant;
//!
//! let outcome = LoginOutcome {
//!     initiator_name: "iqn.2026-01.org.example:host".into(),
//!     target_name: Some("iqn.2026-01.org.example:disk".into()),
//!     session_type: SessionType::Normal,
//!     isid: Default::default(),
//!     tsih: Default::default(),
//!     cid: Cid(1),
//!     parameters: Parameters::default(),
//!     cmd_sn: CmdSn(1),
//!     stat_sn: StatSn(1),
//!     max_cmd_sn: CmdSn(128),
//!     authenticated_as: None,
//! };
//! let now = Instant::now();
//! let mut session = Session::new(&outcome, SessionConfig::default(), TargetTransferTag(1), now);
//!
//! // A command comes in …
//! let read = ScsiCommand {
//!     is_final: true,
//!     read: true,
//!     expected_data_transfer_length: 5,
//!     initiator_task_tag: InitiatorTaskTag(7),
//!     cmd_sn: CmdSn(1),
//!     exp_stat_sn: StatSn(1),
//!     ..ScsiCommand::default()
//! };
//! session.handle_pdu(now, Cid(1), read.into());
//! let Some(Event::Command(command)) = session.poll_event() else { panic!("a command") };
//!
//! // … and its data and status go out in one PDU.
//! session.complete(command.task, TaskOutcome { data_in: "hello".into(), data_in_length: 5, ..TaskOutcome::default() });
//! let Some(Pdu::DataIn(data_in)) = session.poll_transmit(Cid(1)) else { panic!("data") };
//! assert_eq!(&data_in.data[..], b"hello");
//! assert!(data_in.status.is_some());
//! assert!(session.poll_transmit(Cid(1)).is_none());
//! ```

mod assembly;
#[cfg(test)]
mod chart_page;
mod command;
mod connection;
mod continuation;
mod event;
mod fence;
mod login;
mod logout;
mod nop;
mod numbering;
mod receive;
mod resumption;
mod retention;
mod session;
mod session_state;
mod snack;
mod state;
mod stragglers;
mod task;
mod task_management;
mod termination;
mod text;
mod timers;
mod transfer;
mod transmit;

pub use crate::{SendTargetsScope, TargetRecord};
pub use event::{Command, DataProgress, Event, RequestId};
pub use login::{Identification, Login, LoginConfig, LoginEvent, LoginIdentity, LoginPolicy, Refusal};
pub use session::{Session, SessionConfig};
pub use task::{TaskId, TaskOutcome};
