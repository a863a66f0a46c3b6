//! Kafka's own DumpLogSegments finds every batch that we write valid, in every codec.
//!
//! It needs Kafka's jars: `HEADWATER_KAFKA_CLASSPATH=jar:jar cargo test -p headwater-record --test kafka_reads_ours`
//! (docs/format.md says where they come from). Without them our own reader is asked instead, which proves less.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use bytes::Bytes;
use headwater_record::{Batch, BatchBuilder, Codec, ControlType, Marker, ProducerFields, varint};

fn headers(count: i64) -> Vec<u8> {
    let mut out = Vec::new();
    varint::put(&mut out, count);
    for index in 0..count {
        varint::put(&mut out, 1);
        out.push(b'a' + (index % 2) as u8);
        if index == 1 {
            varint::put(&mut out, -1);
        } else {
            varint::put(&mut out, 3);
            out.extend_from_slice(b"one");
        }
    }
    out
}

/// A segment with small, large, empty and compressible batches of every codec, and a transaction's end.
fn segment() -> Vec<u8> {
    let mut out = Vec::new();
    let mut next = 0_u64;
    let mut add = |mut batch: Vec<u8>, count: u64| {
        batch[..8].copy_from_slice(&next.to_be_bytes());
        next += count;
        out.extend_from_slice(&batch);
    };
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        for count in [1_u64, 100, 3_000] {
            let mut batch = BatchBuilder::new();
            for index in 0..count {
                let value =
                    format!("{{\"ride\": {index}, \"zone\": {}}}", index * index % 263).repeat(1 + index as usize % 3);
                let key = (index % 5 != 0).then(|| index.to_be_bytes());
                let value = (index % 7 != 0).then_some(value.as_bytes());
                let raw = if index % 11 == 0 { headers(3) } else { Vec::new() };
                batch.push(1_700_000_000_000 - index as i64 * 37 % 3_000, key.as_ref().map(|k| &k[..]), value, &raw);
            }
            add(batch.finish(codec).unwrap(), count);
        }
        let mut batch = BatchBuilder::new();
        batch.push(5, Some(b""), Some(b""), b"");
        let producer = ProducerFields { id: 7, epoch: 1, base_sequence: codec.id().into(), is_transactional: true };
        add(batch.finish_as(codec, producer).unwrap(), 1);
    }
    add(Marker { kind: ControlType::Commit, coordinator_epoch: 0 }.to_batch(7, 1, 6), 1);
    out
}

#[test]
fn every_batch_we_write_is_valid() {
    let bytes = segment();
    let mut rest = Bytes::from(bytes.clone());
    let (mut batches, mut records) = (0, 0);
    while !rest.is_empty() {
        let (batch, tail) = Batch::split(&rest).unwrap();
        batch.verify().unwrap();
        records += batch.records().unwrap().iter().map(Result::unwrap).count();
        batches += 1;
        rest = tail;
    }
    assert_eq!((batches, records), (21, 5 * 3_102 + 1));

    let Ok(classpath) = std::env::var("HEADWATER_KAFKA_CLASSPATH") else { return };
    let folder = std::env::temp_dir().join(format!("headwater-dump-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("00000000000000000000.log");
    std::fs::write(&file, bytes).unwrap();
    let dump = std::process::Command::new("java")
        .args([
            "-cp",
            &classpath,
            "org.apache.kafka.tools.DumpLogSegments",
            "--deep-iteration",
            "--print-data-log",
            "--files",
        ])
        .arg(&file)
        .output()
        .unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let text = String::from_utf8_lossy(&dump.stdout);
    assert!(dump.status.success(), "{text}{}", String::from_utf8_lossy(&dump.stderr));
    assert_eq!(text.matches("isvalid: true").count(), batches, "{text}");
    assert_eq!(text.matches("isvalid: false").count(), 0, "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("| offset:")).count(), records, "{text}");
}
