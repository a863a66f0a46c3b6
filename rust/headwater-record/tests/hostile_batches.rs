//! The stable twins of the fuzz targets `batch_decode` and `batch_filter`: bytes that were made to hurt neither panic nor
//! allocate much, and a part of a batch is a part of it.
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

/// The files that the fuzz target of that name begins with.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = format!("{}/../../fuzz/seeds/{target}", env!("CARGO_MANIFEST_DIR"));
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let seeds: Vec<_> = paths.map(|path| std::fs::read(path).unwrap()).collect();
    assert!(!seeds.is_empty(), "no seeds of {target}");
    seeds
}

#[test]
fn the_seeds_are_decoded_and_filtered() {
    seeds("batch_decode").iter().for_each(|seed| hostile::decode(seed));
    seeds("batch_filter").iter().for_each(|seed| hostile::filter(seed));
}

/// Small batches of ours, in every codec, behind the bytes that choose.
fn filtered_seeds() -> Vec<Vec<u8>> {
    let mut builder = headwater_record::BatchBuilder::new();
    for number in 0..5_u8 {
        let value = (number != 3).then_some([number; 30]);
        builder.push(1_000 + i64::from(number), Some(&[number % 2]), value.as_ref().map(|v| &v[..]), &[2, 2, b'a', 1]);
    }
    let codecs = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
    let batch = |codec| builder.clone().finish(codec).unwrap();
    codecs.into_iter().map(|codec| [&[0x55; 8][..], &[codec.id() as u8], &batch(codec)].concat()).collect()
}

/// Writes the seeds of `batch_filter`, when a format has changed:
/// `HEADWATER_WRITE_SEEDS=1 cargo test -p headwater-record --test hostile_batches write_the_seeds -- --ignored`.
#[test]
#[ignore = "writes into the repository"]
fn write_the_seeds() {
    if std::env::var_os("HEADWATER_WRITE_SEEDS").is_none() {
        return;
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/batch_filter");
    std::fs::create_dir_all(folder).unwrap();
    for (seed, name) in filtered_seeds().iter().zip(["none", "gzip", "snappy", "lz4", "zstd"]) {
        std::fs::write(format!("{folder}/{name}"), seed).unwrap();
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
    fn a_part_of_a_changed_batch_is_a_part_of_it(
        seed in prop::sample::select(filtered_seeds()),
        mask in any::<u64>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut data = seed;
        data[..8].copy_from_slice(&mask.to_be_bytes());
        for (at, byte) in changes {
            let at = at.index(data.len());
            data[at] = byte;
        }
        hostile::filter(&data);
    }

    #[test]
    fn any_bytes_behind_a_header(mut bytes in proptest::collection::vec(any::<u8>(), 61..400), codec in 0_u8..5) {
        bytes[21..23].copy_from_slice(&[0, codec]);
        bytes[23..27].copy_from_slice(&[0, 0, 0, 200]);
        bytes[57..61].copy_from_slice(&[0, 0, 0, 201]);
        hostile::decode(&bytes);
    }
}
