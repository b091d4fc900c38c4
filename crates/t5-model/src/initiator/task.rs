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

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;
    use t5_hal::wire::Piece;
    use zerocopy::FromBytes;

    const BASE: u64 = 0x1000;
    const RESPONSE: u64 = BASE + 8192;

    fn task(pieces: Pieces, response_bytes: usize) -> Task {
        let (reply, response) = (WorkRequestReply::default(), (RESPONSE, response_bytes as u32));
        Task { reply, iq: 0, pieces, response, _hold: None, deadline: None, verdict: None }
    }

    fn memory() -> DmaMemory {
        DmaMemory::new(BASE, 4096, 8192)
    }

    fn all(memory: &DmaMemory) -> Vec<u8> {
        let mut bytes = vec![0; memory.len()];
        memory.read(BASE, &mut bytes).unwrap();
        bytes
    }

    fn result(response: ScsiResponseCode, status: u8, residual: Residual, sense: &[u8]) -> TaskResult {
        let (sense, bidirectional_read_residual) = (Bytes::copy_from_slice(sense), Residual::None);
        TaskResult { response, status, status_qualifier: 0, sense, residual, bidirectional_read_residual }
    }

    proptest! {
        /// Pieces of any lengths, each behind a gap, and a part of the data that begins and ends anywhere.
        #[test]
        fn data_lies_in_its_pieces_and_nowhere_else(lengths in prop::collection::vec((0..400u32, 0..50u64), 1..8), offset in 0..900u32, length in 1..900usize) {
            let mut at = BASE;
            let pieces: Pieces = lengths.iter().map(|&(length, gap)| {
                let address = at + gap;
                at = address + u64::from(length);
                Piece { address, length }
            }).collect();
            let places: Vec<u64> = pieces.iter().flat_map(|piece| (0..u64::from(piece.length)).map(|nth| piece.address + nth)).collect();
            let data: Vec<u8> = (0..length).map(|at| at as u8 | 1).collect();
            let memory = memory();
            task(pieces, 0).place(offset, &data, &memory).unwrap();
            let mut expected = vec![0; memory.len()];
            for (place, byte) in places.iter().skip(offset as usize).zip(&data) {
                expected[(place - BASE) as usize] = *byte;
            }
            prop_assert!(all(&memory) == expected);
        }
    }

    #[test]
    fn what_was_not_completed_at_the_target_says_nothing_more() {
        let memory = memory();
        let result = result(ScsiResponseCode::TargetFailure, 2, Residual::None, &[1; 18]);
        assert_eq!(task(Pieces::new(), 512).conclude(&result, &memory), Ok(ReturnCode::ScsiTaskError));
        assert!(all(&memory).iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_response_is_written_as_far_as_there_is_room() {
        const HEADER: usize = size_of::<FcpResponse>();
        let done = ScsiResponseCode::CompletedAtTarget;
        let told = |residual, sense: &[u8], room: usize| {
            let memory = memory();
            let code = task(Pieces::new(), room).conclude(&result(done, 2, residual, sense), &memory).unwrap();
            assert_eq!(code, ReturnCode::ScsiResponseError);
            let bytes = all(&memory)[(RESPONSE - BASE) as usize..].to_vec();
            assert!(bytes[room..].iter().all(|&byte| byte == 0), "nothing behind the room");
            let (unit, rest) = FcpResponse::read_from_prefix(&bytes).unwrap();
            let flag = |flag| unit.flags.is_set(flag);
            let flags =
                [FcpResponseFlags::UNDERRUN, FcpResponseFlags::OVERRUN, FcpResponseFlags::SENSE_VALID].map(flag);
            (unit.status, unit.residual.get(), flags, rest[..unit.sense_length.get() as usize].to_vec())
        };
        assert_eq!(told(Residual::Underflow(7), &[9; 18], 512), (2, 7, [true, false, true], vec![9; 18]));
        assert_eq!(told(Residual::Overflow(8), &[], 512), (2, 8, [false, true, false], vec![]));
        assert_eq!(told(Residual::None, &[9; 18], HEADER + 5), (2, 0, [false, false, true], vec![9; 5]));
        told(Residual::None, &[9; 18], 0);
        let good = result(done, 0, Residual::None, &[]);
        assert_eq!(task(Pieces::new(), 512).conclude(&good, &memory()), Ok(ReturnCode::Success));
    }
}
