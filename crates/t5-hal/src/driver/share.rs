//! What a virtual function may have, before its driver takes any of it: the shares are dealt by the firmware's configuration and the physical
//! function's driver.

use super::DriverConfig;
use super::bring_up::check;
use super::error::DriverError;
use super::mailbox::execute;
use crate::bus::Bus;
use crate::wire::{Access, FunctionId, PfVfCaps, PfVfCommand, PfVfEgress, PfVfIngress, PfVfInterfaces, ResetCommand};
use std::time::Instant;

/// Queues beside those for frames and the free lists: for control, and for data.
const OTHER_QUEUES: u32 = 2;

/// Begins anew, and sees that the function may have what the driver is to make.
pub(super) fn take(
    bus: &impl Bus,
    function: FunctionId,
    config: &DriverConfig,
    clock: &mut dyn FnMut() -> Instant,
) -> Result<(), DriverError> {
    execute(bus, &ResetCommand::request(Access::WRITE, 0), clock)?;
    let share = execute(bus, &PfVfCommand::request(Access::READ, function.to_wire()), clock)?;
    let frames = u32::from(!config.addresses.is_empty());
    let (ingress, control) = (u32::from(config.ingress_queues), 1 + frames);

    let queues = share.ingress.get(PfVfIngress::NIQFLINT);
    check("NIQFLINT", queues, queues >= ingress, "as many as the ingress queues that are asked for, or more")?;
    let queues = share.egress.get(PfVfEgress::NEQ);
    let needed = ingress + OTHER_QUEUES + frames;
    check(
        "NEQ",
        queues,
        queues >= needed,
        "one for each ingress queue, two more, and one for frames if there are addresses",
    )?;
    let queues = share.caps.get(PfVfCaps::NETHCTRL);
    check("NETHCTRL", queues, queues >= control, "one, and one for frames if there are addresses")?;
    let interfaces = share.interfaces.get(PfVfInterfaces::NVI);
    check("NVI", interfaces, interfaces > 0, "1 or more, as the driver has an interface")?;
    let ports = share.egress.get(PfVfEgress::PMASK);
    let has_port = ports.checked_shr(config.port.into()).is_some_and(|ports| ports & 1 == 1);
    check("PMASK", ports, has_port, "with the bit of the port that is asked for")
}
