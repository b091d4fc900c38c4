//! What the adapter has done of iSCSI.

use super::receive::{Layout, Settings};
use t5_hal::wire::DdpVerdict;

/// Payload and digests of all offloaded connections and of the firmware's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IscsiCounters {
    /// PDUs whose payload went to where page pods, or commands of the firmware's initiator, say.
    pub placed_pdus: u64,
    /// Bytes of that payload.
    pub placed_bytes: u64,
    /// PDUs whose payload went to the driver's free list.
    pub delivered_pdus: u64,
    /// Bytes of that payload.
    pub delivered_bytes: u64,
    /// Digests that were inserted.
    pub digests_inserted: u64,
    /// Digests that were checked.
    pub digests_checked: u64,
    /// Digests that were wrong.
    pub digests_wrong: u64,
    /// PDUs that went from one connection of the adapter to another without a frame.
    pub passed_pdus: u64,
}

impl IscsiCounters {
    /// A PDU has come.
    pub(crate) fn count_received(&mut self, layout: Layout, settings: Settings, verdict: DdpVerdict) {
        let is_header_wrong = verdict.is_set(DdpVerdict::HDRCRC_ERR);
        let checks_data = settings.data_digest && layout.data_bytes > 0 && !is_header_wrong;
        self.digests_checked += u64::from(settings.header_digest) + u64::from(checks_data);
        self.digests_wrong += u64::from(is_header_wrong) + u64::from(verdict.is_set(DdpVerdict::DATACRC_ERR));
        if verdict.is_set(DdpVerdict::PLACED) {
            self.count_placed(1, layout.data_bytes as u64);
        } else if !is_header_wrong && layout.data_bytes > 0 {
            self.delivered_pdus += 1;
            self.delivered_bytes += layout.data_bytes as u64;
        }
    }

    /// PDUs with so much payload are where it belongs.
    pub(crate) const fn count_placed(&mut self, pdus: u64, bytes: u64) {
        self.placed_pdus += pdus;
        self.placed_bytes += bytes;
    }
}
