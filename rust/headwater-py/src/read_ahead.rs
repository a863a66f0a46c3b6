//! Reads what a task will ask for next while it is busy with what it has: one thread at a time, for one fetch.
//!
//! What was read ahead is what a fetch at that moment would have found; where that was nothing, or an error, it is read
//! again when it is asked for. The thread holds a partition, never the broker, and ends with its fetch.

use std::sync::Arc;
use std::thread::JoinHandle;

use headwater_log::Partition;
use pyo3::prelude::*;

use crate::feed::{Fetched, fetch};
use crate::gate::Gate;
use crate::log::{Liveness, Log};
use crate::rows::Rows;

struct Running {
    offset: u64,
    liveness: Arc<Liveness>,
    thread: JoinHandle<headwater_log::Result<Fetched>>,
}

/// See the module.
#[pyclass(module = "headwater._core")]
#[derive(Default)]
pub(crate) struct ReadAhead {
    running: Option<Running>,
}

#[pymethods]
impl ReadAhead {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// What `fetch_rows` gives; what follows is read meanwhile.
    fn fetch_rows(
        &mut self,
        py: Python<'_>,
        log: &Log,
        topic: &str,
        partition: u32,
        offset: u64,
        max_bytes: usize,
    ) -> PyResult<(u64, Vec<u64>, Rows)> {
        log.liveness.check()?;
        let ahead = self.running.take();
        let ahead = py.enter(|| Ok::<_, PyErr>(ahead.and_then(|running| running.end_at(offset))))?;
        let fetched = match ahead {
            Some(fetched) => fetched,
            None => log.with_partition(py, topic, partition, |source| fetch(source, offset, max_bytes))?,
        };
        if fetched.next > offset {
            let (source, next) = (log.partition(py, topic, partition)?, fetched.next);
            self.running = start(source, next, max_bytes, Arc::clone(&log.liveness));
        }
        Ok((fetched.next, fetched.offsets, Rows { rows: fetched.rows }))
    }

    /// Waits until nothing is read any more.
    fn close(&mut self, py: Python<'_>) -> PyResult<()> {
        let running = self.running.take();
        py.enter(|| {
            running.into_iter().for_each(Running::end);
            Ok::<_, PyErr>(())
        })
    }
}

/// Without a thread to be had nothing is read ahead.
fn start(source: Arc<Partition>, offset: u64, max_bytes: usize, liveness: Arc<Liveness>) -> Option<Running> {
    if source.high_watermark() <= offset {
        return None;
    }
    let thread = std::thread::Builder::new().name("headwater-read-ahead".into());
    let thread = thread.spawn(move || fetch(&source, offset, max_bytes)).ok()?;
    Some(Running { offset, liveness, thread })
}

impl Running {
    /// Waits for the thread; gives what it has read if that begins at `offset` and leads anywhere.
    fn end_at(self, offset: u64) -> Option<Fetched> {
        let fetched = self.thread.join().ok()?.ok()?;
        (self.offset == offset && fetched.next > offset).then_some(fetched)
    }

    fn end(self) {
        // A child made by fork has no such thread.
        if !self.liveness.is_forked() {
            let _ = self.thread.join();
        }
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        self.running.take().into_iter().for_each(Running::end);
    }
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<ReadAhead>()
}
