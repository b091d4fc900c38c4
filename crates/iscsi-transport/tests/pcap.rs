//! What tshark, where it is installed, reads in a capture of ours: a login that turns digests on, then commands and data.

use bytes::{Bytes, BytesMut};
use iscsi_pdu::{
    CmdSn, DataIn, DataInStatus, InitiatorTaskTag, LoginRequest, LoginResponse, NopOut, Pdu, ScsiCommand, Stage,
    StatSn, Tsih, text,
};
use iscsi_transport::{
    BufferPool, Capture, Digests, MemoryStream, PcapPort, PduPort, ReceiveLimits, Received, SoftwarePort,
};
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const TAG: InitiatorTaskTag = InitiatorTaskTag(0x1234);
const BOTH: Digests = Digests { header: true, data: true };

fn keys(pairs: &[(&str, &str)]) -> Bytes {
    let mut data = BytesMut::new();
    pairs.iter().for_each(|(key, value)| text::push(&mut data, key, value));
    data.freeze()
}

/// A session as its initiator sees it, captured there. How many PDUs it has.
fn capture_session(file: File, initiator: SocketAddr, target: SocketAddr) -> usize {
    let (here, there) = MemoryStream::pair(usize::MAX);
    let pool = BufferPool::new();
    let capture = Capture::new(file, || Duration::from_millis(1_700_000_000_123)).unwrap();
    let mut port = PcapPort::new(SoftwarePort::new(here, pool.clone()), capture.clone(), initiator, target);
    let mut peer = SoftwarePort::new(there, pool);
    let stages = (Some(Stage::FullFeaturePhase), Stage::LoginOperationalNegotiation);
    let digests = [("HeaderDigest", "CRC32C"), ("DataDigest", "CRC32C")];
    let names = [("InitiatorName", "iqn.2026-01.org.example:i"), ("TargetName", "iqn.2026-01.org.example:t")];
    let request = LoginRequest {
        transit: stages.0,
        current_stage: stages.1,
        initiator_task_tag: TAG,
        cmd_sn: CmdSn(1),
        data: keys(&[&names[..], &[("SessionType", "Normal")], &digests].concat()),
        ..LoginRequest::default()
    };
    let response = LoginResponse {
        transit: stages.0,
        current_stage: stages.1,
        tsih: Tsih(1),
        initiator_task_tag: TAG,
        exp_cmd_sn: CmdSn(1),
        max_cmd_sn: CmdSn(32),
        data: keys(&digests),
        ..LoginResponse::default()
    };
    let mut count = 0;
    let mut go = |pdu: Pdu, from: &mut dyn PduPort, to: &mut dyn PduPort| {
        from.send(pdu.clone().encode());
        from.flush().unwrap();
        assert_eq!(to.receive().unwrap(), Some(Received::Frame(pdu.encode())));
        count += 1;
    };
    go(request.into(), &mut port, &mut peer);
    go(response.into(), &mut peer, &mut port);
    for end in [&mut port as &mut dyn PduPort, &mut peer] {
        end.set_digests(BOTH);
        end.set_receive_limits(ReceiveLimits::of_segments(1 << 18));
    }
    for (number, length) in [512u32, 1 << 18, 513, 514, 515].into_iter().enumerate() {
        let number = number as u32;
        let mut cdb = [0; 16];
        (cdb[0], cdb[8]) = (0x28, 1);
        let read = ScsiCommand {
            is_final: true,
            read: true,
            initiator_task_tag: InitiatorTaskTag(number),
            expected_data_transfer_length: length,
            cmd_sn: CmdSn(1 + number),
            exp_stat_sn: StatSn(1 + number),
            cdb,
            ..ScsiCommand::default()
        };
        let answer = DataIn {
            is_final: true,
            status: Some(DataInStatus { stat_sn: StatSn(1 + number), ..DataInStatus::default() }),
            initiator_task_tag: InitiatorTaskTag(number),
            exp_cmd_sn: CmdSn(2 + number),
            max_cmd_sn: CmdSn(40),
            data: vec![number as u8; length as usize].into(),
            ..DataIn::default()
        };
        go(read.into(), &mut port, &mut peer);
        go(answer.into(), &mut peer, &mut port);
    }
    let ping = NopOut { immediate: true, cmd_sn: CmdSn(6), data: "odd".into(), ..NopOut::default() };
    go(ping.into(), &mut port, &mut peer);
    assert!(capture.failure().is_none());
    count
}

/// What tshark prints, or nothing if there is no tshark.
fn tshark(capture: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("tshark")
        .args(["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-d", "tcp.port==3999,iscsi", "-r"])
        .arg(capture)
        .args(arguments)
        .output()
        .ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

fn check(name: &str, initiator: SocketAddr, target: SocketAddr) {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let count = capture_session(File::create(&path).unwrap(), initiator, target);

    let complaints =
        "_ws.malformed || _ws.expert.severity >= 0x600000 || tcp.analysis.flags || tcp.checksum.status == 0";
    let Some(complaints) = tshark(&path, &["-Y", complaints]) else {
        eprintln!("tshark is not installed: the capture is not read");
        return;
    };
    assert_eq!(complaints, "");
    let read = tshark(&path, &["-Y", "iscsi", "-O", "iscsi"]).unwrap();
    let lines = |what: &str| read.lines().filter(|line| line.contains(what)).count();
    assert_eq!(lines("iSCSI ("), count, "{read}");
    assert_eq!(lines("(Good CRC32)"), count - 2 + 6, "{read}");
    assert_eq!(lines("(Bad CRC32"), 0);
}

#[test]
fn tshark_reads_a_session_over_ipv4() {
    check("ipv4.pcapng", ([192, 0, 2, 1], 50000).into(), ([192, 0, 2, 2], 3999).into());
}

#[test]
fn tshark_reads_a_session_over_ipv6() {
    check("ipv6.pcapng", "[2001:db8::1]:50000".parse().unwrap(), "[2001:db8::2]:3999".parse().unwrap());
}
