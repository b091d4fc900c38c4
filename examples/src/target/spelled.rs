//! What options ask for, in the words of a `chiscsi.conf`, and notes on what these have no word for.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use chiscsi_config::{AuthMethod, Configuration};
use iscsi_runtime::{Limits, StoreKind, StoreSpec};

use super::Arguments;
use super::arguments::{LOGIN_TIMEOUT, WINDOW_COMMANDS};
use super::chiscsi::limits;
use super::device::store;
use crate::failure::Failure;

/// The vendor of disks that options ask for.
const VENDOR: &str = "FERRISCS";
const MIB: u64 = 1 << 20;
/// Longest serial number of a file, in bytes.
const SERIAL_BYTES_MAX: usize = 16;

/// A configuration that no file has said.
#[derive(Debug)]
pub(super) struct Spelled {
    pub(super) configuration: Configuration,
    /// What of the target a file cannot say.
    pub(super) notes: Vec<String>,
}

impl Spelled {
    /// The text of a file, with what it does not say as comments.
    pub(super) fn to_text(&self) -> String {
        let comments: String = self.notes.iter().map(|note| format!("# {note}\n")).collect();
        format!("{comments}{}", self.configuration.to_text())
    }
}

impl Arguments {
    /// What a file would say of the target that the options ask for and that listens at `addresses`, one for each --listen.
    ///
    /// # Errors
    /// A secret cannot be read, or a file has no words for something that it has to say.
    pub(super) fn spelled(&self, addresses: &[SocketAddr]) -> Result<Spelled, Failure> {
        let wanted = self.limits();
        let text = self.text(addresses, &wanted);
        let unsayable = |what: &dyn std::fmt::Display| {
            Failure::usage(format!("a configuration file cannot say what the options ask for: {what}"))
        };
        let mut configuration: Configuration = text.parse().map_err(|faults| unsayable(&faults))?;
        let [target] = &mut configuration.targets[..] else { return Err(unsayable(&"there is one target")) };
        let (users, ours) = self.credentials()?;
        target.auth_method = vec![if users.is_empty() { AuthMethod::None } else { AuthMethod::Chap }];
        (target.chap_initiators, target.chap_target) = (users, ours);
        let others = (0..)
            .zip(&self.lun)
            .filter(|(number, spec)| target.devices.get(*number as usize).is_none_or(|device| store(device) != **spec));
        let others = others.map(|(number, _): (u16, _)| format!("LUN {number} is more than its TargetDevice says"));
        let limited = (limits(target) != wanted).then(|| "limits of what is negotiated differ from these".to_owned());
        let notes = others.chain(limited).chain(self.wordless()).collect();
        if configuration.to_text().parse() != Ok(configuration.clone()) {
            return Err(unsayable(&"a name or secret of CHAP has a comma or quotation mark in it"));
        }
        Ok(Spelled { configuration, notes })
    }

    fn text(&self, addresses: &[SocketAddr], limits: &Limits) -> String {
        let yes = |yes: bool| if yes { "Yes" } else { "No" };
        let digests = |list: &[bool]| -> String {
            list.iter().map(|crc| if *crc { "CRC32C" } else { "None" }).collect::<Vec<_>>().join(",")
        };
        let mut groups = BTreeMap::<u16, Vec<String>>::new();
        for (address, (_, tag)) in addresses.iter().zip(&self.listen) {
            groups.entry(*tag).or_default().push(address.to_string());
        }
        let mut lines = vec![
            "global:".to_owned(),
            format!("iscsi_login_complete_time={}", LOGIN_TIMEOUT.as_secs()),
            format!("iscsi_target_vendor_id={VENDOR}\niscsi_auth_order=ACL\ntarget:\nTargetName={}", self.target),
            format!("MaxConnections={}", limits.max_connections),
            format!("InitialR2T={}\nImmediateData={}", yes(limits.initial_r2t), yes(limits.immediate_data)),
            format!("MaxBurstLength={}", limits.burst_bytes_max),
            format!("FirstBurstLength={}", limits.first_burst_bytes_max),
            format!("DefaultTime2Wait={}\nDefaultTime2Retain={}", limits.time_2_wait, limits.time_2_retain),
            format!("MaxOutstandingR2T={}", limits.outstanding_r2t_max),
            format!("DataPDUInOrder={}", yes(limits.data_pdu_in_order)),
            format!("DataSequenceInOrder={}", yes(limits.data_sequence_in_order)),
            format!("ErrorRecoveryLevel={}", limits.error_recovery_level),
            format!("HeaderDigest={}\nDataDigest={}", digests(&limits.header_digest), digests(&limits.data_digest)),
            format!("MaxRecvDataSegmentLength={}", limits.receive_segment_bytes_max),
            format!("TargetSessionMaxCmd={WINDOW_COMMANDS}"),
        ];
        lines.extend(groups.iter().map(|(tag, addresses)| format!("PortalGroup={tag}@{}", addresses.join(","))));
        lines.extend((0..).zip(&self.lun).map(|(number, spec)| format!("TargetDevice={}", device(number, spec))));
        if !self.allow_initiator.is_empty() {
            lines.push(format!("ACL_Enable=Yes\nACL=iname={}", self.allow_initiator.join(",")));
        }
        lines.join("\n") + "\n"
    }

    /// Options for which a file has no words.
    fn wordless(&self) -> impl Iterator<Item = String> {
        [
            ("--portal-group", !self.portal_group.is_empty()),
            ("--advertise", !self.advertise.is_empty()),
            ("--management-url", !self.management_url.is_empty()),
            ("--redirect", self.redirect.is_some()),
            ("--resettable", self.resettable),
        ]
        .into_iter()
        .filter(|(_, given)| *given)
        .map(|(option, _)| format!("{option} has no key"))
    }
}

/// A disk, as far as a file has words for it.
fn device(number: u16, spec: &StoreSpec) -> String {
    let megabytes = |bytes: u64| bytes.div_ceil(MIB).max(1);
    let mut device = match &spec.kind {
        StoreKind::Memory { size_bytes } => format!("memory{number},MEM,size={}MB", megabytes(*size_bytes)),
        StoreKind::Null { size_bytes } => format!("null{number},MEM,size={}MB,NULLRW", megabytes(*size_bytes)),
        StoreKind::File { path, direct: true, .. } => format!("{},BLK", path.display()),
        StoreKind::File { path, .. } if spec.write_cache => format!("{},FILE", path.display()),
        StoreKind::File { path, .. } => format!("{},FILE,SYNC", path.display()),
    };
    if spec.read_only {
        device += ",RO";
    }
    match &spec.serial {
        Some(serial) if serial.len() <= SERIAL_BYTES_MAX && !serial.contains(',') => format!("{device},SN={serial}"),
        _ => device,
    }
}
