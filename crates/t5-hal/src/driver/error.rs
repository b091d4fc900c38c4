//! Why a driver has not come up, or can go on no more.

use crate::wire::{CommandOpcode, MailboxOwner, ReturnCode, WireError};
use std::net::IpAddr;

/// What is wrong with the adapter, its firmware, or what the driver was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DriverError {
    /// The mailbox belongs to somebody else.
    #[error("the mailbox belongs to {0:?}: is another driver at work on this function?")]
    MailboxOwner(Option<MailboxOwner>),
    /// The firmware does not answer.
    #[error("the firmware has not answered {command:?} within {seconds} s: reset the adapter")]
    Silence {
        /// What it was asked.
        command: CommandOpcode,
        /// For how long.
        seconds: u64,
    },
    /// The firmware refuses.
    #[error("the firmware answers {command:?} with {code:?} ({number:#04x})")]
    Refused {
        /// What it was asked.
        command: CommandOpcode,
        /// Its answer, if it is one that is known.
        code: Option<ReturnCode>,
        /// The number of the answer.
        number: u8,
    },
    /// The firmware's answer makes no sense.
    #[error("the firmware's answer to {command:?} is none: {error}")]
    Answer {
        /// What it was asked.
        command: CommandOpcode,
        /// What is wrong.
        error: WireError,
    },
    /// The firmware says that it has failed.
    #[error("the firmware has failed: PCIE_FW is {0:#010x}; reset the adapter")]
    Firmware(u32),
    /// The adapter has none of something that is needed.
    #[error("{what} is {value:#x}: {expected}")]
    Adapter {
        /// Name of the parameter or register.
        what: &'static str,
        /// Its value.
        value: u32,
        /// What it has to be.
        expected: &'static str,
    },
    /// The common memory has no room for the queues.
    #[error("the memory for rings is too small: {0} bytes more are needed")]
    Memory(usize),
    /// A queue cannot be trusted any more.
    #[error("queue {queue}: {text}; the function is to be reset")]
    Queue {
        /// Number of the queue.
        queue: u32,
        /// What is wrong.
        text: String,
    },
    /// The policy does not offload what was to begin: it is for the host's own TCP.
    #[error("not offloaded: {}", .rule.map_or("no rule of the policy matches".to_owned(), |rule| format!("rule {rule} of the policy says so")))]
    NotOffloaded {
        /// Number of the rule that says so, from 1.
        rule: Option<u32>,
    },
    /// Nothing is offloaded without a policy, and there is none.
    #[error("not offloaded: no policy is loaded, and without one nothing is")]
    NoPolicy,
    /// A policy asks for what this adapter or driver does not have.
    #[error("rule {rule} of the policy: {text}")]
    Rule {
        /// Number of the rule, from 1.
        rule: u32,
        /// What is wrong.
        text: String,
    },
    /// The adapter does not know an address of IPv6 that is to be ours.
    #[error("{0} is no address of the function: connections have those of IPv6 that the driver was brought up with")]
    Address(IpAddr),
    /// All of something is in use.
    #[error("no {0} is free: close something first")]
    Exhausted(&'static str),
}
