//! Interrupts: a thread for each vector, which sleeps in its event descriptor and wakes whoever waits for it.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::thread::JoinHandle;
use vmm_sys_util::eventfd::EventFd;

/// The vectors of a function.
#[derive(Debug)]
pub(super) struct Interrupts {
    vectors: Vec<Vector>,
}

#[derive(Debug)]
struct Vector {
    event: Arc<EventFd>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    waker: Mutex<Option<Waker>>,
    is_over: AtomicBool,
}

impl Interrupts {
    /// So many vectors, which nobody raises yet.
    pub(super) fn new(count: u16) -> io::Result<Self> {
        let mut interrupts = Self { vectors: Vec::new() };
        for number in 0..count {
            let (event, shared) = (Arc::new(EventFd::new(0)?), Arc::new(Shared::default()));
            let thread = std::thread::Builder::new().name(format!("t5-irq-{number}")).spawn({
                let (event, shared) = (Arc::clone(&event), Arc::clone(&shared));
                move || wait(&event, &shared)
            })?;
            interrupts.vectors.push(Vector { event, shared, thread: Some(thread) });
        }
        Ok(interrupts)
    }

    /// What the kernel raises for each vector.
    pub(super) fn events(&self) -> Vec<&EventFd> {
        self.vectors.iter().map(|vector| &*vector.event).collect()
    }

    /// Who is woken by a vector; one that there is not wakes nobody.
    pub(super) fn set_waker(&self, vector: u16, waker: Waker) {
        if let Some(vector) = self.vectors.get(usize::from(vector)) {
            *vector.shared.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker);
        }
    }
}

fn wait(event: &EventFd, shared: &Shared) {
    // An error of a descriptor that is ours alone means that there will be no more.
    while event.read().is_ok() && !shared.is_over.load(Ordering::Acquire) {
        let waker = shared.waker.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        for vector in &mut self.vectors {
            vector.shared.is_over.store(true, Ordering::Release);
            if vector.event.write(1).is_ok()
                && let Some(thread) = vector.thread.take()
            {
                // A panic has been told already.
                drop(thread.join());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::task::Wake;
    use std::time::Duration;

    struct Tell(mpsc::Sender<()>);

    impl Wake for Tell {
        fn wake(self: Arc<Self>) {
            self.0.send(()).unwrap();
        }
    }

    #[test]
    fn each_vector_wakes_its_own_and_the_threads_end() {
        let interrupts = Interrupts::new(2).unwrap();
        let heard: Vec<_> = (0..2)
            .map(|vector| {
                let (tell, heard) = mpsc::channel();
                interrupts.set_waker(vector, Waker::from(Arc::new(Tell(tell))));
                heard
            })
            .collect();
        interrupts.set_waker(9, Waker::noop().clone());
        for _ in 0..3 {
            interrupts.events()[1].write(1).unwrap();
            heard[1].recv_timeout(Duration::from_secs(10)).unwrap();
        }
        assert!(heard[0].try_recv().is_err());
        drop(interrupts);
        assert!(heard[1].recv().is_err(), "its thread has ended, and the waker with it");
    }
}
