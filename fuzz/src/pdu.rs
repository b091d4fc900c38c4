//! Every PDU: any bytes are decoded or refused, and what they mean is stable.

use crate::input::frames;
use iscsi_pdu::ahs::Ahs;
use iscsi_pdu::{Frame, Pdu, text};

/// PDUs, one after the other.
pub fn pdu(input: &[u8]) {
    frames(input).for_each(check);
}

fn check(frame: Frame) {
    // Whatever it is can be shown.
    let _ = format!("{frame:?}");
    if let Ok(ahs) = Ahs::decode(&frame.ahs) {
        assert_eq!(Ahs::decode(&ahs.encode()), Ok(ahs), "what segments mean is stable");
    }
    text::pairs(&frame.data).for_each(|_| ());
    match Pdu::decode(frame) {
        Ok(pdu) => {
            let encoded = pdu.clone().encode();
            let again = Pdu::decode(encoded.clone()).expect("what is encoded is decoded");
            assert_eq!(again, pdu, "what a PDU means is stable");
            assert_eq!(again.encode(), encoded, "and so is how it is said");
        }
        Err(error) => {
            assert!(error.offset < 48 && !error.to_string().is_empty(), "an error names a field of the header")
        }
    }
}
