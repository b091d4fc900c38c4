//! The page of the state charts, made from their tables.

use super::session_state::{self, SessionState};
use super::state::{self, State};
use std::fmt::{Debug, Write};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/state-charts.md");

const HEAD: &str = "# State charts of the target

Made from the tables in `crates/iscsi-session/src/target/state.rs` and `session_state.rs` by
`FERRISCSI_BLESS=1 cargo test -p iscsi-session chart_page`; a test compares. The names of the ways are those of RFC 7143.
";

fn chart<S: Debug, T: Debug>(page: &mut String, title: &str, ways: &[(S, T, &str, S)]) {
    writeln!(page, "\n## {title}\n\n```mermaid\nstateDiagram-v2").unwrap();
    for (from, by, name, to) in ways {
        writeln!(page, "    {from:?} --> {to:?} : {name} {by:?}").unwrap();
    }
    page.push_str("```\n");
}

#[test]
fn the_page_shows_the_tables() {
    let mut page = HEAD.to_owned();
    chart::<State, _>(&mut page, "A connection (sections 8.1.4 and 8.2)", state::CHART);
    chart::<SessionState, _>(&mut page, "A session (section 8.3.2)", session_state::CHART);
    if std::env::var_os("FERRISCSI_BLESS").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    assert_eq!(std::fs::read_to_string(PAGE).unwrap_or_default(), page, "the page is not that of the tables: bless it");
}
