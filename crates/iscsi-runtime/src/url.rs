//! iSCSI URLs, in the form that libiscsi and QEMU read.
//!
//! In: text. Out: a [`Url`], whose parts are checked: a host that can be looked up, a port that can be connected to, a
//! target name as RFC 7143 section 4.2.7 forms it. Nothing is looked up here.
//!
//! ```text
//! iscsi://[user@]host[:port]                 a portal, for discovery
//! iscsi://[user@]host[:port]/target          a target
//! iscsi://[user@]host[:port]/target/lun      a logical unit
//!         ...[?header_digest=crc32c|none][&data_digest=crc32c|none][&target_user=user]
//! ```
//!
//! libiscsi also takes secrets, as `user%secret@` and `target_password=`. They are refused: a command line stands in
//! process lists, shell histories and logs. No error repeats any part of the URL, so that none repeats a secret.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// The port of a URL that names none (RFC 7143 section 4.1).
pub const DEFAULT_PORT: u16 = 3260;

const SCHEME: &str = "iscsi://";
/// The longest iSCSI name, in bytes (RFC 7143 section 4.2.7.1).
const NAME_BYTES_MAX: usize = 223;
/// The longest host name, in bytes (RFC 1035 section 2.3.4, without the final dot).
const HOST_BYTES_MAX: usize = 253;

/// A parsed iSCSI URL.
///
/// ```
/// use iscsi_runtime::url::Url;
///
/// let url: Url = "iscsi://alice@[::1]/iqn.2026-01.io.ferriscsi:disk/0".parse()?;
/// assert_eq!(url.address(), "[::1]:3260");
/// assert_eq!(url.target_name(), Some("iqn.2026-01.io.ferriscsi:disk"));
/// assert_eq!(url.lun(), Some(0));
/// assert_eq!(url.user(), Some("alice"));
/// assert!("iscsi://alice%hunter2@[::1]/iqn.2026-01.io.ferriscsi:disk/0".parse::<Url>().is_err());
/// # Ok::<(), iscsi_runtime::url::UrlError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Url {
    user: Option<String>,
    host: Host,
    port: u16,
    path: Path,
    options: Options,
}

/// A name or an IPv4 address, or an IPv6 address, which is written in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Host {
    Name(String),
    Ipv6 { address: Ipv6Addr, zone: Option<String> },
}

/// How much the URL names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Path {
    Portal,
    Target(String),
    Unit(String, u16),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Options {
    header_digest: Option<bool>,
    data_digest: Option<bool>,
    target_user: Option<String>,
}

/// Why text is no iSCSI URL. The sentences say what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It does not begin with `iscsi://`.
    #[error("an iSCSI URL begins with iscsi://, as in iscsi://127.0.0.1:3260/iqn.2026-01.io.ferriscsi:disk/0")]
    Scheme,
    /// It holds a secret.
    #[error(
        "a secret must not stand in a URL, where process lists and logs show it: write only the user's name there, \
         and give the secret in a file or in an environment variable"
    )]
    Secret,
    /// The user's name is empty or has characters that a URL cannot hold.
    #[error("the user's name before @ must be 1 to 223 printable characters, none of them / ? # @ %")]
    User,
    /// There is no host, or it has characters that a host cannot have.
    #[error("the host must be a name, an IPv4 address, or an IPv6 address in brackets")]
    Host,
    /// What stands in brackets is no IPv6 address.
    #[error("what stands in brackets must be an IPv6 address, as in [::1]")]
    Ipv6,
    /// What follows the host is no port.
    #[error("the port must be a number from 1 to 65535")]
    Port,
    /// The target's name is none.
    #[error("the target's name must begin with iqn., eui. or naa. and have at most 223 characters, without blanks")]
    TargetName,
    /// The LUN is no number that a unit can have.
    #[error("the LUN must be a number from 0 to 65535")]
    Lun,
    /// Something stands behind the LUN.
    #[error("nothing may follow the LUN; the form is iscsi://host[:port]/target/lun")]
    Path,
    /// An option behind `?` that does not exist.
    #[error("behind ? only header_digest, data_digest and target_user are known")]
    Option,
    /// An option with a value that it does not take, or given twice.
    #[error("header_digest and data_digest are none or crc32c, target_user is a name, and each is given once")]
    OptionValue,
}

impl Url {
    /// Who logs in with CHAP, if the URL says so.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Whom the target has to prove to be in mutual CHAP (`target_user`), if the URL says so.
    pub fn target_user(&self) -> Option<&str> {
        self.options.target_user.as_deref()
    }

    /// Where to connect: `host:port`, an IPv6 address in brackets.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The target, unless the URL names a portal only.
    pub fn target_name(&self) -> Option<&str> {
        match &self.path {
            Path::Portal => None,
            Path::Target(name) | Path::Unit(name, _) => Some(name),
        }
    }

    /// The logical unit, if the URL names one.
    pub fn lun(&self) -> Option<u16> {
        match self.path {
            Path::Unit(_, lun) => Some(lun),
            Path::Portal | Path::Target(_) => None,
        }
    }

    /// Whether headers shall have a CRC32C digest, if the URL says so.
    pub fn header_digest(&self) -> Option<bool> {
        self.options.header_digest
    }

    /// Whether data shall have a CRC32C digest, if the URL says so.
    pub fn data_digest(&self) -> Option<bool> {
        self.options.data_digest
    }
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let rest = text.strip_prefix(SCHEME).ok_or(UrlError::Scheme)?;
        let (rest, options) = match rest.split_once('?') {
            Some((rest, options)) => (rest, options.parse()?),
            None => (rest, Options::default()),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, portal) = match authority.rsplit_once('@') {
            Some((user, portal)) => (Some(parse_user(user)?), portal),
            None => (None, authority),
        };
        let (host, port) = parse_portal(portal)?;
        Ok(Self { user, host, port, path: path.parse()?, options })
    }
}

fn parse_user(text: &str) -> Result<String, UrlError> {
    match text {
        _ if text.contains('%') => Err(UrlError::Secret),
        _ if is_plain(text) => Ok(text.to_owned()),
        _ => Err(UrlError::User),
    }
}

/// Whether `text` is a name that can stand in any part of a URL.
fn is_plain(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"/?#@%&".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(plain)
}

fn parse_portal(text: &str) -> Result<(Host, u16), UrlError> {
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (address, port) = bracketed.split_once(']').ok_or(UrlError::Ipv6)?;
            (parse_ipv6(address)?, port)
        }
        None => {
            let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (parse_host_name(name)?, port)
        }
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => parse_number(digits).filter(|port| *port != 0).ok_or(UrlError::Port)?,
        None if port.is_empty() => DEFAULT_PORT,
        None => return Err(UrlError::Port),
    };
    Ok((host, port))
}

fn parse_ipv6(text: &str) -> Result<Host, UrlError> {
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (text, None),
    };
    let in_zone = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if zone.is_some_and(|zone| zone.is_empty() || !zone.bytes().all(in_zone)) {
        return Err(UrlError::Ipv6);
    }
    let address = address.parse().map_err(|_| UrlError::Ipv6)?;
    Ok(Host::Ipv6 { address, zone: zone.map(str::to_owned) })
}

fn parse_host_name(text: &str) -> Result<Host, UrlError> {
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let right = (1..=HOST_BYTES_MAX).contains(&text.len()) && text.bytes().all(in_name);
    right.then(|| Host::Name(text.to_owned())).ok_or(UrlError::Host)
}

/// A number in decimal digits alone: no sign.
fn parse_number(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl FromStr for Path {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let mut parts = text.split('/');
        let (name, lun, rest) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
        if name.is_empty() && lun.is_none() {
            return Ok(Self::Portal);
        }
        let kind = name.get(..4).map(str::to_ascii_lowercase);
        if !is_plain(name) || !matches!(kind.as_deref(), Some("iqn." | "eui." | "naa.")) {
            return Err(UrlError::TargetName);
        }
        match (lun, rest) {
            (None | Some(""), None) => Ok(Self::Target(name.to_owned())),
            (Some(lun), None | Some("")) if parts.next().is_none() => {
                let lun = parse_number(lun).ok_or(UrlError::Lun)?;
                Ok(Self::Unit(name.to_owned(), lun))
            }
            _ => Err(UrlError::Path),
        }
    }
}

impl FromStr for Options {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let mut options = Self::default();
        for option in text.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let fresh = match name {
                "header_digest" => options.header_digest.replace(parse_digest(value)?).is_none(),
                "data_digest" => options.data_digest.replace(parse_digest(value)?).is_none(),
                "target_user" if is_plain(value) => options.target_user.replace(value.to_owned()).is_none(),
                "target_user" => false,
                "target_password" | "password" => return Err(UrlError::Secret),
                _ => return Err(UrlError::Option),
            };
            if !fresh {
                return Err(UrlError::OptionValue);
            }
        }
        Ok(options)
    }
}

fn parse_digest(value: &str) -> Result<bool, UrlError> {
    match value.to_ascii_lowercase().as_str() {
        "crc32c" => Ok(true),
        "none" => Ok(false),
        _ => Err(UrlError::OptionValue),
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ipv6 { address, zone: None } => write!(f, "[{address}]"),
            Self::Ipv6 { address, zone: Some(zone) } => write!(f, "[{address}%{zone}]"),
        }
    }
}

impl fmt::Display for Url {
    /// The URL with its port, in the form that [`FromStr`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SCHEME)?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        write!(f, "{}:{}", self.host, self.port)?;
        match &self.path {
            Path::Portal => {}
            Path::Target(name) => write!(f, "/{name}")?,
            Path::Unit(name, lun) => write!(f, "/{name}/{lun}")?,
        }
        self.options.fmt(f)
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = |on: Option<bool>| on.map(|on| if on { "crc32c" } else { "none" });
        let options = [
            ("header_digest", digest(self.header_digest)),
            ("data_digest", digest(self.data_digest)),
            ("target_user", self.target_user.as_deref()),
        ];
        let given = options.iter().filter_map(|(name, value)| Some((name, (*value)?)));
        for (index, (name, value)) in given.enumerate() {
            let before = if index == 0 { '?' } else { '&' };
            write!(f, "{before}{name}={value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAME: &str = "iqn.2026-01.io.ferriscsi:disk";

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    fn error(text: &str) -> UrlError {
        text.parse::<Url>().unwrap_err()
    }

    #[test]
    fn names_a_portal_a_target_or_a_unit() {
        let portal = url("iscsi://storage.example");
        assert_eq!(
            (portal.address().as_str(), portal.target_name(), portal.lun()),
            ("storage.example:3260", None, None)
        );
        assert_eq!(url("iscsi://storage.example/"), portal);

        let target = url(&format!("iscsi://10.0.0.1:860/{NAME}"));
        assert_eq!((target.address().as_str(), target.target_name(), target.lun()), ("10.0.0.1:860", Some(NAME), None));

        let unit = url(&format!("iscsi://[fe80::1%eth0]:1/{NAME}/65535"));
        assert_eq!((unit.address().as_str(), unit.lun()), ("[fe80::1%eth0]:1", Some(65535)));
    }

    #[test]
    fn takes_the_options_that_libiscsi_has() {
        let unit = url(&format!("iscsi://alice@h/{NAME}/1?header_digest=crc32c&data_digest=none&target_user=bob"));
        assert_eq!((unit.user(), unit.target_user()), (Some("alice"), Some("bob")));
        assert_eq!((unit.header_digest(), unit.data_digest()), (Some(true), Some(false)));
        assert_eq!(error("iscsi://h?header_digest=md5"), UrlError::OptionValue);
        assert_eq!(error("iscsi://h?data_digest=none&data_digest=none"), UrlError::OptionValue);
        assert_eq!(error("iscsi://h?iser"), UrlError::Option);
    }

    #[test]
    fn secrets_are_refused_and_not_repeated() {
        for text in [
            format!("iscsi://alice%hunter2@h/{NAME}/0"),
            "iscsi://alice%hunter2@[nonsense".to_owned(),
            format!("iscsi://alice@h/{NAME}/0?target_user=bob&target_password=hunter2"),
        ] {
            assert_eq!(error(&text), UrlError::Secret);
            assert!(!error(&text).to_string().contains("hunter2"));
        }
    }

    #[test]
    fn says_which_part_is_wrong() {
        let expected = [
            ("/dev/sda", UrlError::Scheme),
            ("iscsi:/h", UrlError::Scheme),
            ("iscsi://@h", UrlError::User),
            ("iscsi://", UrlError::Host),
            ("iscsi:///iqn.2026-01.a:b/0", UrlError::Host),
            ("iscsi://a b", UrlError::Host),
            ("iscsi://[::1", UrlError::Ipv6),
            ("iscsi://[127.0.0.1]", UrlError::Ipv6),
            ("iscsi://[::1]3260", UrlError::Port),
            ("iscsi://::1", UrlError::Host),
            ("iscsi://h:", UrlError::Port),
            ("iscsi://h:0", UrlError::Port),
            ("iscsi://h:+1", UrlError::Port),
            ("iscsi://h:65536", UrlError::Port),
            ("iscsi://h/disk/0", UrlError::TargetName),
            ("iscsi://h//0", UrlError::TargetName),
            ("iscsi://h/iqn.2026-01.a:b/x", UrlError::Lun),
            ("iscsi://h/iqn.2026-01.a:b/65536", UrlError::Lun),
            ("iscsi://h/iqn.2026-01.a:b/0/1", UrlError::Path),
        ];
        for (text, wrong) in expected {
            assert_eq!(error(text), wrong, "{text}");
        }
        let long = format!("iscsi://h/iqn.{}", "a".repeat(220));
        assert_eq!(error(&long), UrlError::TargetName);
    }

    proptest! {
        #[test]
        fn any_text_parses_or_fails(text in "\\PC*") {
            let _ = text.parse::<Url>();
            let _ = format!("{SCHEME}{text}").parse::<Url>();
        }

        #[test]
        fn what_is_shown_reads_the_same(
            text in "iscsi://([a-z]{1,5}@)?([a-z0-9.-]{1,9}|\\[::[0-9a-f]{1,4}(%e0)?\\])(:[1-9][0-9]{0,3})?\
                     (/|/iqn\\.[a-z:.-]{1,9}/?|/NAA\\.[0-9A-F]{16}/[0-9]{1,4}/?)?\
                     (\\?(header_digest=(none|crc32c)&)?(data_digest=(none|CRC32C)&)?(target_user=[a-z]{1,4})?)?",
        ) {
            let url: Url = text.parse().unwrap();
            prop_assert_eq!(url.to_string().parse::<Url>(), Ok(url));
        }
    }
}
