//! Lists of operations from fixed seeds, for those who have no fuzzer.

use iscsi_transport::Random;

/// Lists a level.
const LISTS: u64 = 1500;

#[test]
fn random_lists_of_operations_pass() {
    for seed in 0..LISTS {
        for level in 0..3_u8 {
            let mut random = Random::new(seed);
            let mut list: Vec<u8> = (0..400).map(|_| random.below(256) as u8).collect();
            // What else is agreed upon is drawn.
            list[0] = list[0] % 85 * 3 + level;
            let result = std::panic::catch_unwind(|| ferriscsi_fuzz::operations(&list));
            assert!(result.is_ok(), "level {level}, seed {seed}");
        }
    }
}
