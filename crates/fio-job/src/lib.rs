//! Job files of fio: text to the loads that they ask for.
//!
//! ```text
//!   text --> sections --> options, those of [global] first --> values --> JobFile: Stage, Stage, ... of Jobs
//!                \                    \                           \
//!                 `--------------------`---------------------------`--> FileError: all faults at once, each with its line
//! ```
//!
//! In: the text of a file. Out: a [`JobFile`], or the [`FileError`] that keeps it from being one. Nothing is opened or run. Of fio's options those are
//! known that make sense for a disk behind iSCSI; others are faults, or are left out with a note where nothing that is measured depends on them.
//!
//! What it guarantees:
//!
//! - Whatever a file holds, reading it takes time and memory in proportion to its length, at most [`FAULTS_MAX`] faults are told one by one, and nothing panics.
//! - More than [`JOBS_MAX`] jobs or a file of more than [`FILE_BYTES_MAX`] bytes are a fault: what runs it need not look at either.
//!
//! ```
//! use fio_job::{Direction, JobFile};
//!
//! let file: JobFile = "[global]\nbs=4k\ntime_based\nruntime=60\n[reads]\nrw=randread\niodepth=64\nioengine=libaio\n".parse()?;
//! let job = &file.stages[0].0[0];
//! assert_eq!((job.rw, job.block_size, job.iodepth), (Direction::Randread, 4096, 64));
//! assert_eq!(file.notes, ["ioengine is left out: requests go straight into an iSCSI session"]);
//!
//! let error = "[reads]\niodepth=0\n".parse::<JobFile>().unwrap_err();
//! assert_eq!(error.to_string(), "line 2: iodepth: expected a number from 1 to 4096");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod direction;
mod file;
mod job;
mod option;
#[cfg(test)]
mod tests;
pub mod value;

pub use direction::Direction;
pub use file::{FAULTS_MAX, FILE_BYTES_MAX, FileError};
pub use job::{JOBS_MAX, Job, JobFile, Stage};
