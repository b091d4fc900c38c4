//! Work requests whose data the adapter cuts into PDUs (FW_ISCSI_TX_DATA_WR with CPL_TX_DATA_ISO).

use super::Core;
use super::fault::Fault;
use super::flow::{Request as FlowRequest, WaitingBurst};
use super::requests::{Wrong, payload};
use crate::iscsi::Burst;
use iscsi_pdu::{HEADER_LENGTH, Header};
use t5_hal::wire::*;

impl Core {
    /// Takes a burst: its pattern is read now, its data when its turn comes.
    pub(super) fn send_burst(&mut self, who: FunctionId, request: &[u8]) -> Result<(), Wrong> {
        let (data, rest) = OffloadTxData::split_from(request)?;
        let tid = data.flow.get(WorkRequestFlow::FLOWID);
        let flow = self.flow_of(who, tid)?;
        if !flow.flow_known || !flow.is_iscsi() {
            return Err(Fault::NoConnection { tid }.into());
        }
        let (iso, rest) = TxDataIso::split_from(rest)?;
        let burst = Burst::read(&iso)?;
        let immediate = (data.op.get(WorkRequestOp::IMMDLEN) as usize).saturating_sub(size_of::<TxDataIso>());
        let all = payload(immediate, rest)?;
        let mut header = [0; HEADER_LENGTH];
        if all.length() != HEADER_LENGTH + burst.data_bytes() {
            let value = iso.length.get() as usize;
            let (name, expected) = (TxDataIso::NAME, "as much as there is");
            return Err(WireError::Length { name, field: "len", value, expected }.into());
        }
        self.function(who).read_payload(&all.part(0..HEADER_LENGTH), &mut header)?;
        let pattern = Header(header);
        if burst.cut(pattern).next().is_none() {
            return Err(WireError::Opcode { what: "header of this kind of burst", opcode: pattern.0[0] }.into());
        }
        let flags = data
            .flags
            .with_bit(TxDataFlags::ULP_HCRC, iso.op.is_set(IsoOp::HDRCRC))
            .with_bit(TxDataFlags::ULP_DCRC, iso.op.is_set(IsoOp::PLDCRC));
        let credits = data.flow.get(WorkRequestFlow::LEN16);
        let acknowledge = data.op.is_set(WorkRequestOp::COMPL);
        let data = all.part(HEADER_LENGTH..all.length());
        let waiting = WaitingBurst { burst, pattern, data, flags, credits, acknowledge };
        self.queue_request(who, tid, FlowRequest::Burst(Box::new(waiting)), credits)
    }
}
