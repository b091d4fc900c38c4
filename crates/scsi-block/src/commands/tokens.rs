//! POPULATE TOKEN, WRITE USING TOKEN, RECEIVE ROD TOKEN INFORMATION and REPORT ALL ROD TOKENS (SBC-4 5.12, 5.48, SPC-5 6.31, SPC-4 6.31). What a
//! token is stands in [`copy`](crate::copy).

use std::time::Duration;

use bytes::Bytes;

use super::{Context, Plan, Started, Work, allocated, copying, medium};
use crate::cdb::Cdb;
use crate::copy::{
    AllRodTokens, Claim, CopyJob, Piece, PopulateTokenList, RodToken, RodTokenInformation, Side, TOKEN_BYTES_MAX,
    TOKEN_INACTIVITY_SECONDS, TOKEN_INACTIVITY_SECONDS_MAX, TokenUse, WriteUsingTokenList,
};
use crate::io::{Extent, Segments};
use crate::opcodes::{Field, Operation};
use crate::sense::{AdditionalSense, Sense};
use crate::unit::LogicalUnit;

const LENGTH_ERROR: Sense = Sense::illegal(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);

/// POPULATE TOKEN: the CDB.
pub(super) fn populate(cdb: &Cdb) -> Result<Plan, Sense> {
    let list_identifier = cdb.get(Field::ListIdentifier) as u32;
    plan(cdb, PopulateTokenList::BYTES_MAX, Work::PopulateToken { list_identifier })
}

/// WRITE USING TOKEN: the CDB.
pub(super) fn write(cdb: &Cdb) -> Result<Plan, Sense> {
    let list_identifier = cdb.get(Field::ListIdentifier) as u32;
    plan(cdb, WriteUsingTokenList::BYTES_MAX, Work::WriteUsingToken { list_identifier })
}

/// Without a parameter list there is nothing to do.
fn plan(cdb: &Cdb, bytes_max: usize, work: Work) -> Result<Plan, Sense> {
    match cdb.get(Field::ParameterListLength) {
        0 => Ok(Plan::DONE),
        length if length > bytes_max as u64 => Err(LENGTH_ERROR),
        length => Ok(Plan::taking(work, length as u32)),
    }
}

/// The bytes of all ranges together, if they are on the medium and not too many.
fn check_ranges(unit: &LogicalUnit, ranges: &[Extent]) -> Result<u64, Sense> {
    ranges.iter().try_for_each(|range| medium::check_range(unit, *range))?;
    let bytes = blocks_of(ranges) * u64::from(unit.config.geometry.block_size);
    match bytes <= TOKEN_BYTES_MAX {
        true => Ok(bytes),
        false => Err(Sense::illegal(AdditionalSense::INVALID_FIELD_IN_PARAMETER_LIST)),
    }
}

fn blocks_of(ranges: &[Extent]) -> u64 {
    ranges.iter().map(|range| range.blocks).sum()
}

/// POPULATE TOKEN: the parameter list. The token is made while the unit's lock is held, so that it is neither wiped nor resized in between.
pub(super) fn start_populate(
    context: &Context<'_>,
    data: Segments,
    wanted: u32,
    list_identifier: u32,
) -> Result<Started, Sense> {
    let unit = context.unit;
    let list = PopulateTokenList::decode(&medium::exactly(data, wanted).map_err(|_| LENGTH_ERROR)?)?;
    let inactivity = match list.inactivity_seconds {
        0 => TOKEN_INACTIVITY_SECONDS,
        seconds if seconds <= TOKEN_INACTIVITY_SECONDS_MAX => seconds,
        _ => return Err(Sense::invalid_parameter(4, None)),
    };
    let secret = unit.config.token_secret.as_ref().expect("a unit without secret does not have the command");
    let name = unit.config.identity.names().next().expect("a unit has a name");
    let origin = copying::origin(context, Operation::PopulateToken, Some(list_identifier));
    unit.change(|state| {
        state.medium.not_ready().map_or(Ok(()), Err)?;
        let bytes = check_ranges(unit, &list.ranges)?;
        let operation = state.copies.begin(origin)?;
        let number = state.tokens.create(list.ranges, Duration::from_secs(inactivity.into()))?;
        operation.handle_done(bytes);
        state.copies.keep_token(&operation, RodToken::issue(secret, &Claim { number, unit: name, bytes }));
        state.copies.end(&operation, Ok(()));
        Ok(Started::Done)
    })
}

/// WRITE USING TOKEN: the parameter list.
pub(super) fn start_write(
    context: &Context<'_>,
    data: Segments,
    wanted: u32,
    list_identifier: u32,
) -> Result<Started, Sense> {
    let list = WriteUsingTokenList::decode(&medium::exactly(data, wanted).map_err(|_| LENGTH_ERROR)?)?;
    check_ranges(context.unit, &list.ranges)?;
    let (pieces, token) = match list.token.is_zeros() {
        true => (zeros(context, &list.ranges), None),
        false => {
            let (source, token, ranges) = redeem(context, &list)?;
            (pieces(context, source, &ranges, &list)?, Some(token))
        }
    };
    let origin = copying::origin(context, Operation::WriteUsingToken, Some(list_identifier));
    let operation = context.unit.note(|state| state.copies.begin(origin))?;
    let job = CopyJob::new(pieces.into_iter().map(Ok).collect(), operation).answered_at_once(list.immediate);
    Ok(Started::Copy(Box::new(match token {
        Some(token) => job.by_token(token),
        None => job,
    })))
}

fn zeros(context: &Context<'_>, ranges: &[Extent]) -> Vec<Piece> {
    let own = copying::side(context, context.index, context.unit, 0);
    let piece = |range: &Extent| Piece {
        source: None,
        destination: Side { lba: range.lba, ..own },
        bytes: range.blocks * u64::from(own.block_size),
    };
    ranges.iter().map(piece).collect()
}

/// The unit of a token, the token's number there, and its blocks; the token may be used now.
fn redeem(context: &Context<'_>, list: &WriteUsingTokenList) -> Result<(Side, TokenUse, Vec<Extent>), Sense> {
    let claim = list.token.claim()?;
    let unknown = Sense::illegal(AdditionalSense::TOKEN_UNKNOWN);
    let roster = context.device.roster();
    let (index, unit) = copying::find_named(&roster, &claim.unit).ok_or(unknown)?;
    let secret = unit.config.token_secret.as_ref().ok_or(unknown)?;
    if !list.token.is_proven(secret, &claim) {
        return Err(Sense::illegal(AdditionalSense::TOKEN_CORRUPT));
    }
    let ranges = unit.note(|state| state.tokens.use_token(claim.number).map(<[Extent]>::to_vec))?;
    let token = TokenUse { unit: index, number: claim.number, delete: list.delete };
    Ok((copying::side(context, index, unit, 0), token, ranges))
}

/// Which blocks go where: the token's from the offset on, in order, to the list's.
fn pieces(
    context: &Context<'_>,
    source: Side,
    token: &[Extent],
    list: &WriteUsingTokenList,
) -> Result<Vec<Piece>, Sense> {
    let destination = copying::side(context, context.index, context.unit, 0);
    if source.block_size != destination.block_size {
        return Err(Sense::illegal(AdditionalSense::INVALID_TOKEN_OPERATION));
    }
    let end = list.offset_blocks.checked_add(blocks_of(&list.ranges));
    if end.is_none_or(|end| end > blocks_of(token)) {
        return Err(Sense::invalid_parameter(WriteUsingTokenList::OFFSET_AT, None));
    }
    let mut sources = token.iter().copied();
    let mut from = Extent::NONE;
    let mut skipped = list.offset_blocks;
    let mut pieces = Vec::new();
    for range in &list.ranges {
        let mut to = *range;
        while to.blocks > 0 {
            if from.blocks == 0 {
                from = sources.next().expect("the token was found to be long enough");
            }
            let skip = skipped.min(from.blocks);
            (from, skipped) = (from.without_first(skip), skipped - skip);
            let blocks = from.blocks.min(to.blocks);
            if blocks > 0 {
                pieces.push(Piece {
                    source: Some(Side { lba: from.lba, ..source }),
                    destination: Side { lba: to.lba, ..destination },
                    bytes: blocks * u64::from(source.block_size),
                });
            }
            (from, to) = (from.without_first(blocks), to.without_first(blocks));
        }
    }
    Ok(pieces)
}

/// RECEIVE ROD TOKEN INFORMATION.
pub(super) fn information(context: &Context<'_>, cdb: &Cdb) -> Result<Bytes, Sense> {
    let status = copying::find_status(context, cdb)?;
    let identifier = cdb.get(Field::ListIdentifier) as u32;
    let token = context.unit.note(|state| state.copies.token(context.nexus, identifier));
    let blocks = status.bytes / u64::from(context.unit.config.geometry.block_size);
    Ok(allocated(cdb, RodTokenInformation::encode(&status, blocks, token.as_ref())))
}

/// REPORT ALL ROD TOKENS: those of the unit that live, whoever has had them made.
pub(super) fn all(unit: &LogicalUnit, cdb: &Cdb) -> Bytes {
    let name = unit.config.identity.names().next().expect("a unit has a name");
    let block_size = u64::from(unit.config.geometry.block_size);
    let claim = |(number, blocks)| Claim { number, unit: name.clone(), bytes: blocks * block_size };
    let claims: Vec<Claim> = unit.look(|state| state.tokens.living().map(claim).collect());
    allocated(cdb, AllRodTokens::encode(&claims))
}
