//! Both ends of a login against each other, against scripts, and against what other systems sent.

mod agreement;
mod answers;
mod bench;
mod captured;
mod constancy;
mod hostile;
mod ladders;
mod open;
mod proofs;
mod redirection;
mod refusals;
mod rogue;
mod violations;
