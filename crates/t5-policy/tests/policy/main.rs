//! The language, and what it is compiled to.

mod common;
mod language;
mod program;
