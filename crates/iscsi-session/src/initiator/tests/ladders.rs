//! The examples of RFC 7143 appendix A, step by step, seen from the initiator.

use super::*;

/// R2T mode: nothing goes without being asked for.
fn solicited(segment_bytes_max: u32) -> Parameters {
    Parameters { immediate_data: false, send_segment_bytes_max: segment_bytes_max, ..Parameters::default() }
}

/// What an appendix shows of a Data-Out: DataSN, F, R2TSN by its tag, and the data.
#[track_caller]
fn assert_data_out(pdu: &Pdu, r2t_sn: Option<u32>, data_sn: u32, is_final: bool, offset: usize, length: usize) {
    let Pdu::DataOut(pdu) = pdu else { panic!("a Data-Out, not {pdu:?}") };
    assert_eq!(pdu.target_transfer_tag, r2t_sn.map(|sn| TargetTransferTag(0x7000 + sn)));
    assert_eq!((pdu.data_sn, pdu.is_final, pdu.buffer_offset as usize), (data_sn, is_final, offset));
    assert_eq!(pdu.data, pattern(offset + length).slice(offset..));
    assert_eq!(pdu.lun, if r2t_sn.is_some() { LUN } else { LunField::default() });
}

#[track_caller]
fn assert_good(bench: &mut Bench, number: u32) {
    let Some(Event::TaskComplete { tag: of, result }) = bench.session.poll_event() else { panic!("the task ends") };
    assert_eq!((of, result.status, result.residual), (tag(number), 0, Residual::None));
    assert_eq!(bench.events(), []);
}

/// A.1 and A.3.2: three Data-Ins, then the response.
#[test]
fn read() {
    let mut bench = Bench::new(Parameters::default());
    bench.submit(1, super::read(3000));
    let sent = bench.sent();
    let [Pdu::ScsiCommand(command)] = &sent[..] else { panic!("one command, not {sent:?}") };
    assert!(command.read && !command.write && command.is_final && !command.immediate);
    assert_eq!((command.expected_data_transfer_length, command.cmd_sn), (3000, FIRST_CMD_SN));
    assert_eq!((command.exp_stat_sn, command.lun, command.cdb), (FIRST_STAT_SN, LUN, [0x28; 16]));

    for data_sn in 0..3 {
        let offset = data_sn * 1000;
        let data = pattern(3000).slice(offset as usize..offset as usize + 1000);
        let pdu = bench.data_in(1, data_sn, offset, data.clone());
        bench.take(DataIn { is_final: data_sn == 2, ..pdu });
        assert_eq!(bench.events(), [Event::Data { tag: tag(1), offset, data }]);
    }
    let response = bench.response(1);
    bench.take(ScsiResponse { exp_data_sn: 3, ..response });
    assert_good(&mut bench, 1);
}

// RFC 7143 10.6-1.
/// A.2: one R2T answered, then two at once.
#[test]
fn write() {
    let mut bench = Bench::new(Parameters { outstanding_r2t_max: 2, ..solicited(1024) });
    bench.submit(1, super::write(3072));
    let sent = bench.sent();
    let [Pdu::ScsiCommand(command)] = &sent[..] else { panic!("one command, not {sent:?}") };
    assert!(command.write && !command.read && !command.immediate && command.is_final && command.data.is_empty());

    bench.take(bench.r2t(1, 0, 0, 1024));
    let sent = bench.sent();
    assert_eq!(sent.len(), 1);
    assert_data_out(&sent[0], Some(0), 0, true, 0, 1024);

    bench.take(bench.r2t(1, 1, 1024, 1024));
    bench.take(bench.r2t(1, 2, 2048, 1024));
    let sent = bench.sent();
    assert_eq!(sent.len(), 2);
    assert_data_out(&sent[0], Some(1), 0, true, 1024, 1024);
    assert_data_out(&sent[1], Some(2), 0, true, 2048, 1024);

    let response = bench.response(1);
    bench.take(response);
    assert_good(&mut bench, 1);
}

/// A.3.1: two R2Ts before any data; the first is answered with two Data-Outs, and DataSN begins anew with the second.
#[test]
fn write_numbers() {
    let mut bench = Bench::new(Parameters { outstanding_r2t_max: 2, ..solicited(1024) });
    bench.submit(1, super::write(2560));
    bench.sent();
    bench.take(bench.r2t(1, 0, 0, 2048));
    bench.take(bench.r2t(1, 1, 2048, 512));
    let sent = bench.sent();
    assert_eq!(sent.len(), 3);
    assert_data_out(&sent[0], Some(0), 0, false, 0, 1024);
    assert_data_out(&sent[1], Some(0), 1, true, 1024, 1024);
    assert_data_out(&sent[2], Some(1), 0, true, 2048, 512);
    let response = bench.response(1);
    bench.take(ScsiResponse { exp_data_sn: 0, ..response });
    assert_good(&mut bench, 1);
}

fn bidirectional() -> Command {
    let data = Transfer::Bidirectional { write: pattern(512), read: 1024 };
    Command { lun: LUN, cdb: [0x53; 16], data, ..Command::default() }
}

// RFC 7143 11.3.1-2, 11.3.4-1: with its read length.
/// A.3.3, with R2Ts and Data-Ins numbered apart as the example has it, and in one sequence as section 4.2.2.4 wants it.
#[test]
fn bidirectional_numbers() {
    for data_sn in [0, 1] {
        let mut bench = Bench::new(solicited(1024));
        bench.submit(1, bidirectional());
        let sent = bench.sent();
        let [Pdu::ScsiCommand(command)] = &sent[..] else { panic!("one command, not {sent:?}") };
        assert!(command.read && command.write);
        assert_eq!(command.expected_data_transfer_length, 512);
        assert_eq!(ahs::Ahs::decode(&command.ahs).unwrap().bidirectional_read_length, Some(1024));

        bench.take(bench.r2t(1, 0, 0, 512));
        bench.take(bench.data_in(1, data_sn, 0, pattern(512)));
        let last = bench.data_in(1, data_sn + 1, 512, pattern(512));
        bench.take(DataIn { is_final: true, ..last });
        assert_eq!(bench.events().len(), 2);
        assert_data_out(&bench.sent()[0], Some(0), 0, true, 0, 512);
        let response = bench.response(1);
        bench.take(ScsiResponse { exp_data_sn: 2, ..response });
        assert_good(&mut bench, 1);
    }
}

// RFC 7143 11.3.1-1: W without F, then F.
/// A.3.4: immediate data, unsolicited data, and the rest on request.
#[test]
fn write_unsolicited() {
    let parameters = Parameters {
        initial_r2t: false,
        first_burst_bytes_max: 1536,
        send_segment_bytes_max: 1024,
        ..Parameters::default()
    };
    let mut bench = Bench::new(parameters);
    bench.submit(1, super::write(2048));
    let sent = bench.sent();
    assert_eq!(sent.len(), 2);
    let Pdu::ScsiCommand(command) = &sent[0] else { panic!("a command, not {sent:?}") };
    assert!(!command.is_final);
    assert_eq!(command.data, pattern(1024));
    assert_data_out(&sent[1], None, 0, true, 1024, 512);
    bench.take(bench.r2t(1, 0, 1536, 512));
    let sent = bench.sent();
    assert_eq!(sent.len(), 1);
    assert_data_out(&sent[0], Some(0), 0, true, 1536, 512);
    let response = bench.response(1);
    bench.take(response);
    assert_good(&mut bench, 1);
}
