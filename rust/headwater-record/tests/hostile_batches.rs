//! The stable twin of the fuzz target `batch_decode`: bytes that were made to hurt neither panic nor allocate much.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "support/fixtures.rs"]
mod fixtures;
#[path = "support/hostile.rs"]
mod hostile;

use bytes::Bytes;
use headwater_record::{Batch, Codec};
use proptest::prelude::*;

/// The first batch that Kafka wrote in each codec.
fn corpus() -> Vec<Vec<u8>> {
    let topics =
        ["java-none", "java-gzip", "java-snappy", "java-lz4", "java-zstd", "librdkafka-snappy", "java-transactions"];
    let first = |topic: &&str| {
        let bytes = Bytes::from(fixtures::files(topic, ".log").remove(0).1);
        let size = Batch::split(&bytes).unwrap().0.header.size_bytes;
        bytes[..size].to_vec()
    };
    topics.iter().map(first).collect()
}

#[test]
fn the_corpus_itself_is_decoded() {
    for batch in corpus() {
        hostile::decode(&batch);
        assert_eq!(hostile::repaired(&batch), batch);
    }
}

#[test]
fn every_small_batch_survives_every_flip_and_every_cut() {
    let mut builder = headwater_record::BatchBuilder::new();
    builder.push(1_000, Some(b"key"), None, &[2, 2, b'a', 1]);
    builder.push(2_000, None, Some(b"value value value value"), b"");
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let batch = builder.clone().finish(codec).unwrap();
        for at in 0..batch.len() {
            hostile::decode(&batch[..at]);
            for bit in 0..8 {
                let mut flipped = batch.clone();
                flipped[at] ^= 1 << bit;
                hostile::decode(&flipped);
            }
        }
    }
}

proptest! {
    #[test]
    fn changed_batches_of_kafka(
        which in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        keep in any::<prop::sample::Index>(),
        cuts in any::<bool>(),
    ) {
        let corpus = corpus();
        let mut batch = which.get(&corpus).clone();
        for (at, byte) in changes {
            // Half of the changes go to the header and what follows at once: that is where the lengths are.
            let range = if byte % 2 == 0 { batch.len() } else { batch.len().min(100) };
            batch[at.index(range)] = byte;
        }
        if cuts {
            batch.truncate(keep.index(batch.len()));
        }
        hostile::decode(&batch);
    }

    #[test]
    fn any_bytes_behind_a_header(mut bytes in proptest::collection::vec(any::<u8>(), 61..400), codec in 0_u8..5) {
        bytes[21..23].copy_from_slice(&[0, codec]);
        bytes[23..27].copy_from_slice(&[0, 0, 0, 200]);
        bytes[57..61].copy_from_slice(&[0, 0, 0, 201]);
        hostile::decode(&bytes);
    }
}
