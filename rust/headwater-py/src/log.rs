//! `Log`: an open directory of topics, as `headwater.log` uses it. Arguments come checked from there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use headwater_log::{Broker, Mode, OffsetStore, Partition};
use headwater_record::Batch;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::clock::{now, seconds};
use crate::errors::{ClosedError, CorruptLogError, Failure, UnknownTopicError, at};
use crate::gate::Gate;
use crate::simulated::SimulatedDisk;
use crate::wal::Settings;

/// How often a reader looks at what the process that writes has done.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Counts the forks behind this process: what was opened before one has lost its threads and locks.
static FORKS: AtomicU64 = AtomicU64::new(0);

/// Called in the child after a fork.
#[pyfunction]
fn mark_forked() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// The partition of a key among `count`, by Kafka's murmur2.
#[pyfunction]
fn partition_of_key(key: &[u8], count: u32) -> u32 {
    headwater_record::partitioner::partition_of_key(key, count)
}

/// Whether a handle may still be used: it was not closed, and this is the process that opened it.
pub(crate) struct Liveness {
    forks: u64,
    is_closed: AtomicBool,
    what: String,
}

impl Liveness {
    pub(crate) fn new(what: String) -> Self {
        Self { forks: FORKS.load(Ordering::Relaxed), is_closed: AtomicBool::new(false), what }
    }

    pub(crate) fn is_forked(&self) -> bool {
        self.forks != FORKS.load(Ordering::Relaxed)
    }

    pub(crate) fn is_usable(&self) -> bool {
        !self.is_forked() && !self.is_closed.load(Ordering::Relaxed)
    }

    /// Marks it closed; true the first time.
    pub(crate) fn close(&self) -> bool {
        !self.is_closed.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn check(&self) -> PyResult<()> {
        if self.is_usable() {
            return Ok(());
        }
        if self.is_forked() {
            return Err(ClosedError::new_err(format!(
                "expected the process that opened {}, got a child made by fork; open it again in the child, or start \
                 children with the spawn method",
                self.what
            )));
        }
        Err(ClosedError::new_err(format!("expected {} to be open, got a closed one; open it again", self.what)))
    }
}

/// See the module.
#[pyclass(frozen, module = "headwater._core")]
pub(crate) struct Log {
    pub(crate) broker: Arc<Broker>,
    pub(crate) liveness: Arc<Liveness>,
    /// Changes whenever a topic is made, changed or deleted: producers look topics up again.
    pub(crate) epoch: Arc<AtomicU64>,
    warnings: Vec<String>,
}

impl Log {
    pub(crate) fn partition(&self, py: Python<'_>, topic: &str, partition: u32) -> PyResult<Arc<Partition>> {
        self.liveness.check()?;
        let found = self.broker.topic(topic).map_err(Failure::from)?;
        found
            .partitions
            .get(partition as usize)
            .cloned()
            .ok_or_else(|| no_such_partition(py, topic, i64::from(partition), found.partitions.len()))
    }

    /// Has a partition, as it is now, do something outside of the interpreter.
    pub(crate) fn with_partition<T: Send>(
        &self,
        py: Python<'_>,
        topic: &str,
        partition: u32,
        act: impl Fn(&Arc<Partition>) -> headwater_log::Result<T> + Send,
    ) -> PyResult<T> {
        self.liveness.check()?;
        py.enter(|| self.broker.with_partition(topic, partition, act).map_err(Failure::from))
    }

    /// Looks at which topics another process has made, if one writes this log.
    fn refresh(&self) -> headwater_log::Result<bool> {
        let has_changed = self.broker.refresh()?;
        if has_changed {
            self.epoch.fetch_add(1, Ordering::Relaxed);
        }
        Ok(has_changed)
    }

    /// Waits beside the process that writes: nobody rings, so it is looked at again and again.
    fn wait_beside(&self, py: Python<'_>, places: &[Place], timeout: f64, is_read_committed: bool) -> PyResult<bool> {
        let has_grown = || -> headwater_log::Result<bool> {
            let mut has_grown = self.refresh()?;
            for (topic, partition, offset) in places {
                let end = self.broker.with_partition(topic, *partition, |log| Ok(end(log, is_read_committed)))?;
                has_grown |= end > *offset;
            }
            Ok(has_grown)
        };
        let seen = self.broker.growth();
        let mut slice = Duration::ZERO;
        let found = py.wait(Some(now() + seconds(timeout)), |left| {
            let is_woken = slice > Duration::ZERO && self.broker.wait_for_growth(seen, slice.min(left)) > seen;
            slice = LOOK_INTERVAL;
            match has_grown() {
                Ok(false) if !is_woken => None,
                looked => Some(looked.map(|_| ())),
            }
        })?;
        match found {
            None => Ok(false),
            Some(looked) => looked.map(|()| true).map_err(|error| Failure::from(error).into()),
        }
    }

    pub(crate) fn changed(&self) {
        self.epoch.fetch_add(1, Ordering::Relaxed);
        self.broker.wake();
    }
}

/// What a reader may see of a partition; of one that could not be opened the error, at any offset.
fn end(log: &Partition, is_read_committed: bool) -> u64 {
    if log.check_usable().is_err() {
        return u64::MAX;
    }
    if is_read_committed { log.last_stable_offset() } else { log.high_watermark() }
}

pub(crate) fn no_such_partition(py: Python<'_>, topic: &str, partition: i64, count: usize) -> PyErr {
    let error = UnknownTopicError::new_err(format!(
        "expected a partition from 0 to {}, got {partition} - at topic '{topic}'",
        count.saturating_sub(1)
    ));
    at(py, error, topic, u32::try_from(partition).ok(), None)
}

type Place = (String, u32, u64);
type Fetched<'py> =
    (u64, Bound<'py, PyList>, Bound<'py, PyList>, Bound<'py, PyList>, Bound<'py, PyList>, Option<Bound<'py, PyList>>);

#[pymethods]
impl Log {
    #[new]
    #[pyo3(signature = (path, durability, mode, disk=None))]
    fn new(
        py: Python<'_>,
        path: Option<String>,
        durability: &str,
        mode: &str,
        disk: Option<&Bound<'_, SimulatedDisk>>,
    ) -> PyResult<Self> {
        let what =
            path.as_deref().map_or_else(|| "the broker in memory".into(), |path| format!("the broker at {path}"));
        let storage = match disk {
            Some(disk) => Arc::clone(&disk.get().storage) as _,
            None => crate::wal::storage(path.as_deref()),
        };
        let (broker, warnings) = py.enter(|| crate::wal::open(storage, durability, mode).map_err(Failure::from))?;
        Ok(Self { broker, liveness: Arc::new(Liveness::new(what)), epoch: Arc::default(), warnings })
    }

    /// What recovery found and did, a sentence each.
    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    fn is_usable(&self) -> bool {
        self.liveness.is_usable()
    }

    fn check_usable(&self) -> PyResult<()> {
        self.liveness.check()
    }

    fn create_topic(&self, py: Python<'_>, name: &str, partitions: u32, config: Settings) -> PyResult<()> {
        self.liveness.check()?;
        py.enter(|| crate::wal::create_topic(&self.broker, name, partitions, config).map_err(Failure::from))?;
        self.changed();
        Ok(())
    }

    fn set_topic_config(&self, py: Python<'_>, name: &str, config: Settings) -> PyResult<()> {
        self.liveness.check()?;
        py.enter(|| crate::wal::set_topic_config(&self.broker, name, config).map_err(Failure::from))?;
        self.changed();
        Ok(())
    }

    fn delete_topic(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        self.liveness.check()?;
        py.enter(|| self.broker.delete_topic(name).map_err(Failure::from))?;
        self.changed();
        Ok(())
    }

    /// Name, partition count and settings of every topic.
    fn topics(&self, py: Python<'_>) -> PyResult<Vec<(String, usize, Settings)>> {
        self.liveness.check()?;
        py.enter(|| self.refresh().map_err(Failure::from))?;
        Ok(crate::wal::topics(&self.broker))
    }

    /// Partition count and settings of a topic.
    fn topic(&self, py: Python<'_>, name: &str) -> PyResult<(usize, Settings)> {
        self.liveness.check()?;
        py.enter(|| self.refresh().map_err(Failure::from))?;
        Ok(crate::wal::topic(&self.broker, name).map_err(Failure::from)?)
    }

    /// Another number whenever a topic was made, changed or deleted.
    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// First offset, last stable offset, high watermark.
    fn watermarks(&self, py: Python<'_>, topic: &str, partition: u32) -> PyResult<(u64, u64, u64)> {
        self.with_partition(py, topic, partition, |log| crate::wal::watermarks(log))
    }

    /// The first record at or after a timestamp, as (offset, timestamp).
    fn offset_for_timestamp(
        &self,
        py: Python<'_>,
        topic: &str,
        partition: u32,
        timestamp: i64,
    ) -> PyResult<Option<(u64, i64)>> {
        self.with_partition(py, topic, partition, |log| log.offset_for_timestamp(timestamp))
    }

    /// Records from an offset, as columns: the offset to go on at, offsets, timestamps, keys, values, and headers (None if
    /// no record has any). Control records and, for `is_read_committed`, aborted ones are left out.
    fn fetch<'py>(
        &self,
        py: Python<'py>,
        topic: &str,
        partition: u32,
        offset: u64,
        max_bytes: usize,
        is_read_committed: bool,
    ) -> PyResult<Fetched<'py>> {
        let read = |log: &Arc<Partition>| {
            let (next, batches) = crate::wal::fetch_batches(log, offset, max_bytes, is_read_committed)?;
            // Decompressing is the costly part: it is done out here.
            let records = batches.iter().map(Batch::records).collect::<Result<Vec<_>, _>>();
            Ok((next, records?))
        };
        let read = self.with_partition(py, topic, partition, read);
        let (next, batches) = read.map_err(|error| at(py, error, topic, Some(partition), Some(offset)))?;
        let mut views = Vec::new();
        for records in &batches {
            for view in records {
                let view = view.map_err(|error| {
                    let error = CorruptLogError::new_err(format!("{error} - at topic '{topic}' partition {partition}"));
                    at(py, error, topic, Some(partition), Some(offset))
                })?;
                if view.offset >= offset {
                    views.push(view);
                }
            }
        }
        let headers = if views.iter().all(|view| crate::headers::is_empty(view.headers)) {
            None
        } else {
            let tuples =
                views.iter().map(|view| crate::headers::decode(py, view.headers)).collect::<PyResult<Vec<_>>>()?;
            Some(PyList::new(py, tuples)?)
        };
        Ok((
            next,
            PyList::new(py, views.iter().map(|view| view.offset))?,
            PyList::new(py, views.iter().map(|view| view.timestamp))?,
            PyList::new(py, views.iter().map(|view| view.key.map(|key| PyBytes::new(py, key))))?,
            PyList::new(py, views.iter().map(|view| view.value.map(|value| PyBytes::new(py, value))))?,
            headers,
        ))
    }

    /// Waits until one of the partitions shows a record at or after its offset, any other grows, `notify` is called, or the
    /// time is up; true unless it is up.
    #[pyo3(signature = (places, timeout, is_read_committed=false))]
    fn wait(&self, py: Python<'_>, places: Vec<Place>, timeout: f64, is_read_committed: bool) -> PyResult<bool> {
        if self.broker.mode() == Mode::Read {
            self.liveness.check()?;
            return self.wait_beside(py, &places, timeout, is_read_committed);
        }
        let seen = self.broker.growth();
        let mut logs = Vec::with_capacity(places.len());
        for (topic, partition, offset) in places {
            logs.push((self.partition(py, &topic, partition)?, offset));
        }
        if logs.iter().any(|(log, offset)| end(log, is_read_committed) > *offset) {
            return Ok(true);
        }
        let deadline = now() + seconds(timeout);
        let found = py.wait(Some(deadline), |slice| (self.broker.wait_for_growth(seen, slice) > seen).then_some(()))?;
        Ok(found.is_some())
    }

    /// Wakes everybody who is in `wait`.
    pub(crate) fn notify(&self) {
        if !self.liveness.is_forked() {
            self.broker.wake();
        }
    }

    /// Commits a group's offsets as one batch: (topic, partition, next offset, metadata). Durable when it returns.
    fn commit_offsets(&self, py: Python<'_>, group: &str, offsets: Vec<(String, u32, u64, String)>) -> PyResult<()> {
        self.liveness.check()?;
        py.enter(|| self.broker.commit_offsets(group, &offsets).map_err(Failure::from))
    }

    /// A group's committed offsets: (topic, partition, next offset, metadata).
    fn fetch_offsets(&self, py: Python<'_>, group: &str) -> PyResult<Vec<(String, u32, u64, String)>> {
        self.liveness.check()?;
        py.enter(|| crate::wal::fetch_offsets(&self.broker, group).map_err(Failure::from))
    }

    /// The partitions for which a group's offsets lie in an open transaction; ask before `fetch_offsets`.
    fn pending_offsets(&self, py: Python<'_>, group: &str) -> PyResult<Vec<(String, u32)>> {
        self.liveness.check()?;
        let pending = |offsets: &OffsetStore| offsets.pending(group).into_iter().collect();
        py.enter(|| self.broker.committed_offsets().map(pending).map_err(Failure::from))
    }

    fn groups(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.liveness.check()?;
        py.enter(|| self.broker.committed_offsets().map(OffsetStore::groups).map_err(Failure::from))
    }

    fn delete_group(&self, py: Python<'_>, group: &str) -> PyResult<()> {
        self.liveness.check()?;
        py.enter(|| self.broker.offsets().delete(group).map_err(Failure::from))
    }

    /// Forgets a group's offsets of some partitions; returns those of them that it had.
    fn delete_offsets(
        &self,
        py: Python<'_>,
        group: &str,
        places: BTreeSet<(String, u32)>,
    ) -> PyResult<Vec<(String, u32)>> {
        self.liveness.check()?;
        let deleted = py.enter(|| self.broker.offsets().delete_offsets(group, &places).map_err(Failure::from))?;
        Ok(deleted.into_iter().collect())
    }

    /// Compacts a topic, or all that are compacted: records before and after, bytes before and after.
    fn compact(&self, py: Python<'_>, topic: Option<&str>) -> PyResult<(u64, u64, u64, u64)> {
        self.liveness.check()?;
        let done = py.enter(|| self.broker.compact(topic).map_err(Failure::from))?;
        Ok((done.records_before, done.records_after, done.bytes_before, done.bytes_after))
    }

    /// Makes everything written so far durable.
    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        self.liveness.check()?;
        py.enter(|| self.broker.sync().map_err(Failure::from))
    }

    /// Syncs, closes the files and frees the lock; closing twice does nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        if self.liveness.is_forked() || !self.liveness.close() {
            return Ok(());
        }
        py.enter(|| self.broker.close().map_err(Failure::from))
    }

    fn __repr__(&self) -> String {
        format!("<Log: {}>", self.liveness.what)
    }
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Log>()?;
    m.add_function(wrap_pyfunction!(mark_forked, m)?)?;
    m.add_function(wrap_pyfunction!(partition_of_key, m)?)
}
