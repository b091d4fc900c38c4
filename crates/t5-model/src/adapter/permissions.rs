//! What a function may ask the firmware for.

use super::functions::exists;
use super::profile::Limits;
use t5_hal::wire::{
    Capabilities, Command, CommandOp, Field, FunctionId, PortAction, PortLength, ReturnCode, RxMode, ViMacLength,
    ViRxModeCommand,
};

/// Whether a command reads or changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// Refuses a command that is not its sender's to give, or names a function that is not its sender's to name.
pub(super) fn check(who: FunctionId, limits: Limits, command: &Command) -> Result<(), ReturnCode> {
    let (access, capability) = needs(command);
    let has = match access {
        Access::Read => limits.reads(),
        Access::Write => limits.writes(),
    };
    let is_named = naming(command).is_none_or(|op| may_name(who, op, command));
    if has.is_set(capability) && is_named { Ok(()) } else { Err(ReturnCode::NotPermitted) }
}

/// The function that a command names, which the sender may name.
pub(super) fn named(op: CommandOp) -> FunctionId {
    FunctionId::from_wire(op.get(CommandOp::TARGET)).expect("the command was checked")
}

/// A function names itself; a physical one also its virtual ones, to say what they may have.
fn may_name(who: FunctionId, op: CommandOp, command: &Command) -> bool {
    let Some(function) = FunctionId::from_wire(op.get(CommandOp::TARGET)) else { return false };
    let deals = matches!(command, Command::PfVfCommand(_) | Command::AclMacCommand(_) | Command::AclVlanCommand(_));
    function == who || (deals && function.parent() == who && exists(function))
}

/// What a command needs.
fn needs(command: &Command) -> (Access, Field<Capabilities>) {
    use {Access::Read, Access::Write};
    match command {
        Command::ResetCommand(_)
        | Command::ViCommand(_)
        | Command::ViEnableCommand(_)
        | Command::RssIndirectionCommand(_)
        | Command::RssViConfigCommand(_)
        | Command::ClipCommand(_) => (Write, Capabilities::VF),
        // A hash filter for individual addresses takes frames for others as well.
        Command::ViMacCommand(command) if command.length.is_set(ViMacLength::HASHUNIEN) => {
            (Write, Capabilities::PORTPROMISC)
        }
        Command::ViRxModeCommand(command) if asks_for_all(command) => (Write, Capabilities::PORTPROMISC),
        Command::ViMacCommand(_) | Command::ViRxModeCommand(_) => (Write, Capabilities::VF),
        Command::ParamsCommand(command) if command.op.is_set(CommandOp::WRITE) => (Write, Capabilities::VF),
        Command::ViStatsCommand(_) | Command::ParamsCommand(_) => (Read, Capabilities::VF),
        Command::PfVfCommand(command) if !command.op.is_set(CommandOp::WRITE) => (Read, Capabilities::VF),
        Command::IqCommand(_) | Command::EqEthCommand(_) | Command::EqCtrlCommand(_) | Command::EqOffloadCommand(_) => {
            (Write, Capabilities::DMAQ)
        }
        Command::PortCommand(command) => {
            let asks = command.length.get(PortLength::ACTION) as u16 == PortAction::GetPortInfo.to_wire();
            (if asks { Read } else { Write }, Capabilities::PORT)
        }
        Command::PortStatsCommand(_) | Command::PortLoopbackStatsCommand(_) => (Read, Capabilities::PORTSTATS),
        Command::PfVfCommand(_)
        | Command::LdstCommand(_)
        | Command::HelloCommand(_)
        | Command::ByeCommand(_)
        | Command::InitializeCommand(_)
        | Command::CapsConfigCommand(_)
        | Command::AclMacCommand(_)
        | Command::AclVlanCommand(_)
        | Command::ChnetIfaceCommand(_)
        | Command::ErrorCommand(_) => (Write, Capabilities::PF),
    }
}

/// Whether an interface is to get the frames of others.
fn asks_for_all(command: &ViRxModeCommand) -> bool {
    !matches!(command.mode.get(RxMode::PROMISCEN), 0 | 3)
}

/// The first word of a command that names a function.
const fn naming(command: &Command) -> Option<CommandOp> {
    Some(match command {
        Command::ParamsCommand(command) => command.op,
        Command::PfVfCommand(command) => command.op,
        Command::IqCommand(command) => command.op,
        Command::EqEthCommand(command) => command.op,
        Command::EqCtrlCommand(command) => command.op,
        Command::EqOffloadCommand(command) => command.op,
        Command::ViCommand(command) => command.op,
        Command::AclMacCommand(command) => command.op,
        Command::AclVlanCommand(command) => command.op,
        _ => return None,
    })
}
