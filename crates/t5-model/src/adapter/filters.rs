//! Filters by work request (FW_FILTER_WR): what a driver wants to become of frames, as the switch keeps it.

use super::Core;
use super::egress::alone;
use super::fault::Fault;
use super::firmware::TIDS;
use super::requests::Wrong;
use crate::switch::{Count, FILTERS_MAX, FilterAction, FilterKey, Masked, Match, PortNumber};
use std::time::Duration;
use t5_hal::wire::{FilterAction as FilterActionBits, *};

/// The function that has filters, as in the shipped configuration: the target's.
pub(super) const FILTERS_FUNCTION: FunctionId = FunctionId::physical(4);
/// The first filter's number: filters and connections are numbered together.
pub(super) const FILTERS_BASE: u32 = TIDS;

impl Core {
    /// Makes or deletes a filter, and tells what became of it.
    pub(super) fn change_filter(&mut self, who: FunctionId, request: &[u8], now: Duration) -> Result<(), Wrong> {
        let (asked, _) = Filter::split_from(request)?;
        let result = self.set_filter(who, &asked);
        if !asked.tid.is_set(FilterTid::NOREPLY) {
            let reply = SetTcbRpl {
                opcode_tid: ReplyOpcode::SetTcbRpl.of(asked.tid.get(FilterTid::TID)),
                cookie: result.to_wire(),
                ..SetTcbRpl::default()
            };
            self.function(who).send(asked.reply.get(FilterReply::RX_RPL_IQ), alone(&reply), false, now);
        }
        Ok(())
    }

    /// GET_TCB of a filter: what it has counted, the frames modulo 2^32.
    pub(super) fn filter_block(&self, who: FunctionId, tid: u32) -> Result<FilterBlock, Fault> {
        let index = filter_index(tid).filter(|_| who == FILTERS_FUNCTION);
        let filter = index.and_then(|index| self.switch.filter(index)).ok_or(Fault::NoConnection { tid })?;
        let (frames, bytes) = ((filter.hits.frames as u32).into(), filter.hits.bytes.into());
        Ok(FilterBlock { frames, bytes, ..FilterBlock::default() })
    }

    fn set_filter(&mut self, who: FunctionId, asked: &Filter) -> FilterResult {
        let index = filter_index(asked.tid.get(FilterTid::TID)).filter(|_| who == FILTERS_FUNCTION);
        let Some(index) = index else { return FilterResult::Invalid };
        if asked.action.is_set(FilterActionBits::DEL_FILTER) {
            self.switch.set_filter(index, None);
            return FilterResult::Deleted;
        }
        let (Some(key), Some(action)) = (key_of(asked), self.action_of(who, asked)) else {
            return FilterResult::Invalid;
        };
        // Frames of others are none of the driver's business.
        let key = FilterKey { receivers: Some(self.function(who).interfaces), ..key };
        let counts = asked.action.is_set(FilterActionBits::HITCNTS);
        let filter = crate::switch::Filter { key, action, counts, hits: Count::default() };
        self.switch.set_filter(index, Some(filter));
        FilterResult::Added
    }

    /// What is to become of frames; none if it cannot be done. Frames are not rewritten.
    fn action_of(&mut self, who: FunctionId, asked: &Filter) -> Option<FilterAction> {
        let rewrites = [
            FilterActionBits::DMAC,
            FilterActionBits::SMAC,
            FilterActionBits::INSVLAN,
            FilterActionBits::RMVLAN,
            FilterActionBits::MASKHASH,
            FilterActionBits::DIRSTEERHASH,
        ];
        let (action, queue) = (asked.action, asked.tid.get(FilterTid::IQ) as u16);
        if rewrites.into_iter().any(|bit| action.is_set(bit)) {
            return None;
        }
        let steered = action.is_set(FilterActionBits::DIRSTEER);
        match (action.is_set(FilterActionBits::DROP), action.is_set(FilterActionBits::LPBK)) {
            (true, true) => None,
            (true, false) => Some(FilterAction::Drop),
            (false, true) => {
                PortNumber::new(action.get(FilterActionBits::TXCHAN) as u8).map(|port| FilterAction::Switch { port })
            }
            (false, false) if steered && !self.function(who).ingress.contains_key(&queue) => None,
            (false, false) => Some(FilterAction::Pass { queue: steered.then_some(queue) }),
        }
    }
}

/// The index of a filter of the switch by its number, if it is one.
fn filter_index(tid: u32) -> Option<usize> {
    tid.checked_sub(FILTERS_BASE).map(|index| index as usize).filter(|&index| index < FILTERS_MAX)
}

/// What frames have to look like; none if the shipped filter mode does not have it: fragments, kind of match, protocol, VLAN and port, beside
/// addresses and ports.
fn key_of(asked: &Filter) -> Option<FilterKey> {
    let (matching, tags) = (asked.matching, asked.fragment_vlan);
    let unsupported = asked.tos_mask != 0
        || asked.ethertype_mask.get() != 0
        || asked.outer_vlan_mask.get() != 0
        || tags.is_set(FilterFragmentVlan::OVLAN_VLDM)
        || matching.get(FilterMatch::MACIM) != 0
        || matching.is_set(FilterMatch::FCOEM) && matching.is_set(FilterMatch::FCOE);
    if unsupported {
        return None;
    }
    let port = match (matching.get(FilterMatch::PORTM), matching.get(FilterMatch::PORT)) {
        (0, _) => None,
        (7, port) => Some(PortNumber::new(port as u8)?),
        _ => return None,
    };
    let matched = match (matching.get(FilterMatch::MATCHTYPEM), matching.get(FilterMatch::MATCHTYPE)) {
        (0, _) => None,
        (7, kind) => Some(Match::from_wire(kind as u8)?),
        _ => return None,
    };
    let ipv6 = asked.tid.is_set(FilterTid::RQTYPE);
    let address = |value: &[u8; 16], mask: &[u8; 16]| Masked { value: number(value, ipv6), mask: number(mask, ipv6) };
    let key = FilterKey {
        port,
        matched,
        tagged: tags.is_set(FilterFragmentVlan::IVLAN_VLDM).then(|| tags.is_set(FilterFragmentVlan::IVLAN_VLD)),
        vlan: Masked { value: asked.inner_vlan.get() & 0xfff, mask: asked.inner_vlan_mask.get() & 0xfff },
        protocol: Masked { value: asked.protocol, mask: asked.protocol_mask },
        fragment: tags.is_set(FilterFragmentVlan::FRAGM).then(|| tags.is_set(FilterFragmentVlan::FRAG)),
        local_address: address(&asked.local_ip, &asked.local_ip_mask),
        foreign_address: address(&asked.foreign_ip, &asked.foreign_ip_mask),
        local_port: Masked { value: asked.local_port.get(), mask: asked.local_port_mask.get() },
        foreign_port: Masked { value: asked.foreign_port.get(), mask: asked.foreign_port_mask.get() },
        ..FilterKey::default()
    };
    let asks_for_ip = key.protocol.mask != 0
        || key.local_address.mask | key.foreign_address.mask != 0
        || key.local_port.mask | key.foreign_port.mask != 0;
    Some(FilterKey { ip_version: (ipv6 || asks_for_ip).then_some(if ipv6 { 6 } else { 4 }), ..key })
}

/// An address as a number; of IPv4 the first four bytes.
fn number(bytes: &[u8; 16], ipv6: bool) -> u128 {
    let all = u128::from_be_bytes(*bytes);
    if ipv6 { all } else { all >> 96 }
}
