//! Sessions that the owner of a server wants gone: their initiators are asked to log out, and those that do not are ended.

use super::Server;
use super::shared::{Message, Shared};
use iscsi_pdu::Tsih;
use iscsi_session::LoginOutcome;
use std::time::{Duration, Instant};

/// Time between two looks whether sessions have ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// How long sessions that are ended without a word may take: as long as block I/O that is under way.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Some of a server's sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionSelector {
    /// All, discovery sessions among them.
    All,
    /// Those with the target of this name.
    Target(String),
    /// Those with the target of this name that have come through the portal group with this tag.
    PortalGroup(String, u16),
    /// Those of the initiator of this name, with whatever target.
    Initiator(String),
    /// That with this handle.
    Tsih(Tsih),
}

impl SessionSelector {
    pub(super) fn picks(&self, session: &LoginOutcome, portal_group_tag: u16) -> bool {
        match self {
            Self::All => true,
            Self::Target(name) => session.target_name.as_ref() == Some(name),
            Self::PortalGroup(name, tag) => session.target_name.as_ref() == Some(name) && portal_group_tag == *tag,
            Self::Initiator(name) => session.initiator_name == *name,
            Self::Tsih(tsih) => session.tsih == *tsih,
        }
    }
}

/// What has become of sessions that were to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Sessions whose initiators were asked to log out.
    pub asked: usize,
    /// Those of them that were still there after the patience of who asked, and were ended then. Those are not counted that have ended when the
    /// 3 s were over that initiators are told they have.
    pub ended: usize,
    /// Those of them that are there even so, since block I/O of theirs has not come back.
    pub left: usize,
    /// Cores that have not answered in time: which sessions of theirs are meant, and what becomes of them, is not known.
    pub silent_cores: usize,
}

impl Server {
    /// Asks the initiators of these sessions to log out (RFC 7143 section 11.9.1, event 1), waits until they have, and ends what is left after
    /// `patience`, or after the 3 s that initiators are told they have. Discovery sessions end at once. Names are normalised ones. An initiator
    /// that may log in comes back if it wants to.
    pub fn drop_sessions(&self, which: &SessionSelector, patience: Duration) -> Dropped {
        self.shared.drop_sessions(std::slice::from_ref(which), patience)
    }
}

impl Shared {
    pub(super) fn drop_sessions(&self, which: &[SessionSelector], patience: Duration) -> Dropped {
        let (answers, silent_cores) = self.ask(|answer| Message::RequestLogout(which.to_vec(), answer));
        let mut left: Vec<Tsih> = answers.into_iter().flatten().collect();
        let asked = left.len();
        self.wait_for_end_of(&mut left, patience);
        if self.is_ending() {
            // Its shutdown looks after them.
            return Dropped { asked, ended: 0, left: left.len(), silent_cores };
        }
        let ended = left.len();
        for tsih in &left {
            self.mailboxes.iter().for_each(|mailbox| mailbox.send(Message::End(*tsih)));
        }
        self.wait_for_end_of(&mut left, END_TIMEOUT);
        Dropped { asked, ended, left: left.len(), silent_cores }
    }

    /// Waits until these sessions have ended, or the server is to end, and leaves those that have not.
    fn wait_for_end_of(&self, sessions: &mut Vec<Tsih>, patience: Duration) {
        let until = Instant::now() + patience;
        loop {
            let registry = self.registry.lock();
            sessions.retain(|tsih| registry.has(*tsih));
            drop(registry);
            if sessions.is_empty() || Instant::now() >= until || self.is_ending() {
                return;
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }
}
