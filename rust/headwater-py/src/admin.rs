//! What an administrator asks of a log: more partitions, and where everything lies.

use headwater_log::{PartitionDescription, SegmentDescription};
use pyo3::prelude::*;

use crate::errors::Failure;
use crate::gate::Gate;
use crate::log::Log;

/// Base offset, next offset, bytes, first and largest timestamp, path.
type Segment = (u64, u64, u64, Option<i64>, Option<i64>, String);
/// Log start offset, last stable offset, high watermark, bytes, path, segments.
type Description = (u64, u64, u64, u64, String, Vec<Segment>);

/// Gives a topic more partitions, up to `total`.
#[pyfunction]
fn add_partitions(py: Python<'_>, log: &Log, topic: &str, total: u32) -> PyResult<()> {
    log.liveness.check()?;
    py.enter(|| log.broker.add_partitions(topic, total).map_err(Failure::from))?;
    log.changed();
    Ok(())
}

/// A partition as it is now.
#[pyfunction]
fn describe_partition(py: Python<'_>, log: &Log, topic: &str, partition: u32) -> PyResult<Description> {
    log.with_partition(py, topic, partition, |found| {
        found.check_usable()?;
        Ok(description(found.describe()))
    })
}

fn description(found: PartitionDescription) -> Description {
    let PartitionDescription { log_start_offset, last_stable_offset, high_watermark, size_bytes, path, .. } = found;
    let segments = found.segments.into_iter().map(segment).collect();
    (log_start_offset, last_stable_offset, high_watermark, size_bytes, path, segments)
}

fn segment(found: SegmentDescription) -> Segment {
    let SegmentDescription { base_offset, next_offset, size_bytes, first_timestamp, max_timestamp, path } = found;
    (base_offset, next_offset, size_bytes, first_timestamp, max_timestamp, path)
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(add_partitions, m)?)?;
    m.add_function(wrap_pyfunction!(describe_partition, m)?)
}
