//! The command line of `iscsi-target`, and the server that it asks for.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use iscsi_runtime::{Authentication, Limits, PortalGroup, Server, ServerBuilder, StoreSpec, Target};
use iscsi_session::{ChapAlgorithm, Credential, normalise_name};

use super::running::Running;
use super::{AdapterArguments, Configured, Started, TARGET_NAME, failure, url};
use crate::digest::{self, Digest, recoverable};
use crate::failure::Failure;
use crate::parse::{self, Cores, Redirection, hidden, listen_in_group, portal_group, portal_in_group, redirection};
use crate::secret::CredentialFile;
use crate::t5::Model;

/// Where to listen unless another address is given.
const LISTEN: &str = "127.0.0.1:3260";

/// How long a login may take where options say what is served.
pub(super) const LOGIN_TIMEOUT: Duration = Duration::from_secs(15);

/// Commands that a session may have under way there.
pub(super) const WINDOW_COMMANDS: u32 = 256;

const HELP: &str = "\
Examples:
  iscsi-target
      serves a disk of 1 GiB in memory at iscsi://127.0.0.1:3260/iqn.2026-01.io.ferriscsi:disk/0
  iscsi-target --listen 0.0.0.0:3260 --lun file:/srv/disk.img,size=100G
      serves a file, made if need be and sparse, to the network
  iscsi-target --lun file:/srv/system.img,ro --lun file:/dev/nvme0n1,direct,block=4096
      serves a read-only LUN 0 and a block device as LUN 1
  iscsi-target --chap alice:/etc/iscsi/alice --mutual-chap disk:/etc/iscsi/disk
      lets in alice, whose secret is the first line of /etc/iscsi/alice, and nobody else;
      proves to her, if she asks, to be disk (discovery tells everybody the target's name,
      and is proven where the initiator wants it)
  iscsi-target --listen 192.0.2.1 --listen 198.51.100.1,group=2 --portal-group 2=non-optimized
      two ways to the same disk for multipath initiators, of which the first is the better
  iscsi-target --listen '[::]:3260' --listen 0.0.0.0:3260 --log debug
      listens on all addresses, IPv6 and IPv4, and tells much

  iscsi-target --port t5-model --tap t5 --address 192.0.2.4/24
      listens at 192.0.2.4:3260 on a Chelsio T5 adapter in software, whose cable ends at the TAP
      device t5; `ip address add 192.0.2.1/24 dev t5; ip link set t5 up` lets this host reach it

  iscsi-target --check /etc/chelsio-iscsi/chiscsi.conf
      says what is wrong with the configuration file of a Chelsio iSCSI target, if anything
  iscsi-target --config /etc/chelsio-iscsi/chiscsi.conf
      serves the targets of that file at the addresses of their portal groups; iscsictl tells
      what they do and changes it

A line `ready URL` for each --listen on stdout says that initiators may connect;
all else goes to stderr. SIGTERM or SIGINT: no new logins, running commands end,
disks are flushed, exit within 5 s; a later second signal ends the process at once.
SIGHUP reads the file of --config again: devices and portals change at once, keys for
new logins, and sessions that no change names go on; if the file is wrong or asks for
what cannot be, nothing changes. stderr tells what has changed, or why nothing has.
Without --config SIGHUP ends the process, at once.

Exit codes:
  0  ended by a signal
  2  the command line is wrong
  6  a file, an address, or the system";

/// Options that say what a configuration file says.
const SAID_BY_FILE: [&str; 13] = [
    "listen",
    "portal_group",
    "target",
    "lun",
    "chap",
    "mutual_chap",
    "allow_initiator",
    "header_digest",
    "data_digest",
    "max_connections",
    "error_recovery_level",
    "advertise",
    "redirect",
];

/// Serves disks over iSCSI.
#[derive(Debug, Parser)]
#[command(name = "iscsi-target", version, after_help = HELP, max_term_width = 110)]
pub struct Arguments {
    /// Serves what a chiscsi.conf says, the configuration file of a Chelsio iSCSI target, in place of all that says the same here
    #[arg(long, value_name = "FILE", conflicts_with_all = SAID_BY_FILE)]
    pub(super) config: Option<PathBuf>,

    /// Reads a chiscsi.conf, says all that is wrong with it, and starts nothing
    #[arg(long, value_name = "FILE", exclusive = true)]
    pub(super) check: Option<PathBuf>,

    /// Address to listen on, IPv4 or [IPv6]; port 0 takes any free one; may be repeated. Those of one portal group, 1 unless it is
    /// said, share the connections of a session; to multipath initiators each group is a way of its own
    #[arg(long, value_name = "ADDRESS[:PORT][,group=TAG]", default_value = LISTEN, value_parser = listen_in_group)]
    pub(super) listen: Vec<(SocketAddr, u16)>,

    #[command(flatten)]
    pub(super) adapter: AdapterArguments,

    /// How the disks are reached through a portal group until an initiator changes that: active (unless it is said), non-optimized,
    /// standby or unavailable; may be repeated
    #[arg(long, value_name = "TAG=STATE[,preferred]", value_parser = portal_group)]
    pub(super) portal_group: Vec<PortalGroup>,

    /// Name of the target, in iqn., eui. or naa. form
    #[arg(long, value_name = "NAME", default_value = TARGET_NAME, value_parser = normalise_name)]
    pub(super) target: String,

    /// A disk: memory:SIZE[,limit=SIZE], null:SIZE (keeps no data) or file:PATH[,size=SIZE][,ro][,direct][,wce=on|off], each with
    /// [,block=512|4096][,physical=SIZE][,removable][,pi=1|2|3][,serial=TEXT]; SIZE may end in K, M, G, T; may be
    /// repeated for LUN 0, 1, ...
    #[arg(long, value_name = "SPEC", default_value = "memory:1G")]
    pub(super) lun: Vec<StoreSpec>,

    /// Lets USER log in, who proves with CHAP to know the first line of FILE; may be repeated
    #[arg(long, value_name = "USER:FILE", value_parser = hidden::<CredentialFile>())]
    pub(super) chap: Vec<CredentialFile>,

    /// Proves to initiators that ask for it, as USER, to know the first line of FILE
    #[arg(long, value_name = "USER:FILE", value_parser = hidden::<CredentialFile>(), requires = "chap")]
    pub(super) mutual_chap: Option<CredentialFile>,

    /// Lets in this initiator, and no other that is not named as well; may be repeated
    #[arg(long, value_name = "NAME", value_parser = normalise_name)]
    pub(super) allow_initiator: Vec<String>,

    /// Lets initiators reset the target as a whole, which ends the commands of all of them
    #[arg(long)]
    pub(super) resettable: bool,

    /// Digests that protect headers
    #[arg(long, value_name = "DIGEST", default_value = "any")]
    pub(super) header_digest: Digest,

    /// Digests that protect data
    #[arg(long, value_name = "DIGEST", default_value = "any")]
    pub(super) data_digest: Digest,

    /// Connections that a session may have, if the initiator wants several
    #[arg(long, value_name = "NUMBER", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) max_connections: u16,

    /// Error recovery level that an initiator may want, of RFC 7143 section 7.1.5
    #[arg(long, value_name = "LEVEL", default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=2))]
    pub(super) error_recovery_level: u8,

    /// Address that discovery tells, instead of those that are listened on; for targets behind NAT; may be repeated
    #[arg(long, value_name = "HOST[:PORT][,group=TAG]", value_parser = portal_in_group)]
    pub(super) advertise: Vec<(String, u16)>,

    /// URL at which the target is managed, for initiators to be told; may be repeated
    #[arg(long, value_name = "URL")]
    pub(super) management_url: Vec<String>,

    /// Sends initiators that log in to this address, for a time, or for good with `,permanent`; nobody is let in here
    #[arg(long, value_name = "HOST[:PORT][,permanent]", value_parser = redirection)]
    pub(super) redirect: Option<Redirection>,

    /// Socket at which iscsictl asks and tells this target things, for its owner and root alone; none for no socket [default: with
    /// --config /run/ferriscsi.sock for root, $XDG_RUNTIME_DIR/ferriscsi.sock for others, unless another target is there; none without]
    #[arg(long, value_name = "PATH|none")]
    pub(super) control: Option<PathBuf>,

    /// Folder in which to keep what has to be known after a loss of power: persistent reservations (APTPL), access states; made if need be
    #[arg(long, value_name = "DIRECTORY")]
    pub(super) state: Option<PathBuf>,

    /// Number of threads that serve; or `cpu:` and processors, such as cpu:0,2-3, each of which has a thread that never leaves it
    /// [default: one a processor]
    #[arg(long, value_name = "NUMBER|cpu:LIST", value_parser = parse::cores)]
    pub(super) cores: Option<Cores>,

    /// Microseconds that a thread which has just served several commands looks for more before it sleeps; 0 never does
    #[arg(long, value_name = "NUMBER", default_value = "200", value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub(super) busy_poll: u32,

    /// Writes everything sent and received to a pcapng file, which Wireshark reads; it grows without limit
    #[arg(long, value_name = "FILE")]
    pub(super) capture: Option<PathBuf>,

    /// What to tell on stderr: error, warn, info, debug or trace, or a filter such as info,iscsi_runtime=debug
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub(super) log: String,
}

impl Arguments {
    /// Opens the disks, reads the secrets and starts the server.
    ///
    /// # Errors
    /// What cannot be opened, read or listened on.
    pub(super) fn start(&self) -> Result<Started, Failure> {
        let configured = self.config.as_deref().map(Configured::read).transpose()?;
        let mut builder = match &configured {
            Some(configured) => configured.builder()?,
            None => self.builder()?,
        };
        builder = builder.busy_poll(Duration::from_micros(self.busy_poll.into()));
        match &self.cores {
            Some(Cores::Number(number)) => builder = builder.cores(*number),
            Some(Cores::Processors(processors)) => {
                builder = builder.cores(processors.len()).processors(processors.as_slice());
            }
            None => {}
        }
        if let Some(folder) = &self.state {
            builder = builder.state(folder);
        }
        if let Some(file) = &self.capture {
            builder = builder.capture(file);
        }
        let (builder, model) = self.adapter.attach(builder)?;
        let server = builder.start().map_err(|error| match &configured {
            Some(configured) => configured.explain(&error),
            None => failure(&error, error.to_string()),
        })?;
        let urls = match &configured {
            Some(configured) => {
                configured.notes().iter().for_each(|note| tracing::warn!("{note}"));
                configured.urls(&server.addresses())
            }
            None => server.addresses().iter().map(|address| url(*address, &self.target)).collect(),
        };
        let spelled = configured.is_none().then(|| self.spelled(&server.addresses()));
        let running = Running { server, adapter: model.as_ref().map(Model::adapter), configured, spelled };
        Ok(Started { running, urls, model })
    }

    /// What the command line says of the target.
    fn builder(&self) -> Result<ServerBuilder, Failure> {
        let authentication = self.authentication()?;
        let mut builder = Server::builder().discovery_authentication(authentication.clone().or_none());
        builder = builder.login_timeout(LOGIN_TIMEOUT).limits(self.limits());
        builder = builder.target(self.target(authentication)?.window(WINDOW_COMMANDS));
        let listen = self.adapter.listen(&self.listen, LISTEN.parse().expect("it is an address"))?;
        builder = listen.into_iter().fold(builder, |builder, (address, tag)| builder.listen_in_group(address, tag));
        builder = self.portal_group.iter().fold(builder, |builder, group| builder.portal_group(*group));
        let advertised = self.advertise.iter();
        Ok(advertised.fold(builder, |builder, (address, tag)| builder.advertise_in_group(address, *tag)))
    }

    fn target(&self, authentication: Authentication) -> Result<Target, Failure> {
        let mut target = Target::new(&self.target).authentication(authentication).resettable(self.resettable);
        for (number, spec) in (0..).zip(&self.lun) {
            target = target.lun(number, spec.clone());
        }
        target = self.management_url.iter().fold(target, |target, url| target.management_address(url));
        if let Some(Redirection { address, permanent }) = &self.redirect {
            target = target.redirect(address, *permanent);
        }
        Ok(self.allow_initiator.iter().fold(target, |target, name| target.allow_initiator(name)))
    }

    /// What is negotiated at most.
    pub(super) fn limits(&self) -> Limits {
        let digests = digest::limits(self.header_digest, self.data_digest);
        let Self { max_connections, error_recovery_level, .. } = *self;
        recoverable(Limits { max_connections, error_recovery_level, ..digests })
    }

    /// Who may log in by CHAP, and as whom the target proves itself.
    pub(super) fn credentials(&self) -> Result<(Vec<Credential>, Option<Credential>), Failure> {
        let users = self.chap.iter().map(CredentialFile::read).collect::<Result<_, _>>()?;
        Ok((users, self.mutual_chap.as_ref().map(CredentialFile::read).transpose()?))
    }

    fn authentication(&self) -> Result<Authentication, Failure> {
        let (users, ours) = self.credentials()?;
        if users.is_empty() {
            return Ok(Authentication::None);
        }
        Authentication::chap(users, ours, ChapAlgorithm::ALL.to_vec())
            .map_err(|error| Failure::usage(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn error(arguments: &[&str]) -> String {
        let words = std::iter::once("iscsi-target").chain(arguments.iter().copied());
        let error = Arguments::try_parse_from(words).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn nothing_given_is_a_gigabyte_of_memory_on_loopback() {
        let arguments = Arguments::try_parse_from(["iscsi-target"]).unwrap();
        assert_eq!(arguments.listen, [("127.0.0.1:3260".parse().unwrap(), 1)]);
        assert_eq!(arguments.lun, ["memory:1G".parse().unwrap()]);
        assert_eq!(arguments.target, TARGET_NAME);
    }

    #[test]
    fn errors_name_the_flag_and_what_was_expected() {
        let wrong = [
            (&["--lun", "memory:lots"][..], &["--lun <SPEC>", "expected a number with an optional suffix"][..]),
            (&["--listen", "localhost:3260"], &["--listen <ADDRESS[:PORT][,group=TAG]>", "expected an IP address"]),
            (&["--listen", "[::1]:3260,group=0"], &["--listen <ADDRESS[:PORT][,group=TAG]>", "1 to 65535"]),
            (&["--advertise", "storage:port"], &["--advertise <HOST[:PORT][,group=TAG]>", "expected a host name"]),
            (&["--portal-group", "2=gone"], &["--portal-group <TAG=STATE[,preferred]>", "such as 2=standby"]),
            (&["--redirect", "storage,forever"], &["--redirect <HOST[:PORT][,permanent]>", "expected a host name"]),
            (&["--target", "disk"], &["--target <NAME>", "expected iqn."]),
            (&["--cores", "0"], &["--cores <NUMBER|cpu:LIST>", "expected a number from 1 to 1024, or processors"]),
            (&["--cores", "cpu:1-0"], &["--cores <NUMBER|cpu:LIST>", "expected processors, such as 0,1 or 0-3"]),
            (&["--cores", "cpu:1023"], &["--cores <NUMBER|cpu:LIST>", "this process may not use processor 1023"]),
            (&["--max-connections", "0"], &["--max-connections <NUMBER>", "1..=65535"]),
            (&["--header-digest", "md5"], &["--header-digest <DIGEST>", "none, crc32c, any"]),
            (&["--mutual-chap", "bob:/f"], &["--chap <USER:FILE>"]),
            (&["--port", "t5-model"], &["--tap <NAME>"]),
            (&["--tap", "t5"], &["--address <IP/PREFIX>"]),
            (&["--tap", "t5", "--address", "192.0.2.4"], &["--address <IP/PREFIX>", "such as 192.0.2.4/24"]),
            (&["--tap", "t5", "--address", "192.0.2.4/33"], &["--address <IP/PREFIX>", "such as 192.0.2.4/24"]),
            (&["--tap", "t5", "--address", "0.0.0.0/24"], &["--address <IP/PREFIX>", "such as 192.0.2.4/24"]),
        ];
        for (arguments, expected) in wrong {
            let error = error(arguments);
            assert!(expected.iter().all(|words| error.contains(words)), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn an_adapter_listens_at_its_address() {
        let listens = |more: &[&str]| {
            let words = ["iscsi-target", "--port", "t5-model", "--tap", "t5", "--address", "192.0.2.4/24"];
            let arguments = Arguments::try_parse_from(words.iter().chain(more)).unwrap();
            arguments.adapter.listen(&arguments.listen, LISTEN.parse().unwrap()).map_err(|error| error.to_string())
        };
        assert_eq!(listens(&[]).unwrap(), [("192.0.2.4:3260".parse().unwrap(), 1)]);
        assert_eq!(listens(&["--listen", "192.0.2.4:999,group=2"]).unwrap(), [("192.0.2.4:999".parse().unwrap(), 2)]);
        let error = listens(&["--listen", "192.0.2.5"]).unwrap_err();
        assert_eq!(error, "--listen 192.0.2.5:3260: expected the adapter's address (--address), 192.0.2.4");
    }

    #[test]
    fn a_secret_given_by_mistake_is_not_repeated() {
        let error = error(&["--chap", "hunter2"]);
        assert!(error.contains("--chap <USER:FILE>: expected USER:FILE") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn help_teaches() {
        let help = Arguments::command().render_long_help().to_string();
        for words in ["Examples:", "ready URL", "memory:SIZE", "[default: 127.0.0.1:3260]", "Exit codes:"] {
            assert!(help.contains(words), "{words} is not in {help}");
        }
    }
}
