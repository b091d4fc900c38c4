//! The suite on files, and what only files do.

use crate::harness::Driver;
use crate::{atomic, model};
use block_store::{BlockStore, FileOptions, FileStore, IoId, OpenError};
use bytes::Bytes;
use scsi_block::io::{BlockIo, Extent, Geometry, IoError, IoOutput};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

/// A directory on a disk, not in memory.
fn directory() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn options(size_bytes: impl Into<Option<u64>>) -> FileOptions {
    FileOptions { size_bytes: size_bytes.into(), ..FileOptions::default() }
}

/// Opens fresh files; they are deleted with `directory`, while the stores still have them.
fn opener(directory: &TempDir, direct: bool) -> impl Fn(Geometry) -> Arc<dyn BlockStore> {
    let path = directory.path().join("disk");
    move |geometry| {
        let _ = std::fs::remove_file(&path);
        let size_bytes = Some(geometry.blocks * u64::from(geometry.block_size));
        let block_size = geometry.block_size;
        let options = FileOptions { block_size, size_bytes, direct, ..FileOptions::default() };
        Arc::new(FileStore::open(&path, &options).unwrap())
    }
}

/// True if the file system has O_DIRECT for blocks of 512.
fn has_direct(directory: &TempDir) -> bool {
    let path = directory.path().join("probe");
    let probe = FileStore::open(path, &FileOptions { direct: true, ..options(MIB) });
    if let Err(error) = &probe {
        eprintln!("skipped: {error}");
    }
    probe.is_ok()
}

fn write(lba: u64, byte: u8, length: u64) -> BlockIo {
    let data = [Bytes::from(vec![byte; length as usize])].into_iter().collect();
    BlockIo::Write { lba, data, durable: false }
}

fn read(lba: u64, blocks: u64) -> BlockIo {
    BlockIo::Read(Extent { lba, blocks })
}

fn allocated_bytes(path: &Path) -> u64 {
    path.metadata().unwrap().blocks() * 512
}

#[test]
fn files_grow_and_keep_their_size() {
    let directory = directory();
    let path = directory.path().join("disk");
    crate::grows(Arc::new(FileStore::open(&path, &options(100 * 512)).unwrap()));
    assert_eq!(path.metadata().unwrap().len(), 200 * 512);
    let read_only = FileStore::open(&path, &FileOptions { read_only: true, ..options(None) }).unwrap();
    assert!(read_only.grow(300).is_err());
}

#[test]
fn file_is_an_array_of_blocks() {
    let directory = directory();
    model::run_cases(opener(&directory, false), model::ALL, 60);
}

#[test]
fn direct_file_is_an_array_of_blocks() {
    let directory = directory();
    if has_direct(&directory) {
        model::run_cases(opener(&directory, true), model::PLAIN, 20);
    }
}

#[test]
fn file_in_memory_is_an_array_of_blocks() {
    // Another file system: it has no cached reads and no ZERO_RANGE.
    match TempDir::new_in("/dev/shm") {
        Ok(directory) => model::run_cases(opener(&directory, false), model::ALL, 60),
        Err(error) => eprintln!("skipped: /dev/shm: {error}"),
    }
}

#[test]
fn file_loses_no_update() {
    let directory = directory();
    atomic::counts_with_compare_and_write(opener(&directory, false));
}

#[test]
fn file_loses_no_bit() {
    let directory = directory();
    atomic::or_write_loses_no_bit(opener(&directory, false));
}

#[test]
fn file_swaps_whole() {
    let directory = directory();
    atomic::swaps_against_whole_writes(opener(&directory, false), false);
}

#[test]
fn many_requests_at_once() {
    let directory = directory();
    let path = directory.path().join("disk");
    let store: Arc<dyn BlockStore> = Arc::new(FileStore::open(&path, &options(64 * MIB)).unwrap());
    let mut queue = Driver::new(&store);
    let ends = queue.run_all((0..1000).map(|n| write(n * 8, n as u8, 4096)).collect());
    assert!(ends.iter().all(Result::is_ok));
    let ends = queue.run_all((0..1000).map(|n| read(n * 8, 8)).collect());
    for (n, end) in ends.into_iter().enumerate() {
        assert_eq!(end, Ok(IoOutput::Data(vec![n as u8; 4096].into())));
    }
}

#[test]
fn more_segments_than_one_system_call_takes() {
    let directory = directory();
    let open = opener(&directory, false);
    let store = open(Geometry { block_size: 512, blocks: 4096 });
    let mut queue = Driver::new(&store);
    let bytes: Vec<u8> = (0..MIB).map(|n| (n / 251) as u8).collect();
    let data = bytes.chunks(300).map(Bytes::copy_from_slice).collect();
    assert_eq!(queue.run(BlockIo::Write { lba: 3, data, durable: true }), Ok(IoOutput::Done));
    assert!(queue.run(read(3, 2048)) == Ok(IoOutput::Data(bytes.into())));
}

#[test]
fn a_file_is_sparse_and_unmap_gives_space_back() {
    let directory = directory();
    let path = directory.path().join("disk");
    let store: Arc<dyn BlockStore> = Arc::new(FileStore::open(&path, &options(1 << 40)).unwrap());
    let mut queue = Driver::new(&store);
    queue.run(write(1 << 20, 1, 8 * MIB)).unwrap();
    queue.run(BlockIo::Flush).unwrap();
    let before = allocated_bytes(&path);
    assert!((8 * MIB..16 * MIB).contains(&before), "{before}");

    let extent = Extent { lba: 1 << 20, blocks: 4 * MIB / 512 };
    queue.run(BlockIo::Unmap([extent].into_iter().collect())).unwrap();
    assert!(allocated_bytes(&path) <= before - 4 * MIB);
    let extent = Extent { lba: (1 << 20) + 4 * MIB / 512, blocks: 4 * MIB / 512 };
    queue.run(BlockIo::WriteSame { extent, block: None, unmap: true, durable: false }).unwrap();
    assert!(allocated_bytes(&path) <= before - 8 * MIB);
    assert_eq!(path.metadata().unwrap().len(), 1 << 40);
}

#[test]
fn holes_are_deallocated_and_all_else_is_mapped() {
    let directory = directory();
    let path = directory.path().join("disk");
    let store: Arc<dyn BlockStore> = Arc::new(FileStore::open(&path, &options(1 << 40)).unwrap());
    let mut queue = Driver::new(&store);
    queue.run(write(1 << 20, 1, MIB)).unwrap();
    queue.run(write(1 << 30, 1, MIB)).unwrap();
    let whole = Extent { lba: 0, blocks: (1 << 40) / 512 };
    let mapped = |queue: &mut Driver| -> Vec<(u64, u64)> {
        let runs = model::statuses(queue, whole).into_iter().filter(|run| run.mapped);
        runs.map(|run| (run.extent.lba, run.extent.blocks)).collect()
    };
    assert_eq!(mapped(&mut queue), [(1 << 20, 2048), (1 << 30, 2048)]);
    let extent = Extent { lba: (1 << 20) + 1024, blocks: 1024 };
    queue.run(BlockIo::Unmap([extent].into_iter().collect())).unwrap();
    assert_eq!(mapped(&mut queue), [(1 << 20, 1024), (1 << 30, 2048)]);
    assert_eq!(queue.run(BlockIo::Prefetch(whole)), Ok(IoOutput::Done));
}

#[test]
fn a_second_store_is_refused_until_the_first_is_gone() {
    let directory = directory();
    let path = directory.path().join("disk");
    let first = Arc::new(FileStore::open(&path, &options(MIB)).unwrap());
    let again = || FileStore::open(&path, &options(None));
    let error = again().unwrap_err();
    assert!(matches!(error, OpenError::InUse(_)));
    assert!(error.to_string().contains("another target has it open"), "{error}");

    let queue = first.clone().open_queue(std::task::Waker::noop().clone());
    drop(first);
    assert!(again().is_err(), "a queue keeps the store");
    drop(queue);
    assert!(again().is_ok());

    let read_only = || FileStore::open(&path, &FileOptions { read_only: true, ..options(None) });
    let (_one, _two) = (read_only().unwrap(), read_only().unwrap());
    assert!(matches!(again(), Err(OpenError::InUse(_))));
}

#[test]
fn what_was_submitted_is_finished_when_the_queue_is_dropped() {
    let directory = directory();
    let path = directory.path().join("disk");
    let store = Arc::new(FileStore::open(&path, &options(MIB)).unwrap());
    let mut queue = store.open_queue(std::task::Waker::noop().clone());
    for n in 0..100 {
        queue.submit(IoId(n), write(n, n as u8 + 1, 512));
    }
    let _ = queue.poll();
    drop(queue);
    let written = std::fs::read(&path).unwrap();
    assert!((0..100).all(|n| written[n * 512] == n as u8 + 1));
}

#[test]
fn a_read_only_store_refuses_writes() {
    let directory = directory();
    let path = directory.path().join("disk");
    std::fs::write(&path, vec![7; 4096]).unwrap();
    let options = FileOptions { read_only: true, ..options(None) };
    let store: Arc<dyn BlockStore> = Arc::new(FileStore::open(&path, &options).unwrap());
    let mut queue = Driver::new(&store);
    let extent = Extent { lba: 0, blocks: 1 };
    let block = Bytes::from(vec![7; 512]);
    for io in [
        write(0, 1, 512),
        BlockIo::Unmap([extent].into_iter().collect()),
        BlockIo::WriteSame { extent, block: None, unmap: true, durable: false },
        BlockIo::CompareAndWrite { lba: 0, data: [block.clone(), block.clone()].into_iter().collect(), durable: false },
    ] {
        assert_eq!(queue.run(io), Err(IoError::ReadOnly));
    }
    assert_eq!(queue.run(read(0, 1)), Ok(IoOutput::Data(block)));
    assert_eq!(queue.run(BlockIo::Flush), Ok(IoOutput::Done));
}

#[test]
fn a_file_that_shrank_is_a_read_error() {
    for direct in [false, true] {
        let directory = directory();
        if direct && !has_direct(&directory) {
            continue;
        }
        let store = opener(&directory, direct)(Geometry { block_size: 512, blocks: 64 });
        let mut queue = Driver::new(&store);
        queue.run(write(0, 1, 64 * 512)).unwrap();
        let file = File::options().write(true).open(directory.path().join("disk")).unwrap();
        file.set_len(32 * 512).unwrap();
        assert_eq!(queue.run(read(24, 16)), Err(IoError::Read));
        assert_eq!(queue.run(read(40, 1)), Err(IoError::Read));
        assert_eq!(queue.run(read(31, 1)), Ok(IoOutput::Data(vec![1; 512].into())));
    }
}

#[test]
fn sizes_are_settled_when_it_is_opened() {
    let directory = directory();
    let path = directory.path().join("disk");
    let says = |options: &FileOptions| FileStore::open(&path, options).unwrap_err().to_string();

    assert!(says(&options(None)).contains("does not exist; to create it, give its size"));
    assert!(says(&options(1000)).contains("multiple of the block size"));
    std::fs::write(&path, b"too short").unwrap();
    assert!(says(&options(None)).contains("holds no whole block"));
    std::fs::write(&path, vec![1; 1500]).unwrap();
    let store = FileStore::open(&path, &options(None)).unwrap();
    assert_eq!(store.geometry(), Geometry { block_size: 512, blocks: 2 });
    drop(store);
    let read_only = FileOptions { read_only: true, ..options(2048) };
    assert!(says(&read_only).contains("has 1500 bytes, not the 2048"));
    assert_eq!(FileStore::open(&path, &options(2048)).unwrap().geometry().blocks, 4);
    assert_eq!(FileStore::open(&path, &options(1024)).unwrap().geometry().blocks, 2, "a part of what is there");

    let error = FileStore::open(directory.path(), &options(None)).unwrap_err().to_string();
    assert!(error.contains("neither a regular file nor a block device"));
}

/// Held by tests that start programs: between fork and exec, a child has what its parent has open, and an exclusively
/// opened device is not free.
static PROGRAMS: Mutex<()> = Mutex::new(());

fn programs() -> MutexGuard<'static, ()> {
    PROGRAMS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file system of its own, unmounted at the end.
struct Mounted(TempDir);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

/// A tmpfs of 1 MiB; `None` where that is not allowed.
fn tiny_file_system() -> Option<Mounted> {
    let directory = directory();
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(directory.path());
    match mount.output() {
        Ok(output) if output.status.success() => Some(Mounted(directory)),
        other => {
            eprintln!("skipped: cannot mount a tmpfs: {other:?}");
            None
        }
    }
}

#[test]
fn a_full_file_system_is_no_space() {
    let _alone = programs();
    let Some(mounted) = tiny_file_system() else { return };
    let path = mounted.0.path().join("disk");
    let store: Arc<dyn BlockStore> = Arc::new(FileStore::open(path, &options(8 * MIB)).unwrap());
    let mut queue = Driver::new(&store);
    queue.run(write(0, 1, MIB / 2)).unwrap();
    assert_eq!(queue.run(write(4096, 2, 2 * MIB)), Err(IoError::NoSpace));
    let extent = Extent { lba: 4096, blocks: 4096 };
    queue.run(BlockIo::Unmap([extent].into_iter().collect())).unwrap();
    queue.run(write(4096, 3, 4096)).unwrap();
    assert_eq!(queue.run(BlockIo::Flush), Ok(IoOutput::Done), "a full disk is no failed sync");
    let first = vec![1; (MIB / 2) as usize];
    assert_eq!(queue.run(read(0, 1024)), Ok(IoOutput::Data(first.into())));
}

/// A loop device, detached at the end.
struct LoopDevice(PathBuf);

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("-d").arg(&self.0).status();
    }
}

fn loop_device(file: &Path) -> Option<LoopDevice> {
    let output = Command::new("losetup").args(["--find", "--show"]).arg(file).output();
    match output {
        Ok(output) if output.status.success() => {
            let name = String::from_utf8(output.stdout).unwrap();
            Some(LoopDevice(name.trim().into()))
        }
        other => {
            eprintln!("skipped: no loop device: {other:?}");
            None
        }
    }
}

#[test]
fn a_block_device_is_an_array_of_blocks() {
    let _alone = programs();
    let directory = directory();
    let backing = directory.path().join("backing");
    File::create(&backing).unwrap().set_len(8 * MIB).unwrap();
    let Some(device) = loop_device(&backing) else { return };
    for direct in [false, true] {
        let options = FileOptions { direct, ..options(8 * MIB) };
        let store: Arc<dyn BlockStore> = Arc::new(FileStore::open(&device.0, &options).unwrap());
        assert_eq!(store.geometry().blocks, 8 * MIB / 512);
        let mut queue = Driver::new(&store);
        queue.run(write(100, 9, MIB)).unwrap();
        queue.run(BlockIo::Flush).unwrap();
        assert!(allocated_bytes(&backing) >= MIB);
        assert!(queue.run(read(100, 2048)) == Ok(IoOutput::Data(vec![9; 1 << 20].into())));
        let extent = Extent { lba: 0, blocks: 8 * MIB / 512 };
        queue.run(BlockIo::Unmap([extent].into_iter().collect())).unwrap();
        assert_eq!(queue.run(read(100, 8)), Ok(IoOutput::Data(vec![0; 4096].into())));
        queue.run(BlockIo::Flush).unwrap();
        assert!(allocated_bytes(&backing) < MIB, "the device passed the hole on");
    }
    let error = FileStore::open(&device.0, &options(16 * MIB)).unwrap_err();
    assert!(matches!(error, OpenError::Size { .. }));
    let first = FileStore::open(&device.0, &options(4 * MIB)).unwrap();
    assert_eq!(first.geometry().blocks, 4 * MIB / 512, "what is behind is out of reach");
    assert!(matches!(FileStore::open(&device.0, &options(None)), Err(OpenError::InUse(_))));
    let mut before = Vec::from_iter(first.lock());
    let second = FileStore::open_in_place_of(&mut before, &device.0, &options(None)).unwrap();
    drop(first);
    assert_eq!(second.geometry().blocks, 8 * MIB / 512);
    assert!(matches!(FileStore::open(&device.0, &options(None)), Err(OpenError::InUse(_))));
}

#[test]
fn space_is_what_the_file_has_and_the_file_system_has_left() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk");
    let options = FileOptions { size_bytes: Some(64 << 20), ..FileOptions::default() };
    let store = FileStore::open(&path, &options).unwrap();
    let before = store.space().unwrap();
    assert!(before.used_bytes < 1 << 20 && before.is_shared, "{before:?}");
    assert!(before.available_bytes.is_some_and(|bytes| bytes > 4 << 20), "{before:?}");
    let written = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&written, &vec![1; 4 << 20], 0).unwrap();
    written.sync_all().unwrap();
    assert!(store.space().unwrap().used_bytes >= 4 << 20);
}
