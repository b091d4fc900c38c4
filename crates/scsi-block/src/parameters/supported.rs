//! What a unit says that it supports: commands and task management functions (SPC-5 6.34, 6.35).

use crate::octets::{DecodeError, be16, be32, need};

/// One command in the data of REPORT SUPPORTED OPERATION CODES for all commands (SPC-5 6.34.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupportedCommand {
    /// Operation code.
    pub opcode: u8,
    /// Service action, if the operation code has them.
    pub service_action: Option<u16>,
    /// Bytes in the CDB.
    pub length: u16,
}

impl SupportedCommand {
    pub(crate) fn encode(&self, timeouts: bool, to: &mut Vec<u8>) {
        let flags = u8::from(timeouts) << 1 | u8::from(self.service_action.is_some());
        to.extend([self.opcode, 0]);
        to.extend(self.service_action.unwrap_or(0).to_be_bytes());
        to.extend([0, flags]);
        to.extend(self.length.to_be_bytes());
        if timeouts {
            to.extend(TIMEOUTS_DESCRIPTOR);
        }
    }

    /// Reads the list, as far as it came.
    ///
    /// # Errors
    /// There are fewer than four bytes.
    pub fn decode_list(bytes: &[u8]) -> Result<Vec<Self>, DecodeError> {
        let length = be32(need("REPORT SUPPORTED OPERATION CODES data", bytes, 4)?, 0) as usize;
        let mut list = &bytes[4..length.saturating_add(4).min(bytes.len())];
        let mut commands = Vec::new();
        while let Some((descriptor, rest)) = list.split_at_checked(8) {
            commands.push(Self {
                opcode: descriptor[0],
                service_action: (descriptor[5] & 1 != 0).then_some(be16(descriptor, 2)),
                length: be16(descriptor, 6),
            });
            let timeouts = if descriptor[5] & 2 != 0 { TIMEOUTS_DESCRIPTOR.len() } else { 0 };
            list = rest.get(timeouts..).unwrap_or_default();
        }
        Ok(commands)
    }
}

/// A command time-outs descriptor that tells no time (SPC-5 6.34.4).
pub(crate) const TIMEOUTS_DESCRIPTOR: [u8; 12] = [0, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// The task management functions that a unit says it supports (SPC-5 6.35).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskManagementFunctions {
    /// ATS: ABORT TASK.
    pub abort_task: bool,
    /// ATSS: ABORT TASK SET.
    pub abort_task_set: bool,
    /// CACAS: CLEAR ACA.
    pub clear_aca: bool,
    /// CTSS: CLEAR TASK SET.
    pub clear_task_set: bool,
    /// LURS: LOGICAL UNIT RESET.
    pub logical_unit_reset: bool,
    /// QTS: QUERY TASK.
    pub query_task: bool,
    /// QAES: QUERY ASYNCHRONOUS EVENT.
    pub query_asynchronous_event: bool,
    /// QTSS: QUERY TASK SET.
    pub query_task_set: bool,
    /// ITNRS: I_T NEXUS RESET.
    pub i_t_nexus_reset: bool,
}

impl TaskManagementFunctions {
    const SHORT_BYTES: usize = 4;
    const LONG_BYTES: usize = 16;

    /// The long form has room for time-outs, of which it tells none.
    pub(crate) fn encode(&self, long: bool) -> Vec<u8> {
        let first = [
            (self.abort_task, 7),
            (self.abort_task_set, 6),
            (self.clear_aca, 5),
            (self.clear_task_set, 4),
            (self.logical_unit_reset, 3),
            (self.query_task, 2),
        ];
        let second = [(self.query_asynchronous_event, 2), (self.query_task_set, 1), (self.i_t_nexus_reset, 0)];
        let byte = |bits: &[(bool, u8)]| bits.iter().fold(0, |byte, (set, bit)| byte | u8::from(*set) << bit);
        let mut bytes = vec![byte(&first), byte(&second), 0, 0];
        if long {
            bytes[3] = (Self::LONG_BYTES - Self::SHORT_BYTES) as u8;
            bytes.resize(Self::LONG_BYTES, 0);
        }
        bytes
    }

    /// Reads either form.
    ///
    /// # Errors
    /// There are fewer than four bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let bytes = need("REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS data", bytes, Self::SHORT_BYTES)?;
        let bit = |byte: usize, bit: u8| bytes[byte] >> bit & 1 != 0;
        Ok(Self {
            abort_task: bit(0, 7),
            abort_task_set: bit(0, 6),
            clear_aca: bit(0, 5),
            clear_task_set: bit(0, 4),
            logical_unit_reset: bit(0, 3),
            query_task: bit(0, 2),
            query_asynchronous_event: bit(1, 2),
            query_task_set: bit(1, 1),
            i_t_nexus_reset: bit(1, 0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_as_spc_draws_them() {
        let functions =
            TaskManagementFunctions { abort_task: true, query_task: true, i_t_nexus_reset: true, ..Default::default() };
        assert_eq!(functions.encode(false), [0x84, 0x01, 0, 0]);
        assert_eq!(functions.encode(true), [&[0x84, 0x01, 0, 12][..], &[0; 12]].concat());
        assert_eq!(TaskManagementFunctions::decode(&functions.encode(true)), Ok(functions));
    }
}
