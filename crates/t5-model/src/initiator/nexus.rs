//! By which names a target knows a session (RFC 7143 sections 4.4.2 and 10.1.1).
//!
//! In: a node, and the target that it is to log in to. Out: the ISID of that session.

use super::{Initiator, Node};
use iscsi_pdu::Isid;
use iscsi_session::initiator::LoginConfig;
use std::collections::HashSet;

/// What two sessions that stand at the same time do not share, as a target would end the one for the other.
#[derive(Debug)]
pub(super) struct Nexus {
    initiator_name: String,
    isid: Isid,
    target_name: Option<String>,
}

impl Nexus {
    /// That of a session that logs in so.
    pub(super) fn of(login: &LoginConfig) -> Self {
        Self { initiator_name: login.initiator_name.clone(), isid: login.isid, target_name: login.target_name.clone() }
    }
}

impl Initiator {
    // RFC 7143 10.1.1-1: the same session has the same ISID whenever it logs in, and sessions to other targets have it too.
    /// The ISID of a node's next session with a target: the first that none has which stands between the two. One that was lost comes
    /// back with its own by that, and takes its old place at the target.
    pub(crate) fn vacant_isid(&self, node: &Node, target_name: &str) -> Isid {
        let is_between =
            |nexus: &&Nexus| nexus.initiator_name == node.name && nexus.target_name.as_deref() == Some(target_name);
        let nexuses = self.sessions.iter().map(|(_, session)| &session.nexus).filter(is_between);
        let taken: HashSet<Isid> = nexuses.map(|nexus| nexus.isid).collect();
        let mut isids = (0..=u16::MAX).map(|number| node.isid(number));
        isids.find(|isid| !taken.contains(isid)).expect("a function has fewer sessions than there are numbers")
    }
}
