//! Offload policies: any text is one or errors with places in it; any file is a program that ends, or none.

use t5_policy::{OpenKind, Opening, Policy, Program};

/// Text, which is compiled if it is a policy.
pub fn policy(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    match Policy::parse(text) {
        Ok(policy) => {
            assert_eq!(Policy::parse(&policy.to_string()).as_ref(), Ok(&policy), "a printed policy reads back");
            if let Ok(program) = policy.compile() {
                assert_eq!(Program::from_bytes(&program.to_bytes()).as_ref(), Ok(&program), "a file reads back");
                ask(&program);
            }
        }
        Err(errors) => {
            let lines: Vec<&str> = text.lines().collect();
            for error in errors.0 {
                let length = lines.get(error.line as usize - 1).map_or(0, |line| line.chars().count());
                assert!(error.column >= 1 && error.column as usize <= length + 1, "an error is in its line");
            }
        }
    }
}

/// A file.
pub fn program(input: &[u8]) {
    match Program::from_bytes(input) {
        Ok(program) => {
            assert_eq!(program.to_bytes(), input, "a file has one form");
            ask(&program);
        }
        Err(error) => assert!(error.offset <= input.len(), "{error}"),
    }
}

/// Asks about a few connections: each answer is a rule that there is.
fn ask(program: &Program) {
    let [one, other, six] = ["10.0.0.1:3260", "192.168.7.9:65535", "[fd00::1]:0"].map(|end| end.parse().unwrap());
    for opening in [
        Opening::listen(one),
        Opening::listen(six),
        Opening::new(OpenKind::Active, one, other),
        Opening { vlan: 7, mark: 9, tos: 0xfc, ..Opening::new(OpenKind::Passive, six, six) },
    ] {
        let decision = program.decide(&opening);
        assert!(decision.rule.is_none_or(|rule| (1..=program.rule_count()).contains(&(rule as usize))));
    }
    assert!(!program.to_string().is_empty());
}
