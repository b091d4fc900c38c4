//! Commands about the unit's own condition: REQUEST SENSE.

use bytes::Bytes;

use super::{Context, allocated};
use crate::cdb::Cdb;
use crate::opcodes::Field;
use crate::sense::{Sense, SenseFormat, SenseKey};

/// REQUEST SENSE (SPC-5 6.39): a pending unit attention, or else whether the unit can be reached and is ready, or else an
/// informational exception.
pub(super) fn request_sense(context: &Context<'_>, cdb: &Cdb) -> Bytes {
    let attention = context.unit.take_attention(context.nexus);
    let sense = match attention {
        Some(condition) => Sense::new(SenseKey::UnitAttention, condition),
        None => context.unit.look(|state| {
            let exception = || Some(Sense::new(SenseKey::NoSense, state.settings.exception_on_request()?));
            let not_accessible = state.access_refusal(context.nexus);
            not_accessible.or_else(|| state.medium.not_ready()).or_else(exception).unwrap_or(Sense::NONE)
        }),
    };
    sense_as_data(cdb, sense)
}

/// Sense data as REQUEST SENSE gives it, in the format that the CDB asks for.
pub(crate) fn sense_as_data(cdb: &Cdb, sense: Sense) -> Bytes {
    let format = if cdb.has(Field::DescriptorFormat) { SenseFormat::Descriptor } else { SenseFormat::Fixed };
    allocated(cdb, sense.encode(format))
}
