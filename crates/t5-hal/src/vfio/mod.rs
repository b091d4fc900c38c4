//! This has never met an adapter: [`Bus`] over PCIe, through VFIO of Linux, without a driver in the kernel.
//!
//! ```text
//!   sysfs       which device stands at an address, and what keeps it from being used
//!   window      BARs, mapped: registers and doorbells
//!   interrupts  MSI-X vectors, as event descriptors that wake
//! ```
//!
//! In: the address of a function that is bound to `vfio-pci`. Out: a [`VfioFunction`], which reads registers and cannot reach the
//! computer's memory; and, made of it, a [`VfioBus`], which has memory that the IOMMU lets the function reach, and nothing else.
//!
//! ```sh
//! echo vfio-pci > /sys/bus/pci/devices/0000:03:00.4/driver_override
//! echo 0000:03:00.4 > /sys/bus/pci/devices/0000:03:00.4/driver/unbind
//! echo 0000:03:00.4 > /sys/bus/pci/drivers_probe
//! cargo run -p t5-hal --features vfio --example t5-probe -- 0000:03:00.4
//! ```

mod function;
mod interrupts;
mod sysfs;
mod window;

pub use function::{VfioBus, VfioFunction};
pub use sysfs::{CHELSIO, PciAddress, PciFunction};

use std::io;
use std::path::PathBuf;

/// Why a function cannot be used, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum VfioError {
    /// The text is no address.
    #[error(
        "{0:?} is no PCI address: expected domain:bus:device.function in hexadecimal, such as 0000:03:00.4; see `lspci -D -d 1425:`"
    )]
    Address(String),
    /// Nothing is there.
    #[error("there is no PCI function at {0}: see `lspci -D -d 1425:` for those of Chelsio's adapters")]
    Absent(PciAddress),
    /// A file of sysfs cannot be read, or does not hold what it should.
    #[error("{path} cannot be read: {error}", path = path.display())]
    Sysfs {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is another vendor's, or no T5.
    #[error(
        "the function at {address} is {vendor:04x}:{device:04x}: expected a T5 of Chelsio, 1425:5xxx; see `lspci -D -d 1425:`"
    )]
    NotT5 {
        /// Where.
        address: PciAddress,
        /// Its vendor.
        vendor: u16,
        /// Its device.
        device: u16,
    },
    /// A driver of the kernel has it, or none.
    #[error(
        "the function at {address} belongs to {}: bind the function to vfio-pci: `modprobe vfio-pci; cd /sys/bus/pci; echo vfio-pci \
         >devices/{address}/driver_override; {unbind}echo {address} >drivers_probe`",
        driver.as_deref().unwrap_or("no driver"),
        unbind = if driver.is_some() { format!("echo {address} >devices/{address}/driver/unbind; ") } else { String::new() }
    )]
    Driver {
        /// Where.
        address: PciAddress,
        /// Who has it.
        driver: Option<String>,
    },
    /// There is no IOMMU between it and the memory.
    #[error(
        "the function at {0} is in no IOMMU group: turn the IOMMU on, in the firmware's setup (VT-d, AMD-Vi) and by the kernel's command line \
         (intel_iommu=on or amd_iommu=on)"
    )]
    NoGroup(PciAddress),
    /// The group's file cannot be opened.
    #[error(
        "{path} cannot be opened: {error}; load vfio-pci (`modprobe vfio-pci`), and give the file to the user who runs this (`chown`)",
        path = path.display()
    )]
    GroupFile {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The kernel refuses.
    #[error(
        "VFIO refuses: {0}; all functions of the IOMMU group have to be bound to vfio-pci or to no driver, and the locked memory \
         must be allowed (`ulimit -l`)"
    )]
    Vfio(#[from] vfio_ioctls::VfioError),
    /// A BAR cannot be mapped.
    #[error("BAR {bar} of the function cannot be mapped: {error}")]
    Bar {
        /// Which.
        bar: u32,
        /// Why.
        error: io::Error,
    },
    /// There is no memory for the function.
    #[error("there are no {bytes} bytes of memory for the function: {error}; see `ulimit -l`")]
    Memory {
        /// How many.
        bytes: usize,
        /// Why.
        error: io::Error,
    },
    /// There are no event descriptors or threads for interrupts.
    #[error("interrupts cannot be had: {0}")]
    Interrupts(io::Error),
}
