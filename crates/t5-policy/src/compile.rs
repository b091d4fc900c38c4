//! From rules to steps.
//!
//! A filter becomes tests of words, joined by `and`, `or`, `not` and choices. These are laid out from the end: what a test leads
//! to is there before it is. Tests of the same word and mask in one `or` become one step with a list of values, and two steps that
//! are the same are one.

use crate::error::CompileError;
use crate::filter::{Filter, Network, Policy, Quantity, Relation, Side};
use crate::opening::{address_words, word};
use crate::program::{Program, Step, Target};
use crate::settings::Settings;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Most steps of a program.
pub const STEPS_MAX: usize = 1 << 16;

impl Policy {
    /// Compiles it. The texts of the rules are kept.
    ///
    /// # Errors
    /// It needs too many steps.
    pub fn compile(&self) -> Result<Program, CompileError> {
        let mut layout = Layout::default();
        let mut start = Target::Rule(self.rules.len() as u32);
        for (index, rule) in self.rules.iter().enumerate().rev() {
            start = layout.place(&Logic::of(&rule.filter), Target::Rule(index as u32), start)?;
        }
        let mut settings: Vec<Settings> = self.rules.iter().map(|rule| rule.settings).collect();
        settings.push(Settings::default());
        let texts = Some(self.rules.iter().map(ToString::to_string).collect());
        let (start, steps) = layout.finish(start);
        Ok(Program { settings, texts, start, steps })
    }
}

/// What is asked of the words of a connection.
#[derive(Clone, Debug)]
enum Logic {
    Constant(bool),
    /// The word has that value where the mask has ones; the value has none elsewhere.
    Test {
        word: usize,
        mask: u32,
        value: u32,
    },
    Not(Box<Logic>),
    All(Vec<Logic>),
    Any(Vec<Logic>),
    Choose(Box<[Logic; 3]>),
}

impl Logic {
    fn of(filter: &Filter) -> Self {
        match filter {
            Filter::Everything => Self::Constant(true),
            Filter::Open(kind) => Self::Test { word: word::KIND, mask: 0xf000_0000, value: (*kind as u32) << 28 },
            Filter::Address { side, negated, network } => Self::of_sides(*side, |end| {
                let inside = Self::in_network(network, if end == 0 { word::SOURCE } else { word::DESTINATION });
                if *negated { Self::Not(Box::new(inside)) } else { inside }
            }),
            Filter::Number { quantity: Quantity::Port(side), mask, relation, value } => {
                Self::of_sides(*side, |end| Number::port(end).compare(*mask, *relation, *value))
            }
            Filter::Number { quantity, mask, relation, value } => {
                Number::of(*quantity).compare(*mask, *relation, *value)
            }
            Filter::Ports { side, first, last } => Self::of_sides(*side, |end| {
                let port = Number::port(end);
                Self::All(vec![
                    port.compare(None, Relation::AtLeast, (*first).into()),
                    port.compare(None, Relation::AtMost, (*last).into()),
                ])
            }),
            Filter::Not(filter) => Self::Not(Box::new(Self::of(filter))),
            Filter::All(filters) => Self::All(filters.iter().map(Self::of).collect()),
            Filter::Any(filters) => Self::Any(filters.iter().map(Self::of).collect()),
            Filter::Choose(parts) => Self::Choose(Box::new([&parts[0], &parts[1], &parts[2]].map(Self::of))),
        }
    }

    /// What holds of one end or both; `of` is asked about the source as 0 and the destination as 1.
    fn of_sides(side: Side, of: impl Fn(usize) -> Self) -> Self {
        match side {
            Side::Source => of(0),
            Side::Destination => of(1),
            Side::Either => Self::Any(vec![of(0), of(1)]),
            Side::Both => Self::All(vec![of(0), of(1)]),
        }
    }

    fn in_network(network: &Network, first: usize) -> Self {
        let count = if network.address().is_ipv4() { 1 } else { 4 };
        let version = Number::of(Quantity::Version).compare(None, Relation::Equal, if count == 1 { 4 } else { 6 });
        let pairs = address_words(network.mask()).into_iter().zip(address_words(network.address())).take(count);
        let words = pairs.enumerate().map(|(at, (mask, value))| test(first + at, mask, value));
        Self::All(std::iter::once(version).chain(words).collect())
    }
}

/// A test, or what comes of it without one.
fn test(word: usize, mask: u32, value: u32) -> Logic {
    match (mask, value & !mask) {
        (0, 0) => Logic::Constant(true),
        (_, 0) => Logic::Test { word, mask, value },
        _ => Logic::Constant(false),
    }
}

/// Where a number stands.
#[derive(Clone, Copy)]
struct Number {
    word: usize,
    shift: u32,
    bits: u32,
}

impl Number {
    fn port(end: usize) -> Self {
        Self { word: word::PORTS, shift: if end == 0 { 16 } else { 0 }, bits: 16 }
    }

    fn of(quantity: Quantity) -> Self {
        let (shift, bits) = match quantity {
            Quantity::Port(_) => (0, 16),
            Quantity::Version => (24, 4),
            Quantity::TypeOfService => (16, 8),
            Quantity::Dscp => (18, 6),
            Quantity::Vlan => (0, 16),
            Quantity::Mark => return Self { word: word::MARK, shift: 0, bits: 32 },
        };
        Self { word: word::KIND, shift, bits }
    }

    fn compare(self, mask: Option<u32>, relation: Relation, value: u32) -> Logic {
        let mask = mask.unwrap_or(u32::MAX) & u32::MAX >> (32 - self.bits);
        let not = |logic| Logic::Not(Box::new(logic));
        match relation {
            Relation::Equal => self.equal(mask, value),
            Relation::NotEqual => not(self.equal(mask, value)),
            Relation::Less => self.less(mask, value),
            Relation::AtLeast => not(self.less(mask, value)),
            Relation::AtMost => Logic::Any(vec![self.less(mask, value), self.equal(mask, value)]),
            Relation::Greater => not(Logic::Any(vec![self.less(mask, value), self.equal(mask, value)])),
        }
    }

    fn equal(self, mask: u32, value: u32) -> Logic {
        if value & !mask != 0 {
            Logic::Constant(false)
        } else {
            test(self.word, mask << self.shift, value << self.shift)
        }
    }

    /// Less is: equal down to a bit that is one in `value`, and zero there.
    fn less(self, mask: u32, value: u32) -> Logic {
        let mut prefixes = Vec::new();
        for bit in (0..32).rev().map(|at| 1 << at).filter(|bit| value & bit != 0) {
            let above = !(bit | (bit - 1));
            prefixes.push(test(self.word, (mask & (above | bit)) << self.shift, (value & above) << self.shift));
            if mask & bit == 0 {
                // It is zero there always, and never equal down to a lower bit.
                break;
            }
        }
        Logic::Any(prefixes)
    }
}

/// Steps from the last to the first: each leads to one that is there.
#[derive(Default)]
struct Layout {
    steps: Vec<Step>,
    known: HashMap<Step, u32>,
}

impl Layout {
    /// Lays out what leads to `yes` where `logic` holds and to `no` elsewhere, and says where to begin.
    fn place(&mut self, logic: &Logic, yes: Target, no: Target) -> Result<Target, CompileError> {
        match logic {
            Logic::Constant(true) => Ok(yes),
            Logic::Constant(false) => Ok(no),
            Logic::Test { word, mask, value } => self.step((*word, *mask), vec![*value], yes, no),
            Logic::Not(logic) => self.place(logic, no, yes),
            Logic::All(parts) => parts.iter().rev().try_fold(yes, |next, part| self.place(part, next, no)),
            Logic::Any(parts) => self.place_any(parts, yes, no),
            Logic::Choose(parts) => {
                let [condition, then, otherwise] = &**parts;
                let then = self.place(then, yes, no)?;
                let otherwise = self.place(otherwise, yes, no)?;
                self.place(condition, then, otherwise)
            }
        }
    }

    fn place_any(&mut self, parts: &[Logic], yes: Target, no: Target) -> Result<Target, CompileError> {
        let (mut tests, mut others) = (BTreeMap::<_, BTreeSet<u32>>::new(), Vec::new());
        flatten(parts, &mut |part| match part {
            Logic::Test { word, mask, value } => {
                tests.entry((*word, *mask)).or_default().insert(*value);
            }
            other => others.push(other),
        });
        let mut next = no;
        for part in others.into_iter().rev() {
            next = self.place(part, yes, next)?;
        }
        for (place, values) in tests.into_iter().rev() {
            next = self.step(place, values.into_iter().collect(), yes, next)?;
        }
        Ok(next)
    }

    fn step(&mut self, place: (usize, u32), values: Vec<u32>, yes: Target, no: Target) -> Result<Target, CompileError> {
        if yes == no {
            return Ok(yes);
        }
        let step = Step { word: place.0 as u8, mask: place.1, values, yes, no };
        if let Some(&known) = self.known.get(&step) {
            return Ok(Target::Step(known));
        }
        if self.steps.len() == STEPS_MAX {
            return Err(CompileError::TooLong { max: STEPS_MAX });
        }
        let index = self.steps.len() as u32;
        self.known.insert(step.clone(), index);
        self.steps.push(step);
        Ok(Target::Step(index))
    }

    /// Turns the order around, and leaves out what nothing leads to.
    fn finish(self, start: Target) -> (Target, Vec<Step>) {
        let mut reached = vec![false; self.steps.len()];
        let reach = |reached: &mut Vec<bool>, target| {
            if let Target::Step(step) = target {
                reached[step as usize] = true;
            }
        };
        reach(&mut reached, start);
        for (at, step) in self.steps.iter().enumerate().rev() {
            if reached[at] {
                reach(&mut reached, step.yes);
                reach(&mut reached, step.no);
            }
        }
        let mut places = vec![0; self.steps.len()];
        for (place, at) in (0..self.steps.len()).rev().filter(|&at| reached[at]).enumerate() {
            places[at] = place as u32;
        }
        let moved = |target| match target {
            Target::Step(step) => Target::Step(places[step as usize]),
            rule => rule,
        };
        let kept = self.steps.into_iter().zip(reached).rev().filter(|(_, reached)| *reached);
        let steps = kept.map(|(step, _)| Step { yes: moved(step.yes), no: moved(step.no), ..step }).collect();
        (moved(start), steps)
    }
}

/// All parts of an `or`, and of those inside it.
fn flatten<'a>(parts: &'a [Logic], each: &mut impl FnMut(&'a Logic)) {
    for part in parts {
        match part {
            Logic::Any(parts) => flatten(parts, each),
            part => each(part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(text: &str) -> Program {
        Policy::parse(text).unwrap().compile().unwrap()
    }

    #[test]
    fn tests_of_one_word_become_one_step() {
        let program = program("dst port 22 or 23 or (80 or 443) => offload\n");
        assert_eq!(program.step_count(), 1);
        assert_eq!(program.steps[0].values, [22, 23, 80, 443]);
    }

    #[test]
    fn what_cannot_be_or_does_not_matter_takes_no_step() {
        assert_eq!(program("any => offload ddp bind random\n").step_count(), 0);
        assert_eq!(program("vlan & 0xf0 == 0x0f => offload\n").start, Target::Rule(1));
        assert_eq!(program("listen ? any : any => offload\nvlan 3 => !offload\n").step_count(), 0);
        assert_eq!(program("mark >= 0 => offload\n").step_count(), 0);
    }

    #[test]
    fn a_program_is_what_it_promises() {
        let program = program("src net 10/8 and (port < 1024 or vlan >= 7) => offload\nhost fd00::1 => offload !ddp\n");
        assert_eq!(program.check(), Ok(()));
    }
}
