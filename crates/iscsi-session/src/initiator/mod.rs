//! The initiator's end of a session.

mod async_message;
mod command;
mod event;
mod login;
mod numbering;
mod outbox;
mod receive;
mod reject;
mod session;
mod state;
mod task;
mod task_management;
mod text;
mod timers;
mod transfer;
mod transmit;

pub use command::{Command, TaskManagement, TaskResult, Transfer};
pub use event::Event;
pub use login::{Login, LoginConfig, LoginEvent};
pub use receive::split_sense;
pub use session::{Session, SessionConfig};

#[cfg(test)]
mod tests;
