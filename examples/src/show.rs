//! Values for people.

use std::io::Write;

/// A size in the largest unit that leaves it whole, or with one decimal in the largest that it fills.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let whole = (bytes.trailing_zeros() / 10).min(6) as usize;
    let filled = (bytes.max(1).ilog2() / 10) as usize;
    if bytes == 0 || filled == 0 {
        return format!("{bytes} bytes");
    }
    if bytes >> (10 * whole) < 10_000 {
        return format!("{} {}", bytes >> (10 * whole), UNITS[whole]);
    }
    format!("{:.1} {}", bytes as f64 / (1u64 << (10 * filled)) as f64, UNITS[filled])
}

/// Text from a peer, with what could control a terminal made visible.
#[must_use]
pub fn text(peer: &str) -> String {
    peer.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}

/// Prints lines to stdout at once. That nobody reads them is no failure.
pub fn print(lines: &str) {
    let mut stdout = std::io::stdout().lock();
    let written = writeln!(stdout, "{lines}").and_then(|()| stdout.flush());
    if let Err(error) = written
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        tracing::warn!(%error, "cannot write to stdout");
    }
}

/// Prints a line to stderr. That nobody reads it is no failure.
pub fn complain(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_keep_what_matters() {
        assert_eq!(size(0), "0 bytes");
        assert_eq!(size(512), "512 bytes");
        assert_eq!(size(4096), "4 KiB");
        assert_eq!(size(1536 << 20), "1536 MiB");
        assert_eq!(size(1 << 40), "1 TiB");
        assert_eq!(size(1_000_000_000_000), "931.3 GiB");
        assert_eq!(size(u64::MAX), "16.0 EiB");
    }

    #[test]
    fn a_peer_cannot_control_the_terminal() {
        assert_eq!(text("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
