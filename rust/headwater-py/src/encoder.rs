//! How keys and values become bytes on their way into a batch: in place where Python's object holds them already, by eight
//! bytes for numbers, and by a call of the serde for everything else.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyByteArray, PyBytes, PyFloat, PyInt, PyMemoryView, PyString};

use crate::errors::{InternalError, SerdeError};

/// How keys or values of a topic become bytes. Bytes always go as they are.
pub(crate) enum Encoder {
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
pub(crate) enum Encoded<'a, 'py> {
    Null,
    Borrowed(&'a [u8]),
    Eight([u8; 8]),
    Owned(Bound<'py, PyBytes>),
}

impl Encoded<'_, '_> {
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Null => None,
            Self::Borrowed(bytes) => Some(bytes),
            Self::Eight(bytes) => Some(bytes),
            Self::Owned(bytes) => Some(bytes.as_bytes()),
        }
    }
}

impl Encoder {
    pub(crate) fn from_python(config: &Bound<'_, PyAny>) -> PyResult<Self> {
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
    pub(crate) fn encode<'a, 'py>(&self, value: Option<&'a Bound<'py, PyAny>>) -> PyResult<Encoded<'a, 'py>> {
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
