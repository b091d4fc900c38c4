//! `--port`: the kernel's TCP, a T5 adapter that is a program, or nothing.
//!
//! In: nothing. Out: a model of an adapter in this process, with a function for a target and one for an initiator.

mod counted;

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use clap::ValueEnum;
use iscsi_runtime::{AdapterBus, AdapterFunction, FirmwareLoop};
use serde::Serialize;
use t5_hal::dma::DmaMemory;
use t5_hal::driver::initiator::FirmwareInitiator;
use t5_hal::driver::{Driver, DriverConfig, DriverError};
use t5_hal::wire::FunctionId;
use t5_model::adapter::Adapter;
use t5_model::runner::Runner;
use t5_model::switch::PortNumber;
use t5_model::tap::Attachment;
use t5_policy::{Policy, Program};

use crate::bench::number;
use crate::failure::Failure;
pub(crate) use counted::counted;

/// What connections go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Port {
    /// TCP of the kernel
    Kernel,
    /// A Chelsio T5 adapter in software, in this process; it does TCP and iSCSI
    T5Model,
    /// Nothing: PDUs go from thread to thread in this process
    Loopback,
}

/// Who does iSCSI at the initiator's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InitiatorForm {
    /// This program; on an adapter, which cuts, checks and places its PDUs
    Pdu,
    /// The adapter's firmware (FOiSCSI), which is given SCSI commands; only on an adapter
    Firmware,
}

/// The functions of the paper: the target has PF4, the initiator PF5.
const TARGET_PF: u8 = 4;
const INITIATOR_PF: u8 = 5;
/// Addresses for documentation (RFC 5737); no frame leaves the adapter.
const TARGET: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 4));
const INITIATOR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 5);
/// The network that both are in (RFC 5737).
const MASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);
/// Where the target listens.
pub const TARGET_PORTAL: SocketAddr = SocketAddr::new(TARGET, 3260);

/// The offload policy of the paper. Where both ends are on one adapter, each function that a driver of ours has follows it; the firmware's
/// initiator follows none, and a target behind a TAP device neither, so that all is offloaded.
pub const POLICY: &str = "any => offload ddp bind random";

/// Memory of a function for queues and what it sends, and for what is placed, in bytes.
const RING_BYTES: usize = 64 << 20;
const PLACE_BYTES: usize = 128 << 20;

/// Receive window of a connection, in bytes: within the adapter it is as good as a larger one, and stays in the processor's cache.
const WINDOW_BYTES: u32 = 128 << 10;

/// Random bytes, which sequence numbers begin with.
fn seed() -> Result<u64, Failure> {
    getrandom::u64().map_err(|error| Failure::local(format!("there are no random bytes: {error}")))
}

/// The policy of the paper, compiled.
fn policy() -> Result<Arc<Program>, Failure> {
    let failed = |error: String| Failure::local(format!("{POLICY}: {error}"));
    let policy = Policy::parse(POLICY).map_err(|errors| failed(format!("{errors:?}")))?;
    policy.compile().map(Arc::new).map_err(|error| failed(error.to_string()))
}

fn configured(config: DriverConfig) -> Result<DriverConfig, Failure> {
    Ok(DriverConfig { receive_window_bytes: WINDOW_BYTES, seed: seed()?, ..config })
}

fn not_up(pf: u8) -> impl Fn(DriverError) -> Failure {
    move |error| Failure::local(format!("PF{pf} of the model does not come up: {error}"))
}

/// The address that a device of the kernel's has on its link.
fn link_address(device: &str) -> io::Result<[u8; 6]> {
    let text = std::fs::read_to_string(format!("/sys/class/net/{device}/address"))?;
    let bytes: Option<Vec<u8>> = text.trim().split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| io::Error::other("it has no address on the link"))
}

/// Whether a device of the kernel's is up.
fn is_up(device: &str) -> io::Result<bool> {
    let flags = std::fs::read_to_string(format!("/sys/class/net/{device}/flags"))?;
    let flags = u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16).map_err(io::Error::other)?;
    // IFF_UP
    Ok(flags & 1 != 0)
}

/// A model of an adapter that runs.
#[derive(Debug)]
pub struct Model {
    /// Its cable, if it has one: it is let go before the adapter.
    attachment: Option<Attachment>,
    runner: Runner,
}

impl Model {
    /// Starts one, with the functions of a target and of an initiator on it.
    ///
    /// # Errors
    /// The system refuses, or a driver does not come up.
    pub fn start() -> Result<(Self, AdapterFunction, AdapterFunction), Failure> {
        let model = Self::run()?;
        let target = model.function(TARGET_PF, TARGET, DriverConfig::default(), Some(policy()?))?;
        let initiator = model.function(INITIATOR_PF, INITIATOR.into(), DriverConfig::default(), Some(policy()?))?;
        let initiator = initiator.neighbour(TARGET, target.mac());
        Ok((model, target, initiator))
    }

    /// The same with the initiator in the adapter's firmware.
    ///
    /// # Errors
    /// The system refuses, or a driver does not come up.
    pub fn start_firmware() -> Result<(Self, AdapterFunction, FirmwareLoop), Failure> {
        let model = Self::run()?;
        let target = model.function(TARGET_PF, TARGET, DriverConfig::default(), Some(policy()?))?;
        let (bus, config) = (model.bus(INITIATOR_PF), configured(DriverConfig::default())?);
        let initiator = FirmwareInitiator::bring_up(bus, &config, &mut Instant::now).map_err(not_up(INITIATOR_PF))?;
        let initiator = FirmwareLoop::new(initiator, config.vector, INITIATOR, MASK)?;
        Ok((model, target, initiator))
    }

    /// Starts one with the function of a target on it, at that address and prefix, and the cable of its port on a TAP device.
    ///
    /// # Errors
    /// The system refuses, the device cannot be had, or the driver does not come up.
    pub fn start_behind_tap(tap: &str, address: (IpAddr, u8)) -> Result<(Self, AdapterFunction), Failure> {
        let mut model = Self::run()?;
        let config = DriverConfig { addresses: vec![address], ..DriverConfig::default() };
        let port = PortNumber::of(config.port);
        let attachment = Attachment::new(model.runner.adapter(), port, tap);
        model.attachment = Some(attachment.map_err(|error| Failure::local(error.to_string()))?);
        let function = model.function(TARGET_PF, address.0, config, None)?;
        Ok((model, function))
    }

    /// The same for an initiator, which reaches whoever is behind the device through the host that has it.
    ///
    /// # Errors
    /// As [`start_behind_tap`](Self::start_behind_tap), or nothing can come through the device, since it is down.
    pub fn start_initiator_behind_tap(tap: &str, address: (IpAddr, u8)) -> Result<(Self, AdapterFunction), Failure> {
        let (model, function) = Self::start_behind_tap(tap, address)?;
        let failed = |error| Failure::local(format!("--tap {tap}: {error}"));
        if !is_up(tap).map_err(failed)? {
            let down = format!(
                "it is down: make it by ip tuntap add if it is not there, give it an address, and say ip link set {tap} up"
            );
            return Err(failed(io::Error::other(down)));
        }
        let host = link_address(tap).map_err(failed)?;
        Ok((model, function.gateway(host)))
    }

    fn run() -> Result<Self, Failure> {
        let runner = Runner::start(1, seed()?).map_err(|error| Failure::local(error.to_string()))?;
        Ok(Self { attachment: None, runner })
    }

    fn function(
        &self,
        pf: u8,
        address: IpAddr,
        config: DriverConfig,
        policy: Option<Arc<Program>>,
    ) -> Result<AdapterFunction, Failure> {
        let config = configured(config)?;
        let vector = config.vector;
        let mut driver = Driver::bring_up(self.bus(pf), config, &mut Instant::now).map_err(not_up(pf))?;
        driver.set_policy(policy).map_err(|error| Failure::local(format!("PF{pf}: {error}")))?;
        Ok(AdapterFunction::new(driver, vector, address))
    }

    fn bus(&self, pf: u8) -> AdapterBus {
        let memory = Arc::new(DmaMemory::new(u64::from(pf) << 32, RING_BYTES, PLACE_BYTES));
        Arc::new(self.runner.adapter().function(FunctionId::physical(pf), memory))
    }

    /// The adapter, for whoever looks at what it counts.
    #[must_use]
    pub fn adapter(&self) -> Arc<Adapter> {
        Arc::clone(self.runner.adapter())
    }

    /// What the adapter has counted since it was started, in sums.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let iscsi = self.runner.adapter().iscsi_counters();
        self.runner.adapter().with_switch(|switch| {
            let ports = (0..t5_model::switch::PORTS as u8).filter_map(PortNumber::new);
            let inside = ports.clone().map(|port| switch.loopback_counters(port).received.total().frames);
            let sent = ports.map(|port| switch.wire_counters(port).transmitted.total().frames);
            Counters {
                bytes_placed: iscsi.placed_bytes,
                bytes_delivered: iscsi.delivered_bytes,
                digests_inserted: iscsi.digests_inserted,
                digests_checked: iscsi.digests_checked,
                digests_wrong: iscsi.digests_wrong,
                frames_inside: inside.sum(),
                frames_on_the_wire: sent.sum(),
            }
        })
    }
}

/// What an adapter has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Bytes of payload that went right to where they belong.
    pub bytes_placed: u64,
    /// Bytes of payload that came in buffers which the driver copies out of.
    pub bytes_delivered: u64,
    /// Digests that the adapter has put into PDUs.
    pub digests_inserted: u64,
    /// Digests that the adapter has checked.
    pub digests_checked: u64,
    /// Those of them that were wrong.
    pub digests_wrong: u64,
    /// Frames that the switch has brought from one interface of the adapter to another.
    pub frames_inside: u64,
    /// Frames that have left the adapter.
    pub frames_on_the_wire: u64,
}

impl Counters {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            bytes_placed: self.bytes_placed + other.bytes_placed,
            bytes_delivered: self.bytes_delivered + other.bytes_delivered,
            digests_inserted: self.digests_inserted + other.digests_inserted,
            digests_checked: self.digests_checked + other.digests_checked,
            digests_wrong: self.digests_wrong + other.digests_wrong,
            frames_inside: self.frames_inside + other.frames_inside,
            frames_on_the_wire: self.frames_on_the_wire + other.frames_on_the_wire,
        }
    }

    /// How many of a hundred bytes of payload went right to where they belong.
    #[must_use]
    pub fn placed_percent(&self) -> f64 {
        100.0 * self.bytes_placed as f64 / (self.bytes_placed + self.bytes_delivered).max(1) as f64
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mebibytes = |bytes: u64| number(bytes as f64 / f64::from(1 << 20));
        let Self { digests_inserted, digests_checked, digests_wrong, frames_inside, frames_on_the_wire, .. } = self;
        write!(
            f,
            "adapter: {} MiB placed, {} MiB copied",
            mebibytes(self.bytes_placed),
            mebibytes(self.bytes_delivered)
        )?;
        write!(f, "; digests: {digests_inserted} inserted, {digests_checked} checked, {digests_wrong} wrong")?;
        write!(f, "; frames: {frames_inside} inside, {frames_on_the_wire} on the wire")
    }
}
