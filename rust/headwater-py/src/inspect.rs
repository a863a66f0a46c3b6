//! Directories and files looked at from outside, without opening them as a log: `verify` and the dumps.

use headwater_log::dump::{self, AbortedTransaction, Entry, OffsetsEntry};
use headwater_log::storage::DiskStorage;
use headwater_record::{ControlType, Header, Marker, Record, TimestampType};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::errors::Failure;
use crate::gate::Gate;

/// Version, producer id, first, last and last stable offset.
type Aborted = (i16, i64, i64, i64, i64);
/// Severity, topic, partition, offset, path, position, what, advice.
type Finding = (&'static str, Option<String>, Option<u32>, Option<u64>, String, Option<u64>, String, String);

/// Reads everything in a directory: findings, and how many topics, partitions, segments, batches, records and bytes.
#[pyfunction]
fn verify(py: Python<'_>, directory: &str) -> PyResult<(Vec<Finding>, [u64; 6])> {
    let report = py.enter(|| headwater_log::verify(&DiskStorage::new(directory)).map_err(Failure::from))?;
    let of = report.totals;
    let finding = |found: headwater_log::Finding| {
        let headwater_log::Finding { severity, topic, partition, offset, path, position, what, advice } = found;
        (severity.name(), topic, partition, offset, path, position, what, advice)
    };
    let totals = [of.topics, of.partitions, of.segments, of.batches, of.records, of.bytes];
    Ok((report.findings.into_iter().map(finding).collect(), totals))
}

/// At most `limit` entries of a `.log` file, each with where the next one begins.
#[pyfunction]
fn dump_log<'py>(
    py: Python<'py>,
    folder: &str,
    name: &str,
    position: u64,
    limit: usize,
    has_records: bool,
) -> PyResult<Vec<(u64, Bound<'py, PyDict>)>> {
    let read = || dump::log(&DiskStorage::new(folder), name, position, limit, has_records).map_err(Failure::from);
    py.enter(read)?.into_iter().map(|entry| Ok((entry.end, batch(py, entry)?))).collect()
}

/// A batch with Kafka's names for its fields.
fn batch<'py>(py: Python<'py>, entry: Entry) -> PyResult<Bound<'py, PyDict>> {
    let line = PyDict::new(py);
    if let Some(header) = entry.header {
        line.set_item("baseOffset", header.base_offset)?;
        line.set_item("lastOffset", header.last_offset())?;
        line.set_item("count", header.records_count)?;
        line.set_item("baseSequence", header.base_sequence)?;
        line.set_item("lastSequence", header.last_sequence())?;
        line.set_item("producerId", header.producer_id)?;
        line.set_item("producerEpoch", header.producer_epoch)?;
        line.set_item("partitionLeaderEpoch", header.leader_epoch)?;
        line.set_item("isTransactional", header.is_transactional())?;
        line.set_item("isControl", header.is_control())?;
        line.set_item("position", entry.position)?;
        line.set_item(time_name(&header), header.max_timestamp)?;
        line.set_item("size", header.size_bytes)?;
        line.set_item("magic", 2)?;
        line.set_item("compresscodec", header.codec().name())?;
        line.set_item("crc", header.checksum)?;
    } else {
        line.set_item("position", entry.position)?;
        line.set_item("size", entry.end - entry.position)?;
    }
    line.set_item("isvalid", entry.fault.is_none())?;
    if let Some(fault) = entry.fault {
        line.set_item("fault", fault)?;
    }
    if let Some(header) = entry.header
        && !entry.records.is_empty()
    {
        let records = entry.records.iter().map(|one| record(py, &header, one)).collect::<PyResult<Vec<_>>>()?;
        line.set_item("records", records)?;
    }
    Ok(line)
}

fn record<'py>(py: Python<'py>, header: &Header, record: &Record) -> PyResult<Bound<'py, PyDict>> {
    let line = PyDict::new(py);
    line.set_item("offset", record.offset)?;
    line.set_item(time_name(header), record.timestamp)?;
    if header.is_control() {
        let Some(marker) = Marker::parse(record.key.as_deref(), record.value.as_deref()) else { return Ok(line) };
        let name = match marker.kind {
            ControlType::Commit => "COMMIT",
            ControlType::Abort => "ABORT",
            ControlType::Other => return Ok(line),
        };
        line.set_item("endTxnMarker", name)?;
        line.set_item("coordinatorEpoch", marker.coordinator_epoch)?;
        return Ok(line);
    }
    line.set_item("sequence", header.sequence_at((record.offset - header.base_offset) as u32))?;
    line.set_item("key", record.key.as_ref().map(|key| PyBytes::new(py, key)))?;
    line.set_item("payload", record.value.as_ref().map(|value| PyBytes::new(py, value)))?;
    line.set_item("headers", crate::headers::decode(py, &record.headers)?)?;
    Ok(line)
}

fn time_name(header: &Header) -> &'static str {
    match header.timestamp_type() {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}

/// Entries of an `.index` file as (offset, position), and how many bytes are left over.
#[pyfunction]
fn dump_index(py: Python<'_>, folder: &str, name: &str) -> PyResult<(Vec<(u64, u32)>, usize)> {
    py.enter(|| dump::offset_index(&DiskStorage::new(folder), name).map_err(Failure::from))
}

/// Entries of a `.timeindex` file as (timestamp, offset), and how many bytes are left over.
#[pyfunction]
fn dump_time_index(py: Python<'_>, folder: &str, name: &str) -> PyResult<(Vec<(i64, u64)>, usize)> {
    py.enter(|| dump::time_index(&DiskStorage::new(folder), name).map_err(Failure::from))
}

/// Entries of a `.txnindex` file as (version, producer id, first, last and last stable offset), and how many bytes are left
/// over.
#[pyfunction]
fn dump_transaction_index(py: Python<'_>, folder: &str, name: &str) -> PyResult<(Vec<Aborted>, usize)> {
    let read = || dump::aborted_transactions(&DiskStorage::new(folder), name).map_err(Failure::from);
    let (entries, rest) = py.enter(read)?;
    let entry = |found: AbortedTransaction| {
        (found.version, found.producer_id, found.first_offset, found.last_offset, found.last_stable_offset)
    };
    Ok((entries.into_iter().map(entry).collect(), rest))
}

/// Producers of a `.snapshot` file with Kafka's names, and what is wrong with the file.
#[pyfunction]
fn dump_snapshot<'py>(
    py: Python<'py>,
    folder: &str,
    name: &str,
) -> PyResult<(Vec<Bound<'py, PyDict>>, Option<String>)> {
    let (producers, fault) = py.enter(|| dump::snapshot(&DiskStorage::new(folder), name).map_err(Failure::from))?;
    let producer = |found: dump::SnapshotEntry| {
        let line = PyDict::new(py);
        line.set_item("producerId", found.producer_id)?;
        line.set_item("producerEpoch", found.producer_epoch)?;
        line.set_item("lastSequence", found.last_sequence)?;
        line.set_item("lastOffset", found.last_offset)?;
        line.set_item("offsetDelta", found.offset_delta)?;
        line.set_item("lastTimestamp", found.timestamp)?;
        line.set_item("coordinatorEpoch", found.coordinator_epoch)?;
        line.set_item("currentTxnFirstOffset", found.first_offset)?;
        Ok(line)
    };
    Ok((producers.into_iter().map(producer).collect::<PyResult<_>>()?, fault))
}

/// The whole slots of a `headwater.mark` as (position, sequence, durable offset, identity).
#[pyfunction]
fn dump_mark(py: Python<'_>, folder: &str, name: &str) -> PyResult<Vec<(u64, u64, u64, u32)>> {
    let slots = py.enter(|| dump::mark(&DiskStorage::new(folder), name).map_err(Failure::from))?;
    Ok(slots.into_iter().map(|slot| (slot.position, slot.sequence, slot.durable, slot.identity)).collect())
}

type Decoded<'py> = (Bound<'py, PyDict>, Option<Bound<'py, PyDict>>);

/// What key and value of a record of `__consumer_offsets` say, with Kafka's names; None if the key is none of that topic. No
/// value forgets, or is of a kind that is not decoded.
#[pyfunction]
#[pyo3(signature = (key, value))]
fn decode_offsets_entry<'py>(py: Python<'py>, key: &[u8], value: Option<&[u8]>) -> PyResult<Option<Decoded<'py>>> {
    let said = PyDict::new(py);
    let committed = match dump::offsets_entry(key, value) {
        None => return Ok(None),
        Some(OffsetsEntry::Other { version, group }) => {
            said.set_item("version", version)?;
            said.set_item("group", group)?;
            None
        }
        Some(OffsetsEntry::Offset { group, topic, partition, committed }) => {
            said.set_item("group", group)?;
            said.set_item("topic", topic)?;
            said.set_item("partition", partition)?;
            committed
        }
    };
    let value = PyDict::new(py);
    match committed {
        None => return Ok(Some((said, None))),
        Some(Ok((offset, metadata, timestamp))) => {
            value.set_item("offset", offset)?;
            value.set_item("metadata", metadata)?;
            value.set_item("commitTimestamp", timestamp)?;
        }
        Some(Err(fault)) => value.set_item("fault", fault)?,
    }
    Ok(Some((said, Some(value))))
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(verify, m)?)?;
    m.add_function(wrap_pyfunction!(dump_log, m)?)?;
    m.add_function(wrap_pyfunction!(dump_index, m)?)?;
    m.add_function(wrap_pyfunction!(dump_time_index, m)?)?;
    m.add_function(wrap_pyfunction!(dump_transaction_index, m)?)?;
    m.add_function(wrap_pyfunction!(dump_snapshot, m)?)?;
    m.add_function(wrap_pyfunction!(dump_mark, m)?)?;
    m.add_function(wrap_pyfunction!(decode_offsets_entry, m)?)
}
