//! The network device that a connection's stack sees: at most one packet in, frames out.

use crate::switch::{EthernetHeader, MacAddress};
use smoltcp::phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;
use std::collections::VecDeque;

/// What stands before every packet of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkHeader {
    /// The next hop.
    pub destination: MacAddress,
    /// Our address.
    pub source: MacAddress,
    /// The VLAN, 0 to 4095, and priority: the tag, if there is one.
    pub vlan_tag: Option<u16>,
    /// Whether it is IPv6 and not IPv4.
    pub ipv6: bool,
}

impl LinkHeader {
    /// The header, as the switch looks at it.
    #[must_use]
    pub fn ethernet(&self) -> EthernetHeader {
        EthernetHeader {
            destination: self.destination,
            source: self.source,
            vlan: self.vlan_tag.map(|tag| tag & 0xfff),
            ethertype: if self.ipv6 { 0x86dd } else { 0x0800 },
            length: self.length(),
        }
    }

    /// Its length in bytes.
    pub(super) fn length(&self) -> usize {
        if self.vlan_tag.is_some() { 18 } else { 14 }
    }

    /// Begins a frame of that many bytes behind the header, all zeros; gives the header's length too.
    fn begin_frame(&self, length: usize) -> (Vec<u8>, usize) {
        let header = self.length();
        let mut frame = vec![0; header + length];
        frame[..6].copy_from_slice(&self.destination.0);
        frame[6..12].copy_from_slice(&self.source.0);
        if let Some(tag) = self.vlan_tag {
            frame[12..14].copy_from_slice(&[0x81, 0]);
            frame[14..16].copy_from_slice(&tag.to_be_bytes());
        }
        let ethertype: [u8; 2] = if self.ipv6 { [0x86, 0xdd] } else { [8, 0] };
        frame[header - 2..header].copy_from_slice(&ethertype);
        (frame, header)
    }
}

/// The device, for the time of one call.
pub(super) struct Link<'a> {
    pub(super) inbound: Option<&'a [u8]>,
    pub(super) outbound: &'a mut VecDeque<Vec<u8>>,
    pub(super) header: &'a LinkHeader,
    pub(super) mtu_bytes: usize,
}

impl Device for Link<'_> {
    type RxToken<'b>
        = Inbound<'b>
    where
        Self: 'b;
    type TxToken<'b>
        = Outbound<'b>
    where
        Self: 'b;

    fn receive(&mut self, _: Instant) -> Option<(Inbound<'_>, Outbound<'_>)> {
        let packet = self.inbound.take()?;
        Some((Inbound(packet), Outbound { frames: self.outbound, header: self.header }))
    }

    fn transmit(&mut self, _: Instant) -> Option<Outbound<'_>> {
        Some(Outbound { frames: self.outbound, header: self.header })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu_bytes;
        capabilities.checksum = ChecksumCapabilities::ignored();
        capabilities
    }
}

pub(super) struct Inbound<'a>(&'a [u8]);

impl RxToken for Inbound<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

pub(super) struct Outbound<'a> {
    frames: &'a mut VecDeque<Vec<u8>>,
    header: &'a LinkHeader,
}

impl TxToken for Outbound<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let (mut frame, header) = self.header.begin_frame(length);
        let result = write(&mut frame[header..]);
        self.frames.push_back(frame);
        result
    }
}
