//! Both ends of a login against each other, against scripts, and against what other systems sent.

mod bench;
mod ladders;
mod open;
