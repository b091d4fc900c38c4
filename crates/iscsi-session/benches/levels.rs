//! What a command of 4 KiB costs both ends together at each error recovery level, without bytes and sockets: 32 at once.
//!
//! `cargo bench -p iscsi-session --bench levels` tells times. Under callgrind one kind is run so many times, `levels 2 read 20000`: the difference
//! of two runs, divided by that of the commands, is instructions a command.

mod outcome;

use bytes::Bytes;
use iscsi_pdu::{InitiatorTaskTag, TargetTransferTag};
use iscsi_session::{Parameters, initiator, target};
use outcome::{CID, DEPTH, outcome};
use std::hint::black_box;
use std::time::Instant;

const BYTES: u32 = 4096;

/// Both ends of a session.
struct Pair {
    initiator: initiator::Session,
    target: target::Session,
    now: Instant,
    data: Bytes,
    write: bool,
}

impl Pair {
    fn new(error_recovery_level: u8, write: bool) -> Self {
        let outcome = outcome(Parameters { error_recovery_level, ..Parameters::default() });
        let now = Instant::now();
        Self {
            initiator: initiator::Session::new(&outcome, initiator::SessionConfig::default(), now),
            target: target::Session::new(&outcome, target::SessionConfig::default(), TargetTransferTag(0), now),
            now,
            data: vec![0x5a; BYTES as usize].into(),
            write,
        }
    }

    /// As many commands as there are at once.
    fn round(&mut self) {
        for tag in 0..DEPTH {
            let data = match self.write {
                true => initiator::Transfer::Write(self.data.clone()),
                false => initiator::Transfer::Read(BYTES),
            };
            let command = initiator::Command { cdb: [0x28; 16], data, ..initiator::Command::default() };
            self.initiator.submit(self.now, CID, InitiatorTaskTag(tag), command).expect("the window is open");
        }
        let mut ended = 0;
        while ended < DEPTH {
            while let Some(pdu) = self.initiator.poll_transmit(CID) {
                self.target.handle_pdu(self.now, CID, pdu);
            }
            while let Some(event) = self.target.poll_event() {
                let target::Event::Command(command) = event else { unreachable!("all data comes with its command") };
                self.execute(&command);
            }
            while let Some(pdu) = self.target.poll_transmit(CID) {
                self.initiator.handle_pdu(self.now, CID, pdu);
            }
            while let Some(event) = self.initiator.poll_event() {
                ended += u32::from(matches!(event, initiator::Event::TaskComplete { .. }));
                black_box(event);
            }
        }
    }

    fn execute(&mut self, command: &target::Command) {
        let data_in = if self.write { Bytes::new() } else { self.data.clone() };
        if self.write {
            let progress = self.target.receive_data(command.task, None, BYTES);
            assert_eq!(progress, target::DataProgress::Complete);
        }
        let (data_in_length, data_out_length) = (data_in.len() as u32, BYTES - data_in.len() as u32);
        let outcome = target::TaskOutcome { data_in, data_in_length, data_out_length, ..Default::default() };
        self.target.complete(command.task, outcome);
    }
}

fn run(level: u8, write: bool, commands: u32) {
    let mut pair = Pair::new(level, write);
    (0..commands / DEPTH).for_each(|_| pair.round());
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [level, kind, commands] = &arguments[..] {
        let (level, commands) = (level.parse().expect("a level"), commands.parse().expect("a number"));
        return run(level, kind == "write", commands);
    }
    const COMMANDS: u32 = 1 << 20;
    for write in [false, true] {
        for level in 0..=2 {
            let began = Instant::now();
            run(level, write, COMMANDS);
            let time = began.elapsed().as_nanos() / u128::from(COMMANDS);
            println!("{} 4 KiB at level {level}: {time} ns", if write { "WRITE" } else { "READ" });
        }
    }
}
