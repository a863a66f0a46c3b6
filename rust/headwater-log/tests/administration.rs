//! Topics change while they are used: more partitions, other settings, and whoever holds a partition notices nothing else.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "support/dying.rs"]
mod dying;
#[path = "support/workload.rs"]
mod workload;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use headwater_log::storage::{Level, MemoryStorage, SimulatedStorage, Storage};
use headwater_log::{Broker, Durability, Isolation, Kind, Options, TopicConfig};
use headwater_record::{Codec, TimestampType};

#[test]
fn partitions_are_added_and_old_handles_go_on() {
    let storage = Arc::new(MemoryStorage::default());
    let broker = workload::open(&storage).unwrap();
    let old = Arc::clone(&broker.create_topic("t", 2, workload::settings(&[])).unwrap().partitions[1]);
    old.append(workload::batch(0, 3, Codec::None)).unwrap();
    let topic = broker.add_partitions("t", 5).unwrap();
    assert_eq!(topic.partitions.len(), 5);
    assert!(Arc::ptr_eq(&topic.partitions[1], &old));
    old.append(workload::batch(3, 3, Codec::None)).unwrap();
    topic.partitions[4].append(workload::batch(0, 2, Codec::None)).unwrap();
    for total in [4, 5] {
        let refused = broker.add_partitions("t", total).unwrap_err();
        assert_eq!(refused.kind(), Kind::Invalid);
        assert!(refused.to_string().contains("expected more than 5 partitions"), "{refused}");
    }
    assert_eq!(broker.add_partitions("u", 2).unwrap_err().kind(), Kind::NotFound);
    broker.close().unwrap();
    let again = workload::open(&storage).unwrap();
    assert!(again.warnings().is_empty(), "{:?}", again.warnings());
    let ends: Vec<u64> = again.topic("t").unwrap().partitions.iter().map(|partition| partition.next_offset()).collect();
    assert_eq!(ends, [0, 6, 0, 0, 2]);
}

#[test]
fn a_crash_while_partitions_are_added_leaves_the_old_number_or_the_new() {
    for operation in 1.. {
        let made = Arc::new(SimulatedStorage::default());
        let broker = workload::open(&made).unwrap();
        let partition = Arc::clone(&broker.create_topic("t", 1, workload::settings(&[])).unwrap().partitions[0]);
        partition.append(workload::batch(0, 5, Codec::None)).unwrap();
        broker.close().unwrap();
        let storage = Arc::new(dying::from(&made.image(Level::Killed), Some(operation)));
        let is_over = workload::open(&storage).and_then(|broker| broker.add_partitions("t", 3).map(drop)).is_ok();
        for crash in [Level::PowerLoss, Level::Killed] {
            let image = Arc::new(storage.image(crash).storage());
            let broker = workload::open(&image).unwrap();
            assert!(broker.warnings().is_empty(), "operation {operation}: {:?}", broker.warnings());
            let count = broker.topic("t").unwrap().partitions.len();
            assert!(count == 3 || (count == 1 && !is_over), "operation {operation} {crash:?}: {count}");
            assert_eq!(workload::read_all(&broker.partition("t", 0).unwrap()).len(), 5);
            // What was left behind is in nobody's way.
            let topic = broker.add_partitions("t", 4).unwrap();
            topic.partitions[3].append(workload::batch(0, 1, Codec::None)).unwrap();
        }
        if is_over {
            break;
        }
    }
}

#[test]
fn a_crash_while_a_topic_is_made_is_in_nobodys_way() {
    for operation in 1.. {
        let storage = Arc::new(dying::anew(operation));
        let is_over = workload::open(&storage)
            .and_then(|broker| broker.create_topic("t", 2, workload::settings(&[])).map(drop))
            .is_ok();
        for crash in [Level::PowerLoss, Level::Killed] {
            let image = Arc::new(storage.image(crash).storage());
            let broker = workload::open(&image).unwrap();
            assert!(broker.warnings().is_empty(), "operation {operation}: {:?}", broker.warnings());
            match broker.topic("t") {
                Ok(topic) => assert_eq!(topic.partitions.len(), 2),
                Err(_) => assert!(!is_over && broker.create_topic("t", 3, workload::settings(&[])).is_ok()),
            }
        }
        if is_over {
            break;
        }
    }
}

#[test]
fn settings_hold_at_once() {
    let storage = Arc::new(MemoryStorage::default());
    let options = Options { durability: Durability::Os, ..Options::default() };
    let broker = Broker::open(Arc::clone(&storage) as Arc<dyn Storage>, options).unwrap();
    let partition = Arc::clone(&broker.create_topic("t", 1, workload::settings(&[])).unwrap().partitions[0]);
    let append = |numbers: Range<u64>| {
        for first in numbers.step_by(5) {
            partition.append(workload::batch(first, 5, Codec::None)).unwrap();
        }
    };
    append(0..50);
    assert_eq!(partition.describe().segments.len(), 1);
    assert!(partition.durable_offset() < 50);

    let settings = [
        ("segment.bytes", "1024"),
        ("message.timestamp.type", "LogAppendTime"),
        ("headwater.durability", "fsync"),
        ("retention.bytes", "0"),
    ];
    broker.set_topic_config("t", workload::settings(&settings)).unwrap();
    assert_eq!(partition.durability(), Durability::Fsync);
    assert_eq!(partition.high_watermark(), 50); // what was visible stays so
    append(50..100);
    assert!((50..100).contains(&partition.high_watermark())); // a full segment is synced, the last is not yet
    partition.wait_durable(100).unwrap();
    let described = partition.describe();
    // The janitor may have been faster: `retention.bytes` holds at once, too.
    assert!(described.segments.len() > 2 || partition.log_start_offset() > 0, "{described:?}");
    let read = partition.read(95, 1 << 10, Isolation::Uncommitted).unwrap();
    assert_eq!(read.batches[0].header.timestamp_type(), TimestampType::LogAppendTime);
    broker.apply_retention().unwrap();
    assert!(partition.log_start_offset() >= 50);

    broker.set_topic_config("t", workload::settings(&[])).unwrap();
    assert_eq!(partition.durability(), Durability::Os);
    append(100..105);
    assert_eq!(partition.high_watermark(), 105);
}

#[test]
fn a_description_says_where_everything_lies() {
    let storage = Arc::new(MemoryStorage::default());
    let broker = workload::open(&storage).unwrap();
    let settings = workload::settings(&[("segment.bytes", "1024")]);
    let partition = Arc::clone(&broker.create_topic("t", 1, settings).unwrap().partitions[0]);
    for first in (0..60).step_by(5) {
        partition.append(workload::batch(first, 5, Codec::None)).unwrap();
    }
    partition.sync().unwrap();
    partition.delete_records(7).unwrap();
    let found = partition.describe();
    assert_eq!((found.log_start_offset, found.high_watermark, found.last_stable_offset), (7, 60, 60));
    assert_eq!(found.size_bytes, found.segments.iter().map(|segment| segment.size_bytes).sum::<u64>());
    assert!(found.segments.len() > 2);
    for pair in found.segments.windows(2) {
        assert_eq!(pair[0].next_offset, pair[1].base_offset);
    }
    for segment in &found.segments {
        assert_eq!(segment.first_timestamp, Some(segment.base_offset as i64 * 10));
        assert_eq!(segment.max_timestamp, Some((segment.next_offset as i64 - 1) * 10));
        let path = format!("t-0/{:020}.log", segment.base_offset);
        assert_eq!(storage.contents()[&path].len() as u64, segment.size_bytes);
        assert!(segment.path.ends_with(&path), "{}", segment.path);
    }
}

#[test]
fn a_directory_with_settings_of_another_release_opens_and_only_new_ones_are_refused() {
    let settings = |name: &str| BTreeMap::from([(name.to_owned(), "1".to_owned())]);
    let refused = TopicConfig::new(settings("retention.m")).unwrap_err();
    assert!(refused.to_string().contains("did you mean 'retention.ms'?"), "{refused}");
    let storage = Arc::new(MemoryStorage::default());
    let broker = workload::open(&storage).unwrap();
    broker.create_topic("t", 1, workload::settings(&[("headwater.colour", "red")])).unwrap();
    broker.close().unwrap();
    let file = String::from_utf8(storage.contents()["headwater.json"].clone()).unwrap();
    let body = serde_json::from_str::<serde_json::Value>(&file).unwrap()["body"].to_string();
    let changed = body.replace("headwater.colour", "colour");
    let sealed = format!(
        r#"{{"format": 1, "checksum": "crc32c:{:08x}", "body": {changed}}}"#,
        crc32c::crc32c(changed.as_bytes())
    );
    storage.put("headwater.json", sealed.into_bytes());
    let broker = workload::open(&storage).unwrap();
    assert_eq!(broker.topic("t").unwrap().config.settings()["colour"], "red");
}
