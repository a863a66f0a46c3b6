//! The clocks of this crate: a producer stamps records that have no timestamp, and threads wait for real time to pass.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Monotonic time, for waits only.
#[allow(clippy::disallowed_methods, reason = "a thread's wait is not a fact about records")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The wall clock in milliseconds since the epoch: the timestamp of a record that was given none.
#[allow(clippy::disallowed_methods, reason = "the one place where a record gets the time at which it was sent")]
pub(crate) fn wall_clock_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A duration from seconds as Python gives them; nonsense becomes zero, a wait beyond a century a century.
pub(crate) fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value.clamp(0.0, 3.2e9)).unwrap_or_default()
}
