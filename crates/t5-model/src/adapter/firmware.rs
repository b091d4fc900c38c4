//! The firmware's side of the mailbox: commands, each with its answer.

use super::Core;
use super::egress::{EgressKind, EgressQueue};
use super::filters::{FILTERS_BASE, FILTERS_FUNCTION};
use super::function::{ADDRESSES_MAX, Function};
use super::ingress::{FreeListSetup, IngressQueue, IngressSetup};
use super::profile::Limits;
use crate::switch::{AddressError, Interface, InterfaceNumber, MacAddress, PortNumber, Switch};
use t5_hal::wire::*;
use zerocopy::{FromBytes, IntoBytes};

/// Connections of the adapter: the shares of all functions find room.
pub(super) const TIDS: u32 = 8192;
/// Credits of a flow, in units of 16 bytes.
pub(super) const FLOW_CREDITS: u32 = 1024;
/// Entries of an interface's table that spreads frames over queues.
const RSS_ENTRIES: u16 = 64;
/// Filters, as the firmware tells of them.
const FILTERS: u32 = crate::switch::FILTERS_MAX as u32;
/// What the ports can do: 10 Gbit/s and 1 Gbit/s.
const PORT_CAPABILITIES: u16 = 0x0a;

type Answer<T> = Result<T, ReturnCode>;

/// What the three commands of egress queues have in common.
struct EgressAsked {
    length: AllocLength,
    id: u32,
    fetch: EgressFetch,
    size: EgressSize,
    address: u64,
}

/// Does a command of an egress queue, and answers by its numbers.
macro_rules! egress_queue {
    ($core:ident, $who:ident, $command:ident, $id:ident, $kind:expr) => {{
        let asked = EgressAsked {
            length: $command.length,
            id: $command.eq.get($id::EQID),
            fetch: $command.fetch,
            size: $command.size,
            address: $command.address.get(),
        };
        let id = $core.egress_queue($who, $kind, &asked)?;
        $command.eq = $command.eq.with($id::EQID, id);
        $command.physical_eq = EgressId::new().with(EgressId::EQID, id);
        $command.into()
    }};
}

impl Core {
    /// Does the command that stands in a function's mailbox.
    pub(super) fn run_firmware(&mut self, who: FunctionId) -> bool {
        let Some(message) = self.functions[who].as_ref().and_then(|function| function.command()) else { return false };
        let mut answer = message;
        let code = match Command::decode(&message) {
            Ok(command) => match self.execute(who, command) {
                Ok(done) => {
                    answer[..done.as_bytes().len()].copy_from_slice(done.as_bytes());
                    ReturnCode::Success
                }
                Err(code) => code,
            },
            Err(WireError::Opcode { .. }) => ReturnCode::NotImplemented,
            Err(_) => ReturnCode::Invalid,
        };
        let (mut header, _) = CommandHeader::read_from_prefix(&answer).expect("a mailbox has a header");
        header.op = header.op.with_bit(CommandOp::REQUEST, false);
        header.length = header.length.with(CommandLength::RETVAL, code.to_wire().into());
        answer[..size_of::<CommandHeader>()].copy_from_slice(header.as_bytes());
        self.function(who).answer(answer);
        true
    }

    fn execute(&mut self, who: FunctionId, command: Command) -> Answer<Command> {
        super::permissions::check(who, self.grants[who].limits, &command)?;
        Ok(match command {
            Command::HelloCommand(command) => self.hello(who, command).into(),
            Command::ByeCommand(command) => {
                self.reset_function(who);
                if self.master == Some(who) {
                    self.master = None;
                }
                command.into()
            }
            Command::ResetCommand(command) => {
                self.reset_function(who);
                command.into()
            }
            Command::InitializeCommand(command) => {
                self.initialized = true;
                command.into()
            }
            Command::CapsConfigCommand(command) => capabilities(command).into(),
            Command::ParamsCommand(command) => self.parameters(who, command)?.into(),
            Command::PfVfCommand(command) => self.resources(command)?.into(),
            Command::IqCommand(command) => self.ingress_queue(who, command)?.into(),
            Command::EqEthCommand(mut command) => {
                let interface = self.owned_interface(who, command.flags.get(EthEgressFlags::VIID) as u16);
                egress_queue!(self, who, command, EgressId, interface.map(EgressKind::Ethernet))
            }
            Command::EqCtrlCommand(mut command) => {
                egress_queue!(self, who, command, CtrlEgressId, Ok(EgressKind::Control))
            }
            Command::EqOffloadCommand(mut command) => {
                egress_queue!(self, who, command, EgressId, Ok(EgressKind::Offload))
            }
            Command::ViCommand(command) => self.virtual_interface(who, command)?.into(),
            Command::ViMacCommand(command) => self.addresses(who, command)?.into(),
            Command::ViRxModeCommand(command) => self.receive_mode(who, command)?.into(),
            Command::ViEnableCommand(command) => {
                let interface = self.interface_of(who, command.op)?;
                interface.receives = command.length.is_set(ViEnableLength::IEN);
                interface.sends = command.length.is_set(ViEnableLength::EEN);
                command.into()
            }
            Command::AclMacCommand(command) => self.mac_list(command)?.into(),
            Command::AclVlanCommand(command) => self.vlan_list(command)?.into(),
            Command::ViStatsCommand(command) => self.interface_counters(who, command)?.into(),
            Command::PortCommand(command) => port(command)?.into(),
            Command::PortStatsCommand(mut command) => {
                let port = port_of(command.op)?;
                let all = super::statistics::port(self.switch.wire_counters(port));
                super::statistics::select(&all, command.first.into(), command.count.into(), &mut command.counters);
                command.into()
            }
            Command::PortLoopbackStatsCommand(mut command) => {
                let port = port_of(command.op)?;
                let all = super::statistics::loopback(self.switch.loopback_counters(port));
                super::statistics::select(&all, command.first.into(), command.count.into(), &mut command.counters);
                command.into()
            }
            Command::RssIndirectionCommand(command) => {
                self.interface_of(who, command.op)?;
                command.into()
            }
            Command::RssViConfigCommand(command) => {
                let interface = self.owned_interface(who, command.op.get(CommandOp::TARGET) as u16)?;
                let queue = command.flags.get(RssViFlags::DEFAULTQ) as u16;
                if !self.function(who).ingress.contains_key(&queue) {
                    return Err(ReturnCode::Invalid);
                }
                self.function(who).default_queues.insert(interface, queue);
                command.into()
            }
            Command::ClipCommand(command) => self.function(who).change_addresses(command)?.into(),
            Command::LdstCommand(_) | Command::ChnetIfaceCommand(_) | Command::ErrorCommand(_) => {
                return Err(ReturnCode::NotImplemented);
            }
        })
    }

    fn hello(&mut self, who: FunctionId, mut command: HelloCommand) -> HelloCommand {
        let master = *self.master.get_or_insert(who);
        command.flags = HelloFlags::new()
            .with(HelloFlags::MBMASTER, master.pf().into())
            .with_bit(HelloFlags::INIT, self.initialized);
        command
    }

    fn parameters(&mut self, who: FunctionId, mut command: ParamsCommand) -> Answer<ParamsCommand> {
        if command.op.is_set(CommandOp::WRITE) {
            // The only one that drivers set is how firmware wraps messages, which this one does not do.
            return Ok(command);
        }
        for parameter in &mut command.parameters {
            if parameter.name.value() != 0 {
                parameter.value = self.parameter(who, parameter.name).ok_or(ReturnCode::Invalid)?.into();
            }
        }
        Ok(command)
    }

    fn parameter(&mut self, who: FunctionId, name: ParameterName) -> Option<u32> {
        let number = name.get(ParameterName::X) as u8;
        if name.get(ParameterName::CLASS) == ParameterClass::Device as u32 {
            return Some(match DeviceParameter::from_wire(number)? {
                DeviceParameter::CoreClock => 250_000,
                DeviceParameter::PortVector => 0xf,
                DeviceParameter::TidCount => TIDS,
                DeviceParameter::FlowBufferSize => FLOW_CREDITS,
                DeviceParameter::FirmwareRevision => 0x010d_2b00,
                DeviceParameter::TpRevision => 0,
                DeviceParameter::UlpTxMemoryWriteList | DeviceParameter::Filter2 => 0,
            });
        }
        if name.get(ParameterName::CLASS) == ParameterClass::Register as u32 {
            return self.function(who).shared_register(name.value() & 0xff_ffff);
        }
        if name.get(ParameterName::CLASS) != ParameterClass::Function as u32 {
            return None;
        }
        let function = self.function(who);
        let (share, limits, pods) = (function.share, Limits::of(who), function.pods.base());
        Some(match FunctionParameter::from_wire(number)? {
            FunctionParameter::ClipStart => 0,
            FunctionParameter::ClipEnd => ADDRESSES_MAX as u32 - 1,
            FunctionParameter::FilterStart if who == FILTERS_FUNCTION => FILTERS_BASE,
            FunctionParameter::FilterEnd if who == FILTERS_FUNCTION => FILTERS_BASE + FILTERS - 1,
            FunctionParameter::FilterStart | FunctionParameter::ActiveFilterStart => 1,
            FunctionParameter::FilterEnd | FunctionParameter::ActiveFilterEnd => 0,
            FunctionParameter::ServerStart => share.servers_base,
            FunctionParameter::ServerEnd => share.servers_base + share.servers - 1,
            // No placement of plain TCP.
            FunctionParameter::TddpStart => 1,
            FunctionParameter::TddpEnd => 0,
            FunctionParameter::IscsiStart => pods,
            FunctionParameter::IscsiEnd => pods + function.pods.length() - 1,
            FunctionParameter::L2tStart => 0,
            FunctionParameter::L2tEnd => share.next_hops - 1,
            FunctionParameter::ViId => 0,
            FunctionParameter::IngressStart => share.ingress_base,
            FunctionParameter::EgressStart => share.egress_base,
            FunctionParameter::IngressEnd => share.ingress_base + limits.ingress() as u32 - 1,
            FunctionParameter::EgressEnd => share.egress_base + limits.egress() as u32 - 1,
            FunctionParameter::CplFw4MsgEncap => 0,
        })
    }

    fn ingress_queue(&mut self, who: FunctionId, mut command: IqCommand) -> Answer<IqCommand> {
        let limits = self.grants[who].limits;
        let function = self.function(who);
        if command.length.is_set(AllocLength::FREE) {
            function.ingress.remove(&command.iq.get()).ok_or(ReturnCode::NoEntry)?;
            // Nobody waits for room in it any more.
            function.has_made_room = true;
            return Ok(command);
        }
        if function.ingress.len() >= limits.ingress() {
            return Err(ReturnCode::NoMemory);
        }
        let id = (function.share.ingress_base as u16..).find(|id| !function.ingress.contains_key(id));
        let id = id.expect("it has fewer than it may have");
        let entries = command.size.get();
        let is_of_64_bytes = command.flags.get(IqFlags::IQESIZE) == 2;
        if !(16..4096).contains(&entries) || !is_of_64_bytes {
            return Err(ReturnCode::Invalid);
        }
        let mut free_list = None;
        if command.free_list0_size.get() > 1 {
            let list = function.free_egress_id(limits).ok_or(ReturnCode::NoMemory)?;
            let buffers = (u32::from(command.free_list0_size.get()) - 1) * 8;
            free_list = Some(FreeListSetup { id: list, address: command.free_list0_address.get(), buffers });
            command.free_list0 = (list as u16).into();
        }
        let setup = IngressSetup {
            id,
            address: command.address.get(),
            entries,
            vector: command.kind.get(IqType::IQANDSTINDEX) as u16,
            threshold: command.flags.get(IqFlags::IQINTCNTTHRESH),
            free_list,
        };
        function.ingress.insert(id, IngressQueue::new(setup));
        (command.iq, command.physical_iq) = (id.into(), id.into());
        Ok(command)
    }

    fn egress_queue(&mut self, who: FunctionId, kind: Answer<EgressKind>, asked: &EgressAsked) -> Answer<u32> {
        let limits = self.grants[who].limits;
        let function = self.function(who);
        if asked.length.is_set(AllocLength::FREE) {
            return function.egress.remove(&asked.id).map(|queue| queue.id).ok_or(ReturnCode::NoEntry);
        }
        let kind = kind?;
        let others = function.egress.values().filter(|queue| queue.kind != EgressKind::Offload).count();
        if kind != EgressKind::Offload && others >= limits.frames_and_control() {
            return Err(ReturnCode::NoMemory);
        }
        let iq = asked.fetch.get(EgressFetch::IQID) as u16;
        let size = asked.size.get(EgressSize::EQSIZE) as u16;
        if !function.ingress.contains_key(&iq) || !(16..=8192).contains(&size) {
            return Err(ReturnCode::Invalid);
        }
        let id = function.free_egress_id(limits).ok_or(ReturnCode::NoMemory)?;
        function.egress.insert(id, EgressQueue::new(id, kind, iq, asked.address, size));
        Ok(id)
    }

    fn virtual_interface(&mut self, who: FunctionId, mut command: ViCommand) -> Answer<ViCommand> {
        if command.length.is_set(AllocLength::FREE) {
            let interface = self.owned_interface(who, command.kind.get(ViType::VIID))?;
            self.free_interface(who, interface);
            return Ok(command);
        }
        let port = PortNumber::new(command.port.get(ViPort::PORTID)).ok_or(ReturnCode::Invalid)?;
        let (limits, owned) = (self.grants[who].limits, self.function(who).interfaces);
        if !limits.has_port(port.index()) {
            return Err(ReturnCode::NotPermitted);
        }
        if owned.iter().count() >= limits.interfaces() {
            return Err(ReturnCode::NoMemory);
        }
        let free = (0..128).filter_map(InterfaceNumber::new).find(|&number| self.switch.interface(number).is_none());
        let number = free.ok_or(ReturnCode::NoMemory)?;
        let grant = &self.grants[who];
        let given = grant.addresses.first().filter(|_| owned.is_empty()).copied();
        let mut interface = Interface::new(port);
        (interface.mac_list, interface.vlan_list) = (grant.mac_list(), grant.vlan_list.clone());
        self.switch.attach(number, interface);
        self.function(who).interfaces.insert(number);
        let vi = ViId::new()
            .with(ViId::PFN, who.pf().into())
            .with_bit(ViId::VIVLD, true)
            .with(ViId::VIN, number.index() as u16);
        command.kind = command.kind.with(ViType::VIID, vi.value());
        command.mac = given.unwrap_or_else(|| self.address_of(number)).0;
        command.rss = ViRss::new().with(ViRss::RSSSIZE, RSS_ENTRIES);
        Ok(command)
    }

    /// Takes an interface from a function, with all that goes by it: the number may be another's next.
    fn free_interface(&mut self, who: FunctionId, interface: InterfaceNumber) {
        self.switch.detach(interface);
        self.forget_all(|flow| flow.interface == interface);
        let function = self.function(who);
        function.interfaces.remove(interface);
        function.sources.remove(&interface);
        function.default_queues.remove(&interface);
        function.egress.retain(|_, queue| queue.kind != EgressKind::Ethernet(interface));
    }

    fn owned_interface(&mut self, who: FunctionId, vi: u16) -> Answer<InterfaceNumber> {
        let vi = ViId::from_value(vi);
        let number = InterfaceNumber::new(vi.get(ViId::VIN) as u8).ok_or(ReturnCode::Invalid)?;
        let owned = self.function(who).interfaces.contains(number) && vi.get(ViId::PFN) == u16::from(who.pf());
        if owned { Ok(number) } else { Err(ReturnCode::NotPermitted) }
    }

    fn interface_of(&mut self, who: FunctionId, op: CommandOp) -> Answer<&mut Interface> {
        let number = self.owned_interface(who, op.get(CommandOp::TARGET) as u16)?;
        self.switch.interface_mut(number).ok_or(ReturnCode::NoEntry)
    }

    fn addresses(&mut self, who: FunctionId, mut command: ViMacCommand) -> Answer<ViMacCommand> {
        let number = self.owned_interface(who, command.op.get(CommandOp::TARGET) as u16)?;
        if let Some(hash) = command.hash() {
            let interface = self.interface_of(who, command.op)?;
            (interface.hash, interface.hashes_individuals) = (hash, command.length.is_set(ViMacLength::HASHUNIEN));
            return Ok(command);
        }
        for entry in command.entries.iter_mut().filter(|entry| entry.index.is_set(ViMacIndex::VALID)) {
            let held = self.switch.addresses_of(self.functions[who].as_ref().expect("it was asked").interfaces);
            change_address(&mut self.switch, number, entry, held < self.grants[who].limits.addresses());
        }
        Ok(command)
    }

    fn receive_mode(&mut self, who: FunctionId, command: ViRxModeCommand) -> Answer<ViRxModeCommand> {
        let interface = self.interface_of(who, command.op)?;
        let set = |field, to: &mut bool| match command.mode.get(field) {
            3 => {}
            value => *to = value != 0,
        };
        set(RxMode::PROMISCEN, &mut interface.mode.promiscuous);
        set(RxMode::ALLMULTIEN, &mut interface.mode.all_multicast);
        set(RxMode::BROADCASTEN, &mut interface.mode.broadcast);
        Ok(command)
    }

    fn interface_counters(&mut self, who: FunctionId, mut command: ViStatsCommand) -> Answer<ViStatsCommand> {
        let counters = *self.interface_of(who, command.op)?.counters();
        let (first, count) = (command.select.get(ViStatsSelect::IX), command.select.get(ViStatsSelect::NSTATS));
        let all = super::statistics::interface(&counters, who.is_virtual());
        super::statistics::select(&all, first.into(), count.into(), &mut command.counters);
        Ok(command)
    }
}

impl Function {
    /// A number that neither an egress queue nor a free list has.
    fn free_egress_id(&self, limits: Limits) -> Option<u32> {
        let lists = self.ingress.values().filter(|queue| queue.free_list_id().is_some()).count();
        if self.egress.len() + lists >= limits.egress() {
            return None;
        }
        let taken = |id: u32| {
            self.egress.contains_key(&id) || self.ingress.values().any(|queue| queue.free_list_id() == Some(id))
        };
        (self.share.egress_base..).find(|&id| !taken(id))
    }
}

/// Adds an address to an interface, if the function has room for more, changes it, or takes it away, and writes into the entry what became of it.
fn change_address(switch: &mut Switch, number: InterfaceNumber, entry: &mut ViMacExact, has_room: bool) {
    let address = MacAddress(entry.address);
    let index = entry.index.get(ViMacIndex::IDX);
    let result = match index {
        MAC_FREE_ADDRESS | MAC_FREE_INDEX => {
            switch.remove_address(number, address);
            Ok(usize::from(index))
        }
        MAC_ADD | MAC_ADD_PERSISTENT if has_room => switch.add_address(number, address),
        MAC_ADD | MAC_ADD_PERSISTENT => Err(AddressError::Full),
        // In the place of the one at that index, which stays if this one cannot have it.
        _ => switch.replace_address(number, index.into(), address, has_room),
    };
    let (index, result) = match result {
        Ok(index) => (index as u16, ViMacResult::Success),
        Err(AddressError::Full) => (MAC_ADD, ViMacResult::NoMemory),
        Err(AddressError::Taken | AddressError::NotAllowed) => (MAC_ADD, ViMacResult::AccessList),
    };
    entry.index = entry.index.with(ViMacIndex::IDX, index).with(ViMacIndex::SMAC_RESULT, result.to_wire().into());
}

fn capabilities(mut command: CapsConfigCommand) -> CapsConfigCommand {
    if command.op.is_set(CommandOp::READ) {
        command.switch_caps = SwitchCaps::new().with_bit(SwitchCaps::INGRESS, true).with_bit(SwitchCaps::EGRESS, true);
        command.nic_caps = NicCaps::new().with_bit(NicCaps::NIC, true).with_bit(NicCaps::VM, true);
        command.toe_caps = 1.into();
        command.iscsi_caps = [
            IscsiCaps::INITIATOR_PDU,
            IscsiCaps::TARGET_PDU,
            IscsiCaps::INITIATOR_SSNOFLD,
            IscsiCaps::INITIATOR_CMDOFLD,
        ]
        .into_iter()
        .fold(IscsiCaps::new(), |caps, bit| caps.with_bit(bit, true));
    }
    command
}

fn port_of(op: CommandOp) -> Answer<PortNumber> {
    PortNumber::new((op.get(CommandOp::TARGET) & 0xf) as u8).ok_or(ReturnCode::Invalid)
}

fn port(mut command: PortCommand) -> Answer<PortCommand> {
    port_of(command.op)?;
    match PortAction::from_wire(command.length.get(PortLength::ACTION) as u16) {
        Some(PortAction::L1Configure | PortAction::L2Configure) => {}
        Some(PortAction::GetPortInfo) => {
            // The link is up at 10 Gbit/s.
            command.status = PortStatus::new().with_bit(PortStatus::LSTATUS, true).with(PortStatus::LSPEED, 8);
            command.capabilities = PORT_CAPABILITIES.into();
            command.mtu = 1500.into();
        }
        None => return Err(ReturnCode::Invalid),
    }
    Ok(command)
}
