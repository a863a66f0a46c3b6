//! What this crate says to headwater-log, in one place and in terms of plain data.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_log::storage::{DiskStorage, MemoryStorage, Storage};
use headwater_log::{
    Appended, Broker, Durability, Error, Isolation, Mode, Options, Partition, TopicConfig, TransactionalProducer,
};
pub(crate) use headwater_record::BatchBuilder;
use headwater_record::{Batch, Codec, Record};

/// Topic, partition, next offset, metadata.
pub(crate) type Entry = (String, u32, u64, String);
/// A topic's settings.
pub(crate) type Settings = BTreeMap<String, String>;

/// The storage of a directory, or of a broker in memory.
pub(crate) fn storage(path: Option<&str>) -> Arc<dyn Storage> {
    match path {
        Some(path) => Arc::new(DiskStorage::new(path)),
        None => Arc::new(MemoryStorage::default()),
    }
}

/// Opens a broker; returns it and what recovery has to say.
pub(crate) fn open(
    storage: Arc<dyn Storage>,
    durability: &str,
    mode: &str,
) -> Result<(Arc<Broker>, Vec<String>), Error> {
    let mode = if mode == "r" { Mode::Read } else { Mode::ReadWrite };
    let options = Options { durability: Durability::parse(durability)?, mode, ..Options::default() };
    let broker = Broker::open(storage, options)?;
    let warnings = broker.warnings().to_vec();
    Ok((Arc::new(broker), warnings))
}

/// The codec of a name that Python has checked.
pub(crate) fn codec(name: &str) -> Codec {
    Codec::from_name(name).unwrap_or_default()
}

/// Encodes and appends a batch, as a part of a transaction if one is given; returns where it is.
pub(crate) fn append(
    log: &Arc<Partition>,
    builder: BatchBuilder,
    codec: Codec,
    transaction: Option<&TransactionalProducer>,
) -> Result<Appended, Error> {
    match transaction {
        None => log.append(builder.finish(codec)?),
        Some(transaction) => transaction.append(log, builder, codec),
    }
}

/// Id, producer id, epoch, state, time-out ms, begin ms, topics and partitions.
pub(crate) type TransactionEntry = (String, i64, i16, String, i32, i64, Vec<(String, u32)>);

/// Every transactional id.
pub(crate) fn transactions(broker: &Broker) -> Vec<TransactionEntry> {
    let found = broker.transactions().into_iter();
    found.map(|t| (t.id, t.producer_id, t.epoch, t.state, t.timeout_ms, t.started_ms, t.partitions)).collect()
}

/// Name, partition count and settings of every topic.
pub(crate) fn topics(broker: &Broker) -> Vec<(String, usize, Settings)> {
    let describe = |topic: &Arc<headwater_log::Topic>| {
        (topic.name.clone(), topic.partitions.len(), topic.config.settings().clone())
    };
    broker.topics().iter().map(describe).collect()
}

/// Partition count and settings of a topic.
pub(crate) fn topic(broker: &Broker, name: &str) -> Result<(usize, Settings), Error> {
    let topic = broker.topic(name)?;
    Ok((topic.partitions.len(), topic.config.settings().clone()))
}

/// Makes a topic.
pub(crate) fn create_topic(broker: &Broker, name: &str, partitions: u32, settings: Settings) -> Result<(), Error> {
    broker.create_topic(name, partitions, TopicConfig::new(settings)?).map(drop)
}

/// Replaces a topic's settings.
pub(crate) fn set_topic_config(broker: &Broker, name: &str, settings: Settings) -> Result<(), Error> {
    broker.set_topic_config(name, TopicConfig::new(settings)?)
}

/// First offset, last stable offset, high watermark.
pub(crate) fn watermarks(log: &Partition) -> Result<(u64, u64, u64), Error> {
    log.check_usable()?;
    Ok((log.log_start_offset(), log.last_stable_offset(), log.high_watermark()))
}

/// Whole batches from an offset on, and the offset to go on at.
pub(crate) fn fetch_batches(
    log: &Partition,
    offset: u64,
    max_bytes: usize,
    is_read_committed: bool,
) -> Result<(u64, Vec<Batch>), Error> {
    let isolation = if is_read_committed { Isolation::Committed } else { Isolation::Uncommitted };
    let fetched = log.read(offset, max_bytes, isolation)?;
    Ok((fetched.next_offset, fetched.batches))
}

/// Records from an offset on, sharing the bytes that were read, and the offset to go on at.
pub(crate) fn fetch(
    log: &Partition,
    offset: u64,
    max_bytes: usize,
    is_read_committed: bool,
) -> Result<(u64, Vec<Record>), Error> {
    let (next, batches) = fetch_batches(log, offset, max_bytes, is_read_committed)?;
    let mut found = Vec::with_capacity(batches.iter().map(|batch| batch.header.records_count as usize).sum());
    for batch in &batches {
        let records = batch.records()?;
        for view in &records {
            let view = view?;
            if view.offset >= offset {
                found.push(records.own(view));
            }
        }
    }
    Ok((next, found))
}

/// A group's committed offsets.
pub(crate) fn fetch_offsets(broker: &Broker, group: &str) -> Result<Vec<Entry>, Error> {
    let entry = |((topic, partition), committed): ((String, u32), headwater_log::CommittedOffset)| {
        (topic, partition, committed.offset, committed.metadata)
    };
    Ok(broker.committed_offsets()?.fetch(group)?.into_iter().map(entry).collect())
}
