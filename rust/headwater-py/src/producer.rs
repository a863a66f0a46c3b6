//! `Producer`: one record from Python objects to bytes in a batch.
//!
//! `send` runs attached from end to end (it takes only locks that are held for moments by threads that never need the
//! interpreter), except when `buffer_memory` is full: then it waits at the gate.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use headwater_log::Broker;
use headwater_record::partitioner::partition_of_key;
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyInt, PyList, PyString};

use crate::arrow::read_batches;
use crate::clock::wall_clock_ms;
use crate::encoder::Encoder;
use crate::errors::{ClosedError, Failure, SerdeError, at};
use crate::frames::RecordColumns;
use crate::gate::Gate;
use crate::handle::SendHandle;
use crate::log::{Liveness, Log, no_such_partition};
use crate::sender::{Acks, Lane, RECORD_OVERHEAD, Sender, Settings};
use crate::transaction::Transaction;
use crate::untracked;

/// A topic as a producer knows it.
struct Target {
    /// The log's epoch when it was looked up: in another one it is looked up again.
    epoch: u64,
    name: Arc<str>,
    lanes: Vec<Arc<Lane>>,
    sticky: Arc<AtomicU32>,
    key: Encoder,
    value: Encoder,
}

impl Target {
    /// The lane of a record: of the partition given, else by its key, else the sticky one; None if there is no such partition.
    #[inline]
    fn lane(&self, key: Option<&[u8]>, partition: Option<i64>) -> Option<&Arc<Lane>> {
        let index = match (partition, key) {
            (Some(partition), _) => usize::try_from(partition).unwrap_or(usize::MAX),
            (None, Some(key)) => partition_of_key(key, self.lanes.len() as u32) as usize,
            (None, None) => self.sticky.load(Ordering::Relaxed) as usize,
        };
        self.lanes.get(index)
    }
}

/// Why a row of a frame was not added.
enum Stop {
    /// There is no room for so many bytes.
    Full(usize),
    NoPartition(i64),
    Closed,
}

#[derive(Default)]
struct Targets {
    by_name: HashMap<String, Arc<Target>>,
    /// The last topic and the very object that named it: most calls name the same topic by the same object.
    last: Option<(Py<PyString>, Arc<Target>)>,
}

/// See the module.
#[pyclass(frozen, subclass, weakref, module = "headwater._core")]
pub(crate) struct Producer {
    sender: Arc<Sender>,
    broker: Arc<Broker>,
    log: Arc<Liveness>,
    epoch: Arc<AtomicU64>,
    liveness: Liveness,
    targets: Mutex<Targets>,
    encoders: Py<PyAny>,
    transaction: Option<Py<Transaction>>,
}

impl Producer {
    fn check(&self) -> PyResult<()> {
        self.liveness.check()?;
        self.log.check()
    }

    /// Refuses a record outside of a transaction. From here to its `push` the interpreter must stay attached, so that nobody
    /// ends the transaction in between.
    #[inline]
    fn check_transaction(&self) -> PyResult<()> {
        match &self.transaction {
            Some(transaction) if !transaction.get().accepts() => Err(transaction.get().refusal()),
            _ => Ok(()),
        }
    }

    #[inline]
    fn target(&self, topic: &Bound<'_, PyString>) -> PyResult<Arc<Target>> {
        let epoch = self.epoch.load(Ordering::Relaxed);
        let mut targets = self.targets.lock();
        if let Some((name, target)) = &targets.last
            && name.is(topic)
            && target.epoch == epoch
        {
            return Ok(Arc::clone(target));
        }
        if let Some(target) = targets.by_name.get(topic.to_str()?).filter(|target| target.epoch == epoch).cloned() {
            targets.last = Some((topic.clone().unbind(), Arc::clone(&target)));
            return Ok(target);
        }
        drop(targets);
        self.look_up(topic, epoch)
    }

    /// Finds a topic in the log and asks Python for its encoders.
    fn look_up(&self, topic: &Bound<'_, PyString>, epoch: u64) -> PyResult<Arc<Target>> {
        let py = topic.py();
        let name: Arc<str> = Arc::from(topic.to_str()?);
        let found = self.broker.topic(&name).map_err(|error| {
            self.targets.lock().by_name.remove(&*name);
            at(py, Failure::from(error).into(), &name, None, None)
        })?;
        let (key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = self.encoders.bind(py).call1((topic,))?.extract()?;
        let (key, value) = (Encoder::from_python(&key)?, Encoder::from_python(&value)?);
        let mut targets = self.targets.lock();
        let known = targets.by_name.get(&*name);
        if let Some(newer) = known.filter(|known| known.epoch >= epoch) {
            return Ok(Arc::clone(newer)); // another thread was faster
        }
        let sticky = known.map_or_else(Arc::default, |known| Arc::clone(&known.sticky));
        let lanes = Lane::of_topic(&name, &found.partitions, &sticky, known.map_or(&[], |known| &known.lanes));
        let target = Arc::new(Target { epoch, lanes, name: Arc::clone(&name), sticky, key, value });
        targets.by_name.insert(name.to_string(), Arc::clone(&target));
        Ok(target)
    }

    fn lane<'t>(
        py: Python<'_>,
        target: &'t Target,
        key: Option<&[u8]>,
        partition: Option<i64>,
    ) -> PyResult<&'t Arc<Lane>> {
        let refusal = || no_such_partition(py, &target.name, partition.unwrap_or(-1), target.lanes.len());
        target.lane(key, partition).ok_or_else(refusal)
    }

    /// Adds rows of a frame from `first` on, up to one that cannot be added now, or ever; returns which comes next, and why it
    /// was not added.
    fn push_rows(
        &self,
        target: &Target,
        columns: &RecordColumns<'_>,
        first: usize,
        sent_at: i64,
    ) -> (usize, Option<Stop>) {
        for index in first..columns.len() {
            let row = columns.row(index);
            let bytes = row.key.map_or(0, <[u8]>::len) + row.value.map_or(0, <[u8]>::len) + RECORD_OVERHEAD;
            let stop = if !self.sender.has_room(bytes) {
                Some(Stop::Full(bytes))
            } else if let Some(lane) = target.lane(row.key, row.partition) {
                let timestamp = row.timestamp.unwrap_or(sent_at);
                self.sender.push(lane, timestamp, row.key, row.value, &[]).is_none().then_some(Stop::Closed)
            } else {
                Some(Stop::NoPartition(row.partition.unwrap_or(-1)))
            };
            if stop.is_some() {
                return (index, stop);
            }
        }
        (columns.len(), None)
    }

    /// Waits at the gate until so many bytes may be pushed.
    #[inline]
    fn make_room(&self, py: Python<'_>, bytes: usize) -> PyResult<()> {
        if self.sender.has_room(bytes) {
            return Ok(());
        }
        py.wait(None, |slice| self.sender.wait_for_room(bytes, slice).then_some(()))?;
        Ok(())
    }

    /// Seals every open batch and waits until all are complete.
    fn wait_for_all(&self, py: Python<'_>) -> PyResult<()> {
        if !self.sender.is_unflushed() {
            return Ok(());
        }
        self.sender.seal_all();
        let sequence = self.sender.sealed();
        py.wait(None, |slice| self.sender.wait_completed(sequence, slice).then_some(()))?;
        Ok(())
    }

    fn raise_failure(&self) -> PyResult<()> {
        match self.sender.take_failure() {
            None => Ok(()),
            Some(error) => Err(Failure(error).into()),
        }
    }
}

/// An entry of an optional column; None where there is no column or None in it.
fn item<'py>(column: Option<&Bound<'py, PyList>>, index: usize) -> PyResult<Option<Bound<'py, PyAny>>> {
    let entry = column.map(|column| column.get_item(index)).transpose()?;
    Ok(entry.filter(|entry| !entry.is_none()))
}

/// Another thread closed the producer in the middle of a `send`.
fn closed() -> PyErr {
    ClosedError::new_err("expected the producer to be open, got a closed one; make a new one with broker.producer()")
}

fn timestamp_of(timestamp: Option<&Bound<'_, PyAny>>) -> PyResult<i64> {
    let Some(timestamp) = timestamp else { return Ok(wall_clock_ms()) };
    if let Ok(int) = timestamp.cast_exact::<PyInt>()
        && let Ok(milliseconds) = int.extract()
    {
        return Ok(milliseconds);
    }
    static CONVERT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    CONVERT.import(timestamp.py(), "headwater.time", "to_timestamp_ms")?.call1((timestamp,))?.extract()
}

fn located(py: Python<'_>, error: PyErr, topic: &str, part: &str) -> PyErr {
    if !error.is_instance_of::<SerdeError>(py) {
        return error;
    }
    let found = SerdeError::new_err(format!("{} - at the {part} of a record for topic '{topic}'", error.value(py)));
    found.set_cause(py, Some(error));
    at(py, found, topic, None, None)
}

#[pymethods]
impl Producer {
    #[new]
    #[pyo3(signature = (log, acks, linger_ms, batch_size, compression, buffer_memory, encoders, transaction=None))]
    fn new(
        log: &Bound<'_, Log>,
        acks: i64,
        linger_ms: u64,
        batch_size: usize,
        compression: &str,
        buffer_memory: usize,
        encoders: Py<PyAny>,
        transaction: Option<Py<Transaction>>,
    ) -> PyResult<Self> {
        let log = log.get();
        log.liveness.check()?;
        let settings = Settings {
            acks: match acks {
                0 => Acks::None,
                1 => Acks::Written,
                _ => Acks::Durable,
            },
            linger: Duration::from_millis(linger_ms),
            batch_size,
            codec: crate::wal::codec(compression),
            buffer_memory,
            transaction: transaction.as_ref().map(|transaction| Arc::clone(&transaction.get().producer)),
        };
        let sender = Sender::start(settings).map_err(Failure::from)?;
        Ok(Self {
            sender,
            broker: Arc::clone(&log.broker),
            log: Arc::clone(&log.liveness),
            epoch: Arc::clone(&log.epoch),
            liveness: Liveness::new("the producer".into()),
            targets: Mutex::default(),
            encoders,
            transaction,
        })
    }

    /// Adds one record; the handle tells what becomes of it.
    #[pyo3(signature = (topic, *, key=None, value=None, partition=None, timestamp=None, headers=None))]
    fn send<'py>(
        &self,
        py: Python<'py>,
        topic: &Bound<'_, PyString>,
        key: Option<&Bound<'_, PyAny>>,
        value: Option<&Bound<'_, PyAny>>,
        partition: Option<i64>,
        timestamp: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.check()?;
        let target = self.target(topic)?;
        let key = target.key.encode(key).map_err(|error| located(py, error, &target.name, "key"))?;
        let value = target.value.encode(value).map_err(|error| located(py, error, &target.name, "value"))?;
        let (key, value) = (key.bytes(), value.bytes());
        let timestamp = timestamp_of(timestamp)?;
        let headers = match headers {
            None => Vec::new(),
            Some(headers) => crate::headers::encode(headers)?,
        };
        let bytes = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + headers.len() + RECORD_OVERHEAD;
        self.make_room(py, bytes)?;
        let lane = Self::lane(py, &target, key, partition)?;
        self.check_transaction()?;
        let (batch, index) = self.sender.push(lane, timestamp, key, value, &headers).ok_or_else(closed)?;
        untracked::new(py, SendHandle { sender: Arc::clone(&self.sender), batch, index, timestamp })
    }

    /// Adds records given as columns of encoded bytes; no handles. Returns how many.
    #[pyo3(signature = (topic, keys, values, timestamps=None, headers=None, partitions=None))]
    fn send_columns(
        &self,
        py: Python<'_>,
        topic: &Bound<'_, PyString>,
        keys: Option<&Bound<'_, PyList>>,
        values: &Bound<'_, PyList>,
        timestamps: Option<&Bound<'_, PyList>>,
        headers: Option<&Bound<'_, PyList>>,
        partitions: Option<&Bound<'_, PyList>>,
    ) -> PyResult<usize> {
        self.check()?;
        let target = self.target(topic)?;
        let sent_at = wall_clock_ms();
        let count = values.len();
        for index in 0..count {
            let key = item(keys, index)?;
            let value = item(Some(values), index)?;
            let key = key.as_ref().map(|key| key.cast::<PyBytes>()).transpose()?.map(|key| key.as_bytes());
            let value = value.as_ref().map(|value| value.cast::<PyBytes>()).transpose()?.map(|value| value.as_bytes());
            let timestamp = match item(timestamps, index)? {
                None => sent_at,
                Some(timestamp) => timestamp_of(Some(&timestamp))?,
            };
            let partition = item(partitions, index)?;
            let partition = partition.map(|partition| partition.extract::<i64>()).transpose()?;
            let headers = match item(headers, index)? {
                None => Vec::new(),
                Some(headers) => crate::headers::encode(&headers)?,
            };
            let bytes = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + headers.len() + RECORD_OVERHEAD;
            self.make_room(py, bytes)?;
            let lane = Self::lane(py, &target, key, partition)?;
            self.check_transaction()?;
            self.sender.push(lane, timestamp, key, value, &headers).ok_or_else(closed)?;
        }
        Ok(count)
    }

    /// Adds records given as a frame with the columns value and, if it has them, key, timestamp (ms) and partition; no
    /// handles. Returns how many.
    fn send_frame(&self, py: Python<'_>, topic: &Bound<'_, PyString>, frame: &Bound<'_, PyAny>) -> PyResult<usize> {
        self.check()?;
        let target = self.target(topic)?;
        let sent_at = wall_clock_ms();
        let batches = read_batches(frame)?;
        for batch in &batches {
            let columns = RecordColumns::of(batch)?;
            let mut next = 0;
            while next < columns.len() {
                let push = || self.push_rows(&target, &columns, next, sent_at);
                // Attached within a transaction, so that nobody ends it in between.
                let stop;
                (next, stop) = match &self.transaction {
                    Some(_) => self.check_transaction().map(|()| push())?,
                    None => py.enter(|| Ok::<_, PyErr>(push()))?,
                };
                match stop {
                    None => {}
                    Some(Stop::Full(bytes)) => self.make_room(py, bytes)?,
                    Some(Stop::NoPartition(partition)) => {
                        return Err(no_such_partition(py, &target.name, partition, target.lanes.len()));
                    }
                    Some(Stop::Closed) => return Err(closed()),
                }
            }
        }
        Ok(batches.iter().map(|batch| batch.num_rows()).sum())
    }

    /// Sends everything now and waits for it.
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        self.check()?;
        self.wait_for_all(py)?;
        self.raise_failure()
    }

    /// Whether records wait for their acknowledgement.
    fn is_unflushed(&self) -> bool {
        self.liveness.is_usable() && self.log.is_usable() && self.sender.is_unflushed()
    }

    /// Flushes and ends the thread; closing twice does nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        if self.liveness.is_forked() || !self.liveness.is_usable() {
            return Ok(());
        }
        self.wait_for_all(py)?;
        self.liveness.close();
        self.sender.close();
        self.raise_failure()
    }

    /// What the representation shows.
    fn describe(&self) -> String {
        let acks = match self.sender.settings.acks {
            Acks::None => "0",
            Acks::Written => "1",
            Acks::Durable => "'all'",
        };
        let state = if self.liveness.is_usable() { "" } else { ", closed" };
        format!("acks={acks}, linger='{}ms'{state}", self.sender.settings.linger.as_millis())
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        if !self.liveness.is_forked() {
            self.sender.seal_all();
            self.sender.close();
        }
    }
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Producer>()
}
