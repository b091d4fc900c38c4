//! What of a `chiscsi.conf` does nothing here, and why.

use chiscsi_config::{AclOrder, ChapPolicy, Device, Global, OffloadMode, Target};

use super::device::world_wide_name;

/// What of `global:` does nothing.
pub(super) fn on_global(global: &Global) -> Vec<String> {
    let said = [
        (
            global.offload_mode != OffloadMode::Auto,
            "iscsi_offload_mode: there is no adapter, iSCSI is done in software",
        ),
        (global.acl_order != AclOrder::Config, "iscsi_acl_order: no iSNS server is asked"),
        (global.high_availability, "iscsi_HA_mode: no other machine is spoken to"),
    ];
    said.into_iter().filter(|(holds, _)| *holds).map(|(_, text)| text.to_owned()).collect()
}

/// What a target is told of that does nothing, or not what one may think.
pub(super) fn on_target(target: &Target) -> Vec<String> {
    let has_odd_name = |device: &Device| device.wwn.is_some() && world_wide_name(device).is_none();
    let said = [
        (
            target.chap_policy == ChapPolicy::Mutual,
            "Auth_CHAP_Policy: the target proves itself to those who ask, and lets in those who do not",
        ),
        (!target.acls.is_empty() && !target.acl_enable, "ACL: without ACL_Enable=Yes everybody is let in"),
        (
            target.chap_challenge_length.get() != 16,
            "Auth_CHAP_ChallengeLength: challenges are as long as they are safe",
        ),
        (
            target.portal_groups.iter().any(|group| group.timeout_seconds.is_some()),
            "PortalGroup: timeout= does nothing",
        ),
        (
            target.devices.iter().any(has_odd_name),
            "TargetDevice: WWN= is a name if it has 16 hexadecimal digits, and not told else",
        ),
    ];
    said.into_iter().filter(|(holds, _)| *holds).map(|(_, text)| format!("{}: {text}", target.name)).collect()
}
