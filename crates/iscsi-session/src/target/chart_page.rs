//! The page of the state charts, made from their tables.

use super::session_state::{self, SessionState};
use super::state::{self, State};
use crate::chart_page::ChartPage;

const HEAD: &str = "# State charts of the target

Made from the tables in `crates/iscsi-session/src/target/state.rs` and `session_state.rs` by
`FERRISCSI_BLESS=1 cargo test -p iscsi-session chart_page`; a test compares. The names of the ways are those of RFC 7143.
";

#[test]
fn the_page_shows_the_tables() {
    ChartPage::new(HEAD)
        .chart::<State, _>("A connection (sections 8.1.4 and 8.2)", state::CHART)
        .chart::<SessionState, _>("A session (section 8.3.2)", session_state::CHART)
        .compare("state-charts.md");
}
