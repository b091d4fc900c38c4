//! Task tags. A tag belongs to the port that reserved it; the session only carries it.

/// The value that means "no tag" in every tag field.
pub(crate) const RESERVED: u32 = 0xffff_ffff;

/// Initiator Task Tag (RFC 7143 section 11.2.1.8), also called ITT. Never `0xffffffff`, which stands for "none" on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InitiatorTaskTag(pub u32);

/// Target Transfer Tag (RFC 7143 section 11.7.4), also called TTT. Never `0xffffffff`, which stands for "none" on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetTransferTag(pub u32);

macro_rules! on_the_wire {
    ($name:ident) => {
        impl $name {
            /// The tag in a field that may hold none.
            #[must_use]
            pub const fn from_wire(value: u32) -> Option<Self> {
                if value == RESERVED { None } else { Some(Self(value)) }
            }

            /// The field for a tag or none.
            #[must_use]
            pub const fn to_wire(tag: Option<Self>) -> u32 {
                match tag {
                    Some(tag) => tag.0,
                    None => RESERVED,
                }
            }
        }
    };
}

on_the_wire!(InitiatorTaskTag);
on_the_wire!(TargetTransferTag);
