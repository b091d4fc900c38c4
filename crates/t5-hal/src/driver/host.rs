//! The host's own small stack, for frames that are no offloaded connection's.
//!
//! In: frames that have come ([`HostStack::handle_frame`]). Out: answers ([`HostStack::poll_transmit`]): of the address of the link to who asks
//! for it (ARP, neighbour discovery), echoes, and a RST to segments of TCP that nobody takes. It has no socket, and holds a bounded number of frames.
//!
//! Who is to be answered and has not told its own address of the link is asked for that, in the place of the answer. Beyond the networks of its
//! addresses it answers nobody, as it knows no router, and no answer is longer than [`ANSWER_BYTES_MAX`].

use super::Driver;
use crate::bus::Bus;
use crate::queue::WORK_REQUEST_BYTES_MAX;
use crate::wire::*;
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant as Time;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};
use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::time::Instant;
use zerocopy::IntoBytes;

/// Frames that wait in either direction, at most; more are lost, as on a wire.
const FRAMES_MAX: usize = 64;
/// Addresses that smoltcp can hold for an interface.
pub const HOST_ADDRESSES_MAX: usize = smoltcp::config::IFACE_MAX_ADDR_COUNT;
/// Longest answer, in bytes: with a TX_PKT it stands in a work request itself.
const ANSWER_BYTES_MAX: usize = 255 - size_of::<TxPktCore>();
/// By how many bytes the adapter moves a frame in its buffer.
const PACKET_SHIFT: usize = 2;
/// Bytes of an Ethernet header.
const LINK_BYTES: usize = 14;

/// The groups of the link by which neighbours ask for addresses of IPv6: all nodes, and for each address those whose addresses end as it does
/// (RFC 4291 section 2.8, RFC 2464 section 7).
pub(super) fn groups(addresses: &[(IpAddr, u8)]) -> impl Iterator<Item = [u8; 6]> {
    let of_address = |(address, _): &(IpAddr, u8)| match address {
        IpAddr::V6(address) => {
            let [.., a, b, c] = address.octets();
            Some([[0x33, 0x33, 0, 0, 0, 1], [0x33, 0x33, 0xff, a, b, c]])
        }
        IpAddr::V4(_) => None,
    };
    addresses.iter().filter_map(of_address).flatten()
}

/// The stack.
pub(super) struct HostStack {
    interface: Interface,
    sockets: SocketSet<'static>,
    frames: Frames,
    begin: Instant,
}

impl fmt::Debug for HostStack {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("HostStack").field("addresses", &self.interface.ip_addrs()).finish_non_exhaustive()
    }
}

impl HostStack {
    /// A stack with those addresses, each with the length of its network's prefix, at that address of the link.
    ///
    /// # Panics
    /// If there are more than [`HOST_ADDRESSES_MAX`], or a prefix is longer than its address: bugs of the caller.
    pub(super) fn new(mac: [u8; 6], addresses: &[(IpAddr, u8)], mtu: u16, seed: u64, now: Instant) -> Self {
        let mut frames = Frames { mtu_bytes: mtu.into(), ..Frames::default() };
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac)));
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut frames, Time::ZERO);
        interface.update_ip_addrs(|list| {
            for &(address, prefix) in addresses {
                list.push(IpCidr::new(address.into(), prefix)).expect("few addresses are given");
            }
        });
        Self { interface, sockets: SocketSet::new(Vec::new()), frames, begin: now }
    }

    /// A frame of that length has come, which is read if there is room for it.
    pub(super) fn handle_frame(&mut self, length: usize, read: impl FnOnce(&mut [u8])) {
        if self.frames.inbound.len() < FRAMES_MAX {
            let mut frame = vec![0; length];
            read(&mut frame);
            self.frames.inbound.push_back(frame);
        }
    }

    /// The next answer to what has come.
    pub(super) fn poll_transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        if !self.frames.inbound.is_empty() {
            let now = Time::from_micros(now.saturating_duration_since(self.begin).as_micros() as i64);
            self.interface.poll(now, &mut self.frames, &mut self.sockets);
        }
        self.frames.outbound.pop_front()
    }
}

impl<B: Bus> Driver<B> {
    /// Keeps a frame that has come, if somebody is there for it. It stands behind [`PACKET_SHIFT`] bytes in a buffer.
    pub(super) fn take_frame(&mut self, buffer: u64, length: usize) {
        let Some(host) = &mut self.host else { return };
        let memory = self.bus.memory();
        host.handle_frame(length.saturating_sub(PACKET_SHIFT), |frame| {
            memory.read(buffer + PACKET_SHIFT as u64, frame).expect("a buffer is in the memory");
        });
    }

    /// Answers frames that have come, as long as there is room. An answer that is too long is lost as on a wire.
    pub(super) fn answer_frames(&mut self, now: Instant) {
        let (Some(host), Some(queue)) = (&mut self.host, &mut self.queues.frames) else { return };
        while queue.room_bytes() >= WORK_REQUEST_BYTES_MAX
            && let Some(frame) = host.poll_transmit(now)
        {
            if frame.len() > ANSWER_BYTES_MAX {
                continue;
            }
            let core = TxPktCore {
                control0: TxPktControl0::new()
                    .with(TxPktControl0::OPCODE, RequestOpcode::TxPktXt.to_wire().into())
                    .with(TxPktControl0::INTF, self.config.port.into())
                    .with(TxPktControl0::PF, self.adapter.function.pf().into())
                    .with(TxPktControl0::VF, self.adapter.function.vf().unwrap_or(0).into())
                    .with_bit(TxPktControl0::VF_VLD, self.adapter.function.is_virtual()),
                length: (frame.len() as u16).into(),
                control1: TxPktControl1::new()
                    .with_bit(TxPktControl1::IPCSUM_DIS, true)
                    .with_bit(TxPktControl1::L4CSUM_DIS, true),
                ..TxPktCore::default()
            };
            let (link, immediate) = (&frame[..LINK_BYTES], size_of::<TxPktCore>() + frame.len());
            let request = EthTxPktVm {
                op: WorkRequestOp::of(WorkRequestOpcode::EthTxPktVm, immediate as u32),
                flow: WorkRequestFlow::of(0, size_of::<EthTxPktVm>() + immediate),
                destination_mac: link[..6].try_into().expect("six bytes"),
                source_mac: link[6..12].try_into().expect("six bytes"),
                ethertype: u16::from_be_bytes([link[12], link[13]]).into(),
                ..EthTxPktVm::default()
            };
            queue.push(&self.bus, &[request.as_bytes(), core.as_bytes(), &frame]);
        }
    }
}

/// What the stack takes for its network device.
#[derive(Default)]
struct Frames {
    inbound: VecDeque<Vec<u8>>,
    outbound: VecDeque<Vec<u8>>,
    mtu_bytes: usize,
}

impl Device for Frames {
    type RxToken<'a> = Inbound;
    type TxToken<'a> = Outbound<'a>;

    fn receive(&mut self, _: Time) -> Option<(Inbound, Outbound<'_>)> {
        // What comes is answered where there is room for the answer, and waits else.
        if self.outbound.len() >= FRAMES_MAX {
            return None;
        }
        let frame = self.inbound.pop_front()?;
        Some((Inbound(frame), Outbound(&mut self.outbound)))
    }

    fn transmit(&mut self, _: Time) -> Option<Outbound<'_>> {
        (self.outbound.len() < FRAMES_MAX).then_some(Outbound(&mut self.outbound))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.mtu_bytes + LINK_BYTES;
        // The adapter looks at the checksums of what comes from a wire; what stays inside it may have none.
        capabilities.checksum = ChecksumCapabilities::default();
        capabilities.checksum.ipv4 = smoltcp::phy::Checksum::Tx;
        capabilities.checksum.tcp = smoltcp::phy::Checksum::Tx;
        capabilities
    }
}

struct Inbound(Vec<u8>);

impl RxToken for Inbound {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

struct Outbound<'a>(&'a mut VecDeque<Vec<u8>>);

impl TxToken for Outbound<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let mut frame = vec![0; length];
        let result = write(&mut frame);
        self.0.push_back(frame);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr, EthernetFrame, EthernetProtocol, EthernetRepr};

    const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 2];

    /// A stack, and the time at which it begins.
    fn stack() -> (HostStack, Instant) {
        let now = Instant::now();
        (HostStack::new(OURS, &[("192.0.2.4".parse().unwrap(), 24)], 1500, 1, now), now)
    }

    fn give(stack: &mut HostStack, frame: &[u8]) {
        stack.handle_frame(frame.len(), |place| place.copy_from_slice(frame));
    }

    /// Who has that address?
    fn question(address: [u8; 4]) -> Vec<u8> {
        let arp = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Request,
            source_hardware_addr: EthernetAddress(THEIRS),
            source_protocol_addr: [192, 0, 2, 9].into(),
            target_hardware_addr: EthernetAddress([0; 6]),
            target_protocol_addr: address.into(),
        };
        let link = EthernetRepr {
            src_addr: EthernetAddress(THEIRS),
            dst_addr: EthernetAddress::BROADCAST,
            ethertype: EthernetProtocol::Arp,
        };
        let mut frame = vec![0; LINK_BYTES + arp.buffer_len()];
        link.emit(&mut EthernetFrame::new_unchecked(&mut frame));
        arp.emit(&mut ArpPacket::new_unchecked(&mut frame[LINK_BYTES..]));
        frame
    }

    #[test]
    fn who_asks_for_the_link_address_is_told_it_and_for_anothers_nothing() {
        let (mut stack, now) = stack();
        give(&mut stack, &question([192, 0, 2, 5]));
        assert_eq!(stack.poll_transmit(now), None);
        give(&mut stack, &question([192, 0, 2, 4]));
        let answer = stack.poll_transmit(now).unwrap();
        assert_eq!((&answer[..6], &answer[6..12]), (&THEIRS[..], &OURS[..]));
        let arp = ArpPacket::new_checked(&answer[LINK_BYTES..]).unwrap();
        assert_eq!(arp.operation(), ArpOperation::Reply);
        assert_eq!((arp.source_hardware_addr(), arp.source_protocol_addr()), (&OURS[..], &[192, 0, 2, 4][..]));
        assert_eq!(stack.poll_transmit(now), None);
    }

    #[test]
    fn a_flood_is_bounded() {
        let (mut stack, now) = stack();
        (0..10_000).for_each(|_| give(&mut stack, &question([192, 0, 2, 4])));
        let answers = std::iter::from_fn(|| stack.poll_transmit(now)).count();
        assert!((1..=FRAMES_MAX).contains(&answers), "{answers} answers");
    }

    #[test]
    fn answers_that_are_not_taken_are_not_lost() {
        let (mut stack, now) = stack();
        for _ in 0..FRAMES_MAX {
            give(&mut stack, &question([192, 0, 2, 4]));
        }
        assert!(stack.poll_transmit(now).is_some());
        for _ in 0..FRAMES_MAX {
            give(&mut stack, &question([192, 0, 2, 4]));
        }
        let answers = std::iter::from_fn(|| stack.poll_transmit(now)).count();
        assert_eq!(answers, 2 * FRAMES_MAX - 1);
    }

    /// An echo request with 8 bytes from that address.
    fn echo(source: [u8; 4]) -> Vec<u8> {
        let icmp = [8, 0, 0xf7, 0xff, 0, 0, 0, 0];
        let mut ip = [&[0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0][..], &source, &[192, 0, 2, 4]].concat();
        smoltcp::wire::Ipv4Packet::new_unchecked(&mut ip).fill_checksum();
        [&OURS[..], &THEIRS, &[8, 0], &ip, &icmp].concat()
    }

    #[test]
    fn who_is_not_known_is_asked_for_its_address_and_beyond_a_router_is_nobody() {
        let (mut stack, now) = stack();
        give(&mut stack, &echo([192, 0, 2, 9]));
        let asked = stack.poll_transmit(now).unwrap();
        let arp = ArpPacket::new_checked(&asked[LINK_BYTES..]).unwrap();
        assert_eq!((arp.operation(), arp.target_protocol_addr()), (ArpOperation::Request, &[192, 0, 2, 9][..]));
        assert_eq!(stack.poll_transmit(now), None);
        give(&mut stack, &question([192, 0, 2, 4]));
        assert!(stack.poll_transmit(now).is_some());
        give(&mut stack, &echo([192, 0, 2, 9]));
        assert_eq!(stack.poll_transmit(now).unwrap()[LINK_BYTES + 20], 0, "an echo reply");
        give(&mut stack, &echo([198, 51, 100, 9]));
        assert_eq!(stack.poll_transmit(now), None);
    }

    proptest! {
        #[test]
        fn any_frame_is_taken(mut frame in prop::collection::vec(any::<u8>(), 0..200), ours in any::<bool>()) {
            if ours && frame.len() > LINK_BYTES {
                frame[..6].copy_from_slice(&OURS);
                frame[12..14].copy_from_slice(&[8, 0]);
                frame[14] = 0x45;
            }
            let (mut stack, now) = stack();
            give(&mut stack, &frame);
            while stack.poll_transmit(now).is_some() {}
        }
    }
}
