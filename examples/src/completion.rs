//! What the end of a SCSI command means.

use bytes::Bytes;
use iscsi_runtime::Completion;
use scsi_block::sense::{Sense, SenseKey};
use scsi_block::{Segments, Status};

use crate::failure::{Failure, Kind};

/// Whether the unit had to tell something first, and is to be asked again.
#[must_use]
pub fn is_unit_attention(completion: &Completion) -> bool {
    completion.status == Status::CheckCondition.code()
        && Sense::decode(&completion.sense).is_ok_and(|sense| sense.key == SenseKey::UnitAttention)
}

/// Whether the unit has no time at the moment.
#[must_use]
pub fn is_busy(completion: &Completion) -> bool {
    matches!(Status::try_from(completion.status), Ok(Status::Busy | Status::TaskSetFull))
}

/// What was read, if the command went well.
///
/// # Errors
/// Status and sense, for a person, after `what` was asked.
pub fn good(what: &str, completion: Completion) -> Result<Bytes, Failure> {
    let answer = match (Status::try_from(completion.status), Sense::decode(&completion.sense)) {
        (Ok(Status::Good), _) => return Ok(join(completion.data)),
        (Ok(Status::CheckCondition), Ok(sense)) => format!("CHECK CONDITION: {sense}"),
        (Ok(status), _) => status.to_string(),
        (Err(unknown), _) => unknown.to_string(),
    };
    Err(Failure::new(Kind::Device, format!("{what}: the logical unit answers {answer}")))
}

/// All pieces as one; copied only if there are several.
fn join(mut pieces: Segments) -> Bytes {
    match pieces.len() {
        0 | 1 => pieces.pop().unwrap_or_default(),
        _ => pieces.concat().into(),
    }
}
