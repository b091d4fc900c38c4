//! What the session sends, one PDU a poll.

use super::Session;
use super::connection::Connection;
use super::numbering::Numbering;
use super::outbox::{Answer, Queued};
use super::task::{Request, Requests, Standing, Task};
use super::transfer::Unsolicited;
use crate::Parameters;
use iscsi_pdu::ahs::Ahs;
use iscsi_pdu::{Cid, CmdSn, DataOut, InitiatorTaskTag, NopOut, Pdu, ScsiCommand, StatSn};

/// The last of all command priorities (SAM-5 clause 8.7).
const PRIORITY_MAX: u8 = 15;

impl Session {
    // RFC 7143 11.14-1, 11.14-2: an outbox is shut with the logout.
    /// The next PDU to be sent on a connection. After its logout request there is none.
    pub fn poll_transmit(&mut self, cid: Cid) -> Option<Pdu> {
        let connection = self.connections.get_mut(cid).filter(|connection| !connection.outbox.is_shut())?;
        let requests = &mut self.requests;
        if let Some(snack) = connection.next_snack(requests) {
            return Some(snack.into());
        }
        if connection.outbox.is_turn_of_data() {
            connection
                .next_data_out(requests)
                .map(Pdu::from)
                .or_else(|| connection.next_request(requests, self.numbering))
        } else {
            let request = connection.next_request(requests, self.numbering);
            request.or_else(|| connection.next_data_out(requests).map(Pdu::from))
        }
    }
}

impl Connection {
    fn next_request(&mut self, requests: &mut Requests, numbering: Numbering) -> Option<Pdu> {
        Some(match self.outbox.pop()? {
            Queued::Request(tag) => self.request(requests, tag),
            Queued::Answer(answer) => self.answer(answer, numbering.cmd_sn()).into(),
        })
    }

    // RFC 7143 11.18-1, 11.18-2, 11.18.1-2, 11.18.1-4, 11.18.2-1, 11.18.2-3: the tag and the LUN of the ping, and no more.
    /// RFC 7143 11.18.1: a NOP-Out that wants no answer has no Initiator Task Tag and is immediate.
    fn answer(&self, Answer { lun, target_transfer_tag }: Answer, cmd_sn: CmdSn) -> NopOut {
        NopOut {
            immediate: true,
            lun,
            initiator_task_tag: None,
            target_transfer_tag,
            cmd_sn,
            exp_stat_sn: self.exp_stat_sn,
            data: Default::default(),
        }
    }

    fn request(&mut self, requests: &mut Requests, tag: InitiatorTaskTag) -> Pdu {
        let entry = requests.get_mut(tag).expect("a request that is to be sent waits for its answer");
        self.requests_sent = self.requests_sent.wrapping_add(1);
        (entry.standing, entry.sent_as) = (Standing::Sent, self.requests_sent);
        let (cmd_sn, exp_stat_sn) = (entry.cmd_sn, self.exp_stat_sn);
        match &mut entry.request {
            Request::Command(task) => {
                let command = scsi_command(task, tag, cmd_sn, exp_stat_sn, &self.parameters);
                if !command.is_final {
                    self.outbox.push_unsolicited(tag);
                }
                command.into()
            }
            Request::TaskManagement(task) => {
                if self.parameters.task_reporting.makes_fast(task.asked.function) {
                    self.halting.push(tag);
                }
                task.request(tag, cmd_sn, exp_stat_sn).into()
            }
            Request::Text(exchange) => exchange.request(tag, cmd_sn, exp_stat_sn).into(),
            Request::Ping(_) | Request::Plug(_) => nop_out(&mut entry.request, tag, cmd_sn, exp_stat_sn).into(),
            Request::Logout(task) => {
                if task.is_last(self.cid) {
                    self.outbox.shut();
                }
                task.request(tag, cmd_sn, exp_stat_sn).into()
            }
        }
    }

    // RFC 7143 4.2.3.4-3, 4.2.5.1-1, 4.2.5.1-3: of the tasks of this connection, but for those that are to end.
    fn next_data_out(&mut self, requests: &mut Requests) -> Option<DataOut> {
        let halting = &self.halting;
        let tag =
            self.outbox.pop_data(|tag| !halting.iter().any(|function| requests.is_to_be_ended(tag, *function)))?;
        let Some(Request::Command(task)) = requests.get_mut(tag).map(|entry| &mut entry.request) else {
            unreachable!("a task that owes data is a SCSI command");
        };
        let write = task.data.write.as_mut().expect("a task that owes data writes");
        let pdu = write.next_data_out(tag, task.lun, self.exp_stat_sn, &self.parameters)?;
        if !pdu.is_final && pdu.target_transfer_tag.is_none() {
            self.outbox.keep_unsolicited(tag);
        } else if task.data.has_data_to_send() {
            self.outbox.push_solicited(tag);
        }
        Some(pdu)
    }
}

// RFC 7143 10.6-1, 11.3.1-1, 11.3.1-2, 11.3.4-1, 11.3.4-2: never immediate; flags and segments follow from the data.
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
        // RFC 7144: reserved below this level.
        priority: if parameters.has_scsi_features() { task.priority.min(PRIORITY_MAX) } else { 0 },
        lun: task.lun,
        initiator_task_tag: tag,
        expected_data_transfer_length,
        cmd_sn,
        exp_stat_sn,
        cdb: task.cdb,
        ahs: Ahs {
            extended_cdb: (!task.extended_cdb.is_empty()).then(|| task.extended_cdb[16..].into()),
            bidirectional_read_length: task.data.bidirectional_read_length(),
        }
        .encode(),
        data,
    }
}

// RFC 7143 11.18.1-1, 11.18.2-2: a ping has a task tag and no transfer tag.
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
