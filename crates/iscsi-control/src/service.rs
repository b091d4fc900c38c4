//! The target's end: a thread that takes clients, and one for each of them.

use crate::line::{self, Line, Lines};
use crate::place::{PlaceError, Placed};
use crate::{ANSWER_BYTES_MAX, Answer, Problem, REQUEST_BYTES_MAX, Request};
use parking_lot::Mutex;
use rustix::process::{Uid, geteuid};
use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Most clients at once; more are told so and sent away.
pub const CLIENTS_MAX: usize = 16;

/// Time that a request may take to come as a whole, and an answer to be taken. A client that says nothing for so long is sent away.
pub const REQUEST_TIME: Duration = Duration::from_secs(10);

/// How long to wait when the system has no descriptor or thread for a client.
const RETRY: Duration = Duration::from_millis(100);

/// Makes answers of requests, one at a time.
type Handler = Mutex<Box<dyn FnMut(Request) -> Answer + Send>>;

/// A socket at which a target is asked and told things, until this is dropped.
pub struct Service {
    placed: Arc<Placed>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Service").field("placed", &self.placed).finish_non_exhaustive()
    }
}

/// What the threads share.
struct Room {
    handler: Handler,
    clients: AtomicUsize,
    time: Duration,
}

impl Service {
    /// Makes the socket at `path`, and has `handler` answer what is asked there, one request after another.
    ///
    /// # Errors
    /// Somebody else listens there, there is something that is no socket, or the system refuses a socket or a thread.
    pub fn start(path: &Path, handler: impl FnMut(Request) -> Answer + Send + 'static) -> Result<Self, PlaceError> {
        Self::start_with(path, REQUEST_TIME, handler)
    }

    fn start_with(
        path: &Path,
        time: Duration,
        handler: impl FnMut(Request) -> Answer + Send + 'static,
    ) -> Result<Self, PlaceError> {
        let placed = Arc::new(Placed::new(path)?);
        let ending = Arc::new(AtomicBool::new(false));
        let room = Arc::new(Room { handler: Mutex::new(Box::new(handler)), clients: AtomicUsize::new(0), time });
        let (at, stop) = (Arc::clone(&placed), Arc::clone(&ending));
        let run = move || take_clients(&at, &stop, &room);
        let thread = std::thread::Builder::new()
            .name("iscsi-control".into())
            .spawn(run)
            .map_err(|error| PlaceError::System { path: path.display().to_string(), error })?;
        Ok(Self { placed, ending, thread: Some(thread) })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Release);
        // Wakes the thread that waits for clients.
        if let Err(error) = rustix::net::shutdown(&self.placed.listener, rustix::net::Shutdown::Both) {
            tracing::warn!(%error, "the control socket cannot be shut down");
        }
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn take_clients(placed: &Placed, ending: &AtomicBool, room: &Arc<Room>) {
    loop {
        let accepted = placed.listener.accept();
        if ending.load(Ordering::Acquire) {
            return;
        }
        match accepted {
            Ok((stream, _)) => begin(stream, room),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                tracing::warn!(%error, "no client of the control socket can be taken");
                std::thread::sleep(RETRY);
            }
        }
    }
}

/// One of the clients that there may be.
struct Seat(Arc<Room>);

impl Seat {
    fn take(room: &Arc<Room>) -> Option<Self> {
        let taken = |clients: usize| (clients < CLIENTS_MAX).then_some(clients + 1);
        room.clients.fetch_update(Ordering::AcqRel, Ordering::Acquire, taken).ok()?;
        Some(Self(Arc::clone(room)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::AcqRel);
    }
}

fn begin(stream: UnixStream, room: &Arc<Room>) {
    let Some(seat) = Seat::take(room) else {
        let text = format!("{CLIENTS_MAX} clients are there already: try again");
        // A line fits into the socket's buffer; whoever does not read it is not waited for.
        return send_away(&stream, &Answer::error(Problem::Busy, text));
    };
    let spawned = std::thread::Builder::new().name("iscsi-control-client".into()).spawn(move || {
        if let Err(error) = serve(&stream, &seat.0) {
            tracing::debug!(%error, "a client of the control socket is gone");
        }
    });
    if let Err(error) = spawned {
        tracing::warn!(%error, "there is no thread for a client of the control socket");
    }
}

fn send_away(stream: &UnixStream, answer: &Answer) {
    if let Err(error) = reply(stream, answer, RETRY) {
        tracing::debug!(%error, "a client of the control socket was sent away without a word");
    }
}

/// Answers what a client asks until it has nothing more to say.
fn serve(stream: &UnixStream, room: &Room) -> io::Result<()> {
    let peer = rustix::net::sockopt::socket_peercred(stream)?.uid;
    if !may_ask(peer) {
        let text = format!("user {} may not: the owner of the target and root may", peer.as_raw());
        return reply(stream, &Answer::error(Problem::Forbidden, text), room.time);
    }
    let mut lines = Lines::new(stream, REQUEST_BYTES_MAX);
    loop {
        let answer = match lines.next(room.time) {
            Ok(Line::End) => return Ok(()),
            Ok(Line::TooLong) => malformed(&format!("expected a line of at most {REQUEST_BYTES_MAX} bytes")),
            Ok(Line::Whole(line)) => match serde_json::from_slice(&line) {
                Ok(request) => (room.handler.lock())(request),
                Err(error) => malformed(&error.to_string()),
            },
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                let text = format!("expected a whole line within {} s", room.time.as_secs_f32());
                return reply(stream, &malformed(&text), room.time);
            }
            Err(error) => return Err(error),
        };
        reply(stream, &answer, room.time)?;
    }
}

fn may_ask(peer: Uid) -> bool {
    peer == geteuid() || peer.is_root()
}

fn malformed(what: &str) -> Answer {
    Answer::error(Problem::Malformed, format!("no request: {what}"))
}

fn reply(stream: &UnixStream, answer: &Answer, time: Duration) -> io::Result<()> {
    let text = match serde_json::to_string(answer) {
        Ok(text) if text.len() < ANSWER_BYTES_MAX => text,
        _ => r#"{"answer":"error","problem":"refused","messages":["the answer is too long: ask for less"]}"#.into(),
    };
    line::send(stream, &text, time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask;
    use proptest::prelude::*;
    use std::io::{BufRead, BufReader, Write};
    use std::path::PathBuf;
    use std::time::Instant;
    use tempfile::TempDir;

    const TIME: Duration = Duration::from_millis(300);

    struct Served {
        _service: Service,
        _folder: TempDir,
        path: PathBuf,
    }

    fn served(handler: impl FnMut(Request) -> Answer + Send + 'static) -> Served {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("c.sock");
        Served { _service: Service::start_with(&path, TIME, handler).unwrap(), _folder: folder, path }
    }

    impl Served {
        /// Sends bytes, and gives the lines that come until the service has no more to say.
        fn say(&self, bytes: &[u8]) -> Vec<Answer> {
            let mut stream = UnixStream::connect(&self.path).unwrap();
            stream.write_all(bytes).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            answers(stream).collect()
        }
    }

    fn answers(stream: UnixStream) -> impl Iterator<Item = Answer> {
        BufReader::new(stream).lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap())
    }

    fn is_malformed(answer: &Answer) -> bool {
        matches!(answer, Answer::Error { problem: Problem::Malformed, .. })
    }

    #[test]
    fn each_line_has_an_answer_and_a_bad_one_costs_an_error_line() {
        let served = served(|_| Answer::done());
        let status = serde_json::to_string(&Request::Status).unwrap();
        let said = served.say(format!("{status}\nnonsense\n{status}\n\n{{\"request\":\"status\"}}\n").as_bytes());
        assert_eq!(said.iter().map(is_malformed).collect::<Vec<_>>(), [false, true, false, true, false]);
    }

    #[test]
    fn an_unknown_request_or_member_is_told_by_name() {
        let served = served(|_| Answer::done());
        let said = served.say(b"{\"request\":\"reboot\"}\n{\"request\":\"stop\",\"targets\":\"all\",\"now\":1}\n");
        let [Answer::Error { messages: first, .. }, Answer::Error { messages: second, .. }] = &said[..] else {
            panic!("{said:?}");
        };
        assert!(first[0].contains("`reboot`") && first[0].contains("`sessions`"), "{first:?}");
        assert!(second[0].contains("`now`"), "{second:?}");
    }

    #[test]
    fn a_line_that_is_too_long_costs_an_error_line() {
        let served = served(|_| Answer::done());
        let said = served.say(&[vec![b'x'; REQUEST_BYTES_MAX + 1], b"\n{\"request\":\"status\"}\n".to_vec()].concat());
        assert_eq!(said.iter().map(is_malformed).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn half_a_line_and_silence_cost_an_error_line_and_others_are_served_meanwhile() {
        let served = served(|_| Answer::done());
        let mut silent = UnixStream::connect(&served.path).unwrap();
        silent.write_all(b"{\"request\":").unwrap();
        let begun = Instant::now();
        assert_eq!(ask(&served.path, &Request::Status).unwrap(), Answer::done());
        assert!(begun.elapsed() < TIME);
        let said: Vec<_> = answers(silent).collect();
        assert!(matches!(&said[..], [answer] if is_malformed(answer)), "{said:?}");
        assert_eq!(ask(&served.path, &Request::Status).unwrap(), Answer::done());
    }

    #[test]
    fn requests_are_carried_out_one_after_another_and_answers_do_not_mix() {
        let inside = AtomicBool::new(false);
        let served = served(move |request| {
            assert!(!inside.swap(true, Ordering::AcqRel), "two at once");
            std::thread::sleep(Duration::from_millis(1));
            inside.store(false, Ordering::Release);
            let Request::SetGlobal { key, value } = request else { panic!("{request:?}") };
            Answer::Done { notes: vec![format!("{key}={value}"); 1000] }
        });
        std::thread::scope(|scope| {
            for client in 0..8 {
                let path = &served.path;
                scope.spawn(move || {
                    for number in 0..20 {
                        let (key, value) = (client.to_string(), number.to_string());
                        let notes = vec![format!("{key}={value}"); 1000];
                        assert_eq!(ask(path, &Request::SetGlobal { key, value }).unwrap(), Answer::Done { notes });
                    }
                });
            }
        });
    }

    #[test]
    fn clients_are_bounded_and_those_that_go_make_place() {
        let served = served(|_| Answer::done());
        let idle: Vec<_> = (0..CLIENTS_MAX).map(|_| UnixStream::connect(&served.path).unwrap()).collect();
        let answer = ask(&served.path, &Request::Status).unwrap();
        assert!(matches!(answer, Answer::Error { problem: Problem::Busy, .. }), "{answer:?}");
        drop(idle);
        let until = Instant::now() + Duration::from_secs(10);
        while ask(&served.path, &Request::Status).unwrap() != Answer::done() {
            assert!(Instant::now() < until);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_handler_that_panics_costs_its_client_the_answer_alone() {
        let served = served(|request| if request == Request::Globals { panic!("a bug") } else { Answer::done() });
        assert!(ask(&served.path, &Request::Globals).is_err());
        for _ in 0..=CLIENTS_MAX {
            assert_eq!(ask(&served.path, &Request::Status).unwrap(), Answer::done());
        }
    }

    #[test]
    fn nobody_but_the_owner_and_root_may_ask() {
        assert!(may_ask(geteuid()));
        assert!(may_ask(Uid::ROOT));
        assert!(!may_ask(Uid::from_raw(geteuid().as_raw() + 1)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn whatever_is_said_each_line_has_one_answer(said in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let served = served(|_| Answer::done());
            let lines = said.iter().filter(|byte| **byte == b'\n').count();
            prop_assert_eq!(served.say(&said).len(), lines);
            prop_assert_eq!(ask(&served.path, &Request::Status).unwrap(), Answer::done());
        }
    }
}
