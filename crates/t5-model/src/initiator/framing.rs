//! PDUs in a TCP connection: whole ones come out of it and go into it, with the digests that were agreed upon.

use crate::iscsi::{IscsiCounters, Layout, Measured, Outgoing, Settings, WirePdu};
use crate::tcp::Connection;
use bytes::{Bytes, BytesMut};
use iscsi_pdu::digest::{self, DIGEST_LENGTH};
use iscsi_pdu::{Frame, HEADER_LENGTH, Header, Pdu, padding};

/// What has come.
#[derive(Debug)]
pub(crate) enum Taken {
    /// A PDU whose digests are right.
    Frame(Frame),
    /// One whose data digest is wrong.
    BadData(Header),
    /// Something after which no PDU can be found: too long, or with a wrong header digest.
    Broken,
}

/// Takes the next PDU out of a connection, if all of it has come, and counts its digests.
pub(crate) fn take(tcp: &mut Connection, settings: Settings, counted: &mut IscsiCounters) -> Option<Taken> {
    let mut beginning = [0; HEADER_LENGTH];
    let there = tcp.peek(&mut beginning);
    let layout = match Layout::measure(&beginning[..there], settings) {
        Measured::Known(layout) => layout,
        Measured::TooLong(_) => return Some(Taken::Broken),
        Measured::Unknown => return None,
    };
    if tcp.received_length() < layout.total_bytes {
        return None;
    }
    let mut pdu = BytesMut::zeroed(layout.total_bytes);
    tcp.peek(&mut pdu);
    tcp.consume_any(layout.total_bytes);
    let pdu = pdu.freeze();
    let data = pdu.slice(layout.header_bytes..layout.header_bytes + layout.data_bytes);
    Some(open(WirePdu::cut(&pdu, layout), data, settings, counted))
}

/// Takes a whole PDU apart, and counts its digests. Its data comes once more, to be kept.
pub(crate) fn open(pdu: WirePdu<'_>, data: Bytes, settings: Settings, counted: &mut IscsiCounters) -> Taken {
    let digest_bytes = if settings.header_digest { DIGEST_LENGTH } else { 0 };
    let (head, header_digest) = pdu.head.split_at(pdu.head.len() - digest_bytes);
    counted.digests_checked += u64::from(settings.header_digest);
    if settings.header_digest && digest::of(head) != header_digest {
        counted.digests_wrong += 1;
        return Taken::Broken;
    }
    let (header, ahs) = head.split_at(HEADER_LENGTH);
    let header = Header(header.try_into().expect("a header has 48 bytes"));
    let ahs = ahs.into();
    let (padding, data_digest) = pdu.tail.split_at(padding(pdu.data.len()));
    counted.digests_checked += u64::from(!data_digest.is_empty());
    if !data_digest.is_empty() && digest::padded(pdu.data, padding) != data_digest {
        counted.digests_wrong += 1;
        return Taken::BadData(header);
    }
    Taken::Frame(Frame { header, ahs, data })
}

/// Makes a PDU ready to go out, and counts its digests.
pub(crate) fn close(pdu: Pdu, settings: Settings, counted: &mut IscsiCounters, out: &mut Outgoing) {
    let Frame { header, ahs, data } = pdu.encode();
    let padding = padding(data.len());
    let (head, tail) = out.begin(data);
    head.extend_from_slice(&header.0);
    head.extend_from_slice(&ahs);
    tail.extend_from_slice(&[0; 3][..padding]);
    let digests = out.add_digests(settings.header_digest, settings.data_digest);
    counted.digests_inserted += digests.expect("a PDU is as long as its header says");
}

#[cfg(test)]
mod tests {
    use super::*;
    use iscsi_pdu::{DataIn, NopOut};

    const BOTH: Settings = Settings { header_digest: true, data_digest: true, page_size: 0 };

    fn opened(bytes: &[u8], settings: Settings) -> (Taken, IscsiCounters) {
        let Measured::Known(layout) = Layout::measure(bytes, settings) else { panic!("a PDU that can be measured") };
        let mut counted = IscsiCounters::default();
        let pdu = WirePdu::cut(bytes, layout);
        (open(pdu, Bytes::copy_from_slice(pdu.data), settings, &mut counted), counted)
    }

    fn closed(pdu: Pdu, settings: Settings) -> Vec<u8> {
        let (mut outgoing, mut counted) = (Outgoing::default(), IscsiCounters::default());
        close(pdu, settings, &mut counted, &mut outgoing);
        outgoing.pdu().parts().concat()
    }

    #[test]
    fn what_goes_out_comes_in() {
        let pdu = || Pdu::from(DataIn { data: vec![7; 501].into(), ..DataIn::default() });
        for settings in [BOTH, Settings::default(), Settings { header_digest: false, ..BOTH }] {
            let (taken, counted) = opened(&closed(pdu(), settings), settings);
            assert!(matches!(taken, Taken::Frame(frame) if frame == pdu().encode()));
            assert_eq!(counted.digests_wrong, 0);
            let wanted = u64::from(settings.header_digest) + u64::from(settings.data_digest);
            assert_eq!(counted.digests_checked, wanted);
        }
        let (taken, counted) = opened(&closed(NopOut::default().into(), BOTH), BOTH);
        assert!(matches!(taken, Taken::Frame(_)));
        assert_eq!(counted.digests_checked, 1, "no data, no digest of it");
    }

    #[test]
    fn wrong_digests_are_found_and_counted() {
        let good = closed(DataIn { data: vec![7; 501].into(), ..DataIn::default() }.into(), BOTH);
        let spoiled = |at: usize| {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            opened(&bytes, BOTH)
        };
        for at in [20, 49] {
            let (taken, counted) = spoiled(at);
            assert!(matches!(taken, Taken::Broken), "byte {at} of the header or its digest");
            assert_eq!((counted.digests_checked, counted.digests_wrong), (1, 1));
        }
        for at in [60, 553, 557] {
            let (taken, counted) = spoiled(at);
            assert!(matches!(taken, Taken::BadData(_)), "byte {at} of the data, its padding or its digest");
            assert_eq!((counted.digests_checked, counted.digests_wrong), (2, 1));
        }
    }
}
