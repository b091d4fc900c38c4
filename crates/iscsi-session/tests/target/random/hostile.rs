//! What an initiator that keeps no rules does.

use super::*;

#[derive(Clone, Debug)]
pub(crate) enum Hostile {
    Pdu(Pdu),
    Damaged(Header),
    Bytes(Header),
    Pass(u64),
}

impl Hostile {
    pub(crate) fn happen(self, ladder: &mut Ladder) {
        match self {
            Self::Pdu(pdu) => ladder.raw(pdu),
            Self::Damaged(header) => ladder.bad_header(header, BadPdu::DataDigest),
            Self::Bytes(header) => {
                let frame = Frame { header, ahs: Box::default(), data: bytes::Bytes::new() };
                match Pdu::decode(frame) {
                    Ok(pdu) => ladder.raw(pdu),
                    Err(error) => ladder.bad_header(header, BadPdu::Undecodable(error)),
                }
            }
            Self::Pass(seconds) => ladder.pass(seconds),
        }
    }
}

fn small_tag() -> impl Strategy<Value = InitiatorTaskTag> {
    (0..6u32).prop_map(InitiatorTaskTag)
}

fn transfer_tag() -> impl Strategy<Value = Option<TargetTransferTag>> {
    prop_oneof![
        2 => Just(None),
        3 => (0..6u32).prop_map(|index| Some(TargetTransferTag(0x1000 + index))),
        1 => Just(Some(PING_TAG)),
        1 => any::<u16>().prop_map(|tag| Some(TargetTransferTag(tag.into()))),
    ]
}

fn cmd_sn() -> impl Strategy<Value = CmdSn> {
    prop_oneof![8 => (0..40u32).prop_map(CmdSn), 1 => any::<u32>().prop_map(CmdSn)]
}

fn any_command() -> impl Strategy<Value = Pdu> {
    (any::<[bool; 4]>(), small_tag(), cmd_sn(), 0..3000u32, 0..1100usize, 0..3u8).prop_map(
        |([immediate, is_final, read, write], initiator_task_tag, cmd_sn, expected_data_transfer_length, data, lun)| {
            ScsiCommand {
                immediate,
                is_final,
                read,
                write,
                initiator_task_tag,
                cmd_sn,
                expected_data_transfer_length,
                lun: LunField([0, lun, 0, 0, 0, 0, 0, 0]),
                data: pattern(0, if data > 600 { 0 } else { data }),
                ..ScsiCommand::default()
            }
            .into()
        },
    )
}

fn any_data_out() -> impl Strategy<Value = Pdu> {
    (any::<bool>(), small_tag(), transfer_tag(), 0..3u32, prop_oneof![0..3000u32, any::<u32>()], 0..1100usize, 0..3u8)
        .prop_map(|(is_final, initiator_task_tag, target_transfer_tag, data_sn, buffer_offset, data, lun)| {
            DataOut {
                is_final,
                initiator_task_tag,
                target_transfer_tag,
                data_sn,
                buffer_offset,
                lun: LunField([0, lun, 0, 0, 0, 0, 0, 0]),
                data: pattern(0, data),
                exp_stat_sn: StatSn(data_sn),
            }
            .into()
        })
}

fn any_text() -> impl Strategy<Value = Pdu> {
    let said = prop_oneof![
        Just("SendTargets=All\0"),
        Just("SendTargets=\0"),
        Just("MaxRecvDataSegmentLength=600\0"),
        Just("X-a=1\0"),
        Just("half"),
        Just(""),
    ];
    (any::<[bool; 2]>(), 0..3u8, small_tag(), transfer_tag(), cmd_sn(), said).prop_map(
        |([immediate, _], flags, initiator_task_tag, target_transfer_tag, cmd_sn, said)| {
            TextRequest {
                immediate,
                is_final: flags == 1,
                continues: flags == 2,
                initiator_task_tag,
                target_transfer_tag,
                cmd_sn,
                data: said.into(),
                ..TextRequest::default()
            }
            .into()
        },
    )
}

fn any_function() -> impl Strategy<Value = Pdu> {
    (any::<bool>(), 0..14u8, small_tag(), small_tag(), cmd_sn(), cmd_sn(), 0..3u8).prop_map(
        |(immediate, function, tag, referenced, cmd_sn, ref_cmd_sn, lun)| {
            TaskManagementRequest {
                immediate,
                function: TaskManagementFunction::from_wire(function),
                lun: LunField([0, lun, 0, 0, 0, 0, 0, 0]),
                referenced_task_tag: Some(referenced),
                cmd_sn,
                ref_cmd_sn,
                ..manage(tag.0, TaskManagementFunction::AbortTask)
            }
            .into()
        },
    )
}

fn any_nop_out() -> impl Strategy<Value = Pdu> {
    (any::<bool>(), prop::option::of(small_tag()), transfer_tag(), cmd_sn()).prop_map(
        |(immediate, initiator_task_tag, target_transfer_tag, cmd_sn)| {
            NopOut { immediate, initiator_task_tag, target_transfer_tag, cmd_sn, ..NopOut::default() }.into()
        },
    )
}

fn any_snack() -> impl Strategy<Value = Pdu> {
    let kinds = [SnackType::DataR2t, SnackType::Status, SnackType::DataAck, SnackType::RData];
    (0..4usize, prop::option::of(small_tag()), 0..6u32, 0..4u32, 0..4u32, 0..3u8).prop_map(
        move |(kind, initiator_task_tag, transfer_or_snack_tag, begin_run, run_length, lun)| {
            Snack {
                kind: kinds[kind],
                initiator_task_tag,
                transfer_or_snack_tag,
                begin_run,
                run_length,
                lun: LunField([0, lun, 0, 0, 0, 0, 0, 0]),
                exp_stat_sn: StatSn(begin_run),
            }
            .into()
        },
    )
}

pub(crate) fn hostile() -> impl Strategy<Value = Hostile> {
    prop_oneof![
        8 => any_command().prop_map(Hostile::Pdu),
        8 => any_data_out().prop_map(Hostile::Pdu),
        2 => any_text().prop_map(Hostile::Pdu),
        2 => any_function().prop_map(Hostile::Pdu),
        2 => any_nop_out().prop_map(Hostile::Pdu),
        1 => any_data_out().prop_map(|pdu| Hostile::Damaged(pdu.encode().header)),
        1 => any_command().prop_map(|pdu| Hostile::Damaged(pdu.encode().header)),
        1 => (any::<[u8; 32]>(), any::<[u8; 16]>()).prop_map(|(first, second)| {
            let mut header = Header([0; 48]);
            header.0[..32].copy_from_slice(&first);
            header.0[32..].copy_from_slice(&second);
            header.0[4..8].fill(0);
            Hostile::Bytes(header)
        }),
        2 => any_snack().prop_map(Hostile::Pdu),
        1 => (0..3u64).prop_map(Hostile::Pass),
    ]
}
