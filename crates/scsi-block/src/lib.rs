//! A SCSI block device (SAM-5, SPC-5, SBC-4) as a pure state machine: commands in, block I/O and outcomes out.
//!
//! ```text
//!  transport             Nexus                              store
//!  LUN, CDB   -------->  begin(lun, cdb) -> Task | Outcome
//!  data-out   -------->  start(task, data) -> Step ------>  BlockIo
//!  outcome    <--------  resume(task, done) -> Step <-----  IoDone
//! ```
//!
//! A [`TargetDevice`] has logical units and is shared by all cores; each initiator has a [`Nexus`] to it, which one
//! core owns. The crate does no I/O, has no clock and no threads, and has never heard of a transport. The initiator's
//! half is here too: [`cdb`] builds the commands, and [`inquiry`], [`vpd`], [`parameters`], [`mode`], [`log`], [`reservations`],
//! [`access`], [`copy`] and [`sense`] read the answers.
//!
//! # Guarantees
//!
//! - **One table.** Operation codes, lengths, fields, directions, CDB usage data and general rules stand in
//!   [`opcodes`] and nowhere else.
//! - **Hostile bytes cost little.** Any CDB with any data gives an outcome or a bounded request: no panic, no memory
//!   beyond the data that came. A wrong field is named by the field pointer, allocation lengths hold to the byte,
//!   and a parameter list that lies changes nothing.
//! - **The fast path is free of locks.** READ and WRITE look at a few atomics. A lock is taken only when something
//!   about the unit, such as a reservation, has changed since this nexus last looked.
//! - **Order is kept.** ORDERED and HEAD OF QUEUE tasks of a nexus begin when SAM says so, if the owner asks
//!   [`Nexus::may_start`]; with SIMPLE tasks alone that is counting.
//! - **Units come and go.** [`TargetDevice::add`], [`remove`](TargetDevice::remove) and [`resize`](TargetDevice::resize) work while
//!   commands run, and every nexus is told.
//! - **A fence holds.** Persistent reservations, once their store has [kept](BlockIo::Keep) them, outlive the target; what PREEMPT AND
//!   ABORT or a reset has ended lands no more when its [`Settling`] is over.
//! - **Each way has its port.** A nexus comes through one of the device's [target ports](TargetPort); reservations and unit attentions are of
//!   the nexus, and the [access state](AccessState) of the port's group says what a command through it may do.
//! - **A token delivers no wrong block.** A write to one of its blocks ends it. Copies are tasks, of one bounded step after another.
//! - **Resets reach everywhere.** A reset through one nexus ends the tasks of all: each finds out at its next call,
//!   by the epoch that it shares with the unit.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use bytes::Bytes;
//! use scsi_block::cdb::Cdb;
//! use scsi_block::*;
//!
//! let config = LogicalUnitConfig::new(Geometry { block_size: 512, blocks: 2048 }, "disk-1");
//! let lun = LogicalUnitNumber::from(0);
//! let device = Arc::new(TargetDevice::new([(lun, config)])?);
//! let mut nexus = device.connect("initiator");
//!
//! // The first command is told that the unit may have been reset.
//! let Begin::Done(outcome) = nexus.begin(lun, Cdb::test_unit_ready().as_bytes()) else { panic!() };
//! assert_eq!(outcome.status, Status::CheckCondition);
//!
//! let Begin::Task(mut task) = nexus.begin(lun, Cdb::read_10(8, 1).as_bytes()) else { panic!() };
//! let Step::Io(request) = nexus.start(&mut task, Segments::new()) else { panic!() };
//! assert_eq!(request, BlockIo::Read(Extent { lba: 8, blocks: 1 }));
//!
//! let read = Ok(IoOutput::Data(Bytes::from(vec![7; 512])));
//! let Step::Done(outcome) = nexus.resume(&mut task, read) else { panic!() };
//! assert_eq!((outcome.status, outcome.data_in.len()), (Status::Good, 512));
//! # Ok::<(), ConfigError>(())
//! ```

#![forbid(unsafe_code)]

pub mod access;
mod asynchronous_event;
pub mod cdb;
mod clock;
mod commands;
pub mod config;
pub mod copy;
mod counters;
pub mod designator;
mod device;
#[doc(hidden)]
pub mod fuzzing;
pub mod inquiry;
pub mod io;
mod link;
mod lock;
pub mod log;
mod lun;
mod medium;
pub mod mode;
pub mod needs;
mod nexus;
mod octets;
pub mod opcodes;
pub mod parameters;
mod ports;
pub mod protection;
pub mod reservations;
mod rights;
mod roster;
mod segments;
pub mod sense;
mod sequence;
mod status;
mod task;
mod task_set;
mod unit;
mod unit_attention;
mod upkeep;
pub mod vpd;
mod wipe;

pub use access::AccessState;
pub use asynchronous_event::{AsynchronousEvent, EventDepth};
pub use clock::TimestampOrigin;
pub use config::{ConfigError, Identity, Kept, Limits, LogicalUnitConfig};
pub use device::{LogicalUnitInfo, NoSuchLogicalUnit, NoSuchTargetPortGroup, TargetDevice};
pub use io::{BlockIo, Extent, Geometry, IoDone, IoError, IoOutput, LbaStatus, Record, Segments, Space};
pub use link::Settling;
pub use lun::LogicalUnitNumber;
pub use nexus::Nexus;
pub use octets::{DecodeError, Place};
pub use ports::{GROUP_PORTS_MAX, GROUPS_MAX, TargetPort, TargetPortGroup};
pub use rights::{Rights, UnitRight};
pub use status::{Status, UnknownStatus};
pub use task::{Begin, Command, Outcome, Step, Task};
pub use task_set::TaskAttribute;
