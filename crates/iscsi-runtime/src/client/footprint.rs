//! What a SCSI command does to its logical unit, as far as it matters when it is given twice, or beside another.

use iscsi_node::initiator::Request;
use iscsi_session::initiator::Transfer;
use scsi_block::LogicalUnitNumber;
use scsi_block::cdb::Cdb;
use scsi_block::opcodes::{Field, Operation};
use std::ops::Range;

/// Bytes of an UNMAP list before its descriptors, and of a descriptor (SBC-4 clause 5.35).
const UNMAP_HEADER_BYTES: usize = 8;
const UNMAP_DESCRIPTOR_BYTES: usize = 16;

/// Whether a command may be given again whose end is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Carried out twice is as carried out once.
    Safe,
    /// It is not, or nobody knows.
    Unsafe,
    /// It changes what the unit keeps for this nexus alone, and loses with it.
    OfNexus,
}

/// The traces that a command leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Footprint {
    pub(super) lun: LogicalUnitNumber,
    pub(super) repeat: Repeat,
    /// Blocks that it reads or writes; empty if it does neither.
    blocks: Range<u64>,
    writes: bool,
}

impl Footprint {
    pub(super) fn of(request: &Request) -> Self {
        use Operation as Op;
        let print = |repeat, writes, blocks| Self { lun: request.lun, repeat, blocks, writes };
        let whole = 0..u64::MAX;
        let Ok(cdb) = Cdb::decode(&request.cdb) else {
            return print(Repeat::Unsafe, true, whole);
        };
        match cdb.operation() {
            Op::TestUnitReady | Op::Inquiry | Op::ReadCapacity10 | Op::ReadCapacity16 | Op::ReportLuns => {
                print(Repeat::Safe, false, 0..0)
            }
            Op::ModeSense6 | Op::ModeSense10 | Op::LogSense | Op::ReportTimestamp => print(Repeat::Safe, false, 0..0),
            Op::ReportSupportedOperationCodes | Op::ReportSupportedTaskManagementFunctions => {
                print(Repeat::Safe, false, 0..0)
            }
            Op::ReportTargetPortGroups | Op::ReportReferrals => print(Repeat::Safe, false, 0..0),
            // Somebody may have set them otherwise in between.
            Op::SetTargetPortGroups => print(Repeat::Unsafe, true, whole),
            // What was written before is written; a second time finds nothing to do.
            Op::SynchronizeCache10 | Op::SynchronizeCache16 => print(Repeat::Safe, false, 0..0),
            // A timestamp would stand still meanwhile, and counters lose what was counted.
            Op::LogSelect | Op::SetTimestamp => print(Repeat::Unsafe, false, 0..0),
            // The sense data that it fetches is gone afterwards.
            Op::RequestSense => print(Repeat::Unsafe, false, 0..0),
            Op::Read6 | Op::Read10 | Op::Read12 | Op::Read16 | Op::Read32 => print(Repeat::Safe, false, extent(&cdb)),
            Op::PreFetch10 | Op::PreFetch16 | Op::ReadDefectData10 | Op::ReadDefectData12 => {
                print(Repeat::Safe, false, 0..0)
            }
            Op::GetLbaStatus16 | Op::GetLbaStatus32 => {
                print(Repeat::Safe, false, cdb.get(Field::LogicalBlockAddress)..u64::MAX)
            }
            Op::Verify10 | Op::Verify12 | Op::Verify16 | Op::Verify32 => print(Repeat::Safe, false, extent(&cdb)),
            Op::Write6 | Op::Write10 | Op::Write12 | Op::Write16 | Op::Write32 => {
                print(Repeat::Safe, true, extent(&cdb))
            }
            // Ones that are there stay.
            Op::OrWrite16 | Op::WriteAtomic16 => print(Repeat::Safe, true, extent(&cdb)),
            Op::WriteAndVerify10 | Op::WriteAndVerify12 | Op::WriteAndVerify16 | Op::WriteAndVerify32 => {
                print(Repeat::Safe, true, extent(&cdb))
            }
            // To WRITE SAME no blocks are all to the end of the medium.
            Op::WriteSame10 | Op::WriteSame16 | Op::WriteSame32 if cdb.blocks() == 0 => {
                print(Repeat::Safe, true, extent(&cdb).start..u64::MAX)
            }
            Op::WriteSame10 | Op::WriteSame16 | Op::WriteSame32 => print(Repeat::Safe, true, extent(&cdb)),
            Op::Unmap => print(Repeat::Safe, true, unmapped(&request.transfer)),
            Op::CompareAndWrite => print(Repeat::Unsafe, true, extent(&cdb)),
            Op::ReceiveCopyStatusLid1
            | Op::ReceiveCopyStatusLid4
            | Op::ReceiveCopyDataLid1
            | Op::ReceiveCopyFailureDetails
            | Op::ReceiveCopyOperatingParameters
            | Op::ReceiveRodTokenInformation
            | Op::ReportAllRodTokens => print(Repeat::Safe, false, 0..0),
            Op::CopyOperationAbort => print(Repeat::Unsafe, false, 0..0),
            // Nothing of what is copied twice is known to be the same the second time.
            Op::ExtendedCopyLid1
            | Op::ExtendedCopyLid4
            | Op::PopulateToken
            | Op::WriteUsingToken
            | Op::StartStopUnit
            | Op::FormatUnit
            | Op::SanitizeOverwrite
            | Op::SanitizeBlockErase
            | Op::SanitizeCryptographicErase
            | Op::SanitizeExitFailureMode => print(Repeat::Unsafe, true, whole),
            Op::PreventAllowMediumRemoval => print(Repeat::OfNexus, true, whole),
            Op::ModeSelect6 | Op::ModeSelect10 | Op::Reserve6 | Op::Release6 | Op::Reserve10 | Op::Release10 => {
                print(Repeat::OfNexus, true, whole)
            }
            Op::PersistReadKeys
            | Op::PersistReadReservation
            | Op::PersistReportCapabilities
            | Op::PersistReadFullStatus => print(Repeat::Safe, false, 0..0),
            // A second REGISTER or PREEMPT meets what the first has done.
            Op::PersistRegister
            | Op::PersistReserve
            | Op::PersistRelease
            | Op::PersistClear
            | Op::PersistPreempt
            | Op::PersistPreemptAndAbort
            | Op::PersistRegisterAndIgnoreExistingKey
            | Op::PersistRegisterAndMove
            | Op::PersistReplaceLostReservation => print(Repeat::Unsafe, true, whole),
        }
    }

    /// Whether it matters which of the two comes first.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        (self.writes || other.writes)
            && self.lun == other.lun
            && self.blocks.start.max(other.blocks.start) < self.blocks.end.min(other.blocks.end)
    }
}

fn extent(cdb: &Cdb) -> Range<u64> {
    let first = cdb.get(Field::LogicalBlockAddress);
    first..first.saturating_add(cdb.blocks())
}

/// From the first block of an UNMAP list to the last.
fn unmapped(transfer: &Transfer) -> Range<u64> {
    let Transfer::Write(list) = transfer else { return 0..0 };
    let descriptors = list.get(UNMAP_HEADER_BYTES..).unwrap_or_default().chunks_exact(UNMAP_DESCRIPTOR_BYTES);
    let extents = descriptors.map(|descriptor| {
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let first = number(&descriptor[..8]);
        first..first.saturating_add(number(&descriptor[8..12]))
    });
    let hull = |one: Range<u64>, other: Range<u64>| one.start.min(other.start)..one.end.max(other.end);
    extents.filter(|extent| !extent.is_empty()).reduce(hull).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use scsi_block::Extent;
    use scsi_block::parameters::UnmapList;
    use scsi_block::reservations::OutAction;

    fn of(cdb: &Cdb, transfer: Transfer) -> Footprint {
        Footprint::of(&Request::new(LogicalUnitNumber::from(0), cdb, transfer))
    }

    fn plain(cdb: &Cdb) -> Footprint {
        of(cdb, Transfer::None)
    }

    #[test]
    fn what_may_be_given_twice() {
        let safe = [
            Cdb::test_unit_ready(),
            Cdb::read_capacity_16(32),
            Cdb::read_10(0, 1),
            Cdb::read_16(0, 1),
            Cdb::verify_16(0, 1, true),
            Cdb::write_12(0, 1),
            Cdb::write_and_verify_16(0, 1, false),
            Cdb::write_same_16(0, 1, true),
            Cdb::unmap(24),
            Cdb::synchronize_cache_16(0, 0),
            Cdb::mode_sense_10(0, 8, 0, 255),
        ];
        for cdb in safe {
            assert_eq!(plain(&cdb).repeat, Repeat::Safe, "{}", cdb.descriptor().name);
        }
        for cdb in [Cdb::compare_and_write(0, 1), Cdb::request_sense(false, 252), Cdb::start_stop_unit(true)] {
            assert_eq!(plain(&cdb).repeat, Repeat::Unsafe, "{}", cdb.descriptor().name);
        }
        for cdb in [Cdb::reserve_6(), Cdb::release_6(), Cdb::mode_select_6(false, 24)] {
            assert_eq!(plain(&cdb).repeat, Repeat::OfNexus, "{}", cdb.descriptor().name);
        }
    }

    #[test]
    fn what_is_not_known_is_taken_for_the_worst() {
        let unknown = |opcode: u8| {
            let cdb = smallvec::smallvec![opcode, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            Footprint::of(&Request {
                lun: LogicalUnitNumber::from(0),
                cdb,
                attribute: Default::default(),
                priority: 0,
                transfer: Transfer::None,
            })
        };
        // EXTENDED COPY, two of a vendor
        for opcode in [0x83, 0xc0, 0xff] {
            assert_eq!(unknown(opcode).repeat, Repeat::Unsafe);
            assert!(unknown(opcode).overlaps(&plain(&Cdb::read_16(u64::MAX - 1, 1))));
        }
        assert_eq!(plain(&Cdb::reserve_10()).repeat, Repeat::OfNexus);
        let register = plain(&Cdb::persist_out(OutAction::Register, None, 24));
        assert_eq!(register.repeat, Repeat::Unsafe);
        assert!(register.overlaps(&plain(&Cdb::read_16(u64::MAX - 1, 1))));
        let empty = Request {
            lun: LogicalUnitNumber::from(0),
            cdb: Default::default(),
            attribute: Default::default(),
            priority: 0,
            transfer: Transfer::None,
        };
        assert_eq!(Footprint::of(&empty).repeat, Repeat::Unsafe);
    }

    #[test]
    fn a_writer_overlaps_who_has_a_block_with_it() {
        let write = plain(&Cdb::write_16(10, 10));
        for (cdb, overlaps) in [
            (Cdb::read_16(0, 10), false),
            (Cdb::read_16(0, 11), true),
            (Cdb::write_10(19, 1), true),
            (Cdb::write_16(20, 1), false),
            (Cdb::read_16(15, 0), false),
            (Cdb::write_same_16(5, 0, false), true),
            (Cdb::write_same_16(20, 0, false), false),
            (Cdb::synchronize_cache_16(0, 0), false),
            (Cdb::compare_and_write(12, 1), true),
        ] {
            assert_eq!(write.overlaps(&plain(&cdb)), overlaps, "{} {:?}", cdb.descriptor().name, cdb.as_bytes());
            assert_eq!(plain(&cdb).overlaps(&write), overlaps);
        }
        assert!(!plain(&Cdb::read_16(0, 9)).overlaps(&plain(&Cdb::read_16(0, 9))), "readers have room");
        let elsewhere = Footprint { lun: LogicalUnitNumber::from(1), ..write.clone() };
        assert!(!elsewhere.overlaps(&write));
    }

    #[test]
    fn an_unmap_reaches_from_its_first_block_to_its_last() {
        let extents = [(100, 5), (7, 0), (20, 10)].map(|(lba, blocks)| Extent { lba, blocks });
        let list = UnmapList(extents.into_iter().collect()).encode();
        let unmap = |list: Vec<u8>| of(&Cdb::unmap(list.len() as u16), Transfer::Write(list.into())).blocks;
        assert_eq!(unmap(list.clone()), 20..105);
        assert_eq!(unmap(list[..31].to_vec()), 100..105, "a descriptor that is cut is none");
        for short in [0, 7, 8, 9] {
            assert!(unmap(list[..short].to_vec()).is_empty());
        }
    }
}
