//! Parameter data of PERSISTENT RESERVE IN and OUT (SPC-5 6.16, 6.17): values to bytes and back, for both ends.

use super::kinds::ReservationType;
use super::transport_id::TransportId;
use crate::octets::{DecodeError, array, be16, be32, be64, need};
use crate::sense::{AdditionalSense, Sense};

/// Bytes of the parameter list of every service action but REGISTER AND MOVE, without TransportIDs.
pub const OUT_LIST_BYTES: usize = 24;
/// Bytes of a parameter list that a unit looks at: room for hundreds of TransportIDs.
pub(crate) const OUT_LIST_BYTES_MAX: u32 = 64 << 10;

const LENGTH_ERROR: Sense = Sense::illegal(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);

/// The parameter list of every service action but REGISTER AND MOVE (SPC-5 6.17.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutList {
    /// RESERVATION KEY: the key of the nexus that sends it.
    pub key: u64,
    /// SERVICE ACTION RESERVATION KEY.
    pub action_key: u64,
    /// SPEC_I_PT: these are registered too.
    pub initiator_ports: Option<Vec<TransportId>>,
    /// ALL_TG_PT: at all target ports.
    pub all_target_ports: bool,
    /// APTPL: reservation and registrations survive a loss of power.
    pub persist: bool,
}

const SPEC_I_PT: u8 = 1 << 3;
const ALL_TG_PT: u8 = 1 << 2;
const APTPL: u8 = 1 << 0;

impl OutList {
    /// The bytes to send.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = [self.key.to_be_bytes(), self.action_key.to_be_bytes(), [0; 8]].concat();
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        bytes[20] = flag(self.initiator_ports.is_some(), SPEC_I_PT)
            | flag(self.all_target_ports, ALL_TG_PT)
            | flag(self.persist, APTPL);
        if let Some(ports) = &self.initiator_ports {
            let ids: Vec<u8> = ports.iter().flat_map(|port| port.as_bytes()).copied().collect();
            bytes.extend((ids.len() as u32).to_be_bytes());
            bytes.extend(ids);
        }
        bytes
    }

    /// Reads a list as a device does.
    ///
    /// # Errors
    /// The sense to refuse it with: its length is wrong, or it has a TransportID that is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, Sense> {
        if bytes.len() < OUT_LIST_BYTES {
            return Err(LENGTH_ERROR);
        }
        let (head, rest) = bytes.split_at(OUT_LIST_BYTES);
        let initiator_ports = match head[20] & SPEC_I_PT != 0 {
            true => Some(transport_ids(rest)?),
            false if rest.is_empty() => None,
            false => return Err(LENGTH_ERROR),
        };
        Ok(Self {
            key: be64(head, 0),
            action_key: be64(head, 8),
            initiator_ports,
            all_target_ports: head[20] & ALL_TG_PT != 0,
            persist: head[20] & APTPL != 0,
        })
    }

    /// Where the flags are, by the bit, for a sense that points at one.
    pub(super) const fn refuse_persist() -> Sense {
        Sense::invalid_parameter(20, Some(0))
    }

    pub(crate) const fn refuse_initiator_ports() -> Sense {
        Sense::invalid_parameter(20, Some(3))
    }

    pub(super) const fn refuse_all_target_ports() -> Sense {
        Sense::invalid_parameter(20, Some(2))
    }

    pub(super) const fn refuse_key() -> Sense {
        Sense::invalid_parameter(0, None)
    }

    pub(super) const fn refuse_action_key() -> Sense {
        Sense::invalid_parameter(8, None)
    }
}

/// TRANSPORTID PARAMETER DATA LENGTH, and that much.
fn transport_ids(rest: &[u8]) -> Result<Vec<TransportId>, Sense> {
    let length = array::<4>(rest, 0).map(u32::from_be_bytes).ok_or(LENGTH_ERROR)?;
    let mut list = &rest[4..];
    if list.len() as u64 != u64::from(length) {
        return Err(LENGTH_ERROR);
    }
    let mut ids = Vec::new();
    while !list.is_empty() {
        let at = OUT_LIST_BYTES + rest.len() - list.len();
        let (id, after) = TransportId::decode(list).map_err(|_| Sense::invalid_parameter(at as u16, None))?;
        ids.push(id);
        list = after;
    }
    Ok(ids)
}

/// The parameter list of REGISTER AND MOVE (SPC-5 6.17.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoveList {
    /// RESERVATION KEY: the key of the nexus that sends it.
    pub key: u64,
    /// SERVICE ACTION RESERVATION KEY: the key of the other.
    pub action_key: u64,
    /// UNREG: the nexus that sends it is not registered any more.
    pub unregister: bool,
    /// APTPL, as in [`OutList::persist`].
    pub persist: bool,
    /// RELATIVE TARGET PORT IDENTIFIER of the other nexus.
    pub target_port: u16,
    /// The initiator port of the other nexus.
    pub initiator_port: TransportId,
}

const UNREG: u8 = 1 << 1;

impl MoveList {
    /// The bytes to send.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = [self.key.to_be_bytes(), self.action_key.to_be_bytes()].concat();
        bytes.extend([0, u8::from(self.unregister) << 1 | u8::from(self.persist)]);
        bytes.extend(self.target_port.to_be_bytes());
        bytes.extend((self.initiator_port.as_bytes().len() as u32).to_be_bytes());
        bytes.extend(self.initiator_port.as_bytes());
        bytes
    }

    /// Reads a list as a device does.
    ///
    /// # Errors
    /// The sense to refuse it with.
    pub fn decode(bytes: &[u8]) -> Result<Self, Sense> {
        if bytes.len() < OUT_LIST_BYTES || be32(bytes, 20) as usize != bytes.len() - OUT_LIST_BYTES {
            return Err(LENGTH_ERROR);
        }
        let (initiator_port, rest) =
            TransportId::decode(&bytes[OUT_LIST_BYTES..]).map_err(|_| Self::refuse_initiator_port())?;
        if !rest.is_empty() {
            return Err(LENGTH_ERROR);
        }
        Ok(Self {
            key: be64(bytes, 0),
            action_key: be64(bytes, 8),
            unregister: bytes[17] & UNREG != 0,
            persist: bytes[17] & APTPL != 0,
            target_port: be16(bytes, 18),
            initiator_port,
        })
    }

    pub(super) const fn refuse_persist() -> Sense {
        Sense::invalid_parameter(17, Some(0))
    }

    pub(super) const fn refuse_target_port() -> Sense {
        Sense::invalid_parameter(18, None)
    }

    pub(super) const fn refuse_initiator_port() -> Sense {
        Sense::invalid_parameter(OUT_LIST_BYTES as u16, None)
    }
}

/// PRGENERATION, a length, and a body.
fn with_head(generation: u32, body: &[u8]) -> Vec<u8> {
    [&generation.to_be_bytes()[..], &(body.len() as u32).to_be_bytes(), body].concat()
}

/// The generation and the body, as far as it came.
fn head<'a>(what: &'static str, bytes: &'a [u8]) -> Result<(u32, &'a [u8]), DecodeError> {
    let bytes = need(what, bytes, 8)?;
    let end = usize::try_from(be32(bytes, 4)).unwrap_or(usize::MAX).saturating_add(8);
    Ok((be32(bytes, 0), &bytes[8..end.min(bytes.len())]))
}

/// What READ KEYS gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// PRGENERATION: counts changes of registrations.
    pub generation: u32,
    /// The key of each registration.
    pub keys: Vec<u64>,
}

impl Keys {
    pub(crate) fn encode(&self) -> Vec<u8> {
        with_head(self.generation, &self.keys.iter().flat_map(|key| key.to_be_bytes()).collect::<Vec<_>>())
    }

    /// Reads the answer.
    ///
    /// # Errors
    /// It is cut before its end.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (generation, body) = head("READ KEYS data", bytes)?;
        let keys = body.as_chunks::<8>().0.iter().map(|key| u64::from_be_bytes(*key)).collect();
        Ok(Self { generation, keys })
    }
}

/// What READ RESERVATION gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CurrentReservation {
    /// PRGENERATION.
    pub generation: u32,
    /// The key of the holder, zero where all registrants hold it, and the type; `None` if there is no reservation.
    pub reservation: Option<(u64, ReservationType)>,
}

impl CurrentReservation {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let body = self.reservation.map(|(key, kind)| {
            let mut body = [key.to_be_bytes(), [0; 8]].concat();
            body[13] = kind.code();
            body
        });
        with_head(self.generation, &body.unwrap_or_default())
    }

    /// Reads the answer.
    ///
    /// # Errors
    /// It is cut, or the type is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "READ RESERVATION data";
        let (generation, body) = head(WHAT, bytes)?;
        if body.is_empty() {
            return Ok(Self { generation, reservation: None });
        }
        let body = need(WHAT, body, 16)?;
        let kind = decode_type(WHAT, body[13])?;
        Ok(Self { generation, reservation: Some((be64(body, 0), kind)) })
    }
}

fn decode_type(what: &'static str, scope_and_type: u8) -> Result<ReservationType, DecodeError> {
    let wrong = DecodeError::Field { what, field: "TYPE", value: scope_and_type.into() };
    ReservationType::from_code(scope_and_type & 0x0f).ok_or(wrong)
}

/// What REPORT CAPABILITIES gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// RLR_C: REPLACE LOST RESERVATION.
    pub replaces_lost: bool,
    /// CRH: RESERVE and RELEASE of who holds a persistent reservation are taken, and do nothing.
    pub compatible_reservation_handling: bool,
    /// SIP_C: SPEC_I_PT.
    pub specifies_initiator_ports: bool,
    /// ATP_C: ALL_TG_PT.
    pub all_target_ports: bool,
    /// PTPL_C: APTPL.
    pub can_persist: bool,
    /// PTPL_A: APTPL is in force.
    pub persists: bool,
    /// The types that are supported, if the device says.
    pub types: Option<Vec<ReservationType>>,
}

const TYPE_MASK_VALID: u8 = 0x80;

/// The bit of a type in PERSISTENT RESERVATION TYPE MASK, two bytes in their order.
const fn mask_bit(kind: ReservationType) -> u16 {
    match kind {
        ReservationType::WriteExclusiveAllRegistrants => 0x8000,
        ReservationType::ExclusiveAccessRegistrantsOnly => 0x4000,
        ReservationType::WriteExclusiveRegistrantsOnly => 0x2000,
        ReservationType::ExclusiveAccess => 0x0800,
        ReservationType::WriteExclusive => 0x0200,
        ReservationType::ExclusiveAccessAllRegistrants => 0x0001,
    }
}

impl Capabilities {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let flags = u8::from(self.replaces_lost) << 7
            | u8::from(self.compatible_reservation_handling) << 4
            | u8::from(self.specifies_initiator_ports) << 3
            | u8::from(self.all_target_ports) << 2
            | u8::from(self.can_persist);
        let valid = if self.types.is_some() { TYPE_MASK_VALID } else { 0 };
        let mask = self.types.iter().flatten().fold(0, |mask, kind| mask | mask_bit(*kind)).to_be_bytes();
        vec![0, 8, flags, valid | u8::from(self.persists), mask[0], mask[1], 0, 0]
    }

    /// Reads the answer.
    ///
    /// # Errors
    /// It is cut before the type mask ends.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let bytes = need("REPORT CAPABILITIES data", bytes, 6)?;
        let mask = be16(bytes, 4);
        let types = || ReservationType::ALL.into_iter().filter(|kind| mask & mask_bit(*kind) != 0).collect();
        Ok(Self {
            replaces_lost: bytes[2] & 0x80 != 0,
            compatible_reservation_handling: bytes[2] & 0x10 != 0,
            specifies_initiator_ports: bytes[2] & 0x08 != 0,
            all_target_ports: bytes[2] & 0x04 != 0,
            can_persist: bytes[2] & 0x01 != 0,
            persists: bytes[3] & 0x01 != 0,
            types: (bytes[3] & TYPE_MASK_VALID != 0).then(types),
        })
    }
}

/// One registration, as READ FULL STATUS gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Its key.
    pub key: u64,
    /// ALL_TG_PT: it is of all target ports.
    pub all_target_ports: bool,
    /// The type of the reservation, if it holds it (R_HOLDER).
    pub holds: Option<ReservationType>,
    /// RELATIVE TARGET PORT IDENTIFIER.
    pub target_port: u16,
    /// The initiator port.
    pub initiator_port: TransportId,
}

/// What READ FULL STATUS gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FullStatus {
    /// PRGENERATION.
    pub generation: u32,
    /// All registrations.
    pub registrations: Vec<Registration>,
}

/// Bytes of one descriptor before its TransportID.
const DESCRIPTOR_BYTES: usize = 24;

impl FullStatus {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for registration in &self.registrations {
            let id = registration.initiator_port.as_bytes();
            body.extend(registration.key.to_be_bytes());
            body.extend([0; 4]);
            body.push(u8::from(registration.all_target_ports) << 1 | u8::from(registration.holds.is_some()));
            body.push(registration.holds.map_or(0, ReservationType::code));
            body.extend([0; 4]);
            body.extend(registration.target_port.to_be_bytes());
            body.extend((id.len() as u32).to_be_bytes());
            body.extend(id);
        }
        with_head(self.generation, &body)
    }

    /// Reads the answer.
    ///
    /// # Errors
    /// It is cut inside a descriptor, or has a type or TransportID that is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "READ FULL STATUS data";
        let (generation, mut body) = head(WHAT, bytes)?;
        let mut registrations = Vec::new();
        while !body.is_empty() {
            let descriptor = need(WHAT, body, DESCRIPTOR_BYTES)?;
            let end = (be32(descriptor, 20) as usize).saturating_add(DESCRIPTOR_BYTES);
            let descriptor = need(WHAT, body, end)?;
            registrations.push(Registration {
                key: be64(descriptor, 0),
                all_target_ports: descriptor[12] & 2 != 0,
                holds: (descriptor[12] & 1 != 0).then(|| decode_type(WHAT, descriptor[13])).transpose()?,
                target_port: be16(descriptor, 18),
                initiator_port: TransportId::decode(&descriptor[DESCRIPTOR_BYTES..end])?.0,
            });
            body = &body[end..];
        }
        Ok(Self { generation, registrations })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn port() -> TransportId {
        TransportId::iscsi_port("iqn.a:b", [1; 6])
    }

    #[test]
    fn lists_come_back() {
        let list = OutList {
            key: 1,
            action_key: 0x0203,
            initiator_ports: Some(vec![port(), TransportId::iscsi_device("iqn.c")]),
            all_target_ports: true,
            persist: true,
        };
        let bytes = list.encode();
        assert_eq!(bytes[14..21], [2, 3, 0, 0, 0, 0, 0x0d]);
        assert_eq!(OutList::decode(&bytes), Ok(list));
        let list = MoveList {
            key: 1,
            action_key: 2,
            unregister: true,
            persist: false,
            target_port: 0x0304,
            initiator_port: port(),
        };
        assert_eq!(list.encode()[17..20], [2, 3, 4]);
        assert_eq!(MoveList::decode(&list.encode()), Ok(list));
    }

    #[test]
    fn lists_that_lie_are_refused() {
        let list = OutList { initiator_ports: Some(vec![port()]), ..OutList::default() }.encode();
        for end in 0..list.len() {
            assert_eq!(OutList::decode(&list[..end]), Err(LENGTH_ERROR), "{end}");
        }
        let without = OutList::default().encode();
        assert_eq!(OutList::decode(&without), Ok(OutList::default()));
        assert_eq!(OutList::decode(&[&without[..], &[0]].concat()), Err(LENGTH_ERROR));
        let mut wrong = list;
        wrong[28] = 0xff;
        assert_eq!(
            OutList::decode(&wrong),
            Err(Sense::invalid_parameter(28 + 24, None)),
            "what follows one of 24 bytes is none"
        );
    }

    #[test]
    fn answers_come_back() {
        let keys = Keys { generation: 3, keys: vec![1, u64::MAX] };
        assert_eq!(Keys::decode(&keys.encode()), Ok(keys));
        for kind in ReservationType::ALL {
            let current = CurrentReservation { generation: 1, reservation: Some((7, kind)) };
            assert_eq!(CurrentReservation::decode(&current.encode()), Ok(current));
        }
        let none = CurrentReservation::default();
        assert_eq!(none.encode(), [0; 8]);
        assert_eq!(CurrentReservation::decode(&[0; 8]), Ok(none));
        let capabilities = Capabilities {
            replaces_lost: true,
            compatible_reservation_handling: true,
            persists: true,
            types: Some(ReservationType::ALL.into()),
            ..Capabilities::default()
        };
        assert_eq!(capabilities.encode(), [0, 8, 0x90, 0x81, 0xea, 0x01, 0, 0]);
        assert_eq!(Capabilities::decode(&capabilities.encode()), Ok(capabilities));
        let registration = Registration {
            key: 9,
            all_target_ports: false,
            holds: Some(ReservationType::ExclusiveAccess),
            target_port: 2,
            initiator_port: port(),
        };
        let status = FullStatus { generation: 1, registrations: vec![registration.clone(), registration] };
        assert_eq!(FullStatus::decode(&status.encode()), Ok(status));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..90)) {
            let _ = (Keys::decode(&bytes), CurrentReservation::decode(&bytes), Capabilities::decode(&bytes));
            let _ = (FullStatus::decode(&bytes), OutList::decode(&bytes), MoveList::decode(&bytes));
        }
    }
}
