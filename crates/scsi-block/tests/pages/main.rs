//! What a device tells of itself and lets be set: lists of units and functions, timestamps, pages.

mod harness;
mod logs;
mod modes;
mod reports;
