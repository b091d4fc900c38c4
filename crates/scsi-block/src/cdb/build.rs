//! Builders: one constructor for each command that an initiator sends, with parameters as wide as the fields.

use super::Cdb;
use crate::opcodes::{Field, Operation};
use crate::protection::ProtectionType;
use crate::reservations::{OutAction, ReservationType};

impl Cdb {
    /// For fields that the command has and values whose type fits them.
    fn with(self, field: Field, value: impl Into<u64>) -> Self {
        self.try_with(field, value.into()).expect("a builder sets fields that its command has, within their width")
    }

    fn transfer(operation: Operation, lba: impl Into<u64>, blocks: impl Into<u64>) -> Self {
        Self::new(operation).with(Field::LogicalBlockAddress, lba).with(Field::Blocks, blocks)
    }

    /// Sets FUA: a write is durable before GOOD, a read comes from the medium.
    ///
    /// # Panics
    /// The command has no FUA bit; see [`try_with`](Self::try_with) for a form that does not.
    #[must_use]
    pub fn with_force_unit_access(self) -> Self {
        self.with(Field::ForceUnitAccess, true)
    }

    /// TEST UNIT READY.
    pub fn test_unit_ready() -> Self {
        Self::new(Operation::TestUnitReady)
    }

    /// REQUEST SENSE in fixed or descriptor format.
    pub fn request_sense(descriptor: bool, allocation_length: u8) -> Self {
        Self::new(Operation::RequestSense)
            .with(Field::DescriptorFormat, descriptor)
            .with(Field::AllocationLength, allocation_length)
    }

    /// INQUIRY for the standard data.
    pub fn inquiry(allocation_length: u16) -> Self {
        Self::new(Operation::Inquiry).with(Field::AllocationLength, allocation_length)
    }

    /// INQUIRY for a page of vital product data.
    pub fn inquiry_page(page: u8, allocation_length: u16) -> Self {
        Self::inquiry(allocation_length).with(Field::EnableVitalProductData, true).with(Field::PageCode, page)
    }

    /// REPORT LUNS; `select_report` 0 leaves well-known units out, 2 has all.
    pub fn report_luns(select_report: u8, allocation_length: u32) -> Self {
        Self::new(Operation::ReportLuns)
            .with(Field::SelectReport, select_report)
            .with(Field::AllocationLength, allocation_length)
    }

    /// READ CAPACITY (10).
    pub fn read_capacity_10() -> Self {
        Self::new(Operation::ReadCapacity10)
    }

    /// READ CAPACITY (16).
    pub fn read_capacity_16(allocation_length: u32) -> Self {
        Self::new(Operation::ReadCapacity16).with(Field::AllocationLength, allocation_length)
    }

    /// READ (10).
    pub fn read_10(lba: u32, blocks: u16) -> Self {
        Self::transfer(Operation::Read10, lba, blocks)
    }

    /// READ (12).
    pub fn read_12(lba: u32, blocks: u32) -> Self {
        Self::transfer(Operation::Read12, lba, blocks)
    }

    /// READ (16).
    pub fn read_16(lba: u64, blocks: u32) -> Self {
        Self::transfer(Operation::Read16, lba, blocks)
    }

    /// WRITE (10).
    pub fn write_10(lba: u32, blocks: u16) -> Self {
        Self::transfer(Operation::Write10, lba, blocks)
    }

    /// WRITE (12).
    pub fn write_12(lba: u32, blocks: u32) -> Self {
        Self::transfer(Operation::Write12, lba, blocks)
    }

    /// WRITE (16).
    pub fn write_16(lba: u64, blocks: u32) -> Self {
        Self::transfer(Operation::Write16, lba, blocks)
    }

    /// WRITE AND VERIFY (16), byte by byte if `compare`, else only that the medium can be read.
    pub fn write_and_verify_16(lba: u64, blocks: u32, compare: bool) -> Self {
        Self::transfer(Operation::WriteAndVerify16, lba, blocks).with(Field::ByteCheck, compare)
    }

    /// VERIFY (16), with data to compare if `compare`, else only that the medium can be read.
    pub fn verify_16(lba: u64, blocks: u32, compare: bool) -> Self {
        Self::transfer(Operation::Verify16, lba, blocks).with(Field::ByteCheck, compare)
    }

    /// COMPARE AND WRITE: `blocks` to compare, then as many to write.
    pub fn compare_and_write(lba: u64, blocks: u8) -> Self {
        Self::transfer(Operation::CompareAndWrite, lba, blocks)
    }

    /// SYNCHRONIZE CACHE (10) of the whole medium.
    pub fn synchronize_cache_10() -> Self {
        Self::new(Operation::SynchronizeCache10)
    }

    /// SYNCHRONIZE CACHE (10) of the whole medium that is answered before it is done (IMMED).
    pub fn synchronize_cache_immediately() -> Self {
        Self::synchronize_cache_10().with(Field::Immediate, true)
    }

    /// SYNCHRONIZE CACHE (16); 0 blocks is to the end of the medium.
    pub fn synchronize_cache_16(lba: u64, blocks: u32) -> Self {
        Self::transfer(Operation::SynchronizeCache16, lba, blocks)
    }

    /// WRITE SAME (16) with a block of data.
    pub fn write_same_16(lba: u64, blocks: u32, unmap: bool) -> Self {
        Self::transfer(Operation::WriteSame16, lba, blocks).with(Field::Unmap, unmap)
    }

    /// WRITE SAME (16) of zeros, without data.
    pub fn write_zeroes_16(lba: u64, blocks: u32, unmap: bool) -> Self {
        Self::write_same_16(lba, blocks, unmap).with(Field::NoDataOutBuffer, true)
    }

    /// UNMAP, with the list that [`UnmapList::encode`](crate::parameters::UnmapList::encode) builds.
    pub fn unmap(parameter_list_length: u16) -> Self {
        Self::new(Operation::Unmap).with(Field::ParameterListLength, parameter_list_length)
    }

    /// ORWRITE (16): ones that are there stay.
    pub fn or_write_16(lba: u64, blocks: u32) -> Self {
        Self::transfer(Operation::OrWrite16, lba, blocks)
    }

    /// WRITE ATOMIC (16), without an atomic boundary.
    pub fn write_atomic_16(lba: u64, blocks: u16) -> Self {
        Self::transfer(Operation::WriteAtomic16, lba, blocks)
    }

    /// PRE-FETCH (16); 0 blocks is to the end of the medium.
    pub fn pre_fetch_16(lba: u64, blocks: u32, immediate: bool) -> Self {
        Self::transfer(Operation::PreFetch16, lba, blocks).with(Field::Immediate, immediate)
    }

    /// GET LBA STATUS (16) from a block on.
    pub fn get_lba_status_16(lba: u64, allocation_length: u32) -> Self {
        Self::new(Operation::GetLbaStatus16)
            .with(Field::LogicalBlockAddress, lba)
            .with(Field::AllocationLength, allocation_length)
    }

    /// READ DEFECT DATA (12) of both lists, in long block format.
    pub fn read_defect_data_12(allocation_length: u32) -> Self {
        Self::new(Operation::ReadDefectData12)
            .with(Field::DefectLists, 3u8)
            .with(Field::DefectListFormat, 3u8)
            .with(Field::AllocationLength, allocation_length)
    }

    /// PREVENT ALLOW MEDIUM REMOVAL.
    pub fn prevent_allow_medium_removal(prevent: bool) -> Self {
        Self::new(Operation::PreventAllowMediumRemoval).with(Field::Prevent, prevent)
    }

    /// START STOP UNIT that loads the medium or ejects it.
    pub fn load_eject(load: bool) -> Self {
        Self::start_stop_unit(load).with(Field::LoadEject, true)
    }

    /// FORMAT UNIT to a type of protection information, with the parameter list of four bytes that
    /// [`format_list`](crate::parameters::format_list) builds.
    pub fn format_unit(protection: Option<ProtectionType>) -> Self {
        let (information, _) = protection.map_or((0, 0), ProtectionType::format_fields);
        Self::new(Operation::FormatUnit).with(Field::FormatProtection, information).with(Field::FormatData, true)
    }

    /// SANITIZE, OVERWRITE, with the list that [`OverwriteList::encode`](crate::parameters::OverwriteList::encode) builds. It may be answered
    /// before it is done if `immediate`.
    pub fn sanitize_overwrite(immediate: bool, parameter_list_length: u16) -> Self {
        Self::new(Operation::SanitizeOverwrite)
            .with(Field::Immediate, immediate)
            .with(Field::ParameterListLength, parameter_list_length)
    }

    /// SANITIZE, BLOCK ERASE.
    pub fn sanitize_block_erase(immediate: bool) -> Self {
        Self::new(Operation::SanitizeBlockErase).with(Field::Immediate, immediate)
    }

    /// SANITIZE, CRYPTOGRAPHIC ERASE.
    pub fn sanitize_cryptographic_erase(immediate: bool) -> Self {
        Self::new(Operation::SanitizeCryptographicErase).with(Field::Immediate, immediate)
    }

    /// SANITIZE, EXIT FAILURE MODE.
    pub fn sanitize_exit_failure_mode() -> Self {
        Self::new(Operation::SanitizeExitFailureMode)
    }

    /// EXTENDED COPY (LID1), with the list that [`CopyList::encode_lid1`](crate::copy::CopyList::encode_lid1) builds.
    pub fn extended_copy_lid1(parameter_list_length: u32) -> Self {
        Self::new(Operation::ExtendedCopyLid1).with(Field::ParameterListLength, parameter_list_length)
    }

    /// EXTENDED COPY (LID4), with the list that [`CopyList::encode_lid4`](crate::copy::CopyList::encode_lid4) builds.
    pub fn extended_copy_lid4(parameter_list_length: u32) -> Self {
        Self::new(Operation::ExtendedCopyLid4).with(Field::ParameterListLength, parameter_list_length)
    }

    /// POPULATE TOKEN, with the list that [`PopulateTokenList::encode`](crate::copy::PopulateTokenList::encode) builds.
    pub fn populate_token(list_identifier: u32, parameter_list_length: u32) -> Self {
        Self::new(Operation::PopulateToken)
            .with(Field::ListIdentifier, list_identifier)
            .with(Field::ParameterListLength, parameter_list_length)
    }

    /// WRITE USING TOKEN, with the list that [`WriteUsingTokenList::encode`](crate::copy::WriteUsingTokenList::encode) builds.
    pub fn write_using_token(list_identifier: u32, parameter_list_length: u32) -> Self {
        Self::new(Operation::WriteUsingToken)
            .with(Field::ListIdentifier, list_identifier)
            .with(Field::ParameterListLength, parameter_list_length)
    }

    /// RECEIVE ROD TOKEN INFORMATION.
    pub fn receive_rod_token_information(list_identifier: u32, allocation_length: u32) -> Self {
        Self::receive_copy(Operation::ReceiveRodTokenInformation, list_identifier, allocation_length)
    }

    /// REPORT ALL ROD TOKENS.
    pub fn report_all_rod_tokens(allocation_length: u32) -> Self {
        Self::new(Operation::ReportAllRodTokens).with(Field::AllocationLength, allocation_length)
    }

    /// COPY OPERATION ABORT.
    pub fn copy_operation_abort(list_identifier: u32) -> Self {
        Self::new(Operation::CopyOperationAbort).with(Field::ListIdentifier, list_identifier)
    }

    /// RECEIVE COPY STATUS (LID1).
    pub fn receive_copy_status_lid1(list_identifier: u8, allocation_length: u32) -> Self {
        Self::receive_copy(Operation::ReceiveCopyStatusLid1, list_identifier, allocation_length)
    }

    /// RECEIVE COPY STATUS (LID4).
    pub fn receive_copy_status_lid4(list_identifier: u32, allocation_length: u32) -> Self {
        Self::receive_copy(Operation::ReceiveCopyStatusLid4, list_identifier, allocation_length)
    }

    /// RECEIVE COPY DATA (LID1).
    pub fn receive_copy_data(list_identifier: u8, allocation_length: u32) -> Self {
        Self::receive_copy(Operation::ReceiveCopyDataLid1, list_identifier, allocation_length)
    }

    /// RECEIVE COPY FAILURE DETAILS (LID1).
    pub fn receive_copy_failure_details(list_identifier: u8, allocation_length: u32) -> Self {
        Self::receive_copy(Operation::ReceiveCopyFailureDetails, list_identifier, allocation_length)
    }

    /// RECEIVE COPY OPERATING PARAMETERS.
    pub fn receive_copy_operating_parameters(allocation_length: u32) -> Self {
        Self::new(Operation::ReceiveCopyOperatingParameters).with(Field::AllocationLength, allocation_length)
    }

    fn receive_copy(operation: Operation, list_identifier: impl Into<u64>, allocation_length: u32) -> Self {
        Self::new(operation)
            .with(Field::ListIdentifier, list_identifier)
            .with(Field::AllocationLength, allocation_length)
    }

    /// MODE SENSE (6) of a page; `control` 0 current, 1 changeable, 2 default, 3 saved values.
    ///
    /// # Panics
    /// `control` is above 3 or `page` above 3Fh.
    pub fn mode_sense_6(control: u8, page: u8, subpage: u8, allocation_length: u8) -> Self {
        Self::mode_sense(Operation::ModeSense6, control, page, subpage).with(Field::AllocationLength, allocation_length)
    }

    /// MODE SENSE (10), as [`mode_sense_6`](Self::mode_sense_6).
    ///
    /// # Panics
    /// `control` is above 3 or `page` above 3Fh.
    pub fn mode_sense_10(control: u8, page: u8, subpage: u8, allocation_length: u16) -> Self {
        Self::mode_sense(Operation::ModeSense10, control, page, subpage)
            .with(Field::AllocationLength, allocation_length)
    }

    fn mode_sense(operation: Operation, control: u8, page: u8, subpage: u8) -> Self {
        Self::new(operation)
            .with(Field::PageControl, control)
            .with(Field::PageCode, page)
            .with(Field::SubpageCode, subpage)
    }

    /// MODE SELECT (6); `save` keeps the values over a reset.
    pub fn mode_select_6(save: bool, parameter_list_length: u8) -> Self {
        Self::mode_select(Operation::ModeSelect6, save).with(Field::ParameterListLength, parameter_list_length)
    }

    /// MODE SELECT (10), as [`mode_select_6`](Self::mode_select_6).
    pub fn mode_select_10(save: bool, parameter_list_length: u16) -> Self {
        Self::mode_select(Operation::ModeSelect10, save).with(Field::ParameterListLength, parameter_list_length)
    }

    fn mode_select(operation: Operation, save: bool) -> Self {
        Self::new(operation).with(Field::PageFormat, true).with(Field::SavePages, save)
    }

    /// LOG SENSE of a page's counts so far, from the first parameter on.
    ///
    /// # Panics
    /// `page` is above 3Fh.
    pub fn log_sense(page: u8, subpage: u8, allocation_length: u16) -> Self {
        const CUMULATIVE: u8 = 1;
        Self::new(Operation::LogSense)
            .with(Field::PageControl, CUMULATIVE)
            .with(Field::PageCode, page)
            .with(Field::SubpageCode, subpage)
            .with(Field::AllocationLength, allocation_length)
    }

    /// LOG SELECT that lets the counters of a page begin again at zero; page 0 is all of them.
    ///
    /// # Panics
    /// `page` is above 3Fh.
    pub fn log_reset(page: u8) -> Self {
        const CUMULATIVE: u8 = 1;
        Self::new(Operation::LogSelect)
            .with(Field::ParameterCodeReset, true)
            .with(Field::PageControl, CUMULATIVE)
            .with(Field::PageCode, page)
    }

    /// START STOP UNIT, to the active or the stopped power condition.
    pub fn start_stop_unit(start: bool) -> Self {
        Self::new(Operation::StartStopUnit).with(Field::Start, start)
    }

    /// RESERVE (6) of the whole unit.
    pub fn reserve_6() -> Self {
        Self::new(Operation::Reserve6)
    }

    /// RELEASE (6) of the whole unit.
    pub fn release_6() -> Self {
        Self::new(Operation::Release6)
    }

    /// RESERVE (10) of the whole unit.
    pub fn reserve_10() -> Self {
        Self::new(Operation::Reserve10)
    }

    /// RELEASE (10) of the whole unit.
    pub fn release_10() -> Self {
        Self::new(Operation::Release10)
    }

    /// PERSISTENT RESERVE IN, READ KEYS.
    pub fn persist_read_keys(allocation_length: u16) -> Self {
        Self::new(Operation::PersistReadKeys).with(Field::AllocationLength, allocation_length)
    }

    /// PERSISTENT RESERVE IN, READ RESERVATION.
    pub fn persist_read_reservation(allocation_length: u16) -> Self {
        Self::new(Operation::PersistReadReservation).with(Field::AllocationLength, allocation_length)
    }

    /// PERSISTENT RESERVE IN, REPORT CAPABILITIES.
    pub fn persist_report_capabilities(allocation_length: u16) -> Self {
        Self::new(Operation::PersistReportCapabilities).with(Field::AllocationLength, allocation_length)
    }

    /// PERSISTENT RESERVE IN, READ FULL STATUS.
    pub fn persist_read_full_status(allocation_length: u16) -> Self {
        Self::new(Operation::PersistReadFullStatus).with(Field::AllocationLength, allocation_length)
    }

    /// PERSISTENT RESERVE OUT of a service action. `kind` is for RESERVE, RELEASE, REPLACE LOST RESERVATION and the two that preempt, and the others
    /// leave it out.
    pub fn persist_out(action: OutAction, kind: Option<ReservationType>, parameter_list_length: u32) -> Self {
        let cdb = Self::new(action.operation()).with(Field::ParameterListLength, parameter_list_length);
        match kind {
            Some(kind) if action.has_type() => cdb.with(Field::ReservationType, kind.code()),
            _ => cdb,
        }
    }

    /// REPORT SUPPORTED OPERATION CODES for all commands.
    pub fn report_supported_operation_codes(timeouts: bool, allocation_length: u32) -> Self {
        Self::new(Operation::ReportSupportedOperationCodes)
            .with(Field::ReturnTimeouts, timeouts)
            .with(Field::AllocationLength, allocation_length)
    }

    /// REPORT REFERRALS, from this block on.
    pub fn report_referrals(lba: u64, allocation_length: u32) -> Self {
        Self::new(Operation::ReportReferrals)
            .with(Field::LogicalBlockAddress, lba)
            .with(Field::AllocationLength, allocation_length)
    }

    /// REPORT TARGET PORT GROUPS, with the extended header if `extended`.
    pub fn report_target_port_groups(extended: bool, allocation_length: u32) -> Self {
        Self::new(Operation::ReportTargetPortGroups)
            .with(Field::ParameterDataFormat, extended)
            .with(Field::AllocationLength, allocation_length)
    }

    /// SET TARGET PORT GROUPS, with the list that [`SetAccessList::encode`](crate::access::SetAccessList::encode) builds.
    pub fn set_target_port_groups(parameter_list_length: u32) -> Self {
        Self::new(Operation::SetTargetPortGroups).with(Field::ParameterListLength, parameter_list_length)
    }

    /// REPORT TIMESTAMP.
    pub fn report_timestamp(allocation_length: u32) -> Self {
        Self::new(Operation::ReportTimestamp).with(Field::AllocationLength, allocation_length)
    }

    /// SET TIMESTAMP, with the list that [`Timestamp::list`](crate::parameters::Timestamp::list) builds.
    pub fn set_timestamp() -> Self {
        Self::new(Operation::SetTimestamp).with(Field::ParameterListLength, 12u8)
    }

    /// REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS.
    pub fn report_supported_task_management_functions(allocation_length: u32) -> Self {
        Self::new(Operation::ReportSupportedTaskManagementFunctions).with(Field::AllocationLength, allocation_length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builders_give_the_bytes_that_t10_draws() {
        let expected: &[(Cdb, &[u8])] = &[
            (Cdb::inquiry_page(0x83, 252), &[0x12, 1, 0x83, 0, 252, 0]),
            (Cdb::read_capacity_16(32), &[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0]),
            (Cdb::write_zeroes_16(5, 9, true), &[0x93, 9, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 9, 0, 0]),
            (Cdb::mode_sense_6(1, 0x3f, 0xff, 255), &[0x1a, 0, 0x7f, 0xff, 255, 0]),
            (Cdb::mode_select_10(true, 24), &[0x55, 0x11, 0, 0, 0, 0, 0, 0, 24, 0]),
            (Cdb::unmap(24), &[0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0]),
            (Cdb::compare_and_write(1, 1), &[0x89, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0]),
            (Cdb::verify_16(1, 1, true), &[0x8f, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0]),
            (Cdb::get_lba_status_16(1, 24), &[0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 24, 0, 0]),
            (Cdb::write_atomic_16(1, 2), &[0x9c, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0]),
            (Cdb::or_write_16(1, 2), &[0x8b, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0]),
            (Cdb::pre_fetch_16(1, 2, true), &[0x90, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0]),
            (Cdb::read_defect_data_12(8), &[0xb7, 0x1b, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0]),
            (Cdb::prevent_allow_medium_removal(true), &[0x1e, 0, 0, 0, 1, 0]),
            (Cdb::load_eject(false), &[0x1b, 0, 0, 0, 2, 0]),
            (Cdb::format_unit(Some(ProtectionType::Three)), &[0x04, 0xd0, 0, 0, 0, 0]),
            (Cdb::sanitize_overwrite(true, 516), &[0x48, 0x81, 0, 0, 0, 0, 0, 2, 4, 0]),
            (Cdb::sanitize_block_erase(false), &[0x48, 2, 0, 0, 0, 0, 0, 0, 0, 0]),
            (Cdb::sanitize_cryptographic_erase(false), &[0x48, 3, 0, 0, 0, 0, 0, 0, 0, 0]),
            (Cdb::log_sense(0x19, 0, 512), &[0x4d, 0, 0x59, 0, 0, 0, 0, 2, 0, 0]),
            (Cdb::log_reset(0), &[0x4c, 2, 0x40, 0, 0, 0, 0, 0, 0, 0]),
            (Cdb::set_timestamp(), &[0xa4, 0x0f, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0]),
            (Cdb::sanitize_exit_failure_mode(), &[0x48, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0]),
            (Cdb::reserve_10(), &[0x56, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            (Cdb::persist_read_full_status(0x102), &[0x5e, 3, 0, 0, 0, 0, 0, 1, 2, 0]),
            (
                Cdb::persist_out(OutAction::Preempt, Some(ReservationType::ExclusiveAccess), 24),
                &[0x5f, 4, 3, 0, 0, 0, 0, 0, 24, 0],
            ),
            (
                Cdb::persist_out(OutAction::Register, Some(ReservationType::ExclusiveAccess), 24),
                &[0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0],
            ),
            (Cdb::extended_copy_lid1(108), &[0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 108, 0, 0]),
            (Cdb::extended_copy_lid4(108), &[0x83, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 108, 0, 0]),
            (Cdb::populate_token(0x0102_0304, 32), &[0x83, 0x10, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 32, 0, 0]),
            (Cdb::write_using_token(0x0102_0304, 32), &[0x83, 0x11, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 32, 0, 0]),
            (Cdb::receive_rod_token_information(7, 32), &[0x84, 7, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0]),
            (Cdb::report_all_rod_tokens(32), &[0x84, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0]),
            (Cdb::copy_operation_abort(0x0102_0304), &[0x83, 0x1c, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            (Cdb::receive_copy_status_lid1(7, 12), &[0x84, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0]),
            (Cdb::receive_copy_status_lid4(0x0102_0304, 12), &[0x84, 5, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0]),
            (Cdb::receive_copy_data(7, 12), &[0x84, 1, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0]),
            (Cdb::receive_copy_failure_details(7, 12), &[0x84, 4, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0]),
            (Cdb::receive_copy_operating_parameters(64), &[0x84, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0]),
            (Cdb::report_supported_operation_codes(true, 512), &[0xa3, 0x0c, 0x80, 0, 0, 0, 0, 0, 2, 0, 0, 0]),
        ];
        for (cdb, bytes) in expected {
            assert_eq!(cdb.as_bytes(), *bytes, "{cdb:?}");
        }
    }
}
