//! Which ISID a session has (RFC 7143 sections 10.1.1 and 11.12.5).
//!
//! In: the names of both nodes. Out: the ISID that stands for the first free place among the sessions between the two on this host.

use super::{ClientError, INITIATOR_NAME};
use crate::hash::fnv_1a;
use iscsi_pdu::Isid;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// What tells hosts apart whose initiators have the name that all have.
const HOST_FILES: [&str; 2] = ["/etc/machine-id", "/proc/sys/kernel/hostname"];
/// More than such a file has.
const HOST_BYTES_MAX: u64 = 256;

/// An ISID, kept from the other sessions between the two nodes for as long as this lives.
#[derive(Debug)]
pub(super) struct ClaimedIsid {
    pub(super) isid: Isid,
    /// Its name is the claim: the system gives it to one socket at a time, and takes it back from a process that has died.
    _claim: Option<UnixDatagram>,
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
        let port = port_number(initiator_name);
        let nodes = [initiator_name, "\0", target_name.unwrap_or_default()].concat();
        let nodes = fnv_1a(nodes.as_bytes());
        for qualifier in 0..=u16::MAX {
            let name = format!("ferriscsi/{nodes:016x}/{qualifier}");
            match SocketAddr::from_abstract_name(name).and_then(|name| UnixDatagram::bind_addr(&name)) {
                Ok(claim) => return Ok(Self { isid: random_isid(port, qualifier), _claim: Some(claim) }),
                Err(error) if error.kind() == ErrorKind::AddrInUse => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ClientError::System("all sessions that an initiator may have to one target are in use".into()))
    }
}

/// RFC 7143 section 11.12.5: type 10b is 24 bits of a random number and a qualifier.
fn random_isid([.., one, two, three]: [u8; 8], qualifier: u16) -> Isid {
    let [high, low] = qualifier.to_be_bytes();
    Isid([0x80, one, two, three, high, low])
}

/// A number that looks random and is the same for the same initiator, on whichever host it is. The name that all initiators have
/// who were not given one stands for no single initiator: there the host has a part in it.
fn port_number(initiator_name: &str) -> [u8; 8] {
    let mut source = initiator_name.as_bytes().to_vec();
    if initiator_name == INITIATOR_NAME {
        for file in HOST_FILES {
            // A host that has no such file is told apart by the other.
            drop(File::open(file).and_then(|file| file.take(HOST_BYTES_MAX).read_to_end(&mut source)));
        }
    }
    fnv_1a(&source).to_be_bytes()
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
}
