//! The PDUs, one file each, in two levels: a layout that names the bytes, and a value that means something.

mod async_message;
mod data_in;
mod data_out;
mod login;
mod logout;
mod nop;
mod r2t;
mod reject;
mod scsi_command;
mod scsi_response;
mod snack;
mod task_management;
mod text;

pub use async_message::{AsyncEvent, AsyncMessage, AsyncMessageHeader};
pub use data_in::{DataIn, DataInHeader, DataInStatus};
pub use data_out::{DataOut, DataOutHeader};
pub use login::{Isid, LoginRequest, LoginRequestHeader, LoginResponse, LoginResponseHeader, LoginStatus, Stage, Tsih};
pub use logout::{
    Cid, LogoutReason, LogoutRequest, LogoutRequestHeader, LogoutResponse, LogoutResponseCode, LogoutResponseHeader,
};
pub use nop::{NopIn, NopInHeader, NopOut, NopOutHeader};
pub use r2t::{R2t, R2tHeader};
pub use reject::{Reject, RejectHeader, RejectReason};
pub use scsi_command::{ScsiCommand, ScsiCommandHeader, TaskAttribute};
pub use scsi_response::{Residual, ScsiResponse, ScsiResponseCode, ScsiResponseHeader};
pub use snack::{Snack, SnackHeader, SnackType};
pub use task_management::{
    TaskManagementFunction, TaskManagementRequest, TaskManagementRequestHeader, TaskManagementResponse,
    TaskManagementResponseCode, TaskManagementResponseHeader,
};
pub use text::{TextRequest, TextRequestHeader, TextResponse, TextResponseHeader};

use crate::{DecodeError, Frame, Opcode};

/// The I bit in the first byte of a request.
const IMMEDIATE: u8 = 0x40;
/// The F bit in the second byte, set in every PDU that is a sequence by itself.
const FINAL: u8 = 0x80;

// Decoding is inlined into `Pdu::decode`, so that a PDU is made where it stays instead of being moved there.
macro_rules! pdus {
    ($($variant:ident)*) => {
        /// Any PDU of RFC 7143 section 11, with meaningful values only.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Pdu {
            $(#[doc = concat!("See [`", stringify!($variant), "`].")] $variant($variant),)*
        }

        $(impl From<$variant> for Pdu {
            fn from(pdu: $variant) -> Self { Self::$variant(pdu) }
        })*

        impl Pdu {
            /// Reads a frame. The data segment moves into the PDU.
            ///
            /// # Errors
            /// The first field whose value means nothing.
            pub fn decode(frame: Frame) -> Result<Self, DecodeError> {
                check_ahs(&frame)?;
                Ok(match frame.header.opcode() {
                    $($variant::OPCODE => Self::$variant($variant::decode(frame)?),)*
                    other => return Err(other.error("Opcode", 0, other.to_wire().into(), "an opcode of RFC 7143 section 11.2.1.2")),
                })
            }

            /// The PDU as bytes. The data segment moves into the frame.
            ///
            /// # Panics
            /// If the data segment is 16 MiB or longer: a bug of the caller.
            #[must_use]
            pub fn encode(self) -> Frame {
                match self { $(Self::$variant(pdu) => pdu.encode(),)* }
            }

            /// What the PDU is.
            #[must_use]
            pub const fn opcode(&self) -> Opcode {
                match self { $(Self::$variant(_) => $variant::OPCODE,)* }
            }
        }
    };
}

pdus! {
    NopOut NopIn ScsiCommand ScsiResponse TaskManagementRequest TaskManagementResponse DataOut DataIn R2t
    AsyncMessage TextRequest TextResponse LoginRequest LoginResponse LogoutRequest LogoutResponse Snack Reject
}

/// RFC 7143 11.2.1.5-1: only a PDU that has additional header segments says that it has; that is the SCSI Command (11.2.2).
fn check_ahs(frame: &Frame) -> Result<(), DecodeError> {
    let opcode = frame.header.opcode();
    if frame.ahs.is_empty() || opcode == Opcode::ScsiCommand {
        return Ok(());
    }
    Err(opcode.error("TotalAHSLength", 4, (frame.ahs.len() / 4) as u64, "0, except in a SCSI Command"))
}
