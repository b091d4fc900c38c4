//! The persistent reservation of one unit: who is registered, who holds it, and what service actions do to both (SPC-5 5.13).
//!
//! In: a service action of a nexus, by name. Out: a [`Change`], or the refusal; one that is refused has changed nothing. Registrations
//! are of a [`Path`], not of a nexus, which comes and goes.

use std::collections::BTreeMap;

use super::kinds::ReservationType;
use super::lists::{Capabilities, CurrentReservation, FullStatus, Keys, MoveList, OutList, Registration};
use super::path::{NexusName, Path};
use super::transport_id::TransportId;
use crate::commands::Refusal;
use crate::needs::Needs;
use crate::sense::{AdditionalSense, Sense};

/// Registrations that one unit has at most.
pub(crate) const REGISTRATIONS_MAX: usize = 1024;

/// Who holds a reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    One(Path),
    AllRegistrants,
}

/// The persistent reservation and the registrations of one unit.
#[derive(Debug, Default)]
pub(crate) struct Reservations {
    pub(super) registrations: BTreeMap<Path, u64>,
    pub(super) held: Option<(Holder, ReservationType)>,
    pub(super) generation: u32,
    /// APTPL: whether they outlive a loss of power.
    pub(super) persists: bool,
    /// Nobody knows what they were: the record of them is damaged (SPC-4 5.13.5.3.2).
    pub(super) lost: bool,
}

/// What a service action has done to others.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// Unit attention conditions to be raised.
    pub(crate) notices: Vec<(Path, AdditionalSense)>,
    /// Whose tasks have lost their right to go on, if they are to be aborted.
    pub(crate) preempted: Vec<Path>,
}

/// What a service action can know of the device.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    /// The relative identifiers of the target ports.
    pub(crate) target_ports: &'a [u16],
    /// The nexuses that there are.
    pub(crate) connected: &'a [NexusName],
    /// Whether somebody keeps what is to outlive a loss of power.
    pub(crate) can_persist: bool,
}

type Changed = Result<Change, Refusal>;

const CONFLICT: Refusal = Refusal::ReservationConflict;

impl Reservations {
    /// Whether anybody is registered.
    pub(crate) fn any_registered(&self) -> bool {
        !self.registrations.is_empty()
    }

    /// Whether they outlive a loss of power.
    pub(crate) fn persists(&self) -> bool {
        self.persists
    }

    /// Whether there were some of which nobody knows any more.
    pub(crate) fn are_lost(&self) -> bool {
        self.lost
    }

    pub(super) fn is_registered(&self, path: &Path) -> bool {
        self.registrations.contains_key(path)
    }

    /// Whether this one holds the reservation.
    pub(crate) fn is_holder(&self, path: &Path) -> bool {
        match &self.held {
            Some((Holder::One(holder), _)) => holder == path,
            Some((Holder::AllRegistrants, _)) => self.is_registered(path),
            None => false,
        }
    }

    /// What the reservation leaves to a nexus.
    pub(crate) fn leaves(&self, path: &Path) -> Needs {
        match &self.held {
            _ if self.lost => Needs::all() - Needs::KNOWN,
            Some((_, kind)) if !self.is_holder(path) => kind.leaves(self.is_registered(path)),
            _ => Needs::all(),
        }
    }

    /// Whether RESERVE and RELEASE of this nexus are GOOD and do nothing (SPC-5 5.13.3: CRH).
    pub(crate) fn excepts(&self, path: &Path) -> bool {
        let by_type = self.held.as_ref().is_some_and(|(_, kind)| kind.tells_of_release());
        self.is_holder(path) || by_type && self.is_registered(path)
    }

    /// REGISTER, and REGISTER AND IGNORE EXISTING KEY if `ignore`.
    pub(crate) fn register(&mut self, path: &Path, list: &OutList, ignore: bool, around: &Surroundings<'_>) -> Changed {
        let own = self.registrations.get(path).copied();
        if !ignore && list.key != own.unwrap_or(0) {
            return Err(CONFLICT);
        }
        if list.persist && !around.can_persist {
            return Err(OutList::refuse_persist().into());
        }
        if list.initiator_ports.is_some() && (own.is_some() || list.action_key == 0) {
            return Err(OutList::refuse_initiator_ports().into());
        }
        let change = match (own, list.action_key) {
            (None, 0) => return Ok(Change::default()),
            (Some(_), 0) => self.unregister(path),
            (_, key) => {
                let paths = self.paths_to_register(path, list, around)?;
                self.add(paths, key)?;
                Change::default()
            }
        };
        self.generation = self.generation.wrapping_add(1);
        self.persists = list.persist;
        Ok(change)
    }

    /// The nexus itself, what SPEC_I_PT and ALL_TG_PT add, and no other that is registered already.
    fn paths_to_register(&self, path: &Path, list: &OutList, around: &Surroundings<'_>) -> Result<Vec<Path>, Sense> {
        let mut initiator_ports = vec![path.initiator_port.clone()];
        for id in list.initiator_ports.iter().flatten() {
            let named = around.named(id);
            if named.is_empty() {
                return Err(OutList::refuse_initiator_ports());
            }
            initiator_ports.extend(named);
        }
        let own_port = [path.target_port];
        let target_ports = if list.all_target_ports { around.target_ports } else { &own_port };
        let all = target_ports.iter().flat_map(|target_port| {
            let path = |port: &TransportId| Path { initiator_port: port.clone(), target_port: *target_port };
            initiator_ports.iter().map(path).collect::<Vec<_>>()
        });
        let mut paths: Vec<Path> = all.filter(|other| other == path || !self.is_registered(other)).collect();
        paths.push(path.clone());
        paths.sort_unstable();
        paths.dedup();
        Ok(paths)
    }

    fn add(&mut self, paths: Vec<Path>, key: u64) -> Result<(), Sense> {
        let more = paths.iter().filter(|path| !self.is_registered(path)).count();
        if self.registrations.len() + more > REGISTRATIONS_MAX {
            return Err(Sense::illegal(AdditionalSense::INSUFFICIENT_REGISTRATION_RESOURCES));
        }
        self.registrations.extend(paths.into_iter().map(|path| (path, key)));
        Ok(())
    }

    /// A nexus takes its registration back, and with it the reservation that it alone holds.
    fn unregister(&mut self, path: &Path) -> Change {
        let holds = match &self.held {
            Some((Holder::One(holder), _)) => holder == path,
            Some((Holder::AllRegistrants, _)) => self.registrations.len() == 1,
            None => false,
        };
        self.registrations.remove(path);
        match self.held.take_if(|_| holds) {
            Some((_, kind)) if kind.tells_of_release() => self.tell_all(AdditionalSense::RESERVATIONS_RELEASED, path),
            _ => Change::default(),
        }
    }

    /// Every registered nexus but one is told.
    fn tell_all(&self, condition: AdditionalSense, but: &Path) -> Change {
        let others = self.registrations.keys().filter(|path| *path != but);
        Change { notices: others.map(|path| (path.clone(), condition)).collect(), ..Change::default() }
    }

    /// What every service action asks for but the two that register: a nexus that is registered with this key.
    fn check_key(&self, path: &Path, key: u64) -> Result<(), Refusal> {
        if self.registrations.get(path) == Some(&key) { Ok(()) } else { Err(CONFLICT) }
    }

    /// RESERVE.
    pub(crate) fn reserve(&mut self, path: &Path, key: u64, kind: ReservationType) -> Changed {
        self.check_key(path, key)?;
        match &self.held {
            None => {
                self.take(path, kind);
                Ok(Change::default())
            }
            Some((_, held)) if *held == kind && self.is_holder(path) => Ok(Change::default()),
            Some(_) => Err(CONFLICT),
        }
    }

    fn take(&mut self, path: &Path, kind: ReservationType) {
        let holder = if kind.is_of_all_registrants() { Holder::AllRegistrants } else { Holder::One(path.clone()) };
        self.held = Some((holder, kind));
    }

    /// RELEASE: nothing happens if the nexus holds no reservation.
    pub(crate) fn release(&mut self, path: &Path, key: u64, kind: Option<ReservationType>) -> Changed {
        self.check_key(path, key)?;
        let Some((_, held)) = self.held.as_ref().filter(|_| self.is_holder(path)) else { return Ok(Change::default()) };
        if kind != Some(*held) {
            return Err(Sense::illegal(AdditionalSense::INVALID_RELEASE_OF_PERSISTENT_RESERVATION).into());
        }
        let change = match held.tells_of_release() {
            true => self.tell_all(AdditionalSense::RESERVATIONS_RELEASED, path),
            false => Change::default(),
        };
        self.held = None;
        Ok(change)
    }

    /// CLEAR.
    pub(crate) fn clear(&mut self, path: &Path, key: u64) -> Changed {
        self.check_key(path, key)?;
        let change = self.tell_all(AdditionalSense::RESERVATIONS_PREEMPTED, path);
        self.registrations.clear();
        self.held = None;
        self.generation = self.generation.wrapping_add(1);
        Ok(change)
    }

    /// PREEMPT, and PREEMPT AND ABORT (SPC-5 5.13.11.4). The type is looked at if a reservation is preempted; `None` is none that there is.
    pub(crate) fn preempt(
        &mut self,
        path: &Path,
        list: &OutList,
        kind: Option<ReservationType>,
    ) -> Result<Change, Refusal> {
        self.check_key(path, list.key)?;
        let victim = list.action_key;
        let of_key = |key: &u64| *key == victim;
        let change = match &self.held {
            Some((Holder::AllRegistrants, _)) if victim == 0 => self.take_over(path, kind, |_| true)?,
            _ if victim == 0 => return Err(OutList::refuse_action_key().into()),
            Some((Holder::One(holder), _)) if self.registrations.get(holder).is_some_and(of_key) => {
                self.take_over(path, kind, of_key)?
            }
            _ if self.registrations.values().any(of_key) => self.remove(path, |_, key| of_key(key)),
            _ => return Err(CONFLICT),
        };
        self.generation = self.generation.wrapping_add(1);
        Ok(change)
    }

    /// A reservation is preempted: others' registrations go whose key is a victim's, and the nexus has a new one.
    fn take_over(
        &mut self,
        path: &Path,
        kind: Option<ReservationType>,
        is_victim: impl Fn(&u64) -> bool,
    ) -> Result<Change, Refusal> {
        let kind = kind.ok_or(REFUSED_TYPE)?;
        let before = self.held.take().map(|(_, kind)| kind);
        let mut change = self.remove(path, |other, key| other != path && is_victim(key));
        self.take(path, kind);
        if before != Some(kind) {
            change.notices.extend(self.tell_all(AdditionalSense::RESERVATIONS_RELEASED, path).notices);
        }
        Ok(change)
    }

    /// Registrations go; who had them is told, but for the nexus that has asked for it.
    fn remove(&mut self, by: &Path, goes: impl Fn(&Path, &u64) -> bool) -> Change {
        let gone: Vec<Path> =
            self.registrations.extract_if(.., |path, key| goes(path, key)).map(|(path, _)| path).collect();
        if self.registrations.is_empty() {
            self.held.take_if(|(holder, _)| *holder == Holder::AllRegistrants);
        }
        let others = gone.iter().filter(|path| *path != by);
        let notices = others.map(|path| (path.clone(), AdditionalSense::REGISTRATIONS_PREEMPTED)).collect();
        Change { notices, preempted: gone }
    }

    /// REPLACE LOST RESERVATION (SPC-4 5.13.11.3): whoever comes first has the unit as it likes.
    pub(crate) fn replace_lost(&mut self, path: &Path, list: &OutList, kind: ReservationType) -> Changed {
        if !self.lost {
            return Err(Sense::illegal(AdditionalSense::INVALID_RELEASE_OF_PERSISTENT_RESERVATION).into());
        }
        if list.key != 0 {
            return Err(OutList::refuse_key().into());
        }
        if list.action_key == 0 {
            return Err(OutList::refuse_action_key().into());
        }
        if list.all_target_ports {
            return Err(OutList::refuse_all_target_ports().into());
        }
        *self = Self { persists: list.persist, ..Self::default() };
        self.registrations.insert(path.clone(), list.action_key);
        self.take(path, kind);
        Ok(Change::default())
    }

    /// REGISTER AND MOVE.
    pub(crate) fn register_and_move(&mut self, path: &Path, list: &MoveList, around: &Surroundings<'_>) -> Changed {
        self.check_key(path, list.key)?;
        let Some((Holder::One(holder), kind)) = &self.held else { return Err(CONFLICT) };
        if holder != path {
            return Err(CONFLICT);
        }
        let kind = *kind;
        let other = self.destination(path, list, around)?;
        self.add(vec![other.clone()], list.action_key)?;
        self.take(&other, kind);
        if list.unregister {
            self.registrations.remove(path);
        }
        self.generation = self.generation.wrapping_add(1);
        self.persists = list.persist;
        Ok(Change::default())
    }

    /// Where a reservation moves to.
    fn destination(&self, path: &Path, list: &MoveList, around: &Surroundings<'_>) -> Result<Path, Sense> {
        if list.action_key == 0 {
            return Err(OutList::refuse_action_key());
        }
        if list.persist && !around.can_persist {
            return Err(MoveList::refuse_persist());
        }
        if !around.target_ports.contains(&list.target_port) {
            return Err(MoveList::refuse_target_port());
        }
        let named = around.named(&list.initiator_port);
        match &named[..] {
            [port] => Some(Path { initiator_port: port.clone(), target_port: list.target_port }),
            _ => None,
        }
        .filter(|other| other != path)
        .ok_or(MoveList::refuse_initiator_port())
    }

    /// READ KEYS.
    pub(crate) fn keys(&self) -> Keys {
        Keys { generation: self.generation, keys: self.registrations.values().copied().collect() }
    }

    /// READ RESERVATION.
    pub(crate) fn current(&self) -> CurrentReservation {
        let key = |holder: &Holder| match holder {
            Holder::One(path) => self.registrations.get(path).copied().unwrap_or(0),
            Holder::AllRegistrants => 0,
        };
        let reservation = self.held.as_ref().map(|(holder, kind)| (key(holder), *kind));
        CurrentReservation { generation: self.generation, reservation }
    }

    /// REPORT CAPABILITIES.
    pub(crate) fn capabilities(&self, can_persist: bool) -> Capabilities {
        Capabilities {
            replaces_lost: true,
            compatible_reservation_handling: true,
            specifies_initiator_ports: true,
            all_target_ports: true,
            can_persist,
            persists: self.persists,
            types: Some(ReservationType::ALL.into()),
        }
    }

    /// READ FULL STATUS.
    pub(crate) fn full_status(&self) -> FullStatus {
        let registration = |(path, key): (&Path, &u64)| Registration {
            key: *key,
            all_target_ports: false,
            holds: self.held.as_ref().filter(|_| self.is_holder(path)).map(|(_, kind)| *kind),
            target_port: path.target_port,
            initiator_port: path.initiator_port.clone(),
        };
        FullStatus { generation: self.generation, registrations: self.registrations.iter().map(registration).collect() }
    }
}

/// SCOPE and TYPE, which lie in byte 2 of the CDB.
const REFUSED_TYPE: Refusal = Refusal::Check(Sense::invalid_cdb_field(2, 3));

impl Surroundings<'_> {
    /// The initiator ports that a TransportID names: itself, or those that are connected of the initiator that it names (SPC-5 7.6.4.6).
    fn named(&self, id: &TransportId) -> Vec<TransportId> {
        if !id.names_all_ports() {
            return vec![id.clone()];
        }
        let of_device = self.connected.iter().filter(|name| name.initiator_device.as_ref() == Some(id));
        let mut ports: Vec<_> = of_device.map(|name| name.path.initiator_port.clone()).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }
}
