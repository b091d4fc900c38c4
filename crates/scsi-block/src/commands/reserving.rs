//! RESERVE and RELEASE (SPC-2 7.16, 7.21), PERSISTENT RESERVE IN and OUT (SPC-5 6.16, 6.17).
//!
//! The rules of persistent reservations stand in [`reservations`](crate::reservations); here they meet CDBs, the unit's state, and
//! those who are to be told.

use bytes::Bytes;

use super::{Context, Plan, Refusal, Started, Work, allocated, medium};
use crate::cdb::Cdb;
use crate::io::{BlockIo, Record, Segments};
use crate::link::Settling;
use crate::opcodes::{Field, Operation};
use crate::reservations::{
    Change, MoveList, NexusName, OUT_LIST_BYTES, OUT_LIST_BYTES_MAX, OutAction, OutList, RECORD, ReservationType,
    Reservations, Surroundings,
};
use crate::sense::{AdditionalSense, Sense};
use crate::task::Rare;
use crate::unit::State;

const LENGTH_ERROR: Sense = Sense::illegal(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);

/// What RESERVE and RELEASE meet where persistent reservations are in use.
enum Persistent {
    /// Nobody is registered.
    None,
    /// The nexus has all that it asks for, or nothing of what it gives back: GOOD, and nothing happens (SPC-5 5.13.3).
    Excepted,
    /// The two kinds of reservation do not go together (SPC-2 5.5.1).
    Conflict,
}

fn persistent(state: &State, context: &Context<'_>) -> Persistent {
    if !state.reservations.any_registered() {
        return Persistent::None;
    }
    match state.name(context.nexus).is_some_and(|name| state.reservations.excepts(&name.path)) {
        true => Persistent::Excepted,
        false => Persistent::Conflict,
    }
}

/// RESERVE of the whole unit.
pub(super) fn reserve(context: &Context<'_>) -> Result<Plan, Refusal> {
    context.unit.change(|state| match persistent(state, context) {
        Persistent::Conflict => Err(Refusal::ReservationConflict),
        Persistent::Excepted => Ok(Plan::DONE),
        Persistent::None => match *state.reserved_by.get_or_insert(context.nexus) {
            holder if holder == context.nexus => Ok(Plan::DONE),
            _ => Err(Refusal::ReservationConflict),
        },
    })
}

/// RELEASE of the whole unit: GOOD whoever holds the reservation.
pub(super) fn release(context: &Context<'_>) -> Result<Plan, Refusal> {
    if let Persistent::Conflict = context.unit.look(|state| persistent(state, context)) {
        return Err(Refusal::ReservationConflict);
    }
    context.unit.release(context.nexus);
    Ok(Plan::DONE)
}

/// While the unit is reserved with RESERVE, by whomever, the persistent kind is out of use (SPC-2 5.5.1).
fn check_not_reserved(state: &State) -> Result<(), Refusal> {
    state.reserved_by.map_or(Ok(()), |_| Err(Refusal::ReservationConflict))
}

/// PERSISTENT RESERVE IN.
pub(super) fn persist_in(context: &Context<'_>, cdb: &Cdb) -> Result<Bytes, Refusal> {
    context.unit.look(|state| {
        check_not_reserved(state)?;
        let reservations = &state.reservations;
        Ok(match cdb.operation() {
            Operation::PersistReadKeys => allocated(cdb, reservations.keys().encode()),
            Operation::PersistReadReservation => allocated(cdb, reservations.current().encode()),
            Operation::PersistReportCapabilities => {
                allocated(cdb, reservations.capabilities(context.unit.config.kept.is_some()).encode())
            }
            _ => allocated(cdb, reservations.full_status().encode()),
        })
    })
}

/// PERSISTENT RESERVE OUT: the CDB.
pub(super) fn persist_out(cdb: &Cdb, action: OutAction) -> Result<Plan, Sense> {
    let kind = ReservationType::from_code(cdb.get(Field::ReservationType) as u8);
    if matches!(action, OutAction::Reserve | OutAction::ReplaceLostReservation) && kind.is_none() {
        return Err(cdb.refuse(Field::ReservationType));
    }
    let data_out_length = cdb.get(Field::ParameterListLength) as u32;
    if !(OUT_LIST_BYTES as u32..=OUT_LIST_BYTES_MAX).contains(&data_out_length) {
        return Err(LENGTH_ERROR);
    }
    Ok(Plan::taking(Work::PersistentReserve { action, kind }, data_out_length))
}

/// PERSISTENT RESERVE OUT: the parameter list. What is to outlive a loss of power is kept before the answer, and the tasks that are aborted
/// have their requests back.
pub(super) fn start(
    context: &Context<'_>,
    action: OutAction,
    kind: Option<ReservationType>,
    data: Segments,
    wanted: u32,
) -> Result<Started, Sense> {
    let list = List::decode(action, &medium::exactly(data, wanted).map_err(|_| LENGTH_ERROR)?)?;
    let target_ports = &context.unit.ports().identifiers();
    let changed = context.unit.change(|state| {
        check_not_reserved(state)?;
        let connected = state.names();
        let around =
            Surroundings { target_ports, connected: &connected, can_persist: context.unit.config.kept.is_some() };
        let gone = Sense::illegal(AdditionalSense::LOGICAL_UNIT_NOT_SUPPORTED);
        let name = state.name(context.nexus).cloned().ok_or(gone)?;
        // What is damaged is kept as long as nothing is in its place.
        let persisted = state.reservations.persists() || state.reservations.are_lost();
        let change = carry_out(&mut state.reservations, (action, kind), &list, &name, &around)?;
        // Also if nothing has changed: the same action before this one may not be kept yet, or not have been kept at all.
        let is_to_be_kept = persisted || state.reservations.persists();
        Ok(Effects::of(state, change, context, action == OutAction::PreemptAndAbort, is_to_be_kept))
    });
    match changed {
        Ok(Effects { record, aborted }) => {
            let settling = Settling::end_tasks(aborted);
            Ok(match record {
                Some(record) => Started::Io(BlockIo::Keep(record), Rare::Settle(settling).into()),
                None => Started::Wait(settling),
            })
        }
        Err(Refusal::Check(sense)) => Err(sense),
        Err(Refusal::ReservationConflict) => Ok(Started::Conflict),
    }
}

/// Either parameter list.
enum List {
    Usual(OutList),
    Move(MoveList),
}

impl List {
    fn decode(action: OutAction, bytes: &[u8]) -> Result<Self, Sense> {
        match action {
            OutAction::RegisterAndMove => MoveList::decode(bytes).map(Self::Move),
            _ => OutList::decode(bytes).map(Self::Usual),
        }
    }
}

fn carry_out(
    reservations: &mut Reservations,
    (action, kind): (OutAction, Option<ReservationType>),
    list: &List,
    name: &NexusName,
    around: &Surroundings<'_>,
) -> Result<Change, Refusal> {
    let path = &name.path;
    let list = match list {
        List::Usual(list) => list,
        List::Move(list) => return reservations.register_and_move(path, list, around),
    };
    if list.initiator_ports.is_some() && action != OutAction::Register {
        return Err(OutList::refuse_initiator_ports().into());
    }
    match action {
        OutAction::Register => reservations.register(path, list, false, around),
        OutAction::RegisterAndIgnoreExistingKey => reservations.register(path, list, true, around),
        OutAction::Reserve => {
            let kind = kind.expect("RESERVE was refused without a type");
            reservations.reserve(path, list.key, kind)
        }
        OutAction::ReplaceLostReservation => {
            let kind = kind.expect("REPLACE LOST RESERVATION was refused without a type");
            reservations.replace_lost(path, list, kind)
        }
        OutAction::Release => reservations.release(path, list.key, kind),
        OutAction::Clear => reservations.clear(path, list.key),
        OutAction::Preempt | OutAction::PreemptAndAbort => reservations.preempt(path, list, kind),
        OutAction::RegisterAndMove => unreachable!("it has a list of its own"),
    }
}

/// What is left to do when the state has changed.
struct Effects {
    record: Option<Record>,
    aborted: Vec<std::sync::Arc<crate::link::Link>>,
}

impl Effects {
    /// Tells those concerned, and finds what is to be kept and whose tasks end: not the nexus's own, one of which this is.
    fn of(state: &mut State, change: Change, context: &Context<'_>, aborts: bool, is_to_be_kept: bool) -> Self {
        for (path, condition) in &change.notices {
            state.notify(path, *condition);
        }
        let own = context.nexus;
        let aborted = match aborts {
            true => state.links(|nexus, path| nexus != own && change.preempted.contains(path)),
            false => Vec::new(),
        };
        let record = is_to_be_kept.then(|| state.record(RECORD, state.reservations.to_kept()));
        Self { record, aborted }
    }
}
