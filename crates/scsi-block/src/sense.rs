//! Sense data (SPC-5 4.4): why a command did not simply end well.
//!
//! In: a sense key, an additional sense code and what belongs to it, or the bytes that a device sent. Out: the bytes
//! in fixed or descriptor format, or the values. Anything a device sends decodes or gives an error; codes without a
//! name here keep their number.

mod codes;
mod third_party;

use bytes::Bytes;

pub use codes::{AdditionalSense, SenseKey};
pub use third_party::ThirdParty;

use crate::io::IoError;
use crate::octets::{DecodeError, be16, be32, be64, need};

/// Which of the two layouts sense data has (the D_SENSE bit of the control mode page chooses).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SenseFormat {
    /// 18 bytes, INFORMATION of 32 bits (SPC-5 4.4.3).
    #[default]
    Fixed,
    /// A header and descriptors, INFORMATION of 64 bits (SPC-5 4.4.2).
    Descriptor,
}

/// The field that an ILLEGAL REQUEST is about (SPC-5 4.4.2.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldPointer {
    /// Whether the field is in the CDB (or else in the parameter list).
    pub in_cdb: bool,
    /// The byte that holds its most significant bit.
    pub byte: u16,
    /// That bit, if the pointer is so exact.
    pub bit: Option<u8>,
}

/// What sense data says. [`encode`](Self::encode) and [`decode`](Self::decode) turn it into bytes and back.
///
/// ```
/// use scsi_block::sense::{AdditionalSense, Sense, SenseFormat, SenseKey};
///
/// let sense = Sense::new(SenseKey::Miscompare, AdditionalSense::MISCOMPARE_DURING_VERIFY).with_information(512);
/// let bytes = sense.encode(SenseFormat::Fixed);
/// assert_eq!(Sense::decode(&bytes), Ok(sense));
/// assert_eq!(sense.to_string(), "MISCOMPARE, MISCOMPARE DURING VERIFY OPERATION (0x1d/0x00), information 512");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sense {
    /// What kind of trouble it is.
    pub key: SenseKey,
    /// What it is exactly.
    pub additional: AdditionalSense,
    /// The INFORMATION field, if valid: for a miscompare, the offset in bytes of the first difference.
    pub information: Option<u64>,
    /// The field that is wrong, for ILLEGAL REQUEST.
    pub field: Option<FieldPointer>,
    /// How much has been done, in 65536ths, for NOT READY and NO SENSE (SPC-5 4.4.2.4.4).
    pub progress: Option<u16>,
    /// The segment at which a copy has stopped, in the COMMAND-SPECIFIC INFORMATION of COPY ABORTED (SPC-5 5.18.7).
    pub segment: Option<u16>,
    /// What the source or destination of a copy has said, for COPY ABORTED.
    pub third_party: Option<ThirdParty>,
}

impl Sense {
    /// No sense: nothing to tell.
    pub const NONE: Self = Self::new(SenseKey::NoSense, AdditionalSense::NONE);

    /// Sense with neither information nor field pointer.
    pub const fn new(key: SenseKey, additional: AdditionalSense) -> Self {
        Self { key, additional, information: None, field: None, progress: None, segment: None, third_party: None }
    }

    /// ILLEGAL REQUEST with `additional`.
    pub const fn illegal(additional: AdditionalSense) -> Self {
        Self::new(SenseKey::IllegalRequest, additional)
    }

    /// ILLEGAL REQUEST, INVALID FIELD IN CDB, with the pointer to the field's most significant bit.
    pub const fn invalid_cdb_field(byte: u16, bit: u8) -> Self {
        let field = FieldPointer { in_cdb: true, byte, bit: Some(bit) };
        Self { field: Some(field), ..Self::illegal(AdditionalSense::INVALID_FIELD_IN_CDB) }
    }

    /// ILLEGAL REQUEST, INVALID FIELD IN PARAMETER LIST, with the pointer to the field.
    pub const fn invalid_parameter(byte: u16, bit: Option<u8>) -> Self {
        let field = FieldPointer { in_cdb: false, byte, bit };
        Self { field: Some(field), ..Self::illegal(AdditionalSense::INVALID_FIELD_IN_PARAMETER_LIST) }
    }

    /// The same with the INFORMATION field set.
    #[must_use]
    pub const fn with_information(self, information: u64) -> Self {
        Self { information: Some(information), ..self }
    }

    /// The same with a progress indication.
    #[must_use]
    pub const fn with_progress(self, progress: u16) -> Self {
        Self { progress: Some(progress), ..self }
    }

    /// The same with the segment at which a copy has stopped.
    #[must_use]
    pub const fn with_segment(self, segment: u16) -> Self {
        Self { segment: Some(segment), ..self }
    }

    /// The same with what a source or destination has said.
    #[must_use]
    pub const fn with_third_party(self, said: ThirdParty) -> Self {
        Self { third_party: Some(said), ..self }
    }

    /// The sense-key specific bytes, if there is something to say in them.
    fn specific(&self) -> Option<[u8; 3]> {
        let progress = self.progress.map(|progress| {
            let [high, low] = progress.to_be_bytes();
            [0x80, high, low]
        });
        self.field.map(FieldPointer::encode).or(progress)
    }

    /// The bytes of current (not deferred) sense data. Fixed format has no room for information above 32 bits and
    /// leaves VALID at zero then.
    pub fn encode(&self, format: SenseFormat) -> Bytes {
        match format {
            SenseFormat::Fixed => self.encode_fixed(),
            SenseFormat::Descriptor => self.encode_descriptors(),
        }
    }

    fn encode_fixed(&self) -> Bytes {
        let mut bytes = [0; FIXED_BYTES];
        bytes[0] = CURRENT_FIXED;
        if let Some(information) = self.information.and_then(|information| u32::try_from(information).ok()) {
            bytes[0] |= VALID;
            bytes[3..7].copy_from_slice(&information.to_be_bytes());
        }
        bytes[2] = self.key.code();
        bytes[7] = FIXED_BYTES as u8 - 8;
        bytes[12..14].copy_from_slice(&self.additional.code().to_be_bytes());
        if let Some(specific) = self.specific() {
            bytes[15..18].copy_from_slice(&specific);
        }
        if let Some(segment) = self.segment {
            bytes[10..12].copy_from_slice(&segment.to_be_bytes());
        }
        match self.third_party {
            Some(said) => said.append_to_fixed(bytes),
            None => Bytes::copy_from_slice(&bytes),
        }
    }

    fn encode_descriptors(&self) -> Bytes {
        let [code, qualifier] = self.additional.code().to_be_bytes();
        let mut bytes = vec![CURRENT_DESCRIPTOR, self.key.code(), code, qualifier, 0, 0, 0, 0];
        if let Some(information) = self.information {
            bytes.extend([INFORMATION_DESCRIPTOR, 0x0a, VALID, 0]);
            bytes.extend(information.to_be_bytes());
        }
        if let Some(specific) = self.specific() {
            bytes.extend([SENSE_KEY_SPECIFIC_DESCRIPTOR, 0x06, 0, 0]);
            bytes.extend(specific);
            bytes.push(0);
        }
        if let Some(segment) = self.segment {
            bytes.extend([COMMAND_SPECIFIC_DESCRIPTOR, 0x0a, 0, 0]);
            bytes.extend(u64::from(segment).to_be_bytes());
        }
        if let Some(said) = self.third_party {
            said.encode_descriptor(&mut bytes);
        }
        bytes[7] = (bytes.len() - 8) as u8;
        bytes.into()
    }

    /// Reads sense data of either format, current or deferred. Fixed format may be cut after the sense key.
    ///
    /// # Errors
    /// The bytes are too few, or their response code is not one of 70h to 73h.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "sense data";
        match need(WHAT, bytes, 4)?[0] & 0x7f {
            0x70 | 0x71 => Ok(Self::decode_fixed(bytes)),
            0x72 | 0x73 => Ok(Self::decode_descriptors(bytes)),
            other => Err(DecodeError::Field { what: WHAT, field: "RESPONSE CODE", value: other.into() }),
        }
    }

    fn decode_fixed(bytes: &[u8]) -> Self {
        let key = SenseKey::from_code(bytes[2]);
        Self {
            key,
            additional: AdditionalSense::from_code(be16(bytes, 12)),
            information: (bytes[0] & VALID != 0).then(|| be32(bytes, 3).into()),
            field: bytes.get(15..18).and_then(|specific| FieldPointer::decode(key, specific)),
            progress: bytes.get(15..18).and_then(|specific| progress(key, specific)),
            segment: bytes.get(8..12).filter(|_| key == SenseKey::CopyAborted).map(|specific| be16(specific, 2)),
            third_party: Some(bytes).filter(|_| key == SenseKey::CopyAborted).and_then(ThirdParty::decode_fixed),
        }
    }

    fn decode_descriptors(bytes: &[u8]) -> Self {
        let key = SenseKey::from_code(bytes[1]);
        let mut sense = Self::new(key, AdditionalSense::from_code(be16(bytes, 2)));
        let mut rest = bytes.get(8..).unwrap_or_default();
        while let [kind, length, ..] = *rest {
            let end = (2 + usize::from(length)).min(rest.len());
            let (descriptor, after) = rest.split_at(end);
            match kind {
                INFORMATION_DESCRIPTOR if end >= 12 => sense.information = Some(be64(descriptor, 4)),
                SENSE_KEY_SPECIFIC_DESCRIPTOR if end >= 7 => {
                    sense.field = FieldPointer::decode(key, &descriptor[4..7]);
                    sense.progress = progress(key, &descriptor[4..7]);
                }
                COMMAND_SPECIFIC_DESCRIPTOR if end >= 12 && key == SenseKey::CopyAborted => {
                    sense.segment = Some(be16(descriptor, 10));
                }
                ThirdParty::DESCRIPTOR if key == SenseKey::CopyAborted => {
                    sense.third_party = ThirdParty::decode_descriptor(descriptor);
                }
                _ => {}
            }
            rest = after;
        }
        sense
    }
}

/// No sense data is longer (SPC-4 4.5.1).
pub const SENSE_BYTES_MAX: u8 = 252;
const FIXED_BYTES: usize = 18;
const CURRENT_FIXED: u8 = 0x70;
const CURRENT_DESCRIPTOR: u8 = 0x72;
const VALID: u8 = 0x80;
const INFORMATION_DESCRIPTOR: u8 = 0x00;
const COMMAND_SPECIFIC_DESCRIPTOR: u8 = 0x01;
const SENSE_KEY_SPECIFIC_DESCRIPTOR: u8 = 0x02;

/// The progress indication in the sense-key specific bytes.
fn progress(key: SenseKey, specific: &[u8]) -> Option<u16> {
    let valid = matches!(key, SenseKey::NotReady | SenseKey::NoSense) && specific[0] & 0x80 != 0;
    valid.then(|| be16(specific, 1))
}

impl FieldPointer {
    fn encode(self) -> [u8; 3] {
        let [high, low] = self.byte.to_be_bytes();
        let bit = self.bit.map_or(0, |bit| 0x08 | bit & 0x07);
        [0x80 | u8::from(self.in_cdb) << 6 | bit, high, low]
    }

    fn decode(key: SenseKey, specific: &[u8]) -> Option<Self> {
        let valid = key == SenseKey::IllegalRequest && specific[0] & 0x80 != 0;
        valid.then(|| Self {
            in_cdb: specific[0] & 0x40 != 0,
            byte: be16(specific, 1),
            bit: (specific[0] & 0x08 != 0).then_some(specific[0] & 0x07),
        })
    }
}

impl std::fmt::Display for Sense {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {}", self.key, self.additional)?;
        if let Some(information) = self.information {
            write!(f, ", information {information}")?;
        }
        if let Some(field) = self.field {
            let place = if field.in_cdb { "CDB" } else { "parameter list" };
            write!(f, ", {place} byte {}", field.byte)?;
        }
        if let Some(progress) = self.progress {
            write!(f, ", {} % done", u32::from(progress) * 100 / 65536)?;
        }
        if let Some(segment) = self.segment {
            write!(f, ", segment {segment}")?;
        }
        if let Some(said) = self.third_party {
            write!(f, ", {said}")?;
        }
        Ok(())
    }
}

/// The sense that each failure of a store becomes: the one table.
pub const fn from_io_error(error: IoError) -> Sense {
    match error {
        IoError::Read => Sense::new(SenseKey::MediumError, AdditionalSense::UNRECOVERED_READ_ERROR),
        IoError::Write => Sense::new(SenseKey::MediumError, AdditionalSense::WRITE_ERROR),
        IoError::NoSpace => Sense::new(SenseKey::DataProtect, AdditionalSense::SPACE_ALLOCATION_FAILED_WRITE_PROTECT),
        IoError::ReadOnly => Sense::new(SenseKey::DataProtect, AdditionalSense::WRITE_PROTECTED),
        IoError::Miscompare { offset } => {
            Sense::new(SenseKey::Miscompare, AdditionalSense::MISCOMPARE_DURING_VERIFY).with_information(offset)
        }
        IoError::NotReady => Sense::new(SenseKey::NotReady, AdditionalSense::NOT_READY_CAUSE_NOT_REPORTABLE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fixed_format_is_what_spc_draws() {
        let sense = Sense::invalid_cdb_field(1, 7);
        let bytes = [0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x24, 0, 0, 0xcf, 0, 1];
        assert_eq!(sense.encode(SenseFormat::Fixed), &bytes[..]);
    }

    #[test]
    fn descriptor_format_is_what_spc_draws() {
        let sense = Sense::new(SenseKey::Miscompare, AdditionalSense::MISCOMPARE_DURING_VERIFY).with_information(7);
        let bytes = [0x72, 0x0e, 0x1d, 0, 0, 0, 0, 12, 0, 10, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 7];
        assert_eq!(sense.encode(SenseFormat::Descriptor), &bytes[..]);
    }

    #[test]
    fn fixed_format_drops_information_that_does_not_fit() {
        let sense = Sense::NONE.with_information(1 << 32);
        assert_eq!(Sense::decode(&sense.encode(SenseFormat::Fixed)).unwrap().information, None);
        assert_eq!(Sense::decode(&sense.encode(SenseFormat::Descriptor)), Ok(sense));
    }

    proptest! {
        #[test]
        fn both_formats_come_back(key in 0u8..16, code: u16, information: Option<u32>, field: Option<(bool, u16, Option<u8>)>, done: Option<u16>, segment: u16, said: Option<(bool, u8, u16)>) {
            let key = SenseKey::from_code(key);
            let field = field.filter(|_| key == SenseKey::IllegalRequest);
            let sense = Sense {
                key,
                additional: AdditionalSense::from_code(code),
                information: information.map(u64::from),
                field: field.map(|(in_cdb, byte, bit)| FieldPointer { in_cdb, byte, bit: bit.map(|bit| bit & 7) }),
                progress: done.filter(|_| matches!(key, SenseKey::NotReady | SenseKey::NoSense)),
                segment: (key == SenseKey::CopyAborted).then_some(segment),
                third_party: said.filter(|_| key == SenseKey::CopyAborted).map(|(is_source, status, code)| ThirdParty {
                    is_source,
                    status,
                    key: SenseKey::DataProtect,
                    additional: AdditionalSense::from_code(code),
                }),
            };
            prop_assert_eq!(Sense::decode(&sense.encode(SenseFormat::Fixed)), Ok(sense));
            prop_assert_eq!(Sense::decode(&sense.encode(SenseFormat::Descriptor)), Ok(sense));
        }

        #[test]
        fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Sense::decode(&bytes);
        }
    }
}
