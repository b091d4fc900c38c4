//! Changes that were judged are made: what goes first, then what logins are judged by, then what comes.

use super::carry_out;
use super::change::{Change, TargetSetting};
use super::judgement::Prepared;
use super::listeners::Listener;
use super::reload::Report;
use super::sessions::{Dropped, SessionSelector};
use super::shared::{Medium, Message, Shared};
use iscsi_node::target::{Availability, Portal, StoreId, TargetConfig};
use scsi_block::io::BlockIo;
use scsi_block::{LogicalUnitConfig, LogicalUnitNumber, TargetDevice};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How long initiators have to log out of a target that goes or is stopped: a little longer than they are told.
const LOGOUT_PATIENCE: Duration = Duration::from_secs(4);

impl Shared {
    /// The target of that name, and its place.
    pub(super) fn find_target(&self, name: &str) -> Option<(usize, TargetConfig)> {
        let portal = self.portal();
        let place = portal.find(name)?;
        Some((place, portal.targets[place].clone()))
    }

    /// Another offer: when this returns, no core judges a login by the old one.
    fn publish(&self, portal: Portal) {
        let portal = Arc::new(portal);
        *self.portal.write() = Arc::clone(&portal);
        self.ask(|done| Message::Offer(Arc::clone(&portal), done));
    }

    /// Makes changes that were judged.
    pub(super) fn make(&self, changes: &[Change], prepared: Prepared) -> Report {
        let mut report = Report::default();
        self.close_offer(changes);
        report.sessions = self.end_sessions(changes);
        for change in changes {
            report.faults.extend(match change {
                Change::RemoveTarget(name) => self.remove_target(name),
                Change::RemoveLun { target, number } => self.remove_unit(target, *number).into_iter().collect(),
                _ => Vec::new(),
            });
        }
        // Nobody whom only the new settings let in has met what has gone.
        self.change_offer(changes);
        self.change_listeners(changes);
        self.change_units(changes, prepared.units);
        prepared.targets.into_iter().for_each(|(target, media)| self.add_target(target, media));
        prepared.listeners.into_iter().for_each(|(listener, socket)| {
            let mut listeners = self.listeners.lock();
            let listener = Listener { place: listeners.free_place(), ..listener };
            listeners.0.push(listener);
            self.mailboxes[0].send(Message::Listen(listener.place, socket, listener.tag));
        });
        let addresses = self.listeners.lock().told();
        self.publish(Portal { addresses, ..Portal::clone(&self.portal()) });
        report
    }

    /// Targets that go, and those that stop, let nobody in any more.
    fn close_offer(&self, changes: &[Change]) {
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
        self.publish(portal);
    }

    /// What logins are judged by from now on.
    fn change_offer(&self, changes: &[Change]) {
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
        self.publish(portal);
    }

    fn end_sessions(&self, changes: &[Change]) -> Dropped {
        let names = changes.iter().filter_map(|change| match change {
            Change::RemoveTarget(name)
            | Change::SetTarget(name, TargetSetting::Availability(Availability::Stopped)) => Some(name),
            _ => None,
        });
        let which: Vec<SessionSelector> = names.cloned().map(SessionSelector::Target).collect();
        if which.is_empty() { Dropped::default() } else { self.drop_sessions(&which, LOGOUT_PATIENCE) }
    }

    /// The stores of a target that is gone are flushed and closed. Gives what could not be flushed.
    fn remove_target(&self, name: &str) -> Vec<String> {
        let mut portal = Portal::clone(&self.portal());
        // One of the same name may have gone before it; its units are gone already.
        let gone = portal.targets.iter_mut().enumerate();
        let gone = gone.filter(|(_, target)| target.availability == Availability::Gone && target.name == name);
        let mut faults = Vec::new();
        for (place, target) in gone {
            for unit in target.device.logical_units() {
                let fault = self.flush_closed(StoreId { target: place, unit: unit.index });
                faults.extend(fault.map(|error| format!("{name}: LUN {}: {error}", unit.number)));
            }
            target.device = Arc::new(TargetDevice::new([]).expect("a device without units makes sense"));
        }
        self.publish(portal);
        faults
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

    fn change_units(&self, changes: &[Change], mut units: HashMap<(String, u16), (LogicalUnitConfig, Medium)>) {
        for change in changes {
            match change {
                Change::AddLun { target, number, .. } => {
                    if let Some((unit, medium)) = units.remove(&(target.clone(), *number)) {
                        self.add_unit(target, *number, unit, medium).expect("the unit was judged beside the others");
                    }
                }
                Change::ResizeLun { target, number, bytes } => {
                    if let Some((_, config)) = self.find_target(target)
                        && let Some(info) =
                            config.device.logical_units().find(|info| info.number == LogicalUnitNumber::from(*number))
                    {
                        let blocks = bytes / u64::from(info.config.geometry.block_size);
                        config.device.resize(info.index, blocks).expect("the size was judged");
                    }
                }
                _ => {}
            }
        }
    }

    fn add_target(&self, target: TargetConfig, media: Vec<Medium>) {
        self.stores.write().push(media.into_iter().map(Some).collect());
        let mut portal = Portal::clone(&self.portal());
        portal.targets.push(target);
        self.publish(portal);
    }
}
