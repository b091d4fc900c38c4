//! What the switch reads in a frame: the Ethernet header, and behind it what filters ask for.
//!
//! In: bytes from a guest or a wire. Out: named values, or nothing where the bytes are too few.

use super::address::MacAddress;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const VLAN: u16 = 0x8100;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// The header of an Ethernet frame, with its VLAN tag (IEEE 802.1Q) if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EthernetHeader {
    /// For whom.
    pub destination: MacAddress,
    /// From whom.
    pub source: MacAddress,
    /// The VLAN, 0 to 4095, of the tag.
    pub vlan: Option<u16>,
    /// What is behind the header.
    pub ethertype: u16,
    /// Length of the header in bytes: 14, or 18 with a tag.
    pub length: usize,
}

impl EthernetHeader {
    /// Reads the header; nothing if the frame is too short for one.
    #[must_use]
    pub fn decode(frame: &[u8]) -> Option<Self> {
        let destination = MacAddress(*frame.first_chunk()?);
        let source = MacAddress(*frame.get(6..)?.first_chunk()?);
        let ethertype = word(frame, 12)?;
        if ethertype != VLAN {
            return Some(Self { destination, source, vlan: None, ethertype, length: 14 });
        }
        let vlan = Some(word(frame, 14)? & 0xfff);
        Some(Self { destination, source, vlan, ethertype: word(frame, 16)?, length: 18 })
    }

    /// Whether an IP packet is behind it, as far as it says.
    #[must_use]
    pub const fn is_ip(&self) -> bool {
        matches!(self.ethertype, IPV4 | IPV6)
    }
}

/// What a filter can ask of an IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpHeader {
    /// From whom.
    pub source: IpAddr,
    /// For whom.
    pub destination: IpAddr,
    /// What is behind it: 6 is TCP.
    pub protocol: u8,
    /// Type of service, or traffic class.
    pub tos: u8,
    /// Whether it is a piece of a larger packet.
    pub fragment: bool,
    /// Source and destination port, where TCP or UDP is behind it.
    pub ports: Option<(u16, u16)>,
}

impl IpHeader {
    /// That of a segment of TCP, as the adapter sends it.
    #[must_use]
    pub fn of_segment(source: SocketAddr, destination: SocketAddr) -> Self {
        Self {
            source: source.ip(),
            destination: destination.ip(),
            protocol: 6,
            tos: 0,
            fragment: false,
            ports: Some((source.port(), destination.port())),
        }
    }

    /// Reads what is behind the Ethernet header; nothing if that is not IP, or too short.
    #[must_use]
    pub fn decode(frame: &[u8], ethernet: &EthernetHeader) -> Option<Self> {
        let packet = frame.get(ethernet.length..)?;
        match ethernet.ethertype {
            IPV4 => Self::decode_v4(packet),
            IPV6 => Self::decode_v6(packet),
            _ => None,
        }
    }

    fn decode_v4(packet: &[u8]) -> Option<Self> {
        let header: &[u8; 20] = packet.first_chunk()?;
        let fragment = u16::from_be_bytes([header[6], header[7]]);
        let offset = fragment & 0x1fff;
        let length = usize::from(header[0] & 0xf) * 4;
        let address = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]).into();
        Some(Self {
            source: address(12),
            destination: address(16),
            protocol: header[9],
            tos: header[1],
            fragment: fragment & 0x3fff != 0,
            ports: if offset == 0 { ports(header[9], packet, length) } else { None },
        })
    }

    fn decode_v6(packet: &[u8]) -> Option<Self> {
        let header: &[u8; 40] = packet.first_chunk()?;
        let address = |at: usize| {
            let octets: [u8; 16] = header[at..at + 16].try_into().expect("an IPv6 header has 40 bytes");
            Ipv6Addr::from(octets).into()
        };
        Some(Self {
            source: address(8),
            destination: address(24),
            protocol: header[6],
            tos: header[0] << 4 | header[1] >> 4,
            // A fragment header (next header 44) makes it a fragment.
            fragment: header[6] == 44,
            ports: ports(header[6], packet, header.len()),
        })
    }
}

fn ports(protocol: u8, packet: &[u8], at: usize) -> Option<(u16, u16)> {
    matches!(protocol, 6 | 17).then(|| Some((word(packet, at)?, word(packet, at + 2)?))).flatten()
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tcp_packet() -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0, 0x20, 0x64, 8, 0];
        frame.extend([0x45, 0xb8, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend([0x4e, 0x21, 0x0c, 0xbc]);
        frame
    }

    #[test]
    fn a_tagged_packet_is_read_to_its_ports() {
        let frame = tcp_packet();
        let ethernet = EthernetHeader::decode(&frame).unwrap();
        assert_eq!(ethernet.vlan, Some(100));
        assert_eq!((ethernet.ethertype, ethernet.length), (IPV4, 18));
        assert_eq!(ethernet.source, MacAddress([2, 0, 0, 0, 0, 2]));
        let ip = IpHeader::decode(&frame, &ethernet).unwrap();
        assert_eq!(ip.source, IpAddr::from([10, 0, 0, 1]));
        assert_eq!(ip.destination, IpAddr::from([10, 0, 0, 2]));
        assert_eq!((ip.protocol, ip.tos, ip.fragment), (6, 0xb8, false));
        assert_eq!(ip.ports, Some((20001, 3260)));
    }

    #[test]
    fn later_fragments_have_no_ports() {
        let mut frame = tcp_packet();
        frame[18 + 7] = 1;
        let ip = IpHeader::decode(&frame, &EthernetHeader::decode(&frame).unwrap()).unwrap();
        assert!(ip.fragment);
        assert_eq!(ip.ports, None);
    }

    #[test]
    fn ipv6_is_read_too() {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd, 0x6b, 0x80, 0, 0, 0, 20, 17, 64];
        frame.extend([0x20; 16]);
        frame.extend([0x21; 16]);
        frame.extend([0, 1, 0, 2]);
        let ip = IpHeader::decode(&frame, &EthernetHeader::decode(&frame).unwrap()).unwrap();
        assert_eq!((ip.protocol, ip.tos, ip.ports), (17, 0xb8, Some((1, 2))));
        assert_eq!(ip.source, IpAddr::from([0x20; 16]));
        assert_eq!(ip.destination, IpAddr::from([0x21; 16]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_not(frame in prop::collection::vec(any::<u8>(), 0..80), ethertype in 0..4usize) {
            let mut frame = frame;
            if let Some(place) = frame.get_mut(12..14) {
                place.copy_from_slice(&[VLAN, IPV4, IPV6, 0x0806][ethertype].to_be_bytes());
            }
            if let Some(ethernet) = EthernetHeader::decode(&frame) {
                prop_assert!(ethernet.length <= frame.len());
                let _ = IpHeader::decode(&frame, &ethernet);
            }
        }
    }
}
