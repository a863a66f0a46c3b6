//! From the core's errors to the exceptions of `headwater.errors`, which are defined in Python and raised from here.

use std::sync::Arc;

use headwater_log::{Error, Kind};
use pyo3::prelude::*;
use pyo3::types::PyDict;

mod classes {
    pyo3::import_exception!(headwater.errors, ClosedError);
    pyo3::import_exception!(headwater.errors, CorruptLogError);
    pyo3::import_exception!(headwater.errors, InternalError);
    pyo3::import_exception!(headwater.errors, InvalidArgumentError);
    pyo3::import_exception!(headwater.errors, LockedError);
    pyo3::import_exception!(headwater.errors, OffsetOutOfRangeError);
    pyo3::import_exception!(headwater.errors, ProducerFencedError);
    pyo3::import_exception!(headwater.errors, SerdeError);
    pyo3::import_exception!(headwater.errors, StorageError);
    pyo3::import_exception!(headwater.errors, UnknownTopicError);
}
pub(crate) use classes::*;

/// An error of the core on its way to Python.
pub(crate) struct Failure(pub(crate) Arc<Error>);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(Arc::new(error))
    }
}

impl From<Failure> for PyErr {
    fn from(Failure(error): Failure) -> Self {
        let message = error.to_string();
        let raised = match error.kind() {
            Kind::Invalid => InvalidArgumentError::new_err(message),
            Kind::NotFound => UnknownTopicError::new_err(message),
            Kind::OutOfRange => OffsetOutOfRangeError::new_err(message),
            Kind::Corrupt => CorruptLogError::new_err(message),
            Kind::Io => StorageError::new_err(message),
            Kind::Closed => ClosedError::new_err(message),
            Kind::Locked => LockedError::new_err(message),
            Kind::Fenced => ProducerFencedError::new_err(message),
        };
        Python::attach(|py| match place(&error) {
            Some((topic, partition, offset)) => at(py, raised, topic, partition, offset),
            None => raised,
        })
        .map_path(&error)
    }
}

/// The place that an error speaks of.
fn place(error: &Error) -> Option<(&str, Option<u32>, Option<u64>)> {
    match error {
        Error::UnknownTopic { topic } => Some((topic, None, None)),
        Error::UnknownPartition { topic, partition, .. }
        | Error::Poisoned { topic, partition, .. }
        | Error::Failed { topic, partition, .. }
        | Error::OutOfOrder { topic, partition, .. } => Some((topic, Some(*partition), None)),
        Error::OffsetOutOfRange { topic, partition, offset, .. } | Error::Corrupt { topic, partition, offset, .. } => {
            Some((topic, Some(*partition), Some(*offset)))
        }
        _ => None,
    }
}

trait MapPath {
    fn map_path(self, error: &Error) -> Self;
}

impl MapPath for PyErr {
    /// Sets the exception's path, and a storage error's errno.
    fn map_path(self, error: &Error) -> Self {
        let (Error::Corrupt { path, .. }
        | Error::Unreadable { path, .. }
        | Error::Locked { path, .. }
        | Error::Io { path, .. }) = error
        else {
            return self;
        };
        Python::attach(|py| {
            let value = self.value(py);
            let set = value.setattr("path", path).and_then(|()| match error {
                Error::Io { source, .. } => value.setattr("errno", source.raw_os_error()),
                _ => Ok(()),
            });
            set.err().unwrap_or(self)
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
