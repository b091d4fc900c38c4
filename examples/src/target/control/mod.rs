//! What a running target answers at its control socket.
//!
//! ```text
//!   Service ── Request ──> Shared: files are read ──> Running ──> Server: sessions, stores, policy, changes
//!           <── Answer ──                                └──────> Configured: what the file says
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use iscsi_control::{Answer, Problem, Request, Service, Targets, default_path};
use iscsi_runtime::{Server, ServerState, SessionSelector, SessionState, ShutdownNotice, Tsih};
use parking_lot::Mutex;
use t5_policy::Program;

mod change;
mod shown;

use super::Configured;
use super::running::Running;
use crate::failure::{Failure, Kind};
use crate::file;
use crate::t5::counted;
pub(super) use change::Told;

/// How long an initiator has to log out when it is asked to, before its session is ended.
const LOGOUT_PATIENCE: Duration = Duration::from_secs(3);

/// What `--control` says in the place of a path.
const NO_SOCKET: &str = "none";

/// A server that is asked and told things until somebody ends it.
#[derive(Debug)]
pub(super) struct Controlled {
    shared: Arc<Shared>,
    service: Option<Service>,
    notice: ShutdownNotice,
}

/// What requests and signals have in common.
#[derive(Debug)]
struct Shared {
    /// Held by whoever asks for something, from the first look at a file on: one thing is done after another.
    turn: Mutex<()>,
    /// Held while something is asked of the server or changed, and never while a file is read. None once it is to end.
    running: Mutex<Option<Running>>,
}

impl Controlled {
    /// Listens for requests where `place` says, the option `--control`; without it at the usual place, if there is a configuration file and nobody is there.
    ///
    /// # Errors
    /// There can be no socket at the place that was asked for.
    pub(super) fn start(running: Running, place: Option<&Path>) -> Result<Self, Failure> {
        let by_file = running.configured.is_some();
        let notice = running.server.shutdown_notice();
        let shared = Arc::new(Shared { turn: Mutex::new(()), running: Mutex::new(Some(running)) });
        let handler = Arc::clone(&shared);
        let handle = move |request| handler.handle(request);
        let service = match place {
            Some(place) if place == Path::new(NO_SOCKET) => None,
            Some(place) => {
                Some(Service::start(place, handle).map_err(|error| Failure::local(format!("--control {error}")))?)
            }
            None if by_file => at_usual_place(handle),
            None => None,
        };
        Ok(Self { shared, service, notice })
    }

    /// Reads the file again and makes the server what it says, as often as it is called, on any thread; targets that are stopped stay so. It gives
    /// why nothing has changed: there is no file, it is wrong, or the server cannot be what it says.
    pub(super) fn reloads(&self) -> impl Fn() -> Result<Told, Failure> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move || {
            let _turn = shared.turn.lock();
            let read = shared.read(None)?.ok_or_else(no_configuration)?;
            shared.with(|running| running.reload(read))
        }
    }

    /// Nobody is heard any more. The server, which leaves undone what takes long of what it was told before.
    pub(super) fn end(self) -> Server {
        self.notice.give();
        drop(self.service);
        self.shared.running.lock().take().expect("only this takes the server away, once").server
    }
}

/// Nobody has asked for this socket, so the target serves without it if there can be none.
fn at_usual_place(handle: impl FnMut(Request) -> Answer + Send + 'static) -> Option<Service> {
    let place = default_path()?;
    match Service::start(&place, handle) {
        Ok(service) => {
            tracing::info!("iscsictl reaches this target at {}", place.display());
            Some(service)
        }
        Err(error) => {
            tracing::warn!("iscsictl does not reach this target unless --control PATH says where: {error}");
            None
        }
    }
}

impl Shared {
    /// Does what is asked, and says how that went.
    fn handle(&self, request: Request) -> Answer {
        let answer = self.answer(request);
        if let Ok(Answer::Done { notes }) = &answer {
            notes.iter().for_each(|note| tracing::info!("iscsictl: {note}"));
        }
        answer.unwrap_or_else(|failure| {
            let problem = match failure.kind() {
                Kind::Usage => Problem::Wrong,
                Kind::Local => Problem::System,
                _ => Problem::Refused,
            };
            Answer::Error { problem, messages: failure.to_string().lines().map(str::to_owned).collect() }
        })
    }

    fn answer(&self, request: Request) -> Result<Answer, Failure> {
        let _turn = self.turn.lock();
        match request {
            Request::Status => {
                self.with(|running| Ok(shown::status(&running.server.state(), running.configured.as_ref())))
            }
            Request::Sessions { targets, initiator } => {
                self.with(|running| running.sessions(&targets, initiator.as_deref()))
            }
            Request::Adapter => self.with(|running| running.adapter()),
            Request::Configuration { targets } => self.with(|running| running.shown(&targets)),
            Request::Globals => self.with(|running| Ok(shown::globals(&running.configuration()?.0.global))),
            Request::SetGlobal { key, value } => self.with(|running| running.set_global(&key, &value)),
            Request::Start { targets, file } => {
                let read = self.read(file)?;
                self.with(|running| running.start(targets.as_ref(), read))
            }
            Request::Stop { targets } => self.with(|running| running.stop(&targets)),
            Request::Flush { targets, lun } => self.with(|running| running.flush(&targets, lun)),
            Request::Drop { session } => self.with(|running| running.drop_session(session)),
            Request::Write { file } => self.with(|running| running.write(&file)),
            Request::Policy { file } => load_policy(&file).and_then(|policy| {
                let rules = policy.rules().count();
                self.with(|running| running.set_policy(&file, policy))?;
                let note = format!("{}: {rules} rules decide on connections from now on", file.display());
                Ok(Answer::Done { notes: vec![note] })
            }),
        }
    }

    /// Does something with the target as it is.
    fn with<V>(&self, act: impl FnOnce(&mut Running) -> Result<V, Failure>) -> Result<V, Failure> {
        act(self.running.lock().as_mut().ok_or_else(|| refused("the target is about to end"))?)
    }

    /// Reads a file, or the one that the target has; nothing if it has none.
    fn read(&self, file: Option<PathBuf>) -> Result<Option<Configured>, Failure> {
        let own = |running: &mut Running| Ok(running.configured.as_ref().map(|running| running.file().to_owned()));
        let file = file.map_or_else(|| self.with(own), |file| Ok(Some(file)))?;
        file.map(|file| Configured::read(&file)).transpose()
    }
}

impl Running {
    fn configured(&self) -> Result<&Configured, Failure> {
        self.configured.as_ref().ok_or_else(no_configuration)
    }

    fn sessions(&self, targets: &Targets, initiator: Option<&str>) -> Result<Answer, Failure> {
        let state = self.server.state();
        let names = match targets {
            Targets::All => None,
            named => Some(chosen(&state, named)?),
        };
        let wanted = |session: &&SessionState| {
            let has = |name: &String| names.as_ref().is_none_or(|names| names.contains(name));
            session.target_name.as_ref().map_or(names.is_none(), has)
                && initiator.is_none_or(|name| session.initiator_name == name)
        };
        let sessions = state.sessions.iter().filter(wanted).map(shown::session).collect();
        Ok(Answer::Sessions { sessions, silent_cores: state.silent_cores })
    }

    fn adapter(&self) -> Result<Answer, Failure> {
        let adapter = self.adapter.as_ref().ok_or_else(|| {
            refused("the target is on no adapter: start it with iscsi-target --port t5-model --tap NAME --address IP/PREFIX")
        })?;
        Ok(Answer::Adapter(counted(adapter)))
    }

    fn shown(&self, targets: &Targets) -> Result<Answer, Failure> {
        let (configuration, notes) = self.configuration()?;
        let names = chosen(&self.server.state(), targets)?;
        Ok(shown::configuration(configuration, &names, notes))
    }

    fn flush(&self, targets: &Targets, lun: Option<u16>) -> Result<Answer, Failure> {
        let state = self.server.state();
        let names = chosen(&state, targets)?;
        let units = state.targets.iter().filter(|target| names.contains(&target.name)).flat_map(|target| {
            let luns = target.luns.iter().map(|unit| unit.number);
            luns.filter(|number| lun.is_none_or(|lun| lun == *number)).map(move |number| (&target.name, number))
        });
        let mut notes = Vec::new();
        for (name, number) in units {
            self.server
                .flush(name, number)
                .map_err(|error| Failure::local(format!("{name}, LUN {number}: {error}")))?;
            notes.push(format!("{name}: LUN {number} is flushed"));
        }
        match lun {
            Some(lun) if notes.is_empty() => Err(Failure::usage(format!("there is no LUN {lun}"))),
            _ => Ok(Answer::Done { notes }),
        }
    }

    fn drop_session(&self, handle: u16) -> Result<Answer, Failure> {
        let dropped = self.server.drop_sessions(&SessionSelector::Tsih(Tsih(handle)), LOGOUT_PATIENCE);
        if dropped.asked == 0 {
            return Err(match dropped.silent_cores {
                0 => Failure::usage(format!("there is no session {handle}: iscsictl -r shows those that there are")),
                silent => refused(format!(
                    "no session {handle} is among those that are known, and threads of the target that do not answer: {silent}"
                )),
            });
        }
        if dropped.left > 0 {
            return Err(refused("the session ends when its block I/O has come back, which it has not yet"));
        }
        let how = if dropped.ended > 0 { "has not logged out in time and was ended" } else { "has ended" };
        Ok(Answer::Done { notes: vec![format!("session {handle} {how}")] })
    }

    fn write(&self, file: &Path) -> Result<Answer, Failure> {
        let text = self.text()?;
        file::replace(file, &text).map_err(|error| Failure::local(format!("{}: {error}", file.display())))?;
        Ok(Answer::Done { notes: vec![format!("{} holds what is in force", file.display())] })
    }

    fn set_policy(&self, file: &Path, policy: Program) -> Result<(), Failure> {
        self.server.set_policy(policy).map_err(|error| refused(format!("{}: {error}", file.display())))
    }
}

/// The offload policy of a file.
fn load_policy(file: &Path) -> Result<Program, Failure> {
    let name = file.display().to_string();
    let bytes = file::open(file).and_then(|opened| file::read(opened, t5_policy::FILE_BYTES_MAX));
    let bytes = bytes.map_err(|error| Failure::local(format!("{name}: {error}")))?;
    crate::policy::program(&name, &bytes)
        .map_err(|lines| Failure::usages(lines).unwrap_or_else(|| Failure::usage("it is no policy")))
}

fn no_configuration() -> Failure {
    refused("the target was started by options and has no configuration: start it with iscsi-target --config FILE")
}

/// The target cannot do that as it is.
fn refused(message: impl Into<String>) -> Failure {
    Failure::new(Kind::Device, message)
}

/// The names of the targets that are meant.
fn chosen(state: &ServerState, targets: &Targets) -> Result<BTreeSet<String>, Failure> {
    let all: BTreeSet<String> = state.targets.iter().map(|target| target.name.clone()).collect();
    let Targets::Named(names) = targets else { return Ok(all) };
    match names.iter().find(|name| !all.contains(*name)) {
        Some(name) => {
            let all: Vec<String> = all.into_iter().collect();
            Err(Failure::usage(format!("there is no target {name}: there is {}", all.join(", "))))
        }
        None => Ok(names.iter().cloned().collect()),
    }
}
