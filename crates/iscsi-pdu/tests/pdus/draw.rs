//! A PDU of any kind with any values that mean something.

use bytes::Bytes;
use iscsi_pdu::*;

/// Takes values off a supply of words that the property test has drawn.
pub(crate) struct Draw {
    pub(crate) words: std::vec::IntoIter<u32>,
    pub(crate) data: Bytes,
}

impl Draw {
    fn u32(&mut self) -> u32 {
        self.words.next().expect("enough words are drawn")
    }

    fn bool(&mut self) -> bool {
        self.u32() & 1 == 1
    }

    fn u16(&mut self) -> u16 {
        self.u32() as u16
    }

    fn u8(&mut self) -> u8 {
        self.u32() as u8
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.u8())
    }

    fn lun(&mut self) -> LunField {
        LunField(self.bytes())
    }

    fn cmd_sn(&mut self) -> CmdSn {
        CmdSn(self.u32())
    }

    fn stat_sn(&mut self) -> StatSn {
        StatSn(self.u32())
    }

    fn initiator_task_tag(&mut self) -> InitiatorTaskTag {
        InitiatorTaskTag(self.u32().min(u32::MAX - 1))
    }

    fn target_transfer_tag(&mut self) -> TargetTransferTag {
        TargetTransferTag(self.u32().min(u32::MAX - 1))
    }

    fn maybe<T>(&mut self, draw: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.bool().then(|| draw(self))
    }

    fn residual(&mut self) -> Residual {
        let count = self.u32();
        [Residual::None, Residual::Overflow(count), Residual::Underflow(count)][self.u32() as usize % 3]
    }

    /// The stage of a login, whether it transits, and whether its text continues: not both.
    fn progress(&mut self) -> (Option<Stage>, bool, Stage) {
        let stages = [Stage::SecurityNegotiation, Stage::LoginOperationalNegotiation, Stage::FullFeaturePhase];
        let transit = self.maybe(|draw| stages[draw.u32() as usize % 3]);
        (transit, transit.is_none() && self.bool(), stages[self.u32() as usize % 2])
    }

    /// One of 18 kinds, in the order of `MEANING`.
    pub(crate) fn pdu(&mut self, kind: usize) -> Pdu {
        [
            Self::nop_out,
            Self::nop_in,
            Self::scsi_command,
            Self::scsi_response,
            Self::task_management_request,
            Self::task_management_response,
            Self::data_out,
            Self::data_in,
            Self::r2t,
            Self::async_message,
            Self::text_request,
            Self::text_response,
            Self::login_request,
            Self::login_response,
            Self::logout_request,
            Self::logout_response,
            Self::snack,
            Self::reject,
        ][kind](self)
    }

    fn nop_out(&mut self) -> Pdu {
        NopOut {
            immediate: self.bool(),
            lun: self.lun(),
            initiator_task_tag: self.maybe(Self::initiator_task_tag),
            target_transfer_tag: self.maybe(Self::target_transfer_tag),
            cmd_sn: self.cmd_sn(),
            exp_stat_sn: self.stat_sn(),
            data: self.data.clone(),
        }
        .into()
    }

    fn nop_in(&mut self) -> Pdu {
        NopIn {
            lun: self.lun(),
            initiator_task_tag: self.maybe(Self::initiator_task_tag),
            target_transfer_tag: self.maybe(Self::target_transfer_tag),
            stat_sn: self.stat_sn(),
            exp_cmd_sn: self.cmd_sn(),
            max_cmd_sn: self.cmd_sn(),
            data: self.data.clone(),
        }
        .into()
    }

    fn scsi_command(&mut self) -> Pdu {
        use TaskAttribute::{Aca, HeadOfQueue, Ordered, Simple, Untagged};
        ScsiCommand {
            immediate: self.bool(),
            is_final: self.bool(),
            read: self.bool(),
            write: self.bool(),
            attribute: [Untagged, Simple, Ordered, HeadOfQueue, Aca][self.u32() as usize % 5],
            priority: self.u8() & 0xf,
            lun: self.lun(),
            initiator_task_tag: self.initiator_task_tag(),
            expected_data_transfer_length: self.u32(),
            cmd_sn: self.cmd_sn(),
            exp_stat_sn: self.stat_sn(),
            cdb: self.bytes(),
            ahs: vec![self.u8(); self.u32() as usize % 256 * 4].into(),
            data: self.data.clone(),
        }
        .into()
    }

    fn scsi_response(&mut self) -> Pdu {
        let response = match self.u8() {
            code @ (0x02..=0x7f) => ScsiResponseCode::from_wire(code | 0x80),
            code => ScsiResponseCode::from_wire(code),
        };
        let (status, status_qualifier, bidirectional_read_residual, residual) = match response {
            ScsiResponseCode::CompletedAtTarget => (self.u8(), self.u32() as u16, self.residual(), self.residual()),
            // Of a failure nothing else means anything.
            _ => Default::default(),
        };
        ScsiResponse {
            response,
            status,
            status_qualifier,
            initiator_task_tag: self.initiator_task_tag(),
            snack_tag: self.u32(),
            stat_sn: self.stat_sn(),
            exp_cmd_sn: self.cmd_sn(),
            max_cmd_sn: self.cmd_sn(),
            exp_data_sn: self.u32(),
            bidirectional_read_residual,
            residual,
            data: self.data.clone(),
        }
        .into()
    }

    fn task_management_request(&mut self) -> Pdu {
        TaskManagementRequest {
            immediate: self.bool(),
            function: TaskManagementFunction::from_wire(self.u8() & 0x7f),
            lun: self.lun(),
            initiator_task_tag: self.initiator_task_tag(),
            referenced_task_tag: self.maybe(Self::initiator_task_tag),
            cmd_sn: self.cmd_sn(),
            exp_stat_sn: self.stat_sn(),
            ref_cmd_sn: self.cmd_sn(),
            exp_data_sn: self.u32(),
        }
        .into()
    }

    fn task_management_response(&mut self) -> Pdu {
        let [_, additional_information @ ..] = self.u32().to_be_bytes();
        TaskManagementResponse {
            response: TaskManagementResponseCode::from_wire(self.u8()),
            additional_information,
            initiator_task_tag: self.initiator_task_tag(),
            stat_sn: self.stat_sn(),
            exp_cmd_sn: self.cmd_sn(),
            max_cmd_sn: self.cmd_sn(),
        }
        .into()
    }

    fn data_out(&mut self) -> Pdu {
        DataOut {
            is_final: self.bool(),
            lun: self.lun(),
            initiator_task_tag: self.initiator_task_tag(),
            target_transfer_tag: self.maybe(Self::target_transfer_tag),
            exp_stat_sn: self.stat_sn(),
            data_sn: self.u32(),
            buffer_offset: self.u32(),
            data: self.data.clone(),
        }
        .into()
    }

    fn data_in(&mut self) -> Pdu {
        let status =
            self.maybe(|draw| DataInStatus { status: draw.u8(), stat_sn: draw.stat_sn(), residual: draw.residual() });
        DataIn {
            is_final: status.is_some() || self.bool(),
            acknowledge: self.bool(),
            status,
            lun: self.lun(),
            initiator_task_tag: self.initiator_task_tag(),
            target_transfer_tag: self.maybe(Self::target_transfer_tag),
            exp_cmd_sn: self.cmd_sn(),
            max_cmd_sn: self.cmd_sn(),
            data_sn: self.u32(),
            buffer_offset: self.u32(),
            data: self.data.clone(),
        }
        .into()
    }

    fn r2t(&mut self) -> Pdu {
        R2t {
            lun: self.lun(),
            initiator_task_tag: self.initiator_task_tag(),
            target_transfer_tag: self.target_transfer_tag(),
            stat_sn: self.stat_sn(),
            exp_cmd_sn: self.cmd_sn(),
            max_cmd_sn: self.cmd_sn(),
            r2t_sn: self.u32(),
            buffer_offset: self.u32(),
            desired_data_transfer_length: self.u32().max(1),
        }
        .into()
    }

    fn async_message(&mut self) -> Pdu {
        AsyncMessage {
            event: AsyncEvent::from_wire(self.u8()),
            vendor_code: self.u8(),
            lun: self.lun(),
            stat_sn: self.stat_sn(),
            exp_cmd_sn: self.cmd_sn(),
            max_cmd_sn: self.cmd_sn(),
            parameter_1: self.u16(),
            parameter_2: self.u16(),
            parameter_3: self.u16(),
            data: self.data.clone(),
        }
        .into()
    }

    fn text_request(&mut self) -> Pdu {
        let is_final = self.bool();
        TextRequest {
            immediate: self.bool(),
            is_final,
            continues: !is_final && self.bool(),
            lun: self.lun(),
            initiator_task_tag: self.initiator_task_tag(),
            target_transfer_tag: self.maybe(Self::target_transfer_tag),
            cmd_sn: self.cmd_sn(),
            exp_stat_sn: self.stat_sn(),
            data: self.data.clone(),
        }
        .into()
    }

    fn text_response(&mut self) -> Pdu {
        let is_final = self.bool();
        TextResponse {
            is_final,
            continues: !is_final && self.bool(),
            lun: self.lun(),
            initiator_task_tag: self.initiator_task_tag(),
            target_transfer_tag: self.maybe(Self::target_transfer_tag),
            stat_sn: self.stat_sn(),
            exp_cmd_sn: self.cmd_sn(),
            max_cmd_sn: self.cmd_sn(),
            data: self.data.clone(),
        }
        .into()
    }

    fn login_request(&mut self) -> Pdu {
        let (transit, continues, current_stage) = self.progress();
        LoginRequest {
            transit,
            continues,
            current_stage,
            version_max: self.u8(),
            version_min: self.u8(),
            isid: Isid(self.bytes()),
            tsih: Tsih(self.u16()),
            initiator_task_tag: self.initiator_task_tag(),
            cid: Cid(self.u16()),
            cmd_sn: self.cmd_sn(),
            exp_stat_sn: self.stat_sn(),
            data: self.data.clone(),
        }
        .into()
    }

    fn login_response(&mut self) -> Pdu {
        let status = LoginStatus::NAMED[self.u32() as usize % LoginStatus::NAMED.len()];
        let (transit, continues, current_stage) = match self.progress() {
            // A refusal goes nowhere.
            (_, _, current_stage) if status.class() != 0 => (None, false, current_stage),
            progress => progress,
        };
        LoginResponse {
            transit,
            continues,
            current_stage,
            version_max: self.u8(),
            version_active: self.u8(),
            isid: Isid(self.bytes()),
            tsih: Tsih(self.u16()),
            initiator_task_tag: self.initiator_task_tag(),
            stat_sn: self.stat_sn(),
            exp_cmd_sn: self.cmd_sn(),
            max_cmd_sn: self.cmd_sn(),
            status,
            data: self.data.clone(),
        }
        .into()
    }

    fn logout_request(&mut self) -> Pdu {
        use LogoutReason::{CloseConnection, CloseSession, RemoveForRecovery};
        LogoutRequest {
            immediate: self.bool(),
            reason: [CloseSession, CloseConnection, RemoveForRecovery][self.u32() as usize % 3],
            initiator_task_tag: self.initiator_task_tag(),
            cid: Cid(self.u16()),
            cmd_sn: self.cmd_sn(),
            exp_stat_sn: self.stat_sn(),
        }
        .into()
    }

    fn logout_response(&mut self) -> Pdu {
        LogoutResponse {
            response: LogoutResponseCode::from_wire(self.u8()),
            initiator_task_tag: self.initiator_task_tag(),
            stat_sn: self.stat_sn(),
            exp_cmd_sn: self.cmd_sn(),
            max_cmd_sn: self.cmd_sn(),
            time_2_wait: self.u16(),
            time_2_retain: self.u16(),
        }
        .into()
    }

    fn snack(&mut self) -> Pdu {
        use SnackType::{DataAck, DataR2t, RData, Status};
        Snack {
            kind: [DataR2t, Status, DataAck, RData][self.u32() as usize % 4],
            lun: self.lun(),
            initiator_task_tag: self.maybe(Self::initiator_task_tag),
            transfer_or_snack_tag: self.u32(),
            exp_stat_sn: self.stat_sn(),
            begin_run: self.u32(),
            run_length: self.u32(),
        }
        .into()
    }

    fn reject(&mut self) -> Pdu {
        Reject {
            reason: RejectReason::from_wire(self.u8()),
            stat_sn: self.stat_sn(),
            exp_cmd_sn: self.cmd_sn(),
            max_cmd_sn: self.cmd_sn(),
            data_sn: self.u32(),
            rejected: Header(self.bytes()),
        }
        .into()
    }
}
