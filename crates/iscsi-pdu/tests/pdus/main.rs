//! Every PDU: what is encoded is decoded again, any bytes are decoded or refused, and no bit has a meaning that the figures
//! of RFC 7143 section 11 do not give it.

mod draw;

use bytes::Bytes;
use draw::Draw;
use iscsi_pdu::*;
use proptest::prelude::*;

fn pdu() -> impl Strategy<Value = Pdu> {
    let word = prop_oneof![4 => any::<u32>(), 1 => Just(u32::MAX), 1 => 0u32..3];
    (0usize..18, prop::collection::vec(word, 70), prop::collection::vec(any::<u8>(), 0..200))
        .prop_map(|(kind, words, data)| Draw { words: words.into_iter(), data: data.into() }.pdu(kind))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    // RFC 7143 11.2.1.5-1, 11.2.1.6-1: the lengths are those of the segments, zero without.
    #[test]
    fn what_is_encoded_is_decoded_again(pdu in pdu()) {
        let frame = pdu.clone().encode();
        prop_assert_eq!(frame.header.opcode(), pdu.opcode());
        prop_assert_eq!(frame.header.ahs_length(), frame.ahs.len());
        prop_assert_eq!(frame.header.data_segment_length(), frame.data.len());
        prop_assert_eq!(Pdu::decode(frame.clone()), Ok(pdu));
    }

    #[test]
    fn any_bytes_are_decoded_or_refused_and_what_they_mean_is_stable(
        header in any::<[u8; 48]>(),
        opcode in prop_oneof![any::<u8>(), 0u8..0x40],
        ahs_words in prop_oneof![3 => Just(0usize), 1 => 0usize..256],
        data in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut header = header;
        header[0] = opcode;
        let ahs: Box<[u8]> = vec![0x81; ahs_words * 4].into();
        let _ = ahs::Ahs::decode(&ahs);
        let frame = Frame::new(Header(header), ahs, data.into());
        if let Ok(pdu) = Pdu::decode(frame.clone()) {
            let encoded = pdu.clone().encode();
            let again = Pdu::decode(encoded.clone()).expect("what is encoded is decoded");
            prop_assert_eq!(&again, &pdu);
            prop_assert_eq!(again.encode(), encoded);
        }
    }

    #[test]
    fn any_segments_are_read_or_refused(words in prop::collection::vec(any::<[u8; 4]>(), 0..255)) {
        let bytes = Bytes::from(words.concat());
        if let Ok(ahs) = ahs::Ahs::decode(&bytes) {
            prop_assert_eq!(ahs::Ahs::decode(&ahs.encode()), Ok(ahs));
        }
    }
}

type Fields = &'static [(usize, usize)];

/// Which bits of each PDU mean something, by the figures of RFC 7143 section 11 and of RFC 7144: whether the I bit does, the bits of byte 1, and
/// the fields from byte 2 on, each
/// with its first byte and the one behind its last. Not here: opcode and lengths.
const MEANING: [(Opcode, bool, u8, Fields); 18] = [
    (Opcode::NopOut, true, 0, &[(8, 32)]),
    (Opcode::NopIn, false, 0, &[(8, 36)]),
    (Opcode::ScsiCommand, true, 0xe7, &[(8, 48)]),
    (Opcode::ScsiResponse, false, 0x1e, &[(2, 4), (8, 10), (16, 48)]),
    (Opcode::TaskManagementRequest, true, 0x7f, &[(8, 40)]),
    (Opcode::TaskManagementResponse, false, 0, &[(2, 3), (8, 11), (16, 20), (24, 36)]),
    (Opcode::DataOut, false, 0x80, &[(8, 24), (28, 32), (36, 44)]),
    (Opcode::DataIn, false, 0xc7, &[(3, 4), (8, 48)]),
    (Opcode::R2t, false, 0, &[(8, 48)]),
    (Opcode::AsyncMessage, false, 0, &[(8, 16), (24, 44)]),
    (Opcode::TextRequest, true, 0xc0, &[(8, 32)]),
    (Opcode::TextResponse, false, 0xc0, &[(8, 36)]),
    (Opcode::LoginRequest, false, 0xcf, &[(2, 4), (8, 22), (24, 32)]),
    (Opcode::LoginResponse, false, 0xcf, &[(2, 4), (8, 20), (24, 38)]),
    (Opcode::LogoutRequest, true, 0x7f, &[(16, 22), (24, 32)]),
    (Opcode::LogoutResponse, false, 0, &[(2, 3), (16, 20), (24, 36), (40, 44)]),
    (Opcode::SnackRequest, false, 0x0f, &[(8, 24), (28, 32), (40, 48)]),
    (Opcode::Reject, false, 0, &[(2, 3), (24, 40)]),
];

/// A PDU of each kind in which no field is void because another says so.
fn full_pdu(kind: usize) -> Pdu {
    let words: Vec<u32> = (0..70).map(|at| 0x0101_0101 * (at % 5) + 1).collect();
    let mut pdu = Draw { words: words.into_iter(), data: vec![1; 48].into() }.pdu(kind);
    let (stage, residual) = (Some(Stage::FullFeaturePhase), Residual::Overflow(5));
    match &mut pdu {
        Pdu::DataIn(pdu) => {
            pdu.is_final = true;
            pdu.status = Some(DataInStatus { status: 1, stat_sn: StatSn(7), residual });
        }
        Pdu::ScsiResponse(pdu) => {
            (pdu.response, pdu.status) = (ScsiResponseCode::CompletedAtTarget, 2);
            (pdu.residual, pdu.bidirectional_read_residual) = (residual, Residual::Underflow(9));
        }
        Pdu::LoginRequest(pdu) => (pdu.transit, pdu.continues) = (stage, false),
        Pdu::LoginResponse(pdu) => {
            (pdu.status, pdu.transit, pdu.continues) = (LoginStatus::Success, stage, false);
        }
        _ => {}
    }
    pdu
}

// RFC 7143 11-1, 11-2: each bit of each PDU, sent and received.
#[test]
fn every_bit_means_what_the_figures_say_and_reserved_ones_are_sent_as_zero() {
    for (kind, (opcode, immediate, flags, fields)) in MEANING.into_iter().enumerate() {
        let pdu = full_pdu(kind);
        assert_eq!(pdu.opcode(), opcode);
        let frame = pdu.clone().encode();
        assert_eq!(Pdu::decode(frame.clone()).as_ref(), Ok(&pdu));
        for (at, bit) in
            (0..48).filter(|at| !(4..8).contains(at)).flat_map(|at| (0..8).map(move |bit| (at, 1u8 << bit)))
        {
            let has_meaning = match at {
                0 if bit < 0x40 => continue,
                0 => immediate && bit == 0x40,
                1 => flags & bit != 0,
                // PRI has half a byte.
                2 if opcode == Opcode::ScsiCommand => bit >= 0x10,
                _ => fields.iter().any(|(start, end)| (*start..*end).contains(&at)),
            };
            let mut changed = frame.clone();
            changed.header.0[at] ^= bit;
            let is_seen = Pdu::decode(changed).as_ref() != Ok(&pdu);
            assert_eq!(is_seen, has_meaning, "{opcode}: bit {bit:#04x} of byte {at}");
            // The bits that the figures print as ones: F where there is no sequence, I of a login, and a tag that is none.
            let is_fixed = (at, bit) == (1, 0x80)
                || (opcode, at, bit) == (Opcode::LoginRequest, 0, 0x40)
                || (16..20).contains(&at);
            assert!(
                has_meaning || is_fixed || frame.header.0[at] & bit == 0,
                "{opcode}: bit {bit:#04x} of byte {at} is sent"
            );
        }
    }
}

/// RFC 7143 6.2-1: C with T or F among them.
/// RFC 7143 11-3: reserved values, and what a field cannot be beside another.
#[test]
fn values_that_mean_nothing_are_named_with_their_place() {
    let refused = |kind: usize, at: usize, value: &[u8]| {
        let mut frame = full_pdu(kind).encode();
        frame.header.0[at..at + value.len()].copy_from_slice(value);
        let error = Pdu::decode(frame).expect_err("a value that means nothing");
        (error.pdu, error.field, error.offset)
    };
    let none = &[0xff; 4];
    assert_eq!(refused(2, 1, &[0x85]), (Opcode::ScsiCommand, "ATTR", 1));
    // RFC 7143 11.2.1.8-2: this value is no tag.
    assert_eq!(refused(2, 16, none), (Opcode::ScsiCommand, "Initiator Task Tag", 16));
    assert_eq!(refused(3, 2, &[0x02]), (Opcode::ScsiResponse, "Response", 2));
    assert_eq!(refused(3, 2, &[0x7f]), (Opcode::ScsiResponse, "Response", 2));
    assert_eq!(refused(3, 1, &[0x98]), (Opcode::ScsiResponse, "Residual flags", 1));
    // RFC 7143 11.7.3-4: S without F.
    assert_eq!(refused(7, 1, &[0x01]), (Opcode::DataIn, "S", 1));
    assert_eq!(refused(7, 1, &[0x87]), (Opcode::DataIn, "Residual flags", 1));
    // RFC 7143 11.8.5-1, 11.8.4-1: an R2T without a tag, and one for nothing.
    assert_eq!(refused(8, 20, none), (Opcode::R2t, "Target Transfer Tag", 20));
    assert_eq!(refused(8, 44, &[0; 4]), (Opcode::R2t, "Desired Data Transfer Length", 44));
    // RFC 7143 11.10.2-1, 11.11.2-1, 11.12.2-1, 11.13.7-1: C with F or T.
    assert_eq!(refused(10, 1, &[0xc0]), (Opcode::TextRequest, "C", 1));
    assert_eq!(refused(11, 1, &[0xc0]), (Opcode::TextResponse, "C", 1));
    assert_eq!(refused(12, 1, &[0xc3]), (Opcode::LoginRequest, "C", 1));
    assert_eq!(refused(13, 1, &[0xc3]), (Opcode::LoginResponse, "C", 1));
    assert_eq!(refused(12, 1, &[0x82]), (Opcode::LoginRequest, "NSG", 1));
    assert_eq!(refused(12, 1, &[0x0c]), (Opcode::LoginRequest, "CSG", 1));
    assert_eq!(refused(14, 1, &[0x83]), (Opcode::LogoutRequest, "Reason Code", 1));
    assert_eq!(refused(16, 1, &[0x84]), (Opcode::SnackRequest, "Type", 1));
    assert_eq!(refused(16, 0, &[0x1c]), (Opcode::Other(0x1c), "Opcode", 0));

    let ping = NopOut::default();
    let frame = Frame::new(Pdu::from(ping).encode().header, vec![0; 4].into(), Bytes::new());
    assert_eq!(Pdu::decode(frame).unwrap_err().field, "TotalAHSLength");
    let frame = Frame::new(full_pdu(17).encode().header, Box::default(), vec![0; 47].into());
    assert_eq!(Pdu::decode(frame).unwrap_err().field, "DataSegmentLength");
}

/// A SCSI Response with this code and a status, both residuals and their counts beside it.
fn response(code: ScsiResponseCode) -> ScsiResponse {
    let mut frame = full_pdu(3).encode();
    frame.header.0[2] = code.to_wire();
    let Ok(Pdu::ScsiResponse(response)) = Pdu::decode(frame) else { panic!("a SCSI Response") };
    response
}

// RFC 7143 11.4.3-1, 11.4.1-1: neither heard nor said.
#[test]
fn a_failure_at_the_target_has_neither_status_nor_residual() {
    assert_eq!(response(ScsiResponseCode::CompletedAtTarget).residual, Residual::Overflow(5));
    for code in [ScsiResponseCode::TargetFailure, ScsiResponseCode::Other(0x80)] {
        let failure = response(code);
        assert_eq!((failure.status, failure.residual), (0, Residual::None));
        assert_eq!(failure.bidirectional_read_residual, Residual::None);
        // Not even what excludes itself is an error there.
        let mut frame = full_pdu(3).encode();
        (frame.header.0[1], frame.header.0[2]) = (0x9e, code.to_wire());
        assert_eq!(Pdu::decode(frame), Ok(failure.clone().into()));
        let careless = ScsiResponse { status: 2, residual: Residual::Underflow(9), ..failure.clone() };
        assert_eq!(Pdu::from(careless).encode(), Pdu::from(failure).encode());
    }
}

// RFC 7143 11.4.5.1-1, 11.4.5.1-2, 11.4.5.1-3, 11.4.6-1: a bit and its count belong together.
#[test]
fn a_residual_count_means_something_beside_its_bit() {
    let frame = full_pdu(3).encode();
    assert_eq!((frame.header.0[1], &frame.header.0[40..48]), (0x8c, &[0, 0, 0, 9, 0, 0, 0, 5][..]));
    let mut without_bits = frame.clone();
    without_bits.header.0[1] = 0x80;
    let Ok(Pdu::ScsiResponse(response)) = Pdu::decode(without_bits) else { panic!("a SCSI Response") };
    assert_eq!((response.residual, response.bidirectional_read_residual), (Residual::None, Residual::None));
    assert_eq!(Pdu::from(response).encode().header.0[40..48], [0; 8]);
}

/// RFC 7144: in places that are reserved without it.
#[test]
fn the_fields_of_protocol_level_2_have_their_places() {
    let command = ScsiCommand { priority: 0xb, ..ScsiCommand::default() };
    assert_eq!(Pdu::from(command).encode().header.0[2..4], [0xb0, 0]);
    let response = ScsiResponse { status_qualifier: 0x4123, ..response(ScsiResponseCode::CompletedAtTarget) };
    assert_eq!(Pdu::from(response).encode().header.0[8..12], [0x41, 0x23, 0, 0]);
    let Ok(Pdu::TaskManagementResponse(response)) = Pdu::decode(full_pdu(5).encode()) else { panic!("a response") };
    let response = TaskManagementResponse { additional_information: [0x16, 0x29, 0x07], ..response };
    assert_eq!(Pdu::from(response).encode().header.0[8..12], [0x16, 0x29, 0x07, 0]);
}

// RFC 7143 11.5.2-1, 11.6.2-1, 11.8.1-1, 11.14.2-1, 11.15.2-1: both lengths are zero.
#[test]
fn pdus_of_a_header_alone() {
    let opcodes = [4, 5, 8, 14, 15].map(|kind| {
        let frame = full_pdu(kind).encode();
        assert_eq!((&frame.header.0[4..8], frame.ahs.len(), frame.data.len()), (&[0; 4][..], 0, 0));
        frame.header.opcode()
    });
    let expected = [
        Opcode::TaskManagementRequest,
        Opcode::TaskManagementResponse,
        Opcode::R2t,
        Opcode::LogoutRequest,
        Opcode::LogoutResponse,
    ];
    assert_eq!(opcodes, expected);
}

// RFC 7143 11.17.1-1: the reason of old is no reason of ours.
#[test]
fn no_reject_says_negotiation_reset() {
    assert!(RejectReason::NAMED.iter().all(|reason| reason.to_wire() != 0x0b));
    assert_eq!(RejectReason::from_wire(0x0b), RejectReason::Other(0x0b));
}

// RFC 7143 11.16.4-1, 11.16.4-2, 11.16.5-1, 11.16.5-3, 11.16.5-4, 11.16.6-1, 11.16.7-1: what each type carries.
#[test]
fn a_snack_has_the_fields_of_its_type() {
    let (task, lun, transfer) = (InitiatorTaskTag(7), LunField([0, 3, 0, 0, 0, 0, 0, 0]), TargetTransferTag(9));
    let fields = |snack: Snack| {
        let header = Pdu::from(snack).encode().header;
        let word = |at: usize| u32::from_be_bytes(header.0[at..at + 4].try_into().unwrap());
        (header.0[1], header.0[9], word(16), word(20), word(40), word(44))
    };
    assert_eq!(fields(Snack::data_r2t(task, 2, 3)), (0x80, 0, 7, u32::MAX, 2, 3));
    assert_eq!(fields(Snack::status(StatSn(2), 3)), (0x81, 0, u32::MAX, u32::MAX, 2, 3));
    assert_eq!(fields(Snack::data_ack(lun, transfer, 2)), (0x82, 3, u32::MAX, 9, 2, 0));
    assert_eq!(fields(Snack::r_data(task, 5)), (0x83, 0, 7, 5, 0, 0));
}

// RFC 7143 11.16.5-1: nor is zero one.
#[test]
#[should_panic(expected = "a SNACK Tag is neither of the reserved values")]
fn a_snack_tag_that_means_none_is_a_bug() {
    let _ = Snack::r_data(InitiatorTaskTag(7), 0);
}
