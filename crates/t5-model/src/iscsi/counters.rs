//! What the adapter has done of iSCSI.

use super::receive::{Layout, Settings};
use iscsi_pdu::digest::DIGEST_LENGTH;
use t5_hal::wire::DdpVerdict;

/// PDUs, payload and digests of all offloaded connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IscsiCounters {
    /// PDUs that were sent.
    pub pdus_sent: u64,
    /// PDUs that have come.
    pub pdus_received: u64,
    /// Bytes of payload that went to where page pods say.
    pub placed_bytes: u64,
    /// Bytes of payload that went to the driver's free list.
    pub delivered_bytes: u64,
    /// Digests that were inserted.
    pub digests_inserted: u64,
    /// Digests that were checked.
    pub digests_checked: u64,
    /// Digests that were wrong.
    pub digests_wrong: u64,
}

impl IscsiCounters {
    /// A PDU of so many bytes has become one of so many, by its digests.
    pub(crate) const fn count_sent(&mut self, given_bytes: usize, sent_bytes: usize) {
        self.pdus_sent += 1;
        self.digests_inserted += ((sent_bytes - given_bytes) / DIGEST_LENGTH) as u64;
    }

    /// A PDU has come.
    pub(crate) fn count_received(&mut self, layout: Layout, settings: Settings, verdict: DdpVerdict) {
        let is_header_wrong = verdict.is_set(DdpVerdict::HDRCRC_ERR);
        let checks_data = settings.data_digest && layout.data_bytes > 0 && !is_header_wrong;
        self.pdus_received += 1;
        self.digests_checked += u64::from(settings.header_digest) + u64::from(checks_data);
        self.digests_wrong += u64::from(is_header_wrong) + u64::from(verdict.is_set(DdpVerdict::DATACRC_ERR));
        if verdict.is_set(DdpVerdict::PLACED) {
            self.placed_bytes += layout.data_bytes as u64;
        } else if !is_header_wrong {
            self.delivered_bytes += layout.data_bytes as u64;
        }
    }
}
