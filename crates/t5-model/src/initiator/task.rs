//! A SCSI command under way: where its data and its end go.

use super::held::Hold;
use iscsi_pdu::{Residual, ScsiResponseCode};
use iscsi_session::initiator::TaskResult;
use std::time::Instant;
use t5_hal::dma::{DmaFault, DmaMemory};
use t5_hal::wire::{FcpResponse, FcpResponseFlags, Pieces, ReturnCode, WorkRequestReply};
use zerocopy::IntoBytes;

/// A SCSI command under way.
#[derive(Debug)]
pub(crate) struct Task {
    /// The beginning of its work request, for the answer.
    pub(crate) reply: WorkRequestReply,
    /// Where the answer goes.
    pub(crate) iq: u16,
    /// Where the data of a read goes, in the driver's memory.
    pub(crate) pieces: Pieces,
    /// Where the response goes, and how much room is there.
    pub(crate) response: (u64, u32),
    /// The data of a write that is held for it.
    pub(crate) _hold: Option<Hold>,
    /// When it is aborted.
    pub(crate) deadline: Option<Instant>,
    /// What becomes of it whatever the target says.
    pub(crate) verdict: Option<ReturnCode>,
}

impl Task {
    /// The driver's name for it.
    pub(crate) fn cookie(&self) -> u64 {
        self.reply.cookie.get()
    }

    /// Puts a piece of a read where it belongs.
    pub(crate) fn place(&self, offset: u32, mut data: &[u8], memory: &DmaMemory) -> Result<(), DmaFault> {
        let mut before = u64::from(offset);
        for piece in &self.pieces {
            let length = u64::from(piece.length);
            if before >= length {
                before -= length;
                continue;
            }
            let (here, rest) = data.split_at(data.len().min((length - before) as usize));
            memory.write(piece.address.wrapping_add(before), here)?;
            (data, before) = (rest, 0);
            if data.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Tells the driver's memory how the task ended, and says by which code that is told.
    pub(crate) fn conclude(&self, result: &TaskResult, memory: &DmaMemory) -> Result<ReturnCode, DmaFault> {
        if result.response != ScsiResponseCode::CompletedAtTarget {
            return Ok(ReturnCode::ScsiTaskError);
        }
        if result.status == 0 && result.residual == Residual::None {
            return Ok(ReturnCode::Success);
        }
        let (residual, under, over) = match result.residual {
            Residual::None => (0, false, false),
            Residual::Underflow(bytes) => (bytes, true, false),
            Residual::Overflow(bytes) => (bytes, false, true),
        };
        let (address, room) = self.response;
        let sense_room = (room as usize).saturating_sub(size_of::<FcpResponse>());
        let sense = &result.sense[..result.sense.len().min(sense_room)];
        let response = FcpResponse {
            status_qualifier: result.status_qualifier.into(),
            flags: FcpResponseFlags::new()
                .with_bit(FcpResponseFlags::UNDERRUN, under)
                .with_bit(FcpResponseFlags::OVERRUN, over)
                .with_bit(FcpResponseFlags::SENSE_VALID, !sense.is_empty()),
            status: result.status,
            residual: residual.into(),
            sense_length: (sense.len() as u32).into(),
            ..FcpResponse::default()
        };
        let header = &response.as_bytes()[..size_of::<FcpResponse>().min(room as usize)];
        memory.write_parts(address, &[header, sense])?;
        Ok(ReturnCode::ScsiResponseError)
    }
}
