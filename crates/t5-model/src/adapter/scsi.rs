//! SCSI commands of the firmware's initiator, as work requests have them.

use super::flow::Payload;
use super::foiscsi::Done;
use super::function::Function;
use super::requests::{Wrong, payload};
use crate::initiator::{TRANSFER_BYTES_MAX, Task};
use bytes::{Bytes, BytesMut};
use iscsi_pdu::{LunField, TaskAttribute};
use iscsi_session::initiator::{Command, Transfer};
use smallvec::SmallVec;
use std::sync::Arc;
use std::time::{Duration, Instant};
use t5_hal::dma::DmaMemory;
use t5_hal::wire::*;

/// Which way the data of a command goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    None,
    Read,
    Write,
}

/// A SCSI command: its header, then its information unit, then the list of where its data is.
pub(super) fn begin_task(
    function: &mut Function,
    request: &ScsiTransfer,
    rest: &[u8],
    direction: Direction,
    reply: WorkRequestReply,
    at: Instant,
) -> Result<Done, Wrong> {
    let unit_bytes = request.op.get(WorkRequestOp::IMMDLEN) as usize;
    let (unit, _) = FcpCommand::split_from(rest.get(..unit_bytes).unwrap_or_default())?;
    let list = rest.get(unit_bytes.next_multiple_of(16)..).unwrap_or_default();
    let number = request.flow.get(WorkRequestFlow::FLOWID) as usize;
    let length = if direction == Direction::None { 0 } else { request.transfer_count.get() };
    let pieces = match length {
        0 => Payload::Pieces(SmallVec::new()),
        _ => payload(0, list)?,
    };
    let Some(session) = function.initiator.sessions.get_mut(number) else { return Ok(Err(ReturnCode::NoDevice)) };
    if length > TRANSFER_BYTES_MAX || pieces.length() < length as usize {
        return Ok(Err(ReturnCode::Invalid));
    }
    let hold = match direction {
        Direction::Write => match function.initiator.held.hold(length.into()) {
            Some(hold) => Some(hold),
            None => return Ok(Err(ReturnCode::NoMemory)),
        },
        _ => None,
    };
    let data = match direction {
        _ if length == 0 => Transfer::None,
        Direction::Write => Transfer::Write(data_of(&function.memory, &pieces, length as usize)?),
        _ => Transfer::Read(length),
    };
    let task = Task {
        reply,
        iq: request.iq.get(),
        pieces: match (&data, pieces) {
            (Transfer::Read(_), Payload::Pieces(pieces)) => pieces,
            _ => SmallVec::new(),
        },
        response: (request.response_address.get(), request.response_length.get()),
        _hold: hold,
        deadline: (request.timeout > 0).then(|| at + Duration::from_secs(request.timeout.into())),
        verdict: None,
    };
    let attribute = attribute_of(&unit);
    let command = Command { lun: LunField(unit.lun), cdb: unit.cdb, attribute, data, ..Command::default() };
    session.submit(at, task, command, &function.memory);
    Ok(Ok(None))
}

/// The task attribute of a command, by the codes of FCP.
const fn attribute_of(unit: &FcpCommand) -> TaskAttribute {
    match unit.attribute & 7 {
        1 => TaskAttribute::HeadOfQueue,
        2 => TaskAttribute::Ordered,
        4 => TaskAttribute::Aca,
        _ => TaskAttribute::Simple,
    }
}

/// The first bytes of a list, which may be longer: where they are until the command ends, if they are in one piece that is mapped or can be frozen; else a copy.
fn data_of(memory: &Arc<DmaMemory>, payload: &Payload, length: usize) -> Result<Bytes, Wrong> {
    let Payload::Pieces(pieces) = payload else { return Ok(Bytes::new()) };
    if let Some(first) = pieces.first()
        && first.length as usize >= length
        && let Some(lent) = memory.mapped(first.address, length).or_else(|| memory.freeze(first.address, length))
    {
        return Ok(lent);
    }
    let mut data = BytesMut::zeroed(length);
    let mut rest = &mut data[..];
    for piece in pieces {
        let (to, behind) = rest.split_at_mut(rest.len().min(piece.length as usize));
        memory.read(piece.address, to)?;
        rest = behind;
    }
    Ok(data.freeze())
}

/// SCSI_ABRT_CLS.
pub(super) fn abort_tasks(function: &mut Function, request: &ScsiAbort, reply: WorkRequestReply, at: Instant) -> Done {
    let number = request.flow.get(WorkRequestFlow::FLOWID) as usize;
    let session = function.initiator.sessions.get_mut(number).ok_or(ReturnCode::NoDevice)?;
    let all = request.flags.is_set(ScsiAbortFlags::CHK_ALL_IO);
    let cookie = (!all).then(|| request.task_cookie.get());
    session.abort(at, reply, request.iq.get(), cookie, &function.memory);
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_those_of_fcp() {
        use TaskAttribute::{Aca, HeadOfQueue, Ordered, Simple};
        let attributes = (0..6).map(|attribute| attribute_of(&FcpCommand { attribute, ..FcpCommand::default() }));
        assert_eq!(attributes.collect::<Vec<_>>(), [Simple, HeadOfQueue, Ordered, Simple, Aca, Simple]);
    }
}
