//! A page of state charts in `docs`, made of their tables.

use std::fmt::{Debug, Write};
use std::path::Path;

/// What the page is to be.
pub(crate) struct ChartPage(String);

impl ChartPage {
    pub(crate) fn new(head: &str) -> Self {
        Self(head.to_owned())
    }

    /// Adds a chart: each way with where it begins, by what, its name, and where it ends.
    pub(crate) fn chart<S: Debug, T: Debug>(mut self, title: &str, ways: &[(S, T, &str, S)]) -> Self {
        writeln!(self.0, "\n## {title}\n\n```mermaid\nstateDiagram-v2").unwrap();
        for (from, by, name, to) in ways {
            writeln!(self.0, "    {from:?} --> {to:?} : {name} {by:?}").unwrap();
        }
        self.0.push_str("```\n");
        self
    }

    /// Compares it with the file of that name; with FERRISCSI_BLESS it becomes the file.
    #[track_caller]
    pub(crate) fn compare(self, name: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
        if std::env::var_os("FERRISCSI_BLESS").is_some() {
            std::fs::write(&path, &self.0).unwrap();
        }
        let there = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(there, self.0, "docs/{name} is not that of the tables: bless it");
    }
}
