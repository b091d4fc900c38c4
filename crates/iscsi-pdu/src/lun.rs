//! The LUN field.

/// Eight bytes that name a logical unit (RFC 7143 section 11.2.1.7, in the format of SAM-5 clause 4.7). Opaque here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LunField(pub [u8; 8]);
