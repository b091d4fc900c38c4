//! What the session sends, one PDU a poll.

use super::Session;
use super::outbox::{Answer, Queued};
use super::task::{Request, Task};
use super::transfer::Unsolicited;
use crate::Parameters;
use iscsi_pdu::ahs::Ahs;
use iscsi_pdu::{Cid, CmdSn, DataOut, InitiatorTaskTag, LogoutReason, LogoutRequest, NopOut, Pdu, ScsiCommand, StatSn};

impl Session {
    /// The next PDU to be sent on a connection. After the logout request there is none.
    ///
    /// # Panics
    /// If `cid` is not the session's connection: a bug of the caller.
    pub fn poll_transmit(&mut self, cid: Cid) -> Option<Pdu> {
        self.check_cid(cid);
        if self.outbox.is_shut() {
            return None;
        }
        if self.outbox.is_turn_of_data() {
            self.next_data_out().map(Pdu::from).or_else(|| self.next_request())
        } else {
            self.next_request().or_else(|| self.next_data_out().map(Pdu::from))
        }
    }

    fn next_request(&mut self) -> Option<Pdu> {
        Some(match self.outbox.pop()? {
            Queued::Request(tag) => self.request(tag),
            Queued::Answer(answer) => self.answer(answer).into(),
        })
    }

    /// RFC 7143 11.18.1: a NOP-Out that wants no answer has no Initiator Task Tag and is immediate.
    fn answer(&self, Answer { lun, target_transfer_tag }: Answer) -> NopOut {
        NopOut {
            immediate: true,
            lun,
            initiator_task_tag: None,
            target_transfer_tag,
            cmd_sn: self.numbering.cmd_sn(),
            exp_stat_sn: self.numbering.exp_stat_sn(),
            data: Default::default(),
        }
    }

    fn request(&mut self, tag: InitiatorTaskTag) -> Pdu {
        let entry = self.requests.get_mut(tag).expect("a request that is to be sent waits for its answer");
        entry.is_sent = true;
        let (cmd_sn, exp_stat_sn) = (entry.cmd_sn, self.numbering.exp_stat_sn());
        match &mut entry.request {
            Request::Command(task) => {
                let command = scsi_command(task, tag, cmd_sn, exp_stat_sn, &self.parameters);
                if !command.is_final {
                    self.outbox.push_unsolicited(tag);
                }
                command.into()
            }
            Request::TaskManagement(task) => task.request(tag, cmd_sn, exp_stat_sn).into(),
            Request::Text(exchange) => exchange.request(tag, cmd_sn, exp_stat_sn).into(),
            Request::Ping(_) | Request::Plug(_) => nop_out(&mut entry.request, tag, cmd_sn, exp_stat_sn).into(),
            Request::Logout(reason) => {
                let reason = *reason;
                self.outbox.shut();
                logout_request(reason, self.cid, tag, cmd_sn, exp_stat_sn).into()
            }
        }
    }

    fn next_data_out(&mut self) -> Option<DataOut> {
        let tag = self.outbox.pop_data()?;
        let Some(Request::Command(task)) = self.requests.get_mut(tag).map(|entry| &mut entry.request) else {
            unreachable!("a task that owes data is a SCSI command");
        };
        let write = task.data.write.as_mut().expect("a task that owes data writes");
        let pdu = write.next_data_out(tag, task.lun, self.numbering.exp_stat_sn(), &self.parameters)?;
        if !pdu.is_final && pdu.target_transfer_tag.is_none() {
            self.outbox.keep_unsolicited(tag);
        } else if task.data.has_data_to_send() {
            self.outbox.push_solicited(tag);
        }
        Some(pdu)
    }
}

fn scsi_command(
    task: &mut Task,
    tag: InitiatorTaskTag,
    cmd_sn: CmdSn,
    exp_stat_sn: StatSn,
    parameters: &Parameters,
) -> ScsiCommand {
    let expected_data_transfer_length = task.data.expected_length();
    let data = match &mut task.data.write {
        Some(write) => write.begin(Unsolicited::of(expected_data_transfer_length, parameters)),
        None => Default::default(),
    };
    ScsiCommand {
        immediate: false,
        is_final: !task.data.has_data_to_send(),
        read: task.data.read.is_some(),
        write: task.data.write.is_some(),
        attribute: task.attribute,
        lun: task.lun,
        initiator_task_tag: tag,
        expected_data_transfer_length,
        cmd_sn,
        exp_stat_sn,
        cdb: task.cdb,
        ahs: Ahs {
            extended_cdb: (!task.extended_cdb.is_empty()).then(|| task.extended_cdb.slice(16..)),
            bidirectional_read_length: task.data.bidirectional_read_length(),
        }
        .encode(),
        data,
    }
}

fn nop_out(request: &mut Request, tag: InitiatorTaskTag, cmd_sn: CmdSn, exp_stat_sn: StatSn) -> NopOut {
    NopOut {
        immediate: request.is_immediate(),
        lun: Default::default(),
        initiator_task_tag: Some(tag),
        target_transfer_tag: None,
        cmd_sn,
        exp_stat_sn,
        data: if let Request::Ping(data) = request { core::mem::take(data) } else { Default::default() },
    }
}

fn logout_request(
    reason: LogoutReason,
    cid: Cid,
    initiator_task_tag: InitiatorTaskTag,
    cmd_sn: CmdSn,
    exp_stat_sn: StatSn,
) -> LogoutRequest {
    // RFC 7143 11.14.3: the CID means nothing when the whole session is to end.
    let cid = if reason == LogoutReason::CloseSession { Cid(0) } else { cid };
    LogoutRequest { immediate: true, reason, initiator_task_tag, cid, cmd_sn, exp_stat_sn }
}
