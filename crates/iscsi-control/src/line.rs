//! Lines of bounded length that come, or are taken, within bounded time.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 8 << 10;

/// What has come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A line, without its end.
    Whole(Vec<u8>),
    /// A line that was longer than it may be, and is gone.
    TooLong,
    /// The other end says no more. Half a line before that is none.
    End,
}

/// The lines of a stream.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    stream: &'a UnixStream,
    /// What has come and was not given out.
    held: Vec<u8>,
    bytes_max: usize,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(stream: &'a UnixStream, bytes_max: usize) -> Self {
        Self { stream, held: Vec::new(), bytes_max }
    }

    /// The next line.
    ///
    /// # Errors
    /// It has not come as a whole within `time` ([`ErrorKind::TimedOut`]), or the system says why it cannot be read.
    pub(crate) fn next(&mut self, time: Duration) -> io::Result<Line> {
        let until = Instant::now() + time;
        let mut too_long = false;
        let mut searched = 0;
        loop {
            if let Some(end) = self.held[searched..].iter().position(|byte| *byte == b'\n') {
                let rest = self.held.split_off(searched + end + 1);
                let mut line = std::mem::replace(&mut self.held, rest);
                too_long |= line.len() > self.bytes_max;
                line.pop();
                return Ok(if too_long { Line::TooLong } else { Line::Whole(line) });
            }
            if self.held.len() >= self.bytes_max {
                too_long = true;
                self.held.clear();
            }
            searched = self.held.len();
            if self.read_more(until)? == 0 {
                return Ok(Line::End);
            }
        }
    }

    fn read_more(&mut self, until: Instant) -> io::Result<usize> {
        let mut chunk = [0; CHUNK_BYTES];
        loop {
            self.stream.set_read_timeout(Some(remaining(until)?))?;
            match (&mut &*self.stream).read(&mut chunk) {
                Ok(count) => {
                    self.held.extend_from_slice(&chunk[..count]);
                    return Ok(count);
                }
                Err(error) if goes_on(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Sends a line; `text` has no line's end.
///
/// # Errors
/// It was not taken as a whole within `time`, or the system says why it cannot be sent.
pub(crate) fn send(stream: &UnixStream, text: &str, time: Duration) -> io::Result<()> {
    let until = Instant::now() + time;
    let line = format!("{text}\n");
    let mut rest = line.as_bytes();
    while !rest.is_empty() {
        stream.set_write_timeout(Some(remaining(until)?))?;
        match (&mut &*stream).write(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => rest = &rest[count..],
            Err(error) if goes_on(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether it is worth looking at the clock and trying again.
fn goes_on(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn remaining(until: Instant) -> io::Result<Duration> {
    let remaining = until.saturating_duration_since(Instant::now());
    if remaining.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(remaining) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_millis(100);

    fn lines_of(sent: &[u8], bytes_max: usize) -> Vec<Line> {
        let (mut there, here) = UnixStream::pair().unwrap();
        there.write_all(sent).unwrap();
        drop(there);
        let mut lines = Lines::new(&here, bytes_max);
        let mut seen = Vec::new();
        while seen.last() != Some(&Line::End) {
            seen.push(lines.next(TIME).unwrap());
        }
        seen
    }

    fn whole(text: &str) -> Line {
        Line::Whole(text.into())
    }

    #[test]
    fn lines_come_apart_and_half_a_line_is_none() {
        assert_eq!(lines_of(b"one\n\ntwo\nhal", 16), [whole("one"), whole(""), whole("two"), Line::End]);
    }

    #[test]
    fn a_line_may_be_as_long_as_it_may_and_no_longer() {
        assert_eq!(lines_of(b"123\n1234\n12\n", 4), [whole("123"), Line::TooLong, whole("12"), Line::End]);
        let long = [vec![b'x'; 100_000], b"\nnext\n".to_vec()].concat();
        assert_eq!(lines_of(&long, 1000), [Line::TooLong, whole("next"), Line::End]);
    }

    #[test]
    fn silence_after_half_a_line_ends_in_time() {
        let (mut there, here) = UnixStream::pair().unwrap();
        there.write_all(b"half").unwrap();
        let begun = Instant::now();
        let error = Lines::new(&here, 16).next(TIME).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(begun.elapsed() >= TIME);
    }

    #[test]
    fn a_peer_that_does_not_read_is_not_waited_for() {
        let (_there, here) = UnixStream::pair().unwrap();
        let error = send(&here, &"x".repeat(8 << 20), TIME).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
}
