//! One measurement: target, initiator, and what is between them, all of them new; a load; and what it has come to.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use clap::ValueEnum;
use fio_job::Direction;
use iscsi_runtime::{ClientConfig, Disk, Escalation, LoopbackFunction, Server, ServerBuilder, SessionLoop};
use scsi_block::Geometry;

use crate::bench::{Bench, End, Report, Runner, Shape};
use crate::digest::{self, Digest};
use crate::failure::{Failure, Kind};
use crate::process::pin_thread;
use crate::t5::{Counters, Model, TARGET_PORTAL};
use crate::target::{TARGET_NAME, start_own};

/// What is between target and initiator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Way {
    /// A Chelsio T5 adapter in software: target on PF4, initiator on PF5, and its embedded switch between them
    T5Model,
    /// The same with the initiator in the adapter's firmware, as in the paper
    T5Firmware,
    /// TCP of the kernel
    Kernel,
    /// Nothing: PDUs go from thread to thread
    Loopback,
}

impl Way {
    /// As tables and the figure call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::T5Model => "T5 in software",
            Self::T5Firmware => "T5, its firmware",
            Self::Kernel => "kernel's TCP",
            Self::Loopback => "loopback port",
        }
    }
}

/// How long a command may take before the run is given up, beside the time that those ahead of it take on the slowest disk.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that all but the measured part may take beside what filling and reading back take on the slowest disk; after that nobody waits any more.
const REST_PATIENCE: Duration = Duration::from_secs(60);
/// Bytes that the slowest disk moves in a second which is waited for.
const SLOWEST_BYTES: u64 = 2 << 20;

/// What all measurements have in common.
#[derive(Clone, Debug)]
pub struct Setting {
    /// How long is measured.
    pub runtime: Duration,
    /// Sessions.
    pub jobs: u32,
    /// Requests under way in each.
    pub iodepth: u32,
    /// Bytes of the disk that are used.
    pub size: u64,
    /// A file or block device as the disk; without one, memory.
    pub device: Option<PathBuf>,
    /// Processors of the target's loop and of the initiator's.
    pub processors: Option<[usize; 2]>,
}

impl Setting {
    /// How long a measurement may take: its own time, and that of a disk which is written as a whole and read as a whole.
    fn patience(&self) -> Duration {
        self.runtime + REST_PATIENCE + slowest(2 * self.size)
    }

    /// How long a command may take with all others ahead of it.
    fn command_timeout(&self, block_size: u32) -> Duration {
        COMMAND_TIMEOUT + slowest(u64::from(self.jobs) * u64::from(self.iodepth) * u64::from(block_size))
    }
}

/// What the slowest disk takes for so many bytes.
fn slowest(bytes: u64) -> Duration {
    Duration::from_secs(bytes / SLOWEST_BYTES)
}

/// What one measurement has come to.
pub type Outcome = Result<(Report, Option<Counters>), Failure>;

/// Measures one load, on a thread of its own so that one that never ends is told and left alone.
///
/// # Errors
/// Data was wrong, something failed, or it did not end.
pub fn measure(way: Way, rw: Direction, block_size: u32, setting: &Setting) -> Outcome {
    let (sender, outcome) = mpsc::channel();
    let owned = setting.clone();
    let patience = setting.patience();
    let run = move || {
        // Nobody may be waiting any more.
        drop(sender.send(run(way, rw, block_size, &owned)));
    };
    std::thread::Builder::new()
        .name("experiment".into())
        .spawn(run)
        .map_err(|error| Failure::local(error.to_string()))?;
    outcome.recv_timeout(patience).unwrap_or_else(|error| {
        Err(match error {
            RecvTimeoutError::Timeout => {
                Failure::new(Kind::Device, format!("it hangs: no end after {} s", patience.as_secs()))
            }
            RecvTimeoutError::Disconnected => Failure::local("its thread has panicked"),
        })
    })
}

fn run(way: Way, rw: Direction, block_size: u32, setting: &Setting) -> Outcome {
    let [of_target, of_initiator] = setting.processors.map_or([None; 2], |both| both.map(Some));
    let bound = |processor: Option<usize>| processor.into_iter().collect::<Vec<_>>();
    let (disk, geometry) = disk(setting)?;
    let builder = Server::builder().cores(1).processors(bound(of_target));
    let serve = |builder, disk| serve(builder, disk, setting.command_timeout(block_size));
    // The threads of the server begin where the system lets them, and bind themselves.
    let pin = || {
        pin_thread(&bound(of_initiator)).map_err(|error| Failure::local(format!("processor {of_initiator:?}: {error}")))
    };
    let (server, mut runner, model) = match way {
        Way::T5Model => {
            let (model, target, initiator) = Model::start()?;
            let server = serve(builder.function(target).listen(TARGET_PORTAL), disk)?;
            pin()?;
            (server, Runner::Loop(Box::new(SessionLoop::adapter(initiator)?)), Some(model))
        }
        Way::T5Firmware => {
            let (model, target, initiator) = Model::start_firmware()?;
            let server = serve(builder.function(target).listen(TARGET_PORTAL), disk)?;
            pin()?;
            (server, Runner::Firmware(Box::new(initiator)), Some(model))
        }
        Way::Kernel => {
            let server = serve(builder.listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))), disk)?;
            pin()?;
            (server, Runner::Loop(Box::new(SessionLoop::kernel()?)), None)
        }
        Way::Loopback => {
            let (target, initiator) = LoopbackFunction::pair();
            let portal = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3260);
            let server = serve(builder.loopback(target).listen(portal), disk)?;
            pin()?;
            (server, Runner::Loop(Box::new(SessionLoop::loopback(initiator)?)), None)
        }
    };
    let (server, client) = server;
    let report = Bench {
        client,
        name: way.name().into(),
        lun: 0,
        geometry,
        first_lba: 0,
        size: setting.size,
        shape: Shape { rw, block_size, iodepth: setting.iodepth, jobs: setting.jobs, connections: 1 },
        read_percent: 50,
        end: End::After(setting.runtime),
        fill: true,
        random_map: false,
        verify: true,
        seed: 1,
    }
    .run(&mut runner);
    let counters = model.as_ref().map(Model::counters);
    drop((server, runner));
    Ok((report?, counters))
}

/// A server with the disk, and how an initiator reaches it: with digests for headers and data.
fn serve(builder: ServerBuilder, disk: Disk, command_timeout: Duration) -> Result<(Server, ClientConfig), Failure> {
    let limits = digest::limits(Digest::Crc32c, Digest::Crc32c);
    let (server, url) = start_own(builder.limits(limits.clone()), disk)?;
    let escalation = Escalation { command_timeout, ..Escalation::default() };
    Ok((server, ClientConfig::new(url.address(), TARGET_NAME).limits(limits).escalation(Some(escalation))))
}

/// The disk, and its size.
fn disk(setting: &Setting) -> Result<(Disk, Geometry), Failure> {
    const BLOCK_SIZE: u32 = 512;
    let geometry = |bytes: u64| Geometry { block_size: BLOCK_SIZE, blocks: bytes / u64::from(BLOCK_SIZE) };
    let Some(path) = &setting.device else { return Ok((Disk::memory(setting.size), geometry(setting.size))) };
    let failed = |error: &dyn std::fmt::Display| Failure::local(format!("{}: {error}", path.display()));
    let spec = format!("file:{}", path.display()).parse().map_err(|error| failed(&error))?;
    let disk = Disk::open(&spec).map_err(|error| failed(&error))?;
    // The size of a device is where it ends; its metadata says nothing.
    let end = std::fs::File::open(path).and_then(|mut file| std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0)));
    Ok((disk, geometry(end.map_err(|error| failed(&error))?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn larger_work_is_waited_for_longer() {
        let small = Setting {
            runtime: Duration::from_secs(1),
            jobs: 4,
            iodepth: 64,
            size: 64 << 20,
            device: None,
            processors: None,
        };
        let full = Setting { runtime: Duration::from_secs(60), jobs: 32, size: 1 << 30, ..small.clone() };
        assert_eq!([&small, &full].map(Setting::patience).map(|time| time.as_secs()), [125, 1144]);
        let timeouts = [small.command_timeout(4096), full.command_timeout(65536)];
        assert_eq!(timeouts.map(|time| time.as_secs()), [10, 74]);
    }
}
