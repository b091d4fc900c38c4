//! Golden vectors: they prove that the structures agree with the layout tables, not what hardware does.

use proptest::prelude::*;
use t5_hal::wire::*;
use zerocopy::IntoBytes;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

#[test]
fn act_open_req() {
    let request = ActOpenReq {
        local_port: 20001.into(),
        peer_port: 3260.into(),
        local_ip: [10, 0, 0, 1],
        peer_ip: [10, 0, 0, 2],
        opt0: Opt0::new()
            .with_bit(Opt0::KEEP_ALIVE, true)
            .with(Opt0::WND_SCALE, 5)
            .with(Opt0::MSS_IDX, 8)
            .with(Opt0::L2T_IDX, 3)
            .with(Opt0::SMAC_SEL, 4)
            .with(Opt0::ULP_MODE, UlpMode::Iscsi.to_wire().into())
            .with(Opt0::RCV_BUFSIZ, 256),
        initial_send_sequence: 0x1122_3347.into(),
        opt2: Opt2::new()
            .with(Opt2::RSS_QUEUE, 7)
            .with_bit(Opt2::RSS_QUEUE_VALID, true)
            .with_bit(Opt2::T5_ISS, true)
            .with_bit(Opt2::T5_OPT_2_VALID, true),
        params: ActOpenParams::new().with(ActOpenParams::FILTER_TUPLE, 0x123),
        ..ActOpenReq::new(0, 7 << 14 | 0x12)
    };
    let golden = hex("05000028 00000004 00000000 00000000 0301c012 4e210cbc 0a000001 0a000002
         80540030 40100200 11223347 80040407 00000001 23000000");
    assert_eq!(request.as_bytes(), golden);
    assert_eq!(Request::decode(&golden), Ok(request.into()));
}

#[test]
fn set_tcb_field_and_rx_data_ack() {
    let set = SetTcbField {
        reply_control: ReplyControl::new().with(ReplyControl::QUEUENO, 7),
        mask: 0x30.into(),
        value: 0x30.into(),
        ..SetTcbField::new(0x345, 0x345)
    };
    let golden = hex("05000018 00034503 00000000 00000000 05000345 00070000 00000000 00000030 00000000 00000030");
    assert_eq!(set.as_bytes(), golden);

    let credits = DataAck::new().with(DataAck::CREDITS, 10240).with_bit(DataAck::FORCE_ACK, true);
    let ack = RxDataAck { credits, ..RxDataAck::new(0x345, 0x345) };
    assert_eq!(ack.as_bytes(), hex("05000008 00034502 00000000 00000000 0d000345 10002800"));
}

#[test]
fn flowc() {
    use FlowParameterName::*;
    let parameters = [
        (PfnVfn, FunctionId::physical(4).to_wire()),
        (Channel, 0),
        (Port, 0),
        (IngressQueue, 7),
        (SndNxt, 0x1000),
        (RcvNxt, 0x2000),
        (SendBuffer, 128 << 10),
        (Mss, 1460),
        (TxDataLengthMax, 16384),
    ];
    let mut bytes = FlowC { op: WorkRequestOp::of(WorkRequestOpcode::FlowC, 9), flow: WorkRequestFlow::of(0x345, 80) }
        .as_bytes()
        .to_vec();
    bytes.extend(parameters.iter().flat_map(|&(name, value)| FlowParameter::new(name, value).as_bytes().to_vec()));
    let golden = hex("0a000009 00034505 00000000 00000400 01000000 00000000 02000000 00000000
         03000000 00000007 04000000 00001000 05000000 00002000 06000000 00020000
         07000000 000005b4 08000000 00004000");
    assert_eq!(bytes, golden);
}

#[test]
fn offload_tx_data() {
    let flags = TxDataFlags::new()
        .with_bit(TxDataFlags::WR_SHOVE, true)
        .with(TxDataFlags::ULP_MODE, UlpMode::Iscsi.to_wire().into())
        .with_bit(TxDataFlags::ULP_HCRC, true);
    let request = OffloadTxData {
        op: WorkRequestOp::of(WorkRequestOpcode::OffloadTxData, 48).with_bit(WorkRequestOp::COMPL, true),
        flow: WorkRequestFlow::of(0x345, 64),
        sequence_length: 52.into(),
        flags,
    };
    assert_eq!(request.as_bytes(), hex("0b200030 00034504 00000034 20000840"));
}

/// The end of a PDU of the vectors.
fn end_of_pdu() -> RxIscsiDdp {
    RxIscsiDdp {
        opcode_tid: ReplyOpcode::RxIscsiDdp.of(0x345),
        length: 4152.into(),
        sequence: 0x2000.into(),
        next_sequence: 0x3038.into(),
        data_digest: 0xaa36_918a.into(),
        verdict: DdpVerdict::new().with_bit(DdpVerdict::PLACED, true).with(DdpVerdict::ULP_MODE, 2),
        ..RxIscsiDdp::default()
    }
}

#[test]
fn iscsi_hdr_and_rx_iscsi_ddp() {
    let header = IscsiHdr {
        opcode_tid: ReplyOpcode::IscsiHdr.of(0x345),
        pdu_length: IscsiHdrLength::new().with(IscsiHdrLength::LEN, 4148),
        length: 52.into(),
        sequence: 0x2000.into(),
        ..IscsiHdr::default()
    };
    let golden = hex("33000345 10340034 00002000 00000000");
    assert_eq!(header.as_bytes(), golden);
    assert_eq!(Reply::decode(&golden), Ok((header.into(), &[][..])));

    let golden = hex("49000345 00001038 00002000 00003038 aa36918a 20010000");
    assert_eq!(end_of_pdu().as_bytes(), golden);
    assert_eq!(Reply::decode(&golden), Ok((end_of_pdu().into(), &[][..])));
}

#[test]
fn ulp_mem_io_with_a_page_pod() {
    let tag = PodTag { page_size: 0, pod: 5, color: 3 };
    let header = PodHeader::new()
        .with_bit(PodHeader::VALID, true)
        .with(PodHeader::TID, 0x345)
        .with(PodHeader::TAG, tag.pod.into())
        .with(PodHeader::COLOR, tag.color.into());
    let length = PodLength::new().with(PodLength::LEN, 8192).with(PodLength::OFFSET, 0x200);
    let mut pods = [PagePod::default()];
    PagePod::fill(&mut pods, header, length, [0x10_0000, 0x20_0000, 0x30_0000].into_iter());
    let mut bytes = UlpMemoryWrite::immediate(0x345, 0x4_0000 + 5 * POD_BYTES, POD_BYTES as usize).as_bytes().to_vec();
    bytes.extend_from_slice(pods.as_bytes());
    bytes.resize(112, 0);
    let golden = hex("04000000 00034507 00000000 00000000 03800000 00000006 00000002 0000200a
         81000000 00000040 01000345 00000143 00002000 00000200 00000000 00000000
         00000000 00100000 00000000 00200000 00000000 00300000 00000000 00000000
         00000000 00000000 00000000 00000000");
    assert_eq!(bytes, golden);
}

#[test]
fn ingress_entry() {
    let golden = hex("49000007 00000000 49000345 00001038 00002000 00003038 aa36918a 20010000
         00000000 00000000 00000000 00000000 00000000 00000000 90000000 00000000");
    let mut made = IngressEntry {
        header: RssHeader { opcode: ReplyOpcode::RxIscsiDdp.to_wire(), queue: 7.into(), ..RssHeader::default() },
        kind: EntryType::new().with_bit(EntryType::GEN, true).with(EntryType::TYPE, EntryKind::Cpl.to_wire()),
        ..IngressEntry::default()
    };
    made.message[..size_of::<RxIscsiDdp>()].copy_from_slice(end_of_pdu().as_bytes());
    assert_eq!(made.as_bytes(), golden);
    let (entry, rest) = IngressEntry::split_from(&golden).unwrap();
    assert!(rest.is_empty());
    assert_eq!((entry.header.opcode, entry.header.queue.get()), (ReplyOpcode::RxIscsiDdp.to_wire(), 7));
    assert_eq!(entry.kind.get(EntryType::TYPE), EntryKind::Cpl.to_wire());
    assert!(entry.kind.is_set(EntryType::GEN));
    let Ok((Reply::RxIscsiDdp(end), _)) = Reply::decode(&entry.message) else { panic!("the end of a PDU") };
    assert_eq!((end.opcode_tid.get(OpcodeTid::TID), end.length.get()), (0x345, 4152));
}

#[test]
fn vi_command() {
    let mut request = ViCommand::request(Access::EXEC_WRITE, FunctionId::physical(4).to_wire());
    request.length = request.length.with_bit(AllocLength::ALLOC, true);
    let golden = hex(&("14b00400 80000004".to_owned() + &"00000000".repeat(14)));
    assert_eq!(request.as_bytes(), golden);
    assert_eq!(Command::decode(&golden), Ok(request.into()));
}

proptest! {
    #[test]
    fn any_bytes_are_a_reply_or_an_error(mut bytes in prop::collection::vec(any::<u8>(), 0..80),
        code in 0..ReplyOpcode::ALL.len()) {
        let _ = Reply::decode(&bytes);
        if let Some(first) = bytes.first_mut() {
            *first = ReplyOpcode::ALL[code].to_wire();
        }
        if let Ok((reply, rest)) = Reply::decode(&bytes) {
            prop_assert_eq!([reply.as_bytes(), rest].concat(), bytes);
        }
    }

    #[test]
    fn any_bytes_are_a_request_or_an_error(mut bytes in prop::collection::vec(any::<u8>(), 0..100),
        code in 0..RequestOpcode::ALL.len()) {
        let _ = Request::decode(&bytes);
        if let Some(opcode) = bytes.get_mut(WORK_REQUEST_HEADER) {
            *opcode = RequestOpcode::ALL[code].to_wire();
        }
        if let Ok(request) = Request::decode(&bytes) {
            prop_assert!(bytes.starts_with(request.as_bytes()));
        }
    }
}
