//! A client that comes back: what it gives again, what it does not, and when it gives up.

use crate::target::{Connection, listen, target};
use crate::{BLOCK, connect, execute, is_good, is_lost, read, write};
use bytes::Bytes;
use iscsi_pdu::{AsyncEvent, LoginStatus, Tsih};
use iscsi_runtime::{ClientError, Completion, Operation, Transfer};
use scsi_block::cdb::Cdb;
use scsi_block::sense::{AdditionalSense, Sense, SenseKey};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// PROTOCOL SERVICE CRC ERROR
const CRC_ERROR: AdditionalSense = AdditionalSense::from_code(0x4705);

/// The code of a unit attention.
fn attention(end: Operation<Completion>) -> AdditionalSense {
    let completion = end.wait().expect("an answer");
    assert_eq!(completion.status, 2);
    Sense::decode(&completion.sense).expect("sense data").additional
}

// RFC 7143 7.1.4.3-1, 7.14-1, 6.3.5-1, 10.1.1-1: a new session takes the place of the lost one.
#[test]
fn reads_and_writes_are_given_again() {
    let (config, served) = target(|listener| {
        let mut first = Connection::log_in(listener);
        let lost = [first.command(), first.command()];
        let isid = first.login.isid;
        drop(first);
        let mut second = Connection::log_in(listener);
        assert_eq!((second.login.isid, second.login.tsih), (isid, Tsih(0)));
        let again = [second.command(), second.command()];
        for (lost, again) in lost.iter().zip(&again) {
            assert_eq!((lost.cdb, &lost.data), (again.cdb, &again.data), "in the order in which they were given");
        }
        second.good(&again[0]);
        second.data(&again[1], vec![7; BLOCK]);
        second.answer_logout();
    });
    let client = connect(config);
    let (write, read) = (write(&client, 5, 0xab), read(&client, 9));
    assert!(is_good(write));
    assert_eq!(read.wait().expect("an answer").data.concat(), [7; BLOCK]);
    client.logout().wait().expect("a clean end");
    served.join().expect("the target has seen what it expected");
}

#[test]
fn a_command_whose_second_time_would_be_another_ends_unknown() {
    let (config, served) = target(|listener| {
        let mut first = Connection::log_in(listener);
        (0..3).for_each(|_| drop(first.command()));
        drop(first);
        let mut second = Connection::log_in(listener);
        let again = second.command();
        assert_eq!(again.cdb[..], Cdb::read_16(9, 1).as_bytes()[..]);
        second.data(&again, vec![7; BLOCK]);
        second.answer_ping();
        second.answer_logout();
    });
    let client = connect(config);
    let compare = execute(&client, &Cdb::compare_and_write(0, 1), Transfer::Write(vec![0; 2 * BLOCK].into()));
    let sense = execute(&client, &Cdb::request_sense(false, 252), Transfer::Read(252));
    let read = read(&client, 9);
    assert!(is_lost(compare) && is_lost(sense) && is_good(read));
    client.ping(Bytes::new()).wait().expect("an answer");
    client.logout().wait().expect("a clean end");
    served.join().expect("the target has seen what it expected");
}

#[test]
fn what_has_not_come_as_it_was_sent_is_given_again() {
    let (config, served) = target(|listener| {
        let mut connection = Connection::log_in(listener);
        let first = connection.command();
        connection.reject_data(&first);
        let second = connection.command();
        connection.fail(&second, SenseKey::AbortedCommand, CRC_ERROR);
        let third = connection.command();
        assert_eq!((&third.cdb, &third.data), (&first.cdb, &first.data));
        connection.good(&third);
        // What was aborted may have had an effect.
        let compare = connection.command();
        connection.fail(&compare, SenseKey::AbortedCommand, CRC_ERROR);
        connection.answer_logout();
    });
    let client = connect(config);
    assert!(is_good(write(&client, 5, 1)));
    let compare = execute(&client, &Cdb::compare_and_write(0, 1), Transfer::Write(vec![0; 2 * BLOCK].into()));
    assert_eq!(compare.wait().expect("an answer").status, 2);
    client.logout().wait().expect("a clean end");
    served.join().expect("the target has seen what it expected");
}

#[test]
fn a_write_waits_for_one_to_the_same_blocks() {
    let (sender, given_again) = mpsc::channel();
    let (config, served) = target(move |listener| {
        let mut first = Connection::log_in(listener);
        assert_eq!(first.command().data[0], 1);
        first.answer_ping(); // and nothing between
        drop(first);
        let mut second = Connection::log_in(listener);
        let one = second.command();
        assert_eq!(one.data[0], 1);
        sender.send(()).expect("somebody listens");
        second.answer_ping();
        second.good(&one);
        let two = second.command();
        assert_eq!(two.data[0], 2);
        second.good(&two);
        second.answer_logout();
    });
    let client = connect(config);
    let writes = [write(&client, 5, 1), write(&client, 5, 2)];
    client.ping(Bytes::new()).wait().expect("an answer");
    given_again.recv().expect("a second session");
    client.ping(Bytes::new()).wait().expect("an answer");
    assert!(writes.into_iter().all(is_good));
    client.logout().wait().expect("a clean end");
    served.join().expect("the target has seen what it expected");
}

#[test]
fn the_loss_of_the_nexus_is_not_told_to_whoever_gave_a_command() {
    let (config, served) = target(|listener| {
        let mut first = Connection::log_in(listener);
        // A first session says what it has to say to those who use it.
        let command = first.command();
        first.attention(&command, AdditionalSense::I_T_NEXUS_LOSS);
        first.command();
        drop(first);
        let mut second = Connection::log_in(listener);
        let again = second.command();
        second.attention(&again, AdditionalSense::POWER_ON_OR_RESET);
        let once_more = second.command();
        assert_eq!(once_more.cdb, again.cdb);
        second.data(&once_more, vec![7; BLOCK]);
        // Once is what a new session brings; a second time somebody has reset the unit.
        let command = second.command();
        second.attention(&command, AdditionalSense::BUS_DEVICE_RESET);
        second.answer_logout();
    });
    let client = connect(config);
    assert_eq!(attention(read(&client, 0)), AdditionalSense::I_T_NEXUS_LOSS);
    assert!(is_good(read(&client, 1)));
    assert_eq!(attention(read(&client, 2)), AdditionalSense::BUS_DEVICE_RESET);
    client.logout().wait().expect("a clean end");
    served.join().expect("the target has seen what it expected");
}

/// Runs a command through a loss, after which the unit has this to tell.
fn told_after_a_loss(code: AdditionalSense) -> AdditionalSense {
    let (config, served) = target(move |listener| {
        Connection::log_in(listener).command();
        let mut second = Connection::log_in(listener);
        let again = second.command();
        second.attention(&again, code);
        second.answer_logout();
    });
    let client = connect(config);
    let told = attention(read(&client, 0));
    client.logout().wait().expect("a clean end");
    served.join().expect("the target has seen what it expected");
    told
}

#[test]
fn what_a_new_session_does_not_bring_with_it_is_told() {
    for code in [AdditionalSense::POWER_ON, AdditionalSense::from_code(0x2a09)] {
        assert_eq!(told_after_a_loss(code), code);
    }
}

#[test]
fn the_loss_of_a_reservation_is_not_overlooked() {
    let (config, served) = target(|listener| {
        let mut first = Connection::log_in(listener);
        let reserve = first.command();
        first.good(&reserve);
        first.command();
        drop(first);
        let mut second = Connection::log_in(listener);
        let command = second.command();
        assert_eq!(command.cdb[..], Cdb::read_16(2, 1).as_bytes()[..], "not the one that was lost");
        second.attention(&command, AdditionalSense::POWER_ON_OR_RESET);
        second.answer_logout();
    });
    let client = connect(config);
    assert!(is_good(execute(&client, &Cdb::reserve_6(), Transfer::None)));
    assert!(is_lost(write(&client, 1, 1)));
    assert_eq!(attention(read(&client, 2)), AdditionalSense::POWER_ON_OR_RESET);
    client.logout().wait().expect("a clean end");
    served.join().expect("the target has seen what it expected");
}

#[test]
fn a_command_that_ends_every_session_is_given_up() {
    let (config, served) = target(|listener| {
        for _ in 0..5 {
            Connection::log_in(listener).command();
        }
    });
    let client = connect(config);
    assert!(is_lost(read(&client, 0)), "given once, and four times more");
    served.join().expect("the target has seen what it expected");
}

#[test]
fn a_target_that_stays_away_is_given_up() {
    let (config, served) = target(|listener| drop(Connection::log_in(listener).command()));
    let client = connect(config);
    let write = write(&client, 0, 1);
    served.join().expect("the target has seen what it expected");
    assert!(is_lost(write));
    let later = client.ping(Bytes::new()).wait();
    assert!(matches!(later, Err(ClientError::Connect { .. })), "{later:?}");
}

#[test]
fn who_is_refused_does_not_ask_again() {
    let (config, served) = target(|listener| {
        Connection::log_in(listener).command();
        let mut unavailable = Connection::accept(listener);
        unavailable.answer_login(LoginStatus::ServiceUnavailable, "");
        let mut refused = Connection::accept(listener);
        refused.answer_login(LoginStatus::AuthorizationFailure, "");
    });
    let client = connect(config);
    assert!(is_lost(read(&client, 0)));
    let later = client.ping(Bytes::new()).wait();
    assert!(matches!(later, Err(ClientError::Login { .. })), "{later:?}");
    served.join().expect("the target has seen what it expected");
}

#[test]
fn without_reconnection_a_loss_is_told_at_once() {
    let (config, served) = target(|listener| drop(Connection::log_in(listener).command()));
    let client = connect(config.reconnection(None));
    assert!(is_lost(read(&client, 0)));
    served.join().expect("the target has seen what it expected");
}

/// How long after a loss a client comes back.
fn time_to_come_back(text: &'static str, lose: impl FnOnce(Connection) + Send + 'static) -> Duration {
    let (sender, times) = mpsc::channel();
    let (config, served) = target(move |listener| {
        let mut first = Connection::log_in_with(listener, text);
        first.command();
        lose(first);
        sender.send(Instant::now()).expect("somebody listens");
        let mut second = Connection::log_in(listener);
        sender.send(Instant::now()).expect("somebody listens");
        let again = second.command();
        second.good(&again);
    });
    let client = connect(config);
    assert!(is_good(write(&client, 0, 1)));
    served.join().expect("the target has seen what it expected");
    let [lost, back] = [times.recv().expect("a time"), times.recv().expect("another")];
    back - lost
}

// RFC 7143 section 13.15: DefaultTime2Wait is what both ends want at least.
#[test]
fn the_next_login_waits_for_time_2_wait() {
    let time = time_to_come_back("DefaultTime2Wait=1\0", drop);
    assert!(time >= Duration::from_millis(900), "{time:?}");
}

// RFC 7143 section 11.9: a target that drops a session may want another wait.
#[test]
fn the_next_login_waits_for_as_long_as_the_target_has_said() {
    let time = time_to_come_back("DefaultTime2Wait=0\0", |mut connection| {
        connection.announce(AsyncEvent::SessionDrop, [0, 1, 0]);
        assert_eq!(connection.receive(), None);
    });
    assert!(time >= Duration::from_millis(900), "{time:?}");
}

// RFC 7143 11.9.1-3: and comes back.
#[test]
fn a_client_that_was_asked_to_leave_comes_back() {
    let (config, served) = target(|listener| {
        let mut first = Connection::log_in(listener);
        first.announce(AsyncEvent::LogoutRequest, [0, 0, 3]);
        first.answer_logout();
        drop(first);
        let mut second = Connection::log_in(listener);
        let command = second.command();
        second.good(&command);
        second.answer_logout();
    });
    let client = connect(config);
    assert!(is_good(execute(&client, &Cdb::test_unit_ready(), Transfer::None)));
    client.logout().wait().expect("a clean end");
    served.join().expect("the target has seen what it expected");
}

#[test]
fn a_client_that_nobody_has_any_more_does_not_come_back() {
    let (config, served) = target(|listener| {
        Connection::log_in_with(listener, "DefaultTime2Wait=1\0").answer_ping();
        listener.set_nonblocking(true).expect("a listener that does not block");
        std::thread::sleep(Duration::from_millis(1300));
        assert!(listener.accept().is_err(), "nobody has come");
    });
    let client = connect(config);
    client.ping(Bytes::new()).wait().expect("an answer");
    drop(client);
    served.join().expect("the target has seen what it expected");
}

#[test]
fn a_move_for_good_is_remembered() {
    let (elsewhere, moved) = listen(|listener| {
        Connection::log_in(listener).command();
        let mut second = Connection::log_in(listener);
        let again = second.command();
        second.good(&again);
        second.answer_logout();
    });
    let address: &'static str = format!("TargetAddress={elsewhere}\0").leak();
    let (config, served) = target(move |listener| {
        Connection::accept(listener).answer_login(LoginStatus::TargetMovedPermanently, address);
    });
    let client = connect(config);
    assert!(is_good(write(&client, 0, 1)), "the first address has nobody any more");
    client.logout().wait().expect("a clean end");
    served.join().expect("it was asked once");
    moved.join().expect("the target has seen what it expected");
}
