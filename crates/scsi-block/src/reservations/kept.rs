//! Reservations as they are kept over a loss of power: opaque to whoever keeps them.

use bytes::Bytes;

use super::kinds::ReservationType;
use super::path::Path;
use super::state::{Holder, REGISTRATIONS_MAX, Reservations};
use super::transport_id::TransportId;
use crate::config::Kept;
use crate::octets::array;

/// Version of the form, its first byte.
const VERSION: u8 = 1;
/// In the place of a holder: all who are registered.
const ALL_REGISTRANTS: u16 = u16::MAX;

/// The record with this name is in none of the forms that are known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record of its {0} is not in a form that is known here")]
pub struct UnknownForm(pub &'static str);

/// The name of the record that reservations are kept in.
pub(crate) const RECORD: &str = "reservations";

/// In the place of a record that is there and cannot be read; no form begins so.
const DAMAGED: &[u8] = b"\0damaged";

/// What whoever keeps records gives in the place of a damaged one of this name ([`LogicalUnitConfig::kept`](crate::LogicalUnitConfig::kept)).
/// `None` if no unit can begin without the record: only reservations can be replaced by initiators.
pub fn in_place_of_damaged(name: &str) -> Option<Bytes> {
    (name == RECORD).then_some(Bytes::from_static(DAMAGED))
}

/// Whether what stands there of reservations is in the place of a damaged record.
pub(crate) fn are_lost(kept: &Kept) -> bool {
    kept.get(RECORD).is_some_and(|record| *record == DAMAGED)
}

const UNKNOWN_FORM: UnknownForm = UnknownForm(RECORD);

impl Reservations {
    /// What is to be kept: nothing but the form if they do not outlive a loss of power.
    pub(crate) fn to_kept(&self) -> Vec<u8> {
        if !self.persists {
            return vec![VERSION];
        }
        let place = |holder: &Path| self.registrations.keys().position(|path| path == holder).unwrap_or(0) as u16;
        let (kind, holder) = match &self.held {
            None => (0, 0),
            Some((Holder::AllRegistrants, kind)) => (kind.code(), ALL_REGISTRANTS),
            Some((Holder::One(path), kind)) => (kind.code(), place(path)),
        };
        let mut bytes = vec![VERSION, kind];
        bytes.extend(holder.to_be_bytes());
        for (path, key) in &self.registrations {
            bytes.extend(key.to_be_bytes());
            bytes.extend(path.target_port.to_be_bytes());
            bytes.extend(path.initiator_port.as_bytes());
        }
        bytes
    }

    /// What was kept; empty if nothing ever was.
    pub(crate) fn from_kept(bytes: &[u8]) -> Result<Self, UnknownForm> {
        let (kind, holder, list) = match *bytes {
            [] | [VERSION] => return Ok(Self::default()),
            _ if bytes == DAMAGED => return Ok(Self { lost: true, ..Self::default() }),
            [VERSION, kind, high, low, ref list @ ..] => (kind, u16::from_be_bytes([high, low]), list),
            _ => return Err(UNKNOWN_FORM),
        };
        let mut kept = Self { persists: true, ..Self::default() };
        kept.registrations.extend(registrations(list)?);
        if kept.registrations.len() > REGISTRATIONS_MAX {
            return Err(UNKNOWN_FORM);
        }
        if kind != 0 {
            let kind = ReservationType::from_code(kind).ok_or(UNKNOWN_FORM)?;
            let holder = match holder {
                ALL_REGISTRANTS => Holder::AllRegistrants,
                place => Holder::One(kept.registrations.keys().nth(place.into()).cloned().ok_or(UNKNOWN_FORM)?),
            };
            if kind.is_of_all_registrants() != (holder == Holder::AllRegistrants) || kept.registrations.is_empty() {
                return Err(UNKNOWN_FORM);
            }
            kept.held = Some((holder, kind));
        }
        Ok(kept)
    }
}

fn registrations(mut list: &[u8]) -> Result<Vec<(Path, u64)>, UnknownForm> {
    let mut found = Vec::new();
    while !list.is_empty() {
        let key = array(list, 0).map(u64::from_be_bytes).ok_or(UNKNOWN_FORM)?;
        let target_port = array(list, 8).map(u16::from_be_bytes).ok_or(UNKNOWN_FORM)?;
        let (initiator_port, rest) = TransportId::decode(&list[10..]).map_err(|_| UNKNOWN_FORM)?;
        found.push((Path { initiator_port, target_port }, key));
        list = rest;
    }
    Ok(found)
}
