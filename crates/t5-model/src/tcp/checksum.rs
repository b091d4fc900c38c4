//! Checksums of IP and TCP, where a frame leaves for a wire or comes from one. Inside the adapter nobody looks at them.

use super::packet::version;
use smoltcp::wire::{IpAddress, IpProtocol, IpVersion, Ipv4Packet, Ipv6Packet, TcpPacket};

/// Writes the checksums of a TCP packet. What is none stays as it is.
pub fn fill(packet: &mut [u8]) {
    match version(packet) {
        Some(IpVersion::Ipv4) => {
            let Ok(mut ip) = Ipv4Packet::new_checked(packet) else { return };
            if ip.next_header() != IpProtocol::Tcp || ip.more_frags() || ip.frag_offset() != 0 {
                return;
            }
            ip.fill_checksum();
            let (source, destination) = (ip.src_addr().into(), ip.dst_addr().into());
            fill_tcp(ip.payload_mut(), source, destination);
        }
        Some(IpVersion::Ipv6) => {
            let Ok(mut ip) = Ipv6Packet::new_checked(packet) else { return };
            if ip.next_header() != IpProtocol::Tcp {
                return;
            }
            let (source, destination) = (ip.src_addr().into(), ip.dst_addr().into());
            fill_tcp(ip.payload_mut(), source, destination);
        }
        None => {}
    }
}

fn fill_tcp(payload: &mut [u8], source: IpAddress, destination: IpAddress) {
    if let Ok(mut tcp) = TcpPacket::new_checked(payload) {
        tcp.fill_checksum(&source, &destination);
    }
}

/// Whether the checksums of a TCP packet are right. What is none passes.
#[must_use]
pub fn verify(packet: &[u8]) -> bool {
    let (source, destination, protocol, payload): (IpAddress, IpAddress, _, _) = match version(packet) {
        Some(IpVersion::Ipv4) => {
            let Ok(ip) = Ipv4Packet::new_checked(packet) else { return false };
            if !ip.verify_checksum() {
                return false;
            }
            if ip.more_frags() || ip.frag_offset() != 0 {
                return true;
            }
            (ip.src_addr().into(), ip.dst_addr().into(), ip.next_header(), ip.payload())
        }
        Some(IpVersion::Ipv6) => {
            let Ok(ip) = Ipv6Packet::new_checked(packet) else { return false };
            (ip.src_addr().into(), ip.dst_addr().into(), ip.next_header(), ip.payload())
        }
        None => return true,
    };
    protocol != IpProtocol::Tcp
        || TcpPacket::new_checked(payload).is_ok_and(|tcp| tcp.verify_checksum(&source, &destination))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_taken(mut packet in prop::collection::vec(any::<u8>(), 0..80), first in 0..3usize) {
            if let Some(byte) = packet.first_mut() {
                *byte = [0x45, 0x60, 0][first];
            }
            let _ = verify(&packet);
            fill(&mut packet);
        }
    }
}
