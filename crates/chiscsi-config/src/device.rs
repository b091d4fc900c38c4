//! A logical unit of a target: `TargetDevice=PATH[,FILE|BLK|MEM][,NULLRW][,SYNC][,RO][,size=SIZE][,ID=TEXT][,WWN=TEXT][,SN=TEXT]`.

use crate::value::{Entry, Text, entries, number};
use std::fmt;

const MIB: u64 = 1 << 20;

/// Size of a disk in memory unless one is given, in bytes.
const MEMORY_BYTES: u64 = 16 * MIB;

/// Largest size of a disk, in bytes.
const BYTES_MAX: u64 = 1 << 50;

/// What holds the blocks of a logical unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// A file, through the page cache.
    File {
        /// Writes end when they are durable.
        sync: bool,
    },
    /// A block device, past the page cache.
    Block,
    /// Memory.
    Memory {
        /// The size.
        bytes: u64,
    },
}

/// A logical unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The file or block device; for memory a name.
    pub path: Text<4096>,
    /// What that is.
    pub kind: DeviceKind,
    /// Nothing is read or written: the commands end at once.
    pub null: bool,
    /// Writes are refused.
    pub read_only: bool,
    /// A SCSI identifier, unique.
    pub id: Option<Text<24>>,
    /// A world wide name, unique.
    pub wwn: Option<Text<16>>,
    /// A serial number, unique.
    pub serial: Option<Text<16>>,
}

impl Entry for Device {
    const EXPECTED: &'static str = "PATH[,FILE|BLK|MEM][,NULLRW][,SYNC][,RO][,size=1MB or more][,ID=1 to 24 bytes][,WWN=1 to 16 bytes][,SN=1 to 16 \
                                    bytes], SYNC with FILE and size with MEM only";

    fn parse(text: &str) -> Result<Self, Option<String>> {
        let mut words = text.split(',').map(str::trim);
        let path = words.next().and_then(Text::new).ok_or(None)?;
        let mut device = Self {
            path,
            kind: DeviceKind::File { sync: false },
            null: false,
            read_only: false,
            id: None,
            wwn: None,
            serial: None,
        };
        let mut given = Given::default();
        words.try_for_each(|word| given.take(&mut device, word))?;
        device.kind = given.kind()?;
        Ok(device)
    }
}

/// What a line has said of the kind so far.
#[derive(Default)]
struct Given<'a> {
    kind: Option<&'a str>,
    sync: bool,
    bytes: Option<u64>,
}

impl<'a> Given<'a> {
    fn take(&mut self, device: &mut Device, word: &'a str) -> Result<(), Option<String>> {
        match word.split_once('=') {
            Some(("size", size)) => once(&mut self.bytes, parse_size(size)),
            Some(("ID", text)) => once(&mut device.id, Text::new(text)),
            Some(("WWN", text)) => once(&mut device.wwn, Text::new(text)),
            Some(("SN", text)) => once(&mut device.serial, Text::new(text)),
            Some(_) => Err(None),
            None => match word {
                "FILE" | "BLK" | "MEM" => once(&mut self.kind, Some(word)),
                "NULLRW" => flag(&mut device.null),
                "SYNC" => flag(&mut self.sync),
                "RO" => flag(&mut device.read_only),
                _ => Err(None),
            },
        }
    }

    fn kind(&self) -> Result<DeviceKind, Option<String>> {
        match (self.kind.unwrap_or("FILE"), self.sync, self.bytes) {
            ("FILE", sync, None) => Ok(DeviceKind::File { sync }),
            ("BLK", false, None) => Ok(DeviceKind::Block),
            ("MEM", false, bytes) => Ok(DeviceKind::Memory { bytes: bytes.unwrap_or(MEMORY_BYTES) }),
            _ => Err(None),
        }
    }
}

fn once<V>(place: &mut Option<V>, value: Option<V>) -> Result<(), Option<String>> {
    if place.is_some() || value.is_none() {
        return Err(None);
    }
    *place = value;
    Ok(())
}

fn flag(place: &mut bool) -> Result<(), Option<String>> {
    if std::mem::replace(place, true) { Err(None) } else { Ok(()) }
}

/// A number of MB, GB or TB, which are powers of 1024.
fn parse_size(text: &str) -> Option<u64> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(2)?)?;
    let exponent = match unit {
        "MB" => 20,
        "GB" => 30,
        "TB" => 40,
        _ => return None,
    };
    let bytes = number::<u64>(digits)?.checked_mul(1 << exponent)?;
    (MIB..=BYTES_MAX).contains(&bytes).then_some(bytes)
}

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.path.as_str())?;
        match self.kind {
            DeviceKind::File { sync } => formatter.write_str(if sync { ",SYNC" } else { "" })?,
            DeviceKind::Block => formatter.write_str(",BLK")?,
            DeviceKind::Memory { bytes } => write!(formatter, ",MEM,size={}MB", bytes / MIB)?,
        }
        for (said, word) in [(self.null, ",NULLRW"), (self.read_only, ",RO")] {
            formatter.write_str(if said { word } else { "" })?;
        }
        let texts = [
            ("ID", self.id.as_ref().map(Text::as_str)),
            ("WWN", self.wwn.as_ref().map(Text::as_str)),
            ("SN", self.serial.as_ref().map(Text::as_str)),
        ];
        texts
            .iter()
            .filter_map(|(key, text)| Some((key, (*text)?)))
            .try_for_each(|(key, text)| write!(formatter, ",{key}={text}"))
    }
}

entries!(Device);
