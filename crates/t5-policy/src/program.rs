//! What a policy is compiled to: steps that each look at one word of a connection.

use crate::opening::{Opening, WORDS};
use crate::settings::Settings;
use std::fmt;

/// Where a step leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Target {
    /// Another step.
    Step(u32),
    /// The end: the rule of that index matches.
    Rule(u32),
}

/// Looks at a word where `mask` has ones: if it is one of the values, on with `yes`, else with `no`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Step {
    pub(crate) word: u8,
    pub(crate) mask: u32,
    /// In their order, each once, all inside the mask.
    pub(crate) values: Vec<u32>,
    pub(crate) yes: Target,
    pub(crate) no: Target,
}

/// A compiled policy.
///
/// Each step leads to one behind it or to a rule, so that it ends. Behind its rules stands the one that offloads nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// One a rule, and the last.
    pub(crate) settings: Vec<Settings>,
    /// One a rule, if they were kept.
    pub(crate) texts: Option<Vec<String>>,
    pub(crate) start: Target,
    pub(crate) steps: Vec<Step>,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision<'a> {
    /// Number of the rule that matched, from 1; `None` if none did.
    pub rule: Option<u32>,
    /// What it says.
    pub settings: &'a Settings,
}

impl Program {
    /// What becomes of a connection.
    #[must_use]
    pub fn decide(&self, opening: &Opening) -> Decision<'_> {
        let words = opening.words();
        let mut at = self.start;
        let index = loop {
            match at {
                Target::Rule(index) => break index,
                Target::Step(step) => {
                    let step = &self.steps[step as usize];
                    let value = words[usize::from(step.word)] & step.mask;
                    at = if step.values.binary_search(&value).is_ok() { step.yes } else { step.no };
                }
            }
        };
        let matched = (index as usize) < self.rule_count();
        Decision { rule: matched.then_some(index + 1), settings: &self.settings[index as usize] }
    }

    /// How many rules there are.
    #[must_use]
    pub fn rule_count(&self) -> usize {
        self.settings.len() - 1
    }

    /// How many steps there are.
    #[must_use]
    pub fn step_count(&self) -> usize {
        self.steps.len()
    }

    /// The settings of each rule, in their order, without the last one that is implied.
    pub fn rules(&self) -> impl ExactSizeIterator<Item = &Settings> {
        self.settings[..self.rule_count()].iter()
    }

    /// The text of a rule, by its number from 1, if texts were kept.
    #[must_use]
    pub fn text(&self, rule: u32) -> Option<&str> {
        self.texts.as_ref()?.get(rule.checked_sub(1)? as usize).map(String::as_str)
    }

    /// The same without the texts of its rules.
    #[must_use]
    pub fn without_texts(self) -> Self {
        Self { texts: None, ..self }
    }

    /// Whether all that a program promises is true of it; if not, what is wrong with which step.
    pub(crate) fn check(&self) -> Result<(), (usize, &'static str)> {
        let is_target = |from: Option<usize>, target| match target {
            Target::Step(to) => from.is_none_or(|from| to as usize > from) && (to as usize) < self.steps.len(),
            Target::Rule(rule) => (rule as usize) < self.settings.len(),
        };
        if !is_target(None, self.start) {
            return Err((0, "a beginning that there is not"));
        }
        for (at, step) in self.steps.iter().enumerate() {
            if usize::from(step.word) >= WORDS {
                return Err((at, "a step that looks at no word"));
            }
            if !is_target(Some(at), step.yes) || !is_target(Some(at), step.no) {
                return Err((at, "a step that leads nowhere or back"));
            }
            let sorted = step.values.windows(2).all(|pair| pair[0] < pair[1]);
            if step.values.is_empty() || !sorted || step.values.iter().any(|value| value & !step.mask != 0) {
                return Err((at, "a step whose values have no order or are beyond its mask"));
            }
        }
        Ok(())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(step) => write!(formatter, "step {step}"),
            Self::Rule(rule) => write!(formatter, "rule {}", rule + 1),
        }
    }
}

const WORD_NAMES: [&str; WORDS] = [
    "source[0]",
    "source[1]",
    "source[2]",
    "source[3]",
    "destination[0]",
    "destination[1]",
    "destination[2]",
    "destination[3]",
    "ports",
    "kind",
    "mark",
];

impl fmt::Display for Program {
    /// For people: the rules, then the steps.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, settings) in self.settings.iter().enumerate() {
            match self.texts.as_ref().and_then(|texts| texts.get(at)) {
                Some(text) => writeln!(formatter, "rule {}: {text}", at + 1)?,
                None if at == self.rule_count() => writeln!(formatter, "rule {}: any => {settings} (implied)", at + 1)?,
                None => writeln!(formatter, "rule {}: {settings}", at + 1)?,
            }
        }
        writeln!(formatter, "begin with {}", self.start)?;
        for (at, Step { word, mask, values, yes, no }) in self.steps.iter().enumerate() {
            let name = WORD_NAMES[usize::from(*word)];
            let values: Vec<String> = values.iter().map(|value| format!("{value:#x}")).collect();
            writeln!(formatter, "step {at}: {name} & {mask:#010x} is {} ? {yes} : {no}", values.join(" or "))?;
        }
        Ok(())
    }
}
