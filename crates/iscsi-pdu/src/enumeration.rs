//! One table for each enumeration of the standard.

/// Declares an enumeration that a peer may extend: known values by name, the others kept as they came.
macro_rules! open_enumeration {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $value:literal $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$vmeta])* #[doc = concat!("Value ", stringify!($value), ": ", $text, ".")] $variant,)*
            /// A value that RFC 7143 does not define.
            Other(u8),
        }

        impl $name {
            /// Every value that has a name.
            pub const NAMED: &'static [Self] = &[$(Self::$variant),*];

            /// The meaning of a value on the wire.
            #[must_use]
            pub const fn from_wire(value: u8) -> Self {
                match value { $($value => Self::$variant,)* other => Self::Other(other) }
            }

            /// The value on the wire.
            #[must_use]
            pub const fn to_wire(self) -> u8 {
                match self { $(Self::$variant => $value,)* Self::Other(other) => other }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self {
                    $(Self::$variant => formatter.write_str($text),)*
                    Self::Other(other) => write!(formatter, "value {other:#04x}, which RFC 7143 does not define"),
                }
            }
        }
    };
}

pub(crate) use open_enumeration;
