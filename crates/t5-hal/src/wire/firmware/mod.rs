//! Commands to the firmware, and its answers, as they stand in the mailbox: at most 64 bytes.
//!
//! Opcodes, bits and layouts can be looked up in FreeBSD's `sys/dev/cxgbe/firmware/t4fw_interface.h`.

mod adapter;
mod interfaces;
mod queues;
mod resources;
mod statistics;

pub use adapter::*;
pub use interfaces::*;
pub use queues::*;
pub use resources::*;
pub use statistics::*;

use super::bits::bit_fields;
use super::layout::{Layout, WireError, codes, layout};
use super::work_request::len16;
use zerocopy::IntoBytes;

/// Bytes of the mailbox.
pub const MAILBOX_BYTES: usize = 64;

codes! {
    /// Opcodes of commands.
    CommandOpcode: u8 {
        Ldst = 0x01,
        Reset = 0x03,
        Hello = 0x04,
        Bye = 0x05,
        Initialize = 0x06,
        CapsConfig = 0x07,
        Params = 0x08,
        PfVf = 0x09,
        Iq = 0x10,
        EqEth = 0x12,
        EqCtrl = 0x13,
        Vi = 0x14,
        ViMac = 0x15,
        ViRxMode = 0x16,
        ViEnable = 0x17,
        AclMac = 0x18,
        AclVlan = 0x19,
        ViStats = 0x1a,
        Port = 0x1b,
        PortStats = 0x1c,
        PortLoopbackStats = 0x1d,
        RssIndirection = 0x20,
        EqOffload = 0x21,
        RssViConfig = 0x23,
        ChnetIface = 0x26,
        Clip = 0x28,
        Error = 0x80,
    }

    /// What the firmware answers.
    ReturnCode: u8 {
        Success = 0x00,
        NotPermitted = 0x01,
        NoEntry = 0x02,
        Io = 0x05,
        ExecFormat = 0x08,
        Again = 0x0b,
        NoMemory = 0x0c,
        Fault = 0x0e,
        Busy = 0x10,
        Exists = 0x11,
        NoDevice = 0x13,
        Invalid = 0x16,
        NoSpace = 0x1c,
        NotImplemented = 0x26,
        NoData = 0x3d,
        Protocol = 0x47,
        AddressInUse = 0x62,
        AddressNotAvailable = 0x63,
        NetworkDown = 0x64,
        NetworkUnreachable = 0x65,
        NoBuffers = 0x69,
        TimedOut = 0x6e,
        InProgress = 0x73,
        ScsiAbortRequested = 0x80,
        ScsiAbortTimedOut = 0x81,
        ScsiAborted = 0x82,
        ScsiCloseRequested = 0x83,
        LinkDown = 0x84,
        DeviceNotReady = 0x85,
        DeviceLost = 0x86,
        DeviceLoggedOut = 0x87,
        NoExchange = 0x88,
        ScsiResponseError = 0x89,
        ImplicitLogout = 0x8a,
        ScsiUnderflow = 0x8b,
        ScsiOverflow = 0x8c,
        ScsiPlacementError = 0x8d,
        ScsiTaskError = 0x8e,
        ScsiIoBlocked = 0x8f,
    }
}

bit_fields! {
    /// First word of a command.
    CommandOp: u32 {
        /// A [`CommandOpcode`].
        OPCODE = 31:24;
        /// Set in what the driver sends, clear in the answer.
        REQUEST = 23:23;
        READ = 22:22;
        WRITE = 21:21;
        EXEC = 20:20;
        /// Whom it is about: a [`FunctionId`](super::FunctionId), a virtual interface, or a port.
        TARGET = 11:0;
    }

    /// Second word of a command without flags.
    CommandLength: u32 {
        /// A [`ReturnCode`].
        RETVAL = 15:8;
        /// In units of 16 bytes.
        LEN16 = 7:0;
    }

    /// Second word of a command that makes and ends something.
    AllocLength: u32 {
        ALLOC = 31:31;
        FREE = 30:30;
        MODIFY = 29:29;
        START = 28:28;
        STOP = 27:27;
        RETVAL = 15:8;
        LEN16 = 7:0;
    }
}

layout! {
    /// What every command begins with.
    CommandHeader = "fw_cmd_hdr", 8 {
        0 op: CommandOp;
        4 length: CommandLength;
    }
}

impl CommandHeader {
    /// What the firmware answered; `None` if it is no code that is known.
    #[must_use]
    pub const fn return_code(&self) -> Option<ReturnCode> {
        ReturnCode::from_wire(self.length.get(CommandLength::RETVAL) as u8)
    }
}

/// Which of READ, WRITE and EXEC a command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    read: bool,
    write: bool,
    exec: bool,
}

impl Access {
    /// Reads.
    pub const READ: Self = Self { read: true, write: false, exec: false };
    /// Writes.
    pub const WRITE: Self = Self { read: false, write: true, exec: false };
    /// Does something, and writes.
    pub const EXEC_WRITE: Self = Self { read: false, write: true, exec: true };
}

/// A command whose structure is known.
pub trait FirmwareCommand: Layout {
    /// Its opcode.
    const OPCODE: CommandOpcode;
}

/// The first two words of a command as a request.
#[must_use]
pub(crate) fn request<C: FirmwareCommand>(access: Access, target: u32) -> CommandHeader {
    let op = CommandOp::new()
        .with(CommandOp::OPCODE, C::OPCODE.to_wire().into())
        .with_bit(CommandOp::REQUEST, true)
        .with_bit(CommandOp::READ, access.read)
        .with_bit(CommandOp::WRITE, access.write)
        .with_bit(CommandOp::EXEC, access.exec)
        .with(CommandOp::TARGET, target);
    CommandHeader { op, length: CommandLength::new().with(CommandLength::LEN16, len16(size_of::<C>())) }
}

macro_rules! commands {
    ($($name:ident is $opcode:ident,)*) => {
        /// A command or its answer.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Command {
            $(#[doc = concat!("`", stringify!($name), "`.")] $name($name),)*
        }

        impl Command {
            /// Reads a command or an answer.
            ///
            /// # Errors
            /// It is too short, says another length than it has, or no command has that opcode.
            pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
                let (header, _) = CommandHeader::split_from(bytes)?;
                let opcode = header.op.get(CommandOp::OPCODE) as u8;
                match CommandOpcode::from_wire(opcode) {
                    $(Some(CommandOpcode::$opcode) => checked::<$name>(&header, bytes).map(Self::$name),)*
                    None => Err(WireError::Opcode { what: "command of the firmware", opcode }),
                }
            }

            /// The bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                match self {
                    $(Self::$name(command) => command.as_bytes(),)*
                }
            }
        }

        $(
            impl FirmwareCommand for $name {
                const OPCODE: CommandOpcode = CommandOpcode::$opcode;
            }

            impl $name {
                /// The request with opcode and length filled in.
                ///
                /// # Panics
                /// If the target has more than 12 bits: a bug of the caller.
                #[must_use]
                pub fn request(access: Access, target: u32) -> Self {
                    use zerocopy::FromBytes;
                    let mut bytes = [0; size_of::<Self>()];
                    bytes[..size_of::<CommandHeader>()].copy_from_slice(request::<Self>(access, target).as_bytes());
                    Self::read_from_bytes(&bytes).expect("as many bytes as it has")
                }
            }

            impl From<$name> for Command {
                fn from(command: $name) -> Self {
                    Self::$name(command)
                }
            }
        )*
    };
}

commands! {
    LdstCommand is Ldst,
    ResetCommand is Reset,
    HelloCommand is Hello,
    ByeCommand is Bye,
    InitializeCommand is Initialize,
    CapsConfigCommand is CapsConfig,
    ParamsCommand is Params,
    PfVfCommand is PfVf,
    IqCommand is Iq,
    EqEthCommand is EqEth,
    EqCtrlCommand is EqCtrl,
    EqOffloadCommand is EqOffload,
    ViCommand is Vi,
    ViMacCommand is ViMac,
    ViRxModeCommand is ViRxMode,
    ViEnableCommand is ViEnable,
    AclMacCommand is AclMac,
    AclVlanCommand is AclVlan,
    ViStatsCommand is ViStats,
    PortCommand is Port,
    PortStatsCommand is PortStats,
    PortLoopbackStatsCommand is PortLoopbackStats,
    RssIndirectionCommand is RssIndirection,
    RssViConfigCommand is RssViConfig,
    ChnetIfaceCommand is ChnetIface,
    ClipCommand is Clip,
    ErrorCommand is Error,
}

fn checked<C: FirmwareCommand>(header: &CommandHeader, bytes: &[u8]) -> Result<C, WireError> {
    let (value, expected) = (header.length.get(CommandLength::LEN16) as usize, len16(size_of::<C>()) as usize);
    if value != expected {
        return Err(WireError::Length {
            name: C::NAME,
            field: "len16",
            value,
            expected: "the length of the structure",
        });
    }
    Ok(C::split_from(bytes)?.0)
}

/// The value of the mailbox's register number `index`, 0 to 15, for a message: its words are numbers of 64 bits, big-endian in
/// the message, whose lower half is the first register.
///
/// # Panics
/// If there is no such register: a bug of the caller.
#[must_use]
pub fn mailbox_register(message: &[u8; MAILBOX_BYTES], index: usize) -> u32 {
    let bytes = message.as_chunks::<4>().0[index ^ 1];
    u32::from_be_bytes(bytes)
}

/// Changes the message as writing that register does.
///
/// # Panics
/// If there is no such register: a bug of the caller.
pub fn set_mailbox_register(message: &mut [u8; MAILBOX_BYTES], index: usize, value: u32) {
    message.as_chunks_mut::<4>().0[index ^ 1] = value.to_be_bytes();
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_lower_half_of_a_word_is_the_first_register() {
        let mut message = [0; MAILBOX_BYTES];
        message[..8].copy_from_slice(&0x0102_0304_0506_0708u64.to_be_bytes());
        assert_eq!((mailbox_register(&message, 0), mailbox_register(&message, 1)), (0x0506_0708, 0x0102_0304));
        let mut copy = [0; MAILBOX_BYTES];
        (0..16).for_each(|index| set_mailbox_register(&mut copy, index, mailbox_register(&message, index)));
        assert_eq!(copy, message);
    }

    #[test]
    fn a_wrong_length_is_refused() {
        let mut bytes = ViCommand::request(Access::READ, 3).as_bytes().to_vec();
        assert!(matches!(Command::decode(&bytes), Ok(Command::ViCommand(_))));
        bytes[7] += 1;
        assert!(matches!(Command::decode(&bytes), Err(WireError::Length { value: 5, .. })));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_command_or_an_error(mut bytes in prop::collection::vec(any::<u8>(), 0..80),
            code in 0..CommandOpcode::ALL.len()) {
            let _ = Command::decode(&bytes);
            if let Some(first) = bytes.first_mut() {
                *first = CommandOpcode::ALL[code].to_wire();
            }
            for length in 1..=4 {
                if let Some(len16) = bytes.get_mut(7) {
                    *len16 = length;
                }
                if let Ok(command) = Command::decode(&bytes) {
                    prop_assert!(bytes.starts_with(command.as_bytes()));
                }
            }
        }
    }
}
