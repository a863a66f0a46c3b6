//! Records as columns, without a Python object each: out of the log into a frame, out of a frame into the log.
//!
//! Out: keys and values are views into the batches that were read, which stay in memory as long as the frame does. In: a
//! frame's columns are looked at where polars holds them.

use std::sync::Arc;

use arrow_array::builder::BinaryViewBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, BinaryViewArray, Int64Array, RecordBatch};
use arrow_buffer::Buffer;
use arrow_schema::DataType;
use headwater_record::{Batch, Records};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::arrow::Columns;
use crate::log::Log;
use crate::wal;

/// Records from an offset on: the offset to go on at, and the columns offset, timestamp, key and value.
#[pyfunction]
fn fetch_frame(
    py: Python<'_>,
    log: &Log,
    topic: &str,
    partition: u32,
    offset: u64,
    max_bytes: usize,
) -> PyResult<(u64, Columns)> {
    let (next, fetched) = log.with_partition(py, topic, partition, |source| {
        let (next, batches) = wal::fetch_batches(source, offset, max_bytes, true)?;
        let mut fetched =
            ColumnsBuilder::with_capacity(batches.iter().map(|batch| batch.header.records_count as usize).sum());
        batches.iter().try_for_each(|batch| fetched.add(batch, offset))?;
        Ok((next, fetched))
    })?;
    Ok((next, fetched.finish()?))
}

/// Columns of records that grow.
struct ColumnsBuilder {
    offsets: Vec<i64>,
    timestamps: Vec<i64>,
    keys: BinaryViewBuilder,
    values: BinaryViewBuilder,
}

impl ColumnsBuilder {
    fn with_capacity(records: usize) -> Self {
        Self {
            offsets: Vec::with_capacity(records),
            timestamps: Vec::with_capacity(records),
            keys: BinaryViewBuilder::with_capacity(records),
            values: BinaryViewBuilder::with_capacity(records),
        }
    }

    /// Takes in the records of a batch that lie at `first` or behind it.
    fn add(&mut self, batch: &Batch, first: u64) -> headwater_log::Result<()> {
        let records = batch.records()?;
        let block = Buffer::from(records.as_bytes().clone());
        let (keys, values) = (self.keys.append_block(block.clone()), self.values.append_block(block));
        for view in &records {
            let view = view?;
            if view.offset < first {
                continue;
            }
            self.offsets.push(view.offset.cast_signed());
            self.timestamps.push(view.timestamp);
            push(&mut self.keys, keys, &records, view.key);
            push(&mut self.values, values, &records, view.value);
        }
        Ok(())
    }

    fn finish(mut self) -> PyResult<Columns> {
        let rows = self.offsets.len();
        let columns: [(&str, ArrayRef); 4] = [
            ("offset", Arc::new(Int64Array::from(self.offsets))),
            ("timestamp", Arc::new(Int64Array::from(self.timestamps))),
            ("key", Arc::new(self.keys.finish())),
            ("value", Arc::new(self.values.finish())),
        ];
        Columns::new(columns.map(|(name, array)| (name.to_owned(), array)).into(), rows)
    }
}

/// Appends a part of a record as a view into its batch.
fn push(column: &mut BinaryViewBuilder, block: u32, records: &Records, part: Option<&[u8]>) {
    match part.map(|part| column.try_append_view(block, records.position(part) as u32, part.len() as u32)) {
        None => column.append_null(),
        Some(appended) => appended.expect("a record lies within its batch"),
    }
}

/// The columns of a frame that are records: value, and key, timestamp and partition if it has them.
pub(crate) struct RecordColumns<'a> {
    keys: Option<&'a BinaryViewArray>,
    values: &'a BinaryViewArray,
    timestamps: Option<&'a Int64Array>,
    partitions: Option<&'a Int64Array>,
}

/// A row of them.
pub(crate) struct RecordRow<'a> {
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) timestamp: Option<i64>,
    pub(crate) partition: Option<i64>,
}

impl<'a> RecordColumns<'a> {
    pub(crate) fn of(batch: &'a RecordBatch) -> PyResult<Self> {
        let column = |name: &str, kind: &DataType| match batch.column_by_name(name) {
            Some(array) if array.data_type() != kind => Err(PyValueError::new_err(format!(
                "expected a column {name:?} of type {kind}, got {}",
                array.data_type()
            ))),
            found => Ok(found),
        };
        let values = column("value", &DataType::BinaryView)?;
        Ok(Self {
            keys: column("key", &DataType::BinaryView)?.map(|array| array.as_binary_view()),
            values: values
                .ok_or_else(|| PyValueError::new_err("expected a column \"value\", got none"))?
                .as_binary_view(),
            timestamps: column("timestamp", &DataType::Int64)?.map(|array| array.as_primitive::<Int64Type>()),
            partitions: column("partition", &DataType::Int64)?.map(|array| array.as_primitive::<Int64Type>()),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    pub(crate) fn row(&self, index: usize) -> RecordRow<'a> {
        let bytes = |column: &'a BinaryViewArray| column.is_valid(index).then(|| column.value(index));
        let number = |column: &'a Int64Array| column.is_valid(index).then(|| column.value(index));
        RecordRow {
            key: self.keys.and_then(bytes),
            value: bytes(self.values),
            timestamp: self.timestamps.and_then(number),
            partition: self.partitions.and_then(number),
        }
    }
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(fetch_frame, m)?)
}
