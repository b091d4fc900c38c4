//! Parameter data of REPORT TARGET PORT GROUPS and SET TARGET PORT GROUPS (SPC-4 6.37, 6.45): values to bytes and back, for both ends.

use super::AccessState;
use crate::octets::{DecodeError, be16, be32, need};
use crate::sense::{AdditionalSense, Sense};

/// What REPORT TARGET PORT GROUPS gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessReport {
    /// IMPLICIT TRANSITION TIME in seconds, which the extended header has; 0 says nothing.
    pub transition_seconds: u8,
    /// The groups.
    pub groups: Vec<GroupReport>,
}

/// One target port group, as it stands for the unit that was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupReport {
    /// TARGET PORT GROUP.
    pub group: u16,
    /// PREF.
    pub preferred: bool,
    /// ASYMMETRIC ACCESS STATE: see [`AccessState::name_of`].
    pub state: u8,
    /// The bits of byte 1, of which each says that a state is supported: see [`supports`](Self::supports).
    pub supported: u8,
    /// STATUS CODE: who has changed the state last: 0 nobody, 1 SET TARGET PORT GROUPS, 2 the device by itself.
    pub status: u8,
    /// The relative identifiers of its ports.
    pub ports: Vec<u16>,
}

/// PARAMETER DATA FORMAT, and RETURN DATA FORMAT in the header: the data has the extended header.
pub(crate) const EXTENDED_HEADER: u8 = 1;

const WHAT: &str = "REPORT TARGET PORT GROUPS data";
const LENGTH_BYTES: usize = 4;
const EXTENDED_BYTES: usize = 8;
const GROUP_BYTES: usize = 8;
const PORT_BYTES: usize = 4;
const PREFERRED: u8 = 0x80;

/// The bit of byte 1 that says whether a state is supported; none of a state that has no bit.
const fn support_bit(state: u8) -> u8 {
    match state {
        0x0..=0x4 => 1 << state,
        0xe => 1 << 6,
        0xf => 1 << 7,
        _ => 0,
    }
}

impl GroupReport {
    /// Whether a group can be in the state with this number.
    pub fn supports(&self, state: u8) -> bool {
        self.supported & support_bit(state) != 0
    }

    pub(super) fn support_of(states: &[AccessState]) -> u8 {
        states.iter().fold(0, |bits, state| bits | support_bit(state.code()))
    }

    fn encode(&self, to: &mut Vec<u8>) {
        let preferred = if self.preferred { PREFERRED } else { 0 };
        to.extend([preferred | self.state & 0x0f, self.supported]);
        to.extend(self.group.to_be_bytes());
        to.extend([0, self.status, 0, self.ports.len() as u8]);
        to.extend(self.ports.iter().flat_map(|port| u32::from(*port).to_be_bytes()));
    }

    /// Takes one group off the front of `list`; `None` if the list ends inside it.
    fn decode(list: &[u8]) -> Option<(Self, &[u8])> {
        let (head, rest) = list.split_first_chunk::<GROUP_BYTES>()?;
        let (ports, rest) = rest.split_at_checked(usize::from(head[7]) * PORT_BYTES)?;
        let group = Self {
            group: be16(head, 2),
            preferred: head[0] & PREFERRED != 0,
            state: head[0] & 0x0f,
            supported: head[1],
            status: head[5],
            ports: ports.as_chunks::<PORT_BYTES>().0.iter().map(|port| be16(port, 2)).collect(),
        };
        Some((group, rest))
    }
}

impl AccessReport {
    pub(crate) fn encode(&self, extended: bool) -> Vec<u8> {
        let mut bytes = vec![0; LENGTH_BYTES];
        if extended {
            bytes.extend([EXTENDED_HEADER << 4, self.transition_seconds, 0, 0]);
        }
        self.groups.iter().for_each(|group| group.encode(&mut bytes));
        let length = (bytes.len() - LENGTH_BYTES) as u32;
        bytes[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
        bytes
    }

    /// Bytes that the whole answer has; more than came if the allocation length was too small.
    ///
    /// # Errors
    /// There are fewer than four bytes.
    pub fn bytes_needed(bytes: &[u8]) -> Result<u64, DecodeError> {
        Ok(u64::from(be32(need(WHAT, bytes, LENGTH_BYTES)?, 0)) + LENGTH_BYTES as u64)
    }

    /// Reads the answer, with or without the extended header; a group that the allocation length has cut is left out.
    ///
    /// # Errors
    /// There are fewer than four bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let end = usize::try_from(Self::bytes_needed(bytes)?).unwrap_or(usize::MAX).min(bytes.len());
        let is_extended = end >= EXTENDED_BYTES && bytes[4] >> 4 & 7 == EXTENDED_HEADER;
        let begin = if is_extended { EXTENDED_BYTES } else { LENGTH_BYTES };
        let mut report = Self { transition_seconds: if is_extended { bytes[5] } else { 0 }, groups: Vec::new() };
        let mut list = &bytes[begin..end];
        while let Some((group, rest)) = GroupReport::decode(list) {
            report.groups.push(group);
            list = rest;
        }
        Ok(report)
    }
}

/// The parameter list of SET TARGET PORT GROUPS: groups, and the state that each is to take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetAccessList(pub Vec<(u16, AccessState)>);

const LIST_HEADER_BYTES: usize = 4;
const DESCRIPTOR_BYTES: usize = 4;

impl SetAccessList {
    /// Bytes of the longest list that a unit looks at: more groups than a device has would name one twice.
    pub(crate) const BYTES_MAX: u64 = (LIST_HEADER_BYTES + DESCRIPTOR_BYTES * crate::ports::GROUPS_MAX) as u64;

    /// The bytes to send with [`Cdb::set_target_port_groups`](crate::cdb::Cdb::set_target_port_groups).
    pub fn encode(&self) -> Vec<u8> {
        let descriptor = |(group, state): &(u16, AccessState)| {
            let [high, low] = group.to_be_bytes();
            [state.code(), 0, high, low]
        };
        [0; LIST_HEADER_BYTES].into_iter().chain(self.0.iter().flat_map(descriptor)).collect()
    }

    /// Reads a list as a device does.
    ///
    /// # Errors
    /// The sense to refuse it with: its length is wrong, or it asks for a state that no group can be put into.
    pub fn decode(bytes: &[u8]) -> Result<Self, Sense> {
        let length_error = Sense::illegal(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);
        let list = bytes.get(LIST_HEADER_BYTES..).ok_or(length_error)?;
        let (descriptors, rest) = list.as_chunks::<DESCRIPTOR_BYTES>();
        if !rest.is_empty() {
            return Err(length_error);
        }
        let read = |(index, descriptor): (usize, &[u8; DESCRIPTOR_BYTES])| {
            let state = AccessState::from_code(descriptor[0] & 0x0f).filter(|state| state.is_settable());
            let refused = Sense::invalid_parameter(Self::offset(index), Some(3));
            state.map(|state| (be16(descriptor, 2), state)).ok_or(refused)
        };
        descriptors.iter().enumerate().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// The sense that points at the group of a descriptor.
    pub(crate) fn refuse_group(index: usize) -> Sense {
        Sense::invalid_parameter(Self::offset(index) + 2, None)
    }

    fn offset(index: usize) -> u16 {
        (LIST_HEADER_BYTES + index * DESCRIPTOR_BYTES) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn report() -> AccessReport {
        let first = GroupReport {
            group: 0x0102,
            preferred: true,
            state: 0,
            supported: GroupReport::support_of(&AccessState::ALL),
            status: 2,
            ports: vec![0x0304, 0x0506],
        };
        let second = GroupReport { group: 9, preferred: false, state: 0xf, status: 1, ports: vec![1], ..first.clone() };
        AccessReport { transition_seconds: 0, groups: vec![first, second] }
    }

    #[test]
    fn a_report_is_as_spc_draws_it() {
        let bytes = report().encode(false);
        let expected = [
            [0, 0, 0, 28, 0x80, 0x8f, 1, 2].as_slice(),
            &[0, 2, 0, 2, 0, 0, 3, 4, 0, 0, 5, 6],
            &[0x0f, 0x8f, 0, 9, 0, 1, 0, 1, 0, 0, 0, 1],
        ];
        assert_eq!(bytes, expected.concat());
        assert_eq!(AccessReport::decode(&bytes), Ok(report()));
        assert_eq!(AccessReport::decode(&bytes[..24]).unwrap().groups.len(), 1);
        let group = &report().groups[0];
        assert!(group.supports(0xf) && group.supports(3) && !group.supports(4) && !group.supports(0xe));
    }

    #[test]
    fn the_extended_header_is_found() {
        let timed = AccessReport { transition_seconds: 60, ..report() };
        let bytes = timed.encode(true);
        assert_eq!(bytes[..8], [0, 0, 0, 32, 0x10, 60, 0, 0]);
        assert_eq!(AccessReport::decode(&bytes), Ok(timed));
    }

    #[test]
    fn a_list_is_read_as_it_was_built() {
        let list = SetAccessList(vec![(1, AccessState::Standby), (0x0203, AccessState::ActiveNonOptimized)]);
        let bytes = list.encode();
        assert_eq!(bytes, [0, 0, 0, 0, 2, 0, 0, 1, 1, 0, 2, 3]);
        assert_eq!(SetAccessList::decode(&bytes), Ok(list));
    }

    #[test]
    fn a_list_that_lies_is_refused() {
        let length = Err(Sense::illegal(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR));
        assert_eq!(SetAccessList::decode(&[0; 3]), length);
        assert_eq!(SetAccessList::decode(&[0; 11]), length);
        for state in [4, 0xe, 0xf] {
            let wrong = SetAccessList::decode(&[0, 0, 0, 0, 0, 0, 0, 1, state, 0, 0, 2]);
            assert_eq!(wrong, Err(Sense::invalid_parameter(8, Some(3))), "{state}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = SetAccessList::decode(&bytes);
            if let Ok(report) = AccessReport::decode(&bytes) {
                prop_assert_eq!(AccessReport::decode(&report.encode(false)).unwrap().groups, report.groups);
            }
        }
    }
}
