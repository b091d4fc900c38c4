//! Changes that were judged are made: what goes first, then what logins are judged by, then what comes.

use super::carry_out;
use super::change::{Change, TargetSetting};
use super::judgement::{Prepared, ReloadError};
use super::portal_groups::PortalGroup;
use super::reload::Report;
use super::sessions::{Dropped, SessionSelector};
use super::shared::{Message, Shared};
use super::target::Target;
use super::unit::NewUnit;
use iscsi_node::target::{Availability, Portal, StoreId, TargetConfig};
use scsi_block::io::BlockIo;
use scsi_block::{LogicalUnitNumber, TargetDevice, TargetPortGroup};
use std::sync::Arc;
use std::time::Duration;

/// How long initiators have to log out of a target that goes or is stopped, or that they have come to by a portal group that goes: a little longer than they are told.
const LOGOUT_PATIENCE: Duration = Duration::from_secs(4);

impl Shared {
    /// The target of that name, and its place.
    pub(super) fn find_target(&self, name: &str) -> Option<(usize, TargetConfig)> {
        let portal = self.portal();
        let place = portal.find(name)?;
        Some((place, portal.targets[place].clone()))
    }

    /// Another offer: when this returns, no core judges a login by the old one but those that have not answered, which are counted.
    fn publish(&self, portal: Portal, report: &mut Report) {
        let portal = Arc::new(portal);
        *self.portal.write() = Arc::clone(&portal);
        let (_, silent_cores) = self.ask(|done| Message::Offer(Arc::clone(&portal), done));
        report.silent_cores = report.silent_cores.max(silent_cores);
    }

    /// Makes changes that were judged.
    ///
    /// # Errors
    /// A store cannot grow, or the server is about to end; nothing has changed then that anybody sees.
    pub(super) fn make(&self, changes: Vec<Change>, prepared: Prepared) -> Result<Report, ReloadError> {
        if let Err(error) = self.grow(&prepared) {
            self.give_up(prepared);
            return Err(error);
        }
        let Prepared { ports, sizes, mut units, mut targets, groups, listeners } = prepared;
        let mut report = Report::default();
        self.close_offer(&changes, &mut report);
        let going = self.going_groups(&ports);
        self.end_sessions([going_targets(&changes), going.clone()].concat(), LOGOUT_PATIENCE, &mut report);
        if self.is_ending() {
            report.faults.push("the server is about to end: the rest was left as it is".into());
            return Ok(report);
        }
        for change in &changes {
            match change {
                Change::RemoveTarget(name) => self.remove_target(name, &mut report),
                Change::RemoveLun { target, number } => report.faults.extend(self.remove_unit(target, *number)),
                _ => {}
            }
        }
        // Nobody whom only the new settings let in has met what has gone.
        self.change_offer(&changes, &mut report);
        for (name, groups) in ports {
            if let Some((_, config)) = self.find_target(&name) {
                config.device.set_target_port_groups(groups).expect("the groups were judged");
            }
        }
        self.change_listeners(&changes);
        // Those that have come by a group that was about to go.
        self.end_sessions(going, Duration::ZERO, &mut report);
        sizes.iter().for_each(|(_, _, resize)| resize.make());
        for change in changes {
            let made = match change {
                Change::AddLun { ref target, number, .. } => {
                    let unit = units.remove(&(target.clone(), number));
                    unit.is_some_and(|unit| self.add_judged(target, unit, &mut report)).then_some(change)
                }
                Change::AddTarget(target) => {
                    let units = targets.remove(&target.name).unwrap_or_default();
                    self.add_target(*target, units, &groups, &mut report)
                        .map(|target| Change::AddTarget(Box::new(target)))
                }
                change => Some(change),
            };
            report.changes.extend(made);
        }
        listeners.into_iter().for_each(|(listener, socket)| {
            self.listeners.lock().0.push(listener);
            self.mailboxes[0].send(Message::Listen(listener, socket));
        });
        let addresses = self.listeners.lock().told();
        self.publish(Portal { addresses, ..Portal::clone(&self.portal()) }, &mut report);
        Ok(report)
    }

    /// Has stores grow whose units do.
    fn grow(&self, prepared: &Prepared) -> Result<(), ReloadError> {
        if self.is_ending() {
            return Err(ReloadError::Ending);
        }
        prepared.sizes.iter().try_for_each(|(target, number, resize)| {
            let wrong = |error| ReloadError::Unit { target: target.clone(), number: *number, error };
            resize.grow().map_err(wrong)
        })
    }

    /// Targets that go, and those that stop, let nobody in any more.
    fn close_offer(&self, changes: &[Change], report: &mut Report) {
        let mut portal = Portal::clone(&self.portal());
        for change in changes {
            let (name, availability) = match change {
                Change::RemoveTarget(name) => (name, Availability::Gone),
                Change::SetTarget(name, TargetSetting::Availability(Availability::Stopped)) => {
                    (name, Availability::Stopped)
                }
                _ => continue,
            };
            if let Some(target) = portal.target_mut(name) {
                target.availability = availability;
            }
        }
        self.publish(portal, report);
    }

    /// What logins are judged by from now on.
    fn change_offer(&self, changes: &[Change], report: &mut Report) {
        let mut portal = Portal::clone(&self.portal());
        for change in changes {
            match change {
                Change::Set(setting) => setting.offer(&mut portal),
                Change::SetTarget(name, setting) => {
                    if let Some(target) = portal.target_mut(name) {
                        setting.offer(target);
                    }
                }
                _ => {}
            }
        }
        self.publish(portal, report);
    }

    /// The portal groups through which targets are reached no more that are to have these target port groups.
    fn going_groups(&self, ports: &[(String, Vec<TargetPortGroup>)]) -> Vec<SessionSelector> {
        let of_target = |(name, groups): &(String, Vec<TargetPortGroup>)| {
            let before = self.find_target(name).map(|(_, config)| config.device.target_port_groups());
            let gone = |group: &TargetPortGroup| groups.iter().all(|other| other.number != group.number);
            let gone = before.into_iter().flatten().filter(gone);
            gone.map(|group| SessionSelector::PortalGroup(name.clone(), group.number)).collect::<Vec<_>>()
        };
        ports.iter().flat_map(of_target).collect()
    }

    fn end_sessions(&self, which: Vec<SessionSelector>, patience: Duration, report: &mut Report) {
        if which.is_empty() {
            return;
        }
        let Dropped { asked, ended, left, silent_cores } = self.drop_sessions(&which, patience);
        report.sessions.asked += asked;
        report.sessions.ended += ended;
        report.sessions.left += left;
        report.sessions.silent_cores = report.sessions.silent_cores.max(silent_cores);
        report.silent_cores = report.silent_cores.max(silent_cores);
    }

    /// The stores of a target that is gone are flushed and closed.
    fn remove_target(&self, name: &str, report: &mut Report) {
        let mut portal = Portal::clone(&self.portal());
        // One of the same name may have gone before it; its units are gone already.
        let gone = portal.targets.iter_mut().enumerate();
        let gone = gone.filter(|(_, target)| target.availability == Availability::Gone && target.name == name);
        for (place, target) in gone {
            for unit in target.device.logical_units() {
                let fault = self.flush_closed(StoreId { target: place, unit: unit.index });
                report.faults.extend(fault.map(|error| format!("{name}: LUN {}: {error}", unit.number)));
            }
            target.device = Arc::new(TargetDevice::new([]).expect("a device without units makes sense"));
        }
        self.publish(portal, report);
    }

    fn remove_unit(&self, target: &str, number: u16) -> Option<String> {
        let (place, config) = self.find_target(target)?;
        let unit = config.device.remove(LogicalUnitNumber::from(number)).ok()?;
        let fault = self.flush_closed(StoreId { target: place, unit })?;
        Some(format!("{target}: LUN {number}: {fault}"))
    }

    /// Closes a store that is wanted no more. Gives why it was not flushed.
    fn flush_closed(&self, id: StoreId) -> Option<String> {
        let store = self.close(id)?;
        let error = carry_out(&store, BlockIo::Flush).err()?;
        Some(format!("it is gone, and its store cannot be flushed: {error}"))
    }

    fn change_listeners(&self, changes: &[Change]) {
        let mut listeners = self.listeners.lock();
        for change in changes {
            match *change {
                Change::RemovePortal(address, tag) => {
                    if let Some(listener) = listeners.remove(address, tag) {
                        self.mailboxes[0].send(Message::Unlisten(listener.place));
                    }
                }
                Change::MovePortal { address, from, to } => {
                    if let Some(listener) = listeners.find(address, from) {
                        listener.tag = to;
                        self.mailboxes[0].send(Message::Regroup(listener.place, to));
                    }
                }
                _ => {}
            }
        }
    }

    /// Adds a unit that was judged. Gives whether it has come: what it takes the place of may not have let go.
    fn add_judged(&self, target: &str, unit: NewUnit, report: &mut Report) -> bool {
        let number = unit.number;
        let added = self.add_unit(target, unit);
        report.faults.extend(added.as_ref().err().map(|error| not_come(target, number, error)));
        added.is_ok()
    }

    /// Adds a target that was judged. Gives it with the disks that have come.
    fn add_target(
        &self,
        mut target: Target,
        units: Vec<NewUnit>,
        groups: &[PortalGroup],
        report: &mut Report,
    ) -> Option<Target> {
        let settled: Vec<_> = units
            .into_iter()
            .filter_map(|unit| {
                let number = unit.number;
                unit.settle(&self.is_ending)
                    .map_err(|error| report.faults.push(not_come(&target.name, number, &error)))
                    .ok()
            })
            .collect();
        let (units, media): (Vec<_>, _) = settled.into_iter().unzip();
        target.disks.retain(|(number, _)| units.iter().any(|(come, _)| *come == LogicalUnitNumber::from(*number)));
        match target.config(groups, units) {
            Ok(config) => {
                self.stores.write().push(media);
                let mut portal = Portal::clone(&self.portal());
                portal.targets.push(config);
                self.publish(portal, report);
                Some(target)
            }
            Err(error) => {
                report.faults.push(format!("{}: the target has not come: {error}", target.name));
                None
            }
        }
    }
}

/// The sessions of targets that go or are stopped.
fn going_targets(changes: &[Change]) -> Vec<SessionSelector> {
    let names = changes.iter().filter_map(|change| match change {
        Change::RemoveTarget(name) | Change::SetTarget(name, TargetSetting::Availability(Availability::Stopped)) => {
            Some(name)
        }
        _ => None,
    });
    names.cloned().map(SessionSelector::Target).collect()
}

fn not_come(target: &str, number: u16, error: &dyn std::error::Error) -> String {
    format!("{target}: LUN {number} has not come: {error}")
}
