//! Sessions that libiscsi and QEMU had with tgt, from the captures of the test suite: our initiator is asked for the same
//! commands, must send the same PDUs, and gets tgt's answers.

use super::*;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// The PDUs of one connection, in their order.
type Conversation = Vec<Pdu>;

fn read_capture(name: &str) -> Vec<Conversation> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/captures");
    let bytes = Bytes::from(std::fs::read(folder.join(format!("{name}.bin"))).unwrap());
    let index = std::fs::read_to_string(folder.join(format!("{name}.jsonl"))).unwrap();
    let mut connections = BTreeMap::<usize, Vec<(usize, Pdu)>>::new();
    for line in index.lines() {
        let offset = number(line, "offset");
        let header = Header(*bytes[offset..].first_chunk::<HEADER_LENGTH>().unwrap());
        let digest = if line.contains("\"header_digest\": null") { 0 } else { 4 };
        let ahs = bytes[offset + HEADER_LENGTH..][..header.ahs_length()].into();
        let data = bytes.slice(offset + HEADER_LENGTH + header.ahs_length() + digest..);
        let frame = Frame::new(header, ahs, data.slice(..header.data_segment_length()));
        let pdu = Pdu::decode(frame).unwrap();
        connections.entry(number(line, "connection")).or_default().push((number(line, "frame"), pdu));
    }
    let in_order = |mut pdus: Vec<(usize, Pdu)>| {
        pdus.sort_by_key(|(frame, _)| *frame);
        pdus.into_iter().map(|(_, pdu)| pdu).collect()
    };
    connections.into_values().map(in_order).collect()
}

fn number(line: &str, name: &str) -> usize {
    let (_, rest) = line.split_once(&format!("\"{name}\": ")).unwrap();
    rest.split(',').next().unwrap().parse().unwrap()
}

/// The session after the login, if it went well.
fn logged_in(conversation: &Conversation) -> Option<Bench> {
    let last = conversation.iter().rev().find_map(|pdu| match pdu {
        Pdu::LoginResponse(response) => Some(response),
        _ => None,
    })?;
    let request = conversation.iter().rev().find_map(|pdu| match pdu {
        Pdu::LoginRequest(request) => Some(request),
        _ => None,
    })?;
    // What the two had agreed upon, as the login's tests read it.
    let parameters = Parameters { receive_segment_bytes_max: 262_144, ..Parameters::default() };
    let outcome = LoginOutcome {
        cid: CID,
        cmd_sn: request.cmd_sn,
        stat_sn: last.stat_sn.next(),
        max_cmd_sn: last.max_cmd_sn,
        ..outcome(parameters)
    };
    (last.status == LoginStatus::Success).then(|| Bench::with(outcome))
}

/// The data of every write, from all the PDUs that carried it.
fn written(conversation: &Conversation) -> HashMap<InitiatorTaskTag, Vec<u8>> {
    let mut writes = HashMap::<_, Vec<u8>>::new();
    for pdu in conversation {
        match pdu {
            Pdu::ScsiCommand(pdu) if pdu.write => {
                let mut data = vec![0; pdu.expected_data_transfer_length as usize];
                data[..pdu.data.len()].copy_from_slice(&pdu.data);
                writes.insert(pdu.initiator_task_tag, data);
            }
            Pdu::DataOut(pdu) => {
                let data = writes.get_mut(&pdu.initiator_task_tag).unwrap();
                data[pdu.buffer_offset as usize..][..pdu.data.len()].copy_from_slice(&pdu.data);
            }
            _ => {}
        }
    }
    writes
}

/// What has to be the same: all but the acknowledgement, which libiscsi makes later than we do.
fn comparable(pdu: &Pdu) -> Option<Pdu> {
    match pdu.clone() {
        Pdu::ScsiCommand(pdu) => {
            Some(ScsiCommand { exp_stat_sn: StatSn(0), attribute: TaskAttribute::Simple, ..pdu }.into())
        }
        Pdu::DataOut(pdu) => Some(DataOut { exp_stat_sn: StatSn(0), ..pdu }.into()),
        _ => None,
    }
}

fn tag_of(pdu: &Pdu) -> u32 {
    pdu.clone().encode().header.initiator_task_tag()
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    sessions: usize,
    commands: usize,
    data_outs: usize,
    logouts: usize,
}

fn replay(conversation: &Conversation, tally: &mut Tally) {
    let Some(mut bench) = logged_in(conversation) else { return };
    let writes = written(conversation);
    let (mut theirs, mut ours, mut outstanding) = (Vec::new(), Vec::new(), 0);
    for pdu in conversation {
        theirs.extend(comparable(pdu));
        match pdu.clone() {
            Pdu::ScsiCommand(pdu) => {
                let data = match (pdu.read, pdu.write) {
                    (_, true) => Transfer::Write(writes[&pdu.initiator_task_tag].clone().into()),
                    (true, false) => Transfer::Read(pdu.expected_data_transfer_length),
                    (false, false) => Transfer::None,
                };
                let command = Command { lun: pdu.lun, cdb: pdu.cdb, data, ..Command::default() };
                bench.session.submit(bench.now, CID, pdu.initiator_task_tag, command).expect("the window is open");
                outstanding += 1;
            }
            Pdu::NopOut(NopOut { initiator_task_tag: Some(tag), data, .. }) => {
                bench.session.ping(bench.now, CID, tag, data);
            }
            Pdu::TextRequest(pdu) => {
                bench.session.send_targets(bench.now, CID, pdu.initiator_task_tag, SendTargetsScope::All);
            }
            Pdu::LogoutRequest(pdu) => {
                let logout = match pdu.reason {
                    LogoutReason::CloseSession => Logout::Session,
                    LogoutReason::CloseConnection => Logout::Connection(CID),
                    LogoutReason::RemoveForRecovery => Logout::ForRecovery(CID),
                };
                bench.session.logout(bench.now, CID, pdu.initiator_task_tag, logout);
            }
            Pdu::LoginRequest(_) | Pdu::LoginResponse(_) | Pdu::NopOut(_) | Pdu::DataOut(_) => {}
            from_target => bench.take(from_target),
        }
        ours.extend(bench.sent().iter().filter_map(comparable));
        for event in bench.events() {
            match event {
                Event::TaskComplete { .. } => outstanding -= 1,
                Event::Closed(reason) => {
                    assert_eq!(reason, CloseReason::LoggedOut);
                    tally.logouts += 1;
                }
                Event::Data { .. } | Event::PingComplete { .. } | Event::LogoutComplete { .. } => {}
                Event::Targets { targets, .. } => assert!(!targets.is_empty()),
                other => panic!("{other:?}"),
            }
        }
    }
    // How tasks take turns is everybody's own choice.
    ours.sort_by_key(tag_of);
    theirs.sort_by_key(tag_of);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
    assert_eq!((ours.len(), outstanding), (theirs.len(), 0));
    tally.sessions += 1;
    tally.commands += ours.iter().filter(|pdu| matches!(pdu, Pdu::ScsiCommand(_))).count();
    tally.data_outs += ours.iter().filter(|pdu| matches!(pdu, Pdu::DataOut(_))).count();
}

#[test]
fn our_initiator_talks_with_tgt() {
    let mut tally = Tally::default();
    for name in ["tgt-session", "tgt-chap", "tgt-digest", "tgt-hdigest"] {
        for conversation in read_capture(name) {
            replay(&conversation, &mut tally);
        }
    }
    assert_eq!(tally, Tally { sessions: 14, commands: 75, data_outs: 7, logouts: 13 });
}
