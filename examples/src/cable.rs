//! `--tap` and `--address`: the cable of an adapter in software, and the adapter's address at it.

use std::net::IpAddr;

use clap::Args;

use crate::parse::network_address;

/// Where the cable of an adapter in software ends.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub struct Cable {
    /// TAP device of Linux that is the other end of the adapter's cable; made if need be, which only root may
    #[arg(long, value_name = "NAME", requires = "address")]
    tap: Option<String>,

    /// Address of the adapter, IPv4 or IPv6, and the length of its network's prefix, such as 192.0.2.4/24
    #[arg(long, value_name = "IP/PREFIX", value_parser = network_address, requires = "tap")]
    address: Option<(IpAddr, u8)>,
}

impl Cable {
    /// The name of the device, and the address of the adapter with the length of its prefix.
    #[must_use]
    pub fn ends(&self) -> Option<(&str, (IpAddr, u8))> {
        self.tap.as_deref().zip(self.address)
    }
}
