//! The programs as a person meets them: started with words, read from stdout and stderr, ended by signals.

mod access;
mod configured;
mod cop;
mod disks;
mod ends;
mod iscsictl;
mod load;
mod reload;
mod support;
