//! A running server is made like another configuration: what differs is judged as a whole, then made, and told.

use super::Server;
use super::change::{Change, TargetSetting};
use super::configuration::Configuration;
use super::judgement::ReloadError;
use super::sessions::Dropped;
use iscsi_node::target::Availability;
use std::fmt;

/// What a reload has done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// What has changed, in the order in which that was done.
    pub changes: Vec<Change>,
    /// What has become of the sessions of targets that have gone or were stopped, and of those by portal groups that have gone.
    pub sessions: Dropped,
    /// What could not be done as it should: stores of units that are gone were not flushed, units have not come since those whose place they
    /// take did not let go.
    pub faults: Vec<String>,
    /// Cores that have not answered in time: whether logins that they judge are judged by what has changed is not known.
    pub silent_cores: usize,
}

impl fmt::Display for Report {
    /// A line for each change and each fault.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes = self.changes.iter().map(|change| format!("{change}: {}", change.effect()));
        let sessions = (self.sessions.asked > 0).then(|| {
            let Dropped { asked, ended, left, .. } = self.sessions;
            format!("sessions that were asked to log out: {asked}, of which {ended} had to be ended and {left} wait for their disk")
        });
        let silent =
            (self.silent_cores > 0).then(|| format!("cores that have not answered in time: {}", self.silent_cores));
        let faults = self.faults.iter().cloned().chain(silent);
        let mut lines: Vec<String> = changes.chain(sessions).chain(faults).collect();
        if lines.is_empty() {
            lines.push("nothing has changed".into());
        }
        f.write_str(&lines.join("\n"))
    }
}

impl Server {
    /// What the server is, as it was asked to be.
    #[must_use]
    pub fn configuration(&self) -> Configuration {
        self.configuration.lock().clone()
    }

    /// Makes the server what `new` says. What differs is judged as a whole before anything is done. Sessions that no change names go on as if
    /// nothing had happened: those end whose target goes or is stopped or whose portal group goes, after their initiators were asked to log out,
    /// which takes some seconds at most. The others see by unit attention which logical units have come, gone or changed.
    ///
    /// # Errors
    /// Why nothing was changed.
    pub fn reload(&self, new: Configuration) -> Result<Report, ReloadError> {
        let mut running = self.configuration.lock();
        let new = new.checked()?;
        self.make(&mut running, &new)
    }

    /// Makes some changes, as [`reload`](Self::reload) does.
    ///
    /// # Errors
    /// A change names what is not there; or why nothing was changed.
    pub fn change(&self, changes: impl IntoIterator<Item = Change>) -> Result<Report, ReloadError> {
        let mut running = self.configuration.lock();
        let mut new = running.clone();
        for change in changes {
            change.check_names(&new)?;
            change.apply(&mut new);
        }
        let new = new.checked()?;
        self.make(&mut running, &new)
    }

    /// Lets nobody log in to a target any more, and asks those that are there to log out; its disks stay open.
    ///
    /// # Errors
    /// There is no such target.
    pub fn stop_target(&self, target: &str) -> Result<Report, ReloadError> {
        self.change([Change::SetTarget(target.into(), TargetSetting::Availability(Availability::Stopped))])
    }

    /// Lets initiators log in to a target again.
    ///
    /// # Errors
    /// There is no such target.
    pub fn start_target(&self, target: &str) -> Result<Report, ReloadError> {
        self.change([Change::SetTarget(target.into(), TargetSetting::Availability(Availability::Open))])
    }

    fn make(&self, running: &mut Configuration, new: &Configuration) -> Result<Report, ReloadError> {
        let changes = running.changes_to(new);
        let prepared = self.shared.judge(new, &changes)?;
        let report = self.shared.make(changes, prepared)?;
        report.changes.iter().cloned().for_each(|change| change.apply(running));
        Ok(report)
    }
}

impl Change {
    /// # Errors
    /// What it names and is not there.
    fn check_names(&self, configuration: &Configuration) -> Result<(), ReloadError> {
        let target = match self {
            Self::RemoveLun { target, .. } | Self::AddLun { target, .. } | Self::ResizeLun { target, .. } => target,
            Self::RemoveTarget(target) | Self::SetTarget(target, _) => target,
            Self::RemovePortal(address, tag) | Self::MovePortal { address, from: tag, .. } => {
                let is_there = configuration.portals.contains(&(*address, *tag));
                return if is_there { Ok(()) } else { Err(ReloadError::NoSuchPortal(*address, *tag)) };
            }
            Self::AddTarget(_) | Self::AddPortal(..) | Self::Set(_) => return Ok(()),
        };
        let Some(found) = configuration.target(target) else { return Err(ReloadError::NoSuchTarget(target.clone())) };
        let has = |wanted: u16| found.disks.iter().any(|(number, _)| *number == wanted);
        match self {
            Self::RemoveLun { number, .. } | Self::ResizeLun { number, .. } if !has(*number) => {
                Err(ReloadError::NoSuchUnit(target.clone(), *number))
            }
            _ => Ok(()),
        }
    }
}
