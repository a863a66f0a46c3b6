//! Storage that fails under a running log: what was acknowledged stays, what was refused never shows, and it goes on when it
//! can.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "support/workload.rs"]
mod workload;

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_log::storage::{Failure, Fault, Hiccup, Image, Kind, Level, SimulatedStorage};
use headwater_log::{Broker, Error, Isolation, Partition, TopicConfig};
use headwater_record::Codec;

/// Everything that needs space: writes, new files and folders, and the replacing of small files.
const NEEDS_SPACE: &[Kind] = &[Kind::Write, Kind::Name];

fn settings(more: &[(&str, &str)]) -> TopicConfig {
    workload::settings(&[&[("segment.bytes", "1024"), ("index.interval.bytes", "100")], more].concat())
}

/// A program that goes on whatever is refused, and remembers what was not.
#[derive(Debug, Default)]
struct Persistent {
    /// Ends of the log that were acknowledged.
    acknowledged: u64,
    /// What may be there besides: a batch that was written, and whose sync failed.
    sent: u64,
    committed: u64,
    refused: usize,
}

impl Persistent {
    /// Appends, waits, commits, deletes: one step of each. What is refused says so clearly.
    fn step(&mut self, broker: &Broker, partition: &Partition, step: u64) {
        let first = partition.next_offset();
        match partition.append(workload::batch(first, 1 + step % 4, Codec::None)) {
            Ok(appended) => {
                self.sent = appended.next_offset;
                match partition.wait_durable(appended.next_offset) {
                    Ok(()) => self.acknowledged = appended.next_offset,
                    Err(error) => self.refuse(&error),
                }
            }
            Err(error) => self.refuse(&error),
        }
        if step % 3 == 2 {
            let offset = self.acknowledged;
            match broker.commit_offsets("g", &[("t".into(), 0, offset, String::new())]) {
                Ok(()) => self.committed = offset,
                Err(error) => self.refuse(&error),
            }
        }
        // Reads go on, and show what was acknowledged and nothing that was refused.
        let records = workload::read_all(partition);
        assert!((self.acknowledged..=self.sent).contains(&(records.len() as u64)), "{self:?}: {}", records.len());
        for (number, record) in records.iter().enumerate() {
            assert_eq!(*record, workload::value(number as u64).into_bytes());
        }
    }

    fn refuse(&mut self, error: &Error) {
        self.refused += 1;
        // No space (or no inode), a quota, a limit of size: as the system numbers them.
        let is_told = |number| matches!(number, Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG));
        let is_clear = matches!(error, Error::Io { source, .. } if is_told(source.raw_os_error()));
        assert!(is_clear || matches!(error, Error::Poisoned { .. }), "{error:?}");
    }
}

/// Works with space running out once at operation `first` (for ever, if `is_lasting`, until it is freed), then checks.
/// Returns whether it ran out at all.
fn run_out_of_space(kinds: &'static [Kind], failure: Failure, first: u64, is_lasting: bool) -> bool {
    let storage = Arc::new(SimulatedStorage::default());
    let broker = workload::open(&storage).unwrap();
    let partition = Arc::clone(&broker.create_topic("t", 1, settings(&[])).unwrap().partitions[0]);
    let mut program = Persistent::default();
    storage.fail(Some(Fault::Change { kinds, failure, first, is_lasting }));
    for step in 0..24 {
        program.step(&broker, &partition, step);
    }
    let what = format!("{failure:?} at {first}, lasting: {is_lasting}, {program:?}");
    let is_hit = storage.tried() >= first;
    storage.fail(None);
    // Space again: everything resumes, on the same handles.
    let refused = program.refused;
    for step in 24..30 {
        program.step(&broker, &partition, step);
    }
    assert_eq!(program.refused, refused, "with space nothing is refused");
    assert!(broker.create_topic("another", 1, settings(&[])).is_ok());
    drop(broker);
    for level in [Level::Killed, Level::PowerLoss] {
        let image = Arc::new(storage.image(level).storage());
        let broker = workload::open(&image).unwrap();
        let partition = broker.partition("t", 0).unwrap();
        assert_eq!(workload::read_all(&partition).len() as u64, program.acknowledged, "{what} {level:?}");
        let committed = broker.offsets().fetch("g").unwrap();
        let committed = committed.get(&("t".to_owned(), 0)).map_or(0, |committed| committed.offset);
        assert_eq!(committed, program.committed, "{what} {level:?}: {:?}", broker.warnings());
        assert!(broker.warnings().is_empty(), "{what} {level:?}: {:?}", broker.warnings());
    }
    is_hit
}

#[test]
fn h1_space_that_runs_out_anywhere_refuses_what_does_not_fit_and_nothing_else() {
    for failure in [Failure::NoSpace, Failure::ShortWrite] {
        for is_lasting in [false, true] {
            let points = (1..).take_while(|first| run_out_of_space(NEEDS_SPACE, failure, *first, is_lasting)).count();
            assert!(points > 20, "{points}");
        }
    }
}

#[test]
fn h3_a_quota_a_limit_of_size_or_no_inode_left_are_as_a_full_disk() {
    let cases = [
        (NEEDS_SPACE, Failure::Quota),
        (&[Kind::Write, Kind::Truncate][..], Failure::TooLarge),
        // Without an inode nothing is created, while what is there goes on.
        (&[Kind::Name][..], Failure::NoSpace),
    ];
    for (kinds, failure) in cases {
        for is_lasting in [false, true] {
            let is_hit = |first: &u64| run_out_of_space(kinds, failure, *first, is_lasting);
            let points = (1..).take_while(is_hit).count();
            assert!(points > 8, "{failure:?}: {points}");
        }
    }
}

/// Directories as a crash leaves them in the middle of everything: appends, a roll, a commit, a deletion, a compaction.
fn crashed_images() -> Vec<(Image, u64)> {
    let storage = Arc::new(SimulatedStorage::default());
    let broker = workload::open(&storage).unwrap();
    let partition = Arc::clone(&broker.create_topic("t", 1, settings(&[])).unwrap().partitions[0]);
    let compacted = settings(&[("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "1")]);
    let compacted = Arc::clone(&broker.create_topic("compacted", 1, compacted).unwrap().partitions[0]);
    let mut acknowledged = Vec::new();
    for first in (0..40).step_by(4) {
        for (log, batch) in
            [(&partition, workload::batch(first, 4, Codec::None)), (&compacted, workload::keyed(first, 4))]
        {
            let appended = log.append(batch).unwrap();
            log.wait_durable(appended.next_offset).unwrap();
        }
        broker.commit_offsets("g", &[("t".into(), 0, first, String::new())]).unwrap();
        acknowledged.push((storage.operations(), first + 4));
    }
    compacted.compact(0, true).unwrap();
    drop(broker);
    let (mut crashes, mut images) = (storage.crashes(), Vec::new());
    while crashes.advance() {
        let sure = acknowledged.iter().rfind(|(at, _)| *at <= crashes.position()).map_or(0, |(_, end)| *end);
        // Every seventh, and each of the compaction at the end.
        if sure > 0 && (crashes.position() % 7 == 0 || sure == 40) {
            for level in [Level::Killed, Level::PowerLoss] {
                images.extend(crashes.images(level, 1, 1).into_iter().map(|image| (image, sure)));
            }
        }
    }
    images
}

#[test]
fn h2_space_that_runs_out_in_a_recovery_leaves_the_old_state() {
    let mut failures = 0;
    for (image, sure) in crashed_images() {
        for first in 1.. {
            let storage = Arc::new(SimulatedStorage::new(&image));
            let (failure, is_lasting) = ([Failure::NoSpace, Failure::ShortWrite][first as usize % 2], true);
            storage.fail(Some(Fault::Change { kinds: NEEDS_SPACE, failure, first, is_lasting }));
            let what = format!("{failure:?} at operation {first} of a recovery, {sure} acknowledged");
            let opened = workload::open(&storage);
            let is_hit = storage.tried() >= first;
            match &opened {
                Ok(broker) => {
                    // What could be opened is whole, what could not says why and takes nothing.
                    let partition = broker.partition("t", 0).unwrap();
                    match partition.read(0, 1, Isolation::Uncommitted) {
                        Ok(_) => assert!(workload::read_all(&partition).len() as u64 >= sure, "{what}"),
                        Err(error) => assert!(matches!(error, Error::Failed { .. }), "{what}: {error}"),
                    }
                }
                Err(error) => assert_eq!(error.kind(), headwater_log::Kind::Io, "{what}: {error}"),
            }
            drop(opened);
            failures += u64::from(is_hit);
            // With space again, and after a crash in that state, too.
            storage.fail(None);
            for level in [Level::Killed, Level::PowerLoss] {
                let broker = workload::open(&Arc::new(storage.image(level).storage())).unwrap();
                let partition = broker.partition("t", 0).unwrap();
                let records = workload::read_all(&partition);
                assert!(records.len() as u64 >= sure, "{what} {level:?}: {} records", records.len());
                let compacted = broker.partition("compacted", 0).unwrap();
                let found = workload::read_around(&compacted, 0);
                for offset in 0..sure {
                    assert_eq!(found[&offset], workload::value(offset).into_bytes(), "{what} {level:?}");
                }
                let committed = broker.offsets().fetch("g").unwrap();
                assert!(committed[&("t".to_owned(), 0)].offset + 4 >= sure, "{what} {level:?}");
            }
            if !is_hit {
                break;
            }
        }
    }
    assert!(failures > 100, "{failures}");
}

/// Everything that reads and writes, in a small way; returns what the directory holds in the end.
fn work_through(fault: Option<Fault>) -> (Image, u64) {
    let storage = Arc::new(SimulatedStorage::default());
    storage.fail(fault);
    for round in 0..2_u64 {
        let broker = workload::open(&storage).unwrap();
        let settings = settings(&[("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "1")]);
        let topic = if round == 0 { broker.create_topic("t", 1, settings) } else { broker.topic("t") };
        let partition = Arc::clone(&topic.unwrap().partitions[0]);
        for first in (round * 24..round * 24 + 24).step_by(6) {
            let appended = partition.append(workload::keyed(first, 6)).unwrap();
            partition.wait_durable(appended.next_offset).unwrap();
            broker.commit_offsets("g", &[("t".into(), 0, first, String::new())]).unwrap();
        }
        partition.compact(0, true).unwrap();
        assert_eq!(workload::read_all(&partition).len() as u64, round * 24 + 24);
        broker.close().unwrap();
    }
    (storage.image(Level::PowerLoss), storage.tried())
}

/// The files of the topic; those of commits say what time it was.
fn files_of_topic((image, _): &(Image, u64)) -> BTreeMap<&String, &Arc<Vec<u8>>> {
    image.files.iter().filter(|(path, _)| path.starts_with("t-0/")).collect()
}

#[test]
fn c21_calls_that_do_less_than_they_were_asked_for_are_taken_up_where_they_stopped() {
    let expected = work_through(None);
    for hiccup in [Hiccup::Short, Hiccup::Interrupted, Hiccup::WouldBlock] {
        for is_lasting in [false, true] {
            for first in 1.. {
                let done = work_through(Some(Fault::Call { hiccup, first, is_lasting }));
                let what = format!("{hiccup:?} at call {first}, lasting: {is_lasting}");
                assert_eq!(files_of_topic(&done), files_of_topic(&expected), "{what}");
                let broker = workload::open(&Arc::new(done.0.storage())).unwrap();
                assert_eq!(broker.offsets().fetch("g").unwrap()[&("t".to_owned(), 0)].offset, 42, "{what}");
                assert!(broker.warnings().is_empty(), "{what}: {:?}", broker.warnings());
                if is_lasting && first == 2 {
                    break; // every odd call or every even one
                }
                if done.1 < first {
                    assert!(first > 50, "{first} calls");
                    break;
                }
            }
        }
    }
}

#[test]
fn c22_after_a_failed_sync_nothing_more_is_acknowledged_there_and_all_goes_on_elsewhere() {
    let storage = Arc::new(SimulatedStorage::default());
    let broker = workload::open(&storage).unwrap();
    let topic = broker.create_topic("t", 2, settings(&[])).unwrap();
    let [failing, other] = &topic.partitions[..] else { unreachable!() };
    let before = failing.append(workload::batch(0, 4, Codec::None)).unwrap();
    failing.wait_durable(before.next_offset).unwrap();
    let appended = failing.append(workload::batch(4, 4, Codec::None)).unwrap();
    let fault = Fault::Change { kinds: &[Kind::Sync], failure: Failure::Device, first: 1, is_lasting: false };
    storage.fail(Some(fault));
    assert_eq!(failing.wait_durable(appended.next_offset).unwrap_err().kind(), headwater_log::Kind::Io);
    // The next sync would succeed; what the first lost is lost all the same.
    let refused = failing.wait_durable(appended.next_offset).unwrap_err();
    assert_eq!(refused.kind(), headwater_log::Kind::Closed, "{refused}");
    assert!(failing.append(workload::batch(8, 1, Codec::None)).is_err());
    assert_eq!(failing.high_watermark(), 4);
    assert_eq!(workload::read_all(failing).len(), 4);
    let appended = other.append(workload::batch(0, 3, Codec::None)).unwrap();
    other.wait_durable(appended.next_offset).unwrap();
    assert_eq!(workload::read_all(other).len(), 3);
}

#[test]
fn c20_a_block_that_cannot_be_read_costs_its_records_alone() {
    let storage = Arc::new(SimulatedStorage::default());
    let broker = workload::open(&storage).unwrap();
    let settings = workload::settings(&[("segment.bytes", "100000"), ("index.interval.bytes", "1")]);
    let partition = Arc::clone(&broker.create_topic("t", 1, settings).unwrap().partitions[0]);
    let mut places = vec![0];
    for first in 0..30 {
        partition.append(workload::batch(first, 1, Codec::None)).unwrap();
        places.push(partition.size_bytes());
    }
    partition.sync().unwrap();
    let block = 512..1024_u64;
    storage.fail(Some(Fault::Read { file: ".log", bytes: block.clone() }));
    for offset in 0..30_usize {
        let is_hit = places[offset] < block.end && places[offset + 1] > block.start;
        // A batch that lies in the block is refused, each time; all others are read.
        let fetched = partition.read(offset as u64, 1, Isolation::Uncommitted);
        match fetched {
            Err(error) => assert!(is_hit && error.kind() == headwater_log::Kind::Io, "offset {offset}: {error}"),
            Ok(fetched) => {
                assert!(!is_hit, "offset {offset}");
                assert_eq!(fetched.batches[0].header.base_offset, offset as u64);
            }
        }
    }
    // Whoever asks for much gets what lies before the block.
    let mut offset = 0;
    let error = loop {
        match partition.read(offset, 1 << 20, Isolation::Uncommitted) {
            Ok(fetched) => offset = fetched.next_offset,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), headwater_log::Kind::Io);
    assert!(places[offset as usize] < block.end && places[offset as usize + 1] > block.start, "read up to {offset}");
    storage.fail(None);
    assert_eq!(workload::read_all(&partition).len(), 30, "a device that recovers has lost nothing");
}

#[test]
fn c23_a_rename_or_removal_that_fails_leaves_the_old_state_and_is_done_later() {
    for first in 1.. {
        let storage = Arc::new(SimulatedStorage::default());
        let broker = workload::open(&storage).unwrap();
        let partition = Arc::clone(&broker.create_topic("t", 1, settings(&[])).unwrap().partitions[0]);
        for first in (0..60).step_by(5) {
            partition.append(workload::batch(first, 5, Codec::None)).unwrap();
        }
        partition.sync().unwrap();
        let fault = Fault::Change { kinds: &[Kind::Name], failure: Failure::Device, first, is_lasting: false };
        storage.fail(Some(fault));
        let deleted = partition.delete_records(40);
        let is_hit = storage.tried() >= first;
        assert_eq!(deleted.is_err(), is_hit, "operation {first}: {deleted:?}");
        storage.fail(None);
        // Asked again, or by whoever opens it next.
        assert!(partition.delete_records(41).is_ok());
        drop(broker);
        for level in Level::ALL {
            let image = Arc::new(storage.image(level).storage());
            let broker = workload::open(&image).unwrap();
            assert!(broker.warnings().is_empty(), "operation {first} {level:?}: {:?}", broker.warnings());
            let partition = broker.partition("t", 0).unwrap();
            assert_eq!((partition.log_start_offset(), partition.next_offset()), (41, 60));
            assert_eq!(workload::read_all(&partition).len(), 19);
            let logs = image.contents().into_keys().filter(|path| path.starts_with("t-0/") && path.ends_with(".log"));
            assert_eq!(logs.count(), partition.segment_count(), "nothing is left lying about");
        }
        if !is_hit {
            break;
        }
    }
}
