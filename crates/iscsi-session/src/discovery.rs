//! What SendTargets asks for and gets (RFC 7143 appendix C), at either end.

/// Value of the SendTargets key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendTargetsScope {
    /// `All`: every target that the initiator may use. For discovery sessions alone.
    All,
    /// One target, by its name.
    Named(String),
    /// Nothing: the target that the session is logged in to. For normal sessions.
    ThisTarget,
}

/// A target and where it can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetRecord {
    /// TargetName.
    pub name: String,
    /// TargetAddress values, each `host[:port],tag` with the target portal group tag (RFC 7143 section 13.8); if there is
    /// none, the target is where the question was asked.
    pub addresses: Vec<String>,
}
