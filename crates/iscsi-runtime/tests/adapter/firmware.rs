//! A server on one function of an adapter, and sessions of the initiator in its firmware on another.

use crate::world::*;
use iscsi_runtime::{
    Authentication, ClientConfig, ClientError, Credential, Escalation, FirmwareLoop, Next, Outcome, Request, Secret,
    Server, SessionSelector, Transfer, Workload,
};
use iscsi_session::ChapAlgorithm;
use scsi_block::LogicalUnitNumber;
use scsi_block::cdb::Cdb;
use scsi_block::reservations::{OutAction, OutList, ReservationType};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use t5_hal::dma::DmaMemory;
use t5_hal::driver::initiator::FirmwareInitiator;
use t5_hal::driver::{Driver, DriverConfig, OffloadMode};
use t5_hal::wire::ReturnCode;
use t5_model::runner::Runner;

/// Those of the lengths that a command of the firmware can have.
const LENGTHS_MAX: usize = 3;

/// An adapter whose initiator has so much memory for data.
fn start(place_bytes: usize) -> (Runner, Server, FirmwareLoop) {
    start_with(place_bytes, Authentication::None)
}

/// The same with a target that wants proof.
fn start_with(place_bytes: usize, authentication: Authentication) -> (Runner, Server, FirmwareLoop) {
    let runner = Runner::start(1, 7).unwrap();
    let server = serve(function(&runner, FUNCTIONS[0], TARGET), authentication);
    let memory = Arc::new(DmaMemory::new(5 << 32, 16 << 20, place_bytes));
    let bus: iscsi_runtime::AdapterBus = Arc::new(runner.adapter().function(FUNCTIONS[1], memory));
    let initiator = FirmwareInitiator::bring_up(bus, &DriverConfig::default(), &mut Instant::now).unwrap();
    let IpAddr::V4(address) = INITIATOR else { unreachable!("it is one of IPv4") };
    let firmware = FirmwareLoop::new(initiator, 0, address, Ipv4Addr::new(255, 255, 255, 0)).unwrap();
    (runner, server, firmware)
}

#[test]
fn sessions_in_the_firmware_move_data_of_any_length() {
    let (runner, server, mut firmware) = start(16 << 20);
    for _ in 0..2 {
        let workloads = (0..5).map(|job| WriteAndRead::new(job * 3000, LENGTHS_MAX)).collect();
        for end in firmware.run(&config(), workloads) {
            assert_eq!(end.unwrap().ended, 2 * LENGTHS_MAX);
        }
    }
    let counted = runner.adapter().iscsi_counters();
    assert!(counted.placed_bytes >= 10 * (1 + 16 + 700) * 512, "what was read is placed: {counted:?}");
    assert_eq!(counted.digests_inserted, counted.digests_checked, "{counted:?}");
    assert_eq!(counted.digests_wrong, 0, "{counted:?}");
    assert!(counted.passed_pdus >= 2 * 5 * 2 * LENGTHS_MAX as u64 * 2, "no frame is needed: {counted:?}");
    server.shutdown(Duration::from_secs(5)).unwrap();
    drop(firmware);
    assert_eq!(FUNCTIONS.map(|function| runner.adapter().take_fault(function)), [None, None]);
}

/// Gives more commands at once than anybody has room for, each of one length.
struct Flood {
    commands: u64,
    begun: u64,
    ended: u64,
    bytes: u32,
    write: bool,
}

impl Workload for Flood {
    fn next(&mut self, _: Instant) -> Next {
        if self.begun == self.commands {
            return if self.ended == self.commands { Next::Finished } else { Next::Idle };
        }
        self.begun += 1;
        let (lun, blocks) = (LogicalUnitNumber::from(0), self.bytes / 512);
        let request = match self.write {
            true => Request::new(lun, &Cdb::write_16(0, blocks), Transfer::Write(vec![7; self.bytes as usize].into())),
            false => Request::new(lun, &Cdb::read_16(0, blocks), Transfer::Read(self.bytes)),
        };
        Next::Request { token: self.begun, request }
    }

    fn complete(&mut self, _: Instant, _: u64, outcome: Outcome) {
        let Outcome::Command(completion) = outcome else { panic!("a command ends with {outcome:?}") };
        // The first of a session may be told that there was none before.
        assert!(completion.status == 0 || self.ended == 0, "{completion:?}");
        self.ended += 1;
    }
}

#[test]
fn what_finds_no_room_waits_and_all_of_it_is_done() {
    // Room for two long commands in the driver, for 512 commands a session in the firmware, and there for 64 MiB of writes.
    for (place_bytes, bytes, commands, write) in
        [(3 << 20, 1 << 20, 20, false), (64 << 20, 512, 1500, false), (256 << 20, 1 << 20, 60, true)]
    {
        let (runner, server, mut firmware) = start(place_bytes);
        let floods = (0..3).map(|_| Flood { commands, begun: 0, ended: 0, bytes, write }).collect();
        for end in firmware.run(&config(), floods) {
            assert_eq!(end.unwrap().ended, commands);
        }
        drop((server, firmware));
        assert_eq!(FUNCTIONS.map(|function| runner.adapter().take_fault(function)), [None, None]);
    }
}

#[test]
fn a_command_that_the_firmware_has_not_ends_as_rejected() {
    struct Long(Option<Outcome>);
    impl Workload for Long {
        fn next(&mut self, _: Instant) -> Next {
            if self.0.is_some() {
                return Next::Finished;
            }
            let cdb = Cdb::read_16(0, 4096);
            let request = Request::new(LogicalUnitNumber::from(0), &cdb, Transfer::Read(2 << 20));
            Next::Request { token: 0, request }
        }
        fn complete(&mut self, _: Instant, _: u64, outcome: Outcome) {
            self.0 = Some(outcome);
        }
    }
    let (_runner, _server, mut firmware) = start(16 << 20);
    let end = firmware.run(&config(), vec![Long(None)]).pop().unwrap().unwrap();
    assert!(matches!(end.0, Some(Outcome::Rejected(_))), "{:?}", end.0);
}

#[test]
fn a_session_in_the_firmware_that_cannot_begin_says_why() {
    let (_runner, server, mut firmware) = start(16 << 20);
    let mut failure =
        |config: ClientConfig| firmware.run(&config, vec![WriteAndRead::new(0, 1)]).pop().unwrap().unwrap_err();
    let refused = failure(ClientConfig::new(PORTAL.to_string(), "iqn.2026-01.io.example:none"));
    assert!(matches!(refused, ClientError::FirmwareLogin { code: ReturnCode::NoEntry, .. }), "{refused}");
    let elsewhere = failure(ClientConfig::new("192.0.2.9", NAME));
    assert!(
        matches!(elsewhere, ClientError::FirmwareLogin { code: ReturnCode::NetworkUnreachable, .. }),
        "{elsewhere}"
    );
    let many = failure(config().connections(2));
    assert!(many.to_string().contains("several connections"), "{many}");
    let six = failure(ClientConfig::new("[::1]", NAME));
    assert!(six.to_string().contains("IPv4"), "{six}");
    let long = failure(ClientConfig::new(PORTAL.to_string(), "iqn.2026-01.io.example:".to_owned() + &"x".repeat(300)));
    assert!(long.to_string().contains("name"), "{long}");
    drop(server);
}

#[test]
fn the_firmware_proves_who_it_is_and_has_the_target_do_so() {
    let credential = |name: &str, secret: &str| Credential { name: name.into(), secret: Secret::new(secret).unwrap() };
    let chap = |own: &str, target: &str| {
        let (own, target) = (credential("somebody", own), credential("the target", target));
        Authentication::chap(vec![own], Some(target), ChapAlgorithm::ALL.to_vec()).unwrap()
    };
    let (first, second) = ("the secret of somebody", "the secret of the target");
    let (_runner, _server, mut firmware) = start_with(16 << 20, chap(first, second));
    let mut end = |authentication| {
        firmware.run(&config().authentication(authentication), vec![WriteAndRead::new(0, 1)]).pop().unwrap()
    };
    assert_eq!(end(chap(first, second)).unwrap().ended, 2);
    for wrong in
        [chap("another secret of somebody", second), chap(first, "another secret of the target"), Authentication::None]
    {
        let error = end(wrong).unwrap_err();
        assert!(matches!(error, ClientError::FirmwareLogin { code: ReturnCode::NotPermitted, .. }), "{error}");
    }
}

#[test]
fn a_target_that_goes_away_ends_the_session() {
    struct Endless(Duration, Instant, Option<Server>);
    impl Workload for Endless {
        fn next(&mut self, now: Instant) -> Next {
            if now.duration_since(self.1) > self.0 {
                // The target goes away in the midst of the commands.
                drop(self.2.take());
            }
            let request = Request::new(LogicalUnitNumber::from(0), &Cdb::read_16(0, 1), Transfer::Read(512));
            Next::Request { token: 0, request }
        }
        fn complete(&mut self, _: Instant, _: u64, _: Outcome) {}
    }
    let (_runner, server, mut firmware) = start(1 << 20);
    let endless = Endless(Duration::from_millis(20), Instant::now(), Some(server));
    let short = Escalation { command_timeout: Duration::from_secs(1), management_timeout: Duration::from_secs(1) };
    let end = firmware.run(&config().escalation(Some(short)), vec![endless]).pop().unwrap();
    assert!(matches!(&end, Err(ClientError::Lost(text)) if text.contains("firmware")), "{:?}", end.err());
}

#[test]
fn a_login_that_takes_too_long_ends() {
    let (runner, server, mut firmware) = start(1 << 20);
    drop(server);
    // It listens, and says nothing to those who come.
    let memory = Arc::new(DmaMemory::new(4 << 32, 32 << 20, 1 << 20));
    let bus: iscsi_runtime::AdapterBus = Arc::new(runner.adapter().function(FUNCTIONS[0], memory));
    let mut driver = Driver::bring_up(bus, DriverConfig::default(), &mut Instant::now).unwrap();
    driver.listen(PORTAL, OffloadMode::Ulp).unwrap();
    while driver.poll_event().is_none() {
        driver.poll(Instant::now());
    }
    let begun = Instant::now();
    let ends = firmware.run(&config().timeout(Duration::from_millis(300)), vec![WriteAndRead::new(0, 1)]);
    assert!((Duration::from_millis(300)..Duration::from_secs(10)).contains(&begun.elapsed()));
    let end = ends.into_iter().next().unwrap().unwrap_err();
    assert!(matches!(end, ClientError::FirmwareLogin { code: ReturnCode::TimedOut, .. }), "{end}");
}

/// Does one thing after the other; then the target ends its session, if there is one to be asked, or else it does so itself.
struct Steps {
    requests: Vec<Request>,
    statuses: Arc<Mutex<Vec<u8>>>,
    begun: usize,
    ended: usize,
    then: Option<Arc<Server>>,
}

impl Workload for Steps {
    fn next(&mut self, _: Instant) -> Next {
        if self.begun > self.ended {
            return Next::Idle;
        }
        if let Some(request) = self.requests.get(self.begun) {
            self.begun += 1;
            return Next::Request { token: 0, request: request.clone() };
        }
        match self.then.take() {
            None => Next::Finished,
            Some(server) => {
                let dropped = server.drop_sessions(&SessionSelector::All, Duration::ZERO);
                assert_eq!((dropped.asked, dropped.left), (1, 0));
                Next::Idle
            }
        }
    }

    fn complete(&mut self, _: Instant, _: u64, outcome: Outcome) {
        let Outcome::Command(completion) = outcome else { panic!("a command ends with {outcome:?}") };
        self.ended += 1;
        self.statuses.lock().unwrap().push(completion.status);
    }
}

// RFC 7143 10.1.1-1
#[test]
fn a_session_in_the_firmware_that_was_lost_has_its_reservation_when_it_comes_back() {
    let out = |action, list: OutList| {
        let list = list.encode();
        let cdb = Cdb::persist_out(action, Some(ReservationType::ExclusiveAccess), list.len() as u32);
        Request::new(LogicalUnitNumber::from(0), &cdb, Transfer::Write(list.into()))
    };
    let write = || Request::new(LogicalUnitNumber::from(0), &Cdb::write_16(0, 1), Transfer::Write(vec![1; 512].into()));
    let attention = || Request::new(LogicalUnitNumber::from(0), &Cdb::test_unit_ready(), Transfer::None);
    let register = out(OutAction::Register, OutList { action_key: 7, ..OutList::default() });
    let reserve = out(OutAction::Reserve, OutList { key: 7, ..OutList::default() });

    let (_runner, server, mut firmware) = start(1 << 20);
    let server = Arc::new(server);
    let mut run = |config: &ClientConfig, requests, then: Option<&Arc<Server>>| {
        let statuses: Arc<Mutex<Vec<u8>>> = Arc::default();
        let steps = Steps { requests, statuses: Arc::clone(&statuses), begun: 0, ended: 0, then: then.cloned() };
        let end = firmware.run(config, vec![steps]).pop().unwrap().map(|_| ());
        (end, std::mem::take(&mut *statuses.lock().unwrap()))
    };
    const GOOD: u8 = 0;
    const RESERVATION_CONFLICT: u8 = 0x18;
    // Nobody else in this process has that name.
    let initiator = "iqn.2026-01.test:reserves";
    let requests = vec![attention(), register, reserve, write()];
    let (end, statuses) = run(&config().initiator_name(initiator), requests, Some(&server));
    assert!(matches!(end, Err(ClientError::Lost(_))), "{end:?}");
    assert_eq!(statuses[1..], [GOOD; 3]);
    for (initiator, status) in [("iqn.2026-01.test:another", RESERVATION_CONFLICT), (initiator, GOOD)] {
        let (end, statuses) = run(&config().initiator_name(initiator), vec![attention(), write()], None);
        assert_eq!((end.is_ok(), statuses[1]), (true, status), "{initiator}");
    }
}
