//! Sessions that the initiator in an adapter's firmware has: the adapter does TCP, iSCSI and the placement of data, and is given SCSI
//! commands.
//!
//! ```text
//!   Workload ── Request ──> FirmwareLoop ── work request ──> adapter
//!   Workload <── Outcome ── FirmwareLoop <── its end ─────── adapter
//! ```

mod sessions;
mod translation;

use super::isid::ClaimedNode;
use super::{ClientConfig, ClientError, Workload};
use crate::network::AdapterBus;
use crate::thread_waker;
use sessions::Sessions;
use std::collections::VecDeque;
use std::fmt;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use t5_hal::Bus;
use t5_hal::driver::DriverError;
use t5_hal::driver::initiator::{FirmwareInitiator, InitiatorEvent, RequestId};
use t5_hal::wire::{FoiscsiIsid, ReturnCode};
use translation::Wanted;

/// How long to look for more before the thread sleeps: to be woken takes longer than what an adapter does at once.
const LOOK: Duration = Duration::from_micros(100);
/// How long the firmware may take for an address, a node or a secret.
const SETTING_PATIENCE: Duration = Duration::from_secs(5);

/// Runs sessions in an adapter's firmware, several at a time, and their workloads on the calling thread: what
/// [`SessionLoop`](super::SessionLoop) is to sessions of this program.
pub struct FirmwareLoop {
    initiator: FirmwareInitiator<AdapterBus>,
    vector: u16,
    events: VecDeque<InitiatorEvent>,
}

impl fmt::Debug for FirmwareLoop {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("FirmwareLoop").finish_non_exhaustive()
    }
}

impl FirmwareLoop {
    /// On a function whose driver has come up, with interrupts of `vector`. Its sessions come from `address`, in a network with `mask`.
    ///
    /// # Errors
    /// The firmware does not take the address.
    pub fn new(
        initiator: FirmwareInitiator<AdapterBus>,
        vector: u16,
        address: Ipv4Addr,
        mask: Ipv4Addr,
    ) -> Result<Self, ClientError> {
        let mut this = Self { initiator, vector, events: VecDeque::new() };
        this.wake_this_thread();
        let request = this.initiator.set_address(address, mask);
        this.setting(request)?;
        Ok(this)
    }

    /// Logs in once for each workload, and runs it in that session. Gives each back when all have finished, or why its session did not
    /// come about or ended too early.
    ///
    /// A session in firmware has one connection, no error recovery and no capture, and does not come back: a configuration that asks for
    /// one of these is refused, and so is an address of IPv6. Commands have at most 16 bytes of CDB, one direction, and 1 MiB of data;
    /// others end as rejected.
    pub fn run<W: Workload>(&mut self, config: &ClientConfig, workloads: Vec<W>) -> Vec<Result<W, ClientError>> {
        self.wake_this_thread();
        match self.begin(config) {
            Ok((wanted, _claim, node)) => {
                let ends = Sessions::new(self, &wanted.session(node), &wanted, workloads).run();
                self.remove_node(node);
                ends
            }
            Err(error) => workloads.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    /// A node for a run, and the claim to its part of the ISIDs.
    fn begin(&mut self, config: &ClientConfig) -> Result<(Wanted, ClaimedNode, u16), ClientError> {
        let wanted = Wanted::new(config)?;
        let claim = ClaimedNode::claim(&wanted.initiator_name)?;
        let node = self.add_node(&wanted, translation::isid(claim.random_part))?;
        Ok((wanted, claim, node))
    }

    fn add_node(&mut self, wanted: &Wanted, isid: FoiscsiIsid) -> Result<u16, ClientError> {
        let request = self.initiator.add_node(&wanted.initiator_name, "", isid);
        let node = self.setting(request)?;
        for (of_targets, credential) in &wanted.credentials {
            let request = self.initiator.set_chap(node, *of_targets, &credential.name, credential.secret.reveal());
            if let Err(error) = self.setting(request) {
                self.remove_node(node);
                return Err(error);
            }
        }
        Ok(node)
    }

    /// Removes a node; one that stays does no harm but to those who want many.
    fn remove_node(&mut self, node: u16) {
        let request = self.initiator.remove_node(node);
        if let Err(error) = self.setting(request) {
            tracing::warn!(%error, node, "a node stays in the adapter's firmware");
        }
    }

    /// Waits for the end of a setting; nothing else is under way.
    fn setting(&mut self, request: Result<RequestId, DriverError>) -> Result<u16, ClientError> {
        let wanted = request.map_err(system)?;
        loop {
            if !self.wait(SETTING_PATIENCE)? {
                return Err(silent(SETTING_PATIENCE));
            }
            while let Some(event) = self.events.pop_front() {
                if let InitiatorEvent::Done { request, result } = event
                    && request == wanted
                {
                    return result.map_err(refused);
                }
            }
        }
    }

    /// Waits until there are events, for so long at most; whether there are some.
    ///
    /// # Errors
    /// The adapter has failed.
    fn wait(&mut self, patience: Duration) -> Result<bool, ClientError> {
        let begun = Instant::now();
        loop {
            if self.take() {
                return Ok(true);
            }
            if let Some(failure) = self.initiator.failure() {
                return Err(system(failure.clone()));
            }
            let waited = begun.elapsed();
            let Some(left) = patience.checked_sub(waited) else { return Ok(false) };
            if waited < LOOK {
                std::hint::spin_loop();
                continue;
            }
            self.initiator.arm();
            // What came before it was armed makes no interrupt.
            if !self.take() {
                std::thread::park_timeout(left);
            }
        }
    }

    /// Takes the events that are there; whether there are some.
    fn take(&mut self) -> bool {
        self.initiator.poll();
        while let Some(event) = self.initiator.poll_event() {
            self.events.push_back(event);
        }
        !self.events.is_empty()
    }

    /// Interrupts wake the calling thread from here on.
    fn wake_this_thread(&self) {
        self.initiator.bus().set_waker(self.vector, thread_waker::pair().0);
    }
}

fn silent(patience: Duration) -> ClientError {
    ClientError::Lost(format!("the adapter's firmware has said nothing for {patience:?}"))
}

fn system(error: DriverError) -> ClientError {
    ClientError::System(error.to_string())
}

fn refused(code: ReturnCode) -> ClientError {
    ClientError::System(format!("the adapter's firmware answers {code:?}"))
}
