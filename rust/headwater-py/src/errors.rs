//! From the core's errors to the exceptions of `headwater.errors`, which are defined in Python and raised from here.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyDict;

mod classes {
    pyo3::import_exception!(headwater.errors, ClosedError);
    pyo3::import_exception!(headwater.errors, CorruptLogError);
    pyo3::import_exception!(headwater.errors, InternalError);
    pyo3::import_exception!(headwater.errors, InvalidArgumentError);
    pyo3::import_exception!(headwater.errors, LockedError);
    pyo3::import_exception!(headwater.errors, OffsetOutOfRangeError);
    pyo3::import_exception!(headwater.errors, SerdeError);
    pyo3::import_exception!(headwater.errors, StorageError);
    pyo3::import_exception!(headwater.errors, UnknownTopicError);
}
pub(crate) use classes::*;

/// An error of the core on its way to Python.
pub(crate) struct Failure(pub(crate) Arc<crate::standin::Error>);

impl From<crate::standin::Error> for Failure {
    fn from(error: crate::standin::Error) -> Self {
        Self(Arc::new(error))
    }
}

impl From<Failure> for PyErr {
    fn from(Failure(error): Failure) -> Self {
        Python::attach(|py| {
            let raised = match error.kind {
                "range" => OffsetOutOfRangeError::new_err(error.to_string()),
                "topic" => UnknownTopicError::new_err(error.to_string()),
                _ => InvalidArgumentError::new_err(error.to_string()),
            };
            raised.value(py);
            raised
        })
    }
}

/// Sets what the message says of a place also as attributes.
pub(crate) fn at(py: Python<'_>, error: PyErr, topic: &str, partition: Option<u32>, offset: Option<u64>) -> PyErr {
    let value = error.value(py);
    let known = PyDict::new(py);
    let set = known
        .set_item("topic", topic)
        .and_then(|()| partition.map_or(Ok(()), |partition| known.set_item("partition", partition)))
        .and_then(|()| offset.map_or(Ok(()), |offset| known.set_item("offset", offset)))
        .and_then(|()| value.getattr("__dict__")?.call_method1("update", (known,)));
    match set {
        Ok(_) => error,
        Err(other) => other,
    }
}
