//! `--port t5-model`: a target on a function of an adapter in software, with the adapter's wire on a TAP device.

use std::net::SocketAddr;

use clap::Args;
use iscsi_runtime::ServerBuilder;

use crate::cable::Cable;
use crate::failure::Failure;
use crate::t5::{Model, Port, TARGET_PORTAL};

/// What connections come through.
#[derive(Debug, Args)]
#[group(skip)]
pub struct AdapterArguments {
    /// What connections come through: TCP of the kernel, or a Chelsio T5 adapter in software, which does TCP and iSCSI in their place and
    /// is seen on the network behind the TAP device of --tap, at port 3260 of --address unless --listen says another
    #[arg(long, value_enum, value_name = "PORT", default_value_t = Port::Kernel, requires_if("t5-model", "tap"))]
    port: Port,

    #[command(flatten)]
    cable: Cable,
}

impl AdapterArguments {
    /// Where to listen, where `listen` is what was said and `unsaid` what stands for nothing.
    ///
    /// # Errors
    /// An address that is not the adapter's.
    pub(super) fn listen(
        &self,
        listen: &[(SocketAddr, u16)],
        unsaid: SocketAddr,
    ) -> Result<Vec<(SocketAddr, u16)>, Failure> {
        let Some((_, (ip, _))) = self.cable.ends() else { return Ok(listen.to_vec()) };
        if let [(address, tag)] = listen
            && *address == unsaid
        {
            return Ok(vec![(SocketAddr::new(ip, TARGET_PORTAL.port()), *tag)]);
        }
        match listen.iter().find(|(address, _)| address.ip() != ip) {
            Some((other, _)) => {
                Err(Failure::usage(format!("--listen {other}: expected the adapter's address (--address), {ip}")))
            }
            None => Ok(listen.to_vec()),
        }
    }

    /// Starts the adapter, if there is one, and gives its function to the server that is to be.
    ///
    /// # Errors
    /// The kernel's TCP has no TAP device; the device cannot be had, or the adapter does not come up.
    pub(super) fn attach(&self, builder: ServerBuilder) -> Result<(ServerBuilder, Option<Model>), Failure> {
        match (self.port, self.cable.ends()) {
            (Port::T5Model, Some((tap, address))) => {
                let (model, function) = Model::start_behind_tap(tap, address)?;
                Ok((builder.function(function), Some(model)))
            }
            (Port::Kernel, Some(_)) => Err(Failure::usage(
                "--tap is the cable of an adapter: expected --port t5-model with it; TCP of the kernel listens at --listen",
            )),
            (Port::Loopback, _) => Err(Failure::usage(
                "--port loopback: nobody outside this process would reach it; it is for `iscsi-initiator bench`",
            )),
            _ => Ok((builder, None)),
        }
    }
}
