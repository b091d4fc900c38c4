//! Functions of an adapter in software, a target on one of them, and a workload that checks what it reads.

use bytes::Bytes;
use iscsi_runtime::{
    AdapterBus, AdapterFunction, Authentication, ClientConfig, Disk, Limits, Next, Outcome, Request, Server, Target,
    Transfer, Workload,
};
use scsi_block::LogicalUnitNumber;
use scsi_block::cdb::Cdb;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;
use t5_hal::dma::DmaMemory;
use t5_hal::driver::{Driver, DriverConfig};
use t5_hal::wire::FunctionId;
use t5_model::runner::Runner;

pub(crate) const NAME: &str = "iqn.2026-01.io.example:disk";
pub(crate) const TARGET: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 4));
pub(crate) const INITIATOR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 5));
pub(crate) const PORTAL: SocketAddr = SocketAddr::new(TARGET, 3260);
/// The functions of a target and of an initiator, as they are shipped.
pub(crate) const FUNCTIONS: [FunctionId; 2] = [FunctionId::physical(4), FunctionId::physical(5)];
const CHECK_CONDITION: u8 = 2;
/// Lengths of transfers in blocks: within a PDU, of several PDUs, beyond a burst, and beyond the longest place.
pub(crate) const LENGTHS: [u32; 4] = [1, 16, 700, 2500];

pub(crate) fn function(runner: &Runner, function: FunctionId, address: IpAddr) -> AdapterFunction {
    let memory = Arc::new(DmaMemory::new(u64::from(function.to_wire()) << 32, 32 << 20, 32 << 20));
    let bus: AdapterBus = Arc::new(runner.adapter().function(function, memory));
    let driver = Driver::bring_up(bus, DriverConfig::default(), &mut Instant::now).unwrap();
    AdapterFunction::new(driver, 0, address)
}

/// A disk of 8 MiB on a function.
pub(crate) fn serve(target: AdapterFunction, authentication: Authentication) -> Server {
    let disk = Target::new(NAME).lun(0, Disk::memory(8 << 20)).authentication(authentication);
    let server = Server::builder().function(target).listen(PORTAL).target(disk).start().unwrap();
    assert_eq!(server.addresses(), [PORTAL]);
    server
}

pub(crate) fn config() -> ClientConfig {
    let digests = Limits { header_digest: vec![true], data_digest: vec![true], ..Limits::default() };
    ClientConfig::new(PORTAL.to_string(), NAME).limits(digests)
}

/// What a place of the disk holds.
fn data(lba: u32, blocks: u32) -> Bytes {
    (lba * 512..(lba + blocks) * 512).map(|at| (at / 5) as u8 ^ (at >> 11) as u8).collect()
}

/// Writes a place of its own in each of the lengths and reads it back.
#[derive(Debug)]
pub(crate) struct WriteAndRead {
    pub(crate) first_lba: u32,
    begun: usize,
    pub(crate) ended: usize,
    /// How many of the lengths.
    pub(crate) lengths: usize,
    /// Whether the unit has had a unit attention.
    was_told: bool,
}

impl WriteAndRead {
    /// At that place, with so many of the lengths.
    pub(crate) fn new(first_lba: u32, lengths: usize) -> Self {
        Self { first_lba, begun: 0, ended: 0, lengths, was_told: false }
    }

    fn transfer(&self, step: usize) -> (u32, u32) {
        (self.first_lba, LENGTHS[step / 2])
    }
}

impl Workload for WriteAndRead {
    fn next(&mut self, _: Instant) -> Next {
        match self.begun {
            begun if begun == 2 * self.lengths => Next::Finished,
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
