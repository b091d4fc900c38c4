//! A SCSI block device (SPC, SBC) as a pure state machine: commands in, block I/O and outcomes out.

#![forbid(unsafe_code)]

pub mod io;
