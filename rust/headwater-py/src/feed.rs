//! Rows out of the log and into it, without Python in between: what a task reads and writes.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use headwater_log::{Partition, TransactionalProducer};
use headwater_state::row::{PHASE_RECORD, Row, order_head};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors::Failure;
use crate::gate::Gate;
use crate::log::Log;
use crate::rows::Rows;
use crate::sender::RECORD_OVERHEAD_MAX;
use crate::transaction::Transaction;
use crate::wal;

/// Largest batch that is appended at once; a batch is also what a reader gets at once.
const BATCH_SIZE: usize = 256 << 10;

/// Records from an offset on: where to go on, the records' offsets, and the records as rows (seqs from 0).
pub(crate) struct Fetched {
    pub(crate) next: u64,
    pub(crate) offsets: Vec<u64>,
    pub(crate) rows: Vec<Row>,
}

/// Reads records of a partition; its errors are those of the log.
pub(crate) fn fetch(source: &Partition, offset: u64, max_bytes: usize) -> headwater_log::Result<Fetched> {
    let (next, records) = wal::fetch(source, offset, max_bytes, true)?;
    let mut offsets = Vec::with_capacity(records.len());
    let mut rows = Vec::with_capacity(records.len());
    for (seq, record) in records.into_iter().enumerate() {
        offsets.push(record.offset);
        rows.push(Row {
            order: [order_head(seq as u32, PHASE_RECORD)].into_iter().collect(),
            timestamp: record.timestamp,
            key: record.key,
            value: record.value,
            headers: record.headers,
            ..Row::default()
        });
    }
    Ok(Fetched { next, offsets, rows })
}

/// Records from an offset as rows: the offset to go on at, the records' offsets, the rows (seqs from 0).
#[pyfunction]
fn fetch_rows(
    py: Python<'_>,
    log: &Log,
    topic: &str,
    partition: u32,
    offset: u64,
    max_bytes: usize,
) -> PyResult<(u64, Vec<u64>, Rows)> {
    let fetched = log.with_partition(py, topic, partition, |source| fetch(source, offset, max_bytes))?;
    Ok((fetched.next, fetched.offsets, Rows { rows: fetched.rows }))
}

fn producer(transaction: Option<&Bound<'_, Transaction>>) -> Option<Arc<TransactionalProducer>> {
    transaction.map(|transaction| Arc::clone(&transaction.get().producer))
}

/// A batch that is handed on before it is large, or larger than its topic takes.
struct Growing {
    builder: wal::BatchBuilder,
    max_bytes: usize,
}

impl Growing {
    fn of(target: &Partition) -> Self {
        Self { builder: wal::BatchBuilder::new(), max_bytes: BATCH_SIZE.min(target.max_batch_bytes()) }
    }

    /// Adds a row; returns the batch in which it had no room.
    fn push(&mut self, row: &Row) -> Option<wal::BatchBuilder> {
        let length = |part: &Option<Bytes>| part.as_ref().map_or(0, Bytes::len);
        let more = length(&row.key) + length(&row.value) + row.headers.len() + RECORD_OVERHEAD_MAX;
        let is_full = !self.builder.is_empty() && self.builder.size_bytes() + more > self.max_bytes;
        let full = is_full.then(|| std::mem::take(&mut self.builder));
        self.builder.push(row.timestamp, row.key.as_deref(), row.value.as_deref(), &row.headers);
        full
    }
}

/// Appends rows to a topic, as a part of a transaction if one is given, by the murmur2 of their keys without the `suffix` bytes
/// of a window; rows without a key go to `keyless`. Returns the number of records.
#[pyfunction]
#[pyo3(signature = (log, topic, partitions, rows, suffix, keyless, transaction=None))]
fn append_rows(
    py: Python<'_>,
    log: &Log,
    topic: &str,
    partitions: u32,
    rows: &Rows,
    suffix: usize,
    keyless: u32,
    transaction: Option<&Bound<'_, Transaction>>,
) -> PyResult<usize> {
    let targets: PyResult<Vec<_>> = (0..partitions).map(|partition| log.partition(py, topic, partition)).collect();
    let targets = targets?;
    let transaction = producer(transaction);
    let rows = &rows.rows;
    py.enter(|| -> Result<(), Failure> {
        let mut growing: Vec<Growing> = targets.iter().map(|target| Growing::of(target)).collect();
        for row in rows {
            let partition = match (&row.key, partitions) {
                (_, 1) => 0,
                (Some(key), _) => {
                    let inner = &key[..key.len().saturating_sub(suffix)];
                    headwater_record::partitioner::partition_of_key(inner, partitions)
                }
                (None, _) => keyless % partitions,
            } as usize;
            if let Some(full) = growing[partition].push(row) {
                wal::append(&targets[partition], full, wal::codec("none"), transaction.as_deref())?;
            }
        }
        for (growing, target) in growing.into_iter().zip(&targets) {
            if !growing.builder.is_empty() {
                wal::append(target, growing.builder, wal::codec("none"), transaction.as_deref())?;
            }
        }
        Ok(())
    })?;
    log.notify();
    Ok(rows.len())
}

/// Appends rows to one partition, as a part of a transaction if one is given; returns the first one's offset.
#[pyfunction]
#[pyo3(signature = (log, topic, partition, rows, transaction=None))]
fn append_rows_to(
    py: Python<'_>,
    log: &Log,
    topic: &str,
    partition: u32,
    rows: &Rows,
    transaction: Option<&Bound<'_, Transaction>>,
) -> PyResult<u64> {
    let target = log.partition(py, topic, partition)?;
    let transaction = producer(transaction);
    let rows = &rows.rows;
    py.enter(|| -> Result<u64, Failure> {
        let mut first = None;
        let mut append = |batch| -> Result<(), Failure> {
            let appended = wal::append(&target, batch, wal::codec("none"), transaction.as_deref())?;
            first.get_or_insert(appended.base_offset);
            Ok(())
        };
        let mut growing = Growing::of(&target);
        for row in rows {
            if let Some(full) = growing.push(row) {
                append(full)?;
            }
        }
        if !growing.builder.is_empty() {
            append(growing.builder)?;
        }
        Ok(first.unwrap_or_default())
    })
}

/// Forgets the records of a partition below an offset.
#[pyfunction]
fn delete_records(py: Python<'_>, log: &Log, topic: &str, partition: u32, before: u64) -> PyResult<u64> {
    let target = log.partition(py, topic, partition)?;
    py.enter(|| target.delete_records(before).map_err(Failure::from))
}

/// Rows of several partitions as one micro-batch, in Kafka Streams' order: the smallest head timestamp first. Among equal
/// ones the first partition is next, which Kafka leaves open: so neither the size of batches nor a restart shows. Stops where a partition that has more to come (`is_open`) runs out, and, but for the first row,
/// at a record later than `until`.
///
/// Returns, for each partition, the rows taken (their seqs are places in the common order), and for each seq which
/// partition it is of.
#[pyfunction]
#[pyo3(signature = (parts, is_open, limit, until=None))]
fn interleave(
    mut parts: Vec<PyRefMut<'_, Rows>>,
    is_open: Vec<bool>,
    limit: usize,
    until: Option<i64>,
) -> (Vec<Rows>, Vec<usize>) {
    let mut queues: Vec<std::collections::VecDeque<Row>> =
        parts.iter_mut().map(|part| std::mem::take(&mut part.rows).into()).collect();
    let head = |queues: &[std::collections::VecDeque<Row>], part: usize| {
        (queues[part].front().map_or(0, |row| row.timestamp), part)
    };
    let mut heap: Vec<usize> = Vec::new();
    let push = |heap: &mut Vec<usize>, queues: &[std::collections::VecDeque<Row>], part: usize| {
        heap.push(part);
        let mut at = heap.len() - 1;
        while at > 0 && head(queues, heap[(at - 1) / 2]) > head(queues, part) {
            heap.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
    };
    let mut waits = false;
    for part in 0..queues.len() {
        if queues[part].is_empty() {
            waits |= is_open[part];
        } else {
            push(&mut heap, &queues, part);
        }
    }
    let mut taken: Vec<Rows> = queues.iter().map(|_| Rows::default()).collect();
    let mut owners = Vec::new();
    while !waits && owners.len() < limit && !heap.is_empty() {
        if !owners.is_empty() && until.is_some_and(|until| head(&queues, heap[0]).0 > until) {
            break;
        }
        let part = heap.swap_remove(0);
        let (mut at, length) = (0, heap.len());
        while 2 * at + 1 < length {
            let mut child = 2 * at + 1;
            if child + 1 < length && head(&queues, heap[child + 1]) < head(&queues, heap[child]) {
                child += 1;
            }
            if head(&queues, heap[child]) >= head(&queues, heap[at]) {
                break;
            }
            heap.swap(at, child);
            at = child;
        }
        if let Some(mut row) = queues[part].pop_front() {
            row.order = [order_head(owners.len() as u32, PHASE_RECORD)].into_iter().collect();
            owners.push(part);
            taken[part].rows.push(row);
        }
        if queues[part].is_empty() {
            waits = is_open[part];
        } else {
            push(&mut heap, &queues, part);
        }
    }
    for (part, queue) in parts.iter_mut().zip(queues) {
        part.rows = queue.into();
    }
    (taken, owners)
}

/// Puts (new, old) of a table's edge into one value, for a repartition topic: flags, length of new, new, old.
#[pyfunction]
fn pack_changes(rows: &mut Rows) {
    for row in &mut rows.rows {
        let (new, old) = (row.value.take(), row.old.take());
        let mut out = BytesMut::new();
        out.put_u8(u8::from(new.is_some()) | u8::from(old.is_some()) << 1);
        let new = new.unwrap_or_default();
        out.put_u32(new.len() as u32);
        out.put_slice(&new);
        out.put_slice(&old.unwrap_or_default());
        row.value = Some(out.freeze());
    }
}

/// The inverse of `pack_changes`.
#[pyfunction]
fn unpack_changes(rows: &mut Rows) -> PyResult<()> {
    for row in &mut rows.rows {
        let packed = row.value.take().unwrap_or_default();
        let parts = unpacked(&packed);
        (row.value, row.old) =
            parts.ok_or_else(|| PyValueError::new_err("expected a packed change, got other bytes"))?;
    }
    Ok(())
}

fn unpacked(packed: &Bytes) -> Option<(Option<Bytes>, Option<Bytes>)> {
    let flags = *packed.first()?;
    let length = u32::from_be_bytes(packed.get(1..5)?.try_into().ok()?) as usize;
    packed.get(5..5 + length)?;
    let part = |bit: u8, range: std::ops::Range<usize>| (flags & bit != 0).then(|| packed.slice(range));
    Some((part(1, 5..5 + length), part(2, 5 + length..packed.len())))
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(fetch_rows, m)?)?;
    m.add_function(wrap_pyfunction!(append_rows, m)?)?;
    m.add_function(wrap_pyfunction!(append_rows_to, m)?)?;
    m.add_function(wrap_pyfunction!(delete_records, m)?)?;
    m.add_function(wrap_pyfunction!(interleave, m)?)?;
    m.add_function(wrap_pyfunction!(pack_changes, m)?)?;
    m.add_function(wrap_pyfunction!(unpack_changes, m)?)
}
