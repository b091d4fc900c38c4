//! What stands in memory and on the bus: messages, work requests, and the words they are made of.
//!
//! In: bytes. Out: structures whose fields have names, or a [`WireError`]. Nothing here does I/O or keeps state.

#![allow(
    missing_debug_implementations,
    reason = "zerocopy's derive makes a public marker type without it for every public field"
)]

mod bits;
mod cpl_from_chip;
mod cpl_to_chip;
mod doorbell;
mod fields;
mod filter;
mod firmware;
mod foiscsi;
mod function_id;
mod ingress;
mod layout;
mod page_pod;
mod tag;
mod tcb;
mod ulp_tx;
mod work_request;

pub use bits::{BitFields, Field, Row};
pub use cpl_from_chip::*;
pub use cpl_to_chip::*;
pub use doorbell::*;
pub use fields::*;
pub use filter::*;
pub use firmware::*;
pub use foiscsi::*;
pub use function_id::FunctionId;
pub use ingress::*;
pub use layout::{Layout, WireError};
pub use page_pod::*;
pub use tag::*;
pub use tcb::*;
pub use ulp_tx::*;
pub use work_request::*;
