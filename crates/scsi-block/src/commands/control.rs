//! Commands about the unit's own condition: REQUEST SENSE, START STOP UNIT, RESERVE and RELEASE (6).

use bytes::Bytes;

use super::{Context, Plan, Refusal, Work, allocated};
use crate::cdb::Cdb;
use crate::opcodes::Field;
use crate::sense::{AdditionalSense, Sense, SenseFormat, SenseKey};
use crate::unit::{Conditions, ReservedByAnother};

/// Why a stopped unit does not read or write.
pub(crate) const STOPPED: Sense = Sense::new(SenseKey::NotReady, AdditionalSense::INITIALIZING_COMMAND_REQUIRED);

/// REQUEST SENSE (SPC-5 6.39): a pending unit attention, or else whether the unit is ready.
pub(super) fn request_sense(context: &Context<'_>, cdb: &Cdb) -> Bytes {
    let attention = context.unit.take_attention(context.nexus);
    let sense = match attention {
        Some(condition) => Sense::new(SenseKey::UnitAttention, condition),
        None if context.summary.has(Conditions::STOPPED) => STOPPED,
        None => Sense::NONE,
    };
    sense_as_data(cdb, sense)
}

/// Sense data as REQUEST SENSE gives it, in the format that the CDB asks for.
pub(crate) fn sense_as_data(cdb: &Cdb, sense: Sense) -> Bytes {
    let format = if cdb.has(Field::DescriptorFormat) { SenseFormat::Descriptor } else { SenseFormat::Fixed };
    allocated(cdb, sense.encode(format))
}

/// START STOP UNIT (SBC-4 5.31). Power conditions change nothing, as there is no power to save: ACTIVE, IDLE,
/// STANDBY, LU_CONTROL and the forced ones are taken, and START and LOEJ not looked at then.
pub(super) fn start_stop(context: &Context<'_>, cdb: &Cdb) -> Result<Plan, Sense> {
    match cdb.get(Field::PowerCondition) {
        0 => {}
        1..=3 | 7 | 0xa | 0xb => return Ok(Plan::DONE),
        _ => return Err(cdb.refuse(Field::PowerCondition)),
    }
    if cdb.has(Field::LoadEject) {
        return Err(cdb.refuse(Field::LoadEject));
    }
    let stopped = !cdb.has(Field::Start);
    context.unit.change(|state| state.stopped = stopped);
    match stopped && !cdb.has(Field::NoFlush) {
        true => Ok(Plan::work(Work::Flush)),
        false => Ok(Plan::DONE),
    }
}

/// RESERVE (6) of the whole unit (SPC-2 7.21).
pub(super) fn reserve(context: &Context<'_>) -> Result<Plan, Refusal> {
    match context.unit.reserve(context.nexus) {
        Ok(()) => Ok(Plan::DONE),
        Err(ReservedByAnother) => Err(Refusal::ReservationConflict),
    }
}

/// RELEASE (6) of the whole unit (SPC-2 7.16): GOOD whoever holds the reservation.
pub(super) fn release(context: &Context<'_>) -> Plan {
    context.unit.release(context.nexus);
    Plan::DONE
}
