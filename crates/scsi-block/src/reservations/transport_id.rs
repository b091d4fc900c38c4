//! TransportIDs: the names of initiator ports in the transport's own words (SPC-5 7.6.4).
//!
//! In: a name, or the bytes of a parameter list. Out: the other. The bytes are kept in one form, so that two that name the same port
//! are equal: text in lower case, as iSCSI compares names, and no more padding than is asked for.

use std::fmt;

use crate::octets::{DecodeError, be16};

/// One TransportID: at most 252 bytes.
///
/// ```
/// use scsi_block::reservations::TransportId;
///
/// let port = TransportId::iscsi_port("iqn.2026-01.org.example:host", [0, 2, 0x3d, 0, 0, 1]);
/// assert_eq!(port.to_string(), "iqn.2026-01.org.example:host,i,0x00023d000001");
/// assert_eq!("iqn.2026-01.org.example:host,i,0x00023d000001".parse(), Ok(port));
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransportId(Box<[u8]>);

/// Text that names no initiator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected an iSCSI name of 1 to 223 characters, with \",i,0x\" and 12 hexadecimal digits behind it to name one port"
)]
pub struct NotATransportId;

const WHAT: &str = "a TransportID";
/// Bytes of one whose form has no length of its own.
const FIXED_BYTES: usize = 24;
/// ADDITIONAL LENGTH is at least this.
const ADDITIONAL_BYTES_MIN: usize = 20;
/// The longest iSCSI name and what names a port of it: `,i,0x` and 12 digits.
const NAME_BYTES_MAX: usize = 223;
const ISID_BYTES: usize = 17;
const ISID_MARK: &str = ",i,0x";

impl TransportId {
    /// PROTOCOL IDENTIFIER of iSCSI.
    pub const ISCSI: u8 = 0x5;
    /// FORMAT CODE of an iSCSI name: all ports of that initiator.
    const DEVICE_FORMAT: u8 = 0b00;
    /// FORMAT CODE of an iSCSI name with an ISID: one port.
    const PORT_FORMAT: u8 = 0b01;

    /// An iSCSI initiator, by its name: all of its ports.
    pub fn iscsi_device(name: &str) -> Self {
        Self::text(Self::DEVICE_FORMAT, name)
    }

    // RFC 7143 4.4.2-3.
    /// An iSCSI initiator port, by the name and the ISID.
    pub fn iscsi_port(name: &str, isid: [u8; 6]) -> Self {
        let digits = isid.map(|byte| format!("{byte:02x}")).concat();
        Self::text(Self::PORT_FORMAT, &format!("{name}{ISID_MARK}{digits}"))
    }

    fn text(format: u8, text: &str) -> Self {
        let mut bytes = vec![format << 6 | Self::ISCSI, 0, 0, 0];
        bytes.extend(text.bytes().take(NAME_BYTES_MAX + ISID_BYTES).map(|byte| byte.to_ascii_lowercase()));
        let additional = (bytes.len() - 4 + 1).next_multiple_of(4).max(ADDITIONAL_BYTES_MIN);
        bytes.resize(4 + additional, 0);
        bytes[2..4].copy_from_slice(&(additional as u16).to_be_bytes());
        Self(bytes.into())
    }

    /// Takes one off the front of `list`.
    ///
    /// # Errors
    /// The list ends inside it, or it is of iSCSI and names nothing.
    pub fn decode(list: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let short = |needed| DecodeError::Short { what: WHAT, there: list.len(), needed };
        let [first, _, _, _, ..] = *list else { return Err(short(FIXED_BYTES)) };
        let wrong = |field, value| DecodeError::Field { what: WHAT, field, value };
        if first & 0x0f != Self::ISCSI {
            let (id, rest) = list.split_at_checked(FIXED_BYTES).ok_or(short(FIXED_BYTES))?;
            return Ok((Self(id.into()), rest));
        }
        let additional = usize::from(be16(list, 2));
        if additional < ADDITIONAL_BYTES_MIN || additional % 4 != 0 {
            return Err(wrong("ADDITIONAL LENGTH", additional as u64));
        }
        let (id, rest) = list.split_at_checked(4 + additional).ok_or(short(4 + additional))?;
        let text = id[4..].split(|byte| *byte == 0).next().and_then(|text| std::str::from_utf8(text).ok());
        let format = first >> 6;
        match text.ok_or(NotATransportId).and_then(str::parse::<Self>) {
            Ok(id) if id.0[0] == first => Ok((id, rest)),
            _ => Err(wrong("FORMAT CODE or ISCSI NAME", format.into())),
        }
    }

    /// Whether it names an initiator with all of its ports.
    pub(crate) fn names_all_ports(&self) -> bool {
        self.0[0] == Self::DEVICE_FORMAT << 6 | Self::ISCSI
    }

    /// The bytes as they are sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::str::FromStr for TransportId {
    type Err = NotATransportId;

    /// An iSCSI name, with or without an ISID.
    fn from_str(text: &str) -> Result<Self, NotATransportId> {
        let is_name = |name: &str| (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains([',', '\0']);
        match text.split_once(ISID_MARK) {
            None if is_name(text) => Ok(Self::iscsi_device(text)),
            Some((name, isid)) if is_name(name) && isid.len() == 12 && isid.bytes().all(|b| b.is_ascii_hexdigit()) => {
                Ok(Self::text(Self::PORT_FORMAT, text))
            }
            _ => Err(NotATransportId),
        }
    }
}

impl fmt::Display for TransportId {
    /// The name as iSCSI writes it; bytes of other protocols as hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0[0] & 0x0f {
            Self::ISCSI => f.write_str(String::from_utf8_lossy(&self.0[4..]).trim_end_matches('\0')),
            _ => self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

impl fmt::Debug for TransportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransportId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // RFC 7143 4.4.2-3.
    #[test]
    fn both_forms_are_as_spc_draws_them() {
        let device = TransportId::iscsi_device("iqn.a:b");
        assert_eq!(device.as_bytes()[..12], [0x05, 0, 0, 20, b'i', b'q', b'n', b'.', b'a', b':', b'b', 0]);
        let port = TransportId::iscsi_port("iqn.2026-01.org:host", [0x80, 0, 0, 0, 0, 0xff]);
        assert_eq!(port.as_bytes()[..4], [0x45, 0, 0, 40]);
        assert_eq!(TransportId::decode(port.as_bytes()), Ok((port.clone(), &[][..])));
    }

    #[test]
    fn forms_of_one_name_are_equal() {
        let mut padded = TransportId::iscsi_device("iqn.a:b").as_bytes().to_vec();
        padded.extend([0; 8]);
        padded[3] = 28;
        padded[4] = b'I';
        assert_eq!(TransportId::decode(&padded).unwrap().0, TransportId::iscsi_device("iqn.a:b"));
    }

    #[test]
    fn what_names_nothing_is_refused() {
        let port = TransportId::iscsi_port("iqn.a:b", [0; 6]);
        for end in 0..port.as_bytes().len() {
            assert!(TransportId::decode(&port.as_bytes()[..end]).is_err());
        }
        let changed = |at: usize, byte| {
            let mut bytes = port.as_bytes().to_vec();
            bytes[at] = byte;
            TransportId::decode(&bytes).is_err()
        };
        assert!(changed(0, 0x05), "a port is no device");
        assert!(changed(0, 0x85), "there is no third form");
        assert!(changed(4, 0), "a name has letters");
        assert!(changed(4, 0xff), "and is UTF-8");
        assert!(changed(3, 16) && changed(3, 25));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail(mut bytes in prop::collection::vec(any::<u8>(), 4..80), iscsi: bool) {
            if iscsi {
                bytes[0] = bytes[0] & 0xf0 | TransportId::ISCSI;
                bytes[2] = 0;
            }
            if let Ok((id, _)) = TransportId::decode(&bytes) {
                prop_assert_eq!(TransportId::decode(id.as_bytes()).unwrap().0, id);
            }
        }
    }
}
