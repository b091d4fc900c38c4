//! Says who an adapter is: `cargo run -p t5-hal --features vfio --example t5-probe -- ADDRESS`.
//!
//! It has never met an adapter. It reads registers, and asks the firmware for its version by the mailbox; it lets the function reach no memory.

use std::process::ExitCode;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;
use t5_hal::Bus;
use t5_hal::dma::DmaMemory;
use t5_hal::driver::identify;
use t5_hal::vfio::VfioFunction;
use t5_hal::wire::FirmwareState;

const HELP: &str = "\
Usage: t5-probe ADDRESS

Says who the function of a Chelsio T5 adapter at a PCI address is, such as 0000:03:00.4:
vendor and device, revision of the chip, what the firmware does, and its version. Only
registers are read, and the firmware is asked by the mailbox; nothing is set up.

The function has to be bound to vfio-pci, and an IOMMU has to be there:
  lspci -D -d 1425:                                        finds the functions
  modprobe vfio-pci; cd /sys/bus/pci
  echo vfio-pci >devices/0000:03:00.4/driver_override
  echo 0000:03:00.4 >devices/0000:03:00.4/driver/unbind
  echo 0000:03:00.4 >drivers_probe

No adapter has been used for this program. What it says of yours is worth a report,
with docs/t5-assumptions.md beside it.

Exit codes:
  0  the function has said who it is
  2  the command line is wrong
  6  there is no such function, or it cannot be reached; what to do is said";

/// A function as a bus without memory, doorbells and interrupts.
struct Registers(VfioFunction, Arc<DmaMemory>);

impl Bus for Registers {
    fn read_register(&self, offset: u32) -> u32 {
        self.0.read_register(offset)
    }

    fn write_register(&self, offset: u32, value: u32) {
        self.0.write_register(offset, value);
    }

    fn write_doorbell(&self, _: u32, _: u32) {}

    fn write_descriptor(&self, _: u32, _: &[u8; 64]) {}

    fn is_virtual(&self) -> bool {
        self.0.description().is_virtual()
    }

    fn memory(&self) -> &Arc<DmaMemory> {
        &self.1
    }

    fn set_waker(&self, _: u16, _: Waker) {}
}

fn probe(address: &str) -> Result<(), String> {
    let function = VfioFunction::open(address.parse().map_err(said)?).map_err(said)?;
    let description = function.description();
    println!("function  {}", description.address);
    println!("vendor    {:04x}", description.vendor);
    println!("device    {:04x} (chip generation T{})", description.device, description.device >> 12);
    let registers = Registers(function, Arc::new(DmaMemory::new(0, 0, 0)));
    let found = identify(&registers, &mut Instant::now).map_err(said)?;
    println!("number    {}", found.function);
    println!("pl_rev    {:#x} (revision {})", found.chip_revision, found.chip_revision & 0xf);
    let master = found.state.is_set(FirmwareState::MASTER_VLD).then(|| found.state.get(FirmwareState::MASTER));
    let master = master.map_or("no function is in charge".into(), |pf| format!("PF{pf} is in charge"));
    println!("pcie_fw   {:#010x} ({master})", found.state.value());
    println!("firmware  {}", found.firmware);
    Ok(())
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match &words[..] {
        [word] if ["--help", "-h"].contains(&word.as_str()) => {
            println!("{HELP}");
            ExitCode::SUCCESS
        }
        [address] if !address.starts_with('-') => match probe(address) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("t5-probe: {error}");
                ExitCode::from(6)
            }
        },
        _ => {
            eprintln!("t5-probe: expected one PCI address, such as 0000:03:00.4; see t5-probe --help");
            ExitCode::from(2)
        }
    }
}
