//! Bring-up: from an adapter that nobody drives to one with an interface and queues.

use super::error::DriverError;
use super::identify::who_am_i;
use super::mailbox::{execute, firmware_state};
use super::{DriverConfig, Queues, host, queues, share};
use crate::bus::Bus;
use crate::dma::Heap;
use crate::registers::*;
use crate::wire::*;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Instant;

pub(super) type Clock<'a> = &'a mut dyn FnMut() -> Instant;

/// What the adapter has told about itself and what belongs to this function.
#[derive(Clone, Debug)]
pub struct Adapter {
    /// Which function it is.
    pub function: FunctionId,
    /// The virtual interface.
    pub vi: ViId,
    /// Its address.
    pub mac: [u8; 6],
    /// How many connections the adapter has.
    pub tids: u32,
    /// Credits of a connection, in units of 16 bytes.
    pub flow_credits: u32,
    /// Where page pods are in the adapter's memory, in bytes.
    pub pods: Range<u32>,
    /// How tags are cut.
    pub tag_format: TagFormat,
    /// Entries of the table of next hops.
    pub next_hops: Range<u32>,
    /// Ids of listeners.
    pub servers: Range<u32>,
    /// Filters of the function; empty if it has none.
    pub filters: Range<u32>,
    /// The numbers by which connections are steered to the ingress queues.
    pub rss_queues: Vec<u16>,
}

/// What is asked of the link: 10 Gbit/s, found out with the peer.
const LINK_WANTED: u32 = 0x108;

pub(super) fn bring_up(
    bus: &impl Bus,
    heap: &mut Heap,
    config: &DriverConfig,
    purpose: ViFunction,
    clock: Clock<'_>,
) -> Result<(Adapter, Queues), DriverError> {
    let id = who_am_i(bus)?;
    if id.is_virtual() {
        share::take(bus, id, config, clock)?;
    } else {
        greet(bus, id, clock)?;
    }
    let target = id.to_wire();
    let [tids, flow_credits, servers, servers_last, hops, hops_last] = parameters(
        bus,
        target,
        clock,
        [
            ParameterName::device(DeviceParameter::TidCount),
            ParameterName::device(DeviceParameter::FlowBufferSize),
            ParameterName::function(FunctionParameter::ServerStart),
            ParameterName::function(FunctionParameter::ServerEnd),
            ParameterName::function(FunctionParameter::L2tStart),
            ParameterName::function(FunctionParameter::L2tEnd),
        ],
    )?;
    let [pods, pods_last, filters, filters_last] = parameters(
        bus,
        target,
        clock,
        [
            ParameterName::function(FunctionParameter::IscsiStart),
            ParameterName::function(FunctionParameter::IscsiEnd),
            ParameterName::function(FunctionParameter::FilterStart),
            ParameterName::function(FunctionParameter::FilterEnd),
        ],
    )?;
    check("NTID", tids, (1..1 << 20).contains(&tids), "between 1 and 2^20 - 1")?;
    check("FLOWC_BUFFIFO_SZ", flow_credits, flow_credits >= 64, "64 or more, for a work request and an abort")?;
    check("SERVER_END", servers_last, servers_last < 1 << 24, "below 2^24, as messages name a listener by 24 bits")?;
    check("FILTER_END", filters_last, filters_last < 1 << 20, "below 2^20, as work requests name a filter by 20 bits")?;
    check("L2T_END", hops_last, hops_last < 1 << 12, "below 4096, as options name a next hop by 12 bits")?;
    check("ISCSI_START", pods, pods.is_multiple_of(POD_BYTES), "a multiple of 64, as page pods are written whole")?;
    let [mask] = registers(bus, id, clock, [ULP_RX_ISCSI_TAGMASK])?;
    let tag_format = TagFormat::from_mask(mask);
    check("ULP_RX_ISCSI_TAGMASK", mask, tag_format.is_some(), "has its highest bit between 7 and 29")?;

    let mut interface = ViCommand::request(Access::EXEC_WRITE, target);
    interface.length = interface.length.with_bit(AllocLength::ALLOC, true);
    interface.kind = ViType::new().with(ViType::FUNC, purpose.to_wire().into());
    interface.port = ViPort::new().with(ViPort::PORTID, config.port);
    let interface = execute(bus, &interface, clock)?;
    let vi = ViId::from_value(interface.kind.get(ViType::VIID));

    let (queues, rss_queues) = queues::make(bus, heap, config, id, vi, clock)?;
    let adapter = Adapter {
        function: id,
        vi,
        mac: interface.mac,
        tids,
        flow_credits,
        pods: pods..pods_last.saturating_add(1).max(pods),
        tag_format: tag_format.expect("was checked"),
        next_hops: hops..hops_last.saturating_add(1).max(hops),
        servers: servers..servers_last.saturating_add(1).max(servers),
        filters: filters..filters_last.saturating_add(1).max(filters),
        rss_queues,
    };
    open_interface(bus, &adapter, interface.rss.get(ViRss::RSSSIZE), config, clock)?;
    tell_addresses(bus, config, clock)?;
    Ok((adapter, queues))
}

/// Tells the firmware the addresses of IPv6: connections may have these and no others.
fn tell_addresses(bus: &impl Bus, config: &DriverConfig, clock: Clock<'_>) -> Result<(), DriverError> {
    for (address, _) in &config.addresses {
        if let IpAddr::V6(address) = address {
            let mut table = ClipCommand::request(Access::WRITE, 0);
            table.length = table.length.with_bit(ClipLength::ALLOC, true);
            table.address = address.octets();
            execute(bus, &table, clock)?;
        }
    }
    Ok(())
}

pub(super) fn check(what: &'static str, value: u32, holds: bool, expected: &'static str) -> Result<(), DriverError> {
    if holds { Ok(()) } else { Err(DriverError::Adapter { what, value, expected }) }
}

/// Says hello; the first driver of the adapter has it begin.
fn greet(bus: &impl Bus, id: FunctionId, clock: Clock<'_>) -> Result<(), DriverError> {
    firmware_state(bus)?;
    let mut hello = HelloCommand::request(Access::WRITE, 0);
    hello.flags =
        HelloFlags::new().with(HelloFlags::MBMASTER, id.pf().into()).with(HelloFlags::MBASYNCNOT, id.pf().into());
    let answer = execute(bus, &hello, clock)?.flags;
    if answer.is_set(HelloFlags::ERR) {
        return Err(DriverError::Firmware(answer.value()));
    }
    if answer.get(HelloFlags::MBMASTER) != u32::from(id.pf()) || answer.is_set(HelloFlags::INIT) {
        return Ok(());
    }
    execute(bus, &ResetCommand::request(Access::WRITE, 0), clock)?;
    let can = execute(bus, &CapsConfigCommand::request(Access::READ, 0), clock)?;
    let mut wanted = CapsConfigCommand { op: CapsConfigCommand::request(Access::WRITE, 0).op, ..can };
    wanted.length = CapsConfigCommand::request(Access::WRITE, 0).length;
    execute(bus, &wanted, clock)?;
    execute(bus, &InitializeCommand::request(Access::WRITE, 0), clock)?;
    Ok(())
}

pub(super) fn parameters<const N: usize>(
    bus: &impl Bus,
    target: u32,
    clock: Clock<'_>,
    names: [ParameterName; N],
) -> Result<[u32; N], DriverError> {
    let mut command = ParamsCommand::request(Access::READ, target);
    for (parameter, name) in command.parameters.iter_mut().zip(names) {
        parameter.name = name;
    }
    let answer = execute(bus, &command, clock)?;
    Ok(std::array::from_fn(|at| answer.parameters[at].value.get()))
}

/// Reads registers that all functions share; a virtual one, which cannot, asks the firmware.
pub(super) fn registers<const N: usize>(
    bus: &impl Bus,
    function: FunctionId,
    clock: Clock<'_>,
    offsets: [u32; N],
) -> Result<[u32; N], DriverError> {
    if function.is_virtual() {
        return parameters(bus, function.to_wire(), clock, offsets.map(ParameterName::register));
    }
    Ok(offsets.map(|offset| bus.read_register(offset)))
}

/// Gives the interface its address and lets frames in and out.
fn open_interface(
    bus: &impl Bus,
    adapter: &Adapter,
    rss_size: u16,
    config: &DriverConfig,
    clock: Clock<'_>,
) -> Result<(), DriverError> {
    let target = u32::from(adapter.vi.value());
    for start in (0..rss_size).step_by(32) {
        // Frames of no connection are none of ours, wherever they come.
        let three = u32::from(adapter.rss_queues[0]);
        let three =
            RssQueues::new().with(RssQueues::IQ0, three).with(RssQueues::IQ1, three).with(RssQueues::IQ2, three);
        let mut table = RssIndirectionCommand::request(Access::WRITE, target);
        table.count = (rss_size - start).min(32).into();
        table.start = start.into();
        table.queues = [three; 11];
        execute(bus, &table, clock)?;
    }
    let mut spread = RssViConfigCommand::request(Access::WRITE, target);
    spread.flags = RssViFlags::new().with(RssViFlags::DEFAULTQ, adapter.rss_queues[0].into());
    execute(bus, &spread, clock)?;

    let mut address = ViMacCommand::request(Access::WRITE, target);
    address.entries[0].index = ViMacIndex::new().with_bit(ViMacIndex::VALID, true).with(ViMacIndex::IDX, MAC_ADD);
    address.entries[0].address = adapter.mac;
    execute(bus, &address, clock)?;
    let groups = host::groups(&config.addresses).fold(0, |set, group| set | 1 << address_hash_bit(group));
    if groups != 0 {
        execute(bus, &ViMacCommand::of_groups(target, groups), clock)?;
    }

    let mut mode = ViRxModeCommand::request(Access::WRITE, target);
    mode.mode = RxMode::new()
        .with(RxMode::MTU, config.mtu.into())
        .with(RxMode::PROMISCEN, 3)
        .with(RxMode::ALLMULTIEN, 3)
        .with(RxMode::BROADCASTEN, 1)
        .with(RxMode::VLANEXEN, 3);
    execute(bus, &mode, clock)?;

    if !adapter.function.is_virtual() {
        open_link(bus, config.port, clock)?;
    }
    let mut enable = ViEnableCommand::request(Access::EXEC_WRITE, target);
    enable.length = enable.length.with_bit(ViEnableLength::IEN, true).with_bit(ViEnableLength::EEN, true);
    execute(bus, &enable, clock)?;
    Ok(())
}

/// Lets a port find out with its peer how fast the link is.
fn open_link(bus: &impl Bus, port: u8, clock: Clock<'_>) -> Result<(), DriverError> {
    let mut link = PortCommand::request(Access::EXEC_WRITE, port.into());
    link.length = link.length.with(PortLength::ACTION, PortAction::L1Configure.to_wire().into());
    link.status = PortStatus::from_value(LINK_WANTED);
    execute(bus, &link, clock)?;
    Ok(())
}
