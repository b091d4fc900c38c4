//! The target's end of a session.

mod command;
mod event;
mod login;
mod numbering;
mod session;
mod state;
mod task;
mod task_management;
mod text;
mod timers;
mod transfer;
mod transmit;

pub use crate::{SendTargetsScope, TargetRecord};
pub use event::{Command, DataProgress, Event, RequestId};
pub use login::{Identification, Login, LoginConfig, LoginEvent, LoginIdentity, LoginPolicy, Refusal};
pub use session::{Session, SessionConfig};
pub use task::{TaskId, TaskOutcome};
