//! The client's end: one request, one answer.

use crate::line::{self, Line, Lines};
use crate::{ANSWER_BYTES_MAX, Answer, REQUEST_BYTES_MAX, REQUEST_TIME, Request};
use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Time that an answer may take: those who asked before are served first, and a target that stops waits for its sessions.
pub const ANSWER_TIME: Duration = Duration::from_secs(120);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens there.
    #[error("no target is running at {0}: start one with iscsi-target --config FILE --control {0}")]
    NoTarget(String),
    /// The socket is another user's.
    #[error("{0} is not yours: its owner and root may ask")]
    NotYours(String),
    /// The request is longer than a target takes.
    #[error("the request is too long: name fewer targets")]
    TooLong,
    /// The target has not answered in time.
    #[error("{0}: no answer within {time} s", time = ANSWER_TIME.as_secs())]
    Silence(String),
    /// What has come is no answer.
    #[error("{path}: no answer of a target: {what}")]
    Strange {
        /// The socket.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// The system says no.
    #[error("{path}: {error}")]
    System {
        /// The socket.
        path: String,
        /// What it says.
        error: io::Error,
    },
}

/// Asks the target at `path`, and waits for its answer.
///
/// # Errors
/// Nobody listens there, who listens is another user, or what comes back is no answer.
pub fn ask(path: &Path, request: &Request) -> Result<Answer, AskError> {
    let name = || path.display().to_string();
    let text = serde_json::to_string(request)
        .map_err(|error| AskError::System { path: name(), error: io::Error::other(error) })?;
    if text.len() >= REQUEST_BYTES_MAX {
        return Err(AskError::TooLong);
    }
    let stream = UnixStream::connect(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => AskError::NoTarget(name()),
        ErrorKind::PermissionDenied => AskError::NotYours(name()),
        _ => AskError::System { path: name(), error },
    })?;
    // A target that sends a client away does not read what it has to say; the answer is there all the same.
    let sent = line::send(&stream, &text, REQUEST_TIME);
    let strange = |what: String| AskError::Strange { path: name(), what };
    match Lines::new(&stream, ANSWER_BYTES_MAX).next(ANSWER_TIME) {
        Ok(Line::Whole(line)) => serde_json::from_slice(&line).map_err(|error| strange(error.to_string())),
        Ok(Line::TooLong) => Err(strange(format!("it has more than {ANSWER_BYTES_MAX} bytes"))),
        Ok(Line::End) => Err(strange("the target is gone".into())),
        Err(error) if error.kind() == ErrorKind::TimedOut => Err(AskError::Silence(name())),
        Err(error) => Err(AskError::System { path: name(), error: sent.err().unwrap_or(error) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixListener;

    #[test]
    fn what_is_wrong_is_told_with_what_to_do() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("c.sock");
        let error = ask(&path, &Request::Status).unwrap_err().to_string();
        assert!(error.starts_with("no target is running at ") && error.contains("iscsi-target --config"), "{error}");
        drop(UnixListener::bind(&path).unwrap());
        let error = ask(&path, &Request::Status).unwrap_err();
        assert!(matches!(error, AskError::NoTarget(_)), "a socket that was left: {error}");
        let names = vec!["x".repeat(REQUEST_BYTES_MAX)];
        let request = Request::Stop { targets: crate::Targets::Named(names) };
        assert!(matches!(ask(&path, &request), Err(AskError::TooLong)));
    }

    #[test]
    fn an_answer_that_is_none_is_told() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("c.sock");
        let listener = UnixListener::bind(&path).unwrap();
        for (said, expected) in [(&b""[..], "the target is gone"), (b"\xff\n", "no answer of a target")] {
            std::thread::scope(|scope| {
                scope.spawn(|| listener.accept().unwrap().0.write_all(said).unwrap());
                let error = ask(&path, &Request::Status).unwrap_err().to_string();
                assert!(error.contains(expected) || error.contains("reset"), "{error}");
            });
        }
    }
}
