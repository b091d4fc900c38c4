//! A function through VFIO, and the bus that is made of it.

#![allow(unsafe_code, reason = "the IOMMU is told of memory that the function may reach, and a descriptor is borrowed")]

use super::VfioError;
use super::interrupts::Interrupts;
use super::sysfs::{PciAddress, PciFunction};
use super::window::Window;
use crate::bus::Bus;
use crate::dma::{DmaMemory, Pages};
use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::task::Waker;
use vfio_bindings::bindings::vfio::{
    VFIO_PCI_BAR0_REGION_INDEX, VFIO_PCI_BAR2_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX, VFIO_REGION_INFO_FLAG_MMAP,
};
use vfio_ioctls::{VfioContainer, VfioDevice};

/// Where the function's memory begins on the bus: beyond the addresses that mean interrupts on x86.
const MEMORY_BASE: u64 = 1 << 32;
/// The command register of the configuration space, and the bits that let the function be reached and reach memory.
const COMMAND: u64 = 4;
const MEMORY_SPACE_AND_BUS_MASTER: u16 = 0b110;

/// A function whose registers can be read and written. It reaches no memory.
pub struct VfioFunction {
    /// What the kernel says of it.
    description: PciFunction,
    registers: Window,
    device: VfioDevice,
    container: Arc<VfioContainer>,
}

impl fmt::Debug for VfioFunction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("VfioFunction").field("description", &self.description).finish_non_exhaustive()
    }
}

impl VfioFunction {
    /// Takes the function at an address, as long as this lives.
    ///
    /// # Errors
    /// It is not there, no T5, or somebody else's; what to do is said.
    pub fn open(address: PciAddress) -> Result<Self, VfioError> {
        let description = PciFunction::find(Path::new("/sys"), address)?;
        let group = description.check()?;
        for path in [PathBuf::from("/dev/vfio/vfio"), Path::new("/dev/vfio").join(group.to_string())] {
            let opened = OpenOptions::new().read(true).write(true).open(&path);
            opened.map_err(|error| VfioError::GroupFile { path, error })?;
        }
        let container = Arc::new(VfioContainer::new(None)?);
        let device = VfioDevice::new(&description.folder, Arc::clone(&container) as _, false)?;
        let registers = map(&device, VFIO_PCI_BAR0_REGION_INDEX)?;
        Ok(Self { description, registers, device, container })
    }

    /// What the kernel says of it.
    #[must_use]
    pub fn description(&self) -> &PciFunction {
        &self.description
    }

    /// Lets the function reach `bytes` of new memory, huge pages if there are any, and raise `vectors` interrupts.
    ///
    /// # Errors
    /// The kernel has no memory, no vectors, or does not map.
    pub fn into_bus(self, bytes: usize, vectors: u16) -> Result<VfioBus, VfioError> {
        let doorbells = map(&self.device, VFIO_PCI_BAR2_REGION_INDEX)?;
        let interrupts = Interrupts::new(vectors).map_err(VfioError::Interrupts)?;
        let pages = Pages::new(bytes).map_err(|error| VfioError::Memory { bytes, error })?;
        let length = pages.bytes();
        // SAFETY: the pages are `length` bytes from there on, and stay mapped until the function has lost its way to them: `VfioBus` unmaps
        // them from the IOMMU before it ends, and keeps `memory` until then. All that is ever made of them in this program are
        // `AtomicU64`, which may change at any time: no reference to plain bytes exists, as what is mapped cannot be frozen.
        unsafe { self.container.vfio_dma_map(MEMORY_BASE, length, pages.as_ptr().cast()) }?;
        let memory = Arc::new(DmaMemory::of_pages(MEMORY_BASE, pages));
        let bus = VfioBus { interrupts, doorbells, memory, function: self };
        bus.function.device.enable_msix(bus.interrupts.events())?;
        let mut command = [0; 2];
        bus.function.device.region_read(VFIO_PCI_CONFIG_REGION_INDEX, &mut command, COMMAND);
        let command = u16::from_le_bytes(command) | MEMORY_SPACE_AND_BUS_MASTER;
        bus.function.device.region_write(VFIO_PCI_CONFIG_REGION_INDEX, &command.to_le_bytes(), COMMAND);
        Ok(bus)
    }

    /// Reads a register of BAR 0.
    #[must_use]
    pub fn read_register(&self, offset: u32) -> u32 {
        self.registers.read(offset)
    }

    /// Writes a register of BAR 0.
    pub fn write_register(&self, offset: u32, value: u32) {
        self.registers.write(offset, value);
    }
}

fn map(device: &VfioDevice, region: u32) -> Result<Window, VfioError> {
    let bar = region - VFIO_PCI_BAR0_REGION_INDEX;
    let failed = |error| VfioError::Bar { bar, error };
    if device.get_region_flags(region) & VFIO_REGION_INFO_FLAG_MMAP == 0 {
        let text = "the kernel does not let it be mapped; is it memory, and as long as a page?";
        return Err(failed(io::Error::new(io::ErrorKind::Unsupported, text)));
    }
    let bytes = usize::try_from(device.get_region_size(region)).map_err(io::Error::other).map_err(failed)?;
    // SAFETY: the device is borrowed for the whole of this function, and keeps its descriptor open.
    let file = unsafe { BorrowedFd::borrow_raw(device.as_raw_fd()) };
    Window::map(file, device.get_region_offset(region), bytes).map_err(failed)
}

/// [`Bus`] of a function of an adapter.
#[derive(Debug)]
pub struct VfioBus {
    interrupts: Interrupts,
    doorbells: Window,
    memory: Arc<DmaMemory>,
    function: VfioFunction,
}

impl Drop for VfioBus {
    fn drop(&mut self) {
        // In this order: no interrupts, no work, no memory. A function that cannot be stopped is stopped by the end of the process, which
        // is when the memory of a driver that still has it goes as well.
        drop(self.function.device.disable_msix());
        self.function.device.reset();
        if self.function.container.vfio_dma_unmap(MEMORY_BASE, self.memory.len()).is_err() {
            // It may still be written: it is never given back.
            std::mem::forget(Arc::clone(&self.memory));
        }
    }
}

impl Bus for VfioBus {
    fn read_register(&self, offset: u32) -> u32 {
        self.function.registers.read(offset)
    }

    fn write_register(&self, offset: u32, value: u32) {
        fence(Ordering::SeqCst);
        self.function.registers.write(offset, value);
    }

    fn write_doorbell(&self, offset: u32, value: u32) {
        // What stands in the memory is there before the adapter is told. On x86-64 this fence orders all stores, to registers as well.
        fence(Ordering::SeqCst);
        self.doorbells.write(offset, value);
    }

    fn write_descriptor(&self, offset: u32, descriptor: &[u8; 64]) {
        fence(Ordering::SeqCst);
        for (at, word) in (0..).step_by(4).zip(descriptor.chunks_exact(4)) {
            self.doorbells.write(offset + at, u32::from_le_bytes(word.try_into().expect("four bytes")));
        }
        fence(Ordering::SeqCst);
    }

    fn memory(&self) -> &Arc<DmaMemory> {
        &self.memory
    }

    fn is_virtual(&self) -> bool {
        self.function.description.is_virtual()
    }

    fn set_waker(&self, vector: u16, waker: Waker) {
        self.interrupts.set_waker(vector, waker);
    }
}
