//! Sessions of programs that are not ours, read by our decoder and by tshark: both must see the same.
//!
//! `tests/captures/NAME.bin` holds the TCP streams of a capture and `NAME.jsonl` what tshark reads in them, one line
//! a PDU in the same order (`tests/captures/dump.py` explains and regenerates both).

use std::{fs, path::Path};

use bytes::{Buf, Bytes};
use iscsi_pdu::{
    CmdSn, DataInStatus, Frame, HEADER_LENGTH, Header, InitiatorTaskTag, LunField, Opcode, Pdu, Residual, StatSn,
    TargetTransferTag, digest, padding, text,
};
use serde_json::{Map, Value};

/// Members of a line that place the PDU in the capture, or that are checked by name.
const PLACE: [&str; 10] =
    ["connection", "from", "frame", "offset", "length", "header_digest", "data_digest", "keys", "padding", "isid"];

#[test]
fn plain_session() {
    compare("tgt-session", 88);
}

#[test]
fn header_digests() {
    compare("tgt-hdigest", 42);
}

#[test]
fn header_and_data_digests() {
    compare("tgt-digest", 60);
}

#[test]
fn chap() {
    compare("tgt-chap", 50);
}

fn compare(name: &str, pdus: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures");
    let stream = Bytes::from(fs::read(folder.join(name).with_extension("bin")).expect("the streams are in the tree"));
    let lines = fs::read_to_string(folder.join(name).with_extension("jsonl")).expect("the dump is in the tree");
    let mut offset = 0;
    for line in lines.lines() {
        let seen: Map<String, Value> = serde_json::from_str(line).expect("a line is a JSON object");
        assert_eq!(seen["offset"], offset, "{line}");
        let whole = stream.slice(offset..offset + seen["length"].as_u64().expect("a length") as usize);
        offset += whole.len();
        check(&whole, &seen);
    }
    assert_eq!((offset, lines.lines().count()), (stream.len(), pdus));
}

/// One PDU: `whole` is all of it, `seen` what tshark says.
fn check(whole: &Bytes, seen: &Map<String, Value>) {
    let header = Header(whole[..HEADER_LENGTH].try_into().expect("48 bytes"));
    let mut rest = whole.slice(HEADER_LENGTH..);
    let ahs = rest.split_to(header.ahs_length());
    if !seen["header_digest"].is_null() {
        assert_eq!(rest.split_to(digest::DIGEST_LENGTH)[..], digest::header(&header, &ahs), "header digest: {seen:?}");
    }
    let data = rest.split_to(header.data_segment_length());
    rest.advance(padding(data.len()));
    if !seen["data_digest"].is_null() {
        assert_eq!(rest.split_to(digest::DIGEST_LENGTH)[..], digest::data(&data), "data digest: {seen:?}");
    }
    assert!(rest.is_empty(), "tshark's PDU ends where ours does: {seen:?}");
    if let Some(keys) = seen.get("keys") {
        let ours: Vec<String> =
            text::pairs(&data).map(|pair| pair.map(|(key, value)| format!("{key}={value}")).expect("a text")).collect();
        assert_eq!(*keys, Value::from(ours), "{seen:?}");
    }

    let frame = Frame { header, ahs: ahs.as_ref().into(), data };
    let pdu = Pdu::decode(frame.clone()).unwrap_or_else(|error| panic!("{error}: {seen:?}"));
    let mut fields = Fields(Map::new());
    fields.header(&header);
    fields.pdu(&pdu);
    for (name, value) in seen.iter().filter(|(name, _)| !PLACE.contains(&name.as_str())) {
        assert_eq!(fields.0.get(name), Some(value), "{name} of {pdu:?}");
    }
    assert_eq!(pdu.encode(), without_reserved_bits(frame), "what is read is written again as it was");
}

/// libiscsi fills in NSG where it is reserved, in a Login Request without the T bit (RFC 7143 section 11.12.3).
fn without_reserved_bits(mut frame: Frame) -> Frame {
    if frame.header.opcode() == Opcode::LoginRequest && frame.header.0[1] & 0x80 == 0 {
        frame.header.0[1] &= !3;
    }
    frame
}

/// A decoded PDU under tshark's names.
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, name: &str, value: impl Into<u64>) {
        self.0.insert(name.to_owned(), value.into().into());
    }

    /// What every header has. Bit I is shown only where it may be set.
    fn header(&mut self, header: &Header) {
        self.put("opcode", header.opcode().to_wire());
        self.put("I", header.is_immediate());
        self.put("flags", header.0[1]);
        self.put("totalahslength", (header.ahs_length() / 4) as u64);
        self.put("datasegmentlength", header.data_segment_length() as u64);
    }

    fn tags(&mut self, task: InitiatorTaskTag, transfer: Option<Option<TargetTransferTag>>) {
        self.put("initiatortasktag", task.0);
        if let Some(transfer) = transfer {
            self.put("targettransfertag", transfer.map_or(u32::MAX, |tag| tag.0));
        }
    }

    /// The first level of the LUN field, without the addressing method.
    fn lun(&mut self, lun: LunField) {
        self.put("lun", u16::from_be_bytes([lun.0[0] & 0x3f, lun.0[1]]));
    }

    fn initiator_numbers(&mut self, cmd_sn: CmdSn, exp_stat_sn: StatSn) {
        self.put("cmdsn", cmd_sn.0);
        self.put("expstatsn", exp_stat_sn.0);
    }

    fn target_numbers(&mut self, stat_sn: Option<StatSn>, exp_cmd_sn: CmdSn, max_cmd_sn: CmdSn) {
        if let Some(stat_sn) = stat_sn {
            self.put("statsn", stat_sn.0);
        }
        self.put("expcmdsn", exp_cmd_sn.0);
        self.put("maxcmdsn", max_cmd_sn.0);
    }

    fn residual(&mut self, overflow: &str, underflow: &str, count: &str, residual: Residual) {
        let (over, under, bytes) = match residual {
            Residual::None => (false, false, 0),
            Residual::Overflow(bytes) => (true, false, bytes),
            Residual::Underflow(bytes) => (false, true, bytes),
        };
        self.put(overflow, over);
        self.put(underflow, under);
        self.put(count, bytes);
    }

    fn pdu(&mut self, pdu: &Pdu) {
        match pdu {
            Pdu::ScsiCommand(command) => {
                self.tags(command.initiator_task_tag, None);
                self.lun(command.lun);
                self.initiator_numbers(command.cmd_sn, command.exp_stat_sn);
                self.put("scsicommand.F", command.is_final);
                self.put("scsicommand.R", command.read);
                self.put("scsicommand.W", command.write);
                self.put("scsicommand.attr", command.attribute as u8);
                self.put("scsicommand.expecteddatatransferlength", command.expected_data_transfer_length);
            }
            Pdu::ScsiResponse(response) => {
                self.tags(response.initiator_task_tag, None);
                self.target_numbers(Some(response.stat_sn), response.exp_cmd_sn, response.max_cmd_sn);
                self.put("scsiresponse.response", response.response.to_wire());
                self.put("scsiresponse.status", response.status);
                self.put("expdatasn", response.exp_data_sn);
                self.residual("scsiresponse.O", "scsiresponse.U", "scsiresponse.residualcount", response.residual);
                self.residual(
                    "scsiresponse.o",
                    "scsiresponse.u",
                    "scsiresponse.bidireadresidualcount",
                    response.bidirectional_read_residual,
                );
                if let Some(length) = response.data.first_chunk() {
                    self.put("scsiresponse.senselength", u16::from_be_bytes(*length));
                }
            }
            Pdu::DataIn(data_in) => {
                self.tags(data_in.initiator_task_tag, None);
                let status = data_in.status;
                self.target_numbers(status.map(|status| status.stat_sn), data_in.exp_cmd_sn, data_in.max_cmd_sn);
                self.put("scsidata.F", data_in.is_final);
                self.put("scsidata.A", data_in.acknowledge);
                self.put("scsidata.S", status.is_some());
                if let Some(DataInStatus { status, .. }) = status {
                    self.put("scsiresponse.status", status);
                }
                let residual = status.map_or(Residual::None, |status| status.residual);
                self.residual("scsidata.O", "scsidata.U", "scsidata.readresidualcount", residual);
                self.put("datasn", data_in.data_sn);
                self.put("bufferOffset", data_in.buffer_offset);
            }
            Pdu::DataOut(data_out) => {
                self.tags(data_out.initiator_task_tag, Some(data_out.target_transfer_tag));
                self.lun(data_out.lun);
                self.put("expstatsn", data_out.exp_stat_sn.0);
                self.put("scsidata.F", data_out.is_final);
                self.put("datasn", data_out.data_sn);
                self.put("bufferOffset", data_out.buffer_offset);
            }
            Pdu::R2t(r2t) => {
                self.tags(r2t.initiator_task_tag, Some(Some(r2t.target_transfer_tag)));
                self.lun(r2t.lun);
                self.target_numbers(Some(r2t.stat_sn), r2t.exp_cmd_sn, r2t.max_cmd_sn);
                self.put("r2tsn", r2t.r2t_sn);
                self.put("bufferOffset", r2t.buffer_offset);
                self.put("desireddatalength", r2t.desired_data_transfer_length);
            }
            Pdu::LoginRequest(login) => {
                self.tags(login.initiator_task_tag, None);
                self.initiator_numbers(login.cmd_sn, login.exp_stat_sn);
                self.login(login.transit.map(|stage| stage as u8), login.continues, login.current_stage as u8);
                self.put("versionmax", login.version_max);
                self.put("versionmin", login.version_min);
                self.put("tsih", login.tsih.0);
                self.put("cid", login.cid.0);
            }
            Pdu::LoginResponse(login) => {
                self.tags(login.initiator_task_tag, None);
                self.target_numbers(Some(login.stat_sn), login.exp_cmd_sn, login.max_cmd_sn);
                self.login(login.transit.map(|stage| stage as u8), login.continues, login.current_stage as u8);
                self.put("versionmax", login.version_max);
                self.put("versionactive", login.version_active);
                self.put("tsih", login.tsih.0);
                self.put("login.status", u16::from_be_bytes([login.status.class(), login.status.detail()]));
            }
            Pdu::TextRequest(text) => {
                self.tags(text.initiator_task_tag, Some(text.target_transfer_tag));
                self.lun(text.lun);
                self.initiator_numbers(text.cmd_sn, text.exp_stat_sn);
                self.put("text.F", text.is_final);
                self.put("text.C", text.continues);
            }
            Pdu::TextResponse(text) => {
                self.tags(text.initiator_task_tag, Some(text.target_transfer_tag));
                self.lun(text.lun);
                self.target_numbers(Some(text.stat_sn), text.exp_cmd_sn, text.max_cmd_sn);
                self.put("text.F", text.is_final);
                self.put("text.C", text.continues);
            }
            Pdu::LogoutRequest(logout) => {
                self.tags(logout.initiator_task_tag, None);
                self.initiator_numbers(logout.cmd_sn, logout.exp_stat_sn);
                self.put("logout.reason", logout.reason as u8);
                self.put("cid", logout.cid.0);
            }
            Pdu::LogoutResponse(logout) => {
                self.tags(logout.initiator_task_tag, None);
                self.target_numbers(Some(logout.stat_sn), logout.exp_cmd_sn, logout.max_cmd_sn);
                self.put("logout.response", logout.response.to_wire());
                self.put("time2wait", logout.time_2_wait);
                self.put("time2retain", logout.time_2_retain);
            }
            other => panic!("no capture had this when the test was written: {other:?}"),
        }
    }

    fn login(&mut self, transit: Option<u8>, continues: bool, current: u8) {
        // The stages are 0, 1 and 3; an enumeration counts 0, 1 and 2.
        let stage = |index: u8| if index == 2 { 3 } else { index };
        self.put("login.T", transit.is_some());
        self.put("login.C", continues);
        self.put("login.csg", stage(current));
        if let Some(next) = transit {
            self.put("login.nsg", stage(next));
        }
    }
}
