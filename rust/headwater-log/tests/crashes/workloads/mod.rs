//! What is done to a log while it may crash: one idea a file.

mod appending;
mod committing;
mod compacting;
mod deleting;
mod reopening;
mod sharing;
mod topics;
mod transacting;

use std::sync::Arc;

use headwater_log::storage::SimulatedStorage;
use headwater_log::{Appended, Broker, Partition, Result};
use headwater_record::Codec;

use crate::enumeration::Workload;
use crate::promises::{History, Stage};
use crate::workload;

pub(crate) use appending::Appending;
pub(crate) use committing::Committing;
pub(crate) use compacting::Compacting;
pub(crate) use deleting::Deleting;
pub(crate) use reopening::Reopening;
pub(crate) use sharing::Sharing;
pub(crate) use topics::Topics;
pub(crate) use transacting::Transacting;

/// Every workload.
pub(crate) const ALL: [&dyn Workload; 9] = [
    &Appending { durability: "fsync" },
    &Appending { durability: "os" },
    &Committing,
    &Compacting,
    &Deleting,
    &Reopening,
    &Sharing,
    &Topics,
    &Transacting,
];

/// Makes a topic with small segments, and says so.
pub(crate) fn create(
    broker: &Broker,
    history: &History,
    name: &str,
    partitions: u32,
    more: &[(&str, &str)],
) -> Result<()> {
    history.note(|done| done.stage(name, Stage::Creating));
    let settings = [&[("segment.bytes", "1024"), ("index.interval.bytes", "100")], more].concat();
    broker.create_topic(name, partitions, workload::settings(&settings))?;
    history.note(|done| done.stage(name, Stage::There));
    Ok(())
}

/// Appends the next records, and says that they were sent.
pub(crate) fn append(partition: &Partition, history: &History, count: u64, codec: Codec) -> Result<Appended> {
    let first = partition.next_offset();
    let batch = workload::batch(first, count, codec);
    history.note(|done| done.log(partition.topic(), partition.number()).appended = first + count);
    let appended = partition.append(batch)?;
    assert_eq!((appended.base_offset, appended.next_offset), (first, first + count));
    Ok(appended)
}

/// Waits until everything is durable, and says so.
pub(crate) fn acknowledge(partition: &Partition, history: &History) -> Result<()> {
    let end = partition.next_offset();
    partition.sync()?;
    history.note(|done| done.log(partition.topic(), partition.number()).durable = end);
    Ok(())
}

/// A directory in which nothing has happened yet.
pub(crate) fn open(storage: &Arc<SimulatedStorage>) -> Result<Broker> {
    workload::open(storage)
}
