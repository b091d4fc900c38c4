//! What changes a running target because somebody asks for it: its configuration, and whether targets let logins in.

use std::path::Path;

use chiscsi_config::{Configuration, Target};
use iscsi_control::{Answer, Problem, Targets};
use iscsi_runtime::{Availability, Change, Report, TargetSetting};

use super::{Running, chosen, refused};
use crate::failure::Failure;
use crate::target::Configured;

impl Running {
    /// Makes the targets that are meant what the file says, and lets logins in to them.
    pub(super) fn start(&mut self, targets: Option<&Targets>, file: Option<&Path>) -> Result<Answer, Failure> {
        let Some(running) = &self.configured else {
            return match (targets, file) {
                (Some(targets), None) => {
                    let names = chosen(&self.server.state(), targets)?;
                    let started = self.offer(names, Availability::Open)?;
                    Ok(told([started], Vec::new()))
                }
                _ => self.configured().map(|_| Answer::done()),
            };
        };
        let read = Configured::read(file.unwrap_or_else(|| running.file()))?;
        let state = self.server.state();
        let runs = |name: &str| state.targets.iter().any(|target| target.name == name && target.offered);
        let is_meant = |target: &Target| match targets {
            None => runs(target.name.as_str()),
            Some(Targets::All) => true,
            Some(Targets::Named(names)) => names.iter().any(|name| name == target.name.as_str()),
        };
        if let Some(Targets::Named(names)) = targets {
            let has = |name: &String| read.configuration.targets.iter().any(|target| target.name.as_str() == name);
            let absent = names.iter().filter(|name| !has(name));
            let absent = absent.map(|name| read.in_file(&format!("there is no target {name}")));
            Failure::usages(absent).map_or(Ok(()), Err)?;
        }
        let as_a_whole = !matches!(targets, Some(Targets::Named(_)));
        let (merged, left) =
            merged(&running.configuration, &read.configuration, &is_meant, &|name| as_a_whole && !runs(name));
        let global = if as_a_whole { read.configuration.global.clone() } else { running.configuration.global.clone() };
        let notes =
            if as_a_whole { left.iter().map(|name| read.in_file(&still_runs(name))).collect() } else { Vec::new() };
        let names: Vec<String> =
            read.configuration.targets.iter().filter(|target| is_meant(target)).map(name).collect();
        let report = self.become_like(read.saying(Configuration { global, targets: merged })?)?;
        let started = self.offer(names, Availability::Open)?;
        Ok(told([report, started], notes))
    }

    /// Ends the sessions of targets, and lets nobody log in.
    pub(super) fn stop(&mut self, targets: &Targets) -> Result<Answer, Failure> {
        let names = chosen(&self.server.state(), targets)?;
        Ok(told([self.offer(names, Availability::Stopped)?], Vec::new()))
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
        let report = self.become_like(configured.saying(judged)?)?;
        Ok(told([report], vec![format!("{key} is {value} until the file is read again")]))
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

/// What reports say, and what there is to say beyond.
fn told<const N: usize>(reports: [Report; N], more: Vec<String>) -> Answer {
    let changed = reports.iter().filter(|report| !report.changes.is_empty() || !report.faults.is_empty());
    let lines = changed.flat_map(|report| report.to_string().lines().map(str::to_owned).collect::<Vec<_>>());
    let mut notes: Vec<String> = lines.chain(more).collect();
    if notes.is_empty() {
        notes.push("nothing has changed".into());
    }
    let has_faults = reports.iter().any(|report| !report.faults.is_empty());
    if has_faults { Answer::Error { problem: Problem::System, messages: notes } } else { Answer::Done { notes } }
}
