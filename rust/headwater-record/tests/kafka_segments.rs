//! Bytes that Kafka wrote are read exactly as what was sent.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "support/fixtures.rs"]
mod fixtures;

use bytes::Bytes;
use fixtures::{Sent, TOPICS};
use headwater_record::{Batch, BatchBuilder, Codec, ProducerFields, TimestampType, varint};

fn batches(topic: &str) -> Vec<Batch> {
    let mut found = Vec::new();
    for (_, contents) in fixtures::files(topic, ".log") {
        let mut rest = Bytes::from(contents);
        while !rest.is_empty() {
            let (batch, tail) = Batch::split(&rest).unwrap();
            batch.verify().unwrap();
            found.push(batch);
            rest = tail;
        }
    }
    found
}

fn headers(mut raw: &[u8]) -> Vec<(String, Option<Vec<u8>>)> {
    let count = varint::take(&mut raw).unwrap();
    let mut field = || {
        let length = varint::take(&mut raw).unwrap();
        let (field, rest) = raw.split_at(usize::try_from(length).ok()?);
        raw = rest;
        Some(field.to_vec())
    };
    (0..count).map(|_| (String::from_utf8(field().unwrap()).unwrap(), field())).collect()
}

#[test]
fn every_record_is_read_as_it_was_sent() {
    for topic in TOPICS {
        let mut read = Vec::new();
        for batch in batches(topic).iter().filter(|batch| !batch.header.is_control()) {
            let records = batch.records().unwrap();
            assert_eq!(records.iter().count(), batch.header.records_count as usize);
            read.extend(records.iter().map(|record| {
                let record = record.unwrap();
                Sent {
                    offset: record.offset,
                    timestamp: record.timestamp,
                    key: record.key.map(<[u8]>::to_vec),
                    value: record.value.map(<[u8]>::to_vec),
                    headers: headers(record.headers),
                    is_aborted: false,
                }
            }));
        }
        let mut sent = fixtures::sent(topic);
        sent.iter_mut().for_each(|record| record.is_aborted = false);
        assert_eq!(read.len(), sent.len(), "{topic}");
        for (read, sent) in read.iter().zip(&sent) {
            assert_eq!(read, sent, "{topic}");
        }
    }
}

#[test]
fn timestamps_of_the_log_are_known_as_such() {
    for (topic, expected) in
        [("java-none", TimestampType::CreateTime), ("java-append-time", TimestampType::LogAppendTime)]
    {
        assert!(batches(topic).iter().all(|batch| batch.header.timestamp_type() == expected), "{topic}");
    }
}

#[test]
fn an_uncompressed_batch_built_again_is_the_same_to_the_byte() {
    for topic in ["java-none", "java-small-segments"] {
        for batch in batches(topic) {
            let header = batch.header;
            let mut builder = BatchBuilder::new();
            for record in &batch.records().unwrap() {
                let record = record.unwrap();
                builder.push(record.timestamp, record.key, record.value, record.headers);
            }
            let producer = ProducerFields {
                id: header.producer_id,
                epoch: header.producer_epoch,
                base_sequence: header.base_sequence,
                is_transactional: header.is_transactional(),
            };
            let again = builder.finish_as(Codec::None, producer).unwrap();
            let (again, _) = Batch::split(&again.into()).unwrap();
            assert_eq!(again.header.checksum, header.checksum, "{topic} at offset {}", header.base_offset);
        }
    }
}

#[test]
fn every_codec_of_the_fixtures_is_there() {
    for (topic, codec) in [
        ("java-none", Codec::None),
        ("java-gzip", Codec::Gzip),
        ("java-snappy", Codec::Snappy),
        ("java-lz4", Codec::Lz4),
        ("java-zstd", Codec::Zstd),
        ("librdkafka-snappy", Codec::Snappy),
    ] {
        assert!(batches(topic).iter().all(|batch| batch.header.codec() == codec), "{topic}");
    }
}
