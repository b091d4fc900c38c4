//! Who logs in.

use iscsi_pdu::Isid;
use iscsi_session::{Authentication, ChapAlgorithm, Credential, Secret};
use t5_hal::wire::{FoiscsiChap, FoiscsiIsid, FoiscsiNode, ReturnCode};

/// Nodes of one function.
pub(crate) const NODES_MAX: usize = 8;

/// An initiator node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) alias: Option<String>,
    isid: FoiscsiIsid,
    /// What it proves itself with.
    own: Option<Credential>,
    /// What a target is to prove itself with.
    target: Option<Credential>,
}

impl Node {
    /// The node that a work request asks for.
    pub(crate) fn new(request: &FoiscsiNode) -> Result<Self, ReturnCode> {
        let name = text(&request.name, request.name_length)?;
        let alias = text(&request.alias, request.alias_length)?;
        if name.is_empty() {
            return Err(ReturnCode::Invalid);
        }
        let alias = (!alias.is_empty()).then_some(alias);
        Ok(Self { name, alias, isid: request.isid, own: None, target: None })
    }

    /// Takes a name and secret, of the node or of its targets.
    pub(crate) fn set_chap(&mut self, request: &FoiscsiChap) -> Result<(), ReturnCode> {
        let name = text(&request.name, request.name_length)?;
        let secret = request.secret.get(..usize::from(request.secret_length)).ok_or(ReturnCode::Invalid)?;
        let secret = Secret::of_any_strength(secret).map_err(|_| ReturnCode::Invalid)?;
        let place = match request.node_kind {
            0 => &mut self.own,
            1 => &mut self.target,
            _ => return Err(ReturnCode::Invalid),
        };
        *place = Some(Credential { name, secret });
        Ok(())
    }

    /// How the node proves itself, in one direction or both.
    pub(crate) fn authentication(&self, mutual: bool) -> Result<Authentication, ReturnCode> {
        let own = self.own.clone().ok_or(ReturnCode::NotPermitted)?;
        let target = if mutual { Some(self.target.clone().ok_or(ReturnCode::NotPermitted)?) } else { None };
        // The strongest first; a target takes the first that it has.
        let algorithms = ChapAlgorithm::ALL.iter().rev().copied().collect();
        Authentication::chap(vec![own], target, algorithms).map_err(|_| ReturnCode::Invalid)
    }

    /// The ISID of one of its sessions, whose number makes it differ from others.
    pub(crate) fn isid(&self, session: u16) -> Isid {
        let [high, low] = session.to_be_bytes();
        let b = self.isid.get(FoiscsiIsid::B).to_be_bytes();
        let first = self.isid.get(FoiscsiIsid::T) << 6 | self.isid.get(FoiscsiIsid::A);
        Isid([first as u8, b[2], b[3], self.isid.get(FoiscsiIsid::C) as u8, high, low])
    }
}

/// A name in a field of fixed length.
pub(crate) fn text(field: &[u8], length: u8) -> Result<String, ReturnCode> {
    let bytes = field.get(..usize::from(length)).ok_or(ReturnCode::Invalid)?;
    str::from_utf8(bytes).map(ToOwned::to_owned).map_err(|_| ReturnCode::Invalid)
}
