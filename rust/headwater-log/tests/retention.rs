//! The oldest records are forgotten when they should be, and nothing else ever is.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "support/workload.rs"]
mod workload;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use headwater_log::storage::{MemoryStorage, Storage};
use headwater_log::{Broker, Clock, Isolation, Kind, Options, Partition};

fn fill(broker: &Broker, more: &[(&str, &str)]) -> Arc<Partition> {
    let settings = workload::settings(&[&[("segment.bytes", "1024")], more].concat());
    let partition = Arc::clone(&broker.create_topic("t", 1, settings).unwrap().partitions[0]);
    for first in (0..60).step_by(5) {
        partition.append(workload::keyed(first, 5)).unwrap();
    }
    partition.sync().unwrap();
    partition
}

fn logs(storage: &MemoryStorage) -> usize {
    storage.contents().keys().filter(|path| path.starts_with("t-0/") && path.ends_with(".log")).count()
}

#[test]
fn records_below_an_offset_are_forgotten_for_good() {
    let storage = Arc::new(MemoryStorage::default());
    let broker = workload::open(&storage).unwrap();
    let partition = fill(&broker, &[]);
    let before = logs(&storage);
    assert_eq!(partition.delete_records(33).unwrap(), 33);
    assert_eq!(partition.delete_records(10).unwrap(), 33);
    assert_eq!(partition.delete_records(61).unwrap_err().kind(), Kind::OutOfRange);
    assert!(logs(&storage) < before);
    for is_closed in [false, true, true] {
        if is_closed {
            broker.close().unwrap();
        }
        let image = MemoryStorage::default();
        storage.contents().into_iter().for_each(|(path, bytes)| image.put(&path, bytes));
        let again = workload::open(&Arc::new(image)).unwrap();
        assert!(again.warnings().is_empty(), "{:?}", again.warnings());
        let partition = again.partition("t", 0).unwrap();
        assert_eq!((partition.log_start_offset(), partition.next_offset()), (33, 60));
        assert_eq!(partition.read(32, 100, Isolation::Uncommitted).unwrap_err().kind(), Kind::OutOfRange);
        let records = workload::read_all(&partition);
        assert!(records.iter().zip(33..60).all(|(record, number)| *record == workload::value(number).into_bytes()));
        assert_eq!(partition.offset_for_timestamp(0).unwrap(), Some((33, 330)));
    }
}

#[derive(Debug)]
struct At(AtomicI64);

impl Clock for At {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[test]
fn age_and_size_say_what_is_kept_and_the_default_is_everything() {
    for (settings, is_something_gone) in [
        (&[][..], false),
        (&[("retention.ms", "100")], true),
        (&[("retention.ms", "-1"), ("retention.bytes", "-1")], false),
        (&[("retention.bytes", "2000")], true),
        (&[("retention.ms", "100"), ("cleanup.policy", "compact")], false),
    ] {
        let clock = Arc::new(At(AtomicI64::new(0)));
        let options = Options { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Options::default() };
        let broker = Broker::open(Arc::new(MemoryStorage::default()) as Arc<dyn Storage>, options).unwrap();
        let partition = fill(&broker, settings);
        clock.0.store(500, Ordering::Relaxed);
        broker.apply_retention().unwrap();
        let start = partition.log_start_offset();
        assert_eq!(start > 0, is_something_gone, "{settings:?}: {start}");
        assert_eq!(workload::read_all(&partition).len() as u64, 60 - start);
        if settings == [("retention.ms", "100")] {
            assert!(start <= 40, "record 40 is of time 400: {start}");
        }
        if settings == [("retention.bytes", "2000")] {
            assert!(partition.size_bytes() <= 2_000 + 1_024);
        }
    }
}

#[test]
fn i01_i02_a_clock_that_jumps_takes_no_record_out_of_order_and_never_the_last_segment() {
    const TEN_YEARS_MS: i64 = 10 * 365 * 86_400_000;
    let storage = Arc::new(MemoryStorage::default());
    let clock = Arc::new(At(AtomicI64::new(1_000)));
    let options = Options { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Options::default() };
    let broker = Broker::open(Arc::clone(&storage) as Arc<dyn Storage>, options).unwrap();
    let partition = fill(&broker, &[("retention.ms", "86400000")]);
    for now in [i64::MIN, -TEN_YEARS_MS, 0, 1_000] {
        clock.0.store(now, Ordering::Relaxed);
        broker.apply_retention().unwrap();
        assert_eq!(partition.log_start_offset(), 0, "at {now} every record is young");
    }
    for now in [TEN_YEARS_MS, i64::MAX, 0] {
        clock.0.store(now, Ordering::Relaxed);
        broker.apply_retention().unwrap();
        let start = partition.log_start_offset();
        assert!(start > 0 && start < 60, "{start} at {now}");
        assert_eq!((logs(&storage), partition.next_offset()), (1, 60), "the last segment is left");
        assert_eq!(workload::read_all(&partition).len() as u64, 60 - start);
    }
    partition.append(workload::keyed(60, 5)).unwrap();
    assert_eq!(partition.next_offset(), 65, "offsets go on, whatever the clock says");
}
