//! A port of the adapter on a TAP device of Linux: hosts of a network of the kernel's see the adapter behind it as behind a cable.
//!
//! In: an adapter that runs, a port, the name of a device. Out: an [`Attachment`], as long as which frames go both ways. What the adapter
//! sends is written on the thread that made it; what comes is read by a thread of the attachment's. A frame that the kernel does not take
//! is lost, as on a cable that is pulled out.

use crate::adapter::Adapter;
use crate::runner::TURNS_MAX;
use crate::switch::PortNumber;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Wake, Waker};
use std::thread::JoinHandle;
use std::time::Duration;
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

/// How long a thread that reads may take to see that it is over.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// How long it waits after an error of the device, such as that it is down.
const RETRY: Duration = Duration::from_millis(100);
/// Longest frame that is read, in bytes; what is longer is cut off by the kernel and dropped by the adapter.
const FRAME_BYTES_MAX: usize = 65536;
/// Frames that are given to the adapter before it goes on with them.
const BURST: usize = 64;

/// Why a device cannot be attached.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// The kernel does not give the device.
    #[error(
        "the TAP device {name} cannot be had: {error}; make it with `ip tuntap add dev {name} mode tap user $USER` or run as \
         root, see that no other process has it, and that /dev/net/tun is there (`modprobe tun`)"
    )]
    Device {
        /// Its name.
        name: String,
        /// What the kernel says.
        error: io::Error,
    },
    /// The system refuses a thread.
    #[error("the thread of the TAP device cannot be started: {0}")]
    Thread(io::Error),
}

/// A device that a port is attached to, as long as this lives.
#[derive(Debug)]
pub struct Attachment {
    adapter: Arc<Adapter>,
    port: PortNumber,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Attachment {
    /// Attaches a port to the device of that name, up to 15 bytes long. One that is there is used as it is, with its addresses and state, and stays when
    /// the attachment ends; one that is not is made, which takes the right to (CAP_NET_ADMIN), and ends with it.
    ///
    /// # Errors
    /// The device cannot be had, or the system refuses a thread.
    pub fn new(adapter: &Arc<Adapter>, port: PortNumber, name: &str) -> Result<Self, TapError> {
        let failed = |error| TapError::Device { name: name.into(), error };
        let device = DeviceBuilder::new().name(name).layer(Layer::L2).inherit_enable_state().build_sync();
        let device = Arc::new(device.map_err(failed)?);
        device.set_nonblocking(true).map_err(failed)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let sender = Sender { adapter: Arc::downgrade(adapter), port, device: Mutex::new(Arc::clone(&device)) };
        let thread = std::thread::Builder::new().name("t5-tap".into()).spawn({
            let (adapter, is_over) = (Arc::clone(adapter), Arc::clone(&is_over));
            move || receive(&adapter, port, &device, &is_over)
        });
        let thread = thread.map_err(TapError::Thread)?;
        adapter.set_carrier(port, Some(Waker::from(Arc::new(sender))));
        Ok(Self { adapter: Arc::clone(adapter), port, is_over, thread: Some(thread) })
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.adapter.set_carrier(self.port, None);
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic has been told already.
            drop(thread.join());
        }
    }
}

/// Writes what the adapter sends.
struct Sender {
    adapter: Weak<Adapter>,
    port: PortNumber,
    /// One at a time, so that frames keep their order.
    device: Mutex<Arc<SyncDevice>>,
}

impl Wake for Sender {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let Some(adapter) = self.adapter.upgrade() else { return };
        let device = self.device.lock();
        while let Some(frame) = adapter.poll_wire(self.port) {
            // The kernel has no room, or the device is down: TCP sends it again.
            let _ = device.send(&frame);
        }
    }
}

/// Reads what comes, until it is over.
fn receive(adapter: &Arc<Adapter>, port: PortNumber, device: &SyncDevice, is_over: &AtomicBool) {
    let mut frame = vec![0; FRAME_BYTES_MAX];
    while !is_over.load(Ordering::Relaxed) {
        let ready = poll(&mut [PollFd::new(device, PollFlags::IN)], Some(&PATIENCE));
        if ready == Ok(0) {
            continue;
        }
        let mut count = 0;
        let failure = loop {
            if count == BURST {
                break None;
            }
            match device.recv(&mut frame) {
                Ok(length) => adapter.handle_wire(port, frame[..length].to_vec()),
                Err(error) => break Some(error),
            }
            count += 1;
        };
        // What is left after these is the runner's.
        (0..TURNS_MAX).take_while(|_| adapter.poll()).for_each(drop);
        if failure.is_some_and(|error| error.kind() != io::ErrorKind::WouldBlock) {
            std::thread::sleep(RETRY);
        }
    }
}
