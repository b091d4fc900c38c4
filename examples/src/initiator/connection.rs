//! How the initiator reaches a target: flags and a URL in, a configuration or a session out.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use iscsi_runtime::url::Url;
use iscsi_runtime::{
    AdapterFunction, Authentication, Client, ClientConfig, Escalation, INITIATOR_NAME, Isid, Limits, Operation,
    Reconnection,
};
use iscsi_session::{ChapAlgorithm, Credential, normalise_name};

use crate::cable::Cable;
use crate::digest::{self, Digest, recoverable};
use crate::failure::Failure;
use crate::parse::{self, Limit, hidden};
use crate::secret::{self, CredentialFile};
use crate::t5::{Model, Port};

/// Holds the secret of the user that a URL names.
pub const SECRET_VARIABLE: &str = "ISCSI_CHAP_SECRET";
/// Holds the secret of the `target_user` that a URL names.
pub const MUTUAL_SECRET_VARIABLE: &str = "ISCSI_MUTUAL_CHAP_SECRET";

/// The flags that every subcommand has.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// What connections go through: TCP of the kernel, or a Chelsio T5 adapter in software, which does TCP and iSCSI in its place and reaches
    /// what is behind the TAP device of --tap. Without URL, bench has a target of its own: on the same adapter, or in this process with nothing
    /// between
    #[arg(long, value_enum, value_name = "PORT", default_value_t = Port::Kernel)]
    pub port: Port,

    #[command(flatten)]
    cable: Cable,

    /// Logs in with CHAP as USER, with the first line of FILE as secret
    #[arg(long, value_name = "USER:FILE", value_parser = hidden::<CredentialFile>())]
    chap: Option<CredentialFile>,

    /// Asks the target to prove that it is USER and knows the first line of FILE
    #[arg(long, value_name = "USER:FILE", value_parser = hidden::<CredentialFile>())]
    mutual_chap: Option<CredentialFile>,

    /// Whether digests protect headers [default: what the URL says, or else any]
    #[arg(long, value_name = "DIGEST")]
    header_digest: Option<Digest>,

    /// Whether digests protect data [default: what the URL says, or else any]
    #[arg(long, value_name = "DIGEST")]
    data_digest: Option<Digest>,

    /// Error recovery level to ask for, of RFC 7143 section 7.1.5; with 1, what digests find wrong is sent again within the session;
    /// with 2, commands outlive their connection
    #[arg(long, value_name = "LEVEL", default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=2))]
    error_recovery_level: u8,

    /// Connections of each session, if the target takes as many; commands spread over them, and one that is lost is replaced
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    connections: u16,

    /// Our name, in iqn., eui. or naa. form
    #[arg(long, value_name = "NAME", default_value = INITIATOR_NAME, value_parser = normalise_name)]
    initiator_name: String,

    /// Our part of the session's name, which persistent reservations go by: twelve hexadecimal digits
    /// [default: made of our name, and the same whenever we log in]
    #[arg(long, value_name = "ISID", value_parser = parse::isid)]
    isid: Option<Isid>,

    /// Time that connecting and logging in may take
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = parse::duration)]
    timeout: Duration,

    /// Time that a command may take before it is aborted, and harder measures are taken if that is no help; or `none`
    #[arg(long, value_name = "TIME", default_value = "30s")]
    command_timeout: Limit,

    /// Logs in again after the session was lost, for so long, and gives commands again where that does no harm to a disk that nobody
    /// else writes to; or `none`
    #[arg(long, value_name = "TIME", default_value = "none")]
    reconnect: Limit,

    /// Writes everything sent and received to a pcapng file, which Wireshark reads
    #[arg(long, value_name = "FILE")]
    capture: Option<PathBuf>,
}

impl Connection {
    /// How to log in to what `url` names; to its portal, if it names no target.
    ///
    /// # Errors
    /// A secret is missing or cannot be used, or flags and URL contradict each other.
    pub fn config(&self, url: &Url) -> Result<ClientConfig, Failure> {
        let config = match url.target_name() {
            Some(name) => ClientConfig::new(url.address(), name),
            None => ClientConfig::discovery(url.address()),
        };
        let digest =
            |flag: Option<Digest>, wanted: Option<bool>| flag.or(wanted.map(Digest::wanted)).unwrap_or(Digest::Any);
        let header = digest(self.header_digest, url.header_digest());
        let data = digest(self.data_digest, url.data_digest());
        let config = config
            .initiator_name(&self.initiator_name)
            .authentication(self.authentication(url)?)
            .limits(digest::limits(header, data))
            .connections(self.connections)
            .error_recovery_level(self.error_recovery_level)
            .timeout(self.timeout)
            .escalation(
                self.command_timeout.0.map(|time| Escalation { command_timeout: time, ..Escalation::default() }),
            )
            .reconnection(self.reconnect.0.map(|outage_max| Reconnection { outage_max, ..Reconnection::default() }));
        let config = match self.isid {
            Some(isid) => config.isid(isid),
            None => config,
        };
        Ok(match &self.capture {
            Some(file) => config.capture(file),
            None => config,
        })
    }

    /// Logs in to the target that `url` names.
    ///
    /// # Errors
    /// As [`config`](Self::config) and [`adapter`](Self::adapter), or the login fails.
    pub fn connect(&self, url: &Url) -> Result<Session, Failure> {
        Ok(self.connect_all(&[url])?.pop().expect("there is a session for each URL"))
    }

    /// Logs in to the targets that `urls` name, once for each: at once, since an adapter that they go through has to know of them all.
    ///
    /// # Errors
    /// As [`connect`](Self::connect), for any of them.
    pub fn connect_all(&self, urls: &[&Url]) -> Result<Vec<Session>, Failure> {
        let configs = urls.iter().map(|url| self.config(url)).collect::<Result<Vec<_>, _>>()?;
        let (model, clients) = match self.adapter()? {
            Some((model, function)) => (Some(Arc::new(model)), Client::connect_all_through(function, configs)),
            None => (None, configs.into_iter().map(Client::connect).collect()),
        };
        let session = |(client, url): (Operation<Client>, &&Url)| {
            Ok(Session { client: client.wait().map_err(at(url))?, _model: model.clone() })
        };
        clients.into_iter().zip(urls).map(session).collect()
    }

    /// The adapter that reaches others in the place of the kernel's TCP, if there is to be one.
    ///
    /// # Errors
    /// It has no cable, the cable has no adapter, or the adapter does not come up.
    pub fn adapter(&self) -> Result<Option<(Model, AdapterFunction)>, Failure> {
        match (self.port, self.cable.ends()) {
            (Port::Kernel, None) => Ok(None),
            (Port::T5Model, Some((tap, address))) => Model::start_initiator_behind_tap(tap, address).map(Some),
            (Port::T5Model, None) => Err(Failure::usage(
                "--port t5-model: others are reached through a TAP device: add --tap NAME and --address IP/PREFIX",
            )),
            (Port::Kernel, Some(_)) => Err(Failure::usage("--tap is the cable of an adapter: add --port t5-model")),
            (Port::Loopback, _) => Err(Failure::usage(
                "--port loopback: nobody outside this process is reached; it is for bench without URL",
            )),
        }
    }

    /// Refuses `sessions` at a time where there are flags that are about one.
    ///
    /// # Errors
    /// There is more than one session.
    pub fn check_sessions(&self, sessions: usize) -> Result<(), Failure> {
        match (sessions, self.capture.is_some(), self.isid.is_some()) {
            (0 | 1, _, _) | (_, false, false) => Ok(()),
            (_, true, _) => Err(Failure::usage(format!("--capture holds one session, and not {sessions}"))),
            (_, _, true) => Err(Failure::usage(format!("--isid names one session, and not {sessions}"))),
        }
    }

    /// The same without a capture, for sessions that are not what it is about.
    #[must_use]
    pub fn without_capture(&self) -> Self {
        Self { capture: None, ..self.clone() }
    }

    /// What a target of our own has to offer for this.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let digests = digest::limits(Digest::Any, Digest::Any);
        recoverable(Limits {
            max_connections: self.connections,
            error_recovery_level: self.error_recovery_level,
            ..digests
        })
    }

    fn authentication(&self, url: &Url) -> Result<Authentication, Failure> {
        let ours = credential(url.user(), self.chap.as_ref(), SECRET_VARIABLE, "--chap")?;
        let theirs = credential(url.target_user(), self.mutual_chap.as_ref(), MUTUAL_SECRET_VARIABLE, "--mutual-chap")?;
        match (ours, theirs) {
            (None, None) => Ok(Authentication::None),
            (None, Some(_)) => {
                let message =
                    "a target proves who it is only to an initiator that does too: give --chap USER:FILE as well";
                Err(Failure::usage(message))
            }
            (Some(ours), theirs) => Authentication::chap(vec![ours], theirs, ChapAlgorithm::INTEROPERABLE.to_vec())
                .map_err(|error| Failure::usage(error.to_string())),
        }
    }
}

/// The credential that URL, flag and environment give together.
fn credential(
    user: Option<&str>,
    file: Option<&CredentialFile>,
    variable: &str,
    flag: &str,
) -> Result<Option<Credential>, Failure> {
    match (user, file) {
        (None, None) => Ok(None),
        (None, Some(file)) => file.read().map(Some),
        (Some(user), None) => secret::from_environment(user, variable, flag).map(Some),
        (Some(user), Some(file)) if file.user == user => file.read().map(Some),
        (Some(user), Some(file)) => {
            Err(Failure::usage(format!("the URL names the user {user}, and {flag} the user {}", file.user)))
        }
    }
}

/// A session, and the adapter that it goes through with others, which ends after the last of them.
#[derive(Debug)]
pub struct Session {
    client: Client,
    _model: Option<Arc<Model>>,
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// What went wrong at a URL.
pub fn at<E: Into<Failure>>(url: &Url) -> impl Fn(E) -> Failure {
    move |error| error.into().context(url)
}

/// The logical unit of a URL that has to name one.
///
/// # Errors
/// It names none.
pub fn lun(url: &Url) -> Result<u16, Failure> {
    url.lun().ok_or_else(|| {
        Failure::usage(format!(
            "{url} names no logical unit: write iscsi://host[:port]/target/lun, as `discover` and `luns` show them"
        ))
    })
}
