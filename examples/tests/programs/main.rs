//! The programs as a person meets them: started with words, read from stdout and stderr, ended by signals.

mod binaries;
mod configured;
mod cop;
mod iscsictl;
mod reload;
mod support;
