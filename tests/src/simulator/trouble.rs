//! The faults of a world: what is done to links, sessions and the store, how often, and until when.

use super::calendar::Due;
use super::wire::End;
use super::world::World;
use std::time::Duration;

impl World {
    /// A turn of a session is the occasion of a fault, if the plan has any left.
    pub(crate) fn maybe_make_trouble(&mut self, session: usize) {
        if self.faults_left == 0 || self.calm_since.is_some() || !self.random.one_in(self.plan.fault_one_in) {
            return;
        }
        self.faults_left -= 1;
        self.totals.faults += 1;
        self.make_trouble(session);
        if self.faults_left == 0 {
            let delay = self.delay(40_000_000);
            self.enter(delay, Due::Calm);
        }
    }

    fn make_trouble(&mut self, session: usize) {
        let links = &self.sessions[session].links;
        if links.is_empty() {
            return self.crash(session);
        }
        let link = links[self.random.below(links.len() as u64) as usize];
        let end = self.random.pick(&[End::Initiator, End::Target]);
        let times = self.random.between(1, 20) as u32;
        let pause = self.delay(20_000_000);
        match self.random.below(14) {
            0..=2 => self.cut(link, end),
            3..=4 => self.flip_bits(link, end, times),
            5 => self.change_port(link, end, |faults| faults.late_one_in = times + 1),
            6 => self.change_port(link, end, |faults| faults.refused_one_in = times + 1),
            7 => self.stall(link, pause),
            8 => self.stall(link, pause / 1000),
            9 => self.store.fail(times / 4 + 1),
            10 => {
                self.is_store_slow = true;
                self.excuse_for(pause + Duration::from_secs(90));
                self.enter(pause, Due::StoreHurries);
            }
            11 => self.leave_or_end(link),
            12 => self.retire_connection(session),
            _ => self.crash(session),
        }
    }

    /// Until then a request may be without an answer.
    pub(crate) fn excuse_for(&mut self, time: Duration) {
        self.excused_until = self.excused_until.max(self.now + time);
    }

    /// The connection breaks at some byte, or between two PDUs.
    fn cut(&mut self, link: usize, end: End) {
        self.trouble(link);
        let (bytes, pdus) = (self.random.below(4000), self.random.below(30));
        let found = self.links[link].end(end);
        match self.random.one_in(3) {
            true => found.port.change(|faults| faults.cut_after_pdus = Some(pdus)),
            false => found.stream.change(|faults| faults.cut_after_bytes = Some(bytes)),
        }
    }

    /// Bits flip where a digest finds that.
    fn flip_bits(&mut self, link: usize, end: End, one_in: u32) {
        self.trouble(link);
        let digests = self.links[link].digests;
        let found = self.links[link].end(end);
        match digests.header && digests.data {
            true => found.stream.change(|faults| faults.flipped_one_in = one_in),
            false => found.port.change(|faults| faults.flipped_one_in = one_in),
        }
    }

    fn change_port(&mut self, link: usize, end: End, change: impl FnOnce(&mut iscsi_transport::PortFaults)) {
        self.links[link].end(end).port.change(change);
    }

    fn stall(&mut self, link: usize, time: Duration) {
        self.trouble(link);
        self.links[link].stall(true);
        self.enter(time, Due::Unstall(link));
    }

    pub(crate) fn unstall(&mut self, link: usize) {
        self.links[link].stall(false);
        self.enter_turn(link, End::Initiator, Duration::ZERO);
        self.enter_turn(link, End::Target, Duration::ZERO);
    }

    /// A session with several connections gives one up.
    fn retire_connection(&mut self, session: usize) {
        let now = self.instant();
        if let Some(client) = &mut self.sessions[session].client {
            client.retire(now);
        }
        self.turn_session(session);
    }

    /// The target's owner asks everybody to log out, or ends one connection without a word.
    fn leave_or_end(&mut self, link: usize) {
        if self.random.one_in(2) {
            let session = self.links[link].session;
            self.doom(session);
            if let Some(tsih) = self.sessions[session].tsih {
                self.target.end_session(self.instant(), tsih);
            }
        } else {
            for place in 0..self.live.len() {
                self.trouble(self.live[place]);
            }
            self.target.request_logout(self.instant());
        }
        self.enter_target(Duration::ZERO);
    }

    /// Faults stop.
    pub(crate) fn calm(&mut self) {
        self.calm_since.get_or_insert(self.now);
        self.faults_left = 0;
        self.is_store_slow = false;
        self.store.fail(0);
        for place in 0..self.live.len() {
            let link = self.live[place];
            self.links[link].calm(&self.plan);
            self.unstall(link);
        }
    }
}
