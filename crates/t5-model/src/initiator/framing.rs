//! PDUs in a TCP connection: whole ones come out of it and go into it, with the digests that were agreed upon.

use crate::iscsi::{IscsiCounters, Layout, Measured, PDU_BYTES_MAX, Settings};
use crate::tcp::Connection;
use bytes::BytesMut;
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

    let digest_bytes = if settings.header_digest { DIGEST_LENGTH } else { 0 };
    let (head, rest) = pdu.split_at(layout.header_bytes);
    let (head, header_digest) = head.split_at(layout.header_bytes - digest_bytes);
    counted.digests_checked += u64::from(settings.header_digest);
    if settings.header_digest && digest::of(head) != header_digest {
        counted.digests_wrong += 1;
        return Some(Taken::Broken);
    }
    let (header, ahs) = head.split_at(HEADER_LENGTH);
    let header = Header(header.try_into().expect("a header has 48 bytes"));
    let ahs = ahs.into();
    let (padded, data_digest) = rest.split_at(layout.data_bytes + padding(layout.data_bytes));
    counted.digests_checked += u64::from(!data_digest.is_empty());
    if !data_digest.is_empty() && digest::of(padded) != data_digest {
        counted.digests_wrong += 1;
        return Some(Taken::BadData(header));
    }
    let data = pdu.freeze().slice(layout.header_bytes..layout.header_bytes + layout.data_bytes);
    Some(Taken::Frame(Frame { header, ahs, data }))
}

/// Whether a connection has room for any PDU.
fn has_room(tcp: &Connection) -> bool {
    tcp.send_room() >= PDU_BYTES_MAX
}

/// Sends PDUs as long as there is room and there are some, and counts their digests.
pub(crate) fn send(
    tcp: &mut Connection,
    settings: Settings,
    counted: &mut IscsiCounters,
    mut next: impl FnMut() -> Option<Pdu>,
) {
    while has_room(tcp)
        && let Some(pdu) = next()
    {
        let Frame { header, ahs, data } = pdu.encode();
        tcp.send(&header.0);
        tcp.send(&ahs);
        if settings.header_digest {
            tcp.send(&digest::header(&header, &ahs));
            counted.digests_inserted += 1;
        }
        tcp.send(&data);
        tcp.send(&[0; 3][..padding(data.len())]);
        if settings.data_digest && !data.is_empty() {
            tcp.send(&digest::data(&data));
            counted.digests_inserted += 1;
        }
    }
}
