//! A partition that cannot be opened costs that partition: it says why, and everything else goes on.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "support/workload.rs"]
mod workload;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use headwater_log::storage::{DiskStorage, Fault, Level, SimulatedStorage, Storage};
use headwater_log::{Broker, Isolation, Kind, Mode, OFFSETS_TOPIC, Options, Partition, TRANSACTIONS_TOPIC, verify};
use headwater_record::Codec;

/// Two partitions of 20 records, what group "g" has committed, and a transactional id; not closed.
fn write(storage: &Arc<impl Storage + 'static>) -> Broker {
    let broker = workload::open(storage).unwrap();
    let partitions = broker.create_topic("t", 2, workload::settings(&[])).unwrap().partitions.clone();
    for partition in &partitions {
        partition.append(workload::batch(0, 20, Codec::None)).unwrap();
        partition.sync().unwrap();
    }
    broker.commit_offsets("g", &[("t".into(), 0, 7, String::new())]).unwrap();
    let producer = broker.transactional_producer("id", 60_000).unwrap();
    producer.begin().unwrap();
    producer.append(&partitions[0], workload::values(["in a transaction"]), Codec::None).unwrap();
    producer.commit().unwrap();
    broker
}

/// Everything that can be asked of a failed partition names the cause and what to do.
fn refuses_everything(partition: &Arc<Partition>, cause: &str) {
    let answers = [
        partition.read(0, 1, Isolation::Uncommitted).map(drop),
        partition.read(7, 1, Isolation::Committed).map(drop),
        partition.append(workload::batch(0, 1, Codec::None)).map(drop),
        partition.delete_records(1).map(drop),
        partition.offset_for_timestamp(0).map(drop),
        partition.wait_durable(1),
        partition.compact(0, true).map(drop),
        partition.check_usable(),
    ];
    for answer in answers {
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), Kind::Io, "{error}");
        let message = error.to_string();
        assert!(message.contains(cause) && message.contains("open the directory again"), "{message}");
    }
}

#[test]
fn c20_a_block_that_cannot_be_read_at_open_fails_its_partition_alone() {
    let storage = Arc::new(SimulatedStorage::default());
    drop(write(&storage));
    let log = "t-1/00000000000000000000.log";
    storage.fail(Some(Fault::Read { file: log, bytes: 0..4096 }));
    let broker = workload::open(&storage).unwrap();
    assert!(broker.warnings().iter().any(|warning| warning.contains("'t' partition 1") && warning.contains(log)));
    refuses_everything(&broker.partition("t", 1).unwrap(), log);
    let other = broker.partition("t", 0).unwrap();
    other.append(workload::batch(0, 1, Codec::None)).unwrap();
    other.sync().unwrap();
    assert_eq!(broker.offsets().fetch("g").unwrap()[&("t".to_owned(), 0)].offset, 7);
    // A decision about what lies in the failed one may be needed: none is made without it.
    assert_eq!(broker.transactional_producer("id", 60_000).unwrap_err().kind(), Kind::Io);
    let report = verify(&*storage).unwrap();
    assert!(report.findings.iter().any(|finding| finding.partition == Some(1)), "{report:?}");
    let files = |broker: &Broker| {
        let contents =
            storage.image(Level::Killed).storage().contents().into_iter().filter(|(path, _)| path.starts_with("t-1/"));
        (contents.collect::<Vec<_>>(), broker.close())
    };
    let (before, closed) = files(&broker);
    closed.unwrap();
    assert_eq!(files(&broker).0, before, "a close does not touch it");
    storage.fail(None);
    let broker = workload::open(&storage).unwrap();
    assert!(broker.warnings().is_empty(), "{:?}", broker.warnings());
    assert_eq!(workload::read_all(&broker.partition("t", 1).unwrap()).len(), 20);
    broker.transactional_producer("id", 60_000).unwrap();
}

#[test]
fn c10_a_folder_that_is_no_folder_fails_its_partition_alone_and_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Arc::new(DiskStorage::new(folder.path()));
    write(&storage).close().unwrap();
    let (place, away) = (folder.path().join("t-1"), folder.path().join("away"));
    fs::rename(&place, &away).unwrap();
    fs::write(&place, "no folder").unwrap();
    for mode in [Mode::ReadWrite, Mode::Read] {
        let options = Options { mode, ..Options::default() };
        let broker = Broker::open(Arc::clone(&storage) as Arc<dyn Storage>, options).unwrap();
        let failed = broker.partition("t", 1).unwrap();
        let refused = failed.read(0, 1, Isolation::Uncommitted).unwrap_err();
        assert_eq!(refused.kind(), Kind::Io, "{refused}");
        let read = |number| broker.with_partition("t", number, |log| log.read(0, 1 << 20, Isolation::Uncommitted));
        assert_eq!(read(0).unwrap().batches.len(), 2);
        assert_eq!(read(1).unwrap_err().kind(), Kind::Io);
        if mode == Mode::Read {
            // Whoever only reads need not open it again.
            fs::remove_file(&place).unwrap();
            fs::rename(&away, &place).unwrap();
            assert_eq!(read(1).unwrap().batches.len(), 1);
        }
        broker.close().unwrap();
        assert_eq!(mode == Mode::ReadWrite, fs::read(&place).is_ok_and(|bytes| bytes == b"no folder"));
    }
}

/// Opens a directory in which a file of an internal topic cannot be read, and one in which it can again.
fn without(topic: &str, look: impl Fn(&Broker), look_again: impl Fn(&Broker)) {
    let folder = tempfile::tempdir().unwrap();
    let storage = Arc::new(DiskStorage::new(folder.path()));
    write(&storage).close().unwrap();
    let log = folder.path().join(format!("{topic}-0/00000000000000000000.log"));
    let bytes = fs::read(&log).unwrap();
    fs::remove_file(&log).unwrap();
    fs::create_dir(&log).unwrap();
    let broker = workload::open(&storage).unwrap();
    assert_eq!(workload::read_all(&broker.partition("t", 1).unwrap()).len(), 20);
    look(&broker);
    broker.close().unwrap();
    restore(&log, &bytes);
    look_again(&workload::open(&storage).unwrap());
}

fn restore(path: &Path, bytes: &[u8]) {
    fs::remove_dir(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn c17_offsets_that_cannot_be_read_are_refused_and_never_reset() {
    without(
        OFFSETS_TOPIC,
        |broker| {
            assert_eq!(broker.offsets().fetch("g").unwrap_err().kind(), Kind::Io);
            assert_eq!(broker.offsets().fetch("another").unwrap_err().kind(), Kind::Io);
            let commit = broker.commit_offsets("g", &[("t".into(), 0, 9, String::new())]);
            assert_eq!(commit.unwrap_err().kind(), Kind::Io);
            assert_eq!(broker.offsets().fetch("g").unwrap_err().kind(), Kind::Io);
        },
        |broker| assert_eq!(broker.offsets().fetch("g").unwrap()[&("t".to_owned(), 0)].offset, 7),
    );
}

#[test]
fn c17_a_transaction_log_that_cannot_be_read_decides_nothing() {
    without(
        TRANSACTIONS_TOPIC,
        |broker| {
            let refused = broker.transactional_producer("id", 60_000).unwrap_err();
            assert!(refused.kind() == Kind::Io && refused.to_string().contains(TRANSACTIONS_TOPIC), "{refused}");
            assert!(broker.warnings().iter().any(|warning| warning.starts_with("transactions:")));
        },
        |broker| assert_eq!(broker.transactional_producer("id", 60_000).map(drop).unwrap(), ()),
    );
}

#[test]
fn a_transaction_that_could_not_write_to_a_failed_partition_can_be_aborted() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Arc::new(DiskStorage::new(folder.path()));
    let broker = workload::open(&storage).unwrap();
    broker.create_topic("t", 2, workload::settings(&[])).unwrap();
    broker.close().unwrap();
    fs::remove_dir_all(folder.path().join("t-1")).unwrap();
    fs::write(folder.path().join("t-1"), "").unwrap();
    let broker = workload::open(&storage).unwrap();
    let producer = broker.transactional_producer("id", 60_000).unwrap();
    producer.begin().unwrap();
    let partitions = &broker.topic("t").unwrap().partitions;
    producer.append(&partitions[0], workload::values(["gone"]), Codec::None).unwrap();
    let refused = producer.append(&partitions[1], workload::values(["gone"]), Codec::None).unwrap_err();
    assert_eq!(refused.kind(), Kind::Io, "{refused}");
    assert!(producer.commit().is_err());
    producer.abort().unwrap();
    assert!(workload::read_committed(&partitions[0]).is_empty());
    broker.close().unwrap();
}
