//! Kafka's own DumpLogSegments reads the folders that we write: every batch valid, indexes consistent, offsets decoded.
//!
//! It needs Kafka's jars: `HEADWATER_KAFKA_CLASSPATH=jar:jar cargo test -p headwater-log --test kafka_reads_ours`
//! (docs/format.md says where they come from). Without them our own reader is asked instead, which proves less.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "support/workload.rs"]
mod workload;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use headwater_log::storage::DiskStorage;
use headwater_record::{BatchBuilder, Codec, ProducerFields};

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| {
        path.extension().is_some_and(|ending| ending == "log" || ending == "index" || ending == "timeindex")
    });
    files.sort();
    files
}

fn dump(classpath: &str, arguments: &[&str], files: &[PathBuf]) -> String {
    let files: Vec<&str> = files.iter().map(|path| path.to_str().unwrap()).collect();
    let output = std::process::Command::new("java")
        .args(["-cp", classpath, "org.apache.kafka.tools.DumpLogSegments"])
        .args(arguments)
        .args(["--files", &files.join(",")])
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    format!("{out}{err}")
}

#[test]
fn a_whole_folder_is_consistent() {
    let directory = tempfile::tempdir().unwrap();
    let storage = Arc::new(DiskStorage::new(directory.path()));
    let broker = workload::open(&storage).unwrap();
    let settings = workload::settings(&[("segment.bytes", "20000"), ("index.interval.bytes", "1000")]);
    let partition = Arc::clone(&broker.create_topic("t", 1, settings).unwrap().partitions[0]);
    let codecs = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
    for step in 0..200_u64 {
        let batch = workload::batch(partition.next_offset(), 1 + step % 40, codecs[step as usize % 5]);
        partition.append(batch).unwrap();
    }
    broker
        .commit_offsets("billing", &[("t".into(), 0, 42, "a note".into()), ("u".into(), 3, 7, String::new())])
        .unwrap();
    broker.close().unwrap();
    let broker = workload::open(&storage).unwrap();
    assert_eq!(workload::read_all(&broker.partition("t", 0).unwrap()).len() as u64, partition.next_offset());
    broker.close().unwrap();

    let Ok(classpath) = std::env::var("HEADWATER_KAFKA_CLASSPATH") else { return };
    let of_topic = files(&directory.path().join("t-0"));
    assert!(of_topic.len() > 9, "{of_topic:?}");
    let text = dump(&classpath, &["--deep-iteration"], &of_topic);
    assert_eq!(text.matches("isvalid: true").count(), 200, "{text}");
    for bad in ["isvalid: false", "Mismatches", "mismatch", "out of order", "Found timestamp", "not found", "corrupt"] {
        assert!(!text.contains(bad), "{bad}: {text}");
    }
    let text = dump(&classpath, &["--verify-index-only"], &of_topic);
    assert!(!text.to_lowercase().contains("mismatch"), "{text}");
    let text = dump(&classpath, &["--offsets-decoder"], &files(&directory.path().join("__consumer_offsets-0"))[1..2]);
    for part in
        ["\"group\":\"billing\"", "\"topic\":\"t\"", "\"offset\":42", "\"metadata\":\"a note\"", "\"partition\":3"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// Keys that are overwritten and taken back, in all codecs, an idempotent producer, a committed and an aborted transaction.
fn fill_compacted(broker: &headwater_log::Broker, partition: &Arc<headwater_log::Partition>) {
    let batch = |first: u64| {
        let mut builder = BatchBuilder::new();
        for n in first..first + 7 {
            let value = (n % 9 != 8).then(|| workload::value(n));
            builder.push(
                n as i64,
                Some(format!("key {}", n % 31).as_bytes()),
                value.as_deref().map(str::as_bytes),
                b"",
            );
        }
        builder
    };
    let codecs = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
    if partition.next_offset() == 0 {
        let idempotent = ProducerFields { id: 77, epoch: 0, base_sequence: 0, is_transactional: false };
        partition.append(batch(0).finish_as(Codec::Zstd, idempotent).unwrap()).unwrap();
    }
    for step in 0..100_u64 {
        let codec = codecs[step as usize % 5];
        partition.append(batch(partition.next_offset()).finish(codec).unwrap()).unwrap();
        if step % 40 == 20 {
            let producer = broker.transactional_producer("loader", 60_000).unwrap();
            producer.begin().unwrap();
            producer.append(partition, batch(partition.next_offset()), codec).unwrap();
            if step == 20 { producer.commit().unwrap() } else { producer.abort().unwrap() }
        }
    }
}

#[test]
fn a_compacted_folder_is_consistent() {
    let directory = tempfile::tempdir().unwrap();
    let storage = Arc::new(DiskStorage::new(directory.path()));
    let broker = workload::open(&storage).unwrap();
    let settings = [("cleanup.policy", "compact"), ("segment.bytes", "4000"), ("index.interval.bytes", "200")];
    let partition = Arc::clone(&broker.create_topic("t", 1, workload::settings(&settings)).unwrap().partitions[0]);
    fill_compacted(&broker, &partition);
    for now in [1_000, 2_000] {
        partition.compact(now, true).unwrap();
    }
    let kept: Vec<u64> = workload::read_around(&partition, 0).into_keys().collect();
    assert_eq!(kept.len(), 31);
    fill_compacted(&broker, &partition);
    broker.close().unwrap();
    let report = headwater_log::verify(&*storage).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);

    let Ok(classpath) = std::env::var("HEADWATER_KAFKA_CLASSPATH") else { return };
    let of_topic = files(&directory.path().join("t-0"));
    let text = dump(&classpath, &["--deep-iteration"], &of_topic);
    for bad in ["isvalid: false", "Mismatches", "mismatch", "out of order", "Found timestamp", "not found", "corrupt"] {
        assert!(!text.contains(bad), "{bad}: {text}");
    }
    // What is left is where it was, tombstones say when they may go, and a producer's last batch is there without records.
    for offset in kept {
        assert!(text.contains(&format!("| offset: {offset} ")), "{offset}: {text}");
    }
    for part in ["deleteHorizonMs: OptionalLong[", "count: 0 ", "endTxnMarker: ABORT"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let text = dump(&classpath, &["--verify-index-only"], &of_topic);
    assert!(!text.to_lowercase().contains("mismatch"), "{text}");
}
