//! VPD page 8Fh, third-party copy (SPC-5 7.7.18): what copies and tokens a unit takes part in, in descriptors, both ways.

use super::descriptors::{Cscd, Segment};
use super::{
    COPIES_MAX, CSCDS_MAX, RANGES_MAX, RodToken, SEGMENTS_MAX, STEP_BYTES, TOKEN_BYTES_MAX, TOKEN_INACTIVITY_SECONDS,
    TOKEN_INACTIVITY_SECONDS_MAX, tokens,
};
use crate::config::LogicalUnitConfig;
use crate::octets::{DecodeError, be16, be32, be64, need};
use crate::opcodes::rows_of;

/// How much one command with tokens may ask for: the block device ROD token limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenLimits {
    /// MAXIMUM RANGE DESCRIPTORS.
    pub ranges_max: u16,
    /// MAXIMUM INACTIVITY TIMEOUT, in seconds.
    pub inactivity_seconds_max: u32,
    /// DEFAULT INACTIVITY TIMEOUT, in seconds.
    pub inactivity_seconds: u32,
    /// MAXIMUM TOKEN TRANSFER SIZE, in blocks.
    pub blocks_max: u64,
    /// OPTIMAL TRANSFER COUNT, in blocks.
    pub blocks_optimal: u64,
}

/// Page 8Fh. What a page lacks is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThirdPartyCopy {
    /// Limits of tokens.
    pub token_limits: Option<TokenLimits>,
    /// Operation codes, and the service actions of each.
    pub commands: Vec<(u8, Vec<u8>)>,
    /// MAXIMUM CSCD DESCRIPTOR COUNT and MAXIMUM SEGMENT DESCRIPTOR COUNT.
    pub descriptors_max: Option<(u16, u16)>,
    /// Type codes of segment and CSCD descriptors.
    pub descriptor_types: Vec<u8>,
    /// CSCD descriptor IDs that need no descriptor.
    pub cscd_identifiers: Vec<u16>,
    /// ROD types, and whether tokens of each are made (TOKEN_OUT) and taken (TOKEN_IN).
    pub rod_types: Vec<(u32, bool, bool)>,
    /// MAXIMUM IDENTIFIED CONCURRENT COPIES.
    pub copies_max: Option<u32>,
    /// MAXIMUM SEGMENT LENGTH, in bytes.
    pub segment_bytes_max: Option<u32>,
}

const TOKEN_LIMITS: u16 = 0x0000;
const COMMANDS: u16 = 0x0001;
const PARAMETER_DATA: u16 = 0x0004;
const DESCRIPTORS: u16 = 0x0008;
const CSCD_IDENTIFIERS: u16 = 0x000c;
const TOKEN_FEATURES: u16 = 0x0106;
const ROD_TYPES: u16 = 0x0108;
const GENERAL: u16 = 0x8001;

const TOKEN_OUT: u8 = 0x01;
const TOKEN_IN: u8 = 0x02;
/// Bytes of one ROD type.
const ROD_TYPE_BYTES: usize = 64;

impl ThirdPartyCopy {
    /// What a unit takes part in.
    pub(crate) fn of(config: &LogicalUnitConfig) -> Self {
        let blocks = |bytes: u64| bytes / u64::from(config.geometry.block_size);
        let actions = |opcode: u8| {
            let known = rows_of(opcode).filter(|row| config.supports(row.operation));
            (opcode, known.filter_map(|row| row.service_action).collect())
        };
        Self {
            token_limits: Some(TokenLimits {
                ranges_max: RANGES_MAX as u16,
                inactivity_seconds_max: TOKEN_INACTIVITY_SECONDS_MAX,
                inactivity_seconds: TOKEN_INACTIVITY_SECONDS,
                blocks_max: blocks(TOKEN_BYTES_MAX),
                blocks_optimal: blocks(TOKEN_BYTES_MAX / 4),
            }),
            commands: vec![actions(0x83), actions(0x84)],
            descriptors_max: Some((CSCDS_MAX as u16, SEGMENTS_MAX as u16)),
            descriptor_types: vec![Segment::TYPE, Cscd::TYPE],
            cscd_identifiers: vec![Segment::COPY_MANAGER],
            rod_types: vec![
                (RodToken::POINT_IN_TIME_CHANGE_VULNERABLE, config.token_secret.is_some(), true),
                (RodToken::ZEROS, false, true),
            ],
            copies_max: Some(COPIES_MAX as u32),
            segment_bytes_max: Some(u32::from(u16::MAX) * config.geometry.block_size),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(limits) = self.token_limits {
            descriptor(&mut bytes, TOKEN_LIMITS, &limits.encode());
        }
        if !self.commands.is_empty() {
            let lists = self
                .commands
                .iter()
                .flat_map(|(opcode, actions)| [&[*opcode, actions.len() as u8], &actions[..]].concat());
            descriptor(&mut bytes, COMMANDS, &counted(&lists.collect::<Vec<_>>()));
        }
        if let Some((cscds, segments)) = self.descriptors_max {
            let list_bytes = u32::from(cscds) * Cscd::BYTES as u32 + u32::from(segments) * Segment::BYTES as u32;
            let body =
                [&[0; 4][..], &cscds.to_be_bytes(), &segments.to_be_bytes(), &list_bytes.to_be_bytes(), &[0; 16]];
            descriptor(&mut bytes, PARAMETER_DATA, &body.concat());
        }
        descriptor(&mut bytes, DESCRIPTORS, &counted(&self.descriptor_types));
        let identifiers: Vec<u8> = self.cscd_identifiers.iter().flat_map(|id| id.to_be_bytes()).collect();
        descriptor(
            &mut bytes,
            CSCD_IDENTIFIERS,
            &[&(identifiers.len() as u16).to_be_bytes()[..], &identifiers].concat(),
        );
        if let Some(limits) = self.token_limits {
            descriptor(&mut bytes, TOKEN_FEATURES, &features(limits));
        }
        let types = self.rod_types.iter().flat_map(|(rod_type, made, taken)| {
            let flags = if *made { TOKEN_OUT } else { 0 } | if *taken { TOKEN_IN } else { 0 };
            [&rod_type.to_be_bytes()[..], &[flags], &[0; ROD_TYPE_BYTES - 5]].concat()
        });
        let types: Vec<u8> = types.collect();
        descriptor(&mut bytes, ROD_TYPES, &[&[0; 2][..], &(types.len() as u16).to_be_bytes(), &types].concat());
        if let (Some(copies), Some(segment)) = (self.copies_max, self.segment_bytes_max) {
            let body = [&copies.to_be_bytes()[..], &copies.to_be_bytes(), &segment.to_be_bytes(), &[0; 20]];
            descriptor(&mut bytes, GENERAL, &body.concat());
        }
        bytes
    }

    /// Reads the page. Descriptors of other types are left out.
    ///
    /// # Errors
    /// The header is cut or is another page's, or a descriptor is shorter than its fields or longer than the page.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "VPD page 8Fh";
        let mut rest = crate::vpd::body(WHAT, crate::vpd::page::THIRD_PARTY_COPY, bytes)?;
        let mut page = Self::default();
        while !rest.is_empty() {
            let length = 4 + usize::from(be16(need(WHAT, rest, 4)?, 2));
            let (one, after) = need(WHAT, rest, length)?.split_at(length);
            page.take(be16(one, 0), &one[4..])?;
            rest = after;
        }
        Ok(page)
    }

    fn take(&mut self, kind: u16, body: &[u8]) -> Result<(), DecodeError> {
        const WHAT: &str = "a third-party copy descriptor";
        match kind {
            TOKEN_LIMITS => self.token_limits = Some(TokenLimits::decode(need(WHAT, body, 32)?)),
            COMMANDS => {
                let mut list = uncounted(body);
                while let [opcode, count, actions @ ..] = list {
                    let (own, after) = need(WHAT, actions, (*count).into())?.split_at((*count).into());
                    self.commands.push((*opcode, own.to_vec()));
                    list = after;
                }
            }
            PARAMETER_DATA => self.descriptors_max = Some((be16(need(WHAT, body, 8)?, 4), be16(body, 6))),
            DESCRIPTORS => self.descriptor_types = uncounted(body).to_vec(),
            CSCD_IDENTIFIERS => {
                let list = need(WHAT, body, 2)?[2..].as_chunks::<2>().0.iter().take(usize::from(be16(body, 0)) / 2);
                self.cscd_identifiers = list.map(|id| u16::from_be_bytes(*id)).collect();
            }
            ROD_TYPES => {
                let list = need(WHAT, body, 4)?[4..].as_chunks::<ROD_TYPE_BYTES>().0.iter();
                let list = list.take(usize::from(be16(body, 2)) / ROD_TYPE_BYTES);
                self.rod_types =
                    list.map(|rod| (be32(rod, 0), rod[4] & TOKEN_OUT != 0, rod[4] & TOKEN_IN != 0)).collect();
            }
            GENERAL => {
                self.copies_max = Some(be32(need(WHAT, body, 12)?, 4));
                self.segment_bytes_max = Some(be32(body, 8));
            }
            _ => {}
        }
        Ok(())
    }
}

impl TokenLimits {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; 6];
        bytes.extend(self.ranges_max.to_be_bytes());
        bytes.extend(self.inactivity_seconds_max.to_be_bytes());
        bytes.extend(self.inactivity_seconds.to_be_bytes());
        bytes.extend(self.blocks_max.to_be_bytes());
        bytes.extend(self.blocks_optimal.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Self {
        Self {
            ranges_max: be16(bytes, 6),
            inactivity_seconds_max: be32(bytes, 8),
            inactivity_seconds: be32(bytes, 12),
            blocks_max: be64(bytes, 16),
            blocks_optimal: be64(bytes, 24),
        }
    }
}

/// ROD token features: how long tokens live, and what is best done with one of a block device.
fn features(limits: TokenLimits) -> Vec<u8> {
    let mut bytes = vec![0; 12];
    bytes.extend([0; 4]);
    bytes.extend((tokens::LIFETIME_MAX.as_secs() as u32).to_be_bytes());
    bytes.extend(limits.inactivity_seconds_max.to_be_bytes());
    bytes.extend([0; 18]);
    let mut block_device = vec![0, 0, 0, 44, 0, 0, 0, 0];
    for best in [TOKEN_BYTES_MAX, TOKEN_BYTES_MAX / 4, TOKEN_BYTES_MAX, STEP_BYTES] {
        block_device.extend(best.to_be_bytes());
    }
    block_device.extend([0; 8]);
    bytes.extend((block_device.len() as u16).to_be_bytes());
    bytes.extend(block_device);
    bytes
}

/// A descriptor whose length is a multiple of four.
fn descriptor(to: &mut Vec<u8>, kind: u16, body: &[u8]) {
    let length = body.len().next_multiple_of(4);
    to.extend(kind.to_be_bytes());
    to.extend((length as u16).to_be_bytes());
    to.extend(body);
    to.resize(to.len() + length - body.len(), 0);
}

/// A list behind its length in a byte.
fn counted(list: &[u8]) -> Vec<u8> {
    [&[list.len() as u8], list].concat()
}

fn uncounted(body: &[u8]) -> &[u8] {
    let Some((length, list)) = body.split_first() else { return &[] };
    &list[..list.len().min((*length).into())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::TokenSecret;
    use crate::inquiry::Peripheral;
    use crate::io::Geometry;
    use crate::vpd;
    use proptest::prelude::*;

    fn whole(body: &[u8]) -> Vec<u8> {
        vpd::with_header(Peripheral::DIRECT_ACCESS, vpd::page::THIRD_PARTY_COPY, body)
    }

    #[test]
    fn the_page_comes_back_and_each_descriptor_is_whole_words() {
        let config = LogicalUnitConfig::new(Geometry { block_size: 4096, blocks: 8 }, "s");
        let with_tokens = LogicalUnitConfig { token_secret: Some(TokenSecret::new([0; 32])), ..config.clone() };
        let without = (config, [&[0, 1, 0x11, 0x1c][..], &[0, 1, 3, 4, 5, 7]]);
        let with = (with_tokens, [&[0, 1, 0x10, 0x11, 0x1c][..], &[0, 1, 3, 4, 5, 7, 8]]);
        for (config, [out, back]) in [without, with] {
            let page = ThirdPartyCopy::of(&config);
            let bytes = whole(&page.encode());
            assert!(bytes.len().is_multiple_of(4));
            assert_eq!(page.commands, [(0x83, out.to_vec()), (0x84, back.to_vec())]);
            assert_eq!(bytes[4..12], [0, 0, 0, 32, 0, 0, 0, 0]);
            let list_bytes = (1 + 2 + out.len() + 2 + back.len()).next_multiple_of(4) as u8;
            assert_eq!(bytes[40..44], [0, 1, 0, list_bytes]);
            assert_eq!(ThirdPartyCopy::decode(&bytes), Ok(page));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail(body in prop::collection::vec(any::<u8>(), 0..300), kind in 0u8..16) {
            let _ = ThirdPartyCopy::decode(&whole(&body));
            let _ = ThirdPartyCopy::decode(&whole(&[&[0, kind, 0, 40], &body[..]].concat()));
        }
    }
}
