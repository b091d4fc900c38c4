//! What a client does when its target, or the way there, fails.

mod reconnection;
mod target;
