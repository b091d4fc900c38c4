//! A virtual function whose driver means harm: it has what it was given, and nothing of anybody else.

use crate::guest::{HOSTILE, Hostile, VICTIM, VIRTUAL, adapter, command, refusal, snapshot, victim};
use std::sync::Arc;
use t5_hal::Bus;
use t5_hal::dma::DmaMemory;
use t5_hal::registers::*;
use t5_hal::wire::*;
use t5_model::adapter::{Adapter, Fault, FunctionBus};
use t5_model::switch::PortNumber;
use zerocopy::IntoBytes;

const DENIED: Option<ReturnCode> = Some(ReturnCode::NotPermitted);
const FULL: Option<ReturnCode> = Some(ReturnCode::NoMemory);
const GIVEN: [u8; 6] = [2, 0, 0, 0, 1, 1];

fn bus(adapter: &Arc<Adapter>, function: FunctionId) -> FunctionBus {
    adapter.function(function, Arc::new(DmaMemory::new(0, 4096, 4096)))
}

/// The driver of the physical function that it belongs to.
fn parent(adapter: &Arc<Adapter>) -> FunctionBus {
    bus(adapter, VIRTUAL.parent())
}

fn limits(bus: &FunctionBus) -> PfVfCommand {
    command(bus, &PfVfCommand::request(Access::READ, VIRTUAL.to_wire())).unwrap()
}

/// Says what the virtual function may have.
fn set(bus: &FunctionBus, change: impl FnOnce(PfVfCommand) -> PfVfCommand) -> PfVfCommand {
    let PfVfCommand { op, length, .. } = PfVfCommand::request(Access::WRITE, VIRTUAL.to_wire());
    PfVfCommand { op, length, ..change(limits(bus)) }
}

fn alloc(length: AllocLength) -> AllocLength {
    length.with_bit(AllocLength::ALLOC, true)
}

fn ingress_queue(function: FunctionId) -> IqCommand {
    let ask = IqCommand::request(Access::EXEC_WRITE, function.to_wire());
    let flags = IqFlags::new().with(IqFlags::IQESIZE, 2);
    IqCommand { length: alloc(ask.length), flags, size: 64.into(), ..ask }
}

fn interface(function: FunctionId, port: u8) -> ViCommand {
    let ask = ViCommand::request(Access::EXEC_WRITE, function.to_wire());
    ViCommand { length: alloc(ask.length), port: ViPort::new().with(ViPort::PORTID, port), ..ask }
}

fn address(vi: u16, last: u8) -> ViMacCommand {
    let mut ask = ViMacCommand::request(Access::WRITE, vi.into());
    ask.entries[0].index = ViMacIndex::new().with_bit(ViMacIndex::VALID, true).with(ViMacIndex::IDX, MAC_ADD);
    ask.entries[0].address = [2, 9, 0, 0, 0, last];
    ask
}

/// Binds the virtual function to an address.
fn bind(parent: &FunctionBus) {
    let mut list = AclMacCommand::request(Access::WRITE, VIRTUAL.to_wire());
    list.length = list.length.with_bit(AclLength::EN, true);
    (list.count, list.addresses[0].address) = (1, GIVEN);
    command(parent, &list).unwrap();
}

fn frames(adapter: &Adapter) -> Vec<Vec<u8>> {
    while adapter.poll() {}
    std::iter::from_fn(|| adapter.poll_wire(PortNumber::of(0))).collect()
}

#[test]
fn it_gets_what_is_shipped_and_no_more() {
    let adapter = adapter();
    // One ingress queue with a free list, three egress queues, and an interface with an address.
    let hostile = Hostile::of(&adapter, VIRTUAL);
    let told = limits(&hostile.bus);
    assert_eq!((told.ingress.get(PfVfIngress::NIQFLINT), told.egress.get(PfVfEgress::NEQ)), (4, 4));
    for _ in 0..3 {
        command(&hostile.bus, &ingress_queue(VIRTUAL)).unwrap();
    }
    assert_eq!(refusal(&hostile.bus, &ingress_queue(VIRTUAL)), FULL, "NIQFLINT");
    let ask = EqOffloadCommand::request(Access::EXEC_WRITE, VIRTUAL.to_wire());
    let ask = EqOffloadCommand {
        length: alloc(ask.length),
        fetch: EgressFetch::new().with(EgressFetch::IQID, hostile.iq.into()),
        size: EgressSize::new().with(EgressSize::EQSIZE, 64),
        ..ask
    };
    assert_eq!(refusal(&hostile.bus, &ask), FULL, "NEQ");
    assert_eq!(refusal(&hostile.bus, &interface(VIRTUAL, 0)), FULL, "NVI");
    assert_eq!(refusal(&hostile.bus, &interface(VIRTUAL, 1)), DENIED, "PMASK");
    let results = (0..4).map(|last| {
        let answer = command(&hostile.bus, &address(hostile.vi, last)).unwrap();
        answer.entries[0].index.get(ViMacIndex::SMAC_RESULT) as u8
    });
    let none = ViMacResult::NoMemory.to_wire();
    assert_eq!(results.collect::<Vec<_>>(), [0, 0, 0, none], "NEXACTF, with its own");
}

#[test]
fn queues_for_frames_and_control_are_counted_among_the_others() {
    let adapter = adapter();
    let hostile = bus(&adapter, VIRTUAL);
    let iq = command(&hostile, &ingress_queue(VIRTUAL)).unwrap().iq.get();
    let ask = EqCtrlCommand::request(Access::EXEC_WRITE, VIRTUAL.to_wire());
    let ask = EqCtrlCommand {
        length: alloc(ask.length),
        fetch: EgressFetch::new().with(EgressFetch::IQID, iq.into()),
        size: EgressSize::new().with(EgressSize::EQSIZE, 64),
        ..ask
    };
    (0..2).for_each(|_| _ = command(&hostile, &ask).unwrap());
    assert_eq!(refusal(&hostile, &ask), FULL, "NETHCTRL");
}

#[test]
fn its_physical_function_says_what_it_may_have_within_the_configuration() {
    let adapter = adapter();
    let (hostile, parent) = (bus(&adapter, VIRTUAL), parent(&adapter));
    let less = |told: PfVfCommand| PfVfCommand { ingress: told.ingress.with(PfVfIngress::NIQFLINT, 1), ..told };
    assert_eq!(refusal(&hostile, &set(&hostile, less)), DENIED, "not even less by itself");
    command(&parent, &set(&parent, less)).unwrap();
    assert_eq!(limits(&hostile).ingress.get(PfVfIngress::NIQFLINT), 1);
    command(&hostile, &ResetCommand::request(Access::WRITE, 0)).unwrap();
    command(&hostile, &ingress_queue(VIRTUAL)).unwrap();
    assert_eq!(refusal(&hostile, &ingress_queue(VIRTUAL)), FULL, "it stays over a reset");
    let more = |told: PfVfCommand| PfVfCommand { ingress: told.ingress.with(PfVfIngress::NIQFLINT, 5), ..told };
    assert_eq!(refusal(&parent, &set(&parent, more)), DENIED);
    let no_queues = |told: PfVfCommand| PfVfCommand { caps: told.caps.with(PfVfCaps::WX_CAPS, 0x80), ..told };
    command(&parent, &set(&parent, no_queues)).unwrap();
    assert_eq!(refusal(&hostile, &ingress_queue(VIRTUAL)), DENIED, "it may not make queues");
}

#[test]
fn a_physical_function_says_nothing_about_those_of_others() {
    let adapter = adapter();
    let other = bus(&adapter, FunctionId::physical(1));
    let (theirs, none) = (VIRTUAL.to_wire(), FunctionId::virtual_of(1, 17).to_wire());
    for target in [theirs, none] {
        assert_eq!(refusal(&other, &PfVfCommand::request(Access::READ, target)), DENIED);
        assert_eq!(refusal(&other, &PfVfCommand::request(Access::WRITE, target)), DENIED);
        assert_eq!(refusal(&other, &AclMacCommand::request(Access::WRITE, target)), DENIED);
        assert_eq!(refusal(&other, &AclVlanCommand::request(Access::WRITE, target)), DENIED);
    }
    // Queues and interfaces are made by whoever has them.
    let parent = parent(&adapter);
    assert_eq!(refusal(&parent, &ingress_queue(VIRTUAL)), DENIED);
    assert_eq!(refusal(&parent, &interface(VIRTUAL, 0)), DENIED);
}

#[test]
fn what_is_for_the_adapter_or_another_is_refused() {
    let adapter = adapter();
    let victim = victim(&adapter);
    let hostile = Hostile::of(&adapter, VIRTUAL);
    let bus = &hostile.bus;
    assert_eq!(refusal(bus, &HelloCommand::request(Access::WRITE, 0)), DENIED);
    assert_eq!(refusal(bus, &ByeCommand::request(Access::WRITE, 0)), DENIED);
    assert_eq!(refusal(bus, &InitializeCommand::request(Access::WRITE, 0)), DENIED);
    assert_eq!(refusal(bus, &CapsConfigCommand::request(Access::READ, 0)), DENIED);
    assert_eq!(refusal(bus, &PortStatsCommand::request(Access::READ, 0)), DENIED);
    assert_eq!(refusal(bus, &PortLoopbackStatsCommand::request(Access::READ, 0)), DENIED);
    assert_eq!(refusal(bus, &AclMacCommand::request(Access::WRITE, VIRTUAL.to_wire())), DENIED, "its own list");
    assert_eq!(refusal(bus, &AclVlanCommand::request(Access::WRITE, VIRTUAL.to_wire())), DENIED);
    let port = |action: PortAction| {
        let ask = PortCommand::request(Access::READ, 0);
        PortCommand { length: ask.length.with(PortLength::ACTION, action.to_wire().into()), ..ask }
    };
    assert_eq!(refusal(bus, &port(PortAction::L1Configure)), DENIED);
    command(bus, &port(PortAction::GetPortInfo)).unwrap();
    let mut mode = ViRxModeCommand::request(Access::WRITE, hostile.vi.into());
    mode.mode = RxMode::new().with(RxMode::PROMISCEN, 1);
    assert_eq!(refusal(bus, &mode), DENIED, "frames of others");
    let mut hash = ViMacCommand::request(Access::WRITE, hostile.vi.into());
    hash.length = hash.length.with_bit(ViMacLength::HASHUNIEN, true);
    assert_eq!(refusal(bus, &hash), DENIED, "the same by a hash filter");

    for other in [VICTIM, VIRTUAL.parent(), FunctionId::virtual_of(0, 4), FunctionId::virtual_of(1, 3)] {
        assert_eq!(refusal(bus, &PfVfCommand::request(Access::READ, other.to_wire())), DENIED);
        assert_eq!(refusal(bus, &ingress_queue(other)), DENIED);
        assert_eq!(refusal(bus, &interface(other, 0)), DENIED);
    }
    let theirs = victim.adapter().vi.value();
    assert_eq!(refusal(bus, &ViStatsCommand::request(Access::READ, theirs.into())), DENIED);
    assert_eq!(refusal(bus, &address(theirs, 1)), DENIED);
    let mut free = ViCommand::request(Access::EXEC_WRITE, VIRTUAL.to_wire());
    free.length = free.length.with_bit(AllocLength::FREE, true);
    free.kind = ViType::new().with(ViType::VIID, theirs);
    assert_eq!(refusal(bus, &free), DENIED);
    let mut free = IqCommand::request(Access::EXEC_WRITE, VIRTUAL.to_wire());
    (free.length, free.iq) = (free.length.with_bit(AllocLength::FREE, true), victim.adapter().rss_queues[0].into());
    assert_eq!(refusal(bus, &free), Some(ReturnCode::NoEntry));
}

#[test]
fn it_has_no_other_registers_than_its_own() {
    let adapter = adapter();
    let (parent, hostile) = (parent(&adapter), bus(&adapter, VIRTUAL));
    assert_eq!(hostile.read_register(VF_PL_WHOAMI), 0x083);
    assert_eq!(FunctionId::from_whoami(hostile.read_register(VF_PL_WHOAMI)), Some(VIRTUAL));
    assert_eq!(adapter.take_fault(VIRTUAL), None);
    let before = [MY_PF + MAILBOX_CONTROL, MY_PF + MAILBOX_DATA, ULP_RX_ISCSI_PSZ].map(|at| parent.read_register(at));
    for offset in [
        MY_PF + MAILBOX_DATA,
        MY_PF + MAILBOX_CONTROL,
        pf_base(0) + MAILBOX_CONTROL,
        pf_base(5) + KDOORBELL,
        ULP_RX_ISCSI_PSZ,
        PL_REV,
        PL_WHOAMI,
        PCIE_FW,
        MAILBOX_CONTROL,
        0x100,
        u32::MAX,
    ] {
        assert_eq!(hostile.read_register(offset), u32::MAX, "{offset:#x}");
        assert_eq!(adapter.take_fault(VIRTUAL), Some(Fault::Register { offset }));
        hostile.write_register(offset, 9);
        assert_eq!(adapter.take_fault(VIRTUAL), Some(Fault::Register { offset }));
    }
    let after = [MY_PF + MAILBOX_CONTROL, MY_PF + MAILBOX_DATA, ULP_RX_ISCSI_PSZ].map(|at| parent.read_register(at));
    assert_eq!(before, after);
    assert_eq!(adapter.take_fault(VIRTUAL.parent()), None);
}

#[test]
fn frames_and_connections_with_anothers_address_do_not_leave() {
    let adapter = adapter();
    let parent = parent(&adapter);
    bind(&parent);
    let hostile = Hostile::of(&adapter, VIRTUAL);
    assert_eq!(hostile.mac, GIVEN, "the address that it was given");
    let everybody = [0xff; 6];
    hostile.send_frame(everybody, 100);
    assert!(matches!(hostile.fault(), Some(Fault::Frame(_))), "the source is not its own");
    assert_eq!(frames(&adapter), [[0; 0]; 0]);
    // A connection from the address in the table of source addresses.
    let row = u32::from(ViId::from_value(hostile.vi).get(ViId::VIN));
    hostile.open();
    assert_eq!(frames(&adapter).len(), 1, "the SYN of its own address");
    let params = SmtParams::new().with(SmtParams::IDX, row);
    hostile.request(SmtWriteReq { params, source_mac0: [2, 0, 0, 0, 0, 7], ..SmtWriteReq::new(0, 0) });
    hostile.request(ActOpenReq { local_port: 7.into(), opt0: hostile.options(), ..hostile.open_request() });
    assert_eq!(frames(&adapter), [[0; 0]; 0], "no SYN of another's");
    assert!(matches!(hostile.fault(), Some(Fault::Frame(_))));
    // Neither a reset nor a new interface makes it free.
    command(&hostile.bus, &ResetCommand::request(Access::WRITE, 0)).unwrap();
    drop(hostile);
    let hostile = Hostile::of(&adapter, VIRTUAL);
    hostile.send_frame(everybody, 100);
    assert!(matches!(hostile.fault(), Some(Fault::Frame(_))));
    assert_eq!(frames(&adapter), [[0; 0]; 0]);
    let dropped = ViStatsSelect::new().with(ViStatsSelect::NSTATS, 1).with(ViStatsSelect::IX, 6);
    let ask = ViStatsCommand { select: dropped, ..ViStatsCommand::request(Access::READ, hostile.vi.into()) };
    assert_eq!(VF_COUNTERS[6], "tx_drop_frames");
    assert_eq!(command(&hostile.bus, &ask).unwrap().counters[0].get(), 1);
}

#[test]
fn addresses_that_it_took_before_it_was_bound_are_gone() {
    let adapter = adapter();
    let (parent, other) = (parent(&adapter), Hostile::of(&adapter, FunctionId::virtual_of(0, 2)));
    let hostile = Hostile::of(&adapter, VIRTUAL);
    let theirs = address(hostile.vi, 1).entries[0].address;
    command(&hostile.bus, &address(hostile.vi, 1)).unwrap();
    other.send_frame(theirs, 100);
    assert_eq!(frames(&adapter), [[0; 0]; 0], "it has taken the address, and gets what is for it");
    bind(&parent);
    other.send_frame(theirs, 100);
    assert_eq!(frames(&adapter).len(), 1, "it goes to the wire");
}

#[test]
fn vlans_that_it_was_not_given_are_kept_from_it_over_its_reset() {
    let adapter = adapter();
    let parent = parent(&adapter);
    let mut list = AclVlanCommand::request(Access::WRITE, VIRTUAL.to_wire());
    list.length = list.length.with_bit(AclLength::EN, true);
    list.flags = AclVlanFlags::new().with_bit(AclVlanFlags::DROPNOVLAN, true).with_bit(AclVlanFlags::FM, true);
    (list.count, list.vlans[0]) = (1, 7.into());
    command(&parent, &list).unwrap();
    for _ in 0..2 {
        let hostile = Hostile::of(&adapter, VIRTUAL);
        hostile.send_frame([0xff; 6], 100);
        assert!(matches!(hostile.fault(), Some(Fault::Frame(_))), "a frame without a VLAN");
        assert_eq!(frames(&adapter), [[0; 0]; 0]);
        command(&hostile.bus, &ResetCommand::request(Access::WRITE, 0)).unwrap();
    }
}

#[test]
fn queues_connections_filters_and_memory_of_others_are_not_reached() {
    let adapter = adapter();
    let victim = victim(&adapter);
    let target = Hostile::new(&adapter);
    target.open();
    let before = snapshot(victim.bus().memory());
    let hostile = Hostile::of(&adapter, VIRTUAL);
    let queue = target.egress[0].0;
    hostile.ring(queue, 1);
    assert_eq!(hostile.fault(), Some(Fault::NoQueue { queue }));
    hostile.request(AbortReq { command: AbortCommand::SendRst.to_wire(), ..AbortReq::new(0, 0) });
    assert_eq!(hostile.fault(), Some(Fault::NoConnection { tid: 0 }));
    assert_eq!(adapter.connections(), 1, "the connection of another is still there");
    let address = victim.adapter().pods.start;
    hostile.send(0, &[UlpMemoryWrite::immediate(0, address, 64).as_bytes(), &[0xff; 72]].concat(), 2);
    assert_eq!(hostile.fault(), Some(Fault::AdapterMemory { address }));
    let row = victim.adapter().vi.get(ViId::VIN) as u8;
    let params = SmtParams::new().with(SmtParams::IDX, row.into());
    hostile.request(SmtWriteReq { params, source_mac0: hostile.mac, ..SmtWriteReq::new(0, 0) });
    assert_eq!(hostile.fault(), Some(Fault::NoInterface { row }));
    let drop = FilterAction::new().with_bit(FilterAction::DROP, true);
    let op = WorkRequestOp::of(WorkRequestOpcode::Filter, 0);
    let flow = WorkRequestFlow::of(0, size_of::<Filter>());
    let tid = FilterTid::new().with(FilterTid::TID, 4096).with_bit(FilterTid::NOREPLY, true);
    hostile.send(1, Filter { op, flow, tid, action: drop, ..Filter::default() }.as_bytes(), 2);
    adapter.with_switch(|switch| assert!(switch.filter(0).is_none(), "it has no filters"));
    while adapter.poll() {}
    assert_eq!((adapter.take_fault(VICTIM), adapter.take_fault(HOSTILE)), (None, None));
    assert!(snapshot(victim.bus().memory()) == before);
}

#[test]
fn it_has_no_initiator_in_the_firmware() {
    let adapter = adapter();
    let hostile = Hostile::of(&adapter, VIRTUAL);
    let header = WorkRequestOp::of(WorkRequestOpcode::ChnetIfConf, 0);
    let request = [&header.value().to_be_bytes()[..], &[0, 0, 0, 5], &[0; 72]].concat();
    hostile.send(0, &request, 2);
    let queue = hostile.egress[0].0;
    assert_eq!(hostile.fault(), Some(Fault::WorkRequest { queue, word: header.value() }));
}

#[test]
fn a_reset_takes_what_is_its_own() {
    let adapter = adapter();
    let mut others = [HOSTILE, FunctionId::virtual_of(0, 2)].map(|function| Hostile::of(&adapter, function));
    others[0].open();
    let hostile = Hostile::of(&adapter, VIRTUAL);
    hostile.request(SmtWriteReq { source_mac0: hostile.mac, ..smt(&hostile) });
    hostile.request(L2tWriteReq { destination_mac: [2, 0, 0, 0, 0, 9], vlan: 0xfff.into(), ..L2tWriteReq::new(0, 0) });
    hostile.request(ActOpenReq { opt0: hostile.options(), ..hostile.open_request() });
    assert_eq!(adapter.connections(), 2);
    let interfaces = || adapter.with_switch(|switch| switch.interfaces_mut().count());
    assert_eq!(interfaces(), 3);
    assert_eq!(adapter.interfaces(VIRTUAL).iter().count(), 1);
    command(&hostile.bus, &ResetCommand::request(Access::WRITE, 0)).unwrap();
    assert_eq!((adapter.connections(), interfaces()), (1, 2));
    assert!(adapter.interfaces(VIRTUAL).is_empty() && !adapter.interfaces(HOSTILE).is_empty());
    for other in &mut others {
        other.send_frame(other.mac, 100);
        assert_eq!(other.fault(), None, "it sends as before");
    }
    // That of the physical function leaves the virtual ones what they have.
    command(&parent(&adapter), &ResetCommand::request(Access::WRITE, 0)).unwrap();
    others[1].send_frame(others[1].mac, 100);
    assert_eq!((others[1].fault(), interfaces()), (None, 2));
}

fn smt(hostile: &Hostile) -> SmtWriteReq {
    let row = u32::from(ViId::from_value(hostile.vi).get(ViId::VIN));
    SmtWriteReq { params: SmtParams::new().with(SmtParams::IDX, row), ..SmtWriteReq::new(0, 0) }
}

#[test]
fn its_connections_leave_those_of_others() {
    let adapter = adapter();
    let hostile = Hostile::of(&adapter, VIRTUAL);
    hostile.open();
    for port in 10..100u16 {
        hostile.request(ActOpenReq { local_port: port.into(), opt0: hostile.options(), ..hostile.open_request() });
    }
    assert_eq!(adapter.connections(), 32, "its share");
    let other = Hostile::new(&adapter);
    let before = adapter.connections();
    other.request(SmtWriteReq { source_mac0: other.mac, ..smt(&other) });
    other.request(L2tWriteReq { destination_mac: [2, 0, 0, 0, 0, 9], vlan: 0xfff.into(), ..L2tWriteReq::new(0, 0) });
    other.request(ActOpenReq { opt0: other.options(), ..other.open_request() });
    assert_eq!((other.fault(), adapter.connections()), (None, before + 1));
}
