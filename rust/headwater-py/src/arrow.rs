//! Columns across the boundary by the Arrow PyCapsule interface: polars takes ours, and gives its own, without copying.
//!
//! Out: `Columns` has `__arrow_c_array__`, one struct array. In: `read_batches` takes what any object's
//! `__arrow_c_stream__` returns. The only file with `unsafe`: the capsule hands over a raw C struct, by the interface's
//! contract (name checked, moved out exactly once).

#![allow(unsafe_code, reason = "the PyCapsule interface hands over raw C structs")]

use std::ffi::CStr;
use std::sync::Arc;

use arrow_array::ffi::{FFI_ArrowSchema, to_ffi};
use arrow_array::ffi_stream::{FFI_ArrowArrayStream, RecordBatchStreamReader};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, LargeStringArray, RecordBatch, StructArray,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, Fields, TimeUnit};
use headwater_state::json::{Column, ColumnData};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyTuple};

/// Columns of equal length, for polars to take.
#[pyclass(frozen, module = "headwater._core")]
pub(crate) struct Columns {
    array: StructArray,
}

impl Columns {
    /// Named columns of `rows` entries.
    pub(crate) fn new(columns: Vec<(String, ArrayRef)>, rows: usize) -> PyResult<Self> {
        let fields: Fields =
            columns.iter().map(|(name, array)| Field::new(name, array.data_type().clone(), true)).collect();
        let arrays = columns.into_iter().map(|(_, array)| array).collect();
        let array = StructArray::try_new_with_length(fields, arrays, None, rows).map_err(misfit)?;
        Ok(Self { array })
    }
}

#[pymethods]
impl Columns {
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let _ = requested_schema; // a wish that producers may ignore
        let (array, schema) = to_ffi(&self.array.to_data()).map_err(misfit)?;
        PyTuple::new(
            py,
            [
                PyCapsule::new_with_value(py, schema, c"arrow_schema")?,
                PyCapsule::new_with_value(py, array, c"arrow_array")?,
            ],
        )
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        let schema = FFI_ArrowSchema::try_from(self.array.data_type()).map_err(misfit)?;
        PyCapsule::new_with_value(py, schema, c"arrow_schema")
    }

    fn __len__(&self) -> usize {
        self.array.len()
    }
}

/// A projected column as an Arrow array that takes over its memory.
pub(crate) fn array_of(column: Column) -> PyResult<ArrayRef> {
    let nulls = NullBuffer::new(BooleanBuffer::from(column.valid));
    let nulls = (nulls.null_count() > 0).then_some(nulls);
    Ok(match column.data {
        ColumnData::Int64(entries) => Arc::new(Int64Array::new(entries.into(), nulls)),
        ColumnData::Float64(entries) => Arc::new(Float64Array::new(entries.into(), nulls)),
        ColumnData::Boolean(entries) => Arc::new(BooleanArray::new(entries.into(), nulls)),
        ColumnData::Text(bytes, starts) => {
            let offsets = OffsetBuffer::new(ScalarBuffer::from(starts));
            Arc::new(LargeStringArray::try_new(offsets, Buffer::from_vec(bytes), nulls).map_err(misfit)?)
        }
    })
}

/// Booleans as an Arrow array.
pub(crate) fn booleans(entries: Vec<bool>) -> ArrayRef {
    Arc::new(BooleanArray::from(entries))
}

const STREAM: &CStr = c"arrow_array_stream";

/// The record batches of an object with `__arrow_c_stream__`.
pub(crate) fn read_batches(frame: &Bound<'_, PyAny>) -> PyResult<Vec<RecordBatch>> {
    let capsule = frame.call_method0("__arrow_c_stream__")?.cast_into::<PyCapsule>()?;
    let pointer = capsule.pointer_checked(Some(STREAM))?.cast::<FFI_ArrowArrayStream>();
    // SAFETY: the interface promises that a capsule of this name holds an ArrowArrayStream, which `from_raw` moves out,
    // leaving a released one behind for the capsule's destructor; the capsule outlives the call.
    let stream = unsafe { FFI_ArrowArrayStream::from_raw(pointer.as_ptr()) };
    RecordBatchStreamReader::try_new(stream).map_err(misfit)?.map(|batch| batch.map_err(misfit)).collect()
}

/// Whether entries of this type are numbers (or booleans) that fit a fold.
pub(crate) fn is_number(kind: &DataType) -> bool {
    matches!(
        kind,
        DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::UInt8
            | DataType::UInt16
            | DataType::UInt32
            | DataType::Float64
            | DataType::Boolean
    )
}

/// Whether `json.rs` can print entries of this type.
pub(crate) fn is_plain(kind: &DataType) -> bool {
    match kind {
        DataType::Utf8View | DataType::LargeUtf8 => true,
        DataType::Timestamp(TimeUnit::Millisecond | TimeUnit::Microsecond, zone) => {
            zone.as_ref().is_none_or(|zone| zone.as_ref() == "UTC")
        }
        other => is_number(other),
    }
}

fn misfit(error: arrow_schema::ArrowError) -> PyErr {
    PyValueError::new_err(error.to_string())
}
