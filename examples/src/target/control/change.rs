//! What changes a running target because somebody asks for it: its configuration, and whether targets let logins in.

use chiscsi_config::{Configuration, Target};
use iscsi_control::{Answer, Problem, Targets};
use iscsi_runtime::{Availability, Change, Report, TargetSetting};

use super::{Running, chosen, no_configuration, refused};
use crate::failure::Failure;
use crate::target::Configured;

/// What changes have come to.
#[derive(Debug)]
pub(in crate::target) struct Told {
    /// What was done, a sentence each, and what there is to say beyond.
    pub(in crate::target) lines: Vec<String>,
    /// What of a file does nothing here.
    pub(in crate::target) notes: Vec<String>,
    /// Something is not as it should be.
    has_faults: bool,
}

impl Running {
    /// Makes the server what a file says, which is the one to read from then on; targets that are stopped stay so.
    pub(super) fn reload(&mut self, read: Configured) -> Result<Told, Failure> {
        let notes = read.notes();
        Ok(Told { notes, ..told([self.become_like(read)?], Vec::new()) })
    }

    /// Makes the targets that are meant what a file says, and lets logins in to them. Where no targets are named, the file is the one to read
    /// from then on. Without a file, logins are let in alone.
    pub(super) fn start(&mut self, targets: Option<&Targets>, read: Option<Configured>) -> Result<Answer, Failure> {
        let (running, read) = match (&self.configured, read) {
            (Some(running), Some(read)) => (running.clone(), read),
            (_, None) if targets.is_some() => return self.let_in(targets),
            _ => return Err(no_configuration()),
        };
        let state = self.server.state();
        let runs = |name: &str| state.targets.iter().any(|target| target.name == name && target.offered);
        let is_meant = |target: &Target| match targets {
            None => runs(target.name.as_str()),
            Some(Targets::All) => true,
            Some(Targets::Named(names)) => names.iter().any(|name| name == target.name.as_str()),
        };
        all_are_there(targets, &read)?;
        let as_a_whole = !matches!(targets, Some(Targets::Named(_)));
        let (merged, left) =
            merged(&running.configuration, &read.configuration, &is_meant, &|name| as_a_whole && !runs(name));
        let global = if as_a_whole { &read } else { &running }.configuration.global.clone();
        let left =
            if as_a_whole { left.iter().map(|name| read.in_file(&still_runs(name))).collect() } else { Vec::new() };
        let notes = read.notes_about(as_a_whole, &is_meant);
        let names: Vec<String> =
            read.configuration.targets.iter().filter(|target| is_meant(target)).map(name).collect();
        let report = self.become_like(read.saying(Configuration { global, targets: merged }))?;
        if !as_a_whole {
            // What it says of others was not asked for, and is not to be done by whoever asks for all.
            self.configured = self.configured.take().map(|configured| configured.said_by(running.file()));
        }
        let started = self.offer(names, Availability::Open)?;
        Ok(Told { notes, ..told([report, started], left) }.into())
    }

    /// Lets logins in to targets.
    fn let_in(&self, targets: Option<&Targets>) -> Result<Answer, Failure> {
        let names = chosen(&self.server.state(), targets.unwrap_or(&Targets::All))?;
        Ok(told([self.offer(names, Availability::Open)?], Vec::new()).into())
    }

    /// Ends the sessions of targets, and lets nobody log in.
    pub(super) fn stop(&mut self, targets: &Targets) -> Result<Answer, Failure> {
        let names = chosen(&self.server.state(), targets)?;
        Ok(told([self.offer(names, Availability::Stopped)?], Vec::new()).into())
    }

    /// Sets a key of what is said of all targets.
    pub(super) fn set_global(&mut self, key: &str, value: &str) -> Result<Answer, Failure> {
        let configured = self.configured()?;
        let mut configuration = configured.configuration.clone();
        configuration.global.set(key, value).map_err(Failure::usage)?;
        // Keys say things of each other, and the text of a configuration is what is judged as a whole.
        let judged = configuration.to_text().parse::<Configuration>().map_err(|faults| {
            let lines = faults.as_slice().iter().map(|fault| fault.text.clone());
            Failure::usages(lines).unwrap_or_else(|| Failure::usage(format!("{key}: it makes no sense")))
        })?;
        let before = configured.notes();
        let wanted = configured.saying(judged);
        let notes = wanted.notes().into_iter().filter(|note| !before.contains(note)).collect();
        let report = self.become_like(wanted)?;
        Ok(Told { notes, ..told([report], vec![format!("{key} is {value} until the file is read again")]) }.into())
    }

    /// Lets logins in to targets, or not.
    fn offer(&self, names: impl IntoIterator<Item = String>, availability: Availability) -> Result<Report, Failure> {
        let set = |name| Change::SetTarget(name, TargetSetting::Availability(availability));
        self.server.change(names.into_iter().map(set)).map_err(|error| refused(error.to_string()))
    }
}

fn name(target: &Target) -> String {
    target.name.as_str().to_owned()
}

fn still_runs(name: &str) -> String {
    format!("{name} is not there any more and runs on: iscsictl -s target={name} stops it")
}

/// The targets of `old`, those that are meant as `new` has them; and the names of those that `new` does not have. Of these, those go that `may_go`.
fn merged(
    old: &Configuration,
    new: &Configuration,
    is_meant: &dyn Fn(&Target) -> bool,
    may_go: &dyn Fn(&str) -> bool,
) -> (Vec<Target>, Vec<String>) {
    let has = |list: &[Target], target: &Target| list.iter().any(|other| other.name == target.name);
    let (mut targets, mut left) = (Vec::new(), Vec::new());
    for target in &old.targets {
        match new.targets.iter().find(|other| other.name == target.name) {
            Some(read) if is_meant(read) => targets.push(read.clone()),
            Some(_) => targets.push(target.clone()),
            None if may_go(target.name.as_str()) => {}
            None => {
                left.push(name(target));
                targets.push(target.clone());
            }
        }
    }
    let come = new.targets.iter().filter(|target| is_meant(target) && !has(&old.targets, target));
    targets.extend(come.cloned());
    (targets, left)
}

/// Refuses names of targets that the file does not have.
fn all_are_there(targets: Option<&Targets>, read: &Configured) -> Result<(), Failure> {
    let Some(Targets::Named(names)) = targets else { return Ok(()) };
    let has = |name: &String| read.configuration.targets.iter().any(|target| target.name.as_str() == name);
    let absent = names.iter().filter(|name| !has(name));
    let absent = absent.map(|name| read.in_file(&format!("there is no target {name}")));
    Failure::usages(absent).map_or(Ok(()), Err)
}

/// What reports say, and what there is to say beyond.
fn told<const N: usize>(reports: [Report; N], more: Vec<String>) -> Told {
    let changed = reports.iter().filter(|report| !report.changes.is_empty() || !report.faults.is_empty());
    let lines = changed.flat_map(|report| report.to_string().lines().map(str::to_owned).collect::<Vec<_>>());
    let mut lines: Vec<String> = lines.chain(more).collect();
    if lines.is_empty() {
        lines.push("nothing has changed".into());
    }
    Told { lines, notes: Vec::new(), has_faults: reports.iter().any(|report| !report.faults.is_empty()) }
}

impl From<Told> for Answer {
    fn from(told: Told) -> Self {
        let notes = told.notes.into_iter().map(|note| format!("note: {note}"));
        let lines = told.lines.into_iter().chain(notes).collect();
        if told.has_faults {
            Self::Error { problem: Problem::System, messages: lines }
        } else {
            Self::Done { notes: lines }
        }
    }
}
