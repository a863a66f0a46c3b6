//! `SendHandle`: the outcome, to come, of one record. Its Python type is made in `untracked`, its methods in
//! `headwater.log.producer`, which call the functions here.

use std::sync::Arc;

use pyo3::exceptions::PyTimeoutError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use crate::clock::{now, seconds};
use crate::errors::{Failure, InternalError, at};
use crate::gate::Gate;
use crate::sender::{Acks, Batch, Sender};
use crate::untracked;

/// See the module. Holds nothing of Python.
pub(crate) struct SendHandle {
    pub(crate) sender: Arc<Sender>,
    pub(crate) batch: Arc<Batch>,
    pub(crate) index: u32,
    pub(crate) timestamp: i64,
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
    m.add("SendHandle", untracked::type_object(m.py())?)?;
    m.add_function(wrap_pyfunction!(handle_done, m)?)?;
    m.add_function(wrap_pyfunction!(handle_send_now, m)?)?;
    m.add_function(wrap_pyfunction!(handle_result, m)?)?;
    m.add_function(wrap_pyfunction!(handle_describe, m)?)
}
