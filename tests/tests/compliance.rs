//! The rules of RFC 7143, the code that meets them and the tests that prove it hold together.

use std::{env, fs};

use ferriscsi_tests::compliance::{Baseline, Citations, Rules, faults, page, page_path};

#[test]
fn rules_figures_and_sources_hold_together() {
    let faults = faults(&Rules::load(), &Citations::scan());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn no_section_falls_behind() {
    let reached = Baseline::count(&Rules::load(), &Citations::scan());
    let before = Baseline::load();
    let losses = before.losses(&reached);
    if env::var_os("FERRISCSI_BLESS").is_some() {
        before.raise(&reached);
    }
    assert!(losses.is_empty(), "{}", losses.join("\n"));
}

#[test]
fn the_page_is_up_to_date() {
    let committed = fs::read_to_string(page_path()).unwrap_or_default();
    let current = page(&Rules::load(), &Citations::scan());
    assert!(committed == current, "docs/compliance.md is old: run `cargo run -p ferriscsi-tests --bin compliance`");
}
