//! Synthetic packets: Ethernet, IP (RFC 791, RFC 8200) and TCP (RFC 9293) around bytes that went over a connection.

use std::net::{IpAddr, SocketAddr};

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const TCP: u8 = 6;
const TCP_HEADER_LENGTH: usize = 20;
const ACK_PUSH: u8 = 0x18;
const HOPS: u8 = 64;

/// What one packet's headers say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Envelope {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    /// Sequence number of the first byte.
    pub(super) sequence: u32,
    /// Sequence number expected of the other side.
    pub(super) acknowledgement: u32,
}

impl Envelope {
    /// Appends the packet that carries `payload`, which has less than 64 KiB with the headers.
    pub(super) fn write(&self, payload: &[u8], packet: &mut Vec<u8>) {
        // Two stations with local addresses.
        packet.extend([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
        let segment_length = (TCP_HEADER_LENGTH + payload.len()) as u16;
        let pseudo_sum = match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                packet.extend(IPV4.to_be_bytes());
                write_ipv4(from.octets(), to.octets(), segment_length, packet)
            }
            (from, to) => {
                packet.extend(IPV6.to_be_bytes());
                write_ipv6(to_ipv6(from), to_ipv6(to), segment_length, packet)
            }
        };
        self.write_tcp(pseudo_sum + u64::from(TCP) + u64::from(segment_length), payload, packet);
    }

    fn write_tcp(&self, pseudo_sum: u64, payload: &[u8], packet: &mut Vec<u8>) {
        let start = packet.len();
        packet.extend(self.from.port().to_be_bytes());
        packet.extend(self.to.port().to_be_bytes());
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(self.acknowledgement.to_be_bytes());
        packet.extend([(TCP_HEADER_LENGTH as u8 / 4) << 4, ACK_PUSH]);
        packet.extend(u16::MAX.to_be_bytes());
        packet.extend([0; 4]);
        packet.extend_from_slice(payload);
        let checksum = fold(pseudo_sum + sum(&packet[start..]));
        packet[start + 16..start + 18].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// Appends the header; the sum of the addresses is what TCP's checksum needs of it.
fn write_ipv4(from: [u8; 4], to: [u8; 4], payload_length: u16, packet: &mut Vec<u8>) -> u64 {
    let start = packet.len();
    packet.extend([0x45, 0]);
    packet.extend((20 + payload_length).to_be_bytes());
    // No identification, not to be fragmented.
    packet.extend([0, 0, 0x40, 0, HOPS, TCP, 0, 0]);
    packet.extend(from);
    packet.extend(to);
    let checksum = fold(sum(&packet[start..]));
    packet[start + 10..start + 12].copy_from_slice(&checksum.to_be_bytes());
    sum(&from) + sum(&to)
}

/// Appends the header; the sum of the addresses is what TCP's checksum needs of it.
fn write_ipv6(from: [u8; 16], to: [u8; 16], payload_length: u16, packet: &mut Vec<u8>) -> u64 {
    packet.extend([0x60, 0, 0, 0]);
    packet.extend(payload_length.to_be_bytes());
    packet.extend([TCP, HOPS]);
    packet.extend(from);
    packet.extend(to);
    sum(&from) + sum(&to)
}

fn to_ipv6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// The sum of 16-bit words (RFC 1071), not yet folded.
fn sum(bytes: &[u8]) -> u64 {
    bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0))).sum()
}

/// The checksum of a sum.
fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_over_ipv4_sums_up() {
        let envelope = Envelope {
            from: ([192, 0, 2, 1], 3260).into(),
            to: ([192, 0, 2, 2], 50000).into(),
            sequence: 7,
            acknowledgement: 9,
        };
        let mut packet = Vec::new();
        envelope.write(b"odd", &mut packet);
        assert_eq!(packet.len(), 14 + 20 + 20 + 3);
        // What is summed with its checksum gives zero.
        assert_eq!(fold(sum(&packet[14..34])), 0);
        assert_eq!(fold(sum(&packet[26..34]) + 6 + 23 + sum(&packet[34..])), 0);
        assert_eq!(&packet[54..], b"odd");
    }

    #[test]
    fn one_address_of_ipv6_makes_both_so() {
        let envelope = Envelope {
            from: "[2001:db8::1]:3260".parse().unwrap(),
            to: ([192, 0, 2, 2], 50000).into(),
            sequence: 7,
            acknowledgement: 9,
        };
        let mut packet = Vec::new();
        envelope.write(b"even", &mut packet);
        assert_eq!(packet.len(), 14 + 40 + 20 + 4);
        assert_eq!(packet[12..14], [0x86, 0xdd]);
        assert_eq!(fold(sum(&packet[22..54]) + 6 + 24 + sum(&packet[54..])), 0);
    }
}
