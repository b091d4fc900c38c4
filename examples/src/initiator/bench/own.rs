//! A target of our own for a load that was given no URL, and what its sessions go through.

use std::net::{Ipv4Addr, SocketAddr};

use iscsi_runtime::url::Url;
use iscsi_runtime::{AdapterFunction, Disk, Limits, LoopbackFunction, Server, SessionLoop};

use crate::bench::Runner;
use crate::failure::Failure;
use crate::t5::{Counters, InitiatorForm, Model, Port};
use crate::target::{own_target, start_own};

/// A target in this process with a disk in memory, and what reaches it.
pub(super) struct Own {
    /// Ends before what it is on.
    server: Server,
    /// The disk.
    pub(super) url: Url,
    /// What it is, for people.
    pub(super) name: &'static str,
    /// What sessions run on; as many threads as one likes without it.
    pub(super) runner: Option<Runner>,
    model: Option<Model>,
}

impl Own {
    /// Starts it.
    ///
    /// # Errors
    /// The target or an adapter does not start.
    pub(super) fn start(port: Port, initiator: InitiatorForm, disk: Disk, limits: Limits) -> Result<Self, Failure> {
        match (port, initiator) {
            (Port::Kernel, _) => {
                let (server, url) = own_target(disk, limits, None)?;
                Ok(Self { server, url, name: "a disk in memory, target in this process", runner: None, model: None })
            }
            (Port::Loopback, _) => {
                let (target, initiator) = LoopbackFunction::pair();
                let portal = SocketAddr::from((Ipv4Addr::LOCALHOST, 3260));
                let (server, url) = start_own(Server::builder().limits(limits).loopback(target).listen(portal), disk)?;
                let name = "a disk in memory, target in this process and nothing between";
                let runner = Some(Runner::Loop(Box::new(SessionLoop::loopback(initiator)?)));
                Ok(Self { server, url, name, runner, model: None })
            }
            (Port::T5Model, InitiatorForm::Pdu) => {
                let (model, target, initiator) = Model::start()?;
                let (server, url) = on_adapter(target, disk, limits)?;
                let name = "a disk in memory, target and initiator on one T5 in software";
                let runner = Some(Runner::Loop(Box::new(SessionLoop::adapter(initiator)?)));
                Ok(Self { server, url, name, runner, model: Some(model) })
            }
            (Port::T5Model, InitiatorForm::Firmware) => {
                let (model, target, initiator) = Model::start_firmware()?;
                let (server, url) = on_adapter(target, disk, limits)?;
                let name = "a disk in memory, target on a T5 in software, initiator in its firmware";
                Ok(Self { server, url, name, runner: Some(Runner::Firmware(Box::new(initiator))), model: Some(model) })
            }
        }
    }

    /// Ends it; gives what its adapter has counted, if it has one.
    pub(super) fn end(self) -> Option<Counters> {
        drop((self.server, self.runner));
        self.model.map(|model| model.counters())
    }
}

/// A target on the function of an adapter, which makes digests, and where it is.
fn on_adapter(target: AdapterFunction, disk: Disk, limits: Limits) -> Result<(Server, Url), Failure> {
    let (server, url) = own_target(disk, limits, Some(target))?;
    let url = format!("{url}?header_digest=crc32c&data_digest=crc32c").parse().expect("options make a URL no other");
    Ok((server, url))
}
