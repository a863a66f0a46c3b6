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
use headwater_record::Codec;

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
