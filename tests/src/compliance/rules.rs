//! The lists of rules, as they are written.

use std::{fmt, fs, path::Path};

use serde::Deserialize;

use super::workspace;

/// The rules of the chapters that are covered, and how many keywords each section has.
#[derive(Debug)]
pub struct Rules {
    /// The chapters of the standard that have rules for an implementation, in its order.
    pub chapters: Vec<Chapter>,
}

/// A chapter of RFC 7143: one file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chapter {
    /// Its number.
    pub number: u32,
    /// What it is about.
    pub title: String,
    /// How many keywords it has in all.
    pub keywords: usize,
    /// Whether every MUST needs code and test, or an exception.
    #[serde(default)]
    pub strict: bool,
    /// Its sections, however deep, that have keywords.
    #[serde(default, rename = "section")]
    pub sections: Vec<Section>,
}

/// A section with keywords.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    /// Its number, such as `11.8.4`.
    pub number: String,
    /// How many keywords it has, without those of the sections in it.
    pub keywords: usize,
    /// Its rules, in the order of the text.
    #[serde(default, rename = "rule")]
    pub rules: Vec<Rule>,
}

/// A rule.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The section and a running number in it: `11.8.4-1`.
    pub id: String,
    /// How strictly it is asked.
    pub level: Level,
    /// Of whom.
    pub side: Side,
    /// What is asked, in our words.
    pub text: String,
    /// How many keywords of the section it stands for.
    #[serde(default = "one")]
    pub keywords: usize,
    /// Why there is no code, or no test.
    pub exception: Option<String>,
}

fn one() -> usize {
    1
}

/// How strictly a rule is asked (RFC 2119).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Level {
    /// Always; SHALL and REQUIRED too.
    #[serde(rename = "MUST")]
    Must,
    /// Never.
    #[serde(rename = "MUST NOT")]
    MustNot,
    /// Unless there is a good reason; RECOMMENDED too.
    #[serde(rename = "SHOULD")]
    Should,
    /// Only for a good reason.
    #[serde(rename = "SHOULD NOT")]
    ShouldNot,
}

impl Level {
    /// Whether the rule leaves no choice.
    #[must_use]
    pub const fn is_strict(self) -> bool {
        matches!(self, Self::Must | Self::MustNot)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Must => "MUST",
            Self::MustNot => "MUST NOT",
            Self::Should => "SHOULD",
            Self::ShouldNot => "SHOULD NOT",
        })
    }
}

/// Of whom something is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Of initiators.
    Initiator,
    /// Of targets.
    Target,
    /// Of both.
    Both,
    /// Of neither: of people, or of other standards.
    Other,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Initiator => "initiator",
            Self::Target => "target",
            Self::Both => "both",
            Self::Other => "other",
        })
    }
}

impl Rules {
    /// The rules of the project: every `chapter-NN.toml` of the folder.
    ///
    /// # Panics
    /// If a file cannot be read or is no list of rules: a bug in it.
    #[must_use]
    pub fn load() -> Self {
        let folder = workspace().join("tests/compliance/rfc7143");
        let entries = fs::read_dir(&folder).expect("the folder of the rules can be read");
        let mut chapters: Vec<Chapter> =
            entries.map(|entry| read(&entry.expect("the folder of the rules can be read").path())).collect();
        chapters.sort_by_key(|chapter| chapter.number);
        Self { chapters }
    }

    /// The sections of all chapters.
    pub fn sections(&self) -> impl Iterator<Item = &Section> {
        self.chapters.iter().flat_map(|chapter| &chapter.sections)
    }
}

impl Chapter {
    /// The rules of all its sections.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.sections.iter().flat_map(|section| &section.rules)
    }
}

fn read(path: &Path) -> Chapter {
    let text = fs::read_to_string(path).expect("a list of rules can be read");
    toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
