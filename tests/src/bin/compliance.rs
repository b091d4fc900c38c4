//! Writes `docs/compliance.md` from the list of rules and the sources.

#![forbid(unsafe_code)]

use std::{fs, io};

use ferriscsi_tests::compliance::{Citations, Rules, page, page_path};

fn main() -> io::Result<()> {
    fs::write(page_path(), page(&Rules::load(), &Citations::scan()))
}
