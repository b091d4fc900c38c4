//! What a device tells of itself and lets be set: lists of units and functions, timestamps, pages.

mod changes;
mod harness;
mod logs;
mod modes;
mod reports;
mod task_set;
