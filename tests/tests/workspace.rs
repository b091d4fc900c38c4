//! The shape of the workspace: which crate may name which, and under which licences our dependencies come.

use std::collections::BTreeSet;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// Who may depend on whom, of the crates in this workspace. ARCHITECTURE.md explains the table; a new edge is a
/// decision, and is made here and there together. `iscsi-session`, `iscsi-transport` and `scsi-block` do not know
/// each other; the node is the first that sees them all, and whoever sees the node may name what it hands out.
const EDGES: [(&str, &[&str]); 15] = [
    ("iscsi-pdu", &[]),
    ("scsi-block", &[]),
    ("iscsi-session", &["iscsi-pdu"]),
    ("iscsi-transport", &["iscsi-pdu"]),
    ("block-store", &["scsi-block"]),
    ("t5-policy", &[]),
    ("chiscsi-config", &["iscsi-session"]),
    ("iscsi-control", &[]),
    ("fio-job", &[]),
    ("t5-hal", &["iscsi-pdu", "iscsi-transport", "t5-policy"]),
    ("t5-model", &["iscsi-pdu", "iscsi-session", "t5-hal"]),
    ("iscsi-node", &["iscsi-pdu", "iscsi-session", "iscsi-transport", "scsi-block"]),
    (
        "iscsi-runtime",
        &[
            "block-store",
            "iscsi-node",
            "iscsi-pdu",
            "iscsi-session",
            "iscsi-transport",
            "scsi-block",
            "t5-hal",
            "t5-policy",
        ],
    ),
    ("ferriscsi", ALL),
    ("ferriscsi-tests", ALL),
];
const ALL: &[&str] = &[
    "block-store",
    "chiscsi-config",
    "fio-job",
    "iscsi-control",
    "iscsi-node",
    "iscsi-pdu",
    "iscsi-runtime",
    "iscsi-session",
    "iscsi-transport",
    "scsi-block",
    "t5-hal",
    "t5-model",
    "t5-policy",
];

/// The system that we build for. What a dependency needs on others is never built.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// Licences under which a dependency may reach our users.
const LICENCES: [&str; 10] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .other_options(["--filter-platform".to_owned(), PLATFORM.to_owned()])
        .exec()
        .expect("cargo metadata runs")
}

#[test]
fn crates_depend_only_along_the_table() {
    let metadata = metadata();
    let members: BTreeSet<&str> = metadata.workspace_packages().iter().map(|package| package.name.as_str()).collect();
    let rows: BTreeSet<&str> = EDGES.iter().map(|(name, _)| *name).collect();
    assert_eq!(members, rows, "every crate of the workspace has its row, and every row its crate");

    let stray: Vec<String> = metadata
        .workspace_packages()
        .into_iter()
        .flat_map(|package| {
            let allowed = EDGES.iter().find(|(name, _)| *name == package.name.as_str()).expect("checked above").1;
            edges(package, &members)
                .into_iter()
                .filter(|to| !allowed.contains(to))
                .map(|to| format!("{} -> {to}", package.name))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(stray.is_empty(), "edges that the table lacks: {}", stray.join(", "));
}

/// The members that `package` needs to be built; what only its tests need may differ.
fn edges<'a>(package: &'a Package, members: &BTreeSet<&str>) -> Vec<&'a str> {
    package
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind != DependencyKind::Development)
        .map(|dependency| dependency.name.as_str())
        .filter(|name| members.contains(name))
        .collect()
}

#[test]
fn every_dependency_has_a_licence_on_the_list() {
    let refused: Vec<String> = metadata()
        .packages
        .iter()
        .filter(|package| !package.license.as_deref().is_some_and(allowed))
        .map(|package| format!("{} {} ({:?})", package.name, package.version, package.license))
        .collect();
    assert!(refused.is_empty(), "not on the list of licences: {}", refused.join(", "));
}

/// Whether an SPDX expression leaves a choice that is on the list. The old `A/B` means `A OR B`.
fn allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    any_of(&mut rest) && rest.is_empty()
}

fn any_of(words: &mut &[&str]) -> bool {
    let mut result = all_of(words);
    while let ["OR", rest @ ..] = *words {
        *words = rest;
        result |= all_of(words);
    }
    result
}

fn all_of(words: &mut &[&str]) -> bool {
    let mut result = licence(words);
    while let ["AND", rest @ ..] = *words {
        *words = rest;
        result &= licence(words);
    }
    result
}

fn licence(words: &mut &[&str]) -> bool {
    match *words {
        ["(", rest @ ..] => {
            *words = rest;
            let result = any_of(words);
            *words = words.strip_prefix(&[")"]).unwrap_or(&[]);
            result
        }
        [name, "WITH", exception, rest @ ..] => {
            *words = rest;
            LICENCES.contains(&format!("{name} WITH {exception}").as_str())
        }
        [name, rest @ ..] => {
            *words = rest;
            LICENCES.contains(name)
        }
        [] => false,
    }
}

#[test]
fn licence_expressions_are_read_as_spdx_has_them() {
    assert!(allowed("MIT OR GPL-3.0-only"));
    assert!(allowed("GPL-3.0-only/MIT"));
    assert!(allowed("(MIT OR Apache-2.0) AND Unicode-3.0"));
    assert!(allowed("Apache-2.0 WITH LLVM-exception OR GPL-2.0-only"));
    assert!(!allowed("MIT AND GPL-3.0-only"));
    assert!(!allowed("(MIT AND GPL-3.0-only) OR AGPL-3.0-only"));
    assert!(!allowed("GPL-2.0-only WITH Classpath-exception-2.0"));
    assert!(!allowed(""));
}
