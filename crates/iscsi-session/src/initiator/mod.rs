//! The initiator's end of a session.
