//! Messages of the T5 adapter and its driver: any bytes are one or an error, and a message keeps its bytes.

use t5_hal::wire::{
    BitFields, Command, Filter, FoiscsiControl, FoiscsiNode, IngressEntry, Layout, OffloadTxData, PagePod, Reply,
    Request, Tag, TagFormat, UlpList, UlpMemoryWrite,
};

/// The first byte says what the others are.
pub fn t5_wire(input: &[u8]) {
    let Some((&kind, bytes)) = input.split_first() else { return };
    match kind % 8 {
        0 => reply(bytes),
        1 => request(bytes),
        2 => command(bytes),
        3 => pieces(bytes),
        4 => tag(bytes),
        5 => entry(bytes),
        6 => structure::<Filter>(bytes),
        _ => {
            structure::<PagePod>(bytes);
            structure::<UlpMemoryWrite>(bytes);
            structure::<OffloadTxData>(bytes);
            structure::<FoiscsiNode>(bytes);
            structure::<FoiscsiControl>(bytes);
        }
    }
}

fn reply(bytes: &[u8]) {
    match Reply::decode(bytes) {
        Ok((reply, rest)) => {
            assert_eq!([reply.as_bytes(), rest].concat(), bytes, "a message keeps its bytes");
            let _ = format!("{reply:?}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn request(bytes: &[u8]) {
    if let Ok(request) = Request::decode(bytes) {
        assert!(bytes.starts_with(request.as_bytes()), "a message keeps its bytes");
        assert_eq!(request.opcode_tid().to_u64() >> 24, bytes[16].into());
        let _ = format!("{request:?}");
    }
}

fn command(bytes: &[u8]) {
    if let Ok(command) = Command::decode(bytes) {
        assert!(bytes.starts_with(command.as_bytes()), "a command keeps its bytes");
        assert!(command.as_bytes().len() <= 64, "a command fits the mailbox");
        let _ = format!("{command:?}");
    }
}

fn pieces(bytes: &[u8]) {
    let Ok(pieces) = UlpList::decode(bytes) else { return };
    assert!(UlpList::bytes(pieces.len()) <= bytes.len(), "a list is inside");
    let mut again = Vec::new();
    UlpList::encode(&pieces, &mut again);
    assert_eq!(UlpList::decode(&again), Ok(pieces), "what a list means is stable");
}

fn tag(bytes: &[u8]) {
    let Some((mask, rest)) = bytes.split_first_chunk() else { return };
    let (Some(format), Some(tag)) = (TagFormat::from_mask(u32::from_be_bytes(*mask)), rest.first_chunk()) else {
        return;
    };
    let tag = u32::from_be_bytes(*tag);
    match format.decode(tag) {
        Tag::Placed(placed) => {
            assert!(placed.pod < format.pods(), "a tag names a pod that can be");
            assert_eq!(format.decode(format.placed(placed)), Tag::Placed(placed));
        }
        Tag::Software(number) if number < 1 << format.software_bits() => {
            assert_eq!(format.software(number), tag, "a number has one tag");
        }
        Tag::Software(_) => {}
    }
}

fn entry(bytes: &[u8]) {
    if let Ok((entry, rest)) = IngressEntry::split_from(bytes) {
        assert_eq!(bytes.len(), 64 + rest.len());
        reply(&entry.message);
    }
}

fn structure<S: Layout + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    match S::split_from(bytes) {
        Ok((value, rest)) => assert_eq!([value.as_bytes(), rest].concat(), bytes, "a structure keeps its bytes"),
        Err(error) => assert!(bytes.len() < size_of::<S>(), "{error}"),
    }
}
