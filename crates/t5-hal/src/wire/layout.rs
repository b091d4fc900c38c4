//! Structures as they stand in memory, each from one table: byte offset, name and type of every field.

use zerocopy::{FromBytes, Immutable, IntoBytes, Unaligned};

/// A structure of the adapter: any bytes of its length are one.
pub trait Layout: FromBytes + IntoBytes + Immutable + Unaligned + Copy {
    /// Name of the structure in the public headers.
    const NAME: &'static str;

    /// The structure at the beginning of `bytes`, and what is behind it.
    ///
    /// # Errors
    /// The bytes are fewer than the structure has.
    fn split_from(bytes: &[u8]) -> Result<(Self, &[u8]), WireError> {
        Self::read_from_prefix(bytes).map_err(|_| WireError::Short {
            name: Self::NAME,
            expected: size_of::<Self>(),
            length: bytes.len(),
        })
    }
}

/// Bytes that are no message of the adapter or its driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A message ends before its structure does.
    #[error("{name} has {expected} bytes: {length} are there")]
    Short {
        /// Which structure, by its public name.
        name: &'static str,
        /// Its length in bytes.
        expected: usize,
        /// How many bytes there are.
        length: usize,
    },
    /// No message that is known has this opcode.
    #[error("opcode {opcode:#04x} is no {what}")]
    Opcode {
        /// What was looked for.
        what: &'static str,
        /// The opcode.
        opcode: u8,
    },
    /// A message says a length that it cannot have.
    #[error("{name} says {value} for {field}: {expected}")]
    Length {
        /// Which structure, by its public name.
        name: &'static str,
        /// Which field.
        field: &'static str,
        /// What it says.
        value: usize,
        /// What it may say.
        expected: &'static str,
    },
}

/// Makes structures. Sizes and offsets are checked when this is compiled.
macro_rules! layout {
    ($($(#[$meta:meta])* $name:ident = $public:literal, $size:literal {
        $($offset:literal $field:ident: $type:ty $(, $note:literal)?;)*
    })*) => {$(
        $(#[$meta])*
        ///
        #[doc = concat!("`", $public, "`, ", stringify!($size), " bytes.")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::Unaligned)]
        #[repr(C)]
        pub struct $name {
            $(
                #[doc = concat!("At byte ", stringify!($offset), "." $(, " ", $note)?)]
                pub $field: $type,
            )*
        }

        impl $crate::wire::layout::Layout for $name {
            const NAME: &'static str = $public;
        }

        impl Default for $name {
            /// All bytes zero.
            fn default() -> Self {
                zerocopy::FromZeros::new_zeroed()
            }
        }

        const _: () = {
            assert!(size_of::<$name>() == $size, "a structure has the size of the public header");
            $(assert!(core::mem::offset_of!($name, $field) == $offset, "a field stands where the public header has it");)*
        };
    )*};
}
pub(crate) use layout;

/// Makes an enumeration of numbers on the wire.
macro_rules! codes {
    ($($(#[$meta:meta])* $name:ident: $int:ident { $($(#[$code_meta:meta])* $code:ident = $value:literal,)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr($int)]
        pub enum $name {
            $(
                #[doc = concat!("`", stringify!($value), "`.")]
                $(#[$code_meta])*
                $code = $value,
            )*
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$code),*];

            /// The code of a number, if there is one.
            #[must_use]
            pub const fn from_wire(value: $int) -> Option<Self> {
                match value {
                    $($value => Some(Self::$code),)*
                    _ => None,
                }
            }

            /// The number on the wire.
            #[must_use]
            pub const fn to_wire(self) -> $int {
                self as $int
            }
        }
    )*};
}
pub(crate) use codes;
