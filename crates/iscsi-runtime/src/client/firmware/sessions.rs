//! The sessions of one run, each with its workload.
//!
//! In: what the firmware says. Out: commands, as long as workloads have some and there is room for them.

use super::super::{ClientError, Next, Workload};
use super::translation::{self, Wanted};
use super::{FirmwareLoop, system};
use iscsi_node::initiator::{Outcome, Request};
use iscsi_pdu::RejectReason;
use iscsi_session::initiator::Transfer;
use std::time::Instant;
use t5_hal::driver::DriverError;
use t5_hal::driver::initiator::{Completion, InitiatorEvent, RequestId, SessionRequest};
use t5_hal::wire::{FoiscsiState, ReturnCode};

pub(super) struct Sessions<'a, W> {
    firmware: &'a mut FirmwareLoop,
    wanted: &'a Wanted,
    seats: Vec<Seat<W>>,
    /// Commands under way, by the slots of their requests.
    commands: Vec<Option<Command>>,
    in_flight: usize,
    /// Whether a command has ended since one found no room.
    has_room: bool,
}

/// A workload and its session.
struct Seat<W> {
    workload: W,
    stage: Stage,
    in_flight: usize,
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
            let waiting = Vec::new();
            Seat { workload, stage, in_flight: 0, waiting, is_finished: false, is_called: false, error }
        };
        let seats = workloads.into_iter().map(seat).collect();
        Self { firmware, wanted, seats, commands: Vec::new(), in_flight: 0, has_room: true }
    }

    /// Runs all sessions until none is left.
    pub(super) fn run(mut self) -> Vec<Result<W, ClientError>> {
        while self.seats.iter().any(|seat| seat.stage != Stage::Over) {
            if let Err(error) = self.firmware.wait(self.wanted.silence_max) {
                self.give_up(&error);
                break;
            }
            let now = Instant::now();
            while let Some(event) = self.firmware.events.pop_front() {
                self.handle_event(now, event);
            }
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

    fn handle_event(&mut self, now: Instant, event: InitiatorEvent) {
        match event {
            InitiatorEvent::Completed { command, completion } => self.handle_end(now, command, completion),
            InitiatorEvent::Online { session, .. } => {
                if let Some(seat) = self.seats.iter_mut().find(|seat| seat.stage == Stage::LoggingIn(session)) {
                    (seat.stage, seat.is_called) = (Stage::Open(session), true);
                }
            }
            InitiatorEvent::Ended { session, state, code } => self.handle_session_end(session, state, code),
            InitiatorEvent::Done { .. } | InitiatorEvent::Aborted { .. } => {}
        }
    }

    fn handle_end(&mut self, now: Instant, id: RequestId, completion: Completion) {
        let Some(Command { seat, token, request }) = self.commands.get_mut(id.slot()).and_then(Option::take) else {
            return;
        };
        let seat = &mut self.seats[seat];
        (self.in_flight, seat.in_flight) = (self.in_flight - 1, seat.in_flight - 1);
        seat.is_called = true;
        if translation::is_busy(completion.code) {
            return seat.waiting.push((token, request));
        }
        self.has_room = true;
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
            match self.give(session, &request) {
                Given::Begun(id) => self.remember(id, Command { seat: at, token, request }),
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
    fn give(&mut self, session: RequestId, request: &Request) -> Given {
        let Some(command) = translation::command(request, self.wanted.timeout_seconds) else { return Given::None };
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
    /// The next command.
    fn next(&mut self, now: Instant) -> Option<(u64, Request)> {
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
