//! Persistent reservations (SPC-5 5.13): the rules, and the data of PERSISTENT RESERVE IN and OUT for both ends.
//!
//! | file | subject |
//! |---|---|
//! | `kinds` | types, service actions, and the table of what each type leaves to whom |
//! | `state` | registrations and the reservation of one unit, and what each service action does |
//! | `lists` | parameter data as bytes |
//! | `path`, `transport_id` | who is meant, by name |
//! | `kept` | what outlives a loss of power |
//!
//! What a command needs of a reservation stands in its row of the [table of commands](crate::opcodes).

mod kept;
mod kinds;
mod lists;
mod path;
mod state;
mod transport_id;

pub use kept::{UnknownForm, in_place_of_damaged};
pub use kinds::{OutAction, ReservationType};
pub use lists::{Capabilities, CurrentReservation, FullStatus, Keys, MoveList, OUT_LIST_BYTES, OutList, Registration};
pub use path::{NexusName, Path};
pub use transport_id::{NotATransportId, TransportId};

pub(crate) use kept::{RECORD, are_lost};
pub(crate) use lists::OUT_LIST_BYTES_MAX;
pub(crate) use state::{Change, Reservations, Surroundings};
