//! A relay over TCP that is a bad network: it cuts connections, stalls, splits what it passes on, and flips bits.
//!
//! In: where to pass everything on to, what faults there are, and a seed. Out: the same bytes, but for the faults; and which faults
//! there were.

mod lane;

pub use lane::{Faults, Gap, Lane, Step};

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

/// Bytes that are taken at once.
const RECEIVE_BYTES: usize = 64 * 1024;

/// A listening relay.
#[derive(Debug)]
pub struct Relay {
    listener: TcpListener,
    to: SocketAddr,
    faults: Faults,
    seed: u64,
}

impl Relay {
    /// A relay on a free port of the loopback address, to `to`. The seed makes the places of the faults.
    ///
    /// # Errors
    /// The system has no port.
    pub fn new(to: SocketAddr, faults: Faults, seed: u64) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?, to, faults, seed })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves for ever; says of each fault that is no split what it was.
    ///
    /// # Errors
    /// The system gives no connections any more.
    pub fn run(&self, tell: fn(&str)) -> io::Result<()> {
        for number in 0.. {
            let ours = self.listener.accept()?.0;
            // A target that is not there is for the initiator like a connection that ends at once.
            let Ok(theirs) = TcpStream::connect(self.to) else { continue };
            for (direction, from, to) in [(0, &ours, &theirs), (1, &theirs, &ours)] {
                from.set_nodelay(true)?;
                let lane = Lane::new(&self.faults, self.seed.wrapping_add(2 * number + direction));
                let (from, to) = (from.try_clone()?, to.try_clone()?);
                thread::spawn(move || carry(lane, from, to, tell));
            }
        }
        Ok(())
    }
}

/// Carries bytes one way until either end closes, or the lane cuts; then the other way ends as well.
fn carry(mut lane: Lane, mut from: TcpStream, mut to: TcpStream, tell: fn(&str)) {
    let mut bytes = vec![0; RECEIVE_BYTES];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if carry_piece(&mut lane, &mut bytes[..count], &mut to, tell).is_err() {
            break;
        }
    }
    for end in [from, to] {
        // One that has ended already is what is wanted.
        drop(end.shutdown(Shutdown::Both));
    }
}

fn carry_piece(lane: &mut Lane, bytes: &mut [u8], to: &mut TcpStream, tell: fn(&str)) -> io::Result<()> {
    for step in lane.take(bytes) {
        match step {
            Step::Pass(range) => to.write_all(&bytes[range])?,
            Step::Flipped => tell("flip"),
            Step::Stall(time) => {
                tell("stall");
                thread::sleep(time);
            }
            Step::Cut => {
                tell("cut");
                return Err(io::ErrorKind::ConnectionReset.into());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A relay in front of an echo.
    fn echo_behind(faults: Faults) -> SocketAddr {
        let echo = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let relay = Relay::new(echo.local_addr().expect("an address"), faults, 7).expect("a relay");
        let address = relay.address().expect("an address");
        thread::spawn(move || relay.run(|_| {}));
        thread::spawn(move || {
            for stream in echo.incoming() {
                let mut stream = stream.expect("a connection");
                let mut back = stream.try_clone().expect("a handle");
                thread::spawn(move || drop(io::copy(&mut stream, &mut back)));
            }
        });
        address
    }

    #[test]
    fn what_has_no_faults_comes_through() {
        let address = echo_behind(Faults { split_max: Some(100), ..Faults::default() });
        let mut stream = TcpStream::connect(address).expect("a connection");
        let sent: Vec<u8> = (0..10_000_u32).map(|number| number as u8).collect();
        stream.write_all(&sent).expect("the relay takes it");
        let mut received = vec![0; sent.len()];
        stream.read_exact(&mut received).expect("all comes back");
        assert_eq!(sent, received);
    }

    #[test]
    fn a_cut_ends_both_ways_and_the_next_connection_lives() {
        let address = echo_behind(Faults { cut: Some(Gap::exactly(1000)), ..Faults::default() });
        for _ in 0..2 {
            let mut stream = TcpStream::connect(address).expect("a connection");
            stream.write_all(&[7; 5000]).expect("the relay takes it");
            let mut received = Vec::new();
            // A reset or an end: nothing more comes.
            drop(stream.read_to_end(&mut received));
            assert!(received.len() <= 1000 && received.iter().all(|byte| *byte == 7), "{}", received.len());
        }
    }
}
