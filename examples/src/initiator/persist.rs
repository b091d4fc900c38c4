//! `persist`: persistent reservations, seen and changed (SPC-5 5.13).

use bytes::Bytes;
use clap::{Args, Subcommand, ValueEnum};
use iscsi_runtime::url::Url;
use scsi_block::DecodeError;
use scsi_block::cdb::Cdb;
use scsi_block::reservations::{
    Capabilities, CurrentReservation, FullStatus, Keys, MoveList, OutAction, OutList, ReservationType, TransportId,
};
use serde_json::{Value, json};

use super::connection::{Connection, at};
use super::unit::Unit;
use crate::bench::table;
use crate::failure::{Failure, Kind};
use crate::parse::{self, hidden};
use crate::show;

/// Bytes of an answer of PERSISTENT RESERVE IN.
const ANSWER_BYTES: u16 = u16::MAX;

/// What to see or to change.
#[derive(Debug, Subcommand)]
pub(super) enum Persist {
    /// Shows the keys that are registered
    Keys(Place),
    /// Shows the reservation
    Reservation(Place),
    /// Shows what the unit can do about reservations
    Capabilities(Place),
    /// Shows who is registered with which key, and who holds the reservation
    Status(Place),
    /// Registers a key, changes it, or takes it back
    Register(Register),
    /// Reserves the unit
    Reserve(Hold),
    /// Gives the reservation back
    Release(Hold),
    /// Removes the reservation and all registrations
    Clear(Clear),
    /// Removes the registrations with a key of others, and takes over a reservation that is held with it
    Preempt(Preempt),
    /// Gives the reservation to another initiator port
    Move(Move),
    /// Reserves a unit that refuses all because the target does not know any more who has reserved it
    Replace(Replace),
}

#[derive(Debug, Args)]
pub(super) struct Place {
    /// The disk
    #[arg(value_name = "URL", value_parser = hidden::<Url>())]
    url: Url,

    /// Answers in JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
pub(super) struct Register {
    /// Key to be registered; 0 takes the registration back
    #[arg(long, value_name = "KEY", value_parser = parse::key)]
    new_key: u64,

    /// Key that is registered now
    #[arg(long, value_name = "KEY", default_value = "0", value_parser = parse::key)]
    key: u64,

    /// Whatever key is registered now
    #[arg(long, conflicts_with = "key")]
    ignore: bool,

    /// Keeps reservation and registrations over a loss of power (APTPL)
    #[arg(long)]
    persist: bool,

    /// Registers at all ports of the target (ALL_TG_PT)
    #[arg(long)]
    all_target_ports: bool,

    /// Registers this initiator too, by its name, with ,i,0xISID for one port of it (SPEC_I_PT); may be repeated
    #[arg(long, value_name = "NAME")]
    initiator_port: Vec<TransportId>,

    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Hold {
    /// Key that is registered
    #[arg(long, value_name = "KEY", value_parser = parse::key)]
    key: u64,

    /// What others may not do then
    #[arg(long = "type", value_name = "TYPE", value_enum)]
    kind: TypeName,

    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Clear {
    /// Key that is registered
    #[arg(long, value_name = "KEY", value_parser = parse::key)]
    key: u64,

    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Preempt {
    /// Key of those who lose
    #[arg(long, value_name = "KEY", value_parser = parse::key)]
    victim: u64,

    /// Ends their commands too, and waits for that
    #[arg(long)]
    abort: bool,

    #[command(flatten)]
    hold: Hold,
}

#[derive(Debug, Args)]
pub(super) struct Move {
    /// Key that is registered
    #[arg(long, value_name = "KEY", value_parser = parse::key)]
    key: u64,

    /// Key that the other is registered with then
    #[arg(long, value_name = "KEY", value_parser = parse::key)]
    new_key: u64,

    /// The other, by the initiator's name, with ,i,0xISID for one port of it
    #[arg(long, value_name = "NAME")]
    initiator_port: TransportId,

    /// Relative identifier of the target port through which the other comes
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    target_port: u16,

    /// Takes our own registration back
    #[arg(long)]
    unregister: bool,

    /// Keeps reservation and registrations over a loss of power (APTPL)
    #[arg(long)]
    persist: bool,

    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Replace {
    /// Key to be registered
    #[arg(long, value_name = "KEY", value_parser = parse::key)]
    new_key: u64,

    /// What others may not do then
    #[arg(long = "type", value_name = "TYPE", value_enum)]
    kind: TypeName,

    /// Keeps reservation and registration over a loss of power (APTPL)
    #[arg(long)]
    persist: bool,

    #[command(flatten)]
    place: Place,
}

/// Types of reservations, as flags name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TypeName {
    /// Others may read
    WriteExclusive,
    /// Others may neither read nor write
    ExclusiveAccess,
    /// Who is registered may write too
    WriteExclusiveRegistrantsOnly,
    /// Who is registered may read and write too
    ExclusiveAccessRegistrantsOnly,
    /// The same, and who is registered holds it
    WriteExclusiveAllRegistrants,
    /// The same, and who is registered holds it
    ExclusiveAccessAllRegistrants,
}

impl From<TypeName> for ReservationType {
    fn from(name: TypeName) -> Self {
        match name {
            TypeName::WriteExclusive => Self::WriteExclusive,
            TypeName::ExclusiveAccess => Self::ExclusiveAccess,
            TypeName::WriteExclusiveRegistrantsOnly => Self::WriteExclusiveRegistrantsOnly,
            TypeName::ExclusiveAccessRegistrantsOnly => Self::ExclusiveAccessRegistrantsOnly,
            TypeName::WriteExclusiveAllRegistrants => Self::WriteExclusiveAllRegistrants,
            TypeName::ExclusiveAccessAllRegistrants => Self::ExclusiveAccessAllRegistrants,
        }
    }
}

/// Shows or changes what the command line says.
///
/// # Errors
/// The unit cannot be asked, or refuses.
pub(super) fn run(persist: &Persist) -> Result<(), Failure> {
    match persist {
        Persist::Keys(place) => {
            let cdb = Cdb::persist_read_keys(ANSWER_BYTES);
            place.show(&cdb, Keys::decode, keys_for_people, |keys| {
                json!({ "generation": keys.generation, "keys": keys.keys.iter().map(|key| hex(*key)).collect::<Vec<_>>() })
            })
        }
        Persist::Reservation(place) => {
            let cdb = Cdb::persist_read_reservation(ANSWER_BYTES);
            place.show(&cdb, CurrentReservation::decode, reservation_for_people, |current| {
                let reservation =
                    current.reservation.map(|(key, kind)| json!({ "key": hex(key), "type": kind.name() }));
                json!({ "generation": current.generation, "reservation": reservation })
            })
        }
        Persist::Capabilities(place) => {
            let cdb = Cdb::persist_report_capabilities(ANSWER_BYTES);
            place.show(&cdb, Capabilities::decode, capabilities_for_people, capabilities_for_programs)
        }
        Persist::Status(place) => {
            let cdb = Cdb::persist_read_full_status(ANSWER_BYTES);
            place.show(&cdb, FullStatus::decode, status_for_people, status_for_programs)
        }
        Persist::Register(register) => register.run(),
        Persist::Reserve(hold) => hold.run(OutAction::Reserve, 0),
        Persist::Release(hold) => hold.run(OutAction::Release, 0),
        Persist::Clear(Clear { key, place }) => {
            place.send(OutAction::Clear, None, OutList { key: *key, ..OutList::default() }.encode())
        }
        Persist::Preempt(Preempt { victim, abort, hold }) => {
            hold.run(if *abort { OutAction::PreemptAndAbort } else { OutAction::Preempt }, *victim)
        }
        Persist::Move(to) => {
            let list = MoveList {
                key: to.key,
                action_key: to.new_key,
                unregister: to.unregister,
                persist: to.persist,
                target_port: to.target_port,
                initiator_port: to.initiator_port.clone(),
            };
            to.place.send(OutAction::RegisterAndMove, None, list.encode())
        }
        Persist::Replace(Replace { new_key, kind, persist, place }) => {
            let list = OutList { action_key: *new_key, persist: *persist, ..OutList::default() };
            place.send(OutAction::ReplaceLostReservation, Some((*kind).into()), list.encode())
        }
    }
}

impl Register {
    fn run(&self) -> Result<(), Failure> {
        let list = OutList {
            key: self.key,
            action_key: self.new_key,
            initiator_ports: (!self.initiator_port.is_empty()).then(|| self.initiator_port.clone()),
            all_target_ports: self.all_target_ports,
            persist: self.persist,
        };
        let action = if self.ignore { OutAction::RegisterAndIgnoreExistingKey } else { OutAction::Register };
        self.place.send(action, None, list.encode())
    }
}

impl Hold {
    fn run(&self, action: OutAction, action_key: u64) -> Result<(), Failure> {
        let list = OutList { key: self.key, action_key, ..OutList::default() };
        self.place.send(action, Some(self.kind.into()), list.encode())
    }
}

impl Place {
    /// Asks, and shows the answer to people or programs.
    fn show<T>(
        &self,
        cdb: &Cdb,
        decode: impl FnOnce(&[u8]) -> Result<T, DecodeError>,
        people: impl FnOnce(&T) -> String,
        programs: impl FnOnce(&T) -> Value,
    ) -> Result<(), Failure> {
        let unit = Unit::open(&self.url, &self.connection)?;
        let bytes = unit.read(cdb, ANSWER_BYTES.into()).map_err(at(&self.url))?;
        let answer =
            decode(&bytes).map_err(|error| Failure::new(Kind::Device, error.to_string()).context(&self.url))?;
        show::print(&if self.json { programs(&answer).to_string() } else { people(&answer) });
        unit.close();
        Ok(())
    }

    /// Changes something, and says so.
    fn send(&self, action: OutAction, kind: Option<ReservationType>, list: Vec<u8>) -> Result<(), Failure> {
        let cdb = Cdb::persist_out(action, kind, list.len() as u32);
        let unit = Unit::open(&self.url, &self.connection)?;
        unit.run(&cdb, Bytes::from(list)).map_err(at(&self.url))?;
        let name = cdb.descriptor().name;
        show::print(&if self.json { json!({ "done": name }).to_string() } else { format!("{name}: done") });
        unit.close();
        Ok(())
    }
}

/// Keys are shown as they are mostly written.
fn hex(key: u64) -> String {
    format!("{key:#x}")
}

fn keys_for_people(keys: &Keys) -> String {
    let lines = keys.keys.iter().map(|key| hex(*key));
    std::iter::once(format!("generation {}, {} registered", keys.generation, keys.keys.len()))
        .chain(lines)
        .collect::<Vec<_>>()
        .join("\n")
}

fn reservation_for_people(current: &CurrentReservation) -> String {
    match current.reservation {
        None => format!("generation {}, not reserved", current.generation),
        Some((key, kind)) if kind.is_of_all_registrants() && key == 0 => {
            format!("generation {}, {}", current.generation, kind.name())
        }
        Some((key, kind)) => format!("generation {}, {}, key {}", current.generation, kind.name(), hex(key)),
    }
}

fn capabilities_for_people(capabilities: &Capabilities) -> String {
    let says = |can: bool| if can { "yes" } else { "no" };
    let types = match &capabilities.types {
        None => "not told".into(),
        Some(types) => types.iter().map(|kind| kind.name()).collect::<Vec<_>>().join("; "),
    };
    format!(
        "survives a loss of power (APTPL)   {}, {}\nregisters others (SPEC_I_PT)       {}\n\
         all target ports (ALL_TG_PT)       {}\nRESERVE of holders is taken (CRH)  {}\n\
         lost ones are replaced (RLR_C)     {}\ntypes                              {types}",
        if capabilities.can_persist { "possible" } else { "not possible" },
        if capabilities.persists { "in force" } else { "not in force" },
        says(capabilities.specifies_initiator_ports),
        says(capabilities.all_target_ports),
        says(capabilities.compatible_reservation_handling),
        says(capabilities.replaces_lost),
    )
}

fn capabilities_for_programs(capabilities: &Capabilities) -> Value {
    json!({
        "can_persist": capabilities.can_persist,
        "persists": capabilities.persists,
        "specifies_initiator_ports": capabilities.specifies_initiator_ports,
        "all_target_ports": capabilities.all_target_ports,
        "compatible_reservation_handling": capabilities.compatible_reservation_handling,
        "replaces_lost": capabilities.replaces_lost,
        "types": capabilities.types.as_ref().map(|types| types.iter().map(|kind| kind.name()).collect::<Vec<_>>()),
    })
}

fn status_for_people(status: &FullStatus) -> String {
    let mut rows = table(&["initiator port", "target port", "key", "holds"]);
    for registration in &status.registrations {
        rows.add_row([
            show::text(&registration.initiator_port.to_string()),
            if registration.all_target_ports { "all".into() } else { registration.target_port.to_string() },
            hex(registration.key),
            registration.holds.map_or("", ReservationType::name).into(),
        ]);
    }
    format!("generation {}\n{}", status.generation, rows.trim_fmt())
}

fn status_for_programs(status: &FullStatus) -> Value {
    let registrations = status.registrations.iter().map(|registration| {
        json!({
            "initiator_port": registration.initiator_port.to_string(),
            "target_port": registration.target_port,
            "all_target_ports": registration.all_target_ports,
            "key": hex(registration.key),
            "holds": registration.holds.map(ReservationType::name),
        })
    });
    json!({ "generation": status.generation, "registrations": registrations.collect::<Vec<_>>() })
}
