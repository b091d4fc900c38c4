//! Functions for many tasks where FastAbort was agreed upon (RFC 7143 section 4.2.3.4).

use super::*;
use crate::TaskReporting;
use crate::initiator::TaskManagement;
use iscsi_pdu::TaskManagementFunction as Function;
use iscsi_pdu::TaskManagementResponseCode as Code;

const OTHER_LUN: LunField = LunField([0, 4, 0, 0, 0, 0, 0, 0]);
const LENGTH: usize = 16_384;

/// A session with two writes of which data was asked for, 2 of another unit, and a LOGICAL UNIT RESET of the unit of 1 that was sent.
fn resetting(task_reporting: TaskReporting) -> Bench {
    let (initial_r2t, immediate_data) = (true, false);
    let outstanding_r2t_max = 2;
    let parameters =
        Parameters { task_reporting, initial_r2t, immediate_data, outstanding_r2t_max, ..Parameters::default() };
    let mut bench = Bench::new(parameters);
    bench.submit(1, write(LENGTH));
    bench.submit(2, Command { lun: OTHER_LUN, ..write(LENGTH) });
    assert_eq!(bench.sent().len(), 2);
    bench.take(bench.r2t(1, 0, 0, LENGTH as u32 / 2));
    bench.take(R2t { lun: OTHER_LUN, ..bench.r2t(2, 0, 0, LENGTH as u32) });
    let asked = TaskManagement { function: Function::LogicalUnitReset, lun: LUN, referenced: None };
    bench.session.manage_task(bench.now, CID, tag(9), asked);
    bench
}

fn answer(bench: &mut Bench, response: Code) {
    let (stat_sn, exp_cmd_sn, max_cmd_sn) = (bench.status(), bench.exp_cmd_sn, bench.max_cmd_sn);
    let (initiator_task_tag, additional_information) = (tag(9), [0; 3]);
    bench.take(TaskManagementResponse {
        response,
        additional_information,
        initiator_task_tag,
        stat_sn,
        exp_cmd_sn,
        max_cmd_sn,
    });
}

/// How many bytes go for each of the two tasks, after the function has left.
fn data_behind_the_function(bench: &mut Bench) -> [usize; 2] {
    let sent = bench.sent();
    let from = sent.iter().position(|pdu| matches!(pdu, Pdu::TaskManagementRequest(_))).map_or(0, |place| place + 1);
    [1, 2].map(|number| {
        let length = |pdu: &Pdu| match pdu {
            Pdu::DataOut(pdu) if pdu.initiator_task_tag == tag(number) => pdu.data.len(),
            _ => 0,
        };
        sent[from..].iter().map(length).sum()
    })
}

// RFC 7143 4.2.3.4-2, 4.2.3.4-3, 4.2.3.4-6
#[test]
fn no_data_follows_the_function_for_what_it_ends() {
    let mut bench = resetting(TaskReporting::FastAbort);
    let [ended, other] = data_behind_the_function(&mut bench);
    assert_eq!((ended, other > 0), (0, true));
    // Nor for what is asked for now.
    bench.take(bench.r2t(1, 1, LENGTH as u32 / 2, LENGTH as u32 / 2));
    assert_eq!(data_behind_the_function(&mut bench)[0], 0);
    answer(&mut bench, Code::FunctionComplete);
    assert_eq!(bench.events()[0], Event::TaskAborted { tag: tag(1) });
    assert_eq!(bench.sent(), []);
    let mut bench = resetting(TaskReporting::ResponseFence);
    assert!(data_behind_the_function(&mut bench).iter().all(|bytes| *bytes > 0), "what was asked for is sent");
}

#[test]
fn data_goes_on_if_the_function_is_refused() {
    let mut bench = resetting(TaskReporting::FastAbort);
    data_behind_the_function(&mut bench);
    answer(&mut bench, Code::FunctionRejected);
    assert!(data_behind_the_function(&mut bench)[0] > 0);
}

// RFC 7143 4.2.3.4-4, 4.2.3.4-7
#[test]
fn a_response_counts_before_the_function_has_completed_and_not_after() {
    let mut bench = resetting(TaskReporting::FastAbort);
    bench.sent();
    let response = bench.response(1);
    bench.take(response);
    assert!(matches!(bench.events()[..], [Event::TaskComplete { .. }]));
    answer(&mut bench, Code::FunctionComplete);
    assert_eq!(bench.events().len(), 1, "the end of the function alone");
    let mut bench = resetting(TaskReporting::FastAbort);
    bench.sent();
    answer(&mut bench, Code::FunctionComplete);
    bench.events();
    let response = bench.response(1);
    bench.take(response);
    assert_eq!(bench.events(), []);
}
