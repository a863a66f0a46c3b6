//! What this crate says to headwater-log, in one place.
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use crate::standin::{Broker, Error, Partition};
pub(crate) use crate::standin::BatchBuilder;
use crate::standin::Codec;

pub(crate) struct Row { pub(crate) offset: u64, pub(crate) timestamp: i64, pub(crate) key: Option<Bytes>, pub(crate) value: Option<Bytes>, pub(crate) headers: Bytes }
type Entry = (String, u32, u64, String);

/// Encodes and appends a batch: its base offset and the offset after it.
pub(crate) fn append(log: &Partition, builder: BatchBuilder, _codec: Codec) -> Result<(u64, u64), Error> {
    let n = builder.len() as u64;
    let base = log.append(builder.rows())?;
    Ok((base, base + n))
}
/// Waits until everything below an offset is durable, as the topic's durability says.
pub(crate) fn wait_durable(_log: &Partition, _next_offset: u64) -> Result<(), Error> { Ok(()) }
pub(crate) fn open(_path: Option<&str>, _durability: &str, _mode: &str) -> Result<(Arc<Broker>, Vec<String>), Error> { Ok((Arc::new(Broker::default()), vec![])) }
pub(crate) fn create_topic(b: &Broker, name: &str, n: u32, c: BTreeMap<String, String>) -> Result<(), Error> { b.create_topic(name, n, c) }
pub(crate) fn set_topic_config(b: &Broker, name: &str, c: BTreeMap<String, String>) -> Result<(), Error> { b.set_config(name, c) }
pub(crate) fn topics(b: &Broker) -> Vec<(String, usize, BTreeMap<String, String>)> { b.topics().iter().map(|t| (t.name.clone(), t.partitions.len(), t.config.clone())).collect() }
pub(crate) fn topic(b: &Broker, name: &str) -> Result<(usize, BTreeMap<String, String>), Error> { let t = b.topic(name)?; Ok((t.partitions.len(), t.config.clone())) }
pub(crate) fn watermarks(p: &Partition) -> (u64, u64, u64) { let h = p.high_watermark(); (0, h, h) }
pub(crate) fn offset_for_timestamp(p: &Partition, ts: i64) -> Result<Option<(u64, i64)>, Error> { Ok(p.read(0, usize::MAX)?.iter().find(|r| r.1 >= ts).map(|r| (r.0, r.1))) }
pub(crate) fn fetch(p: &Partition, offset: u64, max: usize, _c: bool) -> Result<(u64, Vec<Row>), Error> {
    let rows: Vec<Row> = p.read(offset, max)?.into_iter().map(|(offset, timestamp, key, value, headers)| Row { offset, timestamp, key, value, headers }).collect();
    Ok((rows.last().map_or(offset, |r| r.offset + 1), rows))
}
pub(crate) fn commit_offsets(b: &Broker, g: &str, o: Vec<Entry>) -> Result<(), Error> { b.commit(g, o); Ok(()) }
pub(crate) fn fetch_offsets(b: &Broker, g: &str) -> Result<Vec<Entry>, Error> { Ok(b.fetch(g)) }
pub(crate) fn groups(b: &Broker) -> Result<Vec<String>, Error> { Ok(b.groups()) }
pub(crate) fn delete_group(b: &Broker, g: &str) -> Result<(), Error> { b.delete_group(g); Ok(()) }
pub(crate) fn sync(_b: &Broker) -> Result<(), Error> { Ok(()) }
pub(crate) fn close(_b: &Broker) -> Result<(), Error> { Ok(()) }
pub(crate) fn codec(name: &str) -> Codec {
    match name { "gzip" => Codec::Gzip, "snappy" => Codec::Snappy, "lz4" => Codec::Lz4, "zstd" => Codec::Zstd, _ => Codec::None }
}
