//! Several sessions on one thread: each is a future that waits at its [`Seat`] for what happens to it.
//!
//! In: what happens on the network that they share. Out: to each what is its own. A future is looked after when something has happened
//! to it, when its time has come, and when somebody has used the waker; it has no other way to be woken.

use crate::network::{Endpoint, Happening, Port, Readiness, Stream};
use iscsi_pdu::Cid;
use iscsi_transport::{BufferPool, Capture};
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// What has happened to a session since it looked last.
#[derive(Default)]
pub(super) struct Happened {
    /// Connections that are ready for something.
    pub(super) ready: Vec<(Cid, Readiness)>,
    /// Connections that were asked for, or why there are none.
    pub(super) connected: Vec<(Cid, io::Result<Stream>)>,
}

/// What the thread keeps for one seat.
#[derive(Default)]
struct Place {
    happened: Happened,
    /// Whether the future has something to look at.
    is_called: bool,
    /// When its time has come.
    due: Option<Instant>,
    /// Counts its sessions: what happens to one that is over is not told to the next.
    epoch: u16,
    /// Why there is nothing to wait for any more.
    failure: Option<String>,
}

/// The seats of a thread.
pub(super) struct Table<'a> {
    endpoint: &'a RefCell<Endpoint>,
    places: Vec<RefCell<Place>>,
}

impl<'a> Table<'a> {
    pub(super) fn new(endpoint: &'a RefCell<Endpoint>, seats: usize) -> Self {
        Self { endpoint, places: (0..seats).map(|_| RefCell::default()).collect() }
    }

    pub(super) fn seat(&'a self, index: usize) -> Seat<'a> {
        Seat { table: self, index }
    }

    /// Runs futures until all have ended, each at the seat of its place in the list.
    pub(super) fn run<F: Future>(&self, futures: Vec<F>) -> Vec<F::Output> {
        let mut ends: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
        let mut running: Vec<(usize, Pin<Box<F>>)> = futures.into_iter().map(Box::pin).enumerate().collect();
        let mut context = Context::from_waker(Waker::noop());
        let mut happened = Vec::new();
        self.call_all();
        loop {
            let now = Instant::now();
            running.retain_mut(|(index, future)| {
                let is_called = self.places[*index].borrow_mut().take_call(now);
                if is_called && let Poll::Ready(end) = future.as_mut().poll(&mut context) {
                    ends[*index] = Some(end);
                    return false;
                }
                true
            });
            if running.is_empty() {
                return ends.into_iter().flatten().collect();
            }
            let timeout = self.timeout(running.iter().map(|(index, _)| *index));
            if let Err(error) = self.endpoint.borrow_mut().wait(&mut happened, timeout) {
                self.places.iter().for_each(|place| place.borrow_mut().failure = Some(error.to_string()));
                self.call_all();
            }
            happened.drain(..).for_each(|happening| self.tell(happening));
        }
    }

    /// How long to wait until the first of those has its time.
    fn timeout(&self, mut indices: impl Iterator<Item = usize> + Clone) -> Option<Duration> {
        if indices.clone().any(|index| self.places[index].borrow().is_called) {
            return Some(Duration::ZERO);
        }
        let due = indices.by_ref().filter_map(|index| self.places[index].borrow().due).min()?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    fn call_all(&self) {
        self.places.iter().for_each(|place| place.borrow_mut().is_called = true);
    }

    fn tell(&self, happening: Happening) {
        let note = |token: usize, note: &mut dyn FnMut(&mut Happened, Cid)| {
            if let Some(place) = self.places.get(token >> 32) {
                place.borrow_mut().note(token, note);
            }
        };
        match happening {
            Happening::Woken => self.call_all(),
            Happening::Ready(token, readiness) => {
                note(token, &mut |happened, cid| happened.ready.push((cid, readiness)))
            }
            Happening::Connected(token, connected) => {
                let mut connected = Some(connected);
                note(token, &mut |happened, cid| happened.connected.extend(connected.take().map(|end| (cid, end))));
            }
            Happening::Incoming(_) => unreachable!("an initiator does not listen"),
        }
    }
}

/// Where one of a thread's sessions waits, and connects.
pub(super) struct Seat<'a> {
    table: &'a Table<'a>,
    index: usize,
}

impl Seat<'_> {
    /// Waits until something has happened, it is time, or somebody has used the waker. Others have their turn meanwhile.
    ///
    /// # Errors
    /// The network fails.
    pub(super) async fn wait(&self, due: Option<Instant>, happened: &mut Happened) -> io::Result<()> {
        self.place().borrow_mut().due = due;
        let mut has_waited = false;
        std::future::poll_fn(
            |_| if std::mem::replace(&mut has_waited, true) { Poll::Ready(()) } else { Poll::Pending },
        )
        .await;
        let mut place = self.place().borrow_mut();
        std::mem::swap(&mut place.happened, happened);
        place.failure.as_ref().map_or(Ok(()), |text| Err(io::Error::other(text.clone())))
    }

    /// A new session begins: what was asked for before is not told any more.
    pub(super) fn begin_session(&self) {
        let mut place = self.place().borrow_mut();
        place.epoch = place.epoch.wrapping_add(1);
        place.happened = Happened::default();
    }

    /// Begins to connect; it is told by [`Happened::connected`].
    pub(super) fn connect(&self, cid: Cid, address: &str, timeout: Duration) {
        self.table.endpoint.borrow_mut().connect(self.token(cid), address, timeout);
        // Some is known at once.
        self.place().borrow_mut().is_called = true;
    }

    /// A port on a connection.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn open_port(
        &self,
        cid: Cid,
        stream: Stream,
        buffers: &BufferPool,
        capture: Option<&Capture>,
    ) -> io::Result<Port> {
        Ok(self.table.endpoint.borrow_mut().open_port(self.token(cid), stream, buffers, capture)?.0)
    }

    fn place(&self) -> &RefCell<Place> {
        &self.table.places[self.index]
    }

    fn token(&self, cid: Cid) -> usize {
        self.index << 32 | usize::from(self.place().borrow().epoch) << 16 | usize::from(cid.0)
    }
}

impl Place {
    /// Whether its future is to be looked after; it is called no more then.
    fn take_call(&mut self, now: Instant) -> bool {
        std::mem::take(&mut self.is_called) || self.due.is_some_and(|due| due <= now)
    }

    /// Notes what has happened, unless it is of a session that is over.
    fn note(&mut self, token: usize, note: impl FnOnce(&mut Happened, Cid)) {
        if (token >> 16) as u16 == self.epoch {
            note(&mut self.happened, Cid(token as u16));
            self.is_called = true;
        }
    }
}
