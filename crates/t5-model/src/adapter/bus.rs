//! [`Bus`] of one function.

use super::Adapter;
use super::doorbells::Doorbell;
use std::sync::Arc;
use std::task::Waker;
use t5_hal::Bus;
use t5_hal::dma::DmaMemory;
use t5_hal::wire::FunctionId;

/// How a driver reaches one function of the adapter.
#[derive(Debug)]
pub struct FunctionBus {
    adapter: Arc<Adapter>,
    id: FunctionId,
    memory: Arc<DmaMemory>,
}

impl FunctionBus {
    pub(super) fn new(adapter: Arc<Adapter>, id: FunctionId, memory: Arc<DmaMemory>) -> Self {
        Self { adapter, id, memory }
    }

    /// Which function it is.
    #[must_use]
    pub const fn function(&self) -> FunctionId {
        self.id
    }

    /// The adapter.
    #[must_use]
    pub fn adapter(&self) -> &Arc<Adapter> {
        &self.adapter
    }
}

impl Bus for FunctionBus {
    fn read_register(&self, offset: u32) -> u32 {
        let mut core = self.adapter.core.lock();
        let state = core.firmware_state();
        core.function(self.id).read_register(offset, state)
    }

    fn write_register(&self, offset: u32, value: u32) {
        let now = self.adapter.now();
        let mut core = self.adapter.core.lock();
        // In the order in which the driver has written.
        core.hear(&self.adapter.doorbells, now);
        core.function(self.id).write_register(offset, value, now);
    }

    fn write_doorbell(&self, offset: u32, value: u32) {
        self.adapter.doorbells[self.id].ring(Doorbell::Word { offset, value });
    }

    fn write_descriptor(&self, offset: u32, _: &[u8; 64]) {
        // The descriptor stands in the ring as well, from where it is read.
        self.adapter.doorbells[self.id].ring(Doorbell::Descriptor { offset });
    }

    fn memory(&self) -> &Arc<DmaMemory> {
        &self.memory
    }

    fn is_virtual(&self) -> bool {
        self.id.is_virtual()
    }

    fn set_waker(&self, vector: u16, waker: Waker) {
        self.adapter.core.lock().function(self.id).set_waker(vector, waker);
    }

    fn poll(&self) {
        self.adapter.come_forward();
    }
}
