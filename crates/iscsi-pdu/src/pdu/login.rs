//! Login Request and Login Response (RFC 7143 sections 11.12 and 11.13).

use super::IMMEDIATE;
use crate::frame::{Frame, Header, HeaderLayout};
use crate::{Cid, CmdSn, DecodeError, InitiatorTaskTag, Opcode, StatSn};
use bytes::Bytes;
use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const TRANSIT: u8 = 0x80;
const CONTINUE: u8 = 0x40;

/// Initiator part of the session's name (RFC 7143 section 11.12.5): six bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Isid(pub [u8; 6]);

/// Target Session Identifying Handle (RFC 7143 section 11.12.6): zero asks for a new session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tsih(pub u16);

/// A stage of the login, CSG or NSG (RFC 7143 section 11.12.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Value 0.
    #[default]
    SecurityNegotiation,
    /// Value 1.
    LoginOperationalNegotiation,
    /// Value 3.
    FullFeaturePhase,
}

impl Stage {
    const fn to_wire(self) -> u8 {
        match self {
            Self::SecurityNegotiation => 0,
            Self::LoginOperationalNegotiation => 1,
            Self::FullFeaturePhase => 3,
        }
    }

    const fn from_wire(bits: u8) -> Option<Self> {
        match bits & 3 {
            0 => Some(Self::SecurityNegotiation),
            1 => Some(Self::LoginOperationalNegotiation),
            3 => Some(Self::FullFeaturePhase),
            _ => None,
        }
    }
}

/// The T, C, CSG and NSG fields of both login PDUs.
struct Progress {
    transit: Option<Stage>,
    continues: bool,
    current: Stage,
}

impl Progress {
    fn decode(opcode: Opcode, flags: u8) -> Result<Self, DecodeError> {
        let error = |field, expected| opcode.error(field, 1, flags.into(), expected);
        let current = Stage::from_wire(flags >> 2).filter(|stage| *stage != Stage::FullFeaturePhase);
        let transit =
            if flags & TRANSIT == 0 { None } else { Some(Stage::from_wire(flags).ok_or(error("NSG", "0, 1 or 3"))?) };
        let continues = flags & CONTINUE != 0;
        // RFC 7143 6.2-1, 11.12.2-1, 11.13.7-1: text that goes on does not end a stage.
        if continues && transit.is_some() {
            return Err(error("C", "T or C, not both"));
        }
        Ok(Self { transit, continues, current: current.ok_or(error("CSG", "0 or 1"))? })
    }

    /// A refusal says nothing by these fields, and some targets leave anything there.
    fn of_refusal(flags: u8) -> Self {
        let current = Stage::from_wire(flags >> 2).filter(|stage| *stage != Stage::FullFeaturePhase);
        Self { transit: None, continues: false, current: current.unwrap_or_default() }
    }

    fn encode(&self) -> u8 {
        let transit = self.transit.map_or(0, |next| TRANSIT | next.to_wire());
        let continues = if self.continues { CONTINUE } else { 0 };
        transit | continues | self.current.to_wire() << 2
    }
}

/// The bytes of a Login Request (RFC 7143 section 11.12).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are those of the standard")]
pub struct LoginRequestHeader {
    pub opcode: u8,
    pub flags: u8,
    pub version_max: u8,
    pub version_min: u8,
    pub total_ahs_length: u8,
    pub data_segment_length: [u8; 3],
    pub isid: [u8; 6],
    pub tsih: U16,
    pub initiator_task_tag: U32,
    pub cid: U16,
    pub reserved_22: [u8; 2],
    pub cmd_sn: U32,
    pub exp_stat_sn: U32,
    pub reserved_32: [u8; 16],
}
impl HeaderLayout for LoginRequestHeader {}

/// One step of the initiator through the login (RFC 7143 section 11.12).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginRequest {
    /// T and NSG: the stage that the initiator is ready for.
    pub transit: Option<Stage>,
    /// C: the text goes on in the next request; never with T.
    pub continues: bool,
    /// CSG.
    pub current_stage: Stage,
    /// Version-max.
    pub version_max: u8,
    /// Version-min.
    pub version_min: u8,
    /// ISID.
    pub isid: Isid,
    /// TSIH: zero for a new session.
    pub tsih: Tsih,
    /// The same in all requests of one login.
    pub initiator_task_tag: InitiatorTaskTag,
    /// CID.
    pub cid: Cid,
    /// CmdSN.
    pub cmd_sn: CmdSn,
    /// ExpStatSN.
    pub exp_stat_sn: StatSn,
    /// The text, see [`crate::text`].
    pub data: Bytes,
}

impl LoginRequest {
    pub(crate) const OPCODE: Opcode = Opcode::LoginRequest;

    #[inline(always)]
    pub(crate) fn decode(frame: Frame) -> Result<Self, DecodeError> {
        let fields: &LoginRequestHeader = frame.header.view();
        let progress = Progress::decode(Self::OPCODE, fields.flags)?;
        Ok(Self {
            transit: progress.transit,
            continues: progress.continues,
            current_stage: progress.current,
            version_max: fields.version_max,
            version_min: fields.version_min,
            isid: Isid(fields.isid),
            tsih: Tsih(fields.tsih.get()),
            initiator_task_tag: Self::OPCODE.task_tag(fields.initiator_task_tag)?,
            cid: Cid(fields.cid.get()),
            cmd_sn: CmdSn(fields.cmd_sn.get()),
            exp_stat_sn: StatSn(fields.exp_stat_sn.get()),
            data: frame.data,
        })
    }

    #[inline]
    pub(crate) fn encode(self) -> Frame {
        let progress = Progress { transit: self.transit, continues: self.continues, current: self.current_stage };
        let header = Header::from_layout(&LoginRequestHeader {
            opcode: Self::OPCODE.to_wire() | IMMEDIATE,
            flags: progress.encode(),
            version_max: self.version_max,
            version_min: self.version_min,
            isid: self.isid.0,
            tsih: self.tsih.0.into(),
            initiator_task_tag: self.initiator_task_tag.0.into(),
            cid: self.cid.0.into(),
            cmd_sn: self.cmd_sn.0.into(),
            exp_stat_sn: self.exp_stat_sn.0.into(),
            ..LoginRequestHeader::default()
        });
        Frame::new(header, Box::default(), self.data)
    }
}

macro_rules! login_statuses {
    ($($(#[$meta:meta])* $name:ident = $code:literal $text:literal,)*) => {
        /// Status-Class and Status-Detail of a login (RFC 7143 section 11.13.5).
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum LoginStatus {
            $($(#[$meta])* #[doc = concat!("Class and detail ", stringify!($code), ": ", $text, ".")] $name,)*
            /// A class and detail that RFC 7143 does not define.
            Other {
                /// Status-Class.
                class: u8,
                /// Status-Detail.
                detail: u8,
            },
        }

        impl LoginStatus {
            /// Every status that has a name.
            pub const NAMED: &'static [Self] = &[$(Self::$name),*];

            const fn from_code(code: u16) -> Self {
                match code {
                    $($code => Self::$name,)*
                    other => { let [class, detail] = other.to_be_bytes(); Self::Other { class, detail } }
                }
            }

            const fn code(self) -> u16 {
                match self {
                    $(Self::$name => $code,)*
                    Self::Other { class, detail } => u16::from_be_bytes([class, detail]),
                }
            }
        }

        impl core::fmt::Display for LoginStatus {
            fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                let text = match self { $(Self::$name => $text,)* Self::Other { .. } => "a status that RFC 7143 does not define" };
                write!(formatter, "{text} ({:#06x})", self.code())
            }
        }
    };
}

login_statuses! {
    #[default]
    Success = 0x0000 "the login proceeds",
    TargetMovedTemporarily = 0x0101 "the target has moved for a time",
    TargetMovedPermanently = 0x0102 "the target has moved for good",
    InitiatorError = 0x0200 "the initiator has made an error",
    AuthenticationFailure = 0x0201 "the initiator could not be authenticated",
    AuthorizationFailure = 0x0202 "the initiator may not use the target",
    NotFound = 0x0203 "there is no such target here",
    TargetRemoved = 0x0204 "the target has been removed",
    UnsupportedVersion = 0x0205 "no version of the protocol suits both",
    TooManyConnections = 0x0206 "the session has too many connections",
    MissingParameter = 0x0207 "a parameter is missing",
    CannotIncludeInSession = 0x0208 "this connection cannot be part of the session",
    SessionTypeNotSupported = 0x0209 "this type of session is not supported",
    SessionDoesNotExist = 0x020a "there is no such session",
    InvalidDuringLogin = 0x020b "a request of the wrong type came during the login",
    TargetError = 0x0300 "the target has failed",
    ServiceUnavailable = 0x0301 "the target is not in operation",
    OutOfResources = 0x0302 "the target is out of resources",
}

impl LoginStatus {
    /// Status-Class: 0 success, 1 redirection, 2 initiator error, 3 target error.
    #[must_use]
    pub const fn class(self) -> u8 {
        self.code().to_be_bytes()[0]
    }

    /// Status-Detail.
    #[must_use]
    pub const fn detail(self) -> u8 {
        self.code().to_be_bytes()[1]
    }
}

/// The bytes of a Login Response (RFC 7143 section 11.13).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are those of the standard")]
pub struct LoginResponseHeader {
    pub opcode: u8,
    pub flags: u8,
    pub version_max: u8,
    pub version_active: u8,
    pub total_ahs_length: u8,
    pub data_segment_length: [u8; 3],
    pub isid: [u8; 6],
    pub tsih: U16,
    pub initiator_task_tag: U32,
    pub reserved_20: [u8; 4],
    pub stat_sn: U32,
    pub exp_cmd_sn: U32,
    pub max_cmd_sn: U32,
    pub status: U16,
    pub reserved_38: [u8; 10],
}
impl HeaderLayout for LoginResponseHeader {}

/// One step of the target through the login (RFC 7143 section 11.13).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginResponse {
    /// T and NSG: the stage that comes next. Only with [`LoginStatus::Success`].
    pub transit: Option<Stage>,
    /// C: the text goes on in the next response; never with T.
    pub continues: bool,
    /// CSG.
    pub current_stage: Stage,
    /// Version-max.
    pub version_max: u8,
    /// Version-active.
    pub version_active: u8,
    /// ISID.
    pub isid: Isid,
    /// TSIH: the target's name for the session, in the last response of a login.
    pub tsih: Tsih,
    /// That of the requests.
    pub initiator_task_tag: InitiatorTaskTag,
    /// StatSN; means something only with [`LoginStatus::Success`].
    pub stat_sn: StatSn,
    /// ExpCmdSN.
    pub exp_cmd_sn: CmdSn,
    /// MaxCmdSN.
    pub max_cmd_sn: CmdSn,
    /// Status-Class and Status-Detail.
    pub status: LoginStatus,
    /// The text, see [`crate::text`].
    pub data: Bytes,
}

impl LoginResponse {
    pub(crate) const OPCODE: Opcode = Opcode::LoginResponse;

    #[inline(always)]
    pub(crate) fn decode(frame: Frame) -> Result<Self, DecodeError> {
        let fields: &LoginResponseHeader = frame.header.view();
        let status = LoginStatus::from_code(fields.status.get());
        let progress = if status.class() == 0 {
            Progress::decode(Self::OPCODE, fields.flags)?
        } else {
            Progress::of_refusal(fields.flags)
        };
        Ok(Self {
            transit: progress.transit,
            continues: progress.continues,
            current_stage: progress.current,
            version_max: fields.version_max,
            version_active: fields.version_active,
            isid: Isid(fields.isid),
            tsih: Tsih(fields.tsih.get()),
            initiator_task_tag: Self::OPCODE.task_tag(fields.initiator_task_tag)?,
            stat_sn: StatSn(fields.stat_sn.get()),
            exp_cmd_sn: CmdSn(fields.exp_cmd_sn.get()),
            max_cmd_sn: CmdSn(fields.max_cmd_sn.get()),
            status,
            data: frame.data,
        })
    }

    #[inline]
    pub(crate) fn encode(self) -> Frame {
        let progress = Progress { transit: self.transit, continues: self.continues, current: self.current_stage };
        let header = Header::from_layout(&LoginResponseHeader {
            opcode: Self::OPCODE.to_wire(),
            flags: progress.encode(),
            version_max: self.version_max,
            version_active: self.version_active,
            isid: self.isid.0,
            tsih: self.tsih.0.into(),
            initiator_task_tag: self.initiator_task_tag.0.into(),
            stat_sn: self.stat_sn.0.into(),
            exp_cmd_sn: self.exp_cmd_sn.0.into(),
            max_cmd_sn: self.max_cmd_sn.0.into(),
            status: self.status.code().into(),
            ..LoginResponseHeader::default()
        });
        Frame::new(header, Box::default(), self.data)
    }
}
