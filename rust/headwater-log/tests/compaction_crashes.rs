//! A crash at every storage operation of a compaction, and of the recovery from it: the last value of every key is there.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "support/compacted.rs"]
mod compacted;
#[path = "support/dying.rs"]
mod dying;
#[path = "support/workload.rs"]
mod workload;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use compacted::{Entry, Model, SETTINGS, entry, partition, read};
use headwater_log::storage::{Image, Level, SimulatedStorage, Storage};
use headwater_log::{Broker, Isolation, Kind, Mode, Options, Partition, Result};
use headwater_record::Codec;

fn batch_of(first: u64, keys: u64, count: u64) -> Vec<Entry> {
    // The keys change places from round to round; some values are taken back.
    let update = |n: u64| entry((n * 7 + n / keys) % keys, (n % 11 != 10).then_some(n), n as i64);
    (first..first + count).map(update).collect()
}

/// A closed directory with so many updates of so many keys.
fn filled(keys: u64, updates: u64, batch: u64, segment_bytes: &str) -> Filled {
    let storage = Arc::new(SimulatedStorage::default());
    let broker = workload::open(&storage).unwrap();
    let settings = workload::settings(&[&SETTINGS[..], &[("segment.bytes", segment_bytes)]].concat());
    let log = Arc::clone(&broker.create_topic("t", 1, settings).unwrap().partitions[0]);
    let mut model = Model::default();
    while log.next_offset() < updates {
        let codec = [Codec::None, Codec::Lz4][log.next_offset() as usize / batch as usize % 2];
        model.append(&log, &batch_of(log.next_offset(), keys, batch), codec).unwrap();
    }
    broker.close().unwrap();
    Filled { image: storage.image(Level::Killed), table: table(&model.records), records: model.records }
}

/// The last value of each key, and where it is.
type Table = BTreeMap<Vec<u8>, (u64, Vec<u8>)>;

fn table(records: &BTreeMap<u64, Entry>) -> Table {
    let mut table = Table::new();
    update(&mut table, records.iter());
    table
}

fn update<'a>(table: &mut Table, records: impl Iterator<Item = (&'a u64, &'a Entry)>) {
    for (offset, entry) in records {
        match &entry.value {
            Some(value) => drop(table.insert(entry.key.clone(), (*offset, value.clone()))),
            None => drop(table.remove(&entry.key)),
        }
    }
}

/// What a directory was filled with before the work began.
struct Filled {
    image: Image,
    records: BTreeMap<u64, Entry>,
    table: Table,
}

/// What the program has written, for sure and perhaps.
struct Written<'a> {
    before: &'a Filled,
    since: BTreeMap<u64, Entry>,
    sure: Table,
    perhaps: Table,
}

impl<'a> Written<'a> {
    fn nothing_since(before: &'a Filled) -> Self {
        Self { before, since: BTreeMap::new(), sure: before.table.clone(), perhaps: before.table.clone() }
    }

    fn get(&self, offset: u64) -> Option<&Entry> {
        self.before.records.get(&offset).or_else(|| self.since.get(&offset))
    }
}

/// Compacts, appends, compacts again when the tombstones may go, and closes, until a storage operation fails.
fn work(storage: &Arc<SimulatedStorage>, keys: u64, written: &mut Written<'_>) -> Result<()> {
    let broker = workload::open(storage)?;
    let log = partition(&broker)?;
    log.compact(0, true)?;
    for _ in 0..4 {
        let first = log.next_offset();
        let entries = batch_of(first, keys, 3);
        written.since.extend((first..).zip(entries.iter().cloned()));
        update(&mut written.perhaps, written.since.range(first..));
        Model::default().append(&log, &entries, Codec::None)?;
        written.sure.clone_from(&written.perhaps);
    }
    log.compact(2_000, true)?;
    broker.close()
}

fn check(log: &Partition, written: &Written<'_>, what: &str) {
    let found = read(log, Isolation::Uncommitted);
    for (offset, entry) in &found {
        assert_eq!(written.get(*offset), Some(entry), "{what}: offset {offset}");
    }
    let found = table(&found);
    assert!(found == written.sure || found == written.perhaps, "{what}: {found:?}\ninstead of\n{:?}", written.sure);
}

/// A reader sees the log up to what is known to be durable; the mark of that is not synced, the checkpoint is.
fn check_reader(log: &Partition, written: &Written<'_>, what: &str) {
    let end = log.high_watermark();
    assert!(end >= written.before.records.len() as u64, "{what}: a reader sees {end} offsets");
    let mut expected = written.before.table.clone();
    update(&mut expected, written.since.range(..end));
    let found = table(&read(log, Isolation::Uncommitted));
    assert!(found == expected, "{what}, read up to {end}: {found:?}\ninstead of\n{expected:?}");
}

/// Recovers, as a reader and as a writer, checks, and goes on.
fn recover(image: &Image, written: &Written<'_>, what: &str) {
    let storage = Arc::new(image.storage());
    let before = storage.contents();
    let options = Options { mode: Mode::Read, ..Options::default() };
    let broker = Broker::open(Arc::clone(&storage) as Arc<dyn Storage>, options).unwrap();
    check_reader(&partition(&broker).unwrap(), written, what);
    assert_eq!(storage.contents(), before, "{what}: a reader changes nothing");
    let broker = workload::open(&storage).unwrap_or_else(|error| panic!("{what}: {error}"));
    let is_torn = |warning: &&String| !warning.contains("were not written to the end");
    assert_eq!(broker.warnings().iter().find(is_torn), None, "{what}");
    let log = partition(&broker).unwrap();
    check(&log, written, what);
    let leftovers = |path: &&String| path.ends_with(".cleaned") || path.ends_with(".swap");
    assert_eq!(storage.contents().keys().find(leftovers), None, "{what}");
    // What is left to do is done now, and each key is there once.
    log.compact(10_000, true).unwrap_or_else(|error| panic!("{what}: {error}"));
    log.compact(20_000, true).unwrap_or_else(|error| panic!("{what}: {error}"));
    check(&log, written, what);
    let found = read(&log, Isolation::Uncommitted);
    assert_eq!(found.len(), table(&found).len(), "{what}");
    broker.close().unwrap();
}

fn crashed_at(operation: u64, filled: &Filled, keys: u64) -> (Arc<SimulatedStorage>, Written<'_>, bool) {
    let storage = Arc::new(dying::from(&filled.image, Some(operation)));
    let mut written = Written::nothing_since(filled);
    let is_over = work(&storage, keys, &mut written).is_ok();
    (storage, written, is_over)
}

#[test]
fn the_last_value_of_every_key_is_there_wherever_a_compaction_crashes() {
    let filled = filled(10, 200, 6, "2048");
    let mut operations = 0;
    for operation in 1.. {
        let (storage, written, is_over) = crashed_at(operation, &filled, 10);
        for crash in Level::ALL {
            recover(&storage.image(crash), &written, &format!("operation {operation}, {crash:?}"));
        }
        if is_over {
            break;
        }
        operations = operation;
    }
    assert!(operations > 100, "{operations} operations");
}

#[test]
fn nor_is_it_lost_when_the_recovery_crashes_too() {
    let filled = filled(5, 120, 6, "1024");
    let mut recoveries = 0;
    for operation in (1..).step_by(3) {
        let (storage, written, is_over) = crashed_at(operation, &filled, 5);
        if is_over {
            break;
        }
        for crash in [Level::PowerLoss, Level::Killed] {
            for second in 1.. {
                let recovering = Arc::new(dying::from(&storage.image(crash), Some(second)));
                let is_recovered = workload::open(&recovering).is_ok_and(|_| recovering.tried() < second);
                for then in [Level::PowerLoss, Level::Killed] {
                    let what = format!("operation {operation} {crash:?}, then {second} {then:?}");
                    recover(&recovering.image(then), &written, &what);
                }
                if is_recovered {
                    break;
                }
                recoveries += 1;
            }
        }
    }
    assert!(recoveries > 100, "{recoveries} crashed recoveries");
}

#[test]
fn an_operation_that_fails_leaves_the_old_state_and_the_next_compaction_goes_on() {
    let Filled { image, records, table: original } = filled(10, 300, 6, "2048");
    let mut model = Model { records, ..Model::default() };
    model.compact(0);
    let mut failures = 0;
    for after in 1.. {
        let storage = Arc::new(dying::from(&image, None));
        let broker = workload::open(&storage).unwrap();
        let log = partition(&broker).unwrap();
        let before = storage.tried();
        dying::fail_once(&storage, after);
        let outcome = log.compact(0, true);
        if storage.tried() - before < after {
            outcome.unwrap();
            break; // it is over before that
        }
        assert_eq!(table(&read(&log, Isolation::Uncommitted)), original, "operation {after}");
        for crash in Level::ALL {
            let image = Arc::new(storage.image(crash).storage());
            let broker = workload::open(&image).unwrap();
            assert!(broker.warnings().is_empty(), "operation {after} {crash:?}: {:?}", broker.warnings());
            let found = table(&read(&partition(&broker).unwrap(), Isolation::Uncommitted));
            assert_eq!(found, original, "operation {after} {crash:?}");
        }
        // A mark that is not written fails nobody.
        if let Err(error) = outcome {
            assert_eq!(error.kind(), Kind::Io, "{error}");
            failures += 1;
        }
        // A sync that failed poisons, as for any append.
        match log.compact(0, true) {
            Ok(_) => assert_eq!(read(&log, Isolation::Uncommitted), model.records, "operation {after}"),
            Err(error) => assert_eq!(error.kind(), Kind::Closed, "{error}"),
        }
        let _ = broker.close();
        let broker = workload::open(&Arc::new(storage.image(Level::Killed).storage())).unwrap();
        let found = table(&read(&partition(&broker).unwrap(), Isolation::Uncommitted));
        assert_eq!(found, original, "operation {after}");
    }
    assert!(failures > 50, "{failures} failures");
}

#[test]
#[ignore = "a crash at each of a thousand operations on a million records (make soak)"]
fn a_million_updates_of_a_thousand_keys() {
    let filled = filled(1_000, 1_000_000, 200, "1048576");
    let (whole, _, is_over) = crashed_at(u64::MAX, &filled, 1_000);
    assert!(is_over);
    let (operations, next) = (whole.tried(), AtomicU64::new(1));
    let crash = || {
        while let Some(operation) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|next| *next <= operations) {
            let (storage, written, _) = crashed_at(operation, &filled, 1_000);
            let crash = Level::ALL[operation as usize % Level::ALL.len()];
            recover(&storage.image(crash), &written, &format!("operation {operation} of {operations}, {crash:?}"));
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(crash);
        }
    });
    println!("{operations} operations, a crash at each");
}
