//! Reservations as they are kept over a loss of power: opaque to whoever keeps them.

use super::kinds::ReservationType;
use super::path::Path;
use super::state::{Holder, REGISTRATIONS_MAX, Reservations};
use super::transport_id::TransportId;
use crate::octets::array;

/// Version of the form, its first byte.
const VERSION: u8 = 1;
/// In the place of a holder: all who are registered.
const ALL_REGISTRANTS: u16 = u16::MAX;

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

    /// What was kept; empty if nothing ever was. `None` of what is in no form that is known here.
    pub(crate) fn from_kept(bytes: &[u8]) -> Option<Self> {
        let (kind, holder, list) = match *bytes {
            [] | [VERSION] => return Some(Self::default()),
            [VERSION, kind, high, low, ref list @ ..] => (kind, u16::from_be_bytes([high, low]), list),
            _ => return None,
        };
        let mut kept = Self { persists: true, ..Self::default() };
        kept.registrations.extend(registrations(list)?);
        if kept.registrations.len() > REGISTRATIONS_MAX {
            return None;
        }
        if kind != 0 {
            let kind = ReservationType::from_code(kind)?;
            let holder = match holder {
                ALL_REGISTRANTS => Holder::AllRegistrants,
                place => Holder::One(kept.registrations.keys().nth(place.into()).cloned()?),
            };
            if kind.is_of_all_registrants() != (holder == Holder::AllRegistrants) || kept.registrations.is_empty() {
                return None;
            }
            kept.held = Some((holder, kind));
        }
        Some(kept)
    }
}

fn registrations(mut list: &[u8]) -> Option<Vec<(Path, u64)>> {
    let mut found = Vec::new();
    while !list.is_empty() {
        let key = array(list, 0).map(u64::from_be_bytes)?;
        let target_port = array(list, 8).map(u16::from_be_bytes)?;
        let (initiator_port, rest) = TransportId::decode(&list[10..]).ok()?;
        found.push((Path { initiator_port, target_port }, key));
        list = rest;
    }
    Some(found)
}
