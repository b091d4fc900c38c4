//! The page that people read.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use super::{Chapter, Citations, Place, Rule, Rules};

/// `docs/compliance.md`.
#[must_use]
pub fn page(rules: &Rules, citations: &Citations) -> String {
    let mut page = String::from(HEAD);
    summary(&mut page, rules, citations);
    for chapter in rules.chapters.iter().filter(|chapter| chapter.keywords > 0) {
        write!(page, "\n## {}. {}\n", chapter.number, chapter.title).expect(INFALLIBLE);
        for section in &chapter.sections {
            write!(page, "\n### Section {}\n\n", section.number).expect(INFALLIBLE);
            page.push_str("| rule | level | side | what | code | test | result |\n|---|---|---|---|---|---|---|\n");
            for rule in &section.rules {
                row(&mut page, rule, citations);
            }
        }
    }
    page
}

const INFALLIBLE: &str = "a string takes what is written to it";

const HEAD: &str = "\
# Compliance with RFC 7143

<!-- Generated: `cargo run -p ferriscsi-tests --bin compliance`. -->

Every MUST, MUST NOT, SHOULD and SHOULD NOT of the standard as a rule with an id, in our words. A comment beside the code
that meets a rule names its id, and so does one over the test that proves it; this page is made of them. The rules stand
in `tests/compliance/rfc7143`, and a test checks that there are as many as the standard has.

A result is *met* if there is code and a test, *code* or *test* if there is but one of them, *open* if there is
neither; or it says why it is none of these.

";

/// How many rules of each chapter stand how.
fn summary(page: &mut String, rules: &Rules, citations: &Citations) {
    page.push_str("| chapter | keywords | rules | met | code or test alone | exceptions | open |\n|---|---|---|---|---|---|---|\n");
    for chapter in &rules.chapters {
        let line = chapter_line(chapter, citations);
        writeln!(page, "| {}. {} | {line} |", chapter.number, chapter.title).expect(INFALLIBLE);
    }
}

fn chapter_line(chapter: &Chapter, citations: &Citations) -> String {
    let results: Vec<Outcome> = chapter.rules().map(|rule| Outcome::of(rule, citations)).collect();
    let count = |picks: fn(&Outcome) -> bool| results.iter().filter(|outcome| picks(outcome)).count();
    format!(
        "{} | {} | {} | {} | {} | {}",
        chapter.keywords,
        results.len(),
        count(|outcome| matches!(outcome, Outcome::Met)),
        count(|outcome| matches!(outcome, Outcome::Code | Outcome::Test)),
        count(|outcome| matches!(outcome, Outcome::Exception(_))),
        count(|outcome| matches!(outcome, Outcome::Open)),
    )
}

/// How a rule stands.
enum Outcome<'a> {
    Met,
    Code,
    Test,
    Exception(&'a str),
    Open,
}

impl<'a> Outcome<'a> {
    fn of(rule: &'a Rule, citations: &Citations) -> Self {
        match (&rule.exception, citations.code.contains_key(&rule.id), citations.tests.contains_key(&rule.id)) {
            (Some(reason), _, _) => Self::Exception(reason),
            (None, true, true) => Self::Met,
            (None, true, false) => Self::Code,
            (None, false, true) => Self::Test,
            (None, false, false) => Self::Open,
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Met => "met",
            Self::Code => "code",
            Self::Test => "test",
            Self::Exception(reason) => reason,
            Self::Open => "open",
        }
    }
}

fn row(page: &mut String, rule: &Rule, citations: &Citations) {
    let Rule { id, level, side, text, .. } = rule;
    let (code, tests) = (places(&citations.code, id), places(&citations.tests, id));
    let outcome = Outcome::of(rule, citations);
    writeln!(page, "| {id} | {level} | {side} | {text} | {code} | {tests} | {} |", outcome.text()).expect(INFALLIBLE);
}

fn places(citations: &BTreeMap<String, BTreeSet<Place>>, id: &str) -> String {
    let places: Vec<String> = citations.get(id).into_iter().flatten().map(link).collect();
    places.join(", ")
}

/// A place as a link from the folder of the page.
fn link(place: &Place) -> String {
    let Place { file, function } = place;
    let name = file.rsplit('/').next().unwrap_or(file);
    let text = function.as_deref().unwrap_or(name);
    format!("[{text}](../{file})")
}
