//! The rows.

use super::{Amount, CommandDescriptor, Data, Field, FieldPlace, Operation, Rules};
use crate::needs::{
    ASKING, ASKING_OF_PORTS, ASKING_OF_RESERVATIONS, FLUSHING, LOOKING, NOTHING, Needs, READING, REPLACING, RESERVING,
    SETTING, SETTING_PORTS, TELLING, WRITING,
};
use crate::octets::Place;

const fn at(field: Field, byte: u8, bit: u8, bits: u8) -> FieldPlace {
    FieldPlace { field, place: Place { byte, bit, bits }, refused: false }
}

const fn zero(field: Field, byte: u8, bit: u8, bits: u8) -> FieldPlace {
    FieldPlace { field, place: Place { byte, bit, bits }, refused: true }
}

#[expect(clippy::too_many_arguments, reason = "they are the columns of the table")]
const fn row(
    operation: Operation,
    opcode: u8,
    name: &'static str,
    length: u8,
    data: Data,
    rules: Rules,
    needs: Needs,
    fields: &'static [FieldPlace],
) -> CommandDescriptor {
    CommandDescriptor { operation, opcode, service_action: None, name, length, data, rules, needs, fields }
}

const fn action(service_action: u8, row: CommandDescriptor) -> CommandDescriptor {
    CommandDescriptor { service_action: Some(service_action), ..row }
}

const NONE: Rules = Rules::empty();
const READS: Rules = Rules::MEDIUM;
const WRITES: Rules = Rules::MEDIUM.union(Rules::WRITES);
const WRITES_EXACTLY: Rules = WRITES.union(Rules::EXACT);
const WRITES_NOT_READY: Rules = Rules::WRITES;

/// Refused but by a unit that keeps protection information.
const PROTECT: FieldPlace = zero(Field::Protect, 1, 7, 3);
const DPO: FieldPlace = at(Field::DisablePageOut, 1, 4, 1);
const FUA: FieldPlace = at(Field::ForceUnitAccess, 1, 3, 1);
const BYTCHK: FieldPlace = at(Field::ByteCheck, 1, 2, 2);
const LBA_SHORT: FieldPlace = at(Field::LogicalBlockAddress, 2, 7, 32);
const LBA_LONG: FieldPlace = at(Field::LogicalBlockAddress, 2, 7, 64);
const BLOCKS_10: FieldPlace = at(Field::Blocks, 7, 7, 16);
const BLOCKS_12: FieldPlace = at(Field::Blocks, 6, 7, 32);
const BLOCKS_16: FieldPlace = at(Field::Blocks, 10, 7, 32);

const TRANSFER_6: &[FieldPlace] = &[at(Field::LogicalBlockAddress, 1, 4, 21), at(Field::Blocks, 4, 7, 8)];
const TRANSFER_10: &[FieldPlace] = &[LBA_SHORT, BLOCKS_10, FUA, DPO, PROTECT];
const TRANSFER_12: &[FieldPlace] = &[LBA_SHORT, BLOCKS_12, FUA, DPO, PROTECT];
const TRANSFER_16: &[FieldPlace] = &[LBA_LONG, BLOCKS_16, FUA, DPO, PROTECT];
const CHECKED_10: &[FieldPlace] = &[LBA_SHORT, BLOCKS_10, BYTCHK, DPO, PROTECT];
const CHECKED_12: &[FieldPlace] = &[LBA_SHORT, BLOCKS_12, BYTCHK, DPO, PROTECT];
const CHECKED_16: &[FieldPlace] = &[LBA_LONG, BLOCKS_16, BYTCHK, DPO, PROTECT];
const SAME_UNMAP: FieldPlace = at(Field::Unmap, 1, 3, 1);
const SAME_ANCHOR: FieldPlace = zero(Field::Anchor, 1, 4, 1);
const SAME_DATA: FieldPlace = zero(Field::BlockData, 1, 2, 2);
const CACHE_IMMED: FieldPlace = at(Field::Immediate, 1, 1, 1);
const DBD: FieldPlace = at(Field::DisableBlockDescriptors, 1, 3, 1);
const PAGE_CONTROL: FieldPlace = at(Field::PageControl, 2, 7, 2);
const MODE_PAGE: FieldPlace = at(Field::PageCode, 2, 5, 6);
const SUBPAGE: FieldPlace = at(Field::SubpageCode, 3, 7, 8);
const PAGE_FORMAT: FieldPlace = at(Field::PageFormat, 1, 4, 1);
const SAVE_PAGES: FieldPlace = at(Field::SavePages, 1, 0, 1);
const ALLOCATION_6: FieldPlace = at(Field::AllocationLength, 4, 7, 8);
const ALLOCATION_10: FieldPlace = at(Field::AllocationLength, 7, 7, 16);
const ALLOCATION_12: FieldPlace = at(Field::AllocationLength, 6, 7, 32);
const ALLOCATION_16: FieldPlace = at(Field::AllocationLength, 10, 7, 32);
const LIST_10: FieldPlace = at(Field::ParameterListLength, 7, 7, 16);
const LBA_32: FieldPlace = at(Field::LogicalBlockAddress, 12, 7, 64);
const BLOCKS_32: FieldPlace = at(Field::Blocks, 28, 7, 32);
const PROTECT_32: FieldPlace = at(Field::Protect, 10, 7, 3);
const DPO_32: FieldPlace = at(Field::DisablePageOut, 10, 4, 1);
const REFERENCE_TAG: FieldPlace = at(Field::ExpectedReferenceTag, 20, 7, 32);
const APPLICATION_TAG: FieldPlace = at(Field::ExpectedApplicationTag, 24, 7, 16);
const TAG_MASK: FieldPlace = at(Field::ApplicationTagMask, 26, 7, 16);
const TRANSFER_32: &[FieldPlace] = &[
    LBA_32,
    BLOCKS_32,
    at(Field::ForceUnitAccess, 10, 3, 1),
    DPO_32,
    PROTECT_32,
    REFERENCE_TAG,
    APPLICATION_TAG,
    TAG_MASK,
];
const CHECKED_32: &[FieldPlace] =
    &[LBA_32, BLOCKS_32, at(Field::ByteCheck, 10, 2, 2), DPO_32, PROTECT_32, REFERENCE_TAG, APPLICATION_TAG, TAG_MASK];
const SANITIZE: &[FieldPlace] = &[
    at(Field::Immediate, 1, 7, 1),
    zero(Field::ZoneNoReset, 1, 6, 1),
    at(Field::UnrestrictedExit, 1, 5, 1),
    zero(Field::Reserved, 2, 7, 40),
    LIST_10,
];
const RESERVATION_10: &[FieldPlace] = &[
    zero(Field::ThirdParty, 1, 4, 1),
    zero(Field::LongId, 1, 1, 1),
    zero(Field::Extent, 1, 0, 1),
    zero(Field::ParameterListLength, 7, 7, 16),
];
const LIST_10_LONG: FieldPlace = at(Field::ParameterListLength, 5, 7, 32);
const OF_TYPE: &[FieldPlace] = &[zero(Field::Scope, 2, 7, 4), at(Field::ReservationType, 2, 3, 4), LIST_10_LONG];
const LIST_16: FieldPlace = at(Field::ParameterListLength, 10, 7, 32);
const TOKEN: &[FieldPlace] = &[at(Field::ListIdentifier, 6, 7, 32), LIST_16];
const COPY_STATUS_LID1: &[FieldPlace] = &[at(Field::ListIdentifier, 2, 7, 8), ALLOCATION_16];
const COPY_STATUS_LID4: &[FieldPlace] = &[at(Field::ListIdentifier, 2, 7, 32), ALLOCATION_16];
const RESERVATION: &[FieldPlace] = &[zero(Field::ThirdParty, 1, 4, 1), zero(Field::Extent, 1, 0, 1)];

const BLOCKS_IN: Data = Data::In(Amount::Blocks);
const BLOCKS_OUT: Data = Data::Out(Amount::Blocks);
const PARAMETERS_IN: Data = Data::In(Amount::Allocation);
const WRITES_OPTIONALLY: Rules = WRITES.union(Rules::OPTIONAL);
const READS_OPTIONALLY: Rules = READS.union(Rules::OPTIONAL);
const PARAMETERS_FORMAT: Data = Data::Out(Amount::FormatList);
const PARAMETERS_OUT: Data = Data::Out(Amount::ParameterList);

use Operation as Op;

/// Every command, in the order of the operation codes.
#[rustfmt::skip]
pub const COMMANDS: &[CommandDescriptor] = &[
    row(Op::TestUnitReady, 0x00, "TEST UNIT READY", 6, Data::None, READS, LOOKING, &[]),
    row(Op::RequestSense, 0x03, "REQUEST SENSE", 6, PARAMETERS_IN, Rules::QUIET, NOTHING,
        &[at(Field::DescriptorFormat, 1, 0, 1), ALLOCATION_6]),
    row(Op::FormatUnit, 0x04, "FORMAT UNIT", 6, PARAMETERS_FORMAT, WRITES, WRITING,
        &[at(Field::FormatProtection, 1, 7, 2), at(Field::LongList, 1, 5, 1), at(Field::FormatData, 1, 4, 1),
          at(Field::CompleteList, 1, 3, 1), zero(Field::DefectListFormat, 1, 2, 3), zero(Field::FastFormat, 4, 1, 2)]),
    row(Op::Read6, 0x08, "READ (6)", 6, BLOCKS_IN, READS, READING, TRANSFER_6),
    row(Op::Write6, 0x0a, "WRITE (6)", 6, BLOCKS_OUT, WRITES, WRITING, TRANSFER_6),
    row(Op::Inquiry, 0x12, "INQUIRY", 6, PARAMETERS_IN, Rules::QUIET, NOTHING,
        &[at(Field::EnableVitalProductData, 1, 0, 1), zero(Field::CommandSupportData, 1, 1, 1),
          at(Field::PageCode, 2, 7, 8), at(Field::AllocationLength, 3, 7, 16)]),
    row(Op::ModeSelect6, 0x15, "MODE SELECT (6)", 6, PARAMETERS_OUT, NONE, SETTING,
        &[PAGE_FORMAT, SAVE_PAGES, at(Field::ParameterListLength, 4, 7, 8)]),
    row(Op::Reserve6, 0x16, "RESERVE (6)", 6, Data::None, NONE, RESERVING, RESERVATION),
    row(Op::Release6, 0x17, "RELEASE (6)", 6, Data::None, NONE, RESERVING, RESERVATION),
    row(Op::ModeSense6, 0x1a, "MODE SENSE (6)", 6, PARAMETERS_IN, NONE, ASKING,
        &[DBD, PAGE_CONTROL, MODE_PAGE, SUBPAGE, ALLOCATION_6]),
    row(Op::StartStopUnit, 0x1b, "START STOP UNIT", 6, Data::None, NONE, WRITING,
        &[at(Field::Immediate, 1, 0, 1), at(Field::PowerCondition, 4, 7, 4), at(Field::NoFlush, 4, 2, 1),
          at(Field::LoadEject, 4, 1, 1), at(Field::Start, 4, 0, 1)]),
    row(Op::PreventAllowMediumRemoval, 0x1e, "PREVENT ALLOW MEDIUM REMOVAL", 6, Data::None, Rules::OPTIONAL, WRITING,
        &[at(Field::Prevent, 4, 1, 2)]),
    row(Op::ReadCapacity10, 0x25, "READ CAPACITY (10)", 10, Data::In(Amount::Fixed(8)), READS, LOOKING, &[]),
    row(Op::Read10, 0x28, "READ (10)", 10, BLOCKS_IN, READS, READING, TRANSFER_10),
    row(Op::Write10, 0x2a, "WRITE (10)", 10, BLOCKS_OUT, WRITES, WRITING, TRANSFER_10),
    row(Op::WriteAndVerify10, 0x2e, "WRITE AND VERIFY (10)", 10, BLOCKS_OUT, WRITES, WRITING, CHECKED_10),
    row(Op::Verify10, 0x2f, "VERIFY (10)", 10, Data::Out(Amount::Checked), READS, READING, CHECKED_10),
    row(Op::PreFetch10, 0x34, "PRE-FETCH (10)", 10, Data::None, READS, READING, &[LBA_SHORT, BLOCKS_10, CACHE_IMMED]),
    row(Op::SynchronizeCache10, 0x35, "SYNCHRONIZE CACHE (10)", 10, Data::None, READS, FLUSHING,
        &[LBA_SHORT, BLOCKS_10, CACHE_IMMED]),
    row(Op::ReadDefectData10, 0x37, "READ DEFECT DATA (10)", 10, PARAMETERS_IN, READS, READING,
        &[at(Field::DefectLists, 2, 4, 2), at(Field::DefectListFormat, 2, 2, 3), ALLOCATION_10]),
    row(Op::WriteSame10, 0x41, "WRITE SAME (10)", 10, Data::Out(Amount::OneBlock), WRITES_EXACTLY, WRITING,
        &[LBA_SHORT, BLOCKS_10, SAME_UNMAP, SAME_ANCHOR, SAME_DATA, PROTECT]),
    row(Op::Unmap, 0x42, "UNMAP", 10, PARAMETERS_OUT, WRITES_OPTIONALLY, WRITING,
        &[zero(Field::Anchor, 1, 0, 1), LIST_10]),
    action(0x01, row(Op::SanitizeOverwrite, 0x48, "SANITIZE, OVERWRITE", 10, PARAMETERS_OUT, WRITES_NOT_READY, WRITING, SANITIZE)),
    action(0x02, row(Op::SanitizeBlockErase, 0x48, "SANITIZE, BLOCK ERASE", 10, PARAMETERS_OUT, WRITES_NOT_READY, WRITING, SANITIZE)),
    action(0x03, row(Op::SanitizeCryptographicErase, 0x48, "SANITIZE, CRYPTOGRAPHIC ERASE", 10, PARAMETERS_OUT,
        WRITES_NOT_READY, WRITING, SANITIZE)),
    action(0x1f, row(Op::SanitizeExitFailureMode, 0x48, "SANITIZE, EXIT FAILURE MODE", 10, PARAMETERS_OUT, NONE, WRITING, SANITIZE)),
    row(Op::LogSelect, 0x4c, "LOG SELECT", 10, PARAMETERS_OUT, NONE, SETTING,
        &[at(Field::ParameterCodeReset, 1, 1, 1), zero(Field::SavePages, 1, 0, 1), PAGE_CONTROL, MODE_PAGE, SUBPAGE, LIST_10]),
    row(Op::LogSense, 0x4d, "LOG SENSE", 10, PARAMETERS_IN, NONE, TELLING,
        &[zero(Field::SavePages, 1, 0, 1), PAGE_CONTROL, MODE_PAGE, SUBPAGE, at(Field::ParameterPointer, 5, 7, 16),
          ALLOCATION_10]),
    row(Op::ModeSelect10, 0x55, "MODE SELECT (10)", 10, PARAMETERS_OUT, NONE, SETTING, &[PAGE_FORMAT, SAVE_PAGES, LIST_10]),
    row(Op::Reserve10, 0x56, "RESERVE (10)", 10, Data::None, NONE, RESERVING, RESERVATION_10),
    row(Op::Release10, 0x57, "RELEASE (10)", 10, Data::None, NONE, RESERVING, RESERVATION_10),
    row(Op::ModeSense10, 0x5a, "MODE SENSE (10)", 10, PARAMETERS_IN, NONE, ASKING,
        &[at(Field::LongLbaAccepted, 1, 4, 1), DBD, PAGE_CONTROL, MODE_PAGE, SUBPAGE, ALLOCATION_10]),
    action(0x00, row(Op::PersistReadKeys, 0x5e, "PERSISTENT RESERVE IN, READ KEYS", 10, PARAMETERS_IN, NONE, ASKING_OF_RESERVATIONS,
        &[ALLOCATION_10])),
    action(0x01, row(Op::PersistReadReservation, 0x5e, "PERSISTENT RESERVE IN, READ RESERVATION", 10, PARAMETERS_IN, NONE, ASKING_OF_RESERVATIONS,
        &[ALLOCATION_10])),
    action(0x02, row(Op::PersistReportCapabilities, 0x5e, "PERSISTENT RESERVE IN, REPORT CAPABILITIES", 10, PARAMETERS_IN, NONE,
        ASKING_OF_RESERVATIONS, &[ALLOCATION_10])),
    action(0x03, row(Op::PersistReadFullStatus, 0x5e, "PERSISTENT RESERVE IN, READ FULL STATUS", 10, PARAMETERS_IN, NONE, ASKING_OF_RESERVATIONS,
        &[ALLOCATION_10])),
    action(0x00, row(Op::PersistRegister, 0x5f, "PERSISTENT RESERVE OUT, REGISTER", 10, PARAMETERS_OUT, NONE, RESERVING,
        &[LIST_10_LONG])),
    action(0x01, row(Op::PersistReserve, 0x5f, "PERSISTENT RESERVE OUT, RESERVE", 10, PARAMETERS_OUT, NONE, RESERVING, OF_TYPE)),
    action(0x02, row(Op::PersistRelease, 0x5f, "PERSISTENT RESERVE OUT, RELEASE", 10, PARAMETERS_OUT, NONE, RESERVING, OF_TYPE)),
    action(0x03, row(Op::PersistClear, 0x5f, "PERSISTENT RESERVE OUT, CLEAR", 10, PARAMETERS_OUT, NONE, RESERVING, &[LIST_10_LONG])),
    action(0x04, row(Op::PersistPreempt, 0x5f, "PERSISTENT RESERVE OUT, PREEMPT", 10, PARAMETERS_OUT, NONE, RESERVING, OF_TYPE)),
    action(0x05, row(Op::PersistPreemptAndAbort, 0x5f, "PERSISTENT RESERVE OUT, PREEMPT AND ABORT", 10, PARAMETERS_OUT, NONE,
        RESERVING, OF_TYPE)),
    action(0x06, row(Op::PersistRegisterAndIgnoreExistingKey, 0x5f, "PERSISTENT RESERVE OUT, REGISTER AND IGNORE EXISTING KEY", 10,
        PARAMETERS_OUT, NONE, RESERVING, &[LIST_10_LONG])),
    action(0x07, row(Op::PersistRegisterAndMove, 0x5f, "PERSISTENT RESERVE OUT, REGISTER AND MOVE", 10, PARAMETERS_OUT, NONE, RESERVING,
        &[LIST_10_LONG])),
    action(0x08, row(Op::PersistReplaceLostReservation, 0x5f, "PERSISTENT RESERVE OUT, REPLACE LOST RESERVATION", 10, PARAMETERS_OUT, NONE,
        REPLACING, OF_TYPE)),
    action(0x09, row(Op::Read32, 0x7f, "READ (32)", 32, BLOCKS_IN, READS_OPTIONALLY, READING, TRANSFER_32)),
    action(0x0a, row(Op::Verify32, 0x7f, "VERIFY (32)", 32, Data::Out(Amount::Checked), READS_OPTIONALLY, READING, CHECKED_32)),
    action(0x0b, row(Op::Write32, 0x7f, "WRITE (32)", 32, BLOCKS_OUT, WRITES_OPTIONALLY, WRITING, TRANSFER_32)),
    action(0x0c, row(Op::WriteAndVerify32, 0x7f, "WRITE AND VERIFY (32)", 32, BLOCKS_OUT, WRITES_OPTIONALLY, WRITING, CHECKED_32)),
    action(0x0d, row(Op::WriteSame32, 0x7f, "WRITE SAME (32)", 32, Data::Out(Amount::OneBlock),
        WRITES_EXACTLY.union(Rules::OPTIONAL), WRITING,
        &[LBA_32, BLOCKS_32, at(Field::Unmap, 10, 3, 1), at(Field::NoDataOutBuffer, 10, 0, 1),
          zero(Field::Anchor, 10, 4, 1), zero(Field::BlockData, 10, 2, 2), PROTECT_32, REFERENCE_TAG, APPLICATION_TAG,
          TAG_MASK])),
    action(0x12, row(Op::GetLbaStatus32, 0x7f, "GET LBA STATUS (32)", 32, PARAMETERS_IN, READS_OPTIONALLY, READING,
        &[at(Field::ReportType, 10, 7, 8), LBA_32, at(Field::AllocationLength, 28, 7, 32)])),
    action(0x00, row(Op::ExtendedCopyLid1, 0x83, "EXTENDED COPY (LID1)", 16, PARAMETERS_OUT, Rules::OPTIONAL, FLUSHING, &[LIST_16])),
    action(0x01, row(Op::ExtendedCopyLid4, 0x83, "EXTENDED COPY (LID4)", 16, PARAMETERS_OUT, Rules::OPTIONAL, FLUSHING, &[LIST_16])),
    action(0x10, row(Op::PopulateToken, 0x83, "POPULATE TOKEN", 16, PARAMETERS_OUT, READS_OPTIONALLY, READING, TOKEN)),
    action(0x11, row(Op::WriteUsingToken, 0x83, "WRITE USING TOKEN", 16, PARAMETERS_OUT, WRITES_OPTIONALLY, WRITING, TOKEN)),
    action(0x1c, row(Op::CopyOperationAbort, 0x83, "COPY OPERATION ABORT", 16, Data::None, Rules::OPTIONAL, FLUSHING,
        &[at(Field::ListIdentifier, 2, 7, 32)])),
    action(0x00, row(Op::ReceiveCopyStatusLid1, 0x84, "RECEIVE COPY STATUS (LID1)", 16, PARAMETERS_IN, Rules::OPTIONAL, READING,
        COPY_STATUS_LID1)),
    action(0x01, row(Op::ReceiveCopyDataLid1, 0x84, "RECEIVE COPY DATA (LID1)", 16, PARAMETERS_IN, Rules::OPTIONAL, READING,
        COPY_STATUS_LID1)),
    action(0x03, row(Op::ReceiveCopyOperatingParameters, 0x84, "RECEIVE COPY OPERATING PARAMETERS", 16, PARAMETERS_IN,
        Rules::OPTIONAL, READING, &[ALLOCATION_16])),
    action(0x04, row(Op::ReceiveCopyFailureDetails, 0x84, "RECEIVE COPY FAILURE DETAILS (LID1)", 16, PARAMETERS_IN,
        Rules::OPTIONAL, READING, COPY_STATUS_LID1)),
    action(0x05, row(Op::ReceiveCopyStatusLid4, 0x84, "RECEIVE COPY STATUS (LID4)", 16, PARAMETERS_IN, Rules::OPTIONAL, READING,
        COPY_STATUS_LID4)),
    action(0x07, row(Op::ReceiveRodTokenInformation, 0x84, "RECEIVE ROD TOKEN INFORMATION", 16, PARAMETERS_IN,
        Rules::OPTIONAL, READING, COPY_STATUS_LID4)),
    action(0x08, row(Op::ReportAllRodTokens, 0x84, "REPORT ALL ROD TOKENS", 16, PARAMETERS_IN, Rules::OPTIONAL, READING, &[ALLOCATION_16])),
    row(Op::Read16, 0x88, "READ (16)", 16, BLOCKS_IN, READS, READING, TRANSFER_16),
    row(Op::CompareAndWrite, 0x89, "COMPARE AND WRITE", 16, Data::Out(Amount::BlockPairs), WRITES_EXACTLY.union(Rules::OPTIONAL), WRITING,
        &[LBA_LONG, at(Field::Blocks, 13, 7, 8), FUA, DPO, PROTECT]),
    row(Op::Write16, 0x8a, "WRITE (16)", 16, BLOCKS_OUT, WRITES, WRITING, TRANSFER_16),
    row(Op::OrWrite16, 0x8b, "ORWRITE (16)", 16, BLOCKS_OUT, WRITES_OPTIONALLY, WRITING,
        &[LBA_LONG, BLOCKS_16, FUA, DPO, PROTECT]),
    row(Op::WriteAndVerify16, 0x8e, "WRITE AND VERIFY (16)", 16, BLOCKS_OUT, WRITES, WRITING, CHECKED_16),
    row(Op::Verify16, 0x8f, "VERIFY (16)", 16, Data::Out(Amount::Checked), READS, READING, CHECKED_16),
    row(Op::PreFetch16, 0x90, "PRE-FETCH (16)", 16, Data::None, READS, READING, &[LBA_LONG, BLOCKS_16, CACHE_IMMED]),
    row(Op::SynchronizeCache16, 0x91, "SYNCHRONIZE CACHE (16)", 16, Data::None, READS, FLUSHING,
        &[LBA_LONG, BLOCKS_16, CACHE_IMMED]),
    row(Op::WriteSame16, 0x93, "WRITE SAME (16)", 16, Data::Out(Amount::OneBlock), WRITES_EXACTLY, WRITING,
        &[LBA_LONG, BLOCKS_16, SAME_UNMAP, at(Field::NoDataOutBuffer, 1, 0, 1), SAME_ANCHOR, SAME_DATA, PROTECT]),
    row(Op::WriteAtomic16, 0x9c, "WRITE ATOMIC (16)", 16, BLOCKS_OUT, WRITES_EXACTLY.union(Rules::OPTIONAL), WRITING,
        &[LBA_LONG, zero(Field::AtomicBoundary, 10, 7, 16), at(Field::Blocks, 12, 7, 16), FUA, DPO, PROTECT]),
    action(0x10, row(Op::ReadCapacity16, 0x9e, "READ CAPACITY (16)", 16, PARAMETERS_IN, READS, LOOKING,
        &[ALLOCATION_16])),
    action(0x12, row(Op::GetLbaStatus16, 0x9e, "GET LBA STATUS (16)", 16, PARAMETERS_IN, READS_OPTIONALLY, READING,
        &[LBA_LONG, at(Field::AllocationLength, 10, 7, 32), at(Field::ReportType, 14, 7, 8)])),
    action(0x13, row(Op::ReportReferrals, 0x9e, "REPORT REFERRALS", 16, PARAMETERS_IN, READS, LOOKING,
        &[LBA_LONG, ALLOCATION_16, at(Field::OneSegment, 14, 0, 1)])),
    row(Op::ReportLuns, 0xa0, "REPORT LUNS", 12, PARAMETERS_IN, Rules::QUIET, NOTHING,
        &[at(Field::SelectReport, 2, 7, 8), ALLOCATION_12]),
    action(0x0a, row(Op::ReportTargetPortGroups, 0xa3, "REPORT TARGET PORT GROUPS", 12, PARAMETERS_IN, NONE, ASKING_OF_PORTS,
        &[at(Field::ParameterDataFormat, 1, 7, 3), ALLOCATION_12])),
    action(0x0c, row(Op::ReportSupportedOperationCodes, 0xa3, "REPORT SUPPORTED OPERATION CODES", 12, PARAMETERS_IN, NONE, ASKING,
        &[at(Field::ReturnTimeouts, 2, 7, 1), at(Field::ReportingOptions, 2, 2, 3),
          at(Field::RequestedOperationCode, 3, 7, 8), at(Field::RequestedServiceAction, 4, 7, 16), ALLOCATION_12])),
    action(0x0d, row(Op::ReportSupportedTaskManagementFunctions, 0xa3, "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", 12,
        PARAMETERS_IN, NONE, ASKING, &[at(Field::ReturnExtended, 2, 7, 1), ALLOCATION_12])),
    action(0x0f, row(Op::ReportTimestamp, 0xa3, "REPORT TIMESTAMP", 12, PARAMETERS_IN, NONE, TELLING.union(Needs::KNOWN), &[ALLOCATION_12])),
    action(0x0a, row(Op::SetTargetPortGroups, 0xa4, "SET TARGET PORT GROUPS", 12, PARAMETERS_OUT, NONE, SETTING_PORTS,
        &[at(Field::ParameterListLength, 6, 7, 32)])),
    action(0x0f, row(Op::SetTimestamp, 0xa4, "SET TIMESTAMP", 12, PARAMETERS_OUT, NONE, SETTING,
        &[at(Field::ParameterListLength, 6, 7, 32)])),
    row(Op::Read12, 0xa8, "READ (12)", 12, BLOCKS_IN, READS, READING, TRANSFER_12),
    row(Op::Write12, 0xaa, "WRITE (12)", 12, BLOCKS_OUT, WRITES, WRITING, TRANSFER_12),
    row(Op::WriteAndVerify12, 0xae, "WRITE AND VERIFY (12)", 12, BLOCKS_OUT, WRITES, WRITING, CHECKED_12),
    row(Op::Verify12, 0xaf, "VERIFY (12)", 12, Data::Out(Amount::Checked), READS, READING, CHECKED_12),
    row(Op::ReadDefectData12, 0xb7, "READ DEFECT DATA (12)", 12, PARAMETERS_IN, READS, READING,
        &[at(Field::DefectLists, 1, 4, 2), at(Field::DefectListFormat, 1, 2, 3), ALLOCATION_12]),
];
