//! The fields of CDBs by their meaning.

/// A field of a CDB by its meaning; where it lies differs from command to command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// First logical block.
    LogicalBlockAddress,
    /// Number of blocks: TRANSFER LENGTH, VERIFICATION LENGTH or NUMBER OF LOGICAL BLOCKS.
    Blocks,
    /// Bytes of data-in that the initiator has room for.
    AllocationLength,
    /// Bytes of parameter data that come with the command.
    ParameterListLength,
    /// RDPROTECT, WRPROTECT, VRPROTECT or ORPROTECT.
    Protect,
    /// EXPECTED INITIAL LOGICAL BLOCK REFERENCE TAG.
    ExpectedReferenceTag,
    /// EXPECTED LOGICAL BLOCK APPLICATION TAG.
    ExpectedApplicationTag,
    /// LOGICAL BLOCK APPLICATION TAG MASK.
    ApplicationTagMask,
    /// ADDITIONAL CDB LENGTH, which the operation code 7Fh has.
    AdditionalCdbLength,
    /// FMTPINFO: format with protection information.
    FormatProtection,
    /// LONGLIST: the parameter list has the long header.
    LongList,
    /// FMTDATA: there is a parameter list.
    FormatData,
    /// CMPLST: the defect list is complete.
    CompleteList,
    /// DEFECT LIST FORMAT.
    DefectListFormat,
    /// REQ_PLIST and REQ_GLIST: which defect lists.
    DefectLists,
    /// FFMT: fast format.
    FastFormat,
    /// PREVENT.
    Prevent,
    /// Bytes that have no meaning, and are looked at where a command destroys what is there.
    Reserved,
    /// AUSE: an unrestricted exit from a failed SANITIZE.
    UnrestrictedExit,
    /// ZNR: zone no reset.
    ZoneNoReset,
    /// ATOMIC BOUNDARY.
    AtomicBoundary,
    /// REPORT TYPE.
    ReportType,
    /// ONE_SEG: one user data segment is wanted.
    OneSegment,
    /// DPO.
    DisablePageOut,
    /// FUA.
    ForceUnitAccess,
    /// BYTCHK.
    ByteCheck,
    /// ANCHOR.
    Anchor,
    /// UNMAP.
    Unmap,
    /// NDOB: no data-out buffer, the block is zeros.
    NoDataOutBuffer,
    /// LBDATA and PBDATA, which SBC-3 has made obsolete.
    BlockData,
    /// IMMED.
    Immediate,
    /// EVPD.
    EnableVitalProductData,
    /// CMDDT, which SPC-3 has made obsolete.
    CommandSupportData,
    /// PAGE CODE.
    PageCode,
    /// SUBPAGE CODE.
    SubpageCode,
    /// PC: which values of the mode pages.
    PageControl,
    /// DBD: leave block descriptors out.
    DisableBlockDescriptors,
    /// LLBAA: a long block descriptor is welcome.
    LongLbaAccepted,
    /// PCR: counters begin again at zero.
    ParameterCodeReset,
    /// PARAMETER POINTER: the first parameter of a log page that is wanted.
    ParameterPointer,
    /// PF: the pages are as SPC draws them.
    PageFormat,
    /// SP: save the pages too.
    SavePages,
    /// DESC: sense data in descriptor format.
    DescriptorFormat,
    /// SELECT REPORT.
    SelectReport,
    /// PARAMETER DATA FORMAT.
    ParameterDataFormat,
    /// REPORTING OPTIONS.
    ReportingOptions,
    /// RCTD: with time-outs descriptors.
    ReturnTimeouts,
    /// REQUESTED OPERATION CODE.
    RequestedOperationCode,
    /// REQUESTED SERVICE ACTION.
    RequestedServiceAction,
    /// REPD: the long form of the data.
    ReturnExtended,
    /// EXTENT, which SPC-2 has made obsolete.
    Extent,
    /// 3RDPTY, which SPC-3 has made obsolete.
    ThirdParty,
    /// LONGID: a third party's name of eight bytes, which SPC-3 has made obsolete.
    LongId,
    /// SCOPE of a persistent reservation.
    Scope,
    /// TYPE of a persistent reservation.
    ReservationType,
    /// LIST IDENTIFIER of a copy.
    ListIdentifier,
    /// POWER CONDITION.
    PowerCondition,
    /// NO_FLUSH.
    NoFlush,
    /// LOEJ: load or eject the medium.
    LoadEject,
    /// START. It is the last.
    Start,
}

impl Field {
    pub(super) const COUNT: usize = Self::Start as usize + 1;
}
