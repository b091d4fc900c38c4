//! What is read in an IP packet before a connection is found.

use smoltcp::wire::{IpAddress, IpEndpoint, IpProtocol, IpVersion, Ipv4Packet, Ipv6Packet, TcpPacket};
use std::net::{IpAddr, SocketAddr};

/// Both ends of a connection, as the adapter's side sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// The adapter's end.
    pub local: SocketAddr,
    /// The other one.
    pub peer: SocketAddr,
}

/// The header of a TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Whose it is: `local` is where it goes.
    pub tuple: Tuple,
    /// Sequence number.
    pub sequence: u32,
    /// It begins a connection.
    pub syn: bool,
    /// It acknowledges something.
    pub ack: bool,
    /// It is the last of its end.
    pub fin: bool,
    /// It ends a connection at once.
    pub rst: bool,
    /// The other end has a congestion notification to echo, and has reduced its window: set in a SYN, it offers both.
    pub ecn: bool,
    /// Length of the IP header in bytes.
    pub ip_header_bytes: usize,
    /// Length of the TCP header in bytes.
    pub tcp_header_bytes: usize,
    /// Type of service.
    pub tos: u8,
}

impl Segment {
    /// Reads an IP packet; nothing if it is no whole TCP segment of one piece.
    #[must_use]
    pub fn decode(packet: &[u8]) -> Option<Self> {
        let (source, destination, tos, ip_header_bytes, payload): (IpAddr, IpAddr, _, _, _) = match version(packet)? {
            IpVersion::Ipv4 => {
                let ip = Ipv4Packet::new_checked(packet).ok()?;
                if ip.next_header() != IpProtocol::Tcp || ip.more_frags() || ip.frag_offset() != 0 {
                    return None;
                }
                let (source, destination) = (ip.src_addr().into(), ip.dst_addr().into());
                (source, destination, ip.dscp() << 2 | ip.ecn(), ip.header_len().into(), ip.payload())
            }
            IpVersion::Ipv6 => {
                let ip = Ipv6Packet::new_checked(packet).ok()?;
                if ip.next_header() != IpProtocol::Tcp {
                    return None;
                }
                let (source, destination) = (ip.src_addr().into(), ip.dst_addr().into());
                (source, destination, ip.traffic_class(), ip.header_len(), ip.payload())
            }
        };
        let tcp = TcpPacket::new_checked(payload).ok()?;
        let tuple = Tuple {
            local: SocketAddr::new(destination, tcp.dst_port()),
            peer: SocketAddr::new(source, tcp.src_port()),
        };
        Some(Self {
            tuple,
            sequence: tcp.seq_number().0 as u32,
            syn: tcp.syn(),
            ack: tcp.ack(),
            fin: tcp.fin(),
            rst: tcp.rst(),
            ecn: tcp.ece() && tcp.cwr(),
            ip_header_bytes,
            tcp_header_bytes: tcp.header_len().into(),
            tos,
        })
    }
}

/// Which IP a packet is.
pub(super) fn version(packet: &[u8]) -> Option<IpVersion> {
    // An empty packet would be read beyond its end.
    if packet.is_empty() { None } else { IpVersion::of_packet(packet).ok() }
}

pub(super) fn endpoint(address: SocketAddr) -> IpEndpoint {
    IpEndpoint { addr: IpAddress::from(address.ip()), port: address.port() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_segment_or_not(mut packet in prop::collection::vec(any::<u8>(), 0..100), v6 in any::<bool>()) {
            let length = packet.len() as u16;
            if length >= 40 {
                packet[0] = if v6 { 0x60 } else { 0x45 };
                packet[if v6 { 6 } else { 9 }] = 6;
                let field = if v6 { (4, length - 40) } else { (2, length) };
                packet[field.0..field.0 + 2].copy_from_slice(&field.1.to_be_bytes());
            }
            if let Some(segment) = Segment::decode(&packet) {
                prop_assert!(segment.ip_header_bytes + segment.tcp_header_bytes <= packet.len());
            }
        }
    }
}
