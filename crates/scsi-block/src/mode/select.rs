//! MODE SELECT at the device: a parameter list becomes new settings, or sense and no change.

use super::data::{BlockDescriptor, ModeHeader, ModePage};
use super::{ModeSettings, Page, PageValues, SAVABLE, find, header_bytes};
use crate::io::Geometry;
use crate::octets::be16;
use crate::sense::{AdditionalSense, Sense};

const LENGTH_ERROR: Sense = Sense::illegal(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);

/// Reads a whole list; the settings that it asks for, starting from `current`.
pub(crate) fn decode_list(
    header: ModeHeader,
    list: &[u8],
    geometry: Geometry,
    current: ModeSettings,
) -> Result<ModeSettings, Sense> {
    if list.is_empty() {
        return Ok(current);
    }
    let (head, rest) = list.split_at_checked(header.bytes()).ok_or(LENGTH_ERROR)?;
    let descriptor_bytes = match header {
        ModeHeader::Six => usize::from(head[3]),
        ModeHeader::Ten => usize::from(be16(head, 6)),
    };
    let (descriptor, mut pages) = rest.split_at_checked(descriptor_bytes).ok_or(LENGTH_ERROR)?;
    check_descriptor(header, head, descriptor, geometry)?;

    let mut settings = current;
    while !pages.is_empty() {
        let offset = list.len() - pages.len();
        let (page, after) = ModePage::decode(pages).ok_or(LENGTH_ERROR)?;
        let row = find(page.code, page.subpage).ok_or(Sense::invalid_parameter(offset as u16, Some(5)))?;
        apply(row, &pages[..pages.len() - after.len()], offset, current, &mut settings)?;
        pages = after;
    }
    Ok(settings)
}

/// The medium's size cannot be changed: a block descriptor may only repeat it, or leave the number of blocks open.
fn check_descriptor(header: ModeHeader, head: &[u8], descriptor: &[u8], geometry: Geometry) -> Result<(), Sense> {
    if descriptor.is_empty() {
        return Ok(());
    }
    let long = header == ModeHeader::Ten && head[4] & 1 != 0;
    let expected_bytes = if long { BlockDescriptor::LONG_BYTES } else { BlockDescriptor::SHORT_BYTES };
    let described = BlockDescriptor::decode(descriptor).filter(|_| descriptor.len() == expected_bytes);
    let described = described.ok_or(Sense::invalid_parameter(header.bytes() as u16 - 1, None))?;
    let open = [0, geometry.blocks, if long { u64::MAX } else { u32::MAX.into() }];
    if described.block_size != geometry.block_size || !open.contains(&described.blocks) {
        return Err(Sense::invalid_parameter(header.bytes() as u16, None));
    }
    Ok(())
}

/// Takes the changeable bits of one page, and refuses it if any other bit differs from what it is now.
fn apply(
    row: &Page,
    page: &[u8],
    offset: usize,
    current: ModeSettings,
    settings: &mut ModeSettings,
) -> Result<(), Sense> {
    let mut expected = Vec::with_capacity(header_bytes(row.subpage) + row.body.len());
    row.encode(PageValues::Settings(current), false, &mut expected);
    if page.len() != expected.len() {
        return Err(Sense::invalid_parameter(offset as u16 + 1, None));
    }
    for setting in row.settings {
        let place = setting.field().place;
        let value = place.get(page);
        if !setting.takes(value) {
            return Err(Sense::invalid_parameter((offset + usize::from(place.byte)) as u16, Some(place.bit)));
        }
        place.put(&mut expected, value);
        settings.set(*setting, value);
    }
    let differs = |(ours, theirs): (&u8, &u8)| (ours ^ theirs) != 0;
    // PS is reserved in MODE SELECT, and some send back what MODE SENSE has told.
    expected[0] |= page[0] & SAVABLE;
    match expected.iter().zip(page).position(differs) {
        Some(at) => {
            let bit = 7 - (expected[at] ^ page[at]).leading_zeros() as u8;
            Err(Sense::invalid_parameter((offset + at) as u16, Some(bit)))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GEOMETRY: Geometry = Geometry { block_size: 512, blocks: 1000 };
    const CONTROL: [u8; 12] = [0x0a, 0x0a, 0x24, 0x10, 0x08, 0, 0, 0, 0xff, 0xff, 0, 0];

    fn decode(list: &[u8]) -> Result<ModeSettings, Sense> {
        decode_list(ModeHeader::Six, list, GEOMETRY, ModeSettings::default())
    }

    #[test]
    fn a_right_list_sets_what_it_says() {
        let expected = ModeSettings { software_write_protect: true, descriptor_sense: true, ..ModeSettings::default() };
        assert_eq!(decode(&[&[0; 4][..], &CONTROL].concat()), Ok(expected));
        let descriptor = [0, 0, 0, 8, 0, 0, 0x03, 0xe8, 0, 0, 2, 0];
        assert_eq!(decode(&[&descriptor[..], &CONTROL].concat()), Ok(expected));
        assert_eq!(decode(&[]), Ok(ModeSettings::default()));
    }

    #[test]
    fn wrong_lists_are_refused_with_a_pointer() {
        let mut wrong = [&[0; 4][..], &CONTROL].concat();
        wrong[4 + 3] = 0x90;
        assert_eq!(decode(&wrong), Err(Sense::invalid_parameter(7, Some(7))));
        assert_eq!(decode(&wrong[..10]), Err(LENGTH_ERROR));
        assert_eq!(decode(&[0, 0, 0, 9, 0]), Err(LENGTH_ERROR));
        assert_eq!(decode(&[0, 0, 0]), Err(LENGTH_ERROR));
        assert_eq!(decode(&[0, 0, 0, 0, 0x1d, 0]), Err(Sense::invalid_parameter(4, Some(5))));
        let mut reserved = [&[0; 4][..], &CONTROL].concat();
        reserved[4 + 3] |= 0x04; // QERR 2
        assert_eq!(decode(&reserved), Err(Sense::invalid_parameter(7, Some(2))));
        let method = [0, 0, 0, 0, 0x1c, 0x0a, 0, 0x04, 0, 0, 0, 0, 0, 0, 0, 0]; // MRIE 4
        assert_eq!(decode(&method), Err(Sense::invalid_parameter(7, Some(3))));
        assert_eq!(decode(&[0, 0, 0, 0, 0x08, 1, 0]), Err(Sense::invalid_parameter(5, None)));
        let other_size = [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0x10, 0];
        assert_eq!(decode(&other_size), Err(Sense::invalid_parameter(4, None)));
    }

    proptest! {
        #[test]
        fn any_list_is_taken_or_refused(list in prop::collection::vec(any::<u8>(), 0..80)) {
            for header in [ModeHeader::Six, ModeHeader::Ten] {
                let _ = decode_list(header, &list, GEOMETRY, ModeSettings::default());
            }
        }
    }
}
