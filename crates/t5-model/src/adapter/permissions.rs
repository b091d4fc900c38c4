//! What a function may ask the firmware for.

use t5_hal::wire::{Command, CommandOp, FunctionId, ReturnCode};

/// Refuses a command that names a function which is not its sender's to name.
pub(super) fn check(who: FunctionId, command: &Command) -> Result<(), ReturnCode> {
    let Some(op) = naming(command) else { return Ok(()) };
    let is_own = FunctionId::from_wire(op.get(CommandOp::TARGET)) == Some(who);
    if is_own { Ok(()) } else { Err(ReturnCode::NotPermitted) }
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
