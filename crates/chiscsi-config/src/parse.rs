//! Lines to blocks, and blocks to values.

use crate::fault::{Faults, repeated};
use crate::key::Key;
use crate::{Configuration, Global, Target, check};
use std::collections::HashMap;

/// The lines of a block: of its header and of its keys.
#[derive(Debug)]
pub(crate) struct Lines {
    header: usize,
    keys: HashMap<&'static str, KeyLines>,
}

/// Where a key is.
#[derive(Debug)]
struct KeyLines {
    first: usize,
    /// Those that could be read.
    read: Vec<usize>,
}

impl Lines {
    fn new(header: usize) -> Self {
        Self { header, keys: HashMap::new() }
    }

    /// Where a key is first, or where it should be.
    pub(crate) fn of(&self, key: &str) -> usize {
        self.keys.get(key).map_or(self.header, |lines| lines.first)
    }

    /// Where an entry of a key with one entry a line is.
    pub(crate) fn of_entry(&self, key: &str, index: usize) -> usize {
        self.keys.get(key).and_then(|lines| lines.read.get(index)).copied().unwrap_or(self.header)
    }

    pub(crate) fn header(&self) -> usize {
        self.header
    }
}

/// A block with its lines.
#[derive(Debug)]
pub(crate) struct Block<B> {
    pub(crate) value: B,
    pub(crate) lines: Lines,
}

#[derive(Clone, Copy)]
enum Inside {
    Nothing,
    Global,
    Target,
}

/// What has been read so far.
#[derive(Default)]
pub(crate) struct Reading {
    pub(crate) global: Option<Block<Global>>,
    pub(crate) targets: Vec<Block<Target>>,
    pub(crate) faults: Faults,
}

pub(crate) fn parse(text: &str) -> Result<Configuration, Faults> {
    let mut reading = Reading::default();
    let mut inside = Inside::Nothing;
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.trim();
        match text {
            "" => {}
            _ if text.starts_with('#') => {}
            "global:" => inside = reading.begin_global(line),
            "target:" => inside = reading.begin_target(line),
            _ => reading.take(inside, line, text),
        }
    }
    check::check(&mut reading);
    let Reading { global, targets, faults } = reading;
    let targets = targets.into_iter().map(|block| block.value).collect();
    faults.none_or(Configuration { global: global.map(|block| block.value).unwrap_or_default(), targets })
}

impl Reading {
    fn begin_global(&mut self, line: usize) -> Inside {
        match &self.global {
            Some(block) => self
                .faults
                .add(line, format!("expected one global: block, the first is in line {}", block.lines.header)),
            None => self.global = Some(Block { value: Global::default(), lines: Lines::new(line) }),
        }
        Inside::Global
    }

    fn begin_target(&mut self, line: usize) -> Inside {
        self.targets.push(Block { value: Target::default(), lines: Lines::new(line) });
        Inside::Target
    }

    fn take(&mut self, inside: Inside, line: usize, text: &str) {
        let Some((key, value)) = text.split_once('=').map(|(key, value)| (key.trim(), value.trim())) else {
            // It may be half a secret.
            return self.faults.add(line, "expected global:, target:, key=value, or # and a comment".into());
        };
        let taken = match (inside, &mut self.global, self.targets.last_mut()) {
            (Inside::Global, Some(block), _) => block.take(Global::KEYS, line, key, value),
            (Inside::Target, _, Some(block)) => block.take(Target::KEYS, line, key, value),
            _ => Err(format!("{}: expected global: or target: before the first key", repeated(key))),
        };
        if let Err(text) = taken {
            self.faults.add(line, text);
        }
    }
}

impl<B> Block<B> {
    fn take(&mut self, keys: &'static [Key<B>], line: usize, name: &str, value: &str) -> Result<(), String> {
        let key = keys.iter().find(|key| key.name == name).ok_or_else(|| unknown(keys, name))?;
        let lines = self.lines.keys.entry(key.name).or_insert(KeyLines { first: line, read: Vec::new() });
        if lines.first != line && !key.repeats {
            return Err(format!("{name}: expected once, the first is in line {}", lines.first));
        }
        key.read(&mut self.value, value, lines.first == line)?;
        lines.read.push(line);
        Ok(())
    }
}

/// What to say of a key that there is not.
pub(crate) fn unknown<B>(keys: &[Key<B>], name: &str) -> String {
    let other =
        |name: &str| (Global::KEYS.iter().any(|key| key.name == name), Target::KEYS.iter().any(|key| key.name == name));
    let name_like = keys.iter().find(|key| key.name.eq_ignore_ascii_case(name));
    let hint = match (name_like, other(name)) {
        (Some(key), _) => format!("it is spelled {}", key.name),
        (None, (true, _)) => "it belongs into the global: block".into(),
        (None, (_, true)) => "it belongs into a target: block".into(),
        _ => "there is no such key".into(),
    };
    format!("{}: {hint}", repeated(name))
}
