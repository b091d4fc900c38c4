//! Who logs in.

use iscsi_pdu::Isid;
use iscsi_session::{Authentication, ChapAlgorithm, Credential, Secret, normalise_name};
use t5_hal::wire::{FoiscsiChap, FoiscsiIsid, FoiscsiNode, ReturnCode};

/// Nodes of one function.
pub(crate) const NODES_MAX: usize = 8;

/// An initiator node.
#[derive(Debug)]
pub(crate) struct Node {
    /// Normalised.
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
        let name = iscsi_name(&request.name, request.name_length)?;
        let alias = text(&request.alias, request.alias_length)?;
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

    /// An ISID of the node: what the driver has given it, and a number of the firmware's.
    pub(super) fn isid(&self, number: u16) -> Isid {
        let [high, low] = number.to_be_bytes();
        let b = self.isid.get(FoiscsiIsid::B).to_be_bytes();
        let first = self.isid.get(FoiscsiIsid::T) << 6 | self.isid.get(FoiscsiIsid::A);
        Isid([first as u8, b[2], b[3], self.isid.get(FoiscsiIsid::C) as u8, high, low])
    }
}

/// The name of an initiator or target, normalised.
pub(crate) fn iscsi_name(field: &[u8], length: u8) -> Result<String, ReturnCode> {
    normalise_name(&text(field, length)?).map_err(|_| ReturnCode::Invalid)
}

/// A text in a field of fixed length.
fn text(field: &[u8], length: u8) -> Result<String, ReturnCode> {
    let bytes = field.get(..usize::from(length)).ok_or(ReturnCode::Invalid)?;
    str::from_utf8(bytes).map(ToOwned::to_owned).map_err(|_| ReturnCode::Invalid)
}
