//! The form of a job file: sections of options, one a line.

use std::fmt;

/// The longest file that is read, in bytes.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// Most faults that are told one by one.
pub const FAULTS_MAX: usize = 20;

/// What is wrong with a job file, line by line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileError {
    faults: Vec<(usize, String)>,
    untold: usize,
}

impl FileError {
    /// One fault alone.
    pub(crate) fn of(line: usize, text: impl Into<String>) -> Self {
        Self { faults: vec![(line, text.into())], untold: 0 }
    }

    pub(crate) fn add(&mut self, line: usize, text: impl Into<String>) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push((line, text.into()));
        } else {
            self.untold += 1;
        }
    }

    /// `value`, unless there are faults.
    pub(crate) fn none_or<V>(self, value: V) -> Result<V, Self> {
        if self.faults.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.faults.iter().map(|(line, text)| format!("line {line}: {text}")).collect();
        f.write_str(&lines.join("\n"))?;
        if self.untold > 0 { write!(f, "\nand {} more", self.untold) } else { Ok(()) }
    }
}

impl std::error::Error for FileError {}

/// An option as it stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Where.
    pub(crate) line: usize,
    /// What stands before `=`.
    pub(crate) name: String,
    /// What stands behind it, if there is one.
    pub(crate) value: Option<String>,
}

/// A section of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    /// What stands between the brackets.
    pub(crate) name: String,
    /// The line of its name.
    pub(crate) line: usize,
    /// Its options.
    pub(crate) settings: Vec<Setting>,
}

/// The sections of a file.
///
/// # Errors
/// Lines that are none of a section, an option, or a comment.
pub(crate) fn sections(text: &str) -> Result<Vec<Section>, FileError> {
    let (mut sections, mut error) = (Vec::<Section>::new(), FileError::default());
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.trim();
        if text.is_empty() || text.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = text.strip_prefix('[') {
            match name.strip_suffix(']').map(str::trim).filter(|name| !name.is_empty()) {
                Some(name) => sections.push(Section { name: name.into(), line, settings: Vec::new() }),
                None => error.add(line, "expected [NAME]"),
            }
            continue;
        }
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim().to_owned())),
            None => (text, None),
        };
        match sections.last_mut() {
            Some(section) => section.settings.push(Setting { line, name: name.into(), value }),
            None => error.add(line, "expected [global] or the [NAME] of a job before the first option"),
        }
    }
    error.none_or(sections)
}
