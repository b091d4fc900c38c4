//! What does not hold together between the rules, the figures of the standard and the sources.

use std::collections::HashSet;

use super::{Chapter, Citations, Rule, Rules};

/// Every fault, in words; none if all holds together.
#[must_use]
pub fn faults(rules: &Rules, citations: &Citations) -> Vec<String> {
    [figures(rules), numbers(rules), unknown_ids(rules, citations), states(rules, citations)].concat()
}

/// The keywords of a section are those of its rules, the keywords of a chapter those of its sections.
fn figures(rules: &Rules) -> Vec<String> {
    let of_sections = rules.sections().map(|section| {
        let found: usize = section.rules.iter().map(|rule| rule.keywords).sum();
        (format!("section {}", section.number), section.keywords, found)
    });
    let of_chapters = rules.chapters.iter().map(|chapter| {
        let found: usize = chapter.sections.iter().map(|section| section.keywords).sum();
        (format!("chapter {}", chapter.number), chapter.keywords, found)
    });
    of_sections
        .chain(of_chapters)
        .filter(|(_, keywords, found)| keywords != found)
        .map(|(what, keywords, found)| format!("{what} has {keywords} keywords, but its rules stand for {found}"))
        .collect()
}

/// Each section stands in its chapter, and its rules are numbered from 1 on.
fn numbers(rules: &Rules) -> Vec<String> {
    let mut faults = Vec::new();
    for chapter in &rules.chapters {
        for section in &chapter.sections {
            if section.number.split('.').next() != Some(&chapter.number.to_string()) {
                faults.push(format!("section {} stands in chapter {}", section.number, chapter.number));
            }
            for (rule, place) in section.rules.iter().zip(1..) {
                if rule.id != format!("{}-{place}", section.number) {
                    faults.push(format!("rule {} has place {place} in section {}", rule.id, section.number));
                }
            }
        }
    }
    faults
}

fn unknown_ids(rules: &Rules, citations: &Citations) -> Vec<String> {
    let known: HashSet<&str> = rules.chapters.iter().flat_map(Chapter::rules).map(|rule| rule.id.as_str()).collect();
    citations
        .ids()
        .filter(|(id, _)| !known.contains(id))
        .map(|(id, place)| format!("{} names rule {id}, which there is not", place.file))
        .collect()
}

/// Where the chapter is strict a rule that leaves no choice has code and test, or says why not; and none says so in vain.
fn states(rules: &Rules, citations: &Citations) -> Vec<String> {
    let fault = |rule: &Rule, is_strict: bool| {
        let is_met = citations.code.contains_key(&rule.id) && citations.tests.contains_key(&rule.id);
        match (is_met, &rule.exception) {
            (true, Some(_)) => Some(format!("rule {} has code, a test and an exception", rule.id)),
            (false, None) if is_strict && rule.level.is_strict() => {
                Some(format!("rule {} lacks code, a test or an exception", rule.id))
            }
            _ => None,
        }
    };
    rules
        .chapters
        .iter()
        .flat_map(|chapter| chapter.rules().filter_map(move |rule| fault(rule, chapter.strict)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compliance::Place;

    fn rules(rule: &str) -> Rules {
        let text = format!(
            "number = 6\ntitle = \"x\"\nkeywords = 2\nstrict = true\n\
             [[section]]\nnumber = \"6.1\"\nkeywords = 2\n\
             [[section.rule]]\nid = \"6.1-1\"\nlevel = \"MUST\"\nside = \"both\"\ntext = \"x\"\n{rule}"
        );
        Rules { chapters: vec![toml::from_str(&text).expect("a list of rules")] }
    }

    fn citations(id: &str) -> Citations {
        let place = Place { file: "f".into(), function: None };
        let places = || [(id.to_owned(), [place.clone()].into())].into();
        Citations { code: places(), tests: places() }
    }

    #[test]
    fn what_holds_together_has_no_fault() {
        assert_eq!(faults(&rules("keywords = 2"), &citations("6.1-1")), [""; 0]);
        assert_eq!(faults(&rules("keywords = 2\nexception = \"x\""), &Citations::default()), [""; 0]);
    }

    #[test]
    fn every_fault_is_found() {
        let found = |rule: &str, citations: &Citations| faults(&rules(rule), citations).join("\n");
        let met = citations("6.1-1");
        assert!(found("", &met).contains("section 6.1 has 2 keywords, but its rules stand for 1"));
        assert!(found("keywords = 2", &Citations::default()).contains("lacks code"));
        assert!(found("keywords = 2\nexception = \"x\"", &met).contains("and an exception"));
        assert!(found("keywords = 2", &citations("6.1-2")).contains("6.1-2, which there is not"));
        let other = "[[section.rule]]\nid = \"6.1-3\"\nlevel = \"SHOULD\"\nside = \"both\"\ntext = \"x\"\n";
        assert!(found(other, &met).contains("6.1-3 has place 2"));
        assert!(
            found("keywords = 2\n[[section]]\nnumber = \"7.1\"\nkeywords = 0", &met)
                .contains("7.1 stands in chapter 6")
        );
    }
}
