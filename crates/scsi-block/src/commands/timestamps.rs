//! REPORT TIMESTAMP and SET TIMESTAMP (SPC-5 6.36, 6.43).

use std::time::Instant;

use bytes::Bytes;

use super::{Context, Plan, Started, Work, allocated};
use crate::cdb::Cdb;
use crate::clock::{Clock, TimestampOrigin};
use crate::io::Segments;
use crate::opcodes::Field;
use crate::parameters::Timestamp;
use crate::segments;
use crate::sense::{AdditionalSense, Sense};

/// REPORT TIMESTAMP: what SET TIMESTAMP has set, or else the time of the device.
pub(super) fn report(context: &Context<'_>, cdb: &Cdb) -> Bytes {
    let set = context.unit.look(|state| state.clock).map(|clock| (clock, TimestampOrigin::Command));
    let clock = set.or_else(|| context.device.clock().map(|clock| (clock, TimestampOrigin::Other)));
    let timestamp = match (clock, context.now) {
        (Some((clock, origin)), Some(now)) => Timestamp { origin, milliseconds: clock.read(now) },
        _ => Timestamp { origin: TimestampOrigin::Zero, milliseconds: 0 },
    };
    allocated(cdb, timestamp.encode())
}

/// SET TIMESTAMP: a list that is not there changes nothing.
pub(super) fn set(context: &Context<'_>, cdb: &Cdb) -> Result<Plan, Sense> {
    match cdb.get(Field::ParameterListLength) {
        0 => Ok(Plan::DONE),
        length if length == Timestamp::BYTES as u64 => {
            let work = Work::SetTimestamp { now: context.now };
            Ok(Plan::taking(work, length as u32))
        }
        length if length < Timestamp::BYTES as u64 => Err(Sense::illegal(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR)),
        _ => Err(cdb.refuse(Field::ParameterListLength)),
    }
}

/// Sets the clock to what the list says, as of when the command came. An owner that tells no time has no clock to set.
pub(super) fn start_set(context: &Context<'_>, now: Option<Instant>, data: Segments) -> Result<Started, Sense> {
    let list = segments::join(data);
    let milliseconds =
        Timestamp::decode_list(&list).ok_or(Sense::illegal(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR))?;
    if let Some(now) = now {
        context.unit.change(|state| {
            state.clock = Some(Clock::new(now, milliseconds));
            state.post(AdditionalSense::TIMESTAMP_CHANGED, Some(context.nexus));
        });
    }
    Ok(Started::Done)
}
