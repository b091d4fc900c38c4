//! How bytes become a list of things to do.

use bytes::Bytes;
use iscsi_pdu::{Frame, HEADER_LENGTH, Header, Pdu, padding};

/// Takes the first byte off; zero if there is none.
pub(crate) fn take_byte(input: &mut &[u8]) -> u8 {
    let (first, rest) = input.split_first().unwrap_or((&0, &[]));
    *input = rest;
    *first
}

/// Takes so many bytes off, or all if there are fewer.
pub(crate) fn take<'a>(input: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(length.min(input.len()));
    *input = rest;
    taken
}

/// The PDUs of a stream without digests. One that says that it is longer than what is left has what is left.
pub(crate) fn frames(mut stream: &[u8]) -> impl Iterator<Item = Frame> {
    std::iter::from_fn(move || {
        let header = Header(take(&mut stream, HEADER_LENGTH).try_into().ok()?);
        let mut ahs = take(&mut stream, header.ahs_length());
        ahs = &ahs[..ahs.len() / 4 * 4];
        let length = header.data_segment_length();
        let data = take(&mut stream, length);
        take(&mut stream, padding(length));
        Some(Frame::new(header, ahs.into(), Bytes::copy_from_slice(data)))
    })
}

/// What one of our ends sends is what the other end's decoder reads. A refusal to somebody who used the tag that means none has
/// that tag.
pub(crate) fn check_sent(pdu: &Pdu) {
    let has_no_tag = matches!(pdu, Pdu::LoginResponse(refusal) if refusal.initiator_task_tag.0 == u32::MAX);
    if !has_no_tag {
        assert_eq!(Pdu::decode(pdu.clone().encode()).as_ref(), Ok(pdu), "we send PDUs that mean something");
    }
}
