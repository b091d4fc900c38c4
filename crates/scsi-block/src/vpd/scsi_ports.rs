//! Page 88h: the ports of the device (SPC-4 7.8.14).

use super::{body, page};
use crate::designator::Designator;
use crate::octets::{DecodeError, be16};

/// Page 88h.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScsiPorts(pub Vec<ScsiPort>);

/// One port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScsiPort {
    /// RELATIVE PORT IDENTIFIER.
    pub identifier: u16,
    /// INITIATOR PORT TRANSPORTID, empty if the port is no initiator port.
    pub initiator_port: Vec<u8>,
    /// The names of the target port; none if it is no target port, or has no name.
    pub target_port: Vec<Designator>,
}

const WHAT: &str = "a port of VPD page 88h";

impl ScsiPort {
    fn encode(&self, to: &mut Vec<u8>) {
        let mut names = Vec::new();
        self.target_port.iter().for_each(|name| name.encode(&mut names));
        to.extend([0; 2]);
        to.extend(self.identifier.to_be_bytes());
        for part in [&self.initiator_port, &names] {
            to.extend([0; 2]);
            to.extend((part.len() as u16).to_be_bytes());
            to.extend(part);
        }
    }

    /// Takes one port off the front of `list`.
    fn decode(list: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let short = |needed| DecodeError::Short { what: WHAT, there: list.len(), needed };
        let (head, rest) = list.split_first_chunk::<4>().ok_or(short(4))?;
        let (initiator_port, rest) = part(rest).ok_or(short(8))?;
        let (names, rest) = part(rest).ok_or(short(12 + initiator_port.len()))?;
        let port = Self {
            identifier: be16(head, 2),
            initiator_port: initiator_port.to_vec(),
            target_port: Designator::decode_list(names)?,
        };
        Ok((port, rest))
    }
}

/// What lies behind its length, and the rest.
fn part(list: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = list.split_first_chunk::<4>()?;
    rest.split_at_checked(be16(head, 2).into())
}

impl ScsiPorts {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.0.iter().for_each(|port| port.encode(&mut bytes));
        bytes
    }

    /// Reads the page.
    ///
    /// # Errors
    /// The header is cut or is another page's, or the list ends inside a port.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut list = body("VPD page 88h", page::SCSI_PORTS, bytes)?;
        let mut ports = Vec::new();
        while !list.is_empty() {
            let (port, rest) = ScsiPort::decode(list)?;
            ports.push(port);
            list = rest;
        }
        Ok(Self(ports))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::designator::Association;
    use crate::inquiry::Peripheral;
    use crate::vpd::with_header;

    #[test]
    fn it_lies_where_spc_draws_it() {
        let name = Designator::scsi_name(Association::TargetPort, Some(5), "iqn.a,t,0x0001");
        let ports = ScsiPorts(vec![
            ScsiPort { identifier: 1, initiator_port: Vec::new(), target_port: vec![name] },
            ScsiPort { identifier: 0x0203, initiator_port: vec![7; 4], target_port: Vec::new() },
        ]);
        let page = with_header(Peripheral::DIRECT_ACCESS, page::SCSI_PORTS, &ports.encode());
        assert_eq!(page[..16], [0, 0x88, 0, 0x30, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 20]);
        assert_eq!(page[16..20], [0x53, 0x98, 0, 16]);
        assert_eq!(page[36..], [0, 0, 2, 3, 0, 0, 0, 4, 7, 7, 7, 7, 0, 0, 0, 0]);
        assert_eq!(ScsiPorts::decode(&page), Ok(ports));
        assert!(ScsiPorts::decode(&page[..50]).is_err());
    }
}
