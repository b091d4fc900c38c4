//! The tables of keys in the documentation are those of the code.

use chiscsi_config::{Global, KeyInfo, Reload, Target};
use std::fs;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/chiscsi-conf.md");

fn row(key: &KeyInfo) -> String {
    let default = key.default.iter().map(|line| format!("`{line}`")).collect::<Vec<_>>().join(" ");
    let reload = match key.reload {
        Reload::AtOnce => "at once",
        Reload::NewLogins => "new logins",
        Reload::Never => "never",
    };
    format!("| `{}` | {} | {default} | {reload} |\n", key.name, key.expected.replace('|', "\\|"))
}

fn table(keys: &[KeyInfo]) -> String {
    let rows: String = keys.iter().map(row).collect();
    format!("| key | value | without it | a change holds |\n|---|---|---|---|\n{rows}")
}

/// With `FERRISCSI_BLESS` set, what stands there is replaced.
#[test]
fn the_page_has_every_key_as_the_code_reads_it() {
    let page = fs::read_to_string(PAGE).unwrap();
    let (introduction, _) = page.split_once("## Keys of `global:`").expect("a heading");
    let expected = format!(
        "{introduction}## Keys of `global:`\n\n{}\n## Keys of `target:`\n\n{}",
        table(&Global::keys()),
        table(&Target::keys())
    );
    if std::env::var_os("FERRISCSI_BLESS").is_some() {
        fs::write(PAGE, &expected).unwrap();
    }
    assert!(
        fs::read_to_string(PAGE).unwrap() == expected,
        "docs/chiscsi-conf.md is behind: run this test with FERRISCSI_BLESS=1"
    );
}
