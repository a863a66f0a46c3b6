//! Something to wait on until any partition's readers can see more: one counter and one bell for the whole broker.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Growth {
    count: AtomicU64,
    waiting: AtomicUsize,
    lock: Mutex<()>,
    bell: Condvar,
}

impl Growth {
    /// Some partition's high watermark has moved.
    pub(crate) fn announce(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            // With the lock held nobody is between looking at the counter and falling asleep.
            drop(self.lock.lock());
            self.bell.notify_all();
        }
    }

    /// How often something has grown.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// Waits until the count is above `seen` or the time is over; returns the count.
    pub(crate) fn wait(&self, seen: u64, timeout: Duration) -> u64 {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut held = self.lock.lock();
        if self.count() <= seen {
            self.bell.wait_for(&mut held, timeout);
        }
        drop(held);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        self.count()
    }
}
