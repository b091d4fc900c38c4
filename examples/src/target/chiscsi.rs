//! A target from a `chiscsi.conf`: what the file asks for, as a server to be; and what of it does nothing here, as notes.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chiscsi_config::{
    Acl, AuthMethod, AuthOrder, Configuration, Digest, Global, LunRange, LunRight, PortalGroup, Target,
};
use iscsi_runtime::{
    AccessOrder, AccessRule, Authentication, DescribedDisk, Limits, Server, ServerBuilder, StartError, UnitRight,
};
use iscsi_session::{ChapAlgorithm, Credential};

use super::device::{describe, names};
use super::notes;
use crate::failure::Failure;
use crate::file;

/// The longest file that is read.
const FILE_BYTES_MAX: usize = 4 << 20;
/// What stands for a login that may take as long as it likes.
const LOGIN_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// A file that was read and found good.
#[derive(Clone, Debug)]
pub struct Configured {
    file: PathBuf,
    /// What it says.
    pub configuration: Configuration,
}

impl Configured {
    /// Reads a file and judges it as a whole.
    ///
    /// # Errors
    /// It cannot be read, or all that is wrong with it.
    pub fn read(file: &Path) -> Result<Self, Failure> {
        let wrong = |what: String| Failure::usage(format!("{}: {what}", file.display()));
        let opened = file::open(file).map_err(|error| wrong(format!("it cannot be opened: {error}")))?;
        let everybodys = file::is_everybodys(&opened).map_err(|error| wrong(error.to_string()))?;
        let text =
            file::read_text(opened, FILE_BYTES_MAX).map_err(|error| wrong(format!("it cannot be read: {error}")))?;
        let configuration = text.parse::<Configuration>().map_err(|faults| {
            let lines = faults.to_string();
            let lines = lines.lines().map(|line| in_file(file, line));
            Failure::usages(lines).unwrap_or_else(|| wrong("it is wrong".into()))
        })?;
        if everybodys && has_secrets(&configuration) {
            return Err(wrong("it holds secrets and everybody may read it, forbid it with chmod 600".into()));
        }
        Ok(Self { file: file.into(), configuration })
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// A sentence about the file, with its name in front.
    #[must_use]
    pub fn in_file(&self, text: &str) -> String {
        format!("{}: {text}", self.file.display())
    }

    /// Why a server cannot be what the file says, in the words of the file.
    #[must_use]
    pub fn explain(&self, error: &StartError) -> Failure {
        let text = match error {
            StartError::Open { target, number, error } => {
                let found = self.configuration.targets.iter().find(|found| found.name.as_str() == target);
                match found.and_then(|found| found.devices.get(usize::from(*number))) {
                    Some(device) => format!("{target}: TargetDevice={device}: {error}"),
                    None => format!("{target}: LUN {number}: {error}"),
                }
            }
            StartError::Listen { .. } => format!("PortalGroup: {error}"),
            _ => error.to_string(),
        };
        super::failure(error, self.in_file(&text))
    }

    /// The same file, if it said this.
    #[must_use]
    pub fn saying(&self, configuration: Configuration) -> Self {
        Self { configuration, ..self.clone() }
    }

    /// The same said by another file.
    #[must_use]
    pub fn said_by(self, file: &Path) -> Self {
        Self { file: file.into(), ..self }
    }

    /// What of the file does nothing here, and why.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        self.notes_about(true, &|_| true)
    }

    /// The same of `global:` or not, and of the targets that are meant.
    #[must_use]
    pub fn notes_about(&self, global: bool, is_meant: &dyn Fn(&Target) -> bool) -> Vec<String> {
        let of_global = if global { notes::on_global(&self.configuration.global) } else { Vec::new() };
        let targets = self.configuration.targets.iter().filter(|target| is_meant(target));
        of_global.into_iter().chain(targets.flat_map(notes::on_target)).map(|note| self.in_file(&note)).collect()
    }

    /// The addresses to listen on, each with the tag that the first target has for it.
    fn addresses(&self) -> BTreeMap<SocketAddr, u16> {
        let all = self.configuration.targets.iter().flat_map(portals);
        all.fold(BTreeMap::new(), |mut addresses, (address, tag)| {
            addresses.entry(address).or_insert(tag);
            addresses
        })
    }

    /// What there is to say of a file without faults.
    #[must_use]
    pub fn judgement(&self) -> String {
        let file = self.file.display();
        let targets = self.configuration.targets.iter();
        let devices = |count: usize| if count == 1 { "1 device".into() } else { format!("{count} devices") };
        let targets = targets.map(|target| format!("{file}: {}: {}", target.name, devices(target.devices.len())));
        let notes = self.notes().into_iter().map(|note| format!("note: {note}"));
        targets.chain(notes).chain([format!("{file}: good")]).collect::<Vec<_>>().join("\n")
    }

    /// What initiators connect to: LUN 0 of each target at each of its addresses, which are listened on at `listening`.
    #[must_use]
    pub fn urls(&self, listening: &[SocketAddr]) -> Vec<String> {
        let ways: BTreeMap<SocketAddr, SocketAddr> =
            self.addresses().into_keys().zip(listening.iter().copied()).collect();
        let of_target = |target: &Target| {
            let own = portals(target).filter_map(|(address, _)| ways.get(&address));
            own.map(|address| super::url(*address, target.name.as_str())).collect::<Vec<_>>()
        };
        self.configuration.targets.iter().flat_map(of_target).collect()
    }

    /// Makes a server of all, whose devices are opened when it starts.
    ///
    /// # Errors
    /// A secret cannot be used.
    pub fn builder(&self) -> Result<ServerBuilder, Failure> {
        let Configuration { global, targets } = &self.configuration;
        let timeout = match global.login_complete_seconds.get() {
            0 => LOGIN_TIMEOUT_MAX,
            seconds => Duration::from_secs(seconds.into()),
        };
        // Segments of a target are not longer than those that all have in common.
        let longest = targets.iter().map(|target| target.max_recv_data_segment_length.get()).max();
        let receive_segment_bytes_max = longest.unwrap_or(Limits::default().receive_segment_bytes_max);
        let mut builder = Server::builder()
            .login_timeout(timeout)
            .access_order(match global.auth_order {
                AuthOrder::Acl => AccessOrder::BeforeAuthentication,
                AuthOrder::Chap => AccessOrder::AfterAuthentication,
            })
            .limits(Limits { receive_segment_bytes_max, ..Limits::default() })
            .discovery_authentication(self.discovery_authentication()?);
        for (address, tag) in self.addresses() {
            builder = builder.listen_in_group(address, tag);
        }
        for target in targets {
            builder = builder.target(self.target(global, target)?);
        }
        Ok(builder)
    }

    fn discovery_authentication(&self) -> Result<Authentication, Failure> {
        let global = &self.configuration.global;
        match global.discovery_auth_method {
            AuthMethod::None => Ok(Authentication::None),
            AuthMethod::Chap => {
                self.chap("DISC_Auth_CHAP", &global.discovery_chap_initiators, global.discovery_chap_target.as_ref())
            }
        }
    }

    fn chap(
        &self,
        keys: &str,
        initiators: &[Credential],
        target: Option<&Credential>,
    ) -> Result<Authentication, Failure> {
        Authentication::chap(initiators.to_vec(), target.cloned(), ChapAlgorithm::ALL.to_vec()).map_err(|error| {
            Failure::usage(format!("{}: {keys}_Initiator, {keys}_Target: {error}", self.file.display()))
        })
    }

    fn target(&self, global: &Global, target: &Target) -> Result<iscsi_runtime::Target, Failure> {
        let mut served = iscsi_runtime::Target::new(target.name.as_str())
            .authentication(self.authentication(target)?)
            .limits(limits(target))
            .window(target.session_max_commands.get())
            .portals(portals(target));
        for group in target.portal_groups.iter().filter(|group| !group.redirect.is_empty()) {
            let to = target.portal_groups.iter().filter(|other| group.redirect.contains(&other.tag));
            served = served.redirect_group(group.tag, to.flat_map(|other| other.addresses.iter().copied()));
        }
        if !target.alias.as_str().is_empty() {
            served = served.alias(target.alias.as_str());
        }
        if target.acl_enable {
            served = target.acls.iter().map(access_rule).fold(served, iscsi_runtime::Target::allow);
        }
        for (number, device) in (0..).zip(&target.devices) {
            let store = describe(device).map_err(|error| {
                Failure::local(self.in_file(&format!("{}: TargetDevice={device}: {error}", target.name)))
            })?;
            let vendor = global.vendor_id.as_str();
            let names = names(device, vendor);
            served = served.lun(number, DescribedDisk { store, vendor: Some(vendor.into()), names });
        }
        Ok(served)
    }

    fn authentication(&self, target: &Target) -> Result<Authentication, Failure> {
        let may_be = |method| target.auth_method.contains(&method);
        // With CHAP alone nobody is let in without it, whoever may be named.
        if !may_be(AuthMethod::Chap) || may_be(AuthMethod::None) && target.chap_initiators.is_empty() {
            return Ok(Authentication::None);
        }
        let chap = self.chap("Auth_CHAP", &target.chap_initiators, target.chap_target.as_ref())?;
        Ok(if may_be(AuthMethod::None) { chap.or_none() } else { chap })
    }
}

/// A fault with its file in front, as compilers write it.
fn in_file(file: &Path, line: &str) -> String {
    match line.strip_prefix("line ") {
        Some(rest) => format!("{}:{rest}", file.display()),
        None => line.into(),
    }
}

fn has_secrets(configuration: &Configuration) -> bool {
    let Configuration { global, targets } = configuration;
    let of_target = |target: &Target| target.chap_target.is_some() || !target.chap_initiators.is_empty();
    global.discovery_chap_target.is_some()
        || !global.discovery_chap_initiators.is_empty()
        || targets.iter().any(of_target)
}

/// What is negotiated with a target at most.
pub(super) fn limits(target: &Target) -> Limits {
    let digests = |list: &[Digest]| list.iter().map(|digest| *digest == Digest::Crc32c).collect();
    let short = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    Limits {
        header_digest: digests(&target.header_digest),
        data_digest: digests(&target.data_digest),
        max_connections: short(target.max_connections.get()),
        initial_r2t: target.initial_r2t,
        immediate_data: target.immediate_data,
        receive_segment_bytes_max: target.max_recv_data_segment_length.get(),
        burst_bytes_max: target.max_burst_length.get(),
        first_burst_bytes_max: target.first_burst_length.get(),
        time_2_wait: short(target.default_time_2_wait.get()),
        time_2_retain: short(target.default_time_2_retain.get()),
        outstanding_r2t_max: short(target.max_outstanding_r2t.get()),
        error_recovery_level: target.error_recovery_level.get() as u8,
        data_pdu_in_order: target.data_pdu_in_order,
        data_sequence_in_order: target.data_sequence_in_order,
        ..Limits::default()
    }
}

/// Whom a rule is about, and what they may do.
fn access_rule(acl: &Acl) -> AccessRule {
    let right = |right: &LunRight| {
        let units = match right.luns {
            LunRange::All => 0..=u16::MAX,
            LunRange::Range(first, last) => first..=last,
        };
        UnitRight { units, write: right.write }
    };
    AccessRule {
        initiators: acl.initiators.iter().map(|name| name.as_str().into()).collect(),
        sources: acl.sources.iter().map(IpAddr::to_canonical).collect(),
        destinations: acl.destinations.iter().map(IpAddr::to_canonical).collect(),
        rights: acl.luns.iter().map(right).collect(),
    }
}

/// The portal groups of a target that are to be listened on. Those to which a target in shadow mode sends initiators are on other machines.
fn groups_here(target: &Target) -> impl Iterator<Item = &PortalGroup> {
    target.portal_groups.iter().filter(|group| !target.shadow_mode || !group.redirect.is_empty())
}

/// The addresses of a target that are to be listened on, each with its tag.
fn portals(target: &Target) -> impl Iterator<Item = (SocketAddr, u16)> {
    groups_here(target).flat_map(|group| group.addresses.iter().map(|address| (*address, group.tag)))
}
