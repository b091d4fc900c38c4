//! What the kernel's file system says of a PCI function.

use super::VfioError;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The vendor.
pub const CHELSIO: u16 = 0x1425;
/// Generation of the chip: the highest four bits of its devices' numbers.
const T5: u16 = 5;
/// What virtual functions have where physical ones have their number.
const VIRTUAL: u16 = 8;
/// The driver that gives functions to programs.
const DRIVER: &str = "vfio-pci";

/// Where a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PciAddress {
    /// The domain, mostly 0.
    pub domain: u32,
    /// The bus.
    pub bus: u8,
    /// The device, below 32.
    pub device: u8,
    /// The function, below 8.
    pub function: u8,
}

impl fmt::Display for PciAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, bus, device, function } = self;
        write!(formatter, "{domain:04x}:{bus:02x}:{device:02x}.{function}")
    }
}

impl FromStr for PciAddress {
    type Err = VfioError;

    /// Reads `[domain:]bus:device.function`.
    fn from_str(text: &str) -> Result<Self, VfioError> {
        let read = || {
            let (rest, function) = text.split_once('.')?;
            let mut parts = rest.rsplit(':');
            let (device, bus, domain) = (hexadecimal(parts.next()?)?, hexadecimal(parts.next()?)?, parts.next());
            let domain = domain.map_or(Some(0), hexadecimal)?;
            let (device, function) = (u8::try_from(device).ok()?, u8::try_from(hexadecimal(function)?).ok()?);
            let bus = u8::try_from(bus).ok()?;
            (parts.next().is_none() && device < 32 && function < 8).then_some(Self { domain, bus, device, function })
        };
        read().ok_or_else(|| VfioError::Address(text.into()))
    }
}

/// A number without sign or prefix.
fn hexadecimal(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(text, 16).ok())?
}

/// A function, as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PciFunction {
    /// Where it is.
    pub address: PciAddress,
    /// Its folder in sysfs.
    pub folder: PathBuf,
    /// Its vendor.
    pub vendor: u16,
    /// Its device: the generation of the chip is in the highest four bits.
    pub device: u16,
    /// The driver that has it.
    pub driver: Option<String>,
    /// Its IOMMU group.
    pub group: Option<u32>,
}

impl PciFunction {
    /// Looks a function up below `sysfs`, which is `/sys` but in tests.
    ///
    /// # Errors
    /// It is not there, or what is said of it cannot be read.
    pub fn find(sysfs: &Path, address: PciAddress) -> Result<Self, VfioError> {
        let folder = sysfs.join("bus/pci/devices").join(address.to_string());
        if !folder.exists() {
            return Err(VfioError::Absent(address));
        }
        let number = |name: &str| {
            let path = folder.join(name);
            let wrong = || io::Error::new(io::ErrorKind::InvalidData, "expected a number such as 0x1425");
            let read = fs::read_to_string(&path).and_then(|text| {
                let digits = text.trim().strip_prefix("0x").ok_or_else(wrong)?;
                u16::from_str_radix(digits, 16).map_err(|_| wrong())
            });
            read.map_err(|error| VfioError::Sysfs { path, error })
        };
        let (vendor, device) = (number("vendor")?, number("device")?);
        let (driver, group) = (link(&folder.join("driver"))?, link(&folder.join("iommu_group"))?);
        let group = group.and_then(|group| group.parse().ok());
        Ok(Self { address, folder, vendor, device, driver, group })
    }

    /// Whether it is a virtual function: bits 11:8 of the device tell the physical function, or 8.
    #[must_use]
    pub const fn is_virtual(&self) -> bool {
        self.device >> 8 & 0xf == VIRTUAL
    }

    /// Whether it is a T5 that this program may have; gives its IOMMU group.
    ///
    /// # Errors
    /// What it is instead, or what is to be done first.
    pub fn check(&self) -> Result<u32, VfioError> {
        let Self { address, vendor, device, .. } = *self;
        if vendor != CHELSIO || device >> 12 != T5 {
            return Err(VfioError::NotT5 { address, vendor, device });
        }
        if self.driver.as_deref() != Some(DRIVER) {
            return Err(VfioError::Driver { address, driver: self.driver.clone() });
        }
        self.group.ok_or(VfioError::NoGroup(address))
    }
}

/// The last part of what a link names, if there is a link.
fn link(path: &Path) -> Result<Option<String>, VfioError> {
    match fs::read_link(path) {
        Ok(target) => Ok(target.file_name().map(|name| name.to_string_lossy().into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(VfioError::Sysfs { path: path.into(), error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const ADDRESS: &str = "0000:03:00.4";

    /// A sysfs with one function.
    fn sysfs(vendor: &str, device: &str, driver: Option<&str>, group: Option<&str>) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("bus/pci/devices").join(ADDRESS);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("vendor"), vendor).unwrap();
        fs::write(folder.join("device"), device).unwrap();
        let links = [("driver", "../../drivers", driver), ("iommu_group", "../../../kernel/iommu_groups", group)];
        for (name, to, last) in links {
            if let Some(last) = last {
                symlink(Path::new(to).join(last), folder.join(name)).unwrap();
            }
        }
        root
    }

    fn checked(root: &tempfile::TempDir) -> Result<u32, VfioError> {
        PciFunction::find(root.path(), ADDRESS.parse().unwrap())?.check()
    }

    fn said(root: &tempfile::TempDir) -> String {
        checked(root).unwrap_err().to_string()
    }

    #[test]
    fn addresses_are_read_and_written() {
        let address: PciAddress = "0000:03:1f.7".parse().unwrap();
        assert_eq!(address, PciAddress { domain: 0, bus: 3, device: 0x1f, function: 7 });
        assert_eq!(address.to_string(), "0000:03:1f.7");
        assert_eq!("03:1f.7".parse::<PciAddress>().unwrap(), address);
        assert_eq!("10000:e1:00.0".parse::<PciAddress>().unwrap().to_string(), "10000:e1:00.0");
        for wrong in ["", "03:00", "03:00.8", "03:20.0", "x:00.0", "0:0:03:00.4", "+3:00.0", "100:00.0", "03:00.4 "] {
            let error = wrong.parse::<PciAddress>().unwrap_err().to_string();
            assert!(error.contains("such as 0000:03:00.4"), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_t5_that_is_bound_to_vfio_is_taken() {
        assert_eq!(checked(&sysfs("0x1425\n", "0x5410\n", Some("vfio-pci"), Some("17"))).unwrap(), 17);
    }

    #[test]
    fn virtual_functions_are_known_by_their_device() {
        let is_virtual = |device| {
            let root = sysfs("0x1425", device, Some("vfio-pci"), Some("17"));
            PciFunction::find(root.path(), ADDRESS.parse().unwrap()).unwrap().is_virtual()
        };
        assert_eq!(["0x5411", "0x5811", "0x5011"].map(is_virtual), [false, true, false]);
    }

    #[test]
    fn what_is_to_be_done_first_is_said() {
        let error = said(&sysfs("0x1425", "0x5410", Some("cxgb4"), Some("17")));
        assert!(error.contains("belongs to cxgb4: bind the function to vfio-pci:"), "{error}");
        assert!(error.contains("echo 0000:03:00.4 >devices/0000:03:00.4/driver/unbind"), "{error}");
        let error = said(&sysfs("0x1425", "0x5410", None, Some("17")));
        assert!(error.contains("no driver: bind the function to vfio-pci:") && !error.contains("unbind"), "{error}");
        let error = said(&sysfs("0x1425", "0x5410", Some("vfio-pci"), None));
        assert!(error.contains("turn the IOMMU on"), "{error}");
        let error = said(&sysfs("0x8086", "0x5410", Some("vfio-pci"), Some("17")));
        assert!(error.contains("8086:5410: expected a T5 of Chelsio"), "{error}");
        let error = said(&sysfs("0x1425", "0x6410", Some("vfio-pci"), Some("17")));
        assert!(error.contains("1425:6410: expected a T5"), "{error}");
        let error = said(&sysfs("nonsense", "0x5410", Some("vfio-pci"), Some("17")));
        assert!(error.contains("vendor cannot be read: expected a number"), "{error}");
        let error = PciFunction::find(Path::new("/nonexistent"), ADDRESS.parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("there is no PCI function at 0000:03:00.4"), "{error}");
    }
}
