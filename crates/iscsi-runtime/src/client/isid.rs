//! Which ISID a session has (RFC 7143 sections 10.1.1 and 11.12.5).
//!
//! In: the names of both nodes. Out: the ISID that stands for the first free place among the sessions between the two on this host, or
//! for a node in an adapter's firmware, which counts its sessions itself, the part that all its ISIDs have.

use super::{ClientError, INITIATOR_NAME};
use crate::hash::fnv_1a;
use iscsi_pdu::Isid;
use iscsi_session::normalise_name;
use std::fmt::Display;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// What tells hosts apart whose initiators have the name that all have.
const HOST_FILES: [&str; 2] = ["/etc/machine-id", "/proc/sys/kernel/hostname"];
/// More than such a file has.
const HOST_BYTES_MAX: u64 = 256;

/// A name that the system gives to one socket at a time, and takes back from a process that has died.
#[derive(Debug)]
struct Claim(#[expect(dead_code, reason = "what counts is that it is open")] UnixDatagram);

impl Claim {
    /// The first of so many places that nobody has on this host, with its number.
    ///
    /// # Errors
    /// If the system refuses a socket, or all 65536 are taken.
    fn first_free(of: impl Display) -> Result<(Self, u16), ClientError> {
        for place in 0..=u16::MAX {
            let name = SocketAddr::from_abstract_name(format!("ferriscsi/{of}/{place}"));
            match name.and_then(|name| UnixDatagram::bind_addr(&name)) {
                Ok(socket) => return Ok((Self(socket), place)),
                Err(error) if error.kind() == ErrorKind::AddrInUse => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ClientError::System(
            "all 65536 places of the initiator's sessions or nodes are in use on this host: end some".into(),
        ))
    }
}

/// An ISID, kept from the other sessions between the two nodes for as long as this lives.
#[derive(Debug)]
pub(super) struct ClaimedIsid {
    pub(super) isid: Isid,
    _claim: Option<Claim>,
}

impl ClaimedIsid {
    /// One that the owner has chosen, and answers for.
    pub(super) fn chosen(isid: Isid) -> Self {
        Self { isid, _claim: None }
    }

    // RFC 7143 10.1.1-1: the same initiator has the same ISID whenever it logs in, and to whichever target.
    /// The first that no session between the two has. Of an initiator's sessions to one target the first has always the same, so has the
    /// second, and no two have one.
    ///
    /// # Errors
    /// If the system refuses a socket, or all 65536 are taken.
    pub(super) fn claim(initiator_name: &str, target_name: Option<&str>) -> Result<Self, ClientError> {
        let initiator_name = normal(initiator_name);
        let nodes = [&initiator_name, "\0", target_name.unwrap_or_default()].concat();
        let (claim, qualifier) = Claim::first_free(format_args!("{:016x}", fnv_1a(nodes.as_bytes())))?;
        let [high, low] = qualifier.to_be_bytes();
        let [one, two, three] = random_part(&initiator_name, 0);
        Ok(Self { isid: Isid([0x80, one, two, three, high, low]), _claim: Some(claim) })
    }
}

/// What all ISIDs of a node in an adapter's firmware begin with, kept from other nodes for as long as this lives. The rest is the
/// firmware's, which tells apart the sessions that it has.
#[derive(Debug)]
pub(super) struct ClaimedNode {
    /// The part that looks random.
    pub(super) random_part: [u8; 3],
    _claim: Claim,
}

impl ClaimedNode {
    // RFC 7143 10.1.1-1: so a node of the same name has the same again.
    /// The first that no node of that name has on this host; no session that is none of firmware has it either.
    ///
    /// # Errors
    /// If the system refuses a socket, or all 65536 are taken.
    pub(super) fn claim(initiator_name: &str) -> Result<Self, ClientError> {
        let initiator_name = normal(initiator_name);
        let (claim, place) = Claim::first_free(format_args!("{:016x}/firmware", fnv_1a(initiator_name.as_bytes())))?;
        Ok(Self { random_part: random_part(&initiator_name, u32::from(place) + 1), _claim: claim })
    }
}

/// The name as it is compared. One that is none is refused at login.
fn normal(initiator_name: &str) -> String {
    normalise_name(initiator_name).unwrap_or_else(|_| initiator_name.to_owned())
}

/// RFC 7143 section 11.12.5: type 10b is 24 bits of a random number and a qualifier. Of one initiator each of the first 65537 is another.
fn random_part(initiator_name: &str, which: u32) -> [u8; 3] {
    let [.., one, two, three] = port_number(initiator_name).wrapping_add(which).to_be_bytes();
    [one, two, three]
}

/// A number that looks random and is the same for the same initiator, on whichever host it is. The name that all initiators have
/// who were not given one stands for no single initiator: there the host has a part in it.
fn port_number(initiator_name: &str) -> u32 {
    let mut source = initiator_name.as_bytes().to_vec();
    if initiator_name == INITIATOR_NAME {
        for file in HOST_FILES {
            // A host that has no such file is told apart by the other.
            drop(File::open(file).and_then(|file| file.take(HOST_BYTES_MAX).read_to_end(&mut source)));
        }
    }
    fnv_1a(&source) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const INITIATOR: &str = "iqn.2026-01.test:isid";

    fn claim(target: &str) -> ClaimedIsid {
        ClaimedIsid::claim(INITIATOR, Some(target)).expect("a free ISID")
    }

    // RFC 7143 10.1.1-1
    #[test]
    fn the_same_use_has_the_same_isid() {
        let first = claim("iqn.2026-01.test:one");
        assert_eq!(first.isid.0[0] >> 6, 0b10);
        let isid = first.isid;
        assert_eq!(claim("iqn.2026-01.test:other").isid, isid, "to each target its own sessions");
        drop(first);
        assert_eq!(claim("iqn.2026-01.test:one").isid, isid, "and again");
        assert_ne!(port_number("iqn.2026-01.test:another"), port_number(INITIATOR));
    }

    #[test]
    fn sessions_at_the_same_time_have_different_isids() {
        let target = "iqn.2026-01.test:busy";
        let (first, second, third) = (claim(target), claim(target), claim(target));
        let isid = second.isid;
        assert!(first.isid != isid && third.isid != isid && first.isid != third.isid);
        drop(second);
        assert_eq!(claim(target).isid, isid, "the first that is free");
    }

    // RFC 7143 10.1.1-1
    #[test]
    fn a_node_in_firmware_has_a_part_of_its_own_and_has_it_again() {
        let initiator = "iqn.2026-01.test:node";
        let part = |name: &str| ClaimedNode::claim(name).expect("a free place");
        let (first, second) = (part(initiator), part(&initiator.to_uppercase()));
        let session = ClaimedIsid::claim(initiator, None).expect("a free ISID").isid.0;
        let parts = [first.random_part, second.random_part, [session[1], session[2], session[3]]];
        assert!(parts[0] != parts[1] && parts[0] != parts[2] && parts[1] != parts[2], "{parts:?}");
        drop(first);
        assert_eq!(part(initiator).random_part, parts[0], "and again");
    }
}
