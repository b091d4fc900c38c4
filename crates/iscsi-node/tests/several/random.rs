//! Reads and writes while connections break and bits flip: what is read is what was written last, whatever became of the commands.

use super::bench::{Bench, Store, limits};
use super::disk::BLOCK;
use bytes::Bytes;
use iscsi_node::initiator::{Event, Outcome};
use iscsi_pdu::RejectReason;
use iscsi_session::Limits;
use iscsi_transport::PortFaults;
use scsi_block::Status;
use std::time::Duration;

/// Parts of the disk, each with one command at a time.
const PARTS: usize = 12;
const PART_BLOCKS: u32 = 128;
const COMMANDS: u32 = 400;

/// What one part of the disk has, and what is asked of it.
struct Part {
    /// None if that is not known: the part is written before it is read again.
    content: Option<Bytes>,
    asked: Option<Asked>,
}

enum Asked {
    Read,
    Write(Bytes),
}

struct Load {
    bench: Bench,
    level: u8,
    parts: Vec<Part>,
    commands_left: u32,
    lost: u32,
    cuts: u32,
    is_over: bool,
}

impl Load {
    fn new(level: u8, connections: u16, seed: u64, flipped_one_in: u32) -> Self {
        let digests = Limits { header_digest: vec![true], data_digest: vec![true], ..limits(level, 0) };
        let mut bench = Bench::new(connections, digests, seed);
        bench.store = Store::Late;
        bench.faults = PortFaults { flipped_one_in, ..PortFaults::default() };
        let faults = bench.faults.clone();
        bench.wires.iter().for_each(|wire| wire.ours.change(|now| *now = faults.clone()));
        let zeros = Bytes::from(vec![0; PART_BLOCKS as usize * BLOCK]);
        let parts = (0..PARTS).map(|_| Part { content: Some(zeros.clone()), asked: None }).collect();
        Self { bench, level, parts, commands_left: COMMANDS, lost: 0, cuts: 0, is_over: false }
    }

    fn run(&mut self) {
        let mut turns = 0;
        while !self.is_over && (self.commands_left > 0 || self.parts.iter().any(|part| part.asked.is_some())) {
            (0..PARTS).for_each(|number| self.ask(number));
            self.bench.turn();
            self.handle_events();
            if self.bench.random.one_in(25) {
                self.break_one();
            }
            self.bench.now += Duration::from_millis(self.bench.random.below(20));
            turns += 1;
            assert!(turns < 60_000, "it comes to no end: {} left, {:?}", self.commands_left, self.bench.initiator);
        }
    }

    /// Below level 2 the last connection would take the session along.
    fn break_one(&mut self) {
        if self.level == 2 || self.bench.initiator.connections() > 1 {
            let place = self.bench.random.below(self.bench.wires.len() as u64) as usize;
            let after = if self.level == 2 { self.bench.random.below(20) } else { 0 };
            match after {
                0 => self.bench.wires[place].cut(),
                some => self.bench.wires[place].ours.change(|faults| faults.cut_after_pdus = Some(some)),
            }
            self.cuts += 1;
        }
    }

    fn ask(&mut self, number: usize) {
        let part = &mut self.parts[number];
        if part.asked.is_some() || self.commands_left == 0 || self.bench.initiator.window() == 0 {
            return;
        }
        let lba = number as u64 * u64::from(PART_BLOCKS);
        let writes = part.content.is_none() || self.bench.random.one_in(2);
        part.asked = Some(if writes {
            let seed = self.bench.random.next().to_le_bytes();
            let bytes = (0..PART_BLOCKS as usize * BLOCK).map(|place| seed[place % 8] ^ (place / BLOCK) as u8);
            let data: Bytes = bytes.collect::<Vec<_>>().into();
            self.bench.write(number as u64, lba, data.clone());
            Asked::Write(data)
        } else {
            self.bench.read(number as u64, lba, PART_BLOCKS);
            Asked::Read
        });
        self.commands_left -= 1;
    }

    fn handle_events(&mut self) {
        for (token, outcome) in self.bench.outcomes() {
            self.end(token as usize, outcome);
        }
        for event in std::mem::take(&mut self.bench.events) {
            match event {
                Event::ConnectionJoined { .. } | Event::ConnectionClosed { .. } => {}
                Event::Closed(_) | Event::ConnectionLost(_) => self.is_over = true,
                other => panic!("{other:?}"),
            }
        }
    }

    fn end(&mut self, number: usize, outcome: Outcome) {
        let part = &mut self.parts[number];
        let asked = part.asked.take().expect("a command ends once");
        let is_good = match &outcome {
            // Otherwise commands were cleared by a protocol event, or data has come damaged.
            Outcome::Command(completion) => completion.status == Status::Good.code(),
            Outcome::Lost | Outcome::Rejected(RejectReason::DataDigestError) => false,
            other => panic!("{other:?}"),
        };
        self.lost += u32::from(matches!(outcome, Outcome::Lost));
        match (asked, outcome) {
            (Asked::Write(data), _) => part.content = is_good.then_some(data),
            (Asked::Read, Outcome::Command(completion)) if is_good => {
                assert!(Some(completion.data.concat().into()) == part.content, "what is read is what was written last");
            }
            (Asked::Read, _) => {}
        }
    }
}

/// Runs seeds; returns how many connections were cut and how many commands lost.
fn run(level: u8, connections: u16, flipped_one_in: u32) -> (u32, u32) {
    let mut sums = (0, 0);
    for seed in 0..8 {
        let mut load = Load::new(level, connections, seed, flipped_one_in);
        load.run();
        assert!(!load.is_over || level < 2, "at level 2 the session goes on");
        sums = (sums.0 + load.cuts, sums.1 + load.lost);
    }
    sums
}

#[test]
fn below_level_2_nothing_that_was_lost_lands_behind_what_came_after() {
    for level in [0, 1] {
        for connections in [2, 4] {
            let (cuts, lost) = run(level, connections, 0);
            assert!(cuts > 40 && lost > 40, "level {level}, {connections} connections: {cuts} cuts, {lost} lost");
        }
    }
}

// RFC 7143 7.1.4.3-2
#[test]
fn at_level_2_no_command_is_lost_with_its_connection() {
    for connections in [1, 2, 4] {
        let (cuts, lost) = run(2, connections, 0);
        assert!(cuts > 40, "{connections} connections: {cuts} cuts");
        assert_eq!(lost, 0, "{connections} connections, {cuts} cuts");
    }
}

// RFC 7143 7.8-5
#[test]
fn bits_that_flip_are_recovered_from_within_connections_and_across_them() {
    for (level, connections) in [(1, 2), (1, 4), (2, 1), (2, 2), (2, 4)] {
        let (cuts, _) = run(level, connections, 100);
        assert!(cuts > 20, "level {level}, {connections} connections: {cuts} cuts");
    }
}
