//! Commands by which a function's driver says what a virtual function of it, or it itself, may have and do.

use super::Core;
use super::permissions::named;
use super::profile::Limits;
use crate::switch::{InterfaceSet, MacAddress, VlanList};
use t5_hal::wire::*;

impl Core {
    /// Tells what a function may have, or sets it within what the configuration says. What a function has already stays.
    pub(super) fn resources(&mut self, command: PfVfCommand) -> Result<PfVfCommand, ReturnCode> {
        let function = named(command.op);
        if command.op.is_set(CommandOp::WRITE) {
            let limits = Limits::from_command(&command);
            if !limits.is_within(Limits::of(function)) {
                return Err(ReturnCode::NotPermitted);
            }
            self.grants[function].limits = limits;
        }
        Ok(self.grants[function].limits.tell(command))
    }

    pub(super) fn mac_list(&mut self, command: AclMacCommand) -> Result<AclMacCommand, ReturnCode> {
        let listed = command.addresses.get(..command.count.into()).ok_or(ReturnCode::Invalid)?;
        let function = named(command.op);
        let grant = &mut self.grants[function];
        grant.addresses = listed.iter().map(|entry| MacAddress(entry.address)).collect();
        grant.is_bound_to_addresses = command.length.is_set(AclLength::EN);
        let list = grant.mac_list();
        for number in self.interfaces_of(function).iter() {
            self.switch.set_mac_list(number, list.clone());
        }
        Ok(command)
    }

    pub(super) fn vlan_list(&mut self, command: AclVlanCommand) -> Result<AclVlanCommand, ReturnCode> {
        let listed = command.vlans.get(..command.count.into()).ok_or(ReturnCode::Invalid)?;
        let function = named(command.op);
        let list = command.length.is_set(AclLength::EN).then(|| VlanList {
            vlans: listed.iter().map(|vlan| vlan.get() & 0xfff).collect(),
            drop_untagged: command.flags.is_set(AclVlanFlags::DROPNOVLAN),
            drop_unlisted: command.flags.is_set(AclVlanFlags::FM),
        });
        for number in self.interfaces_of(function).iter() {
            if let Some(interface) = self.switch.interface_mut(number) {
                interface.vlan_list.clone_from(&list);
            }
        }
        self.grants[function].vlan_list = list;
        Ok(command)
    }

    pub(super) fn interfaces_of(&self, function: FunctionId) -> InterfaceSet {
        self.functions[function].as_ref().map(|function| function.interfaces).unwrap_or_default()
    }
}
