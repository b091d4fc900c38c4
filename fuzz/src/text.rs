//! Text keys: pairs, values, and texts over several PDUs.

use crate::input::{take, take_byte};
use bytes::{Bytes, BytesMut};
use iscsi_pdu::text::{self, Assembler};

const TEXT_BYTES_MAX: usize = 8192;

/// A byte that says how long segments are, and a text.
pub fn text(mut input: &[u8]) {
    let segment_bytes = usize::from(take_byte(&mut input)) + 1;
    continued(input, segment_bytes);

    let mut again = BytesMut::new();
    let mut pairs = Vec::new();
    for pair in text::pairs(input) {
        let Ok((key, value)) = pair else { break };
        text::push(&mut again, key, value);
        pairs.push((key, value));
        check_value(value);
    }
    assert!(again.len() <= input.len() + 1);
    let read: Vec<_> = text::pairs(&again).map(|pair| pair.expect("what is pushed is read")).collect();
    assert_eq!(read, pairs);
}

fn check_value(value: &str) {
    let number = text::number(value);
    if let Ok(number) = number {
        assert_eq!(text::number(&number.to_string()), Ok(number));
    }
    if let Ok(range) = text::range(value) {
        assert!(range.start() <= range.end());
    }
    if let Ok(bytes) = text::binary(value, 100) {
        assert!(!bytes.is_empty() && bytes.len() <= 100);
        assert_eq!(text::binary(&text::hex(&bytes), 100).as_deref(), Ok(&bytes[..]));
        assert_eq!(text::binary(&text::base64(&bytes), 100).as_deref(), Ok(&bytes[..]));
    }
    for part in value.split(',') {
        let _ = (text::number(part), text::range(part));
    }
}

/// A text that is cut and put together is the same; one that is too long is refused at once.
fn continued(mut input: &[u8], segment_bytes: usize) {
    let text = Bytes::copy_from_slice(take(&mut input, 2 * TEXT_BYTES_MAX));
    let mut assembler = Assembler::new(TEXT_BYTES_MAX);
    let mut length = 0;
    for (segment, continues) in text::segments(text.clone(), segment_bytes) {
        length += segment.len();
        match assembler.push(segment, continues) {
            Ok(None) => assert!(continues && length <= TEXT_BYTES_MAX),
            Ok(Some(whole)) => assert_eq!(whole, text),
            Err(_) => return assert!(length > TEXT_BYTES_MAX),
        }
    }
}
