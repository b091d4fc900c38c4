//! What a running target answers at its control socket.
//!
//! ```text
//!   Service ── Request ──> Running::handle ──> Server: sessions, stores, policy, changes
//!           <── Answer ──        │
//!                                └──> Configured: what the file says
//! ```

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use iscsi_control::{Answer, Problem, Request, Service, Targets, default_path};
use iscsi_runtime::{Report, Server, ServerState, SessionSelector, SessionState, Tsih};
use parking_lot::Mutex;

mod change;
mod file;
mod shown;

use super::Configured;
use super::running::Running;
use crate::failure::{Failure, Kind};

/// How long an initiator has to log out when it is asked to, before its session is ended.
const LOGOUT_PATIENCE: Duration = Duration::from_secs(3);

/// What `--control` says in the place of a path.
const NO_SOCKET: &str = "none";

/// A server that is asked and told things until somebody ends it.
#[derive(Debug)]
pub(super) struct Controlled {
    running: Arc<Mutex<Option<Running>>>,
    service: Option<Service>,
}

impl Controlled {
    /// Listens for requests where `place` says, the option `--control`; without it at the usual place, if there is a configuration file and nobody is there.
    ///
    /// # Errors
    /// There can be no socket at the place that was asked for.
    pub(super) fn start(running: Running, place: Option<&Path>) -> Result<Self, Failure> {
        let by_file = running.configured.is_some();
        let running = Arc::new(Mutex::new(Some(running)));
        let handler = Arc::clone(&running);
        let handle = move |request| match handler.lock().as_mut() {
            Some(running) => running.handle(request),
            None => Answer::error(Problem::Refused, "the target is about to end"),
        };
        let service = match place {
            Some(place) if place == Path::new(NO_SOCKET) => None,
            Some(place) => {
                Some(Service::start(place, handle).map_err(|error| Failure::local(format!("--control {error}")))?)
            }
            None if by_file => at_usual_place(handle),
            None => None,
        };
        Ok(Self { running, service })
    }

    /// Reads the file again, as [`Running::reload`] does.
    ///
    /// # Errors
    /// Why nothing has changed.
    pub(super) fn reload(&self) -> Result<Report, Failure> {
        self.running.lock().as_mut().expect("only `end` takes the server away, once").reload()
    }

    /// Nobody is heard any more. The server, once it has done what it was told before.
    pub(super) fn end(self) -> Server {
        drop(self.service);
        self.running.lock().take().expect("only this takes the server away, once").server
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

impl Running {
    /// Does what is asked, and says how that went.
    fn handle(&mut self, request: Request) -> Answer {
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

    fn answer(&mut self, request: Request) -> Result<Answer, Failure> {
        match request {
            Request::Status => Ok(shown::status(&self.server.state(), self.configured.as_ref())),
            Request::Sessions { targets, initiator } => self.sessions(&targets, initiator.as_deref()),
            Request::Configuration { targets } => self.configuration(&targets),
            Request::Globals => Ok(shown::globals(&self.configured()?.configuration.global)),
            Request::SetGlobal { key, value } => self.set_global(&key, &value),
            Request::Start { targets, file } => self.start(targets.as_ref(), file.as_deref()),
            Request::Stop { targets } => self.stop(&targets),
            Request::Flush { targets, lun } => self.flush(&targets, lun),
            Request::Drop { session } => self.drop_session(session),
            Request::Write { file } => self.write(&file),
            Request::Policy { file } => self.load_policy(&file),
        }
    }

    fn configured(&self) -> Result<&Configured, Failure> {
        self.configured.as_ref().ok_or_else(|| {
            refused(
                "the target was started by options and has no configuration: start it with iscsi-target --config FILE",
            )
        })
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
        Ok(Answer::Sessions { sessions: state.sessions.iter().filter(wanted).map(shown::session).collect() })
    }

    fn configuration(&self, targets: &Targets) -> Result<Answer, Failure> {
        let configured = self.configured()?;
        let names = chosen(&self.server.state(), targets)?;
        Ok(shown::configuration(&configured.configuration, &names))
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
            return Err(Failure::usage(format!(
                "there is no session {handle}: iscsictl -r shows those that there are"
            )));
        }
        if dropped.left > 0 {
            return Err(refused("the session ends when its block I/O has come back, which it has not yet"));
        }
        let how = if dropped.ended > 0 { "has not logged out in time and was ended" } else { "has ended" };
        Ok(Answer::Done { notes: vec![format!("session {handle} {how}")] })
    }

    fn write(&self, file: &Path) -> Result<Answer, Failure> {
        let text = self.configured()?.configuration.to_text();
        file::replace(file, &text).map_err(|error| Failure::local(format!("{}: {error}", file.display())))?;
        Ok(Answer::Done { notes: vec![format!("{} holds what is in force", file.display())] })
    }

    fn load_policy(&self, file: &Path) -> Result<Answer, Failure> {
        let name = file.display().to_string();
        let bytes =
            file::read(file, t5_policy::FILE_BYTES_MAX).map_err(|error| Failure::local(format!("{name}: {error}")))?;
        let program = crate::policy::program(&name, &bytes)
            .map_err(|lines| Failure::usages(lines).unwrap_or_else(|| Failure::usage("it is no policy")))?;
        let rules = program.rules().count();
        self.server.set_policy(program).map_err(|error| refused(format!("{name}: {error}")))?;
        Ok(Answer::Done { notes: vec![format!("{name}: {rules} rules decide on connections from now on")] })
    }
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
