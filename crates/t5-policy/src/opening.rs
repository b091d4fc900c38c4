//! A connection or listener that is about to begin, as rules see it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The VLAN of frames without one.
pub const NO_VLAN: u16 = 0xfff;

/// How something begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OpenKind {
    /// A listener: `listen`.
    Listen = 0,
    /// A connection that we open: `aopen`.
    Active = 1,
    /// A connection that a listener of ours accepts: `popen`.
    Passive = 2,
}

impl OpenKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Listen, Self::Active, Self::Passive];

    /// Its word in a policy.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Listen => "listen",
            Self::Active => "aopen",
            Self::Passive => "popen",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for OpenKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A connection or listener that is about to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// How.
    pub kind: OpenKind,
    /// Who sends the SYN; of a listener its own end.
    pub source: SocketAddr,
    /// The other end, of the same family; of a listener all zeros.
    pub destination: SocketAddr,
    /// The type of service.
    pub tos: u8,
    /// The VLAN, or [`NO_VLAN`].
    pub vlan: u16,
    /// The host's mark.
    pub mark: u32,
}

impl Opening {
    /// A connection without VLAN, mark or type of service.
    #[must_use]
    pub fn new(kind: OpenKind, source: SocketAddr, destination: SocketAddr) -> Self {
        Self { kind, source, destination, tos: 0, vlan: NO_VLAN, mark: 0 }
    }

    /// A listener.
    #[must_use]
    pub fn listen(local: SocketAddr) -> Self {
        let nobody = match local {
            SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        Self::new(OpenKind::Listen, local, (nobody, 0).into())
    }

    /// Reads `listen|aopen|popen SOURCE [DESTINATION] [vlan N] [tos N] [mark N]`; a listener has no destination.
    ///
    /// # Errors
    /// It is something else.
    pub fn parse(text: &str) -> Result<Self, OpeningError> {
        let mut words = text.split_whitespace();
        let kind = words.next().and_then(OpenKind::from_name).ok_or(OpeningError::Kind)?;
        let mut end = |what| {
            let word = words.next().unwrap_or_default();
            word.parse::<SocketAddr>().map_err(|_| OpeningError::End { what, word: word.to_owned() })
        };
        let source = end("source")?;
        let mut opening = match kind {
            OpenKind::Listen => Self::listen(source),
            _ => Self::new(kind, source, end("destination")?),
        };
        if source.is_ipv4() != opening.destination.is_ipv4() {
            return Err(OpeningError::Families);
        }
        while let Some(word) = words.next() {
            let value = words.next().unwrap_or_default();
            opening.set(word, value).ok_or_else(|| OpeningError::Number(format!("{word} {value}")))?;
        }
        Ok(opening)
    }

    fn set(&mut self, word: &str, value: &str) -> Option<()> {
        match word {
            "vlan" => self.vlan = value.parse().ok().filter(|&vlan| vlan <= NO_VLAN)?,
            "tos" => self.tos = value.parse().ok()?,
            "mark" => self.mark = value.parse().ok()?,
            _ => return None,
        }
        Some(())
    }

    /// The words that a program looks at.
    pub(crate) fn words(&self) -> [u32; WORDS] {
        let mut words = [0; WORDS];
        words[word::SOURCE..word::DESTINATION].copy_from_slice(&address_words(self.source.ip()));
        words[word::DESTINATION..word::PORTS].copy_from_slice(&address_words(self.destination.ip()));
        words[word::PORTS] = u32::from(self.source.port()) << 16 | u32::from(self.destination.port());
        let version = if self.source.is_ipv4() { 4 } else { 6 };
        words[word::KIND] = (self.kind as u32) << 28 | version << 24 | u32::from(self.tos) << 16 | u32::from(self.vlan);
        words[word::MARK] = self.mark;
        words
    }
}

/// Words of an [`Opening`].
pub(crate) const WORDS: usize = 11;

/// Where things stand in the words.
pub(crate) mod word {
    /// Four words, of which IPv4 has the first.
    pub(crate) const SOURCE: usize = 0;
    /// The same of the destination.
    pub(crate) const DESTINATION: usize = 4;
    /// The source's above the destination's.
    pub(crate) const PORTS: usize = 8;
    /// How it begins 31:28, version 27:24, type of service 23:16, VLAN 15:0.
    pub(crate) const KIND: usize = 9;
    pub(crate) const MARK: usize = 10;
}

/// The four words of an address.
pub(crate) fn address_words(address: IpAddr) -> [u32; 4] {
    match address {
        IpAddr::V4(address) => [address.to_bits(), 0, 0, 0],
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            std::array::from_fn(|at| (bits >> (96 - 32 * at)) as u32)
        }
    }
}

/// Text that describes no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpeningError {
    /// It does not begin as it should.
    #[error("a connection begins with listen, aopen or popen: aopen 10.0.0.1:40000 10.0.0.2:3260 vlan 7")]
    Kind,
    /// An end is none.
    #[error("the {what} is an address with a port, such as 10.0.0.2:3260 or [fd00::2]:3260, and not {word:?}")]
    End {
        /// Which.
        what: &'static str,
        /// What stands there.
        word: String,
    },
    /// The ends are of two families.
    #[error("source and destination are both IPv4 or both IPv6")]
    Families,
    /// Something else follows.
    #[error("{0:?}: vlan (0 to 4095), tos (0 to 255) or mark with a number may follow")]
    Number(String),
}
