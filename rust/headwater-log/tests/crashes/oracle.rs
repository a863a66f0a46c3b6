//! What must hold of a directory after a crash, whatever the workload was.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_log::storage::{Image, MemoryStorage};
use headwater_log::{Broker, Isolation, OFFSETS_TOPIC, Partition};
use headwater_record::Codec;

use crate::promises::{Acknowledged, Promised, Stage};
use crate::workload;

/// Opens the image as a restart does: it must work, and doing it again must change nothing more.
pub(crate) fn recover(image: &Image) -> (Arc<MemoryStorage>, Broker) {
    let storage = Arc::new(image.storage());
    drop(workload::open(&storage).expect("a directory that a crash left is opened"));
    let once = lasting(&storage);
    let broker = workload::open(&storage).expect("and so it is again");
    let again = lasting(&storage);
    let changed: Vec<&String> =
        once.keys().chain(again.keys()).filter(|path| once.get(*path) != again.get(*path)).collect();
    assert!(changed.is_empty(), "a second recovery changes nothing, but {changed:?}");
    (storage, broker)
}

/// Every file but the marks, which count how often they are written.
fn lasting(storage: &MemoryStorage) -> BTreeMap<String, Vec<u8>> {
    let mut files = storage.contents();
    files.retain(|path, _| !path.ends_with("headwater.mark"));
    files
}

/// Topics are there or not as was promised, and whole.
pub(crate) fn check_topics(broker: &Broker, promised: &Acknowledged) {
    for (name, stage) in &promised.topics {
        let is_there = broker.topic(name).is_ok();
        match stage {
            Stage::There => assert!(is_there, "topic {name} was made"),
            Stage::Gone => assert!(!is_there, "topic {name} was deleted"),
            Stage::Creating | Stage::Deleting => {}
        }
    }
    for topic in broker.topics().iter().filter(|topic| !topic.name.starts_with("__")) {
        assert!(promised.topics.contains_key(&topic.name), "nobody made topic {}", topic.name);
    }
}

/// Records are those that were sent, in order, once, and no acknowledged one is missing.
pub(crate) fn check_log(partition: &Partition, promised: &Promised) {
    let (start, next) = (partition.log_start_offset(), partition.next_offset());
    assert!((promised.start..=promised.start_max.max(promised.start)).contains(&start), "start {start}, {promised:?}");
    assert!(next >= promised.durable, "acknowledged records are lost: up to {next}, {promised:?}");
    assert!(next <= promised.appended, "records that nobody sent: up to {next}, {promised:?}");
    let records = workload::read_all(partition);
    assert_eq!(records.len() as u64, next - start);
    for (offset, record) in (start..).zip(&records) {
        assert_eq!(*record, workload::value(offset).into_bytes(), "offset {offset}");
    }
}

/// Whatever is looked for is found where it is: by every offset, and by every timestamp.
pub(crate) fn check_lookups(partition: &Partition) {
    for offset in partition.log_start_offset()..partition.high_watermark() {
        let fetched = partition.read(offset, 1, Isolation::Uncommitted).unwrap();
        let header = fetched.batches[0].header;
        assert!((header.base_offset..header.next_offset()).contains(&offset), "offset {offset}: {header:?}");
        let found = partition.offset_for_timestamp(offset as i64 * 10).unwrap();
        assert_eq!(found, Some((offset, offset as i64 * 10)));
    }
}

/// A group stands where it committed last, or where it was about to.
pub(crate) fn check_commits(broker: &Broker, promised: &Acknowledged) {
    for ((group, topic, partition), commit) in &promised.commits {
        let found = broker.offsets().fetch(group).unwrap();
        let found = found.get(&(topic.clone(), *partition)).map_or(0, |committed| committed.offset);
        assert!(found == commit.done || found == commit.under_way, "{group} at {found}, {commit:?}");
        if let Ok(log) = broker.partition(topic, *partition) {
            assert!(found <= log.next_offset(), "{group} at {found}, the log ends at {}", log.next_offset());
        }
    }
}

/// Life goes on: records can be appended and survive a clean close, which leaves nothing to warn of.
pub(crate) fn go_on(storage: &Arc<MemoryStorage>, broker: Broker) {
    let mut ends = BTreeMap::new();
    for partition in broker.topics().iter().filter(|t| t.name != OFFSETS_TOPIC).flat_map(|topic| &topic.partitions) {
        let first = partition.next_offset();
        let appended = partition.append(workload::batch(first, 3, Codec::Lz4)).unwrap();
        partition.wait_durable(appended.next_offset).unwrap();
        ends.insert((partition.topic().to_owned(), partition.number()), (partition.log_start_offset(), first + 3));
    }
    broker.close().unwrap();
    let broker = workload::open(storage).unwrap();
    assert!(broker.warnings().is_empty(), "{:?}", broker.warnings());
    for ((topic, number), (start, end)) in ends {
        let partition = broker.partition(&topic, number).unwrap();
        check_log(&partition, &Promised { start, start_max: start, durable: end, appended: end });
    }
}
