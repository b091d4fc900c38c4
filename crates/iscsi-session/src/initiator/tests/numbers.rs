//! CmdSN, the command window, and StatSN, over the edge of 2^32 too.

use super::*;
use crate::initiator::numbering::Numbering;
use proptest::prelude::*;

fn numbering(cmd_sn: u32, max_cmd_sn: u32) -> Numbering {
    let mut outcome = outcome(Parameters::default());
    (outcome.cmd_sn, outcome.max_cmd_sn) = (CmdSn(cmd_sn), CmdSn(max_cmd_sn));
    Numbering::new(&outcome)
}

#[test]
fn the_window_follows_the_target_and_never_shrinks() {
    let mut numbering = numbering(100, 131);
    assert_eq!(numbering.room(), 32);
    numbering.update_window(CmdSn(100), CmdSn(120));
    assert_eq!(numbering.room(), 32, "a MaxCmdSN that goes back is ignored");
    numbering.update_window(CmdSn(100), CmdSn(140));
    assert_eq!(numbering.room(), 41);
    // RFC 7143 4.2.2.1: a MaxCmdSN before ExpCmdSN - 1 makes both ignored.
    numbering.update_window(CmdSn(200), CmdSn(198));
    assert_eq!(numbering.room(), 41);
    assert!(!numbering.is_acknowledged(CmdSn(100)));
    numbering.update_window(CmdSn(101), CmdSn(100));
    assert!(numbering.is_acknowledged(CmdSn(100)) && !numbering.is_acknowledged(CmdSn(101)));
    assert_eq!(numbering.room(), 41);
}

#[test]
fn a_closed_window_has_no_room() {
    let mut numbering = numbering(u32::MAX, u32::MAX);
    assert_eq!(numbering.room(), 1);
    assert_eq!(numbering.take_cmd_sn(), CmdSn(u32::MAX));
    assert_eq!((numbering.room(), numbering.cmd_sn()), (0, CmdSn(0)));
    numbering.update_window(CmdSn(0), CmdSn(1));
    assert_eq!(numbering.room(), 2);
}

#[test]
fn submitting_beyond_the_window_hands_the_command_back() {
    let mut bench = Bench::with(LoginOutcome { max_cmd_sn: FIRST_CMD_SN.next(), ..outcome(Parameters::default()) });
    assert_eq!(bench.session.window(CID), 2);
    bench.submit(1, read(512));
    bench.submit(2, read(512));
    assert_eq!(bench.session.submit(bench.now, CID, tag(3), read(512)), Err(read(512)));
    // Immediate requests need no place, carry the next number, and do not use it up.
    bench.session.ping(bench.now, CID, tag(4), Bytes::new());
    let numbers: Vec<_> = bench.sent().iter().map(cmd_sn).collect();
    assert_eq!(numbers, [FIRST_CMD_SN, FIRST_CMD_SN.next(), FIRST_CMD_SN.advanced_by(2)]);
    bench.max_cmd_sn = FIRST_CMD_SN.advanced_by(2);
    let pdu = bench.response(1);
    bench.take(pdu);
    bench.submit(3, read(512));
    assert_eq!(bench.sent().iter().map(cmd_sn).collect::<Vec<_>>(), [FIRST_CMD_SN.advanced_by(2)]);
}

pub(super) fn cmd_sn(pdu: &Pdu) -> CmdSn {
    match pdu {
        Pdu::ScsiCommand(pdu) => pdu.cmd_sn,
        Pdu::NopOut(pdu) => pdu.cmd_sn,
        Pdu::TaskManagementRequest(pdu) => pdu.cmd_sn,
        Pdu::TextRequest(pdu) => pdu.cmd_sn,
        Pdu::LogoutRequest(pdu) => pdu.cmd_sn,
        other => panic!("{other:?} has no CmdSN"),
    }
}

// RFC 7143 4.2.2.1-1, 4.2.2.1-2, 4.2.2.1-3.
/// Commands and statuses pass 2^32 without anybody noticing, and each command acknowledges the statuses before it.
#[test]
fn all_numbers_wrap() {
    let first = CmdSn(u32::MAX - 2);
    let outcome = LoginOutcome {
        cmd_sn: first,
        stat_sn: StatSn(u32::MAX - 1),
        max_cmd_sn: first.advanced_by(3),
        ..outcome(Parameters::default())
    };
    let mut bench = Bench::with(outcome);
    for number in 0..8 {
        bench.submit(number, read(512));
        let sent = bench.sent();
        let [Pdu::ScsiCommand(command)] = &sent[..] else { panic!("one command, not {sent:?}") };
        assert_eq!(command.cmd_sn, first.advanced_by(number));
        assert_eq!(command.exp_stat_sn, StatSn(u32::MAX - 1).advanced_by(number));
        bench.exp_cmd_sn = bench.exp_cmd_sn.next();
        bench.max_cmd_sn = bench.max_cmd_sn.next();
        let pdu = bench.response(number);
        bench.take(pdu);
        assert_eq!(bench.session.window(CID), 4);
        assert!(matches!(bench.events()[..], [Event::TaskComplete { .. }]));
    }
}

proptest! {
    /// RFC 7143 4.2.2.1, as it is written, in wide arithmetic: numbers near each other anywhere in the circle.
    #[test]
    fn the_window_is_that_of_the_rules(
        start: u32,
        updates in proptest::collection::vec((-300_i64..300, -300_i64..300), 0..40),
    ) {
        let mut numbering = numbering(start, start.wrapping_add(9));
        let (mut exp, mut max) = (0_i64, 9_i64);
        for (new_exp, new_max) in updates {
            let wire = |number: i64| CmdSn(start.wrapping_add(number as u32));
            numbering.update_window(wire(new_exp), wire(new_max));
            if new_max >= new_exp - 1 {
                (exp, max) = (exp.max(new_exp), max.max(new_max));
            }
            prop_assert_eq!(i64::from(numbering.room()), max + 1);
            prop_assert!(numbering.is_acknowledged(wire(exp - 1)) && !numbering.is_acknowledged(wire(exp)));
        }
    }
}

// RFC 7143 4.2.2.1-14: while a command may be sent again, no window leads 2^31 numbers beyond it.
#[test]
fn no_window_leads_beyond_half_of_all_numbers() {
    for size in [1, 0x7fff_fffe, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        let mut bench = Bench::new(Parameters { error_recovery_level: 1, ..Parameters::default() });
        bench.submit(1, read(8));
        bench.sent();
        bench.max_cmd_sn = FIRST_CMD_SN.advanced_by(size);
        let pdu = bench.nop_in(None, None);
        bench.take(pdu);
        // One number is used already.
        assert!(1 + bench.session.window(CID) < 1 << 31, "{size:#x}");
    }
}
