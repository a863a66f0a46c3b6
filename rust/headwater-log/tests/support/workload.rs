//! What the tests of the log do to it, and how they look at what is left.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_log::storage::Storage;
use headwater_log::{Broker, Isolation, Options, Partition, Result, TopicConfig};
use headwater_record::{BatchBuilder, Codec};

/// Opens a directory as a program would.
pub(crate) fn open(storage: &Arc<impl Storage + 'static>) -> Result<Broker> {
    Broker::open(Arc::clone(storage) as Arc<dyn Storage>, Options::default())
}

/// Settings by Kafka's names.
pub(crate) fn settings(pairs: &[(&str, &str)]) -> TopicConfig {
    TopicConfig::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()).unwrap()
}

/// A batch of records `first`, `first + 1`, ... whose values say so, with timestamps ten apart.
pub(crate) fn batch(first: u64, count: u64, codec: Codec) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    for number in first..first + count {
        let key = (number % 3 != 0).then(|| number.to_be_bytes());
        builder.push(number as i64 * 10, key.as_ref().map(|key| &key[..]), Some(value(number).as_bytes()), b"");
    }
    builder.finish(codec).unwrap()
}

/// A batch in the making, of values without keys.
pub(crate) fn values<'a>(values: impl IntoIterator<Item = &'a str>) -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    values.into_iter().for_each(|value| builder.push(0, None, Some(value.as_bytes()), b""));
    builder
}

/// The values that count: those of committed transactions and those outside of any.
pub(crate) fn read_committed(partition: &Partition) -> Vec<String> {
    let (mut offset, mut found) = (partition.log_start_offset(), Vec::new());
    while offset < partition.last_stable_offset() {
        let fetched = partition.read(offset, 1 << 16, Isolation::Committed).unwrap();
        for batch in &fetched.batches {
            for record in &batch.records().unwrap() {
                found.push(String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap());
            }
        }
        assert!(fetched.next_offset > offset, "no progress at offset {offset}");
        offset = fetched.next_offset;
    }
    found
}

/// The same, each record with a key of its own.
pub(crate) fn keyed(first: u64, count: u64) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    for number in first..first + count {
        builder.push(number as i64 * 10, Some(&number.to_be_bytes()), Some(value(number).as_bytes()), b"");
    }
    builder.finish(Codec::None).unwrap()
}

/// What record number so-and-so says.
pub(crate) fn value(number: u64) -> String {
    format!("record {number} {}", "x".repeat(number as usize * 7 % 60))
}

/// Every readable record from `offset` on, as offset and value; where bytes are damaged, reading goes on behind them.
pub(crate) fn read_around(partition: &Partition, mut offset: u64) -> BTreeMap<u64, Vec<u8>> {
    let mut found = BTreeMap::new();
    while offset < partition.high_watermark() {
        match partition.read(offset, 1 << 16, Isolation::Uncommitted) {
            Ok(fetched) => {
                for batch in &fetched.batches {
                    for record in &batch.records().unwrap() {
                        let record = record.unwrap();
                        if record.offset >= offset {
                            let value = record.value.unwrap_or_default().to_vec();
                            assert!(found.insert(record.offset, value).is_none(), "offset {} twice", record.offset);
                        }
                    }
                }
                assert!(fetched.next_offset > offset, "no progress at offset {offset}");
                offset = fetched.next_offset;
            }
            Err(headwater_log::Error::Corrupt { offset: at, next_offset, .. }) => {
                assert!(at == offset && next_offset > offset, "damage at {at} up to {next_offset}, read at {offset}");
                offset = next_offset;
            }
            Err(error) => panic!("{error}"),
        }
    }
    found
}

/// Every record, of which none may be damaged.
pub(crate) fn read_all(partition: &Partition) -> Vec<Vec<u8>> {
    let found = read_around(partition, partition.log_start_offset());
    assert!(found.keys().copied().eq(partition.log_start_offset()..partition.high_watermark()), "offsets are missing");
    found.into_values().collect()
}
