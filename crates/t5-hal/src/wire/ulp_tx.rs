//! ULP_TX: writing to the adapter's memory, and lists of where data is.
//!
//! Layouts can be looked up in FreeBSD's `sys/dev/cxgbe/common/t4_msg.h`.

use super::bits::bit_fields;
use super::layout::{Layout, WireError, codes, layout};
use super::work_request::{TpHeader, WorkRequestFlow, WorkRequestOp, WorkRequestOpcode, len16};
use smallvec::{SmallVec, smallvec};
use zerocopy::FromBytes;
use zerocopy::big_endian::{U32, U64};

codes! {
    /// Commands.
    UlpCommand: u8 {
        MemoryRead = 2,
        MemoryWrite = 3,
        Packet = 4,
    }

    /// Parts of commands.
    UlpPart: u8 {
        Noop = 0x80,
        /// Data that follows.
        Immediate = 0x81,
        /// A list of where data is.
        DataList = 0x82,
        IndirectList = 0x83,
        ProtectionControl = 0x84,
        MemoryRead = 0x86,
    }
}

bit_fields! {
    /// First word of a memory command.
    UlpMemoryCommand: u32 {
        /// A [`UlpCommand`].
        COMMAND = 31:24;
        /// The data follows, as a T5 has it.
        IMMEDIATE = 23:23;
        ORDER = 22:22;
        FID = 14:4;
    }

    /// How much a memory command moves.
    UlpMemoryLength: u32 {
        /// In units of 32 bytes.
        DATA = 4:0;
    }

    /// Where in the adapter's memory.
    UlpMemoryAddress: u32 {
        LOCK = 31:31;
        /// In units of 32 bytes.
        ADDRESS = 26:0;
    }

    /// First word of a part.
    UlpSubCommand: u32 {
        /// A [`UlpPart`].
        PART = 31:24;
        MORE = 23:23;
        /// Number of entries of a list.
        ENTRIES = 15:0;
    }
}

layout! {
    /// Writes to the adapter's memory; the data follows.
    UlpMemoryWrite = "ulp_mem_io and ulptx_idata", 40 {
        0 header: TpHeader;
        16 command: UlpMemoryCommand;
        20 len16: U32, "Length behind the header, in units of 16 bytes.";
        24 data_length: UlpMemoryLength;
        28 address: UlpMemoryAddress;
        32 part: UlpSubCommand;
        36 part_length: U32, "In bytes.";
    }

    /// A list of where data is: its first entry. More follow in pairs.
    UlpList = "ulptx_sgl", 16 {
        0 part: UlpSubCommand;
        4 length0: U32;
        8 address0: U64;
    }

    /// Two more entries of a list.
    UlpListPair = "ulptx_sge_pair", 24 {
        0 length: [U32; 2];
        8 address: [U64; 2];
    }
}

impl UlpMemoryWrite {
    /// The beginning of a work request that writes `bytes` bytes, which follow and are padded to a unit of 16, to that address of
    /// the adapter's memory.
    ///
    /// # Panics
    /// If the address or the length is no multiple of 32, or more than fits: bugs of the caller.
    #[must_use]
    pub fn immediate(flow: u32, address: u32, bytes: usize) -> Self {
        assert!(
            address.is_multiple_of(32) && bytes.is_multiple_of(32),
            "the adapter's memory is written in units of 32"
        );
        let whole = (size_of::<Self>() + bytes).next_multiple_of(16);
        Self {
            header: TpHeader {
                op: WorkRequestOp::of(WorkRequestOpcode::UlpTx, 0),
                flow: WorkRequestFlow::of(flow, whole),
                cookie: U64::ZERO,
            },
            command: UlpMemoryCommand::new()
                .with(UlpMemoryCommand::COMMAND, UlpCommand::MemoryWrite.to_wire().into())
                .with_bit(UlpMemoryCommand::IMMEDIATE, true),
            len16: len16(whole - size_of::<TpHeader>()).into(),
            data_length: UlpMemoryLength::new().with(UlpMemoryLength::DATA, (bytes / 32) as u32),
            address: UlpMemoryAddress::new().with(UlpMemoryAddress::ADDRESS, address / 32),
            part: UlpSubCommand::new().with(UlpSubCommand::PART, UlpPart::Immediate.to_wire().into()),
            part_length: (bytes as u32).into(),
        }
    }
}

/// Where a piece of data is, in the computer's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// Where the adapter finds it.
    pub address: u64,
    /// In bytes.
    pub length: u32,
}

/// The pieces of a list; those of a PDU take no memory of their own.
pub type Pieces = SmallVec<[Piece; 3]>;

/// Most pieces of one list: as many as the largest work request has room for.
pub const PIECES_MAX: usize = 40;

impl UlpList {
    /// Bytes that a list of `pieces` takes.
    #[must_use]
    pub const fn bytes(pieces: usize) -> usize {
        let pairs = pieces.saturating_sub(1);
        // The second of the last pair is left out, but for its length, which is there for the alignment.
        size_of::<Self>() + pairs / 2 * size_of::<UlpListPair>() + (pairs & 1) * 16
    }

    /// Writes a list.
    ///
    /// # Panics
    /// If there is no piece or more than [`PIECES_MAX`]: a bug of the caller.
    pub fn encode(pieces: &[Piece], out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + Self::bytes(pieces.len()), 0);
        Self::write(pieces, &mut out[start..]);
    }

    /// Writes a list to the front of `out`, and says how many bytes it took.
    ///
    /// # Panics
    /// If there is no piece, more than [`PIECES_MAX`], or no room for them: bugs of the caller.
    pub fn write(pieces: &[Piece], out: &mut [u8]) -> usize {
        use zerocopy::IntoBytes;
        assert!((1..=PIECES_MAX).contains(&pieces.len()), "a list has between 1 and {PIECES_MAX} pieces");
        let (first, mut rest) = out[..Self::bytes(pieces.len())].split_at_mut(size_of::<Self>());
        let part = UlpSubCommand::new()
            .with(UlpSubCommand::PART, UlpPart::DataList.to_wire().into())
            .with(UlpSubCommand::ENTRIES, pieces.len() as u32);
        let entry = Self { part, length0: pieces[0].length.into(), address0: pieces[0].address.into() };
        first.copy_from_slice(entry.as_bytes());
        for two in pieces[1..].chunks(2) {
            let mut pair = UlpListPair::default();
            for (at, piece) in two.iter().enumerate() {
                pair.length[at] = piece.length.into();
                pair.address[at] = piece.address.into();
            }
            let (to, behind) = rest.split_at_mut(rest.len().min(size_of::<UlpListPair>()));
            to.copy_from_slice(&pair.as_bytes()[..to.len()]);
            rest = behind;
        }
        Self::bytes(pieces.len())
    }

    /// Reads a list.
    ///
    /// # Errors
    /// It is no list, it says more pieces than it has or than [`PIECES_MAX`], or none.
    pub fn decode(bytes: &[u8]) -> Result<Pieces, WireError> {
        let (first, _) = Self::split_from(bytes)?;
        let opcode = first.part.get(UlpSubCommand::PART) as u8;
        if UlpPart::from_wire(opcode) != Some(UlpPart::DataList) {
            return Err(WireError::Opcode { what: "list of pieces", opcode });
        }
        let count = first.part.get(UlpSubCommand::ENTRIES) as usize;
        if !(1..=PIECES_MAX).contains(&count) {
            return Err(WireError::Length { name: Self::NAME, field: "nsge", value: count, expected: "1 to 40" });
        }
        let expected = Self::bytes(count);
        if bytes.len() < expected {
            return Err(WireError::Short { name: Self::NAME, expected, length: bytes.len() });
        }
        let mut pieces = smallvec![Piece { address: first.address0.get(), length: first.length0.get() }];
        for at in 0..count - 1 {
            let pair = &bytes[size_of::<Self>() + at / 2 * size_of::<UlpListPair>()..];
            let (length, address) = ((at & 1) * 4, 8 + (at & 1) * 8);
            let number = "a list has the bytes that its length says";
            let (length, _) = U32::read_from_prefix(&pair[length..]).expect(number);
            let (address, _) = U64::read_from_prefix(&pair[address..]).expect(number);
            pieces.push(Piece { address: address.get(), length: length.get() });
        }
        Ok(pieces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists_have_the_lengths_of_the_public_formula() {
        for pieces in 1..=PIECES_MAX {
            let flits = 3 * (pieces - 1) / 2 + ((pieces - 1) & 1) + 2;
            assert_eq!(UlpList::bytes(pieces), flits * 8, "{pieces} pieces");
        }
    }

    proptest! {
        #[test]
        fn lists_come_back(pieces in prop::collection::vec((any::<u64>(), any::<u32>()), 1..=PIECES_MAX)) {
            let pieces: Vec<Piece> = pieces.into_iter().map(|(address, length)| Piece { address, length }).collect();
            let mut bytes = Vec::new();
            UlpList::encode(&pieces, &mut bytes);
            prop_assert_eq!(bytes.len(), UlpList::bytes(pieces.len()));
            prop_assert_eq!(UlpList::decode(&bytes).unwrap().into_vec(), pieces);
            bytes.pop();
            prop_assert!(UlpList::decode(&bytes).is_err());
        }

        #[test]
        fn any_bytes_are_a_list_or_an_error(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Some(first) = bytes.first_mut() {
                *first = 0x82;
            }
            if let Ok(pieces) = UlpList::decode(&bytes) {
                prop_assert!(UlpList::bytes(pieces.len()) <= bytes.len());
            }
        }
    }
}
