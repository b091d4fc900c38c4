//! Where initiators find a target: `PortalGroup=TAG@ADDRESS[:PORT][,ADDRESS[:PORT]...][,timeout=SECONDS][,[TAG,TAG...]]`.

use crate::value::{Entry, entries, number};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The port of iSCSI.
pub const ISCSI_PORT: u16 = 3260;

/// A portal group of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortalGroup {
    /// The portal group tag, from 1.
    pub tag: u16,
    /// Its addresses, at least one.
    pub addresses: Vec<SocketAddr>,
    /// Seconds that a login may take here, if not what is said for all.
    pub timeout_seconds: Option<u16>,
    /// Tags of the portal groups to which initiators are sent in turn; empty lets them in here.
    pub redirect: Vec<u16>,
}

impl Entry for PortalGroup {
    const EXPECTED: &'static str = "TAG@ADDRESS[:PORT][,ADDRESS[:PORT]...][,timeout=SECONDS][,[TAG,TAG...]], a TAG from 1 to 65535, an ADDRESS of \
                                    IPv4 or [IPv6], SECONDS from 1 to 3600";

    fn parse(text: &str) -> Result<Self, Option<String>> {
        let (tag, rest) = text.split_once('@').ok_or(None)?;
        let mut group =
            Self { tag: parse_tag(tag)?, addresses: Vec::new(), timeout_seconds: None, redirect: Vec::new() };
        let mut rest = Some(rest);
        while let Some(text) = rest {
            rest = group.take(text.trim_start())?;
        }
        if group.addresses.is_empty() { Err(None) } else { Ok(group) }
    }
}

impl PortalGroup {
    /// Takes what stands before the next comma, and gives what stands behind it.
    fn take<'a>(&mut self, text: &'a str) -> Result<Option<&'a str>, Option<String>> {
        if let Some((inside, behind)) = text.strip_prefix('[').and_then(|text| text.split_once(']'))
            && inside.parse::<Ipv6Addr>().is_err()
        {
            return self.take_redirect(inside, behind);
        }
        let (word, rest) = match text.split_once(',') {
            Some((word, rest)) => (word, Some(rest)),
            None => (text, None),
        };
        match word.trim().strip_prefix("timeout=") {
            Some(seconds) if self.timeout_seconds.is_none() => {
                self.timeout_seconds =
                    Some(number(seconds).filter(|seconds| (1..=3600).contains(seconds)).ok_or(None)?);
            }
            Some(_) => return Err(None),
            None => self.take_address(word.trim())?,
        }
        Ok(rest)
    }

    fn take_redirect<'a>(&mut self, tags: &str, behind: &'a str) -> Result<Option<&'a str>, Option<String>> {
        if !self.redirect.is_empty() {
            return Err(None);
        }
        self.redirect = tags.split(',').map(parse_tag).collect::<Result<_, _>>()?;
        match behind.trim_start() {
            "" => Ok(None),
            behind => behind.strip_prefix(',').map(Some).ok_or(None),
        }
    }

    fn take_address(&mut self, word: &str) -> Result<(), Option<String>> {
        let address = parse_address(word).filter(|address| !self.addresses.contains(address)).ok_or(None)?;
        self.addresses.push(address);
        Ok(())
    }
}

fn parse_tag(text: &str) -> Result<u16, Option<String>> {
    number(text.trim()).filter(|tag| *tag > 0).ok_or(None)
}

/// An address with or without a port.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let bare = || {
        let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        let address = match inside {
            Some(inside) => IpAddr::V6(inside.parse().ok()?),
            None => IpAddr::V4(text.parse().ok()?),
        };
        Some(SocketAddr::new(address, ISCSI_PORT))
    };
    text.parse().ok().filter(|address: &SocketAddr| address.port() > 0).or_else(bare)
}

impl fmt::Display for PortalGroup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@", self.tag)?;
        for (index, address) in self.addresses.iter().enumerate() {
            write!(formatter, "{}{address}", if index == 0 { "" } else { "," })?;
        }
        if let Some(seconds) = self.timeout_seconds {
            write!(formatter, ",timeout={seconds}")?;
        }
        if self.redirect.is_empty() {
            return Ok(());
        }
        let tags: Vec<String> = self.redirect.iter().map(u16::to_string).collect();
        write!(formatter, ",[{}]", tags.join(","))
    }
}

entries!(PortalGroup);
