//! What is asked and answered: each value is a line of JSON.

use crate::AdapterCounters;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Which targets are meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Targets {
    /// All that there are.
    All,
    /// Those with these names.
    Named(Vec<String>),
}

/// What a client wants. Files are read and written by the target, with its rights; their paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// To know which process serves which targets, and where.
    Status,
    /// To know the sessions of targets.
    Sessions {
        /// Of these.
        targets: Targets,
        /// Of this initiator alone, by its normalised name.
        #[serde(default)]
        initiator: Option<String>,
    },
    /// To know what the adapter has counted.
    Adapter,
    /// To know what targets are configured to be.
    Configuration {
        /// These.
        targets: Targets,
    },
    /// To know what is configured for all targets.
    Globals,
    /// Sets a key of the `global:` block, until the file is read again.
    SetGlobal {
        /// The key.
        key: String,
        /// What would stand behind it in a file.
        value: String,
    },
    /// Reads the configuration file again, starts targets that are not running, and has the others do what it says.
    Start {
        /// These; without them those that are running, and what the file says of all.
        #[serde(default)]
        targets: Option<Targets>,
        /// The file, which is the one to read from then on unless targets are named; without it the one that was read before.
        #[serde(default)]
        file: Option<PathBuf>,
    },
    /// Ends the sessions of targets, and lets nobody log in until they are started.
    Stop {
        /// These.
        targets: Targets,
    },
    /// Has what was written reach the media.
    Flush {
        /// Of these targets.
        targets: Targets,
        /// Of this logical unit alone.
        #[serde(default)]
        lun: Option<u16>,
    },
    /// Ends a session.
    Drop {
        /// Its handle, as [`Session::handle`] has it.
        session: u16,
    },
    /// Writes the configuration that is in force to a file that its owner alone may read.
    Write {
        /// The file, in the place of the one that may be there.
        file: PathBuf,
    },
    /// Has an offload policy decide on connections that begin from then on.
    Policy {
        /// The policy, as text or compiled.
        file: PathBuf,
    },
}

/// What a client gets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// It is done.
    Done {
        /// What there is to say of it, a sentence each.
        notes: Vec<String>,
    },
    /// Which process serves what.
    Status(Status),
    /// Sessions, by target.
    Sessions {
        /// They.
        sessions: Vec<Session>,
        /// Threads of the target that have not answered in time: their sessions are not among those.
        #[serde(default)]
        silent_cores: usize,
    },
    /// What the adapter has counted.
    Adapter(AdapterCounters),
    /// Configured values.
    Configuration {
        /// The blocks of a configuration file.
        blocks: Vec<Block>,
        /// What of the targets a file has no words for.
        #[serde(default)]
        notes: Vec<String>,
    },
    /// It is not done.
    Error {
        /// Whose fault it is.
        problem: Problem,
        /// What is wrong and what to do, a sentence each.
        messages: Vec<String>,
    },
}

impl Answer {
    /// It is done, and there is nothing to say of it.
    #[must_use]
    pub fn done() -> Self {
        Self::Done { notes: Vec::new() }
    }

    /// It is not done, for one reason.
    #[must_use]
    pub fn error(problem: Problem, message: impl Into<String>) -> Self {
        Self::Error { problem, messages: vec![message.into()] }
    }
}

/// Whose fault it is that something is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Problem {
    /// The line is no request.
    Malformed,
    /// The request, or a file that it names, asks for what cannot be.
    Wrong,
    /// The target cannot do it as it is.
    Refused,
    /// A file, or the system.
    System,
    /// Who asks may not.
    Forbidden,
    /// There are too many clients.
    Busy,
}

/// Which process serves what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The process.
    pub pid: u32,
    /// Of the program.
    pub version: String,
    /// The configuration file that is read again, if there is one.
    pub config: Option<PathBuf>,
    /// Where it listens, with portal group tags: `address:port,tag`.
    pub portals: Vec<String>,
    /// The targets, by name.
    pub targets: Vec<TargetStatus>,
    /// Threads of the target that have not answered in time: their sessions are not counted.
    #[serde(default)]
    pub silent_cores: usize,
}

/// One target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetStatus {
    /// Its name.
    pub name: String,
    /// Whether initiators may log in.
    pub started: bool,
    /// Logical units.
    pub luns: usize,
    /// Sessions that it has.
    pub sessions: usize,
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// What names it: its TSIH (RFC 7143 section 11.12.6).
    pub handle: u16,
    /// Whether it is for discovery.
    pub discovery: bool,
    /// The target; none where discovery named none.
    pub target: Option<String>,
    /// The initiator's name.
    pub initiator: String,
    /// The ISID (RFC 7143 section 11.12.5), 12 hexadecimal digits.
    pub isid: String,
    /// Tag of the portal group that its connections come through.
    pub portal_group: u16,
    /// The CHAP name that the initiator has proven, if it was asked to.
    pub authenticated_as: Option<String>,
    /// The thread of the target that serves it, from 0.
    pub core: usize,
    /// Commands that were answered.
    pub commands: u64,
    /// Commands that have come and were not answered yet.
    pub open_commands: usize,
    /// Bytes that commands have read.
    pub bytes_read: u64,
    /// Bytes that commands have written.
    pub bytes_written: u64,
    /// How often the initiator has broken a rule of RFC 7143 while the session went on.
    pub violations: u64,
    /// What was negotiated, in the words of RFC 7143 chapter 13. Of keys that each end declares for itself, the target's is here.
    pub keys: Vec<KeyValues>,
    /// The connections, by CID.
    pub connections: Vec<Connection>,
}

/// One connection of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Its CID (RFC 7143 section 11.12.7).
    pub cid: u16,
    /// Where the initiator is.
    pub initiator_address: String,
    /// Where it has connected to.
    pub target_address: String,
    /// HeaderDigest.
    pub header_digest: String,
    /// DataDigest.
    pub data_digest: String,
    /// What an adapter does for it: `none`; `TOE` for TCP, `ULP` for PDUs.
    pub offload: String,
    /// The adapter's ingress queue, where there is one.
    pub queue: Option<u16>,
    /// The rule of the offload policy that it matched, from 1.
    pub rule: Option<u32>,
}

/// A block of a configuration: `global` or `target`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Which.
    pub block: String,
    /// Its keys, in the order of a file.
    pub keys: Vec<KeyValues>,
}

/// A key and what stands behind it, in a line each, without secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyValues {
    /// The key.
    pub key: String,
    /// Its values.
    pub values: Vec<String>,
}
