//! The data of writes that the initiator of a function holds, in bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Most data of writes that all sessions of a function hold, in bytes.
const HELD_BYTES_MAX: u64 = 64 << 20;

/// Counts what is held.
#[derive(Debug, Default)]
pub(crate) struct HeldBytes(Arc<AtomicU64>);

/// Some of it, which is held until this is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    count: Arc<AtomicU64>,
    bytes: u64,
}

impl HeldBytes {
    /// Holds that many more bytes, if there is room for them.
    pub(crate) fn hold(&self, bytes: u64) -> Option<Hold> {
        // Everything of it is under the adapter's lock; the atomic is what makes it `Send`.
        let held = self.0.load(Ordering::Relaxed) + bytes;
        if held > HELD_BYTES_MAX {
            return None;
        }
        self.0.store(held, Ordering::Relaxed);
        Some(Hold { count: Arc::clone(&self.0), bytes })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.count.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_held_than_there_is_room_for_and_what_ends_makes_room() {
        let held = HeldBytes::default();
        let most = held.hold(HELD_BYTES_MAX - 1).unwrap();
        let last = held.hold(1).unwrap();
        assert!(held.hold(1).is_none());
        drop(last);
        assert!(held.hold(2).is_none());
        drop(most);
        assert!(held.hold(HELD_BYTES_MAX).is_some());
        assert!(held.hold(HELD_BYTES_MAX + 1).is_none());
    }
}
