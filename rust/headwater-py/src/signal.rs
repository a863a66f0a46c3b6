//! "Something was appended": what consumers that have read everything wait for.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// A counter that can be waited for.
#[derive(Default)]
pub(crate) struct Signal {
    count: Mutex<u64>,
    changed: Condvar,
}

impl Signal {
    /// Wakes everybody who waits.
    pub(crate) fn raise(&self) {
        *self.count.lock() += 1;
        self.changed.notify_all();
    }

    /// The count to wait from. Take it before looking at what is waited for, so that nothing is missed in between.
    pub(crate) fn count(&self) -> u64 {
        *self.count.lock()
    }

    /// Waits until the count differs; true if it does.
    pub(crate) fn wait(&self, seen: u64, at_most: Duration) -> bool {
        let mut count = self.count.lock();
        if *count == seen {
            self.changed.wait_for(&mut count, at_most);
        }
        *count != seen
    }
}
