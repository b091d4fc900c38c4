//! How much of a write goes when, and in which order.

use super::*;
use crate::initiator::transfer::Unsolicited;
use proptest::prelude::*;

fn unsolicited(length: u32, parameters: &Parameters) -> (u32, u32) {
    let Unsolicited { immediate, total } = Unsolicited::of(length, parameters);
    (immediate, total)
}

// RFC 7143 4.2.5.2-1, 4.2.5.2-2, 11.3.4-3, 11.7.7-2, 11.8-1, 13.11-1, 13.11-3, 13.12-1: all four ways.
#[test]
fn unsolicited_data_is_bounded_by_first_burst_length() {
    let parameters = |initial_r2t, immediate_data| Parameters {
        initial_r2t,
        immediate_data,
        first_burst_bytes_max: 2048,
        send_segment_bytes_max: 1026,
        ..Parameters::default()
    };
    // RFC 7143 11.7.7: whole words, hence 1024 of 1026.
    assert_eq!(unsolicited(5000, &parameters(true, true)), (1024, 1024));
    assert_eq!(unsolicited(5000, &parameters(false, true)), (1024, 2048));
    assert_eq!(unsolicited(5000, &parameters(false, false)), (0, 2048));
    assert_eq!(unsolicited(5000, &parameters(true, false)), (0, 0));
    assert_eq!(unsolicited(700, &parameters(false, true)), (700, 700));
    assert_eq!(unsolicited(1500, &parameters(false, false)), (0, 1500));
    assert_eq!(unsolicited(0, &parameters(false, true)), (0, 0));
}

/// The tags of the commands and Data-Outs, in order.
fn order(sent: &[Pdu]) -> Vec<(&'static str, u32)> {
    sent.iter()
        .map(|pdu| match pdu {
            Pdu::ScsiCommand(pdu) => ("command", pdu.initiator_task_tag.0),
            Pdu::DataOut(pdu) => ("data", pdu.initiator_task_tag.0),
            other => panic!("{other:?}"),
        })
        .collect()
}

// RFC 7143 4.2.5.2-6, 4.2.5.2-7, 4.2.5.2-8.
#[test]
fn unsolicited_data_keeps_the_order_of_its_commands() {
    let parameters =
        Parameters { initial_r2t: false, immediate_data: false, send_segment_bytes_max: 512, ..Parameters::default() };
    let mut bench = Bench::new(parameters);
    for number in 1..=3 {
        bench.submit(number, write(1024));
    }
    let sent = bench.sent();
    let data: Vec<_> = order(&sent).into_iter().filter(|(kind, _)| *kind == "data").map(|(_, tag)| tag).collect();
    // RFC 7143 4.2.5.2.
    assert_eq!(data, [1, 1, 2, 2, 3, 3]);
    let commands: Vec<_> = order(&sent).into_iter().filter(|(kind, _)| *kind == "command").collect();
    assert_eq!(commands, [("command", 1), ("command", 2), ("command", 3)]);
}

#[test]
fn solicited_data_takes_turns_and_leaves_room_for_commands() {
    let mut bench =
        Bench::new(Parameters { immediate_data: false, send_segment_bytes_max: 512, ..Parameters::default() });
    bench.submit(1, write(2048));
    bench.submit(2, write(2048));
    bench.sent();
    bench.take(bench.r2t(1, 0, 0, 2048));
    bench.take(bench.r2t(2, 0, 0, 2048));
    bench.submit(3, read(512));
    bench.submit(4, read(512));
    let sent = order(&bench.sent());
    let data: Vec<_> = sent.iter().filter(|(kind, _)| *kind == "data").map(|(_, tag)| *tag).collect();
    assert_eq!(data, [1, 2, 1, 2, 1, 2, 1, 2]);
    assert!(sent[..4].contains(&("command", 3)) && sent[..4].contains(&("command", 4)), "{sent:?}");
}

#[test]
fn a_task_that_ends_early_sends_no_more_data() {
    let mut bench = Bench::new(Parameters {
        initial_r2t: false,
        immediate_data: false,
        send_segment_bytes_max: 512,
        ..Parameters::default()
    });
    bench.submit(1, write(2048));
    bench.submit(2, write(512));
    let first = [bench.session.poll_transmit(CID), bench.session.poll_transmit(CID)];
    assert!(matches!(&first, [Some(Pdu::ScsiCommand(_)), Some(Pdu::DataOut(_))]), "{first:?}");
    let response = bench.response(1);
    bench.take(ScsiResponse { status: 8, ..response });
    assert_eq!(order(&bench.sent()), [("command", 2), ("data", 2)]);
    // The tag may be used again at once.
    bench.submit(1, write(512));
    assert_eq!(order(&bench.sent()), [("command", 1), ("data", 1)]);
}

// RFC 7143 7.9-5.
#[test]
fn an_r2t_that_comes_twice_is_answered_once() {
    let mut bench = Bench::new(Parameters { immediate_data: false, ..Parameters::default() });
    bench.submit(1, write(2048));
    bench.sent();
    bench.take(bench.r2t(1, 0, 0, 1024));
    bench.take(bench.r2t(1, 0, 0, 1024));
    assert_eq!(bench.sent().len(), 1);
    assert_eq!(bench.events(), []);
}

#[test]
fn r2ts_in_any_order_ask_for_a_byte_once() {
    let mut bench = Bench::new(Parameters {
        immediate_data: false,
        data_sequence_in_order: false,
        outstanding_r2t_max: 8,
        ..Parameters::default()
    });
    bench.submit(1, write(2048));
    bench.sent();
    for (r2t_sn, offset) in [(0, 1024), (1, 0), (2, 1536)] {
        bench.take(bench.r2t(1, r2t_sn, offset, 512));
    }
    // RFC 7143 11.8: they are answered in the order in which they came.
    let offset = |pdu: Pdu| if let Pdu::DataOut(pdu) = pdu { pdu.buffer_offset } else { panic!("{pdu:?}") };
    assert_eq!(bench.sent().into_iter().map(offset).collect::<Vec<_>>(), [1024, 0, 1536]);
    bench.take(bench.r2t(1, 3, 500, 512));
    bench.assert_violation(Violation::R2tOutOfOrder, &[1]);
}

#[test]
fn extended_cdb_goes_in_an_additional_header_segment() {
    let mut bench = Bench::new(Parameters::default());
    let cdb: Bytes = (0..32).collect();
    let command = Command { cdb: *cdb.first_chunk().unwrap(), extended_cdb: cdb.as_ref().into(), ..read(512) };
    bench.submit(1, command);
    let sent = bench.sent();
    let [Pdu::ScsiCommand(command)] = &sent[..] else { panic!("one command, not {sent:?}") };
    assert_eq!(command.cdb, cdb[..16]);
    assert_eq!(ahs::Ahs::decode(&command.ahs).unwrap().extended_cdb.as_deref(), Some(&cdb[16..]));
}

proptest! {
    // RFC 7143 4.2.5.2-3, 11.3.4-2, 11.7.1-1, 11.7.1-2, 11.8-2, 11.8-3, 11.8-4, 11.8-5, 11.8-6, 11.8-7, 11.8-8, 13.12-1, 13.19-1.
    /// Whatever is negotiated and however the target asks, the bytes that go are the bytes of the write, each PDU within the
    /// limits, each sequence ended by F, and nothing twice.
    #[test]
    fn a_write_arrives_whole(
        length in 0_usize..20_000,
        initial_r2t: bool,
        immediate_data: bool,
        first_burst in 512_u32..8192,
        burst in 512_u32..8192,
        segment in 512_u32..4096,
        outstanding in 1_u16..4,
    ) {
        let parameters = Parameters {
            initial_r2t,
            immediate_data,
            first_burst_bytes_max: first_burst.min(burst),
            burst_bytes_max: burst,
            send_segment_bytes_max: segment,
            outstanding_r2t_max: outstanding,
            ..Parameters::default()
        };
        let mut bench = Bench::new(parameters.clone());
        bench.submit(1, write(length));
        let mut arrived = Vec::new();
        let mut next_sn = 0;
        let mut r2ts: VecDeque<(u32, u32)> = VecDeque::new();
        let mut r2t_count = 0;
        let mut is_first = true;
        loop {
            for pdu in bench.sent() {
                let (data, is_final) = match pdu {
                    Pdu::ScsiCommand(pdu) => (pdu.data, pdu.is_final),
                    Pdu::DataOut(pdu) => {
                        prop_assert_eq!((pdu.buffer_offset as usize, pdu.data_sn), (arrived.len(), next_sn));
                        let r2t = pdu.target_transfer_tag.map(|tag| tag.0 - 0x7000);
                        prop_assert_eq!(r2t, r2ts.front().map(|(sn, _)| *sn));
                        next_sn += 1;
                        (pdu.data, pdu.is_final)
                    }
                    other => panic!("{other:?}"),
                };
                prop_assert!(data.len() <= segment as usize);
                arrived.extend_from_slice(&data);
                if is_final {
                    next_sn = 0;
                    if let Some((_, end)) = r2ts.pop_front() {
                        prop_assert_eq!(arrived.len(), end as usize);
                    }
                }
            }
            if is_first {
                is_first = false;
                prop_assert!(arrived.len() <= parameters.first_burst_bytes_max as usize);
            }
            if arrived.len() == length {
                break;
            }
            let mut offset = arrived.len() as u32;
            while r2ts.len() < usize::from(outstanding) && (offset as usize) < length {
                let part = (length as u32 - offset).min(burst);
                bench.take(bench.r2t(1, r2t_count, offset, part));
                offset += part;
                r2ts.push_back((r2t_count, offset));
                r2t_count += 1;
            }
        }
        prop_assert_eq!(arrived, pattern(length));
        prop_assert!(r2ts.is_empty());
        prop_assert_eq!(bench.events(), []);
    }
}
