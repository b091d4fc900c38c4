//! A server and sessions on functions of a T5 adapter in software.

mod addresses;
mod firmware;
mod sessions;
mod world;
