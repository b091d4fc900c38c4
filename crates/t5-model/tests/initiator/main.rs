//! The initiator in the firmware of PF5, and a target node behind PF4 of the same adapter.

mod hostile;
mod sessions;
mod world;
