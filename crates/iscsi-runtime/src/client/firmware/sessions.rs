//! The sessions of one run, each with its workload.
//!
//! In: what the firmware says. Out: commands, as long as workloads have some and there is room for them.

use super::super::{ClientError, Next, Workload};
use super::translation::{self, Wanted};
use super::{FirmwareLoop, silent, system};
use iscsi_node::initiator::{Outcome, Request};
use iscsi_pdu::RejectReason;
use iscsi_session::initiator::Transfer;
use std::time::{Duration, Instant};
use t5_hal::driver::DriverError;
use t5_hal::driver::initiator::{Completion, InitiatorEvent, RequestId, SessionRequest};
use t5_hal::wire::{FoiscsiState, ReturnCode};

/// How long to wait before a command is given again that the firmware was too busy for though nothing of ours is under way.
const BUSY_PAUSE: Duration = Duration::from_millis(1);

pub(super) struct Sessions<'a, W> {
    firmware: &'a mut FirmwareLoop,
    wanted: &'a Wanted,
    seats: Vec<Seat<W>>,
    /// Commands under way, by the slots of their requests.
    commands: Vec<Option<Command>>,
    in_flight: usize,
    /// Whether a command has ended since one found no room.
    has_room: bool,
    /// Commands under way that may take as long as they like, and the longest time that any other was given.
    endless: usize,
    time_max: Duration,
    /// When logins have to be over; none if never.
    login_due: Option<Instant>,
}

/// A workload and its session.
struct Seat<W> {
    workload: W,
    stage: Stage,
    in_flight: usize,
    /// How many may be under way, as far as the firmware has told by being too busy.
    in_flight_max: usize,
    /// Commands that found no room, the one to be given first last.
    waiting: Vec<(u64, Request)>,
    /// Whether the workload wants no more.
    is_finished: bool,
    /// Whether there is something to look at.
    is_called: bool,
    /// What went wrong first.
    error: Option<ClientError>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    LoggingIn(RequestId),
    Open(RequestId),
    LoggingOut(RequestId),
    Over,
}

struct Command {
    seat: usize,
    token: u64,
    /// To be given again if the firmware is too busy.
    request: Request,
    /// How long it may take; none if for ever.
    time: Option<Duration>,
}

/// What becomes of a command that is given to the firmware.
enum Given {
    /// It is under way.
    Begun(RequestId),
    /// There is no room for it now.
    NoRoom,
    /// The firmware has no such command.
    None,
    /// The driver can go on no more.
    Failed(DriverError),
}

impl<'a, W: Workload> Sessions<'a, W> {
    /// Begins to log in for each workload.
    pub(super) fn new(
        firmware: &'a mut FirmwareLoop,
        session: &SessionRequest,
        wanted: &'a Wanted,
        workloads: Vec<W>,
    ) -> Self {
        let seat = |workload| {
            let (stage, error) = match firmware.initiator.log_in(session) {
                Ok(id) => (Stage::LoggingIn(id), None),
                Err(error) => (Stage::Over, Some(system(error))),
            };
            let (in_flight, in_flight_max, waiting) = (0, usize::MAX, Vec::new());
            Seat { workload, stage, in_flight, in_flight_max, waiting, is_finished: false, is_called: false, error }
        };
        let seats = workloads.into_iter().map(seat).collect();
        let login_due = Instant::now().checked_add(wanted.login_timeout);
        Self {
            firmware,
            wanted,
            seats,
            commands: Vec::new(),
            in_flight: 0,
            has_room: true,
            endless: 0,
            time_max: Duration::ZERO,
            login_due,
        }
    }

    /// Runs all sessions until none is left.
    pub(super) fn run(mut self) -> Vec<Result<W, ClientError>> {
        while self.seats.iter().any(|seat| seat.stage != Stage::Over) {
            let (patience, login_due) = self.patience(Instant::now());
            match self.firmware.wait(patience) {
                Ok(true) => {}
                Ok(false) if login_due => {}
                Ok(false) => self.give_up(&silent(patience)),
                Err(error) => self.give_up(&error),
            }
            let now = Instant::now();
            while let Some(event) = self.firmware.events.pop_front() {
                self.handle_event(now, event);
            }
            self.end_late_logins(now);
            let has_room = std::mem::take(&mut self.has_room);
            for at in 0..self.seats.len() {
                let seat = &mut self.seats[at];
                if std::mem::take(&mut seat.is_called) || has_room && !seat.waiting.is_empty() {
                    self.advance(now, at);
                }
            }
        }
        let end = |seat: Seat<W>| match seat.error {
            Some(error) => Err(error),
            None => Ok(seat.workload),
        };
        self.seats.into_iter().map(end).collect()
    }

    /// How long to wait for the firmware, and whether that is because of logins.
    fn patience(&self, now: Instant) -> (Duration, bool) {
        let silence = self.wanted.silence_max((self.endless == 0).then_some(self.time_max));
        let logs_in = self.seats.iter().any(|seat| matches!(seat.stage, Stage::LoggingIn(_)));
        let login = self.login_due.filter(|_| logs_in).map(|due| due.saturating_duration_since(now));
        login.filter(|login| *login < silence).map_or((silence, false), |login| (login, true))
    }

    /// Ends sessions whose logins have taken too long.
    fn end_late_logins(&mut self, now: Instant) {
        if self.login_due.is_none_or(|due| now < due) {
            return;
        }
        for seat in self.seats.iter_mut().filter(|seat| matches!(seat.stage, Stage::LoggingIn(_))) {
            let code = ReturnCode::TimedOut;
            seat.end(now, Some(ClientError::FirmwareLogin { address: self.wanted.address(), code }));
        }
    }

    fn handle_event(&mut self, now: Instant, event: InitiatorEvent) {
        match event {
            InitiatorEvent::Completed { command, completion } => self.handle_end(now, command, completion),
            InitiatorEvent::Online { session, .. } => {
                match self.seats.iter_mut().find(|seat| seat.stage == Stage::LoggingIn(session)) {
                    Some(seat) => (seat.stage, seat.is_called) = (Stage::Open(session), true),
                    // Nobody waits for it any more. If there is no room, it stays: it does no harm.
                    None => drop(self.firmware.initiator.log_out(session)),
                }
            }
            InitiatorEvent::Ended { session, state, code } => self.handle_session_end(session, state, code),
            InitiatorEvent::Done { .. } | InitiatorEvent::Aborted { .. } => {}
        }
    }

    fn handle_end(&mut self, now: Instant, id: RequestId, completion: Completion) {
        let Some(Command { seat, token, request, time }) = self.commands.get_mut(id.slot()).and_then(Option::take)
        else {
            return;
        };
        let seat = &mut self.seats[seat];
        (self.in_flight, seat.in_flight) = (self.in_flight - 1, seat.in_flight - 1);
        self.endless -= usize::from(time.is_none());
        if translation::is_busy(completion.code) {
            // Given again at once it would come back at once: the end of another makes room.
            seat.waiting.push((token, request));
            seat.in_flight_max = seat.in_flight.max(1);
            if self.in_flight == 0 {
                std::thread::sleep(BUSY_PAUSE);
                self.has_room = true;
            }
            return;
        }
        (seat.is_called, self.has_room) = (true, true);
        seat.in_flight_max = seat.in_flight_max.saturating_add(1);
        seat.workload.complete(now, token, translation::outcome(completion));
    }

    fn handle_session_end(&mut self, session: RequestId, state: FoiscsiState, code: ReturnCode) {
        let is_its = |seat: &&mut Seat<W>| {
            [Stage::LoggingIn(session), Stage::Open(session), Stage::LoggingOut(session)].contains(&seat.stage)
        };
        let Some(seat) = self.seats.iter_mut().find(is_its) else { return };
        let error = match seat.stage {
            Stage::LoggingOut(_) if state == FoiscsiState::Free => None,
            Stage::LoggingIn(_) => Some(ClientError::FirmwareLogin { address: self.wanted.address(), code }),
            _ => Some(ClientError::Lost(format!("the adapter's firmware says {code:?}"))),
        };
        seat.end(Instant::now(), error);
    }

    /// Gives the firmware what a workload wants, and ends its session once it wants no more.
    fn advance(&mut self, now: Instant, at: usize) {
        let Stage::Open(session) = self.seats[at].stage else { return };
        while let Some((token, request)) = self.seats[at].next(now) {
            let time = self.wanted.time_for(&request);
            match self.give(session, &request, time) {
                Given::Begun(id) => self.remember(id, Command { seat: at, token, request, time }),
                // A command that ends makes room.
                Given::NoRoom if self.in_flight > 0 => {
                    self.seats[at].waiting.push((token, request));
                    break;
                }
                Given::NoRoom => {
                    let error = ClientError::System("the adapter has no room even for one command".to_owned());
                    self.seats[at].fail(now, token, error);
                }
                Given::Failed(error) => self.seats[at].fail(now, token, system(error)),
                Given::None => {
                    let outcome = Outcome::Rejected(RejectReason::CommandNotSupported);
                    self.seats[at].workload.complete(now, token, outcome);
                }
            }
        }
        let seat = &mut self.seats[at];
        if seat.is_finished && seat.in_flight == 0 && seat.waiting.is_empty() {
            match self.firmware.initiator.log_out(session) {
                Ok(()) => seat.stage = Stage::LoggingOut(session),
                // Other sessions' commands make room.
                Err(DriverError::Exhausted(_)) if self.in_flight > 0 => seat.is_called = true,
                Err(error) => seat.end(now, Some(system(error))),
            }
        }
    }

    /// Gives the firmware a command.
    fn give(&mut self, session: RequestId, request: &Request, time: Option<Duration>) -> Given {
        let Some(command) = translation::command(request, time) else { return Given::None };
        let initiator = &mut self.firmware.initiator;
        let given = match &request.transfer {
            Transfer::Read(bytes) => initiator.read(session, &command, *bytes),
            Transfer::Write(data) => initiator.write(session, &command, data.clone()),
            _ => initiator.command(session, &command),
        };
        match given {
            Ok(id) => Given::Begun(id),
            Err(DriverError::Exhausted(_)) => Given::NoRoom,
            Err(error) => Given::Failed(error),
        }
    }

    fn remember(&mut self, id: RequestId, command: Command) {
        let slot = id.slot();
        if slot >= self.commands.len() {
            self.commands.resize_with(slot + 1, || None);
        }
        self.in_flight += 1;
        self.endless += usize::from(command.time.is_none());
        self.time_max = self.time_max.max(command.time.unwrap_or_default());
        self.seats[command.seat].in_flight += 1;
        self.commands[slot] = Some(command);
    }

    /// Nothing more will be heard: commands under way are lost.
    fn give_up(&mut self, error: &ClientError) {
        let now = Instant::now();
        for Command { seat, token, .. } in self.commands.drain(..).flatten() {
            self.seats[seat].workload.complete(now, token, Outcome::Lost);
        }
        for seat in self.seats.iter_mut().filter(|seat| seat.stage != Stage::Over) {
            seat.end(now, Some(error.clone()));
        }
    }
}

impl<W: Workload> Seat<W> {
    /// The next command, unless as many are under way as the firmware has room for.
    fn next(&mut self, now: Instant) -> Option<(u64, Request)> {
        if self.in_flight >= self.in_flight_max {
            return None;
        }
        if let Some(waiting) = self.waiting.pop() {
            return Some(waiting);
        }
        if self.is_finished {
            return None;
        }
        match self.workload.next(now) {
            Next::Request { token, request } => Some((token, request)),
            Next::Idle => None,
            Next::Finished => {
                self.is_finished = true;
                None
            }
        }
    }

    /// The session has ended, and what waits with it.
    fn end(&mut self, now: Instant, error: Option<ClientError>) {
        self.stage = Stage::Over;
        self.waiting.drain(..).for_each(|(token, _)| self.workload.complete(now, token, Outcome::Lost));
        self.error = self.error.take().or(error);
    }

    /// A command cannot be given to the firmware: the session goes no further.
    fn fail(&mut self, now: Instant, token: u64, error: ClientError) {
        self.workload.complete(now, token, Outcome::Lost);
        self.is_finished = true;
        self.error.get_or_insert(error);
    }
}
