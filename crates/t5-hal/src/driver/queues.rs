//! The queues of a driver, as it makes them when it comes up.

use super::bring_up::{Clock, check, registers};
use super::error::DriverError;
use super::incoming::Incoming;
use super::mailbox::execute;
use super::{DriverConfig, Queues};
use crate::bus::Bus;
use crate::dma::Heap;
use crate::queue::{EgressQueue, FREE_LIST_UNIT, FreeList, IngressQueue};
use crate::registers::*;
use crate::wire::*;

/// Bytes of one buffer of the free list, and its index in the adapter's table of sizes.
const BUFFER: (u32, u8) = (65536, 1);

/// Descriptors of the queue for frames: answers are few and short.
const FRAME_DESCRIPTORS: u16 = 256;

/// A ring of that many bytes.
fn ring(heap: &mut Heap, bytes: usize) -> Result<u64, DriverError> {
    heap.allocate(bytes).map(|block| block.address()).ok_or(DriverError::Memory(bytes))
}

/// How the queues of a function lie in BAR 2.
struct Layouts {
    egress: DoorbellLayout,
    ingress: DoorbellLayout,
}

impl Layouts {
    fn read(bus: &impl Bus, id: FunctionId, clock: Clock<'_>) -> Result<Self, DriverError> {
        let offsets = [SGE_HOST_PAGE_SIZE, SGE_EGRESS_QUEUES_PER_PAGE, SGE_INGRESS_QUEUES_PER_PAGE];
        let [page, egress, ingress] = registers(bus, id, clock, offsets)?;
        let layout = |queues| DoorbellLayout::from_registers(page, queues, id.pf());
        Ok(Self { egress: layout(egress), ingress: layout(ingress) })
    }
}

/// Makes the queues, and says by which numbers connections are steered to the ingress queues.
pub(super) fn make(
    bus: &impl Bus,
    heap: &mut Heap,
    config: &DriverConfig,
    function: FunctionId,
    vi: ViId,
    clock: Clock<'_>,
) -> Result<(Queues, Vec<u16>), DriverError> {
    let layouts = Layouts::read(bus, function, clock)?;
    assert!(config.ingress_queues > 0, "a driver has an ingress queue");
    let made = (0..config.ingress_queues).map(|_| make_incoming(bus, heap, config, function, vi, &layouts, clock));
    let (incoming, rss_queues) = made.collect::<Result<(Vec<_>, Vec<_>), _>>()?;
    let iq = incoming[0].queue.id();
    let fetch = EgressFetch::new().with(EgressFetch::IQID, iq);

    let control_at = ring(heap, EgressQueue::ring_bytes(config.control_descriptors))?;
    let mut command = EqCtrlCommand::request(Access::EXEC_WRITE, function.to_wire());
    command.length = start(command.length);
    command.eq = CtrlEgressId::new().with(CtrlEgressId::CMPLIQID, iq);
    (command.fetch, command.size, command.address) = (fetch, size(config.control_descriptors), control_at.into());
    let id = execute(bus, &command, clock)?.eq.get(CtrlEgressId::EQID);
    let control = EgressQueue::new(id, control_at, config.control_descriptors, layouts.egress.doorbell(id));

    let data_at = ring(heap, EgressQueue::ring_bytes(config.data_descriptors))?;
    let mut command = EqOffloadCommand::request(Access::EXEC_WRITE, function.to_wire());
    command.length = start(command.length);
    (command.fetch, command.size, command.address) = (fetch, size(config.data_descriptors), data_at.into());
    let id = execute(bus, &command, clock)?.eq.get(EgressId::EQID);
    let data = EgressQueue::new(id, data_at, config.data_descriptors, layouts.egress.doorbell(id));
    let frames = match config.addresses.is_empty() {
        true => None,
        false => Some(make_frame_queue(bus, heap, function, vi, iq, &layouts, clock)?),
    };
    Ok((Queues { control, data, frames, incoming }, rss_queues))
}

/// That a queue is made and begins.
fn start(length: AllocLength) -> AllocLength {
    length.with_bit(AllocLength::ALLOC, true).with_bit(AllocLength::START, true)
}

/// A queue of that many descriptors, and its status page.
fn size(descriptors: u16) -> EgressSize {
    EgressSize::new().with(EgressSize::EQSIZE, u32::from(descriptors) + 1)
}

/// Makes the queue for frames of no connection.
fn make_frame_queue(
    bus: &impl Bus,
    heap: &mut Heap,
    function: FunctionId,
    vi: ViId,
    iq: u32,
    layouts: &Layouts,
    clock: Clock<'_>,
) -> Result<EgressQueue, DriverError> {
    let at = ring(heap, EgressQueue::ring_bytes(FRAME_DESCRIPTORS))?;
    let mut command = EqEthCommand::request(Access::EXEC_WRITE, function.to_wire());
    command.length = start(command.length);
    command.fetch = EgressFetch::new().with(EgressFetch::IQID, iq);
    (command.size, command.address) = (size(FRAME_DESCRIPTORS), at.into());
    command.flags = EthEgressFlags::new().with(EthEgressFlags::VIID, vi.value().into());
    let id = execute(bus, &command, clock)?.eq.get(EgressId::EQID);
    Ok(EgressQueue::new(id, at, FRAME_DESCRIPTORS, layouts.egress.doorbell(id)))
}

/// Makes an ingress queue, and says by which number connections are steered to it.
fn make_incoming(
    bus: &impl Bus,
    heap: &mut Heap,
    config: &DriverConfig,
    function: FunctionId,
    vi: ViId,
    layouts: &Layouts,
    clock: Clock<'_>,
) -> Result<(Incoming, u16), DriverError> {
    let entries_at = ring(heap, usize::from(config.ingress_entries) * INGRESS_ENTRY_BYTES)?;
    let buffers = usize::from(config.free_list_buffers);
    let list_at = ring(heap, FreeList::ring_bytes(buffers))?;
    let buffer_addresses = (0..buffers).map(|_| ring(heap, BUFFER.0 as usize)).collect::<Result<Vec<_>, _>>()?;
    let mut command = IqCommand::request(Access::EXEC_WRITE, function.to_wire());
    command.length = command.length.with_bit(AllocLength::ALLOC, true).with_bit(AllocLength::START, true);
    command.kind = IqType::new().with(IqType::VIID, vi.value().into()).with(IqType::IQANDSTINDEX, config.vector.into());
    command.flags = IqFlags::new().with_bit(IqFlags::IQGTSMODE, true).with(IqFlags::IQESIZE, 2);
    command.size = config.ingress_entries.into();
    command.address = entries_at.into();
    command.free_list0_flags =
        IqFreeList::new().with_bit(IqFreeList::FL0PADEN, true).with_bit(IqFreeList::FL0PACKEN, true);
    command.free_list0_size = ((buffers / FREE_LIST_UNIT) as u16 + 1).into();
    command.free_list0_address = list_at.into();
    command.free_list1 = NO_FREE_LIST.into();
    let made = execute(bus, &command, clock)?;
    let (iq, list, steered) = (u32::from(made.iq.get()), u32::from(made.free_list0.get()), made.physical_iq.get());
    check("iqid", iq, iq < 1 << 12, "below 4096, as EQ_CTRL names it by 12 bits")?;
    check("physiqid", steered.into(), steered < 1 << 10, "below 1024, as messages name it by 10 bits")?;
    let queue = IngressQueue::new(iq, entries_at, config.ingress_entries, layouts.ingress.doorbell(iq));
    let mut free_list = FreeList::new(list, list_at, buffer_addresses, BUFFER, layouts.egress.doorbell(list), bus);
    free_list.start(bus);
    Ok((Incoming { queue, free_list }, steered))
}
