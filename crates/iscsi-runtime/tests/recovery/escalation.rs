//! Commands that do not end in time.

use crate::target::{Connection, target};
use crate::{BLOCK, connect, is_good, is_lost, read, write};
use iscsi_pdu::{Pdu, TaskManagementFunction, TaskManagementResponseCode as Response};
use iscsi_runtime::{ClientConfig, ClientError, Completion, Escalation, Operation};
use scsi_block::sense::AdditionalSense;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::Duration;

/// Time for a command: more than one needs that is answered.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(500);

/// A client that gives a function so much time.
fn impatient(config: ClientConfig, management_timeout: Duration) -> ClientConfig {
    config.escalation(Some(Escalation { command_timeout: COMMAND_TIMEOUT, management_timeout }))
}

fn has_timed_out(end: Operation<Completion>) -> bool {
    matches!(end.wait(), Err(ClientError::TimedOut))
}

// RFC 7143 7.11-1
#[test]
fn a_command_that_does_not_end_is_aborted() {
    let (config, served) = target(|listener| {
        let mut connection = Connection::log_in(listener);
        let command = connection.command();
        let abort = connection.task_management();
        assert_eq!(abort.function, TaskManagementFunction::AbortTask);
        assert_eq!(abort.referenced_task_tag, Some(command.initiator_task_tag));
        assert_eq!((abort.ref_cmd_sn, abort.lun), (command.cmd_sn, command.lun));
        connection.manage(&abort, Response::FunctionComplete);
        let command = connection.command();
        connection.good(&command);
        connection.answer_logout();
    });
    let client = connect(impatient(config, Duration::from_secs(10)));
    assert!(has_timed_out(write(&client, 0, 1)));
    assert!(is_good(write(&client, 0, 2)), "the session goes on");
    client.logout().wait().expect("a clean end");
    served.join().expect("the target has seen what it expected");
}

#[test]
fn a_unit_is_reset_if_it_aborts_nothing() {
    let (config, served) = target(|listener| {
        let mut connection = Connection::log_in(listener);
        let command = connection.command();
        let abort = connection.task_management();
        connection.manage(&abort, Response::FunctionNotSupported);
        let reset = connection.task_management();
        assert_eq!((reset.function, reset.lun), (TaskManagementFunction::LogicalUnitReset, command.lun));
        connection.manage(&reset, Response::FunctionComplete);
        connection.answer_logout();
    });
    let client = connect(impatient(config, Duration::from_secs(10)));
    assert!(has_timed_out(write(&client, 0, 1)));
    client.logout().wait().expect("a clean end");
    served.join().expect("the target has seen what it expected");
}

// RFC 7143 11.2.1.8-1
/// A unit attention says that another initiator has cleared commands, and not which: one keeps its tag until an abort was answered.
#[test]
fn a_command_that_another_initiator_has_cleared_keeps_its_tag_until_it_was_aborted() {
    let (config, served) = target(|listener| {
        let mut connection = Connection::log_in(listener);
        let cleared = connection.command();
        let told = connection.command();
        connection.attention(&told, AdditionalSense::COMMANDS_CLEARED_BY_ANOTHER_INITIATOR);
        for _ in 0..8 {
            let command = connection.command();
            assert_ne!(command.initiator_task_tag, cleared.initiator_task_tag);
            connection.good(&command);
        }
        let abort = connection.task_management();
        assert_eq!(abort.function, TaskManagementFunction::AbortTask);
        assert_eq!(abort.referenced_task_tag, Some(cleared.initiator_task_tag));
        connection.manage(&abort, Response::TaskDoesNotExist);
        connection.answer_logout();
    });
    let client = connect(impatient(config, Duration::from_secs(10)));
    let cleared = write(&client, 0, 1);
    assert!(write(&client, 1, 1).wait().is_ok_and(|completion| completion.status == 2));
    (2..10).for_each(|lba| assert!(is_good(write(&client, lba, 1))));
    assert!(has_timed_out(cleared));
    client.logout().wait().expect("a clean end");
    served.join().expect("the target has seen what it expected");
}

/// A target that hears what it is told, and does nothing, until the initiator has gone. Nobody else comes meanwhile.
fn be_deaf(listener: &TcpListener) {
    let mut connection = Connection::log_in(listener);
    connection.command();
    let functions = [connection.task_management().function, connection.task_management().function];
    assert_eq!(functions, [TaskManagementFunction::AbortTask, TaskManagementFunction::LogicalUnitReset]);
    listener.set_nonblocking(true).expect("a listener");
    assert_eq!(listener.accept().map_err(|error| error.kind()).err(), Some(ErrorKind::WouldBlock));
    listener.set_nonblocking(false).expect("a listener");
    assert_eq!(connection.receive(), None::<Pdu>);
}

#[test]
fn a_session_in_which_nothing_helps_is_ended() {
    let (config, served) = target(be_deaf);
    let client = connect(impatient(config, Duration::from_millis(50)).reconnection(None));
    assert!(is_lost(write(&client, 0, 1)));
    served.join().expect("the target has seen what it expected");
}

// RFC 7143 6.3.5-2
#[test]
fn a_client_comes_back_after_it_has_ended_a_session() {
    let (config, served) = target(|listener| {
        be_deaf(listener);
        let mut second = Connection::log_in(listener);
        let command = second.command();
        second.data(&command, vec![7; BLOCK]);
        second.answer_logout();
    });
    let client = connect(impatient(config, Duration::from_millis(50)));
    assert!(is_good(read(&client, 0)));
    client.logout().wait().expect("a clean end");
    served.join().expect("the target has seen what it expected");
}

#[test]
fn a_command_may_take_as_long_as_it_likes_if_nobody_minds() {
    let (config, served) = target(|listener| {
        let mut connection = Connection::log_in(listener);
        let command = connection.command();
        std::thread::sleep(Duration::from_millis(300));
        connection.good(&command);
        connection.answer_logout();
    });
    let client = connect(config.escalation(None));
    assert!(is_good(write(&client, 0, 1)));
    client.logout().wait().expect("a clean end");
    served.join().expect("the target has seen what it expected");
}

#[test]
fn a_function_that_does_not_end_ends_the_session() {
    let (config, served) = target(|listener| {
        let mut connection = Connection::log_in(listener);
        assert_eq!(connection.task_management().function, TaskManagementFunction::LogicalUnitReset);
        assert_eq!(connection.receive(), None::<Pdu>);
    });
    let client = connect(impatient(config, Duration::from_millis(50)).reconnection(None));
    assert!(matches!(client.reset(0).wait(), Err(ClientError::Lost(_))));
    served.join().expect("the target has seen what it expected");
}
