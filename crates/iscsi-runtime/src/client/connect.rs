//! From the address of a target to a connection.

use super::ClientError;
use crate::url::DEFAULT_PORT;
use mio::net::TcpStream;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

/// Connects within `timeout`, to any of the addresses that a name has.
pub(super) fn connect(address: &str, timeout: Duration) -> Result<TcpStream, ClientError> {
    let failed = |error: io::Error| ClientError::Connect { address: address.into(), error: error.to_string() };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for candidate in resolve(address).map_err(failed)? {
        match std::net::TcpStream::connect_timeout(&candidate, timeout) {
            Ok(stream) => {
                stream.set_nonblocking(true)?;
                return Ok(TcpStream::from_std(stream));
            }
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

fn resolve(address: &str) -> io::Result<Vec<SocketAddr>> {
    // RFC 7143 section 13.8 writes IPv6 addresses in brackets and leaves out the port, and a redirect may carry a group tag.
    let address = address.split(',').next().unwrap_or_default();
    let has_port = address
        .rsplit_once(':')
        .is_some_and(|(host, port)| port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']')));
    let with_port = if has_port { address.to_owned() } else { format!("{address}:{DEFAULT_PORT}") };
    Ok(with_port.to_socket_addrs()?.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_leave_out_its_port() {
        let one = |text: &str| resolve(text).unwrap()[0].to_string();
        assert_eq!(one("127.0.0.1"), "127.0.0.1:3260");
        assert_eq!(one("127.0.0.1:1"), "127.0.0.1:1");
        assert_eq!(one("[::1]"), "[::1]:3260");
        assert_eq!(one("[::1]:7"), "[::1]:7");
        assert_eq!(one("127.0.0.1:5,1"), "127.0.0.1:5");
        assert!(resolve("").is_err());
    }
}
