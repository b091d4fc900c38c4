//! An iSCSI initiator for people who embed one: [`Client`].

mod config;
mod disk;
mod error;
mod firmware;
mod footprint;
mod isid;
mod mailbox;
mod management;
mod operation;
mod ports;
mod reconnection;
mod seat;
mod session;
mod sessions;
mod tasks;
mod workload;

pub use config::{ClientConfig, INITIATOR_NAME};
pub use disk::RemoteDisk;
pub use error::ClientError;
pub use firmware::FirmwareLoop;
pub use management::CommandHandle;
pub use operation::Operation;
pub use reconnection::Reconnection;
pub use workload::{Next, SessionLoop, Workload, run_workload};

use self::mailbox::{Ask, Mailbox, MailboxDriver, completion, failure};
use crate::network::{AdapterFunction, Network};
use bytes::Bytes;
use futures_channel::oneshot;
use iscsi_node::initiator::{Completion, Outcome, Request};
use iscsi_session::{Parameters, SendTargetsScope, TargetRecord};
use scsi_block::LogicalUnitNumber;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

/// A session with one target. Clones share it; it ends when the last is dropped.
///
/// It has a thread of its own, or shares one with others that share its adapter. Its calls give [`Operation`]s, which work on any executor and in blocking code.
///
/// ```
/// # use iscsi_runtime::{Disk, Server, Target};
/// use iscsi_runtime::{Client, ClientConfig};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let name = "iqn.2026-01.io.example:disk";
/// # let target = Target::new(name).lun(0, Disk::memory(1 << 20));
/// # let server = Server::builder().listen("127.0.0.1:0".parse()?).target(target).start()?;
/// # let address = server.addresses()[0].to_string();
/// let client = Client::connect(ClientConfig::new(address, name)).wait()?;
/// let disk = client.disk(0).wait()?;
/// disk.write(7, vec![0xab; 512].into()).wait()?;
/// disk.flush().wait()?;
/// assert_eq!(disk.read(7, 1).wait()?, vec![0xab; 512]);
/// client.logout().wait()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
}

/// Ends the session when the last client is gone, or when there is nobody to have the first.
struct Handle {
    mailbox: Arc<Mailbox>,
    parameters: Parameters,
    /// Commands that were given a name.
    named: AtomicU64,
}

/// Says that a session has begun, or why none has.
type Begun = oneshot::Receiver<Result<Handle, ClientError>>;

impl Drop for Handle {
    fn drop(&mut self) {
        self.mailbox.tell(Ask::Logout);
    }
}

impl Client {
    /// Connects and logs in.
    pub fn connect(config: ClientConfig) -> Operation<Self> {
        Self::connect_over(Network::kernel, vec![config]).pop().expect("one session is begun")
    }

    /// The same over a function of an adapter in the place of the kernel's TCP. The session's thread has the function until it has ended.
    pub fn connect_through(function: AdapterFunction, config: ClientConfig) -> Operation<Self> {
        Self::connect_all_through(function, vec![config]).pop().expect("one session is begun")
    }

    /// The same for several sessions, one for each configuration: a function belongs to one thread, which runs them all. It has the function
    /// until the last has ended.
    pub fn connect_all_through(function: AdapterFunction, configs: Vec<ClientConfig>) -> Vec<Operation<Self>> {
        Self::connect_over(|| Network::adapter(function), configs)
    }

    fn connect_over(network: impl FnOnce() -> io::Result<Network>, configs: Vec<ClientConfig>) -> Vec<Operation<Self>> {
        let wanted = configs.len();
        match network().map_err(ClientError::from).and_then(|network| Self::spawn(network, configs)) {
            Ok(begun) => begun.into_iter().map(|begun| Operation::new(Self::begun(begun))).collect(),
            Err(error) => (0..wanted).map(|_| Operation::new(std::future::ready(Err(error.clone())))).collect(),
        }
    }

    async fn begun(begun: Begun) -> Result<Self, ClientError> {
        let handle = begun.await.map_err(|_| ClientError::Ended)??;
        Ok(Self { handle: Arc::new(handle) })
    }

    fn spawn(network: Network, configs: Vec<ClientConfig>) -> Result<Vec<Begun>, ClientError> {
        let session = |config| {
            let (begun, begins) = oneshot::channel();
            ((config, MailboxDriver::new(Mailbox::new(network.waker()), begun)), begins)
        };
        let (sessions, begin): (Vec<_>, Vec<_>) = configs.into_iter().map(session).unzip();
        let run = move || mailbox::run(sessions, network);
        std::thread::Builder::new().name("iscsi-session".into()).spawn(run)?;
        Ok(begin)
    }

    /// What was negotiated.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.handle.parameters
    }

    /// Sends a SCSI command; its status may be any.
    pub fn execute(&self, request: Request) -> Operation<Completion> {
        Operation::new(self.command(request))
    }

    /// The disk behind a logical unit number, ready to be used.
    pub fn disk(&self, lun: u16) -> Operation<RemoteDisk> {
        let client = self.clone();
        Operation::new(async move { RemoteDisk::open(client, LogicalUnitNumber::from(lun)).await })
    }

    /// The logical unit numbers of the target.
    pub fn report_luns(&self) -> Operation<Vec<LogicalUnitNumber>> {
        let client = self.clone();
        Operation::new(async move { disk::report_luns(&client).await })
    }

    /// The targets that the portal has, which is asked in a session for discovery; see [`ClientConfig::discovery`].
    pub fn targets(&self) -> Operation<Vec<TargetRecord>> {
        let answer = self.ask(Ask::Targets(SendTargetsScope::All));
        Operation::new(async move {
            match answer.await? {
                Outcome::Targets(targets) => Ok(targets),
                other => Err(failure(&other)),
            }
        })
    }

    /// Sends a ping and gives the time until its answer.
    pub fn ping(&self, data: Bytes) -> Operation<Duration> {
        let (begin, answer) = (Instant::now(), self.ask(Ask::Ping(data)));
        Operation::new(async move {
            match answer.await? {
                Outcome::Ping(_) => Ok(begin.elapsed()),
                other => Err(failure(&other)),
            }
        })
    }

    /// Ends the session for all clones, once what was asked before has ended.
    pub fn logout(&self) -> Operation<()> {
        Operation::new(logout(self))
    }

    fn command(&self, request: Request) -> impl Future<Output = Result<Completion, ClientError>> + Send + use<> {
        let answer = self.ask(Ask::Command(request, None));
        async move { completion(answer.await?) }
    }

    /// Asks at once. The session lives at least until the answer has come, or nobody waits for it any more.
    fn ask(&self, ask: Ask) -> impl Future<Output = Result<Outcome, ClientError>> + Send + use<> {
        let (client, answer) = (self.clone(), self.handle.mailbox.ask(ask));
        async move {
            let answer = answer.await;
            drop(client);
            answer
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Client").field("parameters", self.parameters()).finish_non_exhaustive()
    }
}

fn logout(client: &Client) -> impl Future<Output = Result<(), ClientError>> + Send + use<> {
    let answer = client.ask(Ask::Logout);
    async move {
        match answer.await? {
            // A connection that breaks instead of an answer has ended the session as well.
            Outcome::Logout(_) | Outcome::Lost => Ok(()),
            other => Err(failure(&other)),
        }
    }
}

/// Asks a portal which targets there are; see [`ClientConfig::discovery`].
pub fn discover(config: ClientConfig) -> Operation<Vec<TargetRecord>> {
    let connecting = Client::connect(config);
    Operation::new(async move {
        let client = connecting.await?;
        let targets = client.targets().await?;
        logout(&client).await?;
        Ok(targets)
    })
}
