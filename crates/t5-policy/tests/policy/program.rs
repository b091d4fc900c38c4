//! Compiled policies: they decide as the rules say, and files of them are what they promise or refused.

use crate::common::brute_force;
use proptest::prelude::*;
use t5_policy::{CompileError, FileError, Opening, Policy, Program, STEPS_MAX};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_program_decides_as_trying_each_rule_does(
        policy in crate::common::policies(),
        openings in prop::collection::vec(crate::common::openings(), 1..8),
    ) {
        let program = policy.compile().unwrap();
        for opening in openings {
            let expected = brute_force(&policy, &opening);
            let decision = program.decide(&opening);
            prop_assert_eq!(decision.rule, expected.map(|index| index as u32 + 1), "{}\n{:?}\n{}", policy, opening, program);
            let settings = expected.map_or_else(Default::default, |index| policy.rules[index].settings);
            prop_assert_eq!(*decision.settings, settings);
        }
    }

    #[test]
    fn a_file_reads_back_as_the_program(policy in crate::common::policies(), texts: bool) {
        let program = policy.compile().unwrap();
        let program = if texts { program } else { program.without_texts() };
        let bytes = program.to_bytes();
        let read = Program::from_bytes(&bytes);
        prop_assert_eq!(read.as_ref(), Ok(&program));
        for (index, rule) in policy.rules.iter().enumerate() {
            prop_assert_eq!(program.text(index as u32 + 1).map(ToOwned::to_owned), texts.then(|| rule.to_string()));
        }
    }

    #[test]
    fn a_spoiled_file_is_refused_or_ends(
        policy in crate::common::policies(),
        opening in crate::common::openings(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut: prop::sample::Index,
    ) {
        let mut bytes = policy.compile().unwrap().to_bytes();
        prop_assert!(Program::from_bytes(&bytes[..cut.index(bytes.len())]).is_err(), "a part is no program");
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(program) = Program::from_bytes(&bytes) {
            let decision = program.decide(&opening);
            prop_assert!(decision.rule.is_none_or(|rule| rule as usize <= program.rule_count()));
            prop_assert_eq!(program.to_bytes(), bytes);
        }
    }

    #[test]
    fn any_bytes_are_a_program_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Program::from_bytes(&bytes);
    }
}

/// The paper's rule as a file, byte by byte.
#[test]
fn the_papers_rule_is_this_file() {
    let program = Policy::parse("any => offload ddp bind random").unwrap().compile().unwrap().without_texts();
    let mut expected = Vec::new();
    for word in [1u32, 0, 1, 0, 1, 2, 0x8000_0000] {
        expected.extend(word.to_be_bytes());
    }
    expected.extend([1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    expected.extend([0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(program.to_bytes(), expected);
}

/// A step that leads back would never end.
#[test]
fn a_step_that_leads_back_is_refused() {
    let program = Policy::parse("vlan 3 => offload\n").unwrap().compile().unwrap();
    let mut bytes = program.to_bytes();
    // Behind the header and the beginning: word, mask, and where `yes` leads.
    let yes = 24 + 4 + 8;
    bytes[yes..yes + 4].copy_from_slice(&0u32.to_be_bytes());
    let refused = Program::from_bytes(&bytes);
    assert_eq!(refused, Err(FileError { what: "a step that leads nowhere or back", offset: 24 }));
    assert!(refused.unwrap_err().to_string().contains("compile it with `cop -o`"));
}

#[test]
fn what_no_rule_matches_is_not_offloaded() {
    let program = Policy::parse("# nothing\n").unwrap().compile().unwrap();
    let decision = program.decide(&Opening::parse("aopen 10.0.0.1:1 10.0.0.2:2").unwrap());
    assert_eq!((decision.rule, decision.settings.offload), (None, false));
}

/// Each rule costs two sides of 16 tests at most, and no text is long enough for more than memory holds.
#[test]
fn a_policy_that_needs_too_many_steps_is_refused() {
    let text: String = (0..9000).map(|at| format!("port<{}=>offload\n", 0x7fff + at)).collect();
    let policy = Policy::parse(&text).unwrap();
    assert_eq!(policy.compile(), Err(CompileError::TooLong { max: STEPS_MAX }));
}

#[test]
fn the_readable_form_names_rules_and_steps() {
    let policy = Policy::parse("dst port 3260 or 3261 => offload bind 2\n").unwrap();
    let expected = "rule 1: dst port 3260 or dst port 3261 => offload bind 2\n\
                    rule 2: any => !offload (implied)\n\
                    begin with step 0\n\
                    step 0: ports & 0x0000ffff is 0xcbc or 0xcbd ? rule 1 : rule 2\n";
    assert_eq!(policy.compile().unwrap().to_string(), expected);
}
