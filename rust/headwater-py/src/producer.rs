//! `Producer` and `SendHandle`: one record from Python objects to bytes in a batch, and the wait for its outcome.
//!
//! `send` runs attached from end to end (it takes only locks that are held for moments by threads that never need the
//! interpreter), except when `buffer_memory` is full: then it waits at the gate.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use headwater_log::Broker;
use parking_lot::Mutex;
use pyo3::exceptions::PyTimeoutError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyByteArray, PyBytes, PyFloat, PyInt, PyList, PyMemoryView, PyString, PyType};

use crate::clock::{now, seconds, wall_clock_ms};
use crate::errors::{Failure, InternalError, SerdeError, at};
use crate::gate::Gate;
use crate::log::{Liveness, Log, no_such_partition};
use crate::partitioner::partition_of_key;
use crate::sender::{Acks, Batch, Lane, RECORD_OVERHEAD, Sender, Settings};
use crate::untracked;

/// How keys or values of a topic become bytes. Bytes always go as they are.
enum Encoder {
    /// By the value's own type: str UTF-8, int and float 8 bytes, anything else JSON.
    Infer,
    Raw(Py<PyAny>),
    Text(Py<PyAny>),
    Int64(Py<PyAny>),
    Float64(Py<PyAny>),
    /// A function that encodes, and the one that explains why it cannot.
    Python {
        fast: Py<PyAny>,
        exact: Py<PyAny>,
    },
}

/// Encoded bytes, borrowed from the Python object where they lie there.
enum Encoded<'a, 'py> {
    Null,
    Borrowed(&'a [u8]),
    Eight([u8; 8]),
    Owned(Bound<'py, PyBytes>),
}

impl Encoded<'_, '_> {
    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Null => None,
            Self::Borrowed(bytes) => Some(bytes),
            Self::Eight(bytes) => Some(bytes),
            Self::Owned(bytes) => Some(bytes.as_bytes()),
        }
    }
}

impl Encoder {
    fn from_python(config: &Bound<'_, PyAny>) -> PyResult<Self> {
        if config.is_none() {
            return Ok(Self::Infer);
        }
        let (fast, exact): (Bound<'_, PyAny>, Bound<'_, PyAny>) = config.extract()?;
        let exact = exact.unbind();
        if let Ok(name) = fast.cast::<PyString>() {
            return match name.to_str()? {
                "raw" => Ok(Self::Raw(exact)),
                "text" => Ok(Self::Text(exact)),
                "int64" => Ok(Self::Int64(exact)),
                "float64" => Ok(Self::Float64(exact)),
                other => Err(InternalError::new_err(format!("expected a known encoder, got {other}"))),
            };
        }
        Ok(Self::Python { fast: fast.unbind(), exact })
    }

    #[inline]
    fn encode<'a, 'py>(&self, value: Option<&'a Bound<'py, PyAny>>) -> PyResult<Encoded<'a, 'py>> {
        let Some(value) = value else { return Ok(Encoded::Null) };
        if let Ok(bytes) = value.cast::<PyBytes>() {
            return Ok(Encoded::Borrowed(bytes.as_bytes()));
        }
        match self {
            Self::Infer => infer(value),
            Self::Text(exact) => match value.cast::<PyString>() {
                Ok(text) => utf8(text, exact),
                Err(_) => exactly(exact, value),
            },
            Self::Int64(exact) => match value.cast_exact::<PyInt>().ok().and_then(|int| int.extract::<i64>().ok()) {
                Some(int) => Ok(Encoded::Eight(int.to_be_bytes())),
                None => exactly(exact, value),
            },
            Self::Float64(exact) => match value.cast_exact::<PyFloat>() {
                Ok(float) => Ok(Encoded::Eight(float.value().to_be_bytes())),
                Err(_) => exactly(exact, value),
            },
            Self::Raw(exact) => exactly(exact, value),
            Self::Python { fast, exact } => match fast.bind(value.py()).call1((value,)) {
                Ok(bytes) => owned(bytes),
                Err(_) => exactly(exact, value),
            },
        }
    }
}

fn utf8<'a, 'py>(text: &'a Bound<'py, PyString>, exact: &Py<PyAny>) -> PyResult<Encoded<'a, 'py>> {
    match text.to_str() {
        Ok(text) => Ok(Encoded::Borrowed(text.as_bytes())),
        Err(_) => exactly(exact, text.as_any()), // lone surrogates
    }
}

/// Calls the serde itself, which encodes or says why not.
fn exactly<'a, 'py>(exact: &Py<PyAny>, value: &Bound<'py, PyAny>) -> PyResult<Encoded<'a, 'py>> {
    owned(exact.bind(value.py()).call1((value,))?)
}

fn owned<'a, 'py>(bytes: Bound<'py, PyAny>) -> PyResult<Encoded<'a, 'py>> {
    match bytes.cast_into::<PyBytes>() {
        Ok(bytes) => Ok(Encoded::Owned(bytes)),
        Err(error) => {
            let got = error.into_inner();
            Err(SerdeError::new_err(format!("expected bytes from a serde, got {}", got.get_type().name()?)))
        }
    }
}

/// Encodes a value of an undeclared type.
fn infer<'a, 'py>(value: &'a Bound<'py, PyAny>) -> PyResult<Encoded<'a, 'py>> {
    if let Ok(text) = value.cast::<PyString>() {
        if let Ok(text) = text.to_str() {
            return Ok(Encoded::Borrowed(text.as_bytes()));
        }
    } else if let Ok(float) = value.cast_exact::<PyFloat>() {
        return Ok(Encoded::Eight(float.value().to_be_bytes()));
    } else if let Some(int) = value.cast_exact::<PyInt>().ok().and_then(|int| int.extract::<i64>().ok()) {
        return Ok(Encoded::Eight(int.to_be_bytes()));
    }
    let py = value.py();
    let is_unusual = (value.is_instance_of::<PyInt>() && !value.is_instance_of::<PyBool>())
        || value.is_instance_of::<PyString>()
        || value.is_instance_of::<PyByteArray>()
        || value.is_instance_of::<PyMemoryView>();
    if !is_unusual {
        static JSON: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let encode = JSON.import(py, "headwater.log.producer", "encode_json")?;
        if let Ok(bytes) = encode.call1((value,)) {
            return owned(bytes);
        }
    }
    // Integers beyond 64 bits, subclasses, buffers, lone surrogates, and what JSON cannot hold: Python encodes or explains.
    static ENCODE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let encode = ENCODE.import(py, "headwater.log.producer", "encode_any")?;
    owned(encode.call1((value,))?)
}

/// A topic as a producer knows it.
struct Target {
    name: Arc<str>,
    lanes: Vec<Arc<Lane>>,
    sticky: Arc<AtomicU32>,
    key: Encoder,
    value: Encoder,
}

#[derive(Default)]
struct Targets {
    epoch: u64,
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
}

impl Producer {
    fn check(&self) -> PyResult<()> {
        self.liveness.check()?;
        self.log.check()
    }

    #[inline]
    fn target(&self, topic: &Bound<'_, PyString>) -> PyResult<Arc<Target>> {
        let mut targets = self.targets.lock();
        if targets.epoch == self.epoch.load(Ordering::Relaxed) {
            if let Some((name, target)) = &targets.last
                && name.is(topic)
            {
                return Ok(Arc::clone(target));
            }
            if let Some(target) = targets.by_name.get(topic.to_str()?).cloned() {
                targets.last = Some((topic.clone().unbind(), Arc::clone(&target)));
                return Ok(target);
            }
        }
        drop(targets);
        self.look_up(topic)
    }

    /// Finds a topic in the log and asks Python for its encoders.
    fn look_up(&self, topic: &Bound<'_, PyString>) -> PyResult<Arc<Target>> {
        let py = topic.py();
        let epoch = self.epoch.load(Ordering::Relaxed);
        let found = self
            .broker
            .topic(topic.to_str()?)
            .map_err(|error| at(py, Failure::from(error).into(), &topic.to_string_lossy(), None, None))?;
        let (key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = self.encoders.bind(py).call1((topic,))?.extract()?;
        let name: Arc<str> = Arc::from(topic.to_str()?);
        let sticky = Arc::new(AtomicU32::new(0));
        let target = Arc::new(Target {
            lanes: Lane::of_topic(&name, &found.partitions, &sticky),
            name,
            sticky,
            key: Encoder::from_python(&key)?,
            value: Encoder::from_python(&value)?,
        });
        let mut targets = self.targets.lock();
        if targets.epoch != epoch {
            // Lanes of topics seen before keep what they hold; the thread has it in its queue of open batches.
            targets.by_name.clear();
            targets.last = None;
            targets.epoch = epoch;
        }
        let known = targets.by_name.entry(topic.to_str()?.to_owned()).or_insert(target);
        Ok(Arc::clone(known))
    }

    fn lane<'t>(
        py: Python<'_>,
        target: &'t Target,
        key: Option<&[u8]>,
        partition: Option<i64>,
    ) -> PyResult<&'t Arc<Lane>> {
        let count = target.lanes.len();
        let index = match (partition, key) {
            (Some(partition), _) => usize::try_from(partition).unwrap_or(usize::MAX),
            (None, Some(key)) => partition_of_key(key, count as u32) as usize,
            (None, None) => target.sticky.load(Ordering::Relaxed) as usize,
        };
        target.lanes.get(index).ok_or_else(|| no_such_partition(py, &target.name, partition.unwrap_or(-1), count))
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

fn timestamp_of(timestamp: Option<&Bound<'_, PyAny>>) -> PyResult<i64> {
    let Some(timestamp) = timestamp else { return Ok(wall_clock_ms()) };
    if let Ok(int) = timestamp.cast_exact::<PyInt>() {
        return int.extract();
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

/// A topic of a producer, ready for many records without Python: what frames are sent through. Nothing here needs the
/// interpreter; use it inside the gate.
pub(crate) struct Sending {
    sender: Arc<Sender>,
    target: Arc<Target>,
}

impl Sending {
    /// How many partitions the topic has.
    #[allow(dead_code, reason = "for the frames' way in")]
    pub(crate) fn partitions(&self) -> u32 {
        self.target.lanes.len() as u32
    }

    /// Adds a record; waits while `buffer_memory` is full. Without a partition the key decides, or the sticky one; a
    /// partition must be below `partitions`.
    #[allow(dead_code, reason = "for the frames' way in")]
    pub(crate) fn push(
        &self,
        partition: Option<u32>,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[u8],
    ) {
        let bytes = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + headers.len() + RECORD_OVERHEAD;
        while !self.sender.has_room(bytes) && !self.sender.wait_for_room(bytes, Duration::from_secs(1)) {}
        let count = self.partitions();
        let index = match (partition, key) {
            (Some(partition), _) => partition.min(count - 1),
            (None, Some(key)) => partition_of_key(key, count),
            (None, None) => self.target.sticky.load(Ordering::Relaxed),
        };
        self.sender.push(&self.target.lanes[index as usize], timestamp, key, value, headers);
    }
}

impl Producer {
    /// A topic for many records.
    #[allow(dead_code, reason = "for the frames' way in")]
    pub(crate) fn sending(&self, topic: &Bound<'_, PyString>) -> PyResult<Sending> {
        self.check()?;
        Ok(Sending { sender: Arc::clone(&self.sender), target: self.target(topic)? })
    }
}

#[pymethods]
impl Producer {
    #[new]
    fn new(
        log: &Bound<'_, Log>,
        acks: i64,
        linger_ms: u64,
        batch_size: usize,
        compression: &str,
        buffer_memory: usize,
        encoders: Py<PyAny>,
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
        };
        let sender = Sender::start(settings).map_err(|error| {
            crate::errors::StorageError::new_err(format!("cannot start the sender's thread: {error}"))
        })?;
        Ok(Self {
            sender,
            broker: Arc::clone(&log.broker),
            log: Arc::clone(&log.liveness),
            epoch: Arc::clone(&log.epoch),
            liveness: Liveness::new("the producer".into()),
            targets: Mutex::new(Targets { epoch: log.epoch.load(Ordering::Relaxed), ..Targets::default() }),
            encoders,
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
        let (batch, index) = self.sender.push(lane, timestamp, key, value, &headers);
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
            self.sender.push(lane, timestamp, key, value, &headers);
        }
        Ok(count)
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

/// The outcome, to come, of one record; its Python type is made in `untracked`, its methods in Python.
pub(crate) struct SendHandle {
    sender: Arc<Sender>,
    batch: Arc<Batch>,
    index: u32,
    timestamp: i64,
}

impl SendHandle {
    fn metadata<'py>(&self, py: Python<'py>, offset: i64, timestamp: i64) -> PyResult<Bound<'py, PyAny>> {
        static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let class = CLASS.import(py, "headwater.records", "RecordMetadata")?;
        class.call1((&*self.batch.lane.topic, self.batch.lane.partition, offset, timestamp))
    }

    fn is_unacknowledged(&self) -> bool {
        self.sender.settings.acks == Acks::None
    }

    fn send_now(&self) {
        self.sender.seal_now(&self.batch.lane, Some(&self.batch));
    }
}

/// Whether `handle_result` would return or raise at once.
#[pyfunction]
fn handle_done(handle: &Bound<'_, PyAny>) -> PyResult<bool> {
    let handle = untracked::get(handle)?;
    Ok(handle.is_unacknowledged() || handle.batch.outcome().is_some())
}

/// Sends the record's batch without waiting for linger.
#[pyfunction]
fn handle_send_now(handle: &Bound<'_, PyAny>) -> PyResult<()> {
    untracked::get(handle)?.send_now();
    Ok(())
}

/// Sends at once, waits (for so many seconds at most), and says where the record is; raises why it is not.
#[pyfunction]
#[pyo3(signature = (handle, timeout=None))]
fn handle_result<'py>(handle: &Bound<'py, PyAny>, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
    let py = handle.py();
    let handle = untracked::get(handle)?;
    if handle.is_unacknowledged() {
        return handle.metadata(py, -1, handle.timestamp);
    }
    if handle.batch.outcome().is_none() {
        handle.send_now();
        let deadline = timeout.map(|timeout| now() + seconds(timeout));
        let found = py.wait(deadline, |slice| handle.sender.wait_outcome(&handle.batch, slice).then_some(()))?;
        if found.is_none() {
            return Err(PyTimeoutError::new_err("the record is not acknowledged yet; it is still being sent"));
        }
    }
    match handle.batch.outcome() {
        Some(Ok(appended)) => {
            let offset = (appended.base_offset + u64::from(handle.index)) as i64;
            handle.metadata(py, offset, appended.log_append_time.unwrap_or(handle.timestamp))
        }
        Some(Err(error)) => {
            let raised = Failure(Arc::clone(error)).into();
            Err(at(py, raised, &handle.batch.lane.topic, Some(handle.batch.lane.partition), None))
        }
        None => Err(InternalError::new_err("a batch lost its outcome; please report this")),
    }
}

/// What the representation shows.
#[pyfunction]
fn handle_describe(handle: &Bound<'_, PyAny>) -> PyResult<String> {
    let handle = untracked::get(handle)?;
    let state = match handle.batch.outcome() {
        None => "pending".to_owned(),
        Some(Ok(appended)) => format!("at offset {}", appended.base_offset + u64::from(handle.index)),
        Some(Err(error)) => format!("failed: {error}"),
    };
    Ok(format!("{}-{} {state}", handle.batch.lane.topic, handle.batch.lane.partition))
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Producer>()?;
    m.add("SendHandle", untracked::type_object(m.py())?)?;
    m.add_function(wrap_pyfunction!(handle_done, m)?)?;
    m.add_function(wrap_pyfunction!(handle_send_now, m)?)?;
    m.add_function(wrap_pyfunction!(handle_result, m)?)?;
    m.add_function(wrap_pyfunction!(handle_describe, m)?)
}
