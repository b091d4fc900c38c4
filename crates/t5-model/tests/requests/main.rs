//! What the adapter makes of each work request and command of a driver, and what it answers.

mod connections;
mod frames;
#[path = "../hostile/guest.rs"]
mod guest;

use bytes::Bytes;
use guest::{BASE, DESCRIPTORS, HOSTILE, Hostile, VICTIM, adapter, command, refusal, victim};
use iscsi_pdu::{DataIn, Pdu};
use iscsi_transport::{Digests, PortErrorKind, Received};
use std::sync::Arc;
use std::time::Instant;
use t5_hal::Bus;
use t5_hal::dma::DmaMemory;
use t5_hal::driver::{Driver, DriverEvent, OffloadMode, OpenTarget};
use t5_hal::registers::*;
use t5_hal::wire::*;
use t5_model::adapter::{Adapter, Fault, FunctionBus};
use t5_model::switch::{InterfaceNumber, PortNumber, VlanList};
use zerocopy::{FromBytes, IntoBytes};

const NOBODY: [u8; 6] = [2, 0, 0, 0, 0, 9];
const GROUP: [u8; 6] = [1, 0, 0x5e, 1, 2, 3];

/// Gives the buffers of the free list.
fn give_buffers(guest: &Hostile) {
    let memory = guest.bus.memory();
    for at in 0..16 {
        let buffer = memory.buffers() + (64 << 10) + at * 4096;
        memory.store(BASE + 8192 + at * 8, buffer.to_be_bytes()).unwrap();
    }
    guest.ring(guest.free_list, 2);
}

/// All that stands in the first ingress queue, which has gone round less than once: each message with what is behind it.
fn messages(guest: &Hostile) -> Vec<(Reply, Vec<u8>)> {
    messages_at(guest, 0)
}

/// The same of a queue at that address of the rings; one of them has the free list.
fn messages_at(guest: &Hostile, ring: u64) -> Vec<(Reply, Vec<u8>)> {
    let (memory, mut filled, mut next_buffer) = (guest.bus.memory(), 0, 0);
    let mut found = Vec::new();
    for at in 0..64 {
        let mut bytes = [0; INGRESS_ENTRY_BYTES];
        memory.read(BASE + ring + at * INGRESS_ENTRY_BYTES as u64, &mut bytes).unwrap();
        let entry = IngressEntry::read_from_bytes(&bytes).unwrap();
        if !entry.kind.is_set(EntryType::GEN) {
            break;
        }
        let mut message = entry.message.to_vec();
        if entry.kind.get(EntryType::TYPE) == EntryKind::FreeListBuffer.to_wire() {
            if entry.length.is_set(FreeListLength::NEWBUF) {
                (filled, next_buffer) = (0, next_buffer + 1);
            }
            let mut body = vec![0; entry.length.get(FreeListLength::LEN) as usize];
            let buffer = memory.buffers() + (64 << 10) + (next_buffer - 1) * 4096;
            memory.read(buffer + filled, &mut body).unwrap();
            filled += (body.len() as u64).next_multiple_of(64);
            // Of a frame the message stands in the entry.
            message = if message[0] == ReplyOpcode::RxPkt.to_wire() {
                [&message[..size_of::<RxPkt>()], &body[2..]].concat()
            } else {
                body
            };
        }
        let (reply, rest) = Reply::decode(&message).unwrap();
        found.push((reply, rest.to_vec()));
    }
    found
}

fn last(guest: &Hostile) -> Reply {
    messages(guest).last().expect("something was told").0
}

fn on_wire(adapter: &Adapter) -> Vec<Vec<u8>> {
    while adapter.poll() {}
    std::iter::from_fn(|| adapter.poll_wire(PortNumber::of(0))).collect()
}

#[test]
fn requests_that_cannot_be_done_are_answered_by_their_status() {
    let adapter = adapter();
    let guest = Hostile::new(&adapter);
    let (first, count) = (4 * 496, 496);
    let opt1 = Opt1::new().with(Opt1::SYN_RSS_QUEUE, guest.iq.into());
    let listen = |stid: u32, port: u16| {
        guest.request(PassOpenReq { local_port: port.into(), opt1, ..PassOpenReq::new(0, stid) });
        match last(&guest) {
            Reply::PassOpenRpl(reply) if reply.opcode_tid.get(OpcodeTid::TID) == stid => {
                CplStatus::from_wire(reply.status)
            }
            other => panic!("an answer to the listener {stid}, not {other:?}"),
        }
    };
    assert_eq!(listen(first, 80), Some(CplStatus::None));
    assert_eq!(listen(first, 81), Some(CplStatus::ConnExist), "the number is taken");
    assert_eq!(listen(first + 1, 80), Some(CplStatus::ConnExist), "the address is taken");
    assert_eq!(listen(first - 1, 82), Some(CplStatus::TcamFull), "the number is another's");
    assert_eq!(listen(first + count, 82), Some(CplStatus::TcamFull));
    assert_eq!(listen(first + count - 1, 82), Some(CplStatus::None));

    let hop = |index: u16| {
        guest.request(L2tWriteReq { index: index.into(), ..L2tWriteReq::new(0, 0) });
        match last(&guest) {
            Reply::L2tWriteRpl(reply) => CplStatus::from_wire(reply.status),
            other => panic!("an answer, not {other:?}"),
        }
    };
    assert_eq!((hop(511), hop(512)), (Some(CplStatus::None), Some(CplStatus::TcamFull)));

    let open = |opt0: Opt0| {
        guest.request(ActOpenReq { opt0, ..guest.open_request() });
        match last(&guest) {
            Reply::ActOpenRpl(reply) => CplStatus::from_wire(reply.atid_status.get(AtidStatus::STATUS) as u8),
            other => panic!("an answer, not {other:?}"),
        }
    };
    let row = u32::from(ViId::from_value(guest.vi).get(ViId::VIN));
    assert_eq!(open(guest.options()), Some(CplStatus::BadRoute), "its own address is not in the table");
    let params = SmtParams::new().with(SmtParams::IDX, row);
    guest.request(SmtWriteReq { params, source_mac0: guest.mac, ..SmtWriteReq::new(0, 0) });
    assert_eq!(open(guest.options().with(Opt0::L2T_IDX, 7)), Some(CplStatus::ArpMiss), "nor the next hop");
    let params = L2tParams::new().with_bit(L2tParams::NOREPLY, true);
    guest.request(L2tWriteReq { params, destination_mac: NOBODY, vlan: 0xfff.into(), ..L2tWriteReq::new(0, 0) });
    guest.request(ActOpenReq { opt0: guest.options(), ..guest.open_request() });
    assert_eq!(open(guest.options()), Some(CplStatus::ConnExist), "the same ends again");
    assert_eq!((guest.fault(), adapter.connections()), (None, 1));
}

#[test]
fn how_far_a_queue_was_read_is_told_where_it_is_asked_for() {
    let adapter = adapter();
    let guest = Hostile::new(&adapter);
    let (queue, ring) = guest.egress[1];
    let status = || {
        let mut status = [0; 8];
        guest.bus.memory().read(ring + u64::from(DESCRIPTORS) * 64, &mut status).unwrap();
        status
    };
    let params = L2tParams::new().with_bit(L2tParams::NOREPLY, true);
    let quiet = L2tWriteReq { params, ..L2tWriteReq::new(0, 0) };
    guest.request(quiet);
    assert_eq!((status(), messages(&guest)), ([0; 8], vec![]));
    let mut page = quiet;
    page.header.flow = page.header.flow.with_bit(WorkRequestFlow::EQUEQ, true);
    guest.send_next(1, page.as_bytes());
    assert_eq!(status(), [&queue.to_be_bytes()[..], &[0, 2, 0, 2]].concat()[..]);
    let mut told = quiet;
    told.header.flow = told.header.flow.with_bit(WorkRequestFlow::EQUIQ, true);
    guest.send_next(1, told.as_bytes());
    let Reply::SgeEgrUpdate(update) = last(&guest) else { panic!("how far it was read") };
    assert_eq!((update.opcode_qid.get(OpcodeTid::TID), update.consumer.get(), update.producer.get()), (queue, 3, 3));
}

#[test]
fn the_first_who_says_hello_is_in_charge_until_it_says_bye() {
    let adapter = adapter();
    let bus = |function| -> FunctionBus { adapter.function(function, Arc::new(DmaMemory::new(0, 4096, 4096))) };
    let (first, second) = (bus(HOSTILE), bus(VICTIM));
    let master = |bus: &FunctionBus| {
        let answer = command(bus, &HelloCommand::request(Access::WRITE, 0)).unwrap();
        (answer.flags.get(HelloFlags::MBMASTER), answer.flags.is_set(HelloFlags::INIT))
    };
    assert_eq!((master(&first), master(&second)), ((4, false), (4, false)));
    command(&first, &InitializeCommand::request(Access::WRITE, 0)).unwrap();
    assert_eq!(master(&second), (4, true));
    command(&second, &ByeCommand::request(Access::WRITE, 0)).unwrap();
    assert_eq!(master(&second), (4, true), "the other is still there");
    command(&first, &ByeCommand::request(Access::WRITE, 0)).unwrap();
    assert_eq!(master(&second), (5, true));
    assert_eq!(refusal(&first, &LdstCommand::request(Access::READ, 0)), Some(ReturnCode::NotImplemented));
}

#[test]
fn registers_tell_where_page_pods_are_and_how_long_pages() {
    let adapter = adapter();
    for function in [HOSTILE, VICTIM] {
        let bus = adapter.function(function, Arc::new(DmaMemory::new(0, 4096, 4096)));
        let asked = |name| {
            let mut ask = ParamsCommand::request(Access::READ, function.to_wire());
            ask.parameters[0].name = ParameterName::function(name);
            command(&bus, &ask).unwrap().parameters[0].value.get()
        };
        let (begin, last) = (asked(FunctionParameter::IscsiStart), asked(FunctionParameter::IscsiEnd));
        let read = |offset| bus.read_register(offset);
        assert_eq!((read(ULP_RX_ISCSI_LLIMIT), read(ULP_RX_ISCSI_ULIMIT)), (begin, last + 1));
        let pods = (last + 1 - begin) / POD_BYTES;
        assert_eq!(TagFormat::from_mask(read(ULP_RX_ISCSI_TAGMASK)), Some(TagFormat::for_pods(pods)));
        assert_eq!(read(ULP_RX_ISCSI_PSZ), 0x0402_0100, "4, 8, 16 and 64 KiB");
        bus.write_register(ULP_RX_ISCSI_PSZ, 0x0402_0101);
        assert_eq!(read(ULP_RX_ISCSI_PSZ), 0x0402_0101, "each function has sizes of its own");
    }
}

/// A work request of one descriptor that is written whole rings for itself.
#[test]
fn a_descriptor_that_is_written_rings() {
    let adapter = adapter();
    let guest = Hostile::new(&adapter);
    let pages = [SGE_HOST_PAGE_SIZE, SGE_EGRESS_QUEUES_PER_PAGE].map(|offset| guest.bus.read_register(offset));
    let layout = DoorbellLayout::from_registers(pages[0], pages[1], HOSTILE.pf());
    let (queue, ring) = guest.egress[1];
    let mut descriptor = [0; 64];
    let request = L2tWriteReq::new(0, 0);
    descriptor[..size_of::<L2tWriteReq>()].copy_from_slice(request.as_bytes());
    guest.bus.memory().write(ring, &descriptor).unwrap();
    guest.bus.write_descriptor(layout.doorbell(queue).offset(UserDoorbell::DESCRIPTOR), &descriptor);
    guest.bus.poll();
    assert!(matches!(last(&guest), Reply::L2tWriteRpl(_)));
    assert_eq!(guest.fault(), None);
}
