//! A server and sessions on two functions of one T5 adapter in software.

use bytes::Bytes;
use iscsi_runtime::{
    AdapterBus, AdapterFunction, ClientConfig, ClientError, Disk, Limits, Next, Outcome, PolicyError, Request, Server,
    SessionLoop, StartError, Target, Transfer, Workload,
};
use scsi_block::LogicalUnitNumber;
use scsi_block::cdb::Cdb;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use t5_hal::dma::DmaMemory;
use t5_hal::driver::{Driver, DriverConfig};
use t5_model::runner::Runner;
use t5_policy::Policy;

const NAME: &str = "iqn.2026-01.io.example:disk";
const TARGET: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 4));
const INITIATOR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 5));
const PORTAL: SocketAddr = SocketAddr::new(TARGET, 3260);
const CHECK_CONDITION: u8 = 2;
/// Lengths of transfers in blocks: within a PDU, of several PDUs, beyond a burst, and beyond the longest place.
const LENGTHS: [u32; 4] = [1, 16, 700, 2500];

fn function(runner: &Runner, pf: u8, address: IpAddr) -> AdapterFunction {
    let memory = Arc::new(DmaMemory::new(u64::from(pf) << 32, 32 << 20, 32 << 20));
    let bus: AdapterBus = Arc::new(runner.adapter().function(pf, memory));
    let driver = Driver::bring_up(bus, DriverConfig::default(), &mut Instant::now).unwrap();
    AdapterFunction::new(driver, 0, address)
}

fn start() -> (Runner, Server, AdapterFunction) {
    let runner = Runner::start(1, 7).unwrap();
    let target = function(&runner, 4, TARGET);
    let initiator = function(&runner, 5, INITIATOR).neighbour(TARGET, target.mac());
    let disk = Target::new(NAME).lun(0, Disk::memory(8 << 20));
    let server = Server::builder().function(target).listen(PORTAL).target(disk).start().unwrap();
    assert_eq!(server.addresses(), [PORTAL]);
    (runner, server, initiator)
}

fn config() -> ClientConfig {
    let digests = Limits { header_digest: vec![true], data_digest: vec![true], ..Limits::default() };
    ClientConfig::new(PORTAL.to_string(), NAME).limits(digests)
}

/// What a place of the disk holds.
fn data(lba: u32, blocks: u32) -> Bytes {
    (lba * 512..(lba + blocks) * 512).map(|at| (at / 5) as u8 ^ (at >> 11) as u8).collect()
}

/// Writes a place of its own in each length and reads it back.
#[derive(Default)]
struct WriteAndRead {
    first_lba: u32,
    begun: usize,
    ended: usize,
    /// Whether the unit has had a unit attention.
    was_told: bool,
}

impl WriteAndRead {
    fn transfer(&self, step: usize) -> (u32, u32) {
        (self.first_lba, LENGTHS[step / 2])
    }
}

impl Workload for WriteAndRead {
    fn next(&mut self, _: Instant) -> Next {
        match self.begun {
            begun if begun == 2 * LENGTHS.len() => Next::Finished,
            begun if begun > self.ended => Next::Idle,
            begun => {
                self.begun += 1;
                let (lba, blocks) = self.transfer(begun);
                let cdb =
                    if begun % 2 == 0 { Cdb::write_16(lba.into(), blocks) } else { Cdb::read_16(lba.into(), blocks) };
                let transfer =
                    if begun % 2 == 0 { Transfer::Write(data(lba, blocks)) } else { Transfer::Read(blocks * 512) };
                let request = Request::new(LogicalUnitNumber::from(0), &cdb, transfer);
                Next::Request { token: begun as u64, request }
            }
        }
    }

    fn complete(&mut self, _: Instant, token: u64, outcome: Outcome) {
        let Outcome::Command(completion) = outcome else { panic!("a command ends with {outcome:?}") };
        if completion.status == CHECK_CONDITION && token == 0 && !std::mem::replace(&mut self.was_told, true) {
            // A unit tells a new session first that there was none.
            self.begun -= 1;
            return;
        }
        assert_eq!(completion.status, 0, "{completion:?}");
        self.ended += 1;
        let (lba, blocks) = self.transfer(token as usize);
        if token % 2 == 1 {
            assert_eq!(completion.data.concat(), data(lba, blocks));
        }
    }
}

#[test]
fn sessions_of_one_thread_move_data_of_any_length_through_the_adapter() {
    let (runner, server, initiator) = start();
    let mut sessions = SessionLoop::adapter(initiator).unwrap();
    for _ in 0..2 {
        let workloads = (0..5).map(|job| WriteAndRead { first_lba: job * 3000, ..WriteAndRead::default() }).collect();
        for end in sessions.run(&config(), workloads) {
            assert_eq!(end.unwrap().ended, 2 * LENGTHS.len());
        }
    }
    let counted = runner.adapter().iscsi_counters();
    // All that has a place: reads, and what writes are asked for beyond the first burst. The longest transfer has none.
    let (read, asked) = ((1 + 16 + 700) * 512, 700 * 512 - u64::from(Limits::default().first_burst_bytes_max));
    assert_eq!(counted.placed_bytes, 10 * (read + asked), "{counted:?}");
    assert_eq!(counted.digests_inserted, counted.digests_checked, "{counted:?}");
    assert_eq!(counted.digests_wrong, 0, "{counted:?}");
    server.shutdown(Duration::from_secs(5)).unwrap();
    drop(sessions);
    assert_eq!([4, 5].map(|pf| runner.adapter().take_fault(pf)), [None, None]);
}

#[test]
fn several_connections_of_a_session_stay_on_the_core() {
    let (_runner, server, initiator) = start();
    let mut sessions = SessionLoop::adapter(initiator).unwrap();
    let end = sessions.run(&config().connections(3), vec![WriteAndRead::default()]).pop().unwrap();
    assert_eq!(end.unwrap().ended, 2 * LENGTHS.len());
    drop((server, sessions));
}

#[test]
fn a_session_that_cannot_begin_says_why() {
    let (_runner, server, initiator) = start();
    let mut sessions = SessionLoop::adapter(initiator).unwrap();
    let mut failure = |address: &str| {
        let config = ClientConfig::new(address, NAME);
        sessions.run(&config, vec![WriteAndRead::default()]).pop().unwrap().err().unwrap()
    };
    let nobody_listens = failure("192.0.2.4:3261");
    assert!(
        matches!(&nobody_listens, ClientError::Connect { error, .. } if error.contains("refused")),
        "{nobody_listens}"
    );
    let no_neighbour = failure("192.0.2.9");
    assert!(
        matches!(&no_neighbour, ClientError::Connect { error, .. } if error.contains("neighbour")),
        "{no_neighbour}"
    );
    drop(server);
    let gone = failure("192.0.2.4");
    assert!(matches!(gone, ClientError::Connect { .. }), "{gone}");
}

#[test]
fn what_an_adapter_cannot_offer_is_refused() {
    let runner = Runner::start(1, 7).unwrap();
    let builder = || Server::builder().function(function(&runner, 4, TARGET)).target(Target::new(NAME));
    let two_cores = builder().listen(PORTAL).cores(2).start().unwrap_err();
    assert!(matches!(&two_cores, StartError::Configuration(text) if text.contains("one loop")), "{two_cores}");
    let any_port = builder().listen(SocketAddr::new(TARGET, 0)).start().unwrap_err();
    assert!(any_port.to_string().contains("name one"), "{any_port}");
}

#[test]
fn a_policy_decides_on_connections_from_then_on() {
    let (_runner, server, initiator) = start();
    let mut sessions = SessionLoop::adapter(initiator).unwrap();
    let mut end = || sessions.run(&config(), vec![WriteAndRead::default()]).pop().unwrap();
    let policy = |text| Policy::parse(text).unwrap().compile().unwrap();
    server.set_policy(policy("any => !offload")).unwrap();
    let error = end().err().unwrap();
    assert!(matches!(&error, ClientError::Connect { .. }), "{error}");
    server.set_policy(policy("any => offload bind 0")).unwrap();
    assert_eq!(end().unwrap().ended, 2 * LENGTHS.len());
    let error = server.set_policy(policy("any => !offload\nany => offload bind 999")).unwrap_err();
    assert!(matches!(&error, PolicyError::Refused(text) if text.contains("no queue 999")), "{error}");
    assert_eq!(end().unwrap().ended, 2 * LENGTHS.len(), "the policy from before decides");
    server.shutdown(Duration::from_secs(5)).unwrap();
}

#[test]
fn a_policy_is_nothing_for_the_kernels_tcp() {
    let server = Server::builder().listen("127.0.0.1:0".parse().unwrap()).target(Target::new(NAME)).start().unwrap();
    let policy = Policy::parse("any => offload").unwrap().compile().unwrap();
    assert_eq!(server.set_policy(policy), Err(PolicyError::NoAdapter));
}
