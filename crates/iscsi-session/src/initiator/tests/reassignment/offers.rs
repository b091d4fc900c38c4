//! A task without a connection is offered, reassigned, refused or aborted.

use super::*;

#[test]
fn a_message_of_ended_tasks_means_none_that_is_being_reassigned() {
    let mut bench = with_a_read(two());
    lose(&mut bench, CID);
    log_out(&mut bench, OTHER, Logout::ForRecovery(CID));
    answer_logout(&mut bench, 0, 30);
    assert!(reassign(&mut bench, 1).is_some_and(|request| request.referenced_task_tag == Some(tag(1))));
    announce_with(&mut bench, AsyncEvent::TaskTermination, CID, 0);
    assert_eq!(bench.events(), []);
    assert_eq!(answer(&mut bench, Code::FunctionComplete), []);
    // It belongs to the connection now.
    announce_with(&mut bench, AsyncEvent::TaskTermination, CID, 0);
    assert_eq!(bench.events(), [Event::TaskAborted { tag: tag(1) }]);
}

// RFC 7143 7.2.2-1, 11.5.1-15.
#[test]
fn a_reassignment_waits_for_the_logout_and_may_be_refused() {
    let mut bench = with_a_read(two());
    bench.on(OTHER);
    let told = |bench: &mut Bench, response| {
        assert_eq!(
            bench.events(),
            [Event::TaskManagementComplete { tag: tag(FUNCTION), response, additional_information: [0; 3] }]
        );
    };
    // RFC 7143 7.2.2, as the target would say it.
    assert!(reassign(&mut bench, 1).is_none());
    told(&mut bench, Code::TaskStillAllegiant);
    lose(&mut bench, CID);
    assert!(reassign(&mut bench, 1).is_none());
    told(&mut bench, Code::TaskStillAllegiant);
    assert!(manage(&mut bench, TaskManagementFunction::AbortTask, 1).is_none());
    told(&mut bench, Code::TaskStillAllegiant);
    assert!(reassign(&mut bench, 7).is_none());
    told(&mut bench, Code::TaskDoesNotExist);

    log_out(&mut bench, OTHER, Logout::ForRecovery(CID));
    assert_eq!(answer_logout(&mut bench, 0, 30), [due(1)]);
    reassign(&mut bench, 1).unwrap();
    assert_eq!(answer(&mut bench, Code::TaskStillAllegiant), []);
    reassign(&mut bench, 1).unwrap();
    assert_eq!(answer(&mut bench, Code::TaskAllegianceReassignmentNotSupported), [lost(1)]);
}

/// RFC 7143 7.2.2 and 11.17.1.
#[test]
fn a_task_is_offered_again_until_it_is_reassigned_or_forgotten() {
    use RejectReason::{InvalidPduField, TooManyImmediateCommands, WaitingForLogout};
    let rejected = |reason| Event::TaskRejected { tag: tag(FUNCTION), reason };
    let mut bench = two();
    for number in 1..=2 {
        bench.submit(number, read(8));
    }
    bench.sent();
    acknowledge(&mut bench, 2);
    lose(&mut bench, CID);
    log_out(&mut bench, OTHER, Logout::ForRecovery(CID));
    assert_eq!(answer_logout(&mut bench, 0, 30), [due(1), due(2)]);
    for refusal in [None, Some(TooManyImmediateCommands), Some(WaitingForLogout)] {
        let request = reassign(&mut bench, 1).unwrap();
        match refusal {
            None => assert_eq!(answer(&mut bench, Code::TaskStillAllegiant), []),
            Some(reason) => {
                reject(&mut bench, &request.into(), reason);
                assert_eq!(bench.events(), [rejected(reason)]);
            }
        }
        assert_eq!(pass(&mut bench, Duration::from_millis(99)), []);
        assert_eq!(pass(&mut bench, Duration::from_millis(1)), [due(1), due(2)]);
        assert_eq!(pass(&mut bench, Duration::from_secs(1)), [], "once");
    }
    // What is wrong with the request stays wrong.
    let request = reassign(&mut bench, 1).unwrap();
    reject(&mut bench, &request.into(), InvalidPduField);
    assert_eq!(bench.events(), [rejected(InvalidPduField), lost(1)]);
    // Nothing is offered that the target has forgotten.
    pass(&mut bench, Duration::from_millis(26_650));
    reassign(&mut bench, 2).unwrap();
    assert_eq!(answer(&mut bench, Code::TaskStillAllegiant), []);
    assert_eq!(pass(&mut bench, Duration::from_millis(200)), [lost(2)]);
    assert_eq!(pass(&mut bench, Duration::from_secs(1)), []);
}

#[test]
fn a_task_is_reassigned_to_one_connection_at_a_time() {
    let mut bench = two();
    bench.join(Cid(3)).on(CID).submit(1, read(8));
    bench.sent();
    acknowledge(&mut bench, 1);
    lose(&mut bench, CID);
    log_out(&mut bench, OTHER, Logout::ForRecovery(CID));
    assert_eq!(answer_logout(&mut bench, 0, 30), [due(1)]);
    reassign(&mut bench, 1).unwrap();
    let function = TaskManagementFunction::TaskReassign;
    let asked = TaskManagement { function, lun: LUN, referenced: Some(tag(1)) };
    bench.session.manage_task(bench.now, Cid(3), tag(92), asked);
    let response = Code::TaskStillAllegiant;
    assert_eq!(
        bench.events(),
        [Event::TaskManagementComplete { tag: tag(92), response, additional_information: [0; 3] }]
    );
    assert_eq!(answer(&mut bench, Code::FunctionComplete), []);
    bench.take(bench.data_in(1, 0, 0, pattern(8)));
    bench.events();
    assert_ends(&mut bench, 1);
}

/// RFC 7143 11.5.1: the function takes the task over and ends it; a status that was sent comes before.
#[test]
fn a_task_without_a_connection_is_aborted_on_another() {
    for with_status in [false, true] {
        let mut bench = two();
        bench.submit(1, read(0));
        bench.sent();
        acknowledge(&mut bench, 1);
        lose(&mut bench, CID);
        log_out(&mut bench, OTHER, Logout::ForRecovery(CID));
        assert_eq!(answer_logout(&mut bench, 0, 30), [due(1)]);
        let request = manage(&mut bench, TaskManagementFunction::AbortTask, 1).unwrap();
        assert_eq!((request.ref_cmd_sn, request.exp_data_sn), (FIRST_CMD_SN, 0));
        if with_status {
            assert_ends(&mut bench, 1);
            assert_eq!(answer(&mut bench, Code::TaskDoesNotExist), []);
        } else {
            assert_eq!(answer(&mut bench, Code::FunctionComplete), [Event::TaskAborted { tag: tag(1) }]);
        }
    }
}

#[test]
fn a_reset_ends_tasks_without_a_connection_too() {
    let mut bench = with_a_read(two());
    lose(&mut bench, CID);
    bench.on(OTHER);
    let asked = TaskManagement { function: TaskManagementFunction::LogicalUnitReset, lun: LUN, referenced: None };
    bench.session.manage_task(bench.now, OTHER, tag(FUNCTION), asked);
    bench.sent();
    assert_eq!(answer(&mut bench, Code::FunctionComplete), [Event::TaskAborted { tag: tag(1) }]);
}

#[test]
fn a_task_is_offered_again_if_its_connection_breaks_before_the_function_has_left() {
    // The one that had the task, or a third.
    for (over, rest) in [(OTHER, Cid(3)), (Cid(3), OTHER)] {
        let mut bench = two();
        bench.join(Cid(3)).on(CID).submit(1, read(8));
        bench.sent();
        acknowledge(&mut bench, 1);
        lose(&mut bench, CID);
        log_out(&mut bench, OTHER, Logout::ForRecovery(CID));
        assert_eq!(answer_logout(&mut bench, 0, 30), [due(1)]);
        let asked =
            TaskManagement { function: TaskManagementFunction::TaskReassign, lun: LUN, referenced: Some(tag(1)) };
        bench.session.manage_task(bench.now, over, tag(FUNCTION), asked);
        assert_eq!(lose(&mut bench, over), [lost(FUNCTION), closed(over)]);
        log_out(&mut bench, rest, Logout::ForRecovery(over));
        assert_eq!(answer_logout(&mut bench, 0, 30), [due(1)]);
        reassign(&mut bench, 1).unwrap();
        assert_eq!(answer(&mut bench, Code::FunctionComplete), []);
        bench.take(bench.data_in(1, 0, 0, pattern(8)));
        bench.events();
        assert_ends(&mut bench, 1);
    }
    // One that is reinstated.
    let mut bench = with_a_read(one());
    lose(&mut bench, CID);
    for _ in 0..2 {
        bench.now += WAIT;
        bench.session.handle_timeout(bench.now);
        bench.events();
        bench.join(CID);
        bench.now += WAIT;
        bench.session.handle_timeout(bench.now);
        assert!(bench.events().contains(&due(1)));
        let asked =
            TaskManagement { function: TaskManagementFunction::TaskReassign, lun: LUN, referenced: Some(tag(1)) };
        bench.session.manage_task(bench.now, CID, tag(FUNCTION), asked);
        assert_eq!(lose(&mut bench, CID), [lost(FUNCTION), closed(CID)]);
    }
}
