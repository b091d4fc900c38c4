//! Log pages (SPC-5 7.3, SBC-4 6.4): parameters to bytes for the device, bytes to parameters for initiators.
//!
//! A page is a list of [`LogParameter`]s; which ones a unit has stands in `commands::logs`. The page of supported pages is a list of codes.

use crate::octets::{DecodeError, be16, need};

/// The pages by number.
pub mod page {
    /// Supported log pages.
    pub const SUPPORTED_PAGES: u8 = 0x00;
    /// Write error counters.
    pub const WRITE_ERRORS: u8 = 0x02;
    /// Read error counters.
    pub const READ_ERRORS: u8 = 0x03;
    /// Logical block provisioning.
    pub const LOGICAL_BLOCK_PROVISIONING: u8 = 0x0c;
    /// Temperature.
    pub const TEMPERATURE: u8 = 0x0d;
    /// Start-stop cycle counter.
    pub const START_STOP_CYCLES: u8 = 0x0e;
    /// Background scan.
    pub const BACKGROUND_SCAN: u8 = 0x15;
    /// General statistics and performance.
    pub const GENERAL_STATISTICS: u8 = 0x19;
    /// Informational exceptions.
    pub const INFORMATIONAL_EXCEPTIONS: u8 = 0x2f;
}

/// Subpage code that stands for all subpages.
pub const ALL_SUBPAGES: u8 = 0xff;

/// FORMAT AND LINKING of a parameter (SPC-5 table 340).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ParameterFormat {
    /// A counter that stops at its greatest value.
    BoundedCounter = 0,
    /// ASCII.
    Ascii = 1,
    /// A counter that may begin again at zero.
    UnboundedCounter = 2,
    /// Binary fields.
    Binary = 3,
}

impl ParameterFormat {
    const fn from_code(code: u8) -> Self {
        match code & 3 {
            0 => Self::BoundedCounter,
            1 => Self::Ascii,
            2 => Self::UnboundedCounter,
            _ => Self::Binary,
        }
    }
}

/// One parameter of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogParameter {
    /// PARAMETER CODE.
    pub code: u16,
    /// What the value is.
    pub format: ParameterFormat,
    /// The value, to 255 bytes.
    pub value: Vec<u8>,
}

impl LogParameter {
    /// A counter of eight bytes that begins again at zero.
    pub(crate) fn counter(code: u16, count: u64) -> Self {
        Self { code, format: ParameterFormat::UnboundedCounter, value: count.to_be_bytes().to_vec() }
    }

    pub(crate) fn binary(code: u16, value: Vec<u8>) -> Self {
        Self { code, format: ParameterFormat::Binary, value }
    }

    /// The value as a number, if it has no more than eight bytes.
    pub fn number(&self) -> Option<u64> {
        (self.value.len() <= 8).then(|| self.value.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn encode(&self, to: &mut Vec<u8>) {
        to.extend(self.code.to_be_bytes());
        to.extend([self.format as u8, self.value.len() as u8]);
        to.extend(&self.value);
    }

    /// Takes one parameter off the front of `list`; `None` if the list ends inside it.
    fn decode(list: &[u8]) -> Option<(Self, &[u8])> {
        let (&[high, low, control, length], rest) = list.split_first_chunk()?;
        let (value, rest) = rest.split_at_checked(length.into())?;
        let format = ParameterFormat::from_code(control);
        Some((Self { code: u16::from_be_bytes([high, low]), format, value: value.to_vec() }, rest))
    }
}

/// The counts of the parameter 0001h of the page of general statistics (SPC-5 7.3.9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Commands that read.
    pub read_commands: u64,
    /// Commands that write.
    pub write_commands: u64,
    /// Logical blocks that came from initiators.
    pub blocks_received: u64,
    /// Logical blocks that went to initiators.
    pub blocks_transmitted: u64,
}

impl Statistics {
    /// How long commands took is not measured, and told as zero.
    pub(crate) fn encode(&self) -> Vec<u8> {
        const BYTES: usize = 64;
        let counts = [self.read_commands, self.write_commands, self.blocks_received, self.blocks_transmitted];
        let mut value: Vec<u8> = counts.iter().flat_map(|count| count.to_be_bytes()).collect();
        value.resize(BYTES, 0);
        value
    }

    /// Reads the parameter's value; `None` if it is cut.
    pub fn decode(value: &[u8]) -> Option<Self> {
        let words = value.as_chunks::<8>().0.first_chunk::<4>()?;
        let [read_commands, write_commands, blocks_received, blocks_transmitted] = words.map(u64::from_be_bytes);
        Some(Self { read_commands, write_commands, blocks_received, blocks_transmitted })
    }
}

/// Two to this power blocks are a threshold set, the unit in which space is counted (THRESHOLD EXPONENT of VPD page B2h).
pub const THRESHOLD_EXPONENT: u8 = 11;

/// A count of space, of the page of logical block provisioning (SBC-4 6.4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceCount {
    /// RESOURCE COUNT, in threshold sets.
    pub threshold_sets: u32,
    /// SCOPE: 0 not told, 1 of the unit alone, 2 of others too.
    pub scope: u8,
}

impl ResourceCount {
    /// The parameter of what blocks can still take.
    pub const AVAILABLE: u16 = 0x0001;
    /// The parameter of what blocks have taken.
    pub const USED: u16 = 0x0002;
    const BYTES: usize = 8;

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut value = self.threshold_sets.to_be_bytes().to_vec();
        value.push(self.scope & 3);
        value.resize(Self::BYTES, 0);
        value
    }

    /// Reads the parameter's value; `None` if it is cut.
    pub fn decode(value: &[u8]) -> Option<Self> {
        let (count, rest) = value.split_first_chunk()?;
        Some(Self { threshold_sets: u32::from_be_bytes(*count), scope: rest.first()? & 3 })
    }
}

/// A page of parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPage {
    /// Page code, to 3Fh.
    pub code: u8,
    /// Subpage code.
    pub subpage: u8,
    /// The parameters, in the order of their codes.
    pub parameters: Vec<LogParameter>,
}

/// DS: the parameters are not saved.
const NOT_SAVED: u8 = 0x80;
/// SPF: the page has a subpage code.
const SUBPAGE_FORMAT: u8 = 0x40;
const HEADER_BYTES: usize = 4;

/// Puts the header before a page's `body`.
pub(crate) fn with_header(code: u8, subpage: u8, body: &[u8]) -> Vec<u8> {
    let format = if subpage == 0 { 0 } else { SUBPAGE_FORMAT };
    let mut bytes = vec![NOT_SAVED | format | code & 0x3f, subpage];
    bytes.extend((body.len() as u16).to_be_bytes());
    bytes.extend(body);
    bytes
}

/// Code, subpage code and body of a page as it came.
fn split(bytes: &[u8]) -> Result<(u8, u8, &[u8]), DecodeError> {
    let bytes = need("LOG SENSE data", bytes, HEADER_BYTES)?;
    let end = HEADER_BYTES + usize::from(be16(bytes, 2));
    let subpage = if bytes[0] & SUBPAGE_FORMAT == 0 { 0 } else { bytes[1] };
    Ok((bytes[0] & 0x3f, subpage, &bytes[HEADER_BYTES..end.min(bytes.len())]))
}

impl LogPage {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        self.parameters.iter().for_each(|parameter| parameter.encode(&mut body));
        with_header(self.code, self.subpage, &body)
    }

    /// Reads a page; a parameter that the allocation length has cut is left out.
    ///
    /// # Errors
    /// The header is cut.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (code, subpage, mut list) = split(bytes)?;
        let mut parameters = Vec::new();
        while let Some((parameter, rest)) = LogParameter::decode(list) {
            parameters.push(parameter);
            list = rest;
        }
        Ok(Self { code, subpage, parameters })
    }
}

/// Which pages there are: the page 00h, with subpages or without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupportedLogPages(pub Vec<(u8, u8)>);

impl SupportedLogPages {
    /// Reads the list of pages, or of pages and subpages.
    ///
    /// # Errors
    /// The header is cut, or is that of a page that is no list.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        match split(bytes)? {
            (page::SUPPORTED_PAGES, 0, list) => Ok(Self(list.iter().map(|code| (code & 0x3f, 0)).collect())),
            (_, ALL_SUBPAGES, list) => {
                Ok(Self(list.as_chunks::<2>().0.iter().map(|[code, subpage]| (code & 0x3f, *subpage)).collect()))
            }
            (code, ..) => {
                Err(DecodeError::Field { what: "supported log pages", field: "PAGE CODE", value: code.into() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pages_are_as_spc_draws_them() {
        let parameters = vec![LogParameter::counter(6, 0x0102), LogParameter::binary(0x1234, vec![0, 0xff])];
        let page = LogPage { code: page::READ_ERRORS, subpage: 0, parameters };
        let bytes = page.encode();
        let expected = [0x83, 0, 0, 18, 0, 6, 2, 8, 0, 0, 0, 0, 0, 0, 1, 2, 0x12, 0x34, 3, 2, 0, 0xff];
        assert_eq!(bytes, expected);
        assert_eq!(LogPage::decode(&bytes), Ok(page.clone()));
        assert_eq!(LogPage::decode(&bytes[..20]).unwrap().parameters, page.parameters[..1]);
        assert_eq!(page.parameters[0].number(), Some(0x0102));
    }

    #[test]
    fn lists_of_pages_are_read_in_both_forms() {
        let list = |bytes: &[u8]| SupportedLogPages::decode(bytes).map(|list| list.0);
        assert_eq!(list(&with_header(0, 0, &[0, 2, 3])), Ok(vec![(0, 0), (2, 0), (3, 0)]));
        assert_eq!(list(&with_header(0, 0xff, &[0, 0, 0, 0xff])), Ok(vec![(0, 0), (0, 0xff)]));
        assert!(list(&with_header(2, 0, &[])).is_err());
    }

    #[test]
    fn a_resource_count_is_as_sbc_draws_it() {
        let count = ResourceCount { threshold_sets: 0x0102_0304, scope: 2 };
        assert_eq!(count.encode(), [1, 2, 3, 4, 2, 0, 0, 0]);
        assert_eq!(ResourceCount::decode(&count.encode()), Some(count));
        assert_eq!(ResourceCount::decode(&[0; 4]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = SupportedLogPages::decode(&bytes);
            let _ = LogPage::decode(&bytes).map(|page| page.parameters.iter().filter_map(LogParameter::number).max());
        }
    }
}
