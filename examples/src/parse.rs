//! Values on a command line: text in; addresses, states and numbers out, or what was expected. Sizes, times and lists of processors are written as fio
//! writes them.

use std::ffi::OsStr;
use std::fmt::Display;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use fio_job::value::number;
pub use fio_job::value::{duration, processors, request_size, size};
use iscsi_runtime::url::{DEFAULT_PORT, Url};
use iscsi_runtime::{AccessState, Isid, PortalGroup};

use crate::process::usable;

/// On how many threads a target serves, or on which processors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cores {
    /// So many threads, wherever the system lets them run.
    Number(usize),
    /// A thread on each of these.
    Processors(Vec<usize>),
}

/// A number of threads, or `cpu:` and processors.
///
/// # Errors
/// What was expected.
pub fn cores(text: &str) -> Result<Cores, String> {
    if let Some(list) = text.strip_prefix("cpu:") {
        let list = processors(list)?;
        let usable = usable(&list);
        return match list.iter().find(|processor| !usable.contains(processor)) {
            Some(processor) => Err(format!("this process may not use processor {processor}")),
            None => Ok(Cores::Processors(list)),
        };
    }
    let number = text.parse().ok().filter(|number| (1..=1024).contains(number));
    number.map(Cores::Number).ok_or("expected a number from 1 to 1024, or processors such as cpu:0,1".into())
}

/// A time as [`duration`] reads it, or `none` for no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub Option<Duration>);

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" { Ok(Self(None)) } else { duration(text).map(|time| Self(Some(time))) }
    }
}

/// An address to listen on: IPv4, or IPv6 in brackets; with a port, or that of iSCSI.
///
/// # Errors
/// What was expected.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let expected = "expected an IP address with or without a port, such as 192.0.2.1:3260, 0.0.0.0 or [::1]:3260";
    let alone = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = |address: IpAddr| SocketAddr::new(address, DEFAULT_PORT);
    text.parse().or_else(|_| alone.parse().map(with_port)).map_err(|_| expected.into())
}

/// A portal as SendTargets tells it: `host:port`, a host without a port having that of iSCSI.
///
/// # Errors
/// What was expected.
pub fn portal_address(text: &str) -> Result<String, String> {
    let expected =
        "expected a host name or IP address and a port, such as storage.example.org:3260 or [2001:db8::1]:3260";
    let plain = !text.contains(['/', '?', '@']);
    let portal = plain.then(|| format!("iscsi://{text}").parse::<Url>().ok()).flatten();
    portal.map(|url| url.address()).ok_or(expected.into())
}

/// What stands before `,group=TAG`, and the tag: that of the first portal group if there is none.
fn in_group(text: &str) -> Result<(&str, u16), String> {
    const EXPECTED: &str = "expected a portal group tag, 1 to 65535, behind group=";
    match text.split_once(",group=") {
        None => Ok((text, FIRST_GROUP)),
        Some((before, tag)) => Ok((before, tag_of(tag).ok_or(EXPECTED)?)),
    }
}

/// The portal group that an address is in of which nothing is said.
const FIRST_GROUP: u16 = 1;

fn tag_of(text: &str) -> Option<u16> {
    number(text).and_then(|tag| u16::try_from(tag).ok()).filter(|tag| *tag > 0)
}

/// An address to listen on, as [`listen_address`] reads it, and the portal group that it is in: `,group=TAG`.
///
/// # Errors
/// What was expected.
pub fn listen_in_group(text: &str) -> Result<(SocketAddr, u16), String> {
    let (address, tag) = in_group(text)?;
    Ok((listen_address(address)?, tag))
}

/// An address and the length of its network's prefix: `IP/PREFIX`.
///
/// # Errors
/// What was expected.
pub fn network_address(text: &str) -> Result<(IpAddr, u8), String> {
    const EXPECTED: &str = "expected an IP address and the length of its network's prefix, such as 192.0.2.4/24";
    let (address, prefix) = text.split_once('/').ok_or(EXPECTED)?;
    let address: IpAddr = address.parse().map_err(|_| EXPECTED)?;
    let prefix: u8 = prefix.parse().map_err(|_| EXPECTED)?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let is_host = !address.is_unspecified() && !address.is_multicast();
    if is_host && (1..=longest).contains(&prefix) { Ok((address, prefix)) } else { Err(EXPECTED.into()) }
}

/// A portal, as [`portal_address`] reads it, and the portal group that it is in: `,group=TAG`.
///
/// # Errors
/// What was expected.
pub fn portal_in_group(text: &str) -> Result<(String, u16), String> {
    let (address, tag) = in_group(text)?;
    Ok((portal_address(address)?, tag))
}

/// How disks are reached through a portal group: its tag, the access state, and `,preferred`.
///
/// # Errors
/// What was expected.
pub fn portal_group(text: &str) -> Result<PortalGroup, String> {
    const EXPECTED: &str = "expected a portal group tag and a state, such as 2=standby or 1=active,preferred";
    let stripped = text.strip_suffix(",preferred");
    let (tag, state) = stripped.unwrap_or(text).split_once('=').ok_or(EXPECTED)?;
    let (tag, access) = tag_of(tag).zip(access_state(state)).ok_or(EXPECTED)?;
    Ok(PortalGroup { tag, access, preferred: stripped.is_some() })
}

/// A target port group and the state that it is to take: `GROUP=STATE`.
///
/// # Errors
/// What was expected.
pub fn access_change(text: &str) -> Result<(u16, AccessState), String> {
    const EXPECTED: &str =
        "expected GROUP=STATE, a number and active, non-optimized, standby or unavailable, such as 2=standby";
    let (group, state) = text.split_once('=').ok_or(EXPECTED)?;
    let group = number(group).and_then(|group| u16::try_from(group).ok());
    group.zip(access_state(state)).ok_or_else(|| EXPECTED.into())
}

fn access_state(text: &str) -> Option<AccessState> {
    Some(match text {
        "active" | "optimized" => AccessState::ActiveOptimized,
        "non-optimized" => AccessState::ActiveNonOptimized,
        "standby" => AccessState::Standby,
        "unavailable" => AccessState::Unavailable,
        _ => return None,
    })
}

/// Where initiators are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirection {
    /// `host:port`.
    pub address: String,
    /// For good.
    pub permanent: bool,
}

/// A portal, with `,permanent` behind it if initiators are sent there for good.
///
/// # Errors
/// What was expected.
pub fn redirection(text: &str) -> Result<Redirection, String> {
    let stripped = text.strip_suffix(",permanent");
    let address = portal_address(stripped.unwrap_or(text))?;
    Ok(Redirection { address, permanent: stripped.is_some() })
}

/// The ISID of a session as its SCSI port's name shows it: twelve hexadecimal digits, with or without 0x.
///
/// # Errors
/// What was expected.
pub fn isid(text: &str) -> Result<Isid, String> {
    const EXPECTED: &str = "expected an ISID of twelve hexadecimal digits, such as 0x80a1b2c30001";
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    let is_whole = digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = is_whole.then(|| u64::from_str_radix(digits, 16).ok()).flatten().ok_or(EXPECTED)?;
    // RFC 7143 11.12.5-2: as it is written.
    let [_, _, isid @ ..] = number.to_be_bytes();
    // RFC 7143 section 11.12.5: type 11b is reserved.
    if isid[0] >> 6 == 0b11 {
        Err("an ISID of this type is reserved: expected one below c00000000000".into())
    } else {
        Ok(Isid(isid))
    }
}

/// A key of a reservation: a number of 64 bits, decimal or hexadecimal behind 0x.
///
/// # Errors
/// What was expected.
pub fn key(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let hexadecimal = |digits: &str| {
        let is_one = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_one.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
    };
    digits
        .map_or_else(|| number(text), hexadecimal)
        .ok_or_else(|| "expected a key, a number of 64 bits such as 42 or 0x1a2b3c".into())
}

/// A value parser whose errors do not repeat the value, since somebody may have written a secret there.
#[derive(Debug)]
pub struct Hidden<T>(PhantomData<fn() -> T>);

/// Parses a `T` without ever showing the text.
#[must_use]
pub fn hidden<T>() -> Hidden<T> {
    Hidden(PhantomData)
}

impl<T> Clone for Hidden<T> {
    fn clone(&self) -> Self {
        hidden()
    }
}

impl<T> TypedValueParser for Hidden<T>
where
    T: FromStr<Err: Display> + Clone + Send + Sync + 'static,
{
    type Value = T;

    fn parse_ref(&self, command: &clap::Command, flag: Option<&clap::Arg>, value: &OsStr) -> Result<T, clap::Error> {
        let wrong = |message: &dyn Display| {
            let flag = flag.map_or_else(String::new, |flag| format!("{flag}: "));
            command.clone().error(ErrorKind::ValueValidation, format!("{flag}{message}"))
        };
        let text = value.to_str().ok_or_else(|| wrong(&"expected text in UTF-8"))?;
        text.parse().map_err(|error| wrong(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_limit_is_a_time_or_none() {
        assert_eq!("none".parse(), Ok(Limit(None)));
        assert_eq!("2m".parse(), Ok(Limit(Some(Duration::from_secs(120)))));
        assert!("".parse::<Limit>().is_err() && "25h".parse::<Limit>().is_err());
    }

    #[test]
    fn addresses_have_a_port() {
        let listen = |text| listen_address(text).map(|address| address.to_string());
        for (text, address) in [("127.0.0.1:0", "127.0.0.1:0"), ("0.0.0.0", "0.0.0.0:3260"), ("[::1]:5", "[::1]:5")] {
            assert_eq!(listen(text).as_deref(), Ok(address));
        }
        assert_eq!(listen("[::]").as_deref(), Ok("[::]:3260"));
        for wrong in ["", "localhost:3260", "127.0.0.1:99999", "127.0.0.1:", "[::1", "::1]", "127.1"] {
            assert!(listen(wrong).is_err(), "{wrong}");
        }
        assert_eq!(portal_address("storage.example.org").as_deref(), Ok("storage.example.org:3260"));
        assert_eq!(portal_address("[2001:db8::1]:5").as_deref(), Ok("[2001:db8::1]:5"));
        for wrong in ["", "a b:1", "a:b", "::1", "a:0", "a/b", "me@a", "a,1"] {
            assert!(portal_address(wrong).is_err(), "{wrong}");
            assert!(redirection(wrong).is_err() && redirection(&format!("{wrong},permanent")).is_err(), "{wrong}");
        }
        let moved = |permanent| Ok(Redirection { address: "a:5".into(), permanent });
        assert_eq!([redirection("a:5"), redirection("a:5,permanent")], [moved(false), moved(true)]);
    }

    #[test]
    fn portal_groups_have_a_tag() {
        assert_eq!(listen_in_group("[::1]:5,group=7"), Ok(("[::1]:5".parse().unwrap(), 7)));
        assert_eq!(listen_in_group("127.0.0.1"), Ok(("127.0.0.1:3260".parse().unwrap(), 1)));
        assert_eq!(portal_in_group("a:5,group=65535"), Ok(("a:5".into(), 65535)));
        for wrong in ["127.0.0.1,group=0", "127.0.0.1,group=65536", "127.0.0.1,group=", "127.0.0.1,7", ",group=1"] {
            assert!(listen_in_group(wrong).is_err() && portal_in_group(wrong).is_err(), "{wrong}");
        }
        let far = PortalGroup { tag: 2, access: AccessState::Standby, preferred: true };
        assert_eq!(portal_group("2=standby,preferred"), Ok(far));
        assert_eq!(access_change("300=non-optimized"), Ok((300, AccessState::ActiveNonOptimized)));
        for wrong in ["", "2", "=standby", "2=", "2=transitioning", "65536=standby", "2=standby,"] {
            assert!(portal_group(wrong).is_err() && access_change(wrong).is_err(), "{wrong}");
        }
    }

    // RFC 7143 11.12.5-2: an OUI and an enterprise number.
    #[test]
    fn isids_are_six_bytes() {
        assert_eq!(isid("0x80A1b2c30001"), Ok(Isid([0x80, 0xa1, 0xb2, 0xc3, 0, 1])));
        let (oui, enterprise_number) = (0x2a_1b3c_u64, 0x4d_5e6f_u64);
        assert_eq!(isid(&format!("{:012x}", oui << 24 | 7)), Ok(Isid([0x2a, 0x1b, 0x3c, 0, 0, 7])));
        assert_eq!(isid(&format!("40{enterprise_number:06x}0007")), Ok(Isid([0x40, 0x4d, 0x5e, 0x6f, 0, 7])));
        assert_eq!(isid("400000000000"), Ok(Isid([0x40, 0, 0, 0, 0, 0])));
        for wrong in ["", "0x", "80a1b2c3000", "80a1b2c300011", "80a1b2c3000g", "+0a1b2c30001", "c00000000000"] {
            assert!(isid(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_parses_or_fails(text in "\\PC{0,12}") {
            let _ = listen_address(&text);
            let _ = portal_in_group(&text);
            let _ = portal_group(&text);
            let _ = access_change(&text);
            let _ = isid(&text);
        }
    }
}
