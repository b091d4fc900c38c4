//! A store as one line of text, such as an operator writes on a command line.

use crate::file::{FileLock, FileOptions, FileStore, OpenError};
use crate::{BlockStore, MemoryStore, NullStore, range};
use scsi_block::io::Geometry;
use scsi_block::protection::PROTECTION_BYTES;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

/// The longest serial number, in characters.
const SERIAL_CHARACTERS_MAX: usize = 64;

/// What to open, and what the logical unit above it is to say of it. Parsed from text by [`FromStr`]:
///
/// ```text
///   memory:SIZE[,limit=SIZE][,block=512|4096][,physical=SIZE][,removable][,pi=1|2|3][,serial=TEXT]
///   null:SIZE[,block=512|4096][,physical=SIZE][,removable][,pi=1|2|3][,serial=TEXT]
///   file:PATH[,size=SIZE][,ro][,direct][,wce=on|off][,block=512|4096][,physical=SIZE][,removable][,pi=1|2|3][,serial=TEXT]
/// ```
///
/// A SIZE is a number of bytes, or of KiB, MiB, GiB, TiB or PiB with K, M, G, T or P behind it. A comma or backslash in
/// a PATH is written `\,` or `\\`.
///
/// ```
/// use block_store::{StoreKind, StoreSpec};
///
/// let spec: StoreSpec = "memory:1P,block=4096,serial=abc".parse()?;
/// assert_eq!(spec.kind, StoreKind::Memory { size_bytes: 1 << 50 });
/// assert_eq!(spec.serial.as_deref(), Some("abc"));
/// assert_eq!(spec.open()?.geometry().blocks, 1 << 38);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSpec {
    /// Where the blocks are.
    pub kind: StoreKind,
    /// Bytes in one logical block: 512 (if nothing is said) or 4096.
    pub block_size: u32,
    /// The unit serial number: 1 to 64 printable ASCII characters.
    pub serial: Option<String>,
    /// Writes are refused (`ro`).
    pub read_only: bool,
    /// The most memory that blocks may take (`limit`, for memory), in bytes; as much as the disk has if nothing is said.
    pub limit_bytes: Option<u64>,
    /// Bytes in a physical block, of which logical blocks are a part (`physical`): a power of two, from the block size to 32768 blocks. The block
    /// size if nothing is said.
    pub physical_block_size: Option<u32>,
    /// The medium can be taken out (`removable`).
    pub removable: bool,
    /// The type of protection information that is kept with each block (`pi`), 1 to 3. It lies behind the block, so that a file has eight
    /// bytes more a block than the disk and is no image of it.
    pub protection: Option<u8>,
    /// Writes may end before they are durable, until the initiator asks for it (`wce`). If nothing is said: on for
    /// files, off for the others, which have nothing to flush.
    pub write_cache: bool,
}

/// The kinds of store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// A [`MemoryStore`].
    Memory {
        /// The size of the medium.
        size_bytes: u64,
    },
    /// A [`FileStore`].
    File {
        /// The file or block device.
        path: PathBuf,
        /// As in [`FileOptions::size_bytes`].
        size_bytes: Option<u64>,
        /// As in [`FileOptions::direct`].
        direct: bool,
    },
    /// A [`NullStore`].
    Null {
        /// The size of the medium.
        size_bytes: u64,
    },
}

/// What is wrong with a text, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} '{text}': expected {expected}")]
pub struct SpecError {
    /// The part that is wrong.
    what: &'static str,
    /// What stands there.
    text: String,
    /// What should.
    expected: &'static str,
}

impl SpecError {
    fn new(what: &'static str, text: impl Into<String>, expected: &'static str) -> Self {
        Self { what, text: text.into(), expected }
    }
}

impl StoreSpec {
    /// A store of which nothing else is said.
    #[must_use]
    pub fn new(kind: StoreKind) -> Self {
        Self {
            block_size: 512,
            serial: None,
            read_only: false,
            limit_bytes: None,
            physical_block_size: None,
            removable: false,
            protection: None,
            write_cache: matches!(kind, StoreKind::File { .. }),
            kind,
        }
    }

    /// Opens the store.
    pub fn open(&self) -> Result<Arc<dyn BlockStore>, OpenError> {
        self.open_in_place_of(&mut Vec::new())
    }

    /// The same in the place of stores that are about to go, as [`FileStore::open_in_place_of`] does.
    pub fn open_in_place_of(&self, before: &mut Vec<FileLock>) -> Result<Arc<dyn BlockStore>, OpenError> {
        let geometry = |size_bytes: u64| self.stored_geometry(size_bytes).map_err(OpenError::Geometry);
        Ok(match &self.kind {
            StoreKind::Memory { size_bytes } => Arc::new(match self.limit_bytes {
                Some(limit) => MemoryStore::with_limit(geometry(*size_bytes)?, limit),
                None => MemoryStore::new(geometry(*size_bytes)?),
            }),
            StoreKind::Null { size_bytes } => Arc::new(NullStore::new(geometry(*size_bytes)?)),
            StoreKind::File { path, size_bytes, direct } => {
                let options = FileOptions {
                    block_size: self.stored_block_bytes(),
                    size_bytes: size_bytes.map(|size| geometry(size).map(size_of)).transpose()?,
                    read_only: self.read_only,
                    direct: *direct,
                    ..FileOptions::default()
                };
                Arc::new(FileStore::open_in_place_of(before, path, &options)?)
            }
        })
    }

    /// Bytes that the store keeps of each block.
    pub fn stored_block_bytes(&self) -> u32 {
        self.block_size + if self.protection.is_some() { PROTECTION_BYTES } else { 0 }
    }

    /// What the store has for a disk of `size_bytes`.
    fn stored_geometry(&self, size_bytes: u64) -> Result<Geometry, &'static str> {
        let disk = range::geometry(self.block_size, size_bytes)?;
        let stored = Geometry { block_size: self.stored_block_bytes(), ..disk };
        range::geometry(stored.block_size, stored.blocks.saturating_mul(stored.block_size.into()))
    }

    /// Takes one `name` or `name=value`.
    fn set(&mut self, option: &str) -> Result<(), SpecError> {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        match (&mut self.kind, name, value) {
            (_, "block", Some(value)) => self.block_size = parse_block_size(value)?,
            (_, "physical", Some(value)) => self.physical_block_size = Some(parse_physical(value)?),
            (_, "removable", None) => self.removable = true,
            (_, "pi", Some(value)) => self.protection = Some(parse_protection(value)?),
            (_, "serial", Some(value)) => self.serial = Some(parse_serial(value)?),
            (StoreKind::Memory { .. }, "limit", Some(value)) => self.limit_bytes = Some(parse_size(value)?),
            (StoreKind::File { size_bytes, .. }, "size", Some(value)) => {
                *size_bytes = Some(parse_size(value)?);
            }
            (StoreKind::File { direct, .. }, "direct", None) => *direct = true,
            (StoreKind::File { .. }, "ro", None) => self.read_only = true,
            (StoreKind::File { .. }, "wce", Some("on")) => self.write_cache = true,
            (StoreKind::File { .. }, "wce", Some("off")) => self.write_cache = false,
            (StoreKind::File { .. }, "wce", _) => {
                return Err(SpecError::new("option", option, "wce=on or wce=off"));
            }
            (StoreKind::File { .. }, ..) => {
                let expected = "size=SIZE, ro, direct, wce=on|off, block=512|4096, physical=SIZE, removable, pi=1|2|3 or serial=TEXT after a file's path";
                return Err(SpecError::new("option", option, expected));
            }
            _ => {
                let expected = "block=512|4096, physical=SIZE, removable, pi=1|2|3, serial=TEXT or, for memory, limit=SIZE after the size";
                return Err(SpecError::new("option", option, expected));
            }
        }
        Ok(())
    }

    /// Logical blocks in a physical block, as a power of two.
    pub fn physical_block_exponent(&self) -> u8 {
        let physical = self.physical_block_size.unwrap_or(self.block_size);
        (physical / self.block_size).trailing_zeros() as u8
    }

    fn check_physical(&self) -> Result<(), SpecError> {
        let range = self.block_size..=self.block_size << 15;
        match self.physical_block_size.filter(|physical| !range.contains(physical)) {
            Some(physical) => {
                let expected = "at least a logical block, and at most 32768 of them";
                Err(SpecError::new("physical block", physical.to_string(), expected))
            }
            None => Ok(()),
        }
    }

    fn check_size(&self, text: &str) -> Result<(), SpecError> {
        let size_bytes = match self.kind {
            StoreKind::Memory { size_bytes } | StoreKind::Null { size_bytes } => Some(size_bytes),
            StoreKind::File { size_bytes, .. } => size_bytes,
        };
        let wrong = size_bytes.and_then(|size| self.stored_geometry(size).err());
        wrong.map_or(Ok(()), |_| {
            let expected = "a size of at least one block, in whole blocks, less than 8 EiB";
            Err(SpecError::new("store", text, expected))
        })
    }
}

impl FromStr for StoreSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        let (place, options) = split_unescaped_comma(rest);
        let kind = match kind {
            "memory" => StoreKind::Memory { size_bytes: parse_size(&place)? },
            "null" => StoreKind::Null { size_bytes: parse_size(&place)? },
            "file" if place.is_empty() => {
                return Err(SpecError::new("store", text, "a path after 'file:'"));
            }
            "file" => StoreKind::File { path: place.into(), size_bytes: None, direct: false },
            _ => {
                let expected = "memory:SIZE, file:PATH or null:SIZE, then options after commas";
                return Err(SpecError::new("store", text, expected));
            }
        };
        let mut spec = Self::new(kind);
        for option in options.into_iter().flat_map(|options| options.split(',')) {
            spec.set(option)?;
        }
        spec.check_physical()?;
        spec.check_size(text)?;
        Ok(spec)
    }
}

/// What stands before the first comma that no backslash precedes, without backslashes, and what stands behind it.
fn split_unescaped_comma(text: &str) -> (String, Option<&str>) {
    let mut place = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            ',' => return (place, Some(&text[at + 1..])),
            '\\' => match characters.next_if(|&(_, next)| matches!(next, ',' | '\\')) {
                Some((_, escaped)) => place.push(escaped),
                None => place.push(character),
            },
            _ => place.push(character),
        }
    }
    (place, None)
}

fn parse_size(text: &str) -> Result<u64, SpecError> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" => Some(0),
        "K" | "k" => Some(10),
        "M" | "m" => Some(20),
        "G" | "g" => Some(30),
        "T" | "t" => Some(40),
        "P" | "p" => Some(50),
        _ => None,
    };
    let only_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse::<u64>().ok().filter(|_| only_digits);
    let (Some(number), Some(shift)) = (number, shift) else {
        let expected = "a number with an optional suffix K, M, G, T or P";
        return Err(SpecError::new("size", text, expected));
    };
    number.checked_mul(1 << shift).ok_or_else(|| SpecError::new("size", text, "less than 8 EiB"))
}

fn parse_block_size(text: &str) -> Result<u32, SpecError> {
    match text {
        "512" => Ok(512),
        "4096" => Ok(4096),
        _ => Err(SpecError::new("block size", text, "512 or 4096")),
    }
}

fn size_of(geometry: Geometry) -> u64 {
    geometry.blocks * u64::from(geometry.block_size)
}

fn parse_physical(text: &str) -> Result<u32, SpecError> {
    let size = u32::try_from(parse_size(text)?).ok().filter(|size| size.is_power_of_two());
    size.ok_or_else(|| SpecError::new("physical block", text, "a power of two"))
}

fn parse_protection(text: &str) -> Result<u8, SpecError> {
    match text {
        "1" => Ok(1),
        "2" => Ok(2),
        "3" => Ok(3),
        _ => Err(SpecError::new("protection type", text, "1, 2 or 3")),
    }
}

fn parse_serial(text: &str) -> Result<String, SpecError> {
    let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if text.is_empty() || text.len() > SERIAL_CHARACTERS_MAX || !printable {
        return Err(SpecError::new("serial", text, "1 to 64 printable ASCII characters"));
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn everything_a_file_takes() {
        let text = r"file:/a\,b\\c\d=1,size=3G,ro,direct,wce=off,block=4096,physical=16k,removable,pi=2,serial=x y";
        let spec: StoreSpec = text.parse().unwrap();
        let path = r"/a,b\c\d=1".into();
        let kind = StoreKind::File { path, size_bytes: Some(3 << 30), direct: true };
        let serial = Some("x y".into());
        let expected = StoreSpec {
            kind,
            block_size: 4096,
            serial,
            read_only: true,
            limit_bytes: None,
            physical_block_size: Some(16384),
            removable: true,
            protection: Some(2),
            write_cache: false,
        };
        assert_eq!(spec, expected);
    }

    #[test]
    fn what_is_not_said_is_plain() {
        let spec: StoreSpec = "file:disk.img".parse().unwrap();
        assert!(spec.write_cache && !spec.read_only && spec.block_size == 512);
        assert_eq!("memory:1T,limit=1G".parse::<StoreSpec>().unwrap().limit_bytes, Some(1 << 30));
        assert!("null:1T,limit=1G".parse::<StoreSpec>().is_err());
        assert!(!"memory:1M".parse::<StoreSpec>().unwrap().write_cache);
        assert_eq!("null:4k".parse::<StoreSpec>().unwrap().kind, StoreKind::Null { size_bytes: 4096 });
    }

    #[test]
    fn protection_information_has_room_of_its_own() {
        let spec: StoreSpec = "memory:1M,pi=1".parse().unwrap();
        assert_eq!(spec.open().unwrap().geometry(), Geometry { block_size: 520, blocks: 2048 });
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk");
        let spec: StoreSpec = format!("file:{},size=1M,block=4096,pi=3", path.display()).parse().unwrap();
        assert_eq!(spec.open().unwrap().geometry(), Geometry { block_size: 4104, blocks: 256 });
        assert_eq!(path.metadata().unwrap().len(), 4104 * 256);
    }

    #[test]
    fn errors_say_what_was_expected() {
        let says = |text: &str| text.parse::<StoreSpec>().unwrap_err().to_string();
        let size = |what: &str| format!("size '{what}': expected a number with an optional suffix K, M, G, T or P");
        assert_eq!(says("memory:abc"), size("abc"));
        for wrong in ["", "-1", "+1", "1KB", "1.5G", "K", "1 G", "0x10"] {
            assert_eq!(says(&format!("memory:{wrong}")), size(wrong));
        }
        assert_eq!(says("memory:99999P"), "size '99999P': expected less than 8 EiB");
        assert!(says("memory:9000P").contains("less than 8 EiB"));
        assert!(says("memory:0").contains("at least one block"));
        assert!(says("memory:512,block=4096").contains("whole blocks"));
        assert!(says("memory:1G,physical=1000").ends_with("expected a power of two"));
        assert!(says("memory:1G,block=4096,physical=512").contains("at least a logical block"));
        assert_eq!(says("memory:1G,pi=4"), "protection type '4': expected 1, 2 or 3");
        assert_eq!(says("memory:1G,block=1024"), "block size '1024': expected 512 or 4096");
        assert!(says("memory:1G,direct").starts_with("option 'direct': expected block="));
        assert!(says("memory:1G,").starts_with("option '': expected block="));
        assert!(says("file:x,wce=maybe").ends_with("expected wce=on or wce=off"));
        assert!(says("file:x,ro=1").starts_with("option 'ro=1': expected size=SIZE, ro,"));
        assert!(says("file:,ro").ends_with("a path after 'file:'"));
        assert!(says("disk:1G").starts_with("store 'disk:1G': expected memory:SIZE"));
        assert!(says("memory:1G,serial=\u{e9}").starts_with("serial"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(memory|file|null)?:?.{0,40}") {
            let _ = text.parse::<StoreSpec>();
        }

        #[test]
        fn any_path_can_be_written(path in "[^\0]{1,30}") {
            let escaped = path.replace('\\', r"\\").replace(',', r"\,");
            let spec: StoreSpec = format!("file:{escaped},ro").parse().unwrap();
            let kind = StoreKind::File { path: path.into(), size_bytes: None, direct: false };
            prop_assert_eq!(spec.kind, kind);
        }
    }
}
