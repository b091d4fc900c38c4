//! [`FunctionId`]: which function of an adapter, as commands, work requests and registers name it.

use std::fmt;

/// A function of an adapter: a physical one, or a virtual one that belongs to it.
///
/// ```
/// use t5_hal::wire::FunctionId;
///
/// let third = FunctionId::virtual_of(0, 3);
/// assert_eq!((third.to_string(), third.to_wire()), ("PF0 VF3".into(), 0x003));
/// assert_eq!((third.parent(), FunctionId::from_wire(0x400)), (FunctionId::physical(0), Some(FunctionId::physical(4))));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionId {
    pf: u8,
    /// 0 for the physical function itself.
    vf: u8,
}

impl FunctionId {
    /// A physical function, 0 to 7.
    ///
    /// # Panics
    /// If there is no such function: a bug of the caller.
    #[must_use]
    pub const fn physical(pf: u8) -> Self {
        assert!(pf < 8, "an adapter has eight physical functions");
        Self { pf, vf: 0 }
    }

    /// A virtual function of a physical one; they are counted from 1 to 127, as in commands 0 means the physical one (our choice).
    ///
    /// # Panics
    /// If there can be no such function: a bug of the caller.
    #[must_use]
    pub const fn virtual_of(pf: u8, vf: u8) -> Self {
        assert!(pf < 8 && 0 < vf && vf < 128, "a virtual function is one of 127 of one of eight");
        Self { pf, vf }
    }

    /// The number of the physical function.
    #[must_use]
    pub const fn pf(self) -> u8 {
        self.pf
    }

    /// The number of the virtual function, from 1; none of a physical one.
    #[must_use]
    pub const fn vf(self) -> Option<u8> {
        if self.is_virtual() { Some(self.vf) } else { None }
    }

    /// Whether it is a virtual one.
    #[must_use]
    pub const fn is_virtual(self) -> bool {
        self.vf > 0
    }

    /// The physical function that it belongs to, or is.
    #[must_use]
    pub const fn parent(self) -> Self {
        Self { pf: self.pf, vf: 0 }
    }

    /// In the form of PFNVFN and of the target of a command: PF in bits 10:8, VF in 7:0.
    #[must_use]
    pub const fn to_wire(self) -> u32 {
        (self.pf as u32) << 8 | self.vf as u32
    }

    /// As the register PL_WHOAMI of the function tells it: PF in bits 10:8, and for a virtual one bit 7 and its number in 6:0 (our choice).
    #[must_use]
    pub const fn to_whoami(self) -> u32 {
        self.to_wire() | (self.is_virtual() as u32) << 7
    }

    /// The function that PL_WHOAMI tells of, if there can be one.
    #[must_use]
    pub const fn from_whoami(value: u32) -> Option<Self> {
        let (pf, is_virtual, vf) = ((value >> 8 & 7) as u8, value & 0x80 != 0, (value & 0x7f) as u8);
        match (is_virtual, vf) {
            (false, _) => Some(Self { pf, vf: 0 }),
            (true, 0) => None,
            (true, _) => Some(Self { pf, vf }),
        }
    }

    /// The function of that form, if there can be one.
    #[must_use]
    pub const fn from_wire(value: u32) -> Option<Self> {
        if value >> 11 == 0 && value & 0x80 == 0 {
            Some(Self { pf: (value >> 8) as u8, vf: value as u8 })
        } else {
            None
        }
    }
}

impl fmt::Display for FunctionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PF{}", self.pf)?;
        self.vf().map_or(Ok(()), |vf| write!(formatter, " VF{vf}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_one_function_or_none() {
        for value in 0..1 << 13 {
            match FunctionId::from_wire(value) {
                Some(function) => {
                    assert_eq!(function.to_wire(), value);
                    assert_eq!(FunctionId::from_whoami(function.to_whoami()), Some(function));
                }
                None => assert!(value >= 0x800 || value & 0x80 != 0, "{value:#x}"),
            }
        }
    }
}
