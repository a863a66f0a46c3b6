//! What must hold for any bytes at all that are offered as files of a partition: fuzz targets and stable twins share it.
#![allow(dead_code, clippy::unwrap_used, reason = "each test uses a part of it; a panic is what it looks for")]

use std::sync::Arc;

use headwater_log::storage::{MemoryStorage, Storage};
use headwater_log::{Broker, Isolation, Mode, OffsetIndex, Options, Partition, TimeIndex, TopicConfig};

/// Any bytes as the two index files: accepted only if they are what they would be written as, and lookups stay inside.
pub(crate) fn load_indexes(data: &[u8]) {
    let size = data.len() as u64 * 16;
    if let Some(index) = OffsetIndex::from_bytes(data, size) {
        assert_eq!(index.to_bytes(), data);
        for offset in [0, 1, 1 << 20, u32::MAX] {
            if let Some((last, position)) = index.lookup(offset) {
                assert!(last <= offset && u64::from(position) < size);
            }
        }
    }
    if let Some(index) = TimeIndex::from_bytes(data) {
        assert_eq!(index.to_bytes(), data);
        let lookups = [i64::MIN, 0, 1 << 40, i64::MAX].map(|timestamp| index.lookup(timestamp));
        assert!(lookups.is_sorted());
    }
}

/// Any bytes as a partition's folder: the first byte says where they are cut into files.
pub(crate) fn recover(data: &[u8]) {
    let Some((cut, rest)) = data.split_first() else { return };
    let (first, second) = rest.split_at(rest.len() * usize::from(*cut) / 255);
    let storage = Arc::new(MemoryStorage::default());
    storage.put("t-0/00000000000000000000.log", first.to_vec());
    storage.put("t-0/00000000000000000000.index", second.to_vec());
    if cut % 2 == 0 {
        storage.put("t-0/00000000000000000009.log", second.to_vec());
    }
    // Twice: what one recovery leaves, the next finds as it is.
    let once = read(&open(&storage, Mode::ReadWrite));
    let again = read(&open(&storage, Mode::ReadWrite));
    assert_eq!(once, again);
    let broker = open(&storage, Mode::ReadWrite);
    let next = broker.partition("t", 0).unwrap().next_offset();
    broker.close().unwrap();
    assert_eq!(open(&storage, Mode::Read).partition("t", 0).unwrap().next_offset(), next);
}

fn open(storage: &Arc<MemoryStorage>, mode: Mode) -> Broker {
    Broker::open(Arc::clone(storage) as Arc<dyn Storage>, Options { mode, ..Options::default() }).unwrap()
}

/// Every record that can be read; damage is passed over, and reading always gets on.
fn read(broker: &Broker) -> Vec<(u64, Vec<u8>)> {
    let partition: Arc<Partition> = broker.partition("t", 0).unwrap();
    let (mut found, mut offset) = (Vec::new(), partition.log_start_offset());
    let _ = partition.offset_for_timestamp(1_000);
    while offset < partition.high_watermark() {
        let next = match partition.read(offset, 1 << 16, Isolation::Committed) {
            Ok(fetched) => {
                for batch in &fetched.batches {
                    let Ok(records) = batch.records_within(1 << 20) else { continue };
                    let records = records.iter().map_while(Result::ok);
                    found.extend(records.map(|r| (r.offset, r.value.unwrap_or_default().to_vec())));
                }
                if fetched.next_offset == offset && partition.last_stable_offset() <= offset {
                    break; // an open transaction
                }
                fetched.next_offset
            }
            Err(headwater_log::Error::Corrupt { next_offset, .. }) => next_offset,
            Err(error) => panic!("{error}"),
        };
        assert!(next > offset, "no progress at offset {offset}");
        offset = next;
    }
    found
}

/// Any bytes as the key and the value of a committed offset: the first byte says where they are cut.
pub(crate) fn load_offsets(data: &[u8]) {
    let Some((cut, rest)) = data.split_first() else { return };
    let (key, value) = rest.split_at(rest.len() * usize::from(*cut) / 255);
    let storage = Arc::new(MemoryStorage::default());
    let mut batch = headwater_record::BatchBuilder::new();
    batch.push(1_000, Some(key), Some(value), b"");
    batch.push(1_000, Some(key), None, b"");
    batch.push(1_000, Some(key), Some(value), b"");
    storage.put("__consumer_offsets-0/00000000000000000000.log", batch.finish(headwater_record::Codec::None).unwrap());
    let broker = open(&storage, Mode::ReadWrite);
    let groups = broker.offsets().groups();
    let fetch = |group: &String| broker.offsets().fetch(group).unwrap();
    let found: Vec<_> = groups.iter().map(fetch).collect();
    broker.close().unwrap();
    // What was understood is understood again, and nothing else.
    let broker = open(&storage, Mode::ReadWrite);
    assert_eq!(broker.offsets().groups(), groups);
    assert_eq!(groups.iter().map(|group| broker.offsets().fetch(group).unwrap()).collect::<Vec<_>>(), found);
    broker.close().unwrap();
}

/// Any bytes in the place of one of a partition's small files (or the list of topics), beside a good log. The first byte says
/// which: whatever it says, records are read as they are or not at all.
pub(crate) fn load_small_files(data: &[u8]) {
    const FILES: [&str; 4] =
        ["t-0/headwater.checkpoint", "t-0/headwater.mark", "headwater.json", "t-0/00000000000000000006.snapshot"];
    let Some((which, bytes)) = data.split_first() else { return };
    let storage = Arc::new(MemoryStorage::default());
    let broker = open(&storage, Mode::ReadWrite);
    let settings = [("segment.bytes", "1024")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let topic = broker.create_topic("t", 1, TopicConfig::new(settings.into()).unwrap()).unwrap();
    for number in 0..4_u8 {
        let mut batch = headwater_record::BatchBuilder::new();
        batch.push(1_000, None, Some(&[number; 400]), b"");
        topic.partitions[0].append(batch.finish(headwater_record::Codec::None).unwrap()).unwrap();
    }
    topic.partitions[0].sync().unwrap();
    broker.close().unwrap();
    storage.put(FILES[usize::from(*which) % FILES.len()], bytes.to_vec());
    let opened = Broker::open(Arc::clone(&storage) as Arc<dyn Storage>, Options::default());
    let Ok(broker) = opened else { return }; // refused, with nothing but an error
    if broker.partition("t", 0).is_err() {
        return;
    }
    for (offset, value) in read(&broker) {
        assert_eq!(value, [u8::try_from(offset).unwrap(); 400]);
    }
    broker.close().unwrap();
}
