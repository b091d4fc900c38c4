//! Which connections and listeners the adapter takes, and how: what an offload policy makes of each.

use super::{Driver, DriverError, OffloadMode};
use crate::bus::Bus;
use std::sync::Arc;
use t5_policy::{Bind, Decision, Opening, Program, Settings};

/// How the adapter has a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offload {
    /// What the adapter does on it.
    pub mode: OffloadMode,
    /// The ingress queue that its messages come by: the first of the driver's is 0.
    pub queue: u16,
    /// Number of the rule that it matched, from 1; `None` if there was no policy.
    pub rule: Option<u32>,
    /// What that rule says.
    pub settings: Settings,
}

impl<B: Bus> Driver<B> {
    /// Has a policy decide on whatever begins from now on; with `None`, everything is offloaded, or nothing if the configuration
    /// says so. What has begun stays as it is.
    ///
    /// # Errors
    /// A rule asks for what a T5 cannot do, or binds to a queue that there is not. The policy from before stays.
    pub fn set_policy(&mut self, policy: Option<Arc<Program>>) -> Result<(), DriverError> {
        let queues = self.queue_count();
        for (index, settings) in policy.iter().flat_map(|policy| policy.rules()).enumerate() {
            let rule = index as u32 + 1;
            if let Some(word) = settings.beyond_t5() {
                return Err(DriverError::Rule { rule, text: format!("a T5 has no {word} by rule: leave it out") });
            }
            if let Bind::Queue(queue) = settings.bind
                && queue >= queues
            {
                let text = format!("there is no queue {queue}: they are 0 to {}", queues - 1);
                return Err(DriverError::Rule { rule, text });
            }
        }
        self.policy = policy;
        Ok(())
    }

    /// The policy that decides.
    #[must_use]
    pub fn policy(&self) -> Option<&Arc<Program>> {
        self.policy.as_ref()
    }

    /// How the adapter has a connection.
    #[must_use]
    pub fn offload(&self, connection: u32) -> Option<Offload> {
        self.connection(connection).map(|connection| connection.offload)
    }

    /// How many ingress queues the driver has.
    #[must_use]
    pub fn queue_count(&self) -> u16 {
        self.adapter.rss_queues.len() as u16
    }

    /// What becomes of something that begins and for which `mode` is wanted. A policy takes away and never adds: with `!ddp` the
    /// adapter does TCP alone.
    pub(super) fn decide(&mut self, opening: &Opening, mode: OffloadMode) -> Result<Offload, DriverError> {
        let (rule, settings) = match &self.policy {
            Some(policy) => {
                let Decision { rule, settings } = policy.decide(opening);
                if !settings.offload {
                    return Err(DriverError::NotOffloaded { rule });
                }
                (rule, *settings)
            }
            None if self.config.managed_offloading => return Err(DriverError::NoPolicy),
            None => (None, Settings::default()),
        };
        let queues = self.queue_count();
        let queue = match settings.bind {
            Bind::Queue(queue) => queue,
            Bind::Cpu => self.config.cpu % queues,
            Bind::Random if queues == 1 => 0,
            Bind::Random => (self.random() % u64::from(queues)) as u16,
        };
        let mode = if settings.ddp == Some(false) { OffloadMode::Toe } else { mode };
        Ok(Offload { mode, queue, rule, settings })
    }

    /// The number by which connections are steered to an ingress queue.
    pub(super) fn rss_queue(&self, queue: u16) -> u16 {
        self.adapter.rss_queues[usize::from(queue)]
    }
}
