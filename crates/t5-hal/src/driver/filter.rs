//! Filters: what the adapter's switch does with frames for the function's interfaces that look a certain way.

use super::{Driver, DriverEvent};
use crate::bus::Bus;
use crate::wire::*;
use std::net::IpAddr;
use std::ops::Range;
use zerocopy::IntoBytes;

/// What frames have to look like, and what becomes of them. Whatever is `None` may be anything; but a rule with a protocol or a port, and without an
/// address of IPv6, is for IPv4 alone, as a filter of the adapter is for one of the two. For both it takes two rules, the other with `::/0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterRule {
    /// The port that they came in by.
    pub port: Option<u8>,
    /// Their VLAN.
    pub vlan: Option<u16>,
    /// Their IP protocol.
    pub protocol: Option<u8>,
    /// Whether they are fragments.
    pub fragment: Option<bool>,
    /// The address that they are for, and how many bits of it.
    pub local: Option<(IpAddr, u8)>,
    /// The address that they are from, and how many bits of it.
    pub foreign: Option<(IpAddr, u8)>,
    /// The TCP or UDP port that they are for.
    pub local_port: Option<u16>,
    /// The TCP or UDP port that they are from.
    pub foreign_port: Option<u16>,
    /// What becomes of them.
    pub verdict: FilterVerdict,
    /// Whether the adapter counts them.
    pub counted: bool,
}

/// What becomes of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterVerdict {
    /// They come in, by that ingress queue of the driver's if one is named, counted from 0.
    Pass(Option<u16>),
    /// Nobody gets them.
    Drop,
    /// They leave by that port.
    Send(u8),
}

impl FilterRule {
    /// A rule for all frames.
    #[must_use]
    pub const fn all(verdict: FilterVerdict) -> Self {
        Self {
            port: None,
            vlan: None,
            protocol: None,
            fragment: None,
            local: None,
            foreign: None,
            local_port: None,
            foreign_port: None,
            verdict,
            counted: true,
        }
    }
}

/// Why a filter is not asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The function has no filter of that number.
    #[error("there is no filter {index}: the function has those from {} on, below {}", range.start, range.end)]
    Index {
        /// The number.
        index: u32,
        /// Those that there are.
        range: Range<u32>,
    },
    /// A value of the rule that is none.
    #[error("the filter's {field} is {value}: expected {expected}")]
    Value {
        /// Which.
        field: &'static str,
        /// What it is.
        value: u32,
        /// What it may be.
        expected: &'static str,
    },
    /// One address is of IPv4 and the other of IPv6.
    #[error("the addresses of a filter are both of IPv4 or both of IPv6")]
    Families,
    /// The adapter has not read what it was asked for before.
    #[error("the control queue is full: poll the driver and ask again")]
    Full,
}

impl<B: Bus> Driver<B> {
    /// Asks for a filter in the place of the one at an index (see [`Adapter::filters`](super::Adapter::filters)), or for none; of
    /// several that match, the lowest index decides. [`DriverEvent::Filter`] tells what became of it.
    ///
    /// # Errors
    /// The function has no such filter, the rule has values that are none, or there is no room in the queue now.
    pub fn set_filter(&mut self, index: u32, rule: Option<&FilterRule>) -> Result<(), FilterError> {
        self.check_filter(index)?;
        let mut request = match rule {
            Some(rule) => self.filter_of(rule)?,
            None => {
                Filter { action: FilterAction::new().with_bit(FilterAction::DEL_FILTER, true), ..Filter::default() }
            }
        };
        request.op = WorkRequestOp::of(WorkRequestOpcode::Filter, 0);
        request.flow = WorkRequestFlow::of(0, size_of::<Filter>());
        request.tid = request.tid.with(FilterTid::TID, index);
        request.reply = FilterReply::new().with(FilterReply::RX_RPL_IQ, self.rss_queue(0));
        self.ask_of_filter(request.as_bytes())
    }

    /// Asks what a filter that counts has counted. [`DriverEvent::FilterHits`] tells; of an index without filter nothing is told.
    ///
    /// # Errors
    /// The function has no filter of that index, or there is no room in the queue now.
    pub fn filter_hits(&mut self, index: u32) -> Result<(), FilterError> {
        self.check_filter(index)?;
        let reply_control = ReplyControl::new().with(ReplyControl::QUEUENO, self.rss_queue(0));
        let request = GetTcb { reply_control, ..GetTcb::new(index, index) };
        self.ask_of_filter(request.as_bytes())
    }

    /// The control block of a filter has come; one that nobody asked for tells nothing.
    pub(super) fn handle_filter_block(&mut self, reply: &GetTcbRpl, block: &[u8]) {
        let index = reply.opcode_tid.get(OpcodeTid::TID);
        if self.adapter.filters.contains(&index)
            && let Ok((block, _)) = FilterBlock::split_from(block)
        {
            let (frames, bytes) = (block.frames.get(), block.bytes.get());
            self.events.push_back(DriverEvent::FilterHits { index, frames, bytes });
        }
    }

    fn check_filter(&self, index: u32) -> Result<(), FilterError> {
        let range = self.adapter.filters.clone();
        if range.contains(&index) { Ok(()) } else { Err(FilterError::Index { index, range }) }
    }

    fn ask_of_filter(&mut self, request: &[u8]) -> Result<(), FilterError> {
        if !self.backlog.is_empty() || self.queues.control.room_bytes() < request.len() {
            return Err(FilterError::Full);
        }
        self.queues.control.push(&self.bus, &[request]);
        self.ring();
        Ok(())
    }

    /// A rule in the adapter's form.
    fn filter_of(&self, rule: &FilterRule) -> Result<Filter, FilterError> {
        let mut filter = Filter::default();
        let mut families = [rule.local, rule.foreign].into_iter().flatten().map(|(address, _)| address.is_ipv6());
        let ipv6 = families.next();
        if families.any(|other| Some(other) != ipv6) {
            return Err(FilterError::Families);
        }
        filter.tid = filter.tid.with_bit(FilterTid::RQTYPE, ipv6 == Some(true));
        if let Some((address, bits)) = rule.local {
            (filter.local_ip, filter.local_ip_mask) = masked(address, bits)?;
        }
        if let Some((address, bits)) = rule.foreign {
            (filter.foreign_ip, filter.foreign_ip_mask) = masked(address, bits)?;
        }
        if let Some(port) = rule.port {
            check("port", port.into(), 4, "below 4, as an adapter has four ports")?;
            filter.matching = filter.matching.with(FilterMatch::PORT, port.into()).with(FilterMatch::PORTM, 7);
        }
        let mut tags = FilterFragmentVlan::new();
        if let Some(fragment) = rule.fragment {
            tags = tags.with_bit(FilterFragmentVlan::FRAG, fragment).with_bit(FilterFragmentVlan::FRAGM, true);
        }
        if let Some(vlan) = rule.vlan {
            check("VLAN", vlan.into(), 4096, "below 4096")?;
            tags = tags.with_bit(FilterFragmentVlan::IVLAN_VLD, true).with_bit(FilterFragmentVlan::IVLAN_VLDM, true);
            (filter.inner_vlan, filter.inner_vlan_mask) = (vlan.into(), 0xfff.into());
        }
        filter.fragment_vlan = tags;
        if let Some(protocol) = rule.protocol {
            (filter.protocol, filter.protocol_mask) = (protocol, 0xff);
        }
        if let Some(port) = rule.local_port {
            (filter.local_port, filter.local_port_mask) = (port.into(), 0xffff.into());
        }
        if let Some(port) = rule.foreign_port {
            (filter.foreign_port, filter.foreign_port_mask) = (port.into(), 0xffff.into());
        }
        let action = FilterAction::new().with_bit(FilterAction::HITCNTS, rule.counted);
        filter.action = match rule.verdict {
            FilterVerdict::Pass(None) => action,
            FilterVerdict::Pass(Some(queue)) => {
                let queues = self.adapter.rss_queues.len() as u32;
                check("queue", queue.into(), queues, "an ingress queue of the driver, counted from 0")?;
                let queue = self.adapter.rss_queues[usize::from(queue)];
                filter.tid = filter.tid.with(FilterTid::IQ, queue.into());
                action.with_bit(FilterAction::DIRSTEER, true)
            }
            FilterVerdict::Drop => action.with_bit(FilterAction::DROP, true),
            FilterVerdict::Send(port) => {
                check("port to send by", port.into(), 4, "below 4, as an adapter has four ports")?;
                action.with_bit(FilterAction::LPBK, true).with(FilterAction::TXCHAN, port.into())
            }
        };
        Ok(filter)
    }
}

fn check(field: &'static str, value: u32, end: u32, expected: &'static str) -> Result<(), FilterError> {
    if value < end { Ok(()) } else { Err(FilterError::Value { field, value, expected }) }
}

/// An address and the mask of its first bits; of IPv4 in the first four bytes.
fn masked(address: IpAddr, bits: u8) -> Result<([u8; 16], [u8; 16]), FilterError> {
    let (mut value, longest) = ([0; 16], if address.is_ipv4() { 32 } else { 128 });
    match address {
        IpAddr::V4(address) => value[..4].copy_from_slice(&address.octets()),
        IpAddr::V6(address) => value = address.octets(),
    }
    check("prefix", bits.into(), longest + 1, "no longer than the address")?;
    let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
    Ok((value, mask.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_masks_of_the_first_bits() {
        let of =
            |text: &str, bits| masked(text.parse().unwrap(), bits).map(|(value, mask)| (value[..4].to_vec(), mask));
        let (value, mask) = of("192.0.2.4", 24).unwrap();
        assert_eq!((&value[..], &mask[..5]), (&[192, 0, 2, 4][..], &[255, 255, 255, 0, 0][..]));
        assert_eq!(of("192.0.2.4", 0).unwrap().1, [0; 16]);
        assert_eq!(of("2001:db8::1", 128).unwrap().1, [255; 16]);
        assert!(matches!(of("192.0.2.4", 33), Err(FilterError::Value { field: "prefix", .. })));
        assert!(of("2001:db8::1", 129).is_err());
    }
}
