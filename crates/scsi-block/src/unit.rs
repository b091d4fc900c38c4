//! One logical unit, shared by all cores.
//!
//! What READ and WRITE look at is in atomics: the *summary* (conditions, and a generation that any change moves on),
//! the number of blocks, and what ends the tasks of one nexus ([`link`](crate::link)). Everything else stands behind a
//! lock that only other commands take. Invariant: the summary's conditions always say what the state behind the lock says, as
//! every change goes through [`LogicalUnit::change`].

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bitflags::bitflags;

use crate::LogicalUnitNumber;
use crate::access::{self, Access, AccessState, ChangedBy};
use crate::asynchronous_event::AsynchronousEvent;
use crate::clock::Clock;
use crate::config::{ConfigError, LogicalUnitConfig};
use crate::copy::{Copies, Tokens};
use crate::counters::{Counters, Totals};
use crate::io::{BlockIo, Extent, Geometry, IoError, Record, Space};
use crate::link::{Link, RequestCounter, Settling};
use crate::lock::Lock;
use crate::medium::MediumState;
use crate::mode::{self, ModeSettings};
use crate::needs::Needs;
use crate::ports::{CurrentPorts, TargetPorts};
use crate::reservations::{self, NexusName, Path, Reservations};
use crate::sense::{AdditionalSense, Sense, SenseFormat};
use crate::unit_attention::UnitAttentions;
use crate::upkeep::Upkeep;
use crate::wipe::{self, Progress, Wipe};

/// An I_T nexus, by a number that is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NexusId(pub(crate) u64);

bitflags! {
    /// What a command may have to mind.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Conditions: u8 {
        const NOT_READY = 1 << 0;
        const READ_ONLY = 1 << 1;
        const SOFTWARE_WRITE_PROTECTED = 1 << 2;
        const WRITE_CACHE = 1 << 3;
        const DESCRIPTOR_SENSE = 1 << 4;
        /// A task that ends with CHECK CONDITION ends the others of its nexus (QERR).
        const ENDS_TASKS = 1 << 5;
        /// A FORMAT UNIT or SANITIZE goes on.
        const WIPING = 1 << 6;
        /// There are tokens that a write may have to end.
        const TOKENS = 1 << 7;
        /// Nothing is to be written, for one reason or the other.
        const WRITE_PROTECTED = Self::READ_ONLY.bits() | Self::SOFTWARE_WRITE_PROTECTED.bits();
    }
}

/// The summary as it was at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary(u64);

impl Summary {
    const CONDITION_BITS: u32 = 8;

    pub(crate) fn has(self, conditions: Conditions) -> bool {
        self.0 as u8 & conditions.bits() != 0
    }

    fn conditions(self) -> Conditions {
        Conditions::from_bits_truncate(self.0 as u8)
    }

    /// Differs whenever anything has changed.
    pub(crate) fn generation(self) -> u64 {
        self.0 >> Self::CONDITION_BITS
    }

    pub(crate) fn sense_format(self) -> SenseFormat {
        if self.has(Conditions::DESCRIPTOR_SENSE) { SenseFormat::Descriptor } else { SenseFormat::Fixed }
    }
}

/// What one nexus has found when it last looked behind the lock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    /// The generation for which it holds.
    pub(crate) generation: u64,
    /// What commands of the nexus may count on.
    pub(crate) has: Needs,
}

impl View {
    /// Nothing is known: no unit ever has this generation.
    pub(crate) const NONE: Self = Self { generation: u64::MAX, has: Needs::empty() };
}

/// The state behind the lock.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) settings: ModeSettings,
    pub(crate) saved: ModeSettings,
    /// Who has reserved the unit with RESERVE.
    pub(crate) reserved_by: Option<NexusId>,
    pub(crate) reservations: Reservations,
    pub(crate) access: Access,
    /// Counts the records that are given to be kept.
    kept_version: u64,
    pub(crate) medium: MediumState,
    pub(crate) copies: Copies,
    pub(crate) tokens: Tokens,
    /// How full the store is, as its owner has told last.
    pub(crate) space: Option<Space>,
    /// What SET TIMESTAMP has set.
    pub(crate) clock: Option<Clock>,
    nexuses: HashMap<NexusId, Peer>,
    /// What nexuses have done that are gone.
    retired: Totals,
    /// The totals as they were when LOG SELECT let those of a page begin again.
    cleared: [Totals; CountedPage::ALL.len()],
}

/// What a unit keeps of a nexus.
#[derive(Debug)]
struct Peer {
    name: NexusName,
    /// Number of the group of its target port, 0 if that is gone.
    group: u16,
    /// Whether it has the right to change the unit.
    changes: bool,
    link: Arc<Link>,
    attentions: UnitAttentions,
    counters: Arc<Counters>,
}

/// A log page whose counts LOG SELECT lets begin again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CountedPage {
    WriteErrors,
    ReadErrors,
    Statistics,
}

impl CountedPage {
    pub(crate) const ALL: [Self; 3] = [Self::WriteErrors, Self::ReadErrors, Self::Statistics];
}

impl State {
    /// What commands of `nexus` may count on.
    pub(crate) fn granted(&self, nexus: NexusId) -> Needs {
        let Some(own) = self.nexuses.get(&nexus) else { return Needs::all() };
        let of_reservations = match self.reserved_by {
            Some(holder) if holder != nexus => Needs::all() - Needs::OF_RESERVATIONS,
            _ => self.reservations.leaves(&own.name.path),
        };
        let of_rights = if own.changes { Needs::all() } else { Needs::all() - Needs::CHANGE };
        of_reservations & self.access.state(own.group).leaves() & of_rights
    }

    /// Whether `nexus` has the right to change the unit.
    pub(crate) fn may_change(&self, nexus: NexusId) -> bool {
        self.nexuses.get(&nexus).is_none_or(|own| own.changes)
    }

    /// The state of the group of the target port of `nexus`.
    pub(crate) fn access_through(&self, nexus: NexusId) -> AccessState {
        self.nexuses.get(&nexus).map_or(AccessState::ActiveOptimized, |own| self.access.state(own.group))
    }

    /// Why commands are refused that need more than the target port of `nexus` lets through, if it does not let all through.
    pub(crate) fn access_refusal(&self, nexus: NexusId) -> Option<Sense> {
        self.access_through(nexus).refusal()
    }

    /// Something that is to be kept, as it is now.
    pub(crate) fn record(&mut self, name: &'static str, content: Vec<u8>) -> Record {
        self.kept_version += 1;
        Record { name, version: self.kept_version, content: content.into() }
    }

    /// The epoch of tasks of a nexus that begin now; that of one which is gone has no other.
    pub(crate) fn epoch(&self, nexus: NexusId) -> u64 {
        self.nexuses.get(&nexus).map_or(0, |own| own.link.epoch())
    }

    /// The names of a nexus.
    pub(crate) fn name(&self, nexus: NexusId) -> Option<&NexusName> {
        self.nexuses.get(&nexus).map(|own| &own.name)
    }

    /// The names of all nexuses.
    pub(crate) fn names(&self) -> Vec<NexusName> {
        self.nexuses.values().map(|own| own.name.clone()).collect()
    }

    /// The links of the nexuses that are to be ended.
    pub(crate) fn links(&self, which: impl Fn(NexusId, &Path) -> bool) -> Vec<Arc<Link>> {
        let found = self.nexuses.iter().filter(|(id, own)| which(**id, &own.name.path));
        found.map(|(_, own)| Arc::clone(&own.link)).collect()
    }

    /// Raises a unit attention condition for the nexuses of one name.
    pub(crate) fn notify(&mut self, path: &Path, condition: AdditionalSense) {
        let named = self.nexuses.values_mut().filter(|own| own.name.path == *path);
        named.for_each(|own| own.attentions.post(condition));
    }

    /// Raises a unit attention condition for every nexus but `except`.
    pub(crate) fn post(&mut self, condition: AdditionalSense, except: Option<NexusId>) {
        let others = self.nexuses.iter_mut().filter(|(id, _)| Some(**id) != except);
        others.for_each(|(_, peer)| peer.attentions.post(condition));
    }

    /// What all nexuses have ever done.
    fn all_totals(&self) -> Totals {
        self.nexuses.values().fold(self.retired, |sum, peer| sum.plus(peer.counters.totals()))
    }

    /// What was done since a page was cleared.
    pub(crate) fn totals(&self, page: CountedPage) -> Totals {
        self.all_totals().since(self.cleared[page as usize])
    }

    /// The counts of a page begin again.
    pub(crate) fn clear_totals(&mut self, page: CountedPage) {
        self.cleared[page as usize] = self.all_totals();
    }
}

/// The group of the target port that a nexus comes through, 0 if that is gone.
fn group_of(ports: &TargetPorts, name: &NexusName) -> u16 {
    ports.find(name.path.target_port).map_or(0, |(group, _)| group.number)
}

#[derive(Debug)]
pub(crate) struct LogicalUnit {
    pub(crate) number: LogicalUnitNumber,
    pub(crate) config: LogicalUnitConfig,
    ports: Arc<CurrentPorts>,
    summary: AtomicU64,
    blocks: AtomicU64,
    upkeep: Arc<Upkeep>,
    state: Lock<State>,
}

/// What [`LogicalUnit::look_as`] has found.
pub(crate) struct Looked {
    pub(crate) has: Needs,
    /// Whether it may be relied on as long as the generation is the same: no unit attention is left.
    pub(crate) lasts: bool,
}

impl LogicalUnit {
    /// # Errors
    /// What was kept of the unit cannot be read.
    pub(crate) fn new(
        number: LogicalUnitNumber,
        config: LogicalUnitConfig,
        ports: Arc<CurrentPorts>,
        upkeep: Arc<Upkeep>,
    ) -> Result<Self, ConfigError> {
        let kept = |name| config.kept.as_ref().and_then(|kept| kept.get(name)).map_or(&[][..], |record| record);
        let wrong = |error| ConfigError::Kept { serial: config.identity.serial.clone(), error };
        let reservations = Reservations::from_kept(kept(reservations::RECORD)).map_err(wrong)?;
        let access = Access::from_kept(kept(access::RECORD), &ports.get()).map_err(wrong)?;
        let saved = ModeSettings::from_kept(kept(mode::RECORD), config.default_settings()).map_err(wrong)?;
        let record = config.kept.as_ref().and_then(|kept| kept.get(wipe::RECORD)).cloned().unwrap_or_default();
        let sanitize = wipe::from_kept(&record, config.stored_block_bytes() as usize).map_err(wrong)?;
        let mut state = State {
            settings: saved,
            saved,
            reserved_by: None,
            reservations,
            access,
            kept_version: 0,
            medium: MediumState::default(),
            copies: Copies::default(),
            tokens: Tokens::default(),
            space: None,
            clock: None,
            nexuses: HashMap::new(),
            retired: Totals::default(),
            cleared: Default::default(),
        };
        if let Some((kind, content)) = sanitize {
            let wipe = Wipe::new(kind, content, config.geometry.blocks, config.stored_block_bytes());
            state.medium.wipe = Some(wipe.with_records(None, Some(state.record(wipe::RECORD, Vec::new()))));
        }
        let conditions = conditions(&state, &config);
        upkeep.count(Conditions::empty(), conditions);
        let summary = AtomicU64::new(conditions.bits().into());
        let blocks = AtomicU64::new(config.geometry.blocks);
        Ok(Self { number, config, ports, summary, blocks, upkeep, state: Lock::new(state) })
    }

    #[inline]
    pub(crate) fn summary(&self) -> Summary {
        Summary(self.summary.load(Ordering::Acquire))
    }

    /// Number of blocks that there are now.
    #[inline]
    pub(crate) fn blocks(&self) -> u64 {
        self.blocks.load(Ordering::Acquire)
    }

    /// The size that the medium has now.
    pub(crate) fn geometry(&self) -> Geometry {
        Geometry { blocks: self.blocks(), ..self.config.geometry }
    }

    /// The unit is taken away: what goes on without a task ends, and its tokens are none any more.
    pub(crate) fn retire(&self) {
        self.change(|state| {
            state.medium.wipe = None;
            state.tokens.revoke(Extent::ALL);
        });
    }

    /// The medium has so many blocks from now on, and everybody is told. Tokens that stand for blocks behind its end are none any more.
    pub(crate) fn resize(&self, blocks: u64) {
        self.change(|state| {
            self.blocks.store(blocks, Ordering::Release);
            state.tokens.revoke(Extent { lba: blocks, ..Extent::ALL });
            state.post(AdditionalSense::CAPACITY_DATA_HAS_CHANGED, None);
        });
    }

    /// Looks at the state.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.state.lock())
    }

    /// Changes the state, and tells everybody that something has changed.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock();
        let result = change(&mut state);
        self.publish(&state);
        result
    }

    /// Changes what the summary does not tell, and nobody has to look at.
    pub(crate) fn note<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(&mut self.state.lock())
    }

    /// The summary of a state that has changed, whose lock is held.
    fn publish(&self, state: &State) {
        let before = self.summary();
        let generation = (before.generation() + 1) << Summary::CONDITION_BITS;
        let conditions = conditions(state, &self.config);
        self.summary.store(generation | u64::from(conditions.bits()), Ordering::Release);
        self.upkeep.count(before.conditions(), conditions);
    }

    /// A new nexus, which has the right to change the unit if it `changes`. It is told first of all that the unit may have been reset before
    /// it came.
    pub(crate) fn connect(&self, nexus: NexusId, name: NexusName, changes: bool) -> (Arc<Counters>, RequestCounter) {
        let (link, counters) = (Arc::new(Link::default()), Arc::new(Counters::default()));
        let mut attentions = UnitAttentions::default();
        attentions.post(AdditionalSense::POWER_ON_OR_RESET);
        // Within the lock, so that it follows what ports do from then on.
        let mut state = self.state.lock();
        let group = group_of(&self.ports(), &name);
        let peer = Peer { name, group, changes, link: Arc::clone(&link), attentions, counters: Arc::clone(&counters) };
        state.nexuses.insert(nexus, peer);
        (counters, RequestCounter::new(link))
    }

    /// The nexus is lost: its reservation ends (SPC-2 5.5.1).
    pub(crate) fn disconnect(&self, nexus: NexusId) {
        let holds = {
            let mut state = self.state.lock();
            let gone = state.nexuses.remove(&nexus);
            state.retired = gone.map_or(state.retired, |peer| state.retired.plus(peer.counters.totals()));
            state.medium.forget(nexus);
            state.copies.forget(nexus);
            state.reserved_by == Some(nexus)
        };
        if holds {
            self.release(nexus);
        }
    }

    /// Looks for a nexus and a command of it that needs `needs`: a unit attention, unless the command is `quiet` or a reservation is in its
    /// way, which is told first (SAM-5 5.3.3); or else what the nexus has. It stays so until the generation moves on, if `Looked::lasts`.
    pub(crate) fn look_as(&self, nexus: NexusId, needs: Needs, quiet: bool) -> Result<Looked, AdditionalSense> {
        let mut state = self.state.lock();
        let has = state.granted(nexus);
        let refused = !has.contains(needs & Needs::OF_RESERVATIONS);
        let attentions = state.nexuses.get_mut(&nexus).map(|peer| &mut peer.attentions);
        match attentions.filter(|attentions| attentions.any()) {
            Some(_) if quiet || refused => Ok(Looked { has, lasts: false }),
            Some(attentions) => attentions.take().map_or(Ok(Looked { has, lasts: false }), Err),
            None => Ok(Looked { has, lasts: true }),
        }
    }

    /// Takes the oldest unit attention of `nexus`.
    pub(crate) fn take_attention(&self, nexus: NexusId) -> Option<AdditionalSense> {
        self.state.lock().nexuses.get_mut(&nexus)?.attentions.take()
    }

    /// A condition is not worth telling a nexus any more.
    pub(crate) fn clear_attention(&self, nexus: NexusId, condition: AdditionalSense) {
        if let Some(peer) = self.state.lock().nexuses.get_mut(&nexus) {
            peer.attentions.clear(condition);
        }
    }

    /// The unit attention condition that waits for a command of `nexus`.
    pub(crate) fn pending_attention(&self, nexus: NexusId) -> Option<AsynchronousEvent> {
        self.look(|state| state.nexuses.get(&nexus)?.attentions.pending())
    }

    /// What the loss of a nexus does to the unit, for one that goes on: its reservation and its tasks end, and it is told (SAM-5 6.3.4).
    pub(crate) fn reset_nexus(&self, nexus: NexusId) -> Settling {
        let links = self.change(|state| {
            state.reserved_by.take_if(|holder| *holder == nexus);
            state.medium.forget(nexus);
            state.copies.forget(nexus);
            state.links(|id, _| id == nexus)
        });
        self.tell(nexus, AdditionalSense::I_T_NEXUS_LOSS);
        Settling::end_tasks(links)
    }

    /// Raises a unit attention condition for one nexus.
    pub(crate) fn tell(&self, nexus: NexusId, condition: AdditionalSense) {
        self.change(|state| {
            if let Some(peer) = state.nexuses.get_mut(&nexus) {
                peer.attentions.post(condition);
            }
        });
    }

    /// RELEASE: nothing happens if the reservation is another's.
    pub(crate) fn release(&self, nexus: NexusId) {
        self.change(|state| state.reserved_by.take_if(|holder| *holder == nexus));
    }

    /// A reset of the unit (SAM-5 6.3): tasks and reservation end, settings are the saved ones, everybody is told.
    pub(crate) fn reset(&self, condition: AdditionalSense) -> Settling {
        let links = self.change(|state| {
            state.settings = state.saved;
            state.reserved_by = None;
            state.medium.reset();
            state.post(condition, None);
            state.links(|_, _| true)
        });
        Settling::end_tasks(links)
    }

    /// The owner has looked how full the store is. Who is interested is told of the threshold once, when it is crossed.
    pub(crate) fn set_space(&self, space: Space) {
        let percent = self.config.limits.soft_threshold_percent;
        let was_beyond = self.note(|state| state.space.replace(space)).is_some_and(|space| space.is_filled_to(percent));
        if space.is_filled_to(percent) && !was_beyond {
            self.change(|state| state.post(AdditionalSense::THIN_PROVISIONING_SOFT_THRESHOLD_REACHED, None));
        }
    }

    /// The ports of the device.
    pub(crate) fn ports(&self) -> Arc<TargetPorts> {
        self.ports.get()
    }

    /// Ports of the device have come or gone: every nexus is told that names and states have changed.
    pub(crate) fn follow_ports(&self) {
        let ports = self.ports();
        self.change(|state| {
            state.access.follow(&ports);
            state.nexuses.values_mut().for_each(|peer| peer.group = group_of(&ports, &peer.name));
            state.post(AdditionalSense::INQUIRY_DATA_HAS_CHANGED, None);
            state.post(AdditionalSense::ASYMMETRIC_ACCESS_STATE_CHANGED, None);
        });
    }

    /// Groups of target ports, by their numbers, take other states; all nexuses but `except` are told if there is something new. Gives what is
    /// to be kept, if somebody keeps records.
    pub(crate) fn set_access(
        &self,
        changes: &[(u16, AccessState)],
        by: ChangedBy,
        except: Option<NexusId>,
    ) -> Option<Record> {
        self.change(|state| {
            if state.access.set(changes, by) {
                state.post(AdditionalSense::ASYMMETRIC_ACCESS_STATE_CHANGED, except);
            }
            // Also if nothing is new: the same that was to be kept before this may not have been.
            self.config.kept.as_ref().map(|_| state.record(access::RECORD, state.access.to_kept()))
        })
    }

    /// The medium is there again; all but the nexus that has loaded it are told. While somebody prevents its removal it does not move
    /// either way.
    pub(crate) fn load(&self, by: Option<NexusId>) -> Result<(), Sense> {
        self.change(|state| {
            if by.is_some() && !state.medium.preventing.is_empty() {
                return Err(Sense::illegal(AdditionalSense::MEDIUM_REMOVAL_PREVENTED));
            }
            if state.medium.load() {
                state.post(AdditionalSense::MEDIUM_MAY_HAVE_CHANGED, by);
            }
            Ok(())
        })
    }

    /// The medium is taken out, unless somebody prevents that.
    pub(crate) fn eject(&self) -> Result<(), Sense> {
        self.change(|state| match state.medium.preventing.is_empty() {
            true => {
                state.medium.ejected = true;
                state.tokens.revoke(Extent::ALL);
                Ok(())
            }
            false => Err(Sense::illegal(AdditionalSense::MEDIUM_REMOVAL_PREVENTED)),
        })
    }

    /// Blocks are about to change, or have: tokens that stand for one of them are none any more. Both are told, since a token may be made
    /// between the two.
    #[cold]
    pub(crate) fn revoke_tokens(&self, changed: Extent) {
        if changed.blocks == 0 {
            return;
        }
        let mut state = self.state.lock();
        if state.tokens.revoke(changed) {
            self.publish(&state);
        }
    }

    /// Tells the time to what ends by it.
    pub(crate) fn handle_timeout(&self, now: Instant) {
        if self.summary().has(Conditions::TOKENS) {
            let mut state = self.state.lock();
            if state.tokens.handle_timeout(now) {
                self.publish(&state);
            }
        }
    }

    /// The step of a wipe that is due and that no task does.
    pub(crate) fn poll_wipe(&self) -> Option<BlockIo> {
        if !self.summary().has(Conditions::WIPING) {
            return None;
        }
        self.state.lock().medium.wipe.as_mut()?.poll()
    }

    /// A step has ended, of the wipe that `is_ours` knows. `None` if that is over already.
    pub(crate) fn wiped(&self, done: Result<(), IoError>, is_ours: impl FnOnce(&Wipe) -> bool) -> Option<Progress> {
        let mut state = self.state.lock();
        let progress = state.medium.handle_wiped(done, is_ours)?;
        // While it goes on there is nothing that anybody has to look at.
        if progress != Progress::Continues {
            self.publish(&state);
        }
        Some(progress)
    }
}

impl Drop for LogicalUnit {
    fn drop(&mut self) {
        self.upkeep.count(self.summary().conditions(), Conditions::empty());
    }
}

fn conditions(state: &State, config: &LogicalUnitConfig) -> Conditions {
    [
        (Conditions::NOT_READY, state.medium.not_ready().is_some()),
        (Conditions::READ_ONLY, config.read_only),
        (Conditions::SOFTWARE_WRITE_PROTECTED, state.settings.software_write_protect),
        (Conditions::WRITE_CACHE, state.settings.write_cache),
        (Conditions::DESCRIPTOR_SENSE, state.settings.descriptor_sense),
        (Conditions::ENDS_TASKS, state.settings.queue_error != 0),
        (Conditions::WIPING, state.medium.wipe.is_some()),
        (Conditions::TOKENS, state.tokens.any()),
    ]
    .into_iter()
    .filter_map(|(condition, holds)| holds.then_some(condition))
    .collect()
}
