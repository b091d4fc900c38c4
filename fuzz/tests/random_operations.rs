//! Lists of operations from fixed seeds, for those who have no fuzzer.

/// Lists a level.
const LISTS: u64 = 1500;

#[test]
fn random_lists_of_operations_pass() {
    for seed in 0..LISTS {
        for level in 0..3_u8 {
            let mut state = seed * 3 + u64::from(level) + 1;
            let mut byte = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            };
            let mut list: Vec<u8> = (0..400).map(|_| byte()).collect();
            list[0] = level;
            let result = std::panic::catch_unwind(|| ferriscsi_fuzz::operations(&list));
            assert!(result.is_ok(), "level {level}, seed {seed}");
        }
    }
}
