//! JSON values of a batch: fields out of them into columns, and columns back into objects, without a Python object each.

use std::sync::Arc;

use arrow_array::builder::LargeBinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use bytes::Bytes;
use headwater_state::json::{FieldKind, FieldSpec, Projector, write_f64, write_i64, write_moment, write_text};
use headwater_state::store::Argument;
use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::arrow::{Columns, array_of, booleans, is_number, is_plain, read_batches};
use crate::gate::Gate;
use crate::rows::Rows;

/// (key in the objects, type, null fits, absent means null, name of the column)
type FieldTuple = (String, String, bool, bool, String);

/// Takes the same fields out of many batches; remembers the shapes of the objects.
#[pyclass(frozen, module = "headwater._core")]
struct JsonProjector {
    projector: Mutex<Projector>,
    names: Vec<String>,
    present: String,
}

#[pymethods]
impl JsonProjector {
    /// `present` names the column that tells values from tombstones.
    #[new]
    fn new(fields: Vec<FieldTuple>, present: String) -> PyResult<Self> {
        let mut names = Vec::with_capacity(fields.len());
        let mut specs = Vec::with_capacity(fields.len());
        for (name, kind, is_nullable, is_optional, column) in fields {
            let kind = match kind.as_str() {
                "int" => FieldKind::Int64,
                "float" => FieldKind::Float64,
                "str" => FieldKind::Text,
                "bool" => FieldKind::Boolean,
                other => return Err(PyValueError::new_err(format!("expected a plain type, got {other:?}"))),
            };
            specs.push(FieldSpec { name, kind, is_nullable, is_optional });
            names.push(column);
        }
        Ok(Self { projector: Mutex::new(Projector::new(specs)), names, present })
    }

    /// Columns of a list of values, and the numbers of the rows that a complete decoder must look at.
    fn project(&self, py: Python<'_>, values: Vec<Option<Bound<'_, PyBytes>>>) -> PyResult<(Columns, Vec<usize>)> {
        let values: Vec<_> = values.iter().map(|value| value.as_ref().map(|bytes| bytes.as_bytes())).collect();
        self.columns(py, values.into_iter())
    }

    /// The same of a frame's only column, of bytes.
    fn project_column(&self, py: Python<'_>, frame: &Bound<'_, PyAny>) -> PyResult<(Columns, Vec<usize>)> {
        let batches = read_batches(frame)?;
        let mut values: Vec<Option<&[u8]>> = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
        for batch in &batches {
            let column = batch.columns().first().and_then(|array| array.as_binary_view_opt());
            let column = column.ok_or_else(|| PyValueError::new_err("expected a column of bytes, got another"))?;
            values.extend(column.iter());
        }
        self.columns(py, values.into_iter())
    }

    /// The same of a part of a batch's rows: "value", "old" or "other".
    fn project_rows(&self, py: Python<'_>, rows: PyRef<'_, Rows>, part: &str) -> PyResult<(Columns, Vec<usize>)> {
        let rows = &rows.rows;
        match part {
            "value" => self.columns(py, rows.iter().map(|row| row.value.as_deref())),
            "old" => self.columns(py, rows.iter().map(|row| row.old.as_deref())),
            "other" => self.columns(py, rows.iter().map(|row| row.other.as_deref())),
            other => Err(PyValueError::new_err(format!("expected value, old or other, got {other:?}"))),
        }
    }
}

impl JsonProjector {
    fn columns<'a>(
        &self,
        py: Python<'_>,
        values: impl ExactSizeIterator<Item = Option<&'a [u8]>> + Send,
    ) -> PyResult<(Columns, Vec<usize>)> {
        let found = py.enter(|| Ok::<_, PyErr>(self.projector.lock().columns(values)))?;
        let rows = found.present.len();
        let mut columns = vec![(self.present.clone(), booleans(found.present))];
        for (name, column) in self.names.iter().zip(found.columns) {
            columns.push((name.clone(), array_of(column)?));
        }
        Ok((Columns::new(columns, rows)?, found.unsure))
    }
}

// --- columns into objects -----------------------------------------------------------------------------------------------

/// Objects of a frame's columns, one a row, as a column `value`; None if some column is of a type that only Python can print.
///
/// `keys` are the objects' keys, a column each; with `has_marks` one more column, the last, tells values from tombstones.
#[pyfunction]
fn encode_objects(frame: &Bound<'_, PyAny>, keys: Vec<String>, has_marks: bool) -> PyResult<Option<Columns>> {
    let mut objects = LargeBinaryBuilder::new();
    let mut sink = |object: Option<&[u8]>| {
        objects.append_option(object);
        Ok(())
    };
    if !write_objects(frame, &keys, has_marks, &mut sink)? {
        return Ok(None);
    }
    let objects = objects.finish();
    let rows = objects.len();
    Columns::new(vec![("value".to_owned(), Arc::new(objects) as ArrayRef)], rows).map(Some)
}

/// The same, put into the rows of a batch as their values; false (and nothing done) if only Python can print them.
#[pyfunction]
fn set_objects(rows: &mut Rows, frame: &Bound<'_, PyAny>, keys: Vec<String>, has_marks: bool) -> PyResult<bool> {
    let mut objects = Vec::with_capacity(rows.rows.len());
    let mut sink = |object: Option<&[u8]>| {
        objects.push(object.map(Bytes::copy_from_slice));
        Ok(())
    };
    if !write_objects(frame, &keys, has_marks, &mut sink)? {
        return Ok(false);
    }
    same_height(rows, objects.len())?;
    for (row, object) in rows.rows.iter_mut().zip(objects) {
        row.value = object;
    }
    Ok(true)
}

/// Packs a frame's columns, the arguments of an aggregation, into the rows of a batch; false (and nothing done) if one is
/// neither whole nor a double.
#[pyfunction]
fn set_argument_columns(rows: &mut Rows, frame: &Bound<'_, PyAny>) -> PyResult<bool> {
    let batches = read_batches(frame)?;
    let height: usize = batches.iter().map(RecordBatch::num_rows).sum();
    same_height(rows, height)?;
    let is_fit = |batch: &RecordBatch| batch.columns().iter().all(|array| is_number(array.data_type()));
    if !batches.iter().all(is_fit) {
        return Ok(false);
    }
    let mut rows = rows.rows.iter_mut();
    for batch in &batches {
        let cells: Vec<Cells<'_>> = batch.columns().iter().map(|array| Cells::of(array.as_ref())).collect();
        for (index, row) in (0..batch.num_rows()).zip(&mut rows) {
            let mut packed = bytes::BytesMut::with_capacity(9 * cells.len());
            for column in &cells {
                column.argument(index).pack(&mut packed);
            }
            row.other = Some(packed.freeze());
        }
    }
    Ok(true)
}

fn same_height(rows: &Rows, height: usize) -> PyResult<()> {
    if rows.rows.len() == height {
        return Ok(());
    }
    Err(PyValueError::new_err(format!("expected a frame of {} rows, got {height}", rows.rows.len())))
}

type Sink<'a> = dyn FnMut(Option<&[u8]>) -> PyResult<()> + 'a;

fn write_objects(frame: &Bound<'_, PyAny>, keys: &[String], has_marks: bool, sink: &mut Sink<'_>) -> PyResult<bool> {
    let batches = read_batches(frame)?;
    let is_fit = |batch: &RecordBatch| batch.columns().iter().all(|array| is_plain(array.data_type()));
    if !batches.iter().all(is_fit) {
        return Ok(false);
    }
    let prefixes: Vec<Vec<u8>> = keys.iter().enumerate().map(|(index, key)| prefix(index, key)).collect();
    let mut object = Vec::with_capacity(256);
    for batch in &batches {
        let columns: Vec<Cells<'_>> = batch.columns().iter().map(|array| Cells::of(array.as_ref())).collect();
        let (marks, columns) = match columns.split_last() {
            Some((marks, columns)) if has_marks => (Some(marks), columns),
            _ => (None, &columns[..]),
        };
        if columns.len() != keys.len() {
            return Err(PyValueError::new_err(format!("expected {} columns, got {}", keys.len(), columns.len())));
        }
        for row in 0..batch.num_rows() {
            if marks.is_some_and(|marks| marks.argument(row) != Argument::Int(1)) {
                sink(None)?;
                continue;
            }
            object.clear();
            object.push(b'{');
            for (prefix, column) in prefixes.iter().zip(columns) {
                object.extend_from_slice(prefix);
                if !column.write(row, &mut object) {
                    return Ok(false);
                }
            }
            object.push(b'}');
            sink(Some(&object))?;
        }
    }
    Ok(true)
}

// `,"key":`
fn prefix(index: usize, key: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 4);
    if index > 0 {
        out.push(b',');
    }
    write_text(&mut out, key);
    out.push(b':');
    out
}

// A column whose type is known once, not once a row.
enum Cells<'a> {
    I8(&'a arrow_array::Int8Array),
    I16(&'a arrow_array::Int16Array),
    I32(&'a arrow_array::Int32Array),
    I64(&'a arrow_array::Int64Array),
    U8(&'a arrow_array::UInt8Array),
    U16(&'a arrow_array::UInt16Array),
    U32(&'a arrow_array::UInt32Array),
    F64(&'a arrow_array::Float64Array),
    Bool(&'a arrow_array::BooleanArray),
    View(&'a arrow_array::StringViewArray),
    Text(&'a arrow_array::LargeStringArray),
    // Moments, and whether they have a zone (UTC).
    Milli(&'a arrow_array::TimestampMillisecondArray, bool),
    Micro(&'a arrow_array::TimestampMicrosecondArray, bool),
    Null,
}

impl<'a> Cells<'a> {
    fn of(array: &'a dyn Array) -> Self {
        match array.data_type() {
            DataType::Int8 => Self::I8(array.as_primitive::<Int8Type>()),
            DataType::Int16 => Self::I16(array.as_primitive::<Int16Type>()),
            DataType::Int32 => Self::I32(array.as_primitive::<Int32Type>()),
            DataType::Int64 => Self::I64(array.as_primitive::<Int64Type>()),
            DataType::UInt8 => Self::U8(array.as_primitive::<UInt8Type>()),
            DataType::UInt16 => Self::U16(array.as_primitive::<UInt16Type>()),
            DataType::UInt32 => Self::U32(array.as_primitive::<UInt32Type>()),
            DataType::Float64 => Self::F64(array.as_primitive::<Float64Type>()),
            DataType::Boolean => Self::Bool(array.as_boolean()),
            DataType::Utf8View => Self::View(array.as_string_view()),
            DataType::LargeUtf8 => Self::Text(array.as_string::<i64>()),
            DataType::Timestamp(TimeUnit::Millisecond, zone) => Self::Milli(array.as_primitive(), zone.is_some()),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => Self::Micro(array.as_primitive(), zone.is_some()),
            _ => Self::Null,
        }
    }

    // False if the entry cannot be printed.
    fn write(&self, row: usize, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Milli(array, is_utc) if array.is_valid(row) => {
                return array.value(row).checked_mul(1000).is_some_and(|micros| write_moment(out, micros, *is_utc));
            }
            Self::Micro(array, is_utc) if array.is_valid(row) => return write_moment(out, array.value(row), *is_utc),
            Self::View(array) if array.is_valid(row) => write_text(out, array.value(row)),
            Self::Text(array) if array.is_valid(row) => write_text(out, array.value(row)),
            Self::Bool(array) if array.is_valid(row) => {
                out.extend_from_slice(if array.value(row) { b"true" } else { b"false" });
            }
            _ => match self.argument(row) {
                Argument::Int(value) => write_i64(out, value),
                Argument::Float(value) => write_f64(out, value),
                Argument::Null => out.extend_from_slice(b"null"),
            },
        }
        true
    }

    fn argument(&self, row: usize) -> Argument {
        macro_rules! whole {
            ($array:expr) => {
                if $array.is_valid(row) { Argument::Int(i64::from($array.value(row))) } else { Argument::Null }
            };
        }
        match self {
            Self::I8(array) => whole!(array),
            Self::I16(array) => whole!(array),
            Self::I32(array) => whole!(array),
            Self::I64(array) => whole!(array),
            Self::U8(array) => whole!(array),
            Self::U16(array) => whole!(array),
            Self::U32(array) => whole!(array),
            Self::Bool(array) => whole!(array),
            Self::F64(array) if array.is_valid(row) => Argument::Float(array.value(row)),
            _ => Argument::Null,
        }
    }
}

/// Adds this file's names to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<JsonProjector>()?;
    m.add_class::<Columns>()?;
    m.add_function(wrap_pyfunction!(encode_objects, m)?)?;
    m.add_function(wrap_pyfunction!(set_objects, m)?)?;
    m.add_function(wrap_pyfunction!(set_argument_columns, m)?)?;
    Ok(())
}
