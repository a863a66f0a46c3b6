//! Record headers between Python's tuple of (str, bytes or None) pairs and the record format's bytes.
//!
//! Encoded: a zigzag varint count, then per header the name's length and bytes, and the value's length (-1 for null) and
//! bytes. No headers at all are no bytes, or a count of 0.

use headwater_record::varint;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};

use crate::errors::{CorruptLogError, InvalidArgumentError};

/// Whether encoded headers are none.
pub(crate) fn is_empty(encoded: &[u8]) -> bool {
    matches!(encoded, [] | [0])
}

fn take_bytes<'a>(rest: &mut &'a [u8], length: i64) -> Option<&'a [u8]> {
    let (taken, tail) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = tail;
    Some(taken)
}

/// Encodes an iterable of pairs; nothing for an empty one.
pub(crate) fn encode(headers: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    let refused = |got: &Bound<'_, PyAny>| {
        let shown = got.repr().map(|text| text.to_string()).unwrap_or_default();
        InvalidArgumentError::new_err(format!("expected headers as (str, bytes | None) pairs, got {shown}"))
    };
    if headers.is_instance_of::<PyString>() || headers.is_instance_of::<PyBytes>() {
        return Err(refused(headers));
    }
    let mut count = 0;
    let mut body = Vec::new();
    for pair in headers.try_iter().map_err(|_| refused(headers))? {
        let pair = pair?;
        let (name, value): (Bound<'_, PyString>, Option<Bound<'_, PyBytes>>) =
            pair.extract().map_err(|_| refused(&pair))?;
        let name = name.to_str().map_err(|_| refused(&pair))?;
        varint::put(&mut body, name.len() as i64);
        body.extend_from_slice(name.as_bytes());
        match &value {
            None => varint::put(&mut body, -1),
            Some(value) => {
                varint::put(&mut body, value.as_bytes().len() as i64);
                body.extend_from_slice(value.as_bytes());
            }
        }
        count += 1;
    }
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut out = Vec::with_capacity(body.len() + 3);
    varint::put(&mut out, count);
    out.extend_from_slice(&body);
    Ok(out)
}

/// Decodes to a tuple of pairs. Names that are not UTF-8 keep what can be read of them.
pub(crate) fn decode<'py>(py: Python<'py>, encoded: &[u8]) -> PyResult<Bound<'py, PyTuple>> {
    if is_empty(encoded) {
        return Ok(PyTuple::empty(py));
    }
    let corrupt = || CorruptLogError::new_err("expected well-formed headers in a record, got bytes that do not decode");
    let mut rest = encoded;
    let count = varint::take(&mut rest).ok_or_else(corrupt)?;
    let mut pairs = Vec::new();
    for _ in 0..count {
        let length = varint::take(&mut rest).ok_or_else(corrupt)?;
        let name = String::from_utf8_lossy(take_bytes(&mut rest, length).ok_or_else(corrupt)?);
        let length = varint::take(&mut rest).ok_or_else(corrupt)?;
        let value = match length {
            -1 => None,
            _ => Some(PyBytes::new(py, take_bytes(&mut rest, length).ok_or_else(corrupt)?)),
        };
        pairs.push((PyString::new(py, &name), value));
    }
    PyTuple::new(py, pairs)
}

/// Headers `[(name, value)]` in a record's encoding.
#[pyfunction]
fn encode_headers<'py>(py: Python<'py>, headers: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    Ok(PyBytes::new(py, &encode(headers)?))
}

/// Headers of a record's encoding, as `(name, value)` pairs.
#[pyfunction]
fn decode_headers<'py>(py: Python<'py>, encoded: &[u8]) -> PyResult<Bound<'py, PyTuple>> {
    decode(py, encoded)
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(encode_headers, m)?)?;
    m.add_function(wrap_pyfunction!(decode_headers, m)?)
}
