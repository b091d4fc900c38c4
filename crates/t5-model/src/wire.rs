//! A cable between two ports, which may lose, repeat, delay and spoil frames, from a seed.
//!
//! In: frames ([`Wire::send`]). Out: frames, in the order of their time ([`Wire::poll`]). The cable is one way; two make a link.

use std::collections::BTreeMap;
use std::time::Duration;

/// How bad a cable is. The default is a good one: everything arrives at once.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WireFaults {
    /// The part of all frames that is lost, 0 to 1.
    pub loss: f64,
    /// The part that comes twice, 0 to 1.
    pub repeat: f64,
    /// The part in which a bit is turned, 0 to 1.
    pub spoil: f64,
    /// How long a frame takes at least.
    pub delay: Duration,
    /// By how much more at most. Frames overtake each other.
    pub jitter: Duration,
}

/// Most frames on the way; what is sent beyond is lost.
pub const FRAMES_MAX: usize = 4096;

/// One direction of a cable.
#[derive(Debug)]
pub struct Wire {
    faults: WireFaults,
    random: fastrand::Rng,
    /// By the time of their arrival, and the order in which they were sent.
    frames: BTreeMap<(Duration, u64), Vec<u8>>,
    sent: u64,
}

impl Wire {
    /// A cable with those faults; a seed gives the same ones each time.
    #[must_use]
    pub fn new(faults: WireFaults, seed: u64) -> Self {
        Self { faults, random: fastrand::Rng::with_seed(seed), frames: BTreeMap::new(), sent: 0 }
    }

    /// Sends a frame.
    pub fn send(&mut self, frame: Vec<u8>, now: Duration) {
        if self.happens(self.faults.repeat) {
            self.put(frame.clone(), now);
        }
        self.put(frame, now);
    }

    fn put(&mut self, mut frame: Vec<u8>, now: Duration) {
        if self.happens(self.faults.loss) || self.frames.len() >= FRAMES_MAX {
            return;
        }
        if self.happens(self.faults.spoil) && !frame.is_empty() {
            let bit = self.random.usize(0..frame.len() * 8);
            frame[bit / 8] ^= 1 << (bit % 8);
        }
        let jitter = self.faults.jitter.mul_f64(self.random.f64());
        self.sent += 1;
        self.frames.insert((now + self.faults.delay + jitter, self.sent), frame);
    }

    fn happens(&mut self, part: f64) -> bool {
        part > 0.0 && self.random.f64() < part
    }

    /// The next frame that has arrived.
    pub fn poll(&mut self, now: Duration) -> Option<Vec<u8>> {
        let first = self.frames.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// When the next frame arrives.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.frames.keys().next().map(|&(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(faults: WireFaults, seed: u64) -> Vec<Vec<u8>> {
        let mut wire = Wire::new(faults, seed);
        (0..1000u16).for_each(|number| wire.send(number.to_be_bytes().to_vec(), Duration::ZERO));
        std::iter::from_fn(|| {
            let at = wire.poll_timeout()?;
            wire.poll(at)
        })
        .collect()
    }

    #[test]
    fn a_good_cable_changes_nothing() {
        let sent: Vec<Vec<u8>> = (0..1000u16).map(|number| number.to_be_bytes().to_vec()).collect();
        assert_eq!(arrivals(WireFaults::default(), 1), sent);
    }

    #[test]
    fn each_fault_happens_about_as_often_as_it_should() {
        let lossy = arrivals(WireFaults { loss: 0.2, ..WireFaults::default() }, 1);
        assert!((700..900).contains(&lossy.len()), "{} of 1000 arrive", lossy.len());
        let twice = arrivals(WireFaults { repeat: 0.2, ..WireFaults::default() }, 1);
        assert!((1100..1300).contains(&twice.len()), "{} of 1000 arrive", twice.len());
        let mixed = arrivals(WireFaults { jitter: Duration::from_millis(1), ..WireFaults::default() }, 1);
        assert_eq!(mixed.len(), 1000);
        assert!(!mixed.is_sorted());
        let good = arrivals(WireFaults::default(), 1);
        let spoiled = arrivals(WireFaults { spoil: 0.2, ..WireFaults::default() }, 1);
        let changed = good.iter().zip(&spoiled).filter(|(sent, came)| sent != came).count();
        assert!((100..300).contains(&changed), "{changed} of 1000 are spoiled");
    }

    #[test]
    fn a_seed_gives_the_same_faults() {
        let faults = WireFaults {
            loss: 0.3,
            repeat: 0.1,
            spoil: 0.1,
            jitter: Duration::from_millis(3),
            ..WireFaults::default()
        };
        assert_eq!(arrivals(faults, 7), arrivals(faults, 7));
        assert_ne!(arrivals(faults, 7), arrivals(faults, 8));
    }
}
