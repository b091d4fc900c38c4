//! Stores that take the place of others on the same file.

use block_store::{BlockStore, FileLock, FileOptions, FileStore, OpenError};
use std::path::Path;
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

fn options(read_only: bool) -> FileOptions {
    FileOptions { read_only, ..FileOptions::default() }
}

fn disk() -> (TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    std::fs::File::create(&path).unwrap().set_len(MIB).unwrap();
    (folder, path)
}

/// Whether another process could open the file, to read or to write.
fn is_free(path: &Path, read_only: bool) -> bool {
    match FileStore::open(path, &options(read_only)) {
        Ok(_) => true,
        Err(error) => matches!(error, OpenError::InUse(_)).then_some(false).expect("it is free or in use"),
    }
}

fn succeed(first: &FileStore, path: &Path, read_only: bool) -> Result<FileStore, OpenError> {
    let mut before = Vec::from_iter(first.lock());
    let second = FileStore::open_in_place_of(&mut before, path, &options(read_only));
    assert!(before.is_empty(), "one store takes its place, and no other");
    second
}

#[test]
fn a_store_takes_the_place_of_another_that_goes_later() {
    let (_folder, path) = disk();
    let first = FileStore::open(&path, &options(false)).unwrap();
    let second = succeed(&first, &path, false).unwrap();
    let lock = second.lock().unwrap();
    assert!(lock.is_shared() && !is_free(&path, true));
    drop(first);
    assert!(!lock.is_shared() && !is_free(&path, true));
    drop(second);
    assert!(is_free(&path, false));
}

#[test]
fn one_that_goes_first_leaves_the_other_as_it_was() {
    let (_folder, path) = disk();
    let first = FileStore::open(&path, &options(true)).unwrap();
    drop(succeed(&first, &path, false).unwrap());
    assert!(is_free(&path, true) && !is_free(&path, false));
}

#[test]
fn a_store_that_only_reads_lets_others_read_once_it_is_alone() {
    let (_folder, path) = disk();
    let first = FileStore::open(&path, &options(false)).unwrap();
    let _second = succeed(&first, &path, true).unwrap();
    assert!(!is_free(&path, true));
    drop(first);
    assert!(is_free(&path, true) && !is_free(&path, false));
}

#[test]
fn who_reads_beside_the_first_keeps_the_second_from_writing() {
    let (_folder, path) = disk();
    let (first, beside) = (FileStore::open(&path, &options(true)).unwrap(), FileStore::open(&path, &options(true)));
    assert!(matches!(succeed(&first, &path, false), Err(OpenError::InUse(_))));
    drop(beside);
    assert!(!is_free(&path, false), "the first has its lock still");
    succeed(&first, &path, false).unwrap();
}

#[test]
fn the_lock_of_another_file_is_left_alone() {
    let ((_one, first), (_two, second)) = (disk(), disk());
    let mut before: Vec<FileLock> = Vec::from_iter(FileStore::open(&first, &options(false)).unwrap().lock());
    FileStore::open_in_place_of(&mut before, &second, &options(false)).unwrap();
    assert_eq!(before.len(), 1);
}

#[test]
fn what_a_file_has_behind_its_end_comes_back_when_it_grows() {
    let (_folder, path) = disk();
    let sized = |bytes| FileOptions { size_bytes: Some(bytes), ..options(false) };
    let store = FileStore::open(&path, &sized(MIB / 2)).unwrap();
    assert_eq!(store.geometry().blocks, 1024);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), MIB);
    store.grow(2048).unwrap();
    assert_eq!((store.geometry().blocks, std::fs::metadata(&path).unwrap().len()), (2048, MIB));
}
