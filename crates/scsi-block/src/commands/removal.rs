//! START STOP UNIT and PREVENT ALLOW MEDIUM REMOVAL (SBC-4 5.31, 5.15): the medium stops, starts, comes and goes.

use super::{Context, Plan, Work};
use crate::cdb::Cdb;
use crate::opcodes::Field;
use crate::sense::{AdditionalSense, Sense, SenseKey};

/// START STOP UNIT. Power conditions change nothing, as there is no power to save: ACTIVE, IDLE, STANDBY, LU_CONTROL and the forced
/// ones are taken, and START and LOEJ not looked at then.
pub(super) fn start_stop(context: &Context<'_>, cdb: &Cdb) -> Result<Plan, Sense> {
    context.unit.look(|state| state.medium.wiping()).map_or(Ok(()), Err)?;
    match cdb.get(Field::PowerCondition) {
        0 => {}
        1..=3 | 7 | 0xa | 0xb => return Ok(Plan::DONE),
        _ => return Err(cdb.refuse(Field::PowerCondition)),
    }
    let (start, eject) = (cdb.has(Field::Start), cdb.has(Field::LoadEject));
    if eject && !context.unit.config.removable {
        return Err(cdb.refuse(Field::LoadEject));
    }
    match (eject, start) {
        (true, true) => context.unit.load(Some(context.nexus))?,
        (true, false) => context.unit.eject()?,
        (false, true) if context.unit.look(|state| state.medium.ejected) => {
            return Err(Sense::new(SenseKey::NotReady, AdditionalSense::MEDIUM_NOT_PRESENT));
        }
        (false, _) => context.unit.change(|state| state.medium.stop(!start)),
    }
    match !start && !cdb.has(Field::NoFlush) {
        true => Ok(Plan::work(Work::Flush { immediate: false })),
        false => Ok(Plan::DONE),
    }
}

/// PREVENT ALLOW MEDIUM REMOVAL: the medium stays while any nexus prevents its removal.
pub(super) fn prevent_allow(context: &Context<'_>, cdb: &Cdb) -> Result<Plan, Sense> {
    let prevents = match cdb.get(Field::Prevent) {
        0 => false,
        1 => true,
        _ => return Err(cdb.refuse(Field::Prevent)),
    };
    context.unit.change(|state| match prevents {
        true => state.medium.preventing.insert(context.nexus),
        false => state.medium.preventing.remove(&context.nexus),
    });
    Ok(Plan::DONE)
}
