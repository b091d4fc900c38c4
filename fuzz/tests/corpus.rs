//! Replays what is kept of every fuzz target.

use std::fs;
use std::path::Path;

#[test]
fn every_kept_input_passes() {
    for (name, target) in ferriscsi_fuzz::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let mut count = 0;
        for entry in fs::read_dir(&folder).expect("every target has a corpus") {
            let path = entry.expect("a readable folder").path();
            println!("{}", path.display());
            target(&fs::read(&path).expect("a readable file"));
            count += 1;
        }
        assert!(count > 0, "{} has no seed", folder.display());
        // What a fuzzer begins with.
        target(&[]);
    }
}
