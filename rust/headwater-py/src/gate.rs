//! The one gate between Python and the core: work that may block or take long runs without the interpreter attached.
//!
//! Nothing else in this crate detaches. Locks that a detached thread may hold for long are taken inside the gate, so a
//! thread that waits for one never holds the interpreter meanwhile. Waiting looks at signals several times a second, so
//! that Ctrl-C works.

use std::time::{Duration, Instant};

use pyo3::prelude::*;

use crate::clock::now;

/// How long a wait goes on without looking at signals.
const SLICE: Duration = Duration::from_millis(100);

/// What `Python` can do at the gate.
pub(crate) trait Gate<'py> {
    /// Runs `work` detached and turns its error into an exception.
    fn enter<T, E>(self, work: impl FnOnce() -> Result<T, E> + Send) -> PyResult<T>
    where
        T: Send,
        E: Send + Into<PyErr>;

    /// Calls `attempt` with a time to wait, detached, until it gives something or the deadline has passed; raises what a
    /// signal handler raises (Ctrl-C) in between.
    fn wait<T: Send>(
        self,
        deadline: Option<Instant>,
        attempt: impl FnMut(Duration) -> Option<T> + Send,
    ) -> PyResult<Option<T>>;
}

impl<'py> Gate<'py> for Python<'py> {
    fn enter<T, E>(self, work: impl FnOnce() -> Result<T, E> + Send) -> PyResult<T>
    where
        T: Send,
        E: Send + Into<PyErr>,
    {
        self.detach(work).map_err(Into::into)
    }

    fn wait<T: Send>(
        self,
        deadline: Option<Instant>,
        mut attempt: impl FnMut(Duration) -> Option<T> + Send,
    ) -> PyResult<Option<T>> {
        loop {
            let left = deadline.map_or(SLICE, |deadline| deadline.saturating_duration_since(now()).min(SLICE));
            if let Some(found) = self.detach(|| attempt(left)) {
                return Ok(Some(found));
            }
            if deadline.is_some_and(|deadline| deadline <= now()) {
                return Ok(None);
            }
            self.check_signals()?;
        }
    }
}
