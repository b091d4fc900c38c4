//! MODE SENSE and MODE SELECT (SPC-5 6.11 to 6.14).

use bytes::Bytes;

use super::{Context, Plan, Started, Work, allocated, medium};
use crate::cdb::Cdb;
use crate::io::{BlockIo, Extent, Segments};
use crate::mode::{self, BlockDescriptor, ModeHeader, ModeSettings, NoSuchPage, PageValues};
use crate::opcodes::{Field, Operation};
use crate::segments;
use crate::sense::{AdditionalSense, Sense};
use crate::sequence::Sequence;
use crate::unit::{Conditions, LogicalUnit, NexusId, State};

fn header(cdb: &Cdb) -> ModeHeader {
    match cdb.operation() {
        Operation::ModeSense6 | Operation::ModeSelect6 => ModeHeader::Six,
        _ => ModeHeader::Ten,
    }
}

/// MODE SENSE.
pub(super) fn sense(context: &Context<'_>, cdb: &Cdb) -> Result<Bytes, Sense> {
    let (code, subpage) = (cdb.get(Field::PageCode) as u8, cdb.get(Field::SubpageCode) as u8);
    let values = page_values(context.unit, cdb.get(Field::PageControl))?;
    let savable = context.unit.config.saves_settings();
    let pages = mode::encode_pages(code, subpage, values, savable).map_err(|error| match error {
        NoSuchPage::Code => cdb.refuse(Field::PageCode),
        NoSuchPage::Subpage => cdb.refuse(Field::SubpageCode),
    })?;
    let descriptor = match cdb.has(Field::DisableBlockDescriptors) {
        true => Vec::new(),
        false => BlockDescriptor::encode(context.unit.geometry(), cdb.has(Field::LongLbaAccepted)),
    };
    let write_protected =
        context.summary.has(Conditions::WRITE_PROTECTED) || !context.unit.look(|state| state.may_change(context.nexus));
    Ok(allocated(cdb, header(cdb).encode(write_protected, &descriptor, &pages)))
}

/// The values that PC asks for: two bits.
fn page_values(unit: &LogicalUnit, control: u64) -> Result<PageValues, Sense> {
    let values = match control {
        0 => PageValues::Settings(unit.look(|state| state.settings)),
        1 => PageValues::Changeable,
        2 => PageValues::Settings(unit.config.default_settings()),
        _ if !unit.config.saves_settings() => {
            return Err(Sense::illegal(AdditionalSense::SAVING_PARAMETERS_NOT_SUPPORTED));
        }
        _ => PageValues::Settings(unit.look(|state| state.saved)),
    };
    Ok(values)
}

/// MODE SELECT. Pages in a vendor's own format (PF zero) are not taken, nor saved where nobody keeps them.
pub(super) fn select(unit: &LogicalUnit, cdb: &Cdb) -> Result<Plan, Sense> {
    let data_out_length = cdb.get(Field::ParameterListLength) as u32;
    if data_out_length > 0 && !cdb.has(Field::PageFormat) {
        return Err(cdb.refuse(Field::PageFormat));
    }
    if cdb.has(Field::SavePages) && !unit.config.saves_settings() {
        return Err(cdb.refuse(Field::SavePages));
    }
    let work = Work::ModeSelect { header: header(cdb), save: cdb.has(Field::SavePages) };
    Ok(Plan::taking(work, data_out_length))
}

/// Applies the list, all of it or nothing. When the write cache is turned off, what it holds is written before GOOD; what is to be saved is kept. If
/// either goes wrong, the initiator is told, and what it has set holds all the same.
pub(super) fn start_select(
    context: &Context<'_>,
    header: ModeHeader,
    save: bool,
    mut data: Segments,
    wanted: u32,
) -> Result<Started, Sense> {
    if segments::length(&data) < wanted.into() {
        return Err(Sense::illegal(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR));
    }
    segments::truncate(&mut data, wanted.into());
    let list = segments::join(data);
    let geometry = context.unit.geometry();
    // In one: nothing that another nexus sets meanwhile is lost.
    let (flushes, record) = context.unit.change(|state| {
        let before = state.settings;
        let after = mode::decode_list(header, &list, geometry, before)?;
        apply(state, after, context.nexus);
        let record = save.then(|| {
            state.saved = after;
            state.record(mode::RECORD, after.to_kept())
        });
        Ok::<_, Sense>((before.write_cache && !after.write_cache, record))
    })?;
    let requests = [flushes.then_some(BlockIo::Flush), record.map(BlockIo::Keep)].into_iter().flatten();
    Ok(medium::start_sequence(Sequence::Few(requests.collect()), Extent::NONE))
}

fn apply(state: &mut State, after: ModeSettings, by: NexusId) {
    let before = std::mem::replace(&mut state.settings, after);
    if before != after {
        state.post(AdditionalSense::MODE_PARAMETERS_CHANGED, Some(by));
    }
    if before.exception_to_post() != after.exception_to_post()
        && let Some(exception) = after.exception_to_post()
    {
        state.post(exception, None);
    }
}
