//! How many rules of each section have code and tests, which may only become more.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{Citations, Rules, Section, workspace};

/// Figures by section.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Baseline(pub BTreeMap<String, Count>);

/// How many rules of a section are named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Count {
    /// In code.
    pub code: usize,
    /// In tests.
    pub test: usize,
}

impl Baseline {
    /// What the sources say now.
    #[must_use]
    pub fn count(rules: &Rules, citations: &Citations) -> Self {
        let named = |section: &Section, places: &BTreeMap<String, _>| {
            section.rules.iter().filter(|rule| places.contains_key(&rule.id)).count()
        };
        let count = |section| Count { code: named(section, &citations.code), test: named(section, &citations.tests) };
        Self(rules.sections().map(|section| (section.number.clone(), count(section))).collect())
    }

    /// What was reached before.
    ///
    /// # Panics
    /// If the file is no table of figures: a bug in it.
    #[must_use]
    pub fn load() -> Self {
        let text = fs::read_to_string(path()).unwrap_or_default();
        toml::from_str(&text).expect("the baseline is a table of figures")
    }

    /// Writes what is reached now, where it is more.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn raise(mut self, reached: &Self) {
        for (section, now) in &reached.0 {
            let before = self.0.entry(section.clone()).or_default();
            *before = Count { code: before.code.max(now.code), test: before.test.max(now.test) };
        }
        let lines = self
            .0
            .iter()
            .map(|(section, Count { code, test })| format!("\"{section}\" = {{ code = {code}, test = {test} }}\n"));
        let head = "# How many rules of each section of RFC 7143 have code and tests. They may only become more; raise them with\n\
                    # `FERRISCSI_BLESS=1 cargo test -p ferriscsi-tests --test compliance`.\n";
        let text: String = std::iter::once(head.to_owned()).chain(lines).collect();
        fs::write(path(), text).expect("the baseline can be written");
    }

    /// The sections that have fallen behind.
    #[must_use]
    pub fn losses(&self, reached: &Self) -> Vec<String> {
        self.0
            .iter()
            .filter_map(|(section, before)| {
                let now = reached.0.get(section).copied().unwrap_or_default();
                (now.code < before.code || now.test < before.test)
                    .then(|| format!("section {section} had {before:?} and has {now:?}"))
            })
            .collect()
    }
}

fn path() -> PathBuf {
    workspace().join("tests/compliance/baseline.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_than_before_is_a_loss() {
        let figures = |code, test| Baseline([("6.1".to_owned(), Count { code, test })].into());
        assert_eq!(figures(2, 2).losses(&figures(2, 3)), [""; 0]);
        assert_eq!(figures(2, 2).losses(&figures(1, 3)).len(), 1);
        assert_eq!(figures(2, 2).losses(&figures(2, 1)).len(), 1);
        assert_eq!(figures(2, 2).losses(&Baseline::default()).len(), 1);
    }
}
