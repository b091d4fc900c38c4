//! The memory against a plain array.

use super::*;
use proptest::prelude::*;

const BASE: u64 = 0x4000;

fn filled() -> (DmaMemory, Vec<u8>) {
    let memory = DmaMemory::new(BASE, 4096, 4096);
    let bytes: Vec<u8> = (0..8192u32).map(|at| (at * 7 + (at >> 8)) as u8).collect();
    memory.write(BASE, &bytes).unwrap();
    (memory, bytes)
}

fn all(memory: &DmaMemory) -> Vec<u8> {
    let mut out = vec![0; 8192];
    memory.read(BASE, &mut out).unwrap();
    out
}

#[test]
fn what_is_outside_is_refused_and_changes_nothing() {
    let (memory, bytes) = filled();
    for (address, length) in [(0, 1), (BASE - 1, 2), (BASE + 8192, 1), (BASE + 8190, 3), (u64::MAX, 1), (u64::MAX, 64)]
    {
        let fault = DmaFault::Outside { address, length, base: BASE, end: BASE + 8192 };
        assert_eq!(memory.write(address, &vec![0; length as usize]), Err(fault));
        assert_eq!(memory.read(address, &mut vec![0; length as usize]), Err(fault));
    }
    assert_eq!(memory.load(BASE + 4), Err(DmaFault::Unaligned { address: BASE + 4 }));
    assert!(memory.load(BASE + 8192).is_err() && memory.store(BASE - 8, [0; 8]).is_err());
    assert_eq!(memory.write(BASE + 8192, &[]), Ok(()));
    assert_eq!(all(&memory), bytes);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 256 }, ..ProptestConfig::default() })]

    #[test]
    fn reads_and_writes_are_those_of_an_array(at in 0..8192usize, length in 0..700usize, byte: u8) {
        let (memory, mut bytes) = filled();
        let length = length.min(8192 - at);
        let mut out = vec![0; length];
        memory.read(BASE + at as u64, &mut out).unwrap();
        prop_assert_eq!(&out, &bytes[at..at + length]);
        let written: Vec<u8> = (0..length).map(|n| byte.wrapping_add(n as u8)).collect();
        memory.write(BASE + at as u64, &written).unwrap();
        bytes[at..at + length].copy_from_slice(&written);
        prop_assert_eq!(all(&memory), bytes);
    }

    #[test]
    fn words_are_those_of_an_array(word in 0..1024u64, value: u64) {
        let (memory, mut bytes) = filled();
        let at = word as usize * 8;
        prop_assert_eq!(&memory.load(BASE + word * 8).unwrap()[..], &bytes[at..at + 8]);
        memory.store(BASE + word * 8, value.to_be_bytes()).unwrap();
        bytes[at..at + 8].copy_from_slice(&value.to_be_bytes());
        prop_assert_eq!(all(&memory), bytes);
    }
}
