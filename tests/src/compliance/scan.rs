//! Where the sources name rules: comments of the form `RFC 7143 <id>, <id>: why`.
//!
//! A comment stands for the function around it, or for the one that follows if there is nothing but comments and attributes
//! between. It is part of a test if it stands under `#[cfg(test)]` or in a folder `tests` or `benches`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use super::workspace;

/// How a comment names the standard, before the ids.
const STANDARD: &str = "RFC 7143 ";

/// A place in the sources.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// From the workspace's folder.
    pub file: String,
    /// The function, if it is in one.
    pub function: Option<String>,
}

/// Which places name a rule, by its id.
#[derive(Debug, Default)]
pub struct Citations {
    /// In code.
    pub code: BTreeMap<String, BTreeSet<Place>>,
    /// In tests.
    pub tests: BTreeMap<String, BTreeSet<Place>>,
}

impl Citations {
    /// Reads all sources of the workspace.
    ///
    /// # Panics
    /// If a source cannot be read: then there is no answer.
    #[must_use]
    pub fn scan() -> Self {
        let root = workspace();
        let mut files = Vec::new();
        for folder in ["crates", "examples", "tests"] {
            sources(&root.join(folder), &mut files).expect("the folders of the workspace can be read");
        }
        let files: Vec<(PathBuf, String)> = files
            .into_iter()
            .map(|path| {
                let text = fs::read_to_string(&path).expect("a source can be read");
                (path.strip_prefix(&root).expect("it stands in the workspace").to_owned(), text)
            })
            .filter(|(path, _)| !path.starts_with("tests/src/compliance"))
            .collect();
        let test_modules: Vec<PathBuf> = files.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
        let mut citations = Self::default();
        for (path, text) in &files {
            citations.add(path, text, is_test(path, &test_modules));
        }
        citations
    }

    fn add(&mut self, path: &Path, text: &str, is_test: bool) {
        let lines: Vec<&str> = text.lines().collect();
        let test_lines = test_lines(&lines);
        for (index, line) in lines.iter().enumerate() {
            let ids = ids(line);
            if ids.is_empty() {
                continue;
            }
            let place = Place { file: path.display().to_string(), function: function_at(&lines, index) };
            let in_test = is_test || test_lines.iter().any(|range| range.contains(&index));
            let places = if in_test { &mut self.tests } else { &mut self.code };
            for id in ids {
                places.entry(id.to_owned()).or_default().insert(place.clone());
            }
        }
    }

    /// Every id that is named anywhere, with one place that names it.
    pub fn ids(&self) -> impl Iterator<Item = (&str, &Place)> {
        self.code.iter().chain(&self.tests).filter_map(|(id, places)| Some((id.as_str(), places.first()?)))
    }
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// The ids that a line names: those behind the name of the standard, with commas between, in a comment.
fn ids(line: &str) -> Vec<&str> {
    let Some((_, comment)) = line.split_once("//") else {
        return Vec::new();
    };
    let Some((_, rest)) = comment.split_once(STANDARD) else {
        return Vec::new();
    };
    rest.split(", ")
        .map_while(|word| {
            let end = word.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-'))).unwrap_or(word.len());
            let id = word[..end].trim_end_matches('.');
            is_id(id).then_some((id, end == word.len()))
        })
        .scan(true, |goes_on, (id, whole)| std::mem::replace(goes_on, whole).then_some(id))
        .collect()
}

/// Whether a word is a section, a hyphen and a number.
fn is_id(word: &str) -> bool {
    let number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    word.split_once('-').is_some_and(|(section, running)| section.split('.').all(number) && number(running))
}

/// The function that a line belongs to.
fn function_at(lines: &[&str], index: usize) -> Option<String> {
    let below = lines[index..].iter().find(|line| {
        let line = line.trim_start();
        !line.starts_with("//") && !line.starts_with("#[")
    });
    let around = || {
        let mut indent = indent_of(lines[index]);
        lines[..index].iter().rev().filter(|line| !line.trim().is_empty()).find_map(|line| {
            if indent_of(line) >= indent {
                return None;
            }
            // Only what encloses the line: each line that is less indented narrows what may follow.
            indent = indent_of(line);
            function_of(line)
        })
    };
    below.and_then(|line| function_of(line)).or_else(around)
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The name of the function that a line begins.
fn function_of(line: &str) -> Option<String> {
    let line = line.trim_start();
    let before = line.find("fn ")?;
    let is_function = line[..before]
        .split_whitespace()
        .all(|word| matches!(word, "pub" | "const" | "async" | "unsafe") || word.starts_with("pub("));
    let name = line[before + 3..].split(|c: char| !(c.is_alphanumeric() || c == '_')).next()?;
    (is_function && !name.is_empty() && !line.starts_with("//")).then(|| name.to_owned())
}

/// The lines of modules under `#[cfg(test)]` that stand in the file.
fn test_lines(lines: &[&str]) -> Vec<std::ops::Range<usize>> {
    let starts = lines.iter().enumerate().filter(|(_, line)| line.trim() == "#[cfg(test)]");
    starts
        .filter(|(start, _)| lines.get(start + 1).is_some_and(|next| next.trim_end().ends_with('{')))
        .map(|(start, line)| {
            let indent = indent_of(line);
            let end = (start + 2..lines.len()).find(|&end| lines[end].trim() == "}" && indent_of(lines[end]) == indent);
            start..end.unwrap_or(lines.len())
        })
        .collect()
}

/// The files and folders of modules that a file declares under `#[cfg(test)]`.
fn test_modules(path: &Path, text: &str) -> Vec<PathBuf> {
    let name = path.file_stem().unwrap_or_default();
    let parent = path.parent().unwrap_or(Path::new(""));
    let folder = if name == "mod" || name == "lib" || name == "main" { parent.to_owned() } else { parent.join(name) };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines
        .windows(2)
        .filter(|pair| pair[0] == "#[cfg(test)]")
        .filter_map(|pair| pair[1].strip_suffix(';')?.split_once("mod "))
        .flat_map(|(_, module)| [folder.join(module), folder.join(format!("{module}.rs"))])
        .collect()
}

fn is_test(path: &Path, test_modules: &[PathBuf]) -> bool {
    let in_test_folder =
        path.components().skip(1).any(|part| part.as_os_str() == "tests" || part.as_os_str() == "benches");
    in_test_folder || test_modules.iter().any(|module| path.starts_with(module))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stand_behind_the_standard_with_commas_between() {
        assert_eq!(ids("    // RFC 7143 11.8-3, 6.2.1-10: an R2T"), ["11.8-3", "6.2.1-10"]);
        assert_eq!(ids("    /// RFC 7143 11.8-3. More, 5-1"), ["11.8-3"]);
        assert_eq!(ids("    // RFC 7143 11.8: a section"), [""; 0]);
        assert_eq!(ids("    let text = \"RFC 7143 11.8-3\";"), [""; 0]);
    }

    #[test]
    fn a_comment_stands_for_the_function_around_it_or_behind_it() {
        let text = "\
fn first() {
    if x {
        y();
    }
    // RFC 7143 1-1: in it
    z();
}

// RFC 7143 1-2: over it
#[test]
pub(crate) fn second() {}

const A: [u8; 1] = [
    // RFC 7143 1-3: in none
    1,
];";
        let mut citations = Citations::default();
        citations.add(Path::new("crates/a/src/lib.rs"), text, false);
        let function = |id: &str| citations.code[id].first().and_then(|place| place.function.as_deref());
        assert_eq!(function("1-1"), Some("first"));
        assert_eq!(function("1-2"), Some("second"));
        assert_eq!(function("1-3"), None);
    }

    #[test]
    fn tests_are_told_from_code() {
        let text =
            "// RFC 7143 1-1: code\n#[cfg(test)]\nmod tests {\n    // RFC 7143 1-2: test\n}\n// RFC 7143 1-3: code\n";
        let mut citations = Citations::default();
        citations.add(Path::new("crates/a/src/b.rs"), text, false);
        assert_eq!(citations.code.keys().collect::<Vec<_>>(), ["1-1", "1-3"]);
        assert_eq!(citations.tests.keys().collect::<Vec<_>>(), ["1-2"]);

        let modules = test_modules(Path::new("crates/a/src/b.rs"), "#[cfg(test)]\nmod far;\n");
        assert!(is_test(Path::new("crates/a/src/b/far.rs"), &modules));
        assert!(is_test(Path::new("crates/a/src/b/far/away.rs"), &modules));
        assert!(!is_test(Path::new("crates/a/src/b/near.rs"), &modules));
        assert!(is_test(Path::new("crates/a/tests/any.rs"), &[]));
    }
}
