//! The stable twins of the fuzz targets `index_load` and `segment_recovery`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "../../headwater-record/tests/support/fixtures.rs"]
mod fixtures;
#[path = "support/hostile.rs"]
mod hostile;
#[path = "support/workload.rs"]
mod workload;

use headwater_record::Codec;
use proptest::prelude::*;

/// Two small segments of ours and the transactions that Kafka wrote, behind the byte that says where to cut.
fn corpus() -> Vec<Vec<u8>> {
    let mut ours = vec![128];
    for (first, codec) in [(0, Codec::None), (3, Codec::Lz4), (6, Codec::None), (9, Codec::None), (12, Codec::Zstd)] {
        let mut batch = workload::batch(first, 3, codec);
        batch[..8].copy_from_slice(&first.to_be_bytes());
        ours.extend_from_slice(&batch);
    }
    let mut kafka = vec![255];
    kafka.extend(fixtures::files("java-transactions", ".log").into_iter().flat_map(|(_, bytes)| bytes).take(4_000));
    vec![ours, kafka]
}

#[test]
fn the_corpus_itself_is_recovered() {
    for file in corpus() {
        hostile::recover(&file);
    }
}

proptest! {
    #[test]
    fn any_bytes_as_indexes(data in proptest::collection::vec(any::<u8>(), 0..96)) {
        hostile::load_indexes(&data);
    }

    #[test]
    fn plausible_indexes(mut words in proptest::collection::vec(0_u32..4_000, 0..24)) {
        words.sort_unstable();
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        hostile::load_indexes(&bytes);
    }

    #[test]
    fn changed_segments(
        which in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..5),
        moved in proptest::option::of((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1_usize..200)),
    ) {
        let mut data = which.get(&corpus()).clone();
        for (at, byte) in changes {
            let at = at.index(data.len());
            data[at] = byte;
        }
        // Bytes of one place at another: a misdirected write, or a stale sector.
        if let Some((from, to, length)) = moved {
            let (from, to) = (from.index(data.len()), to.index(data.len()));
            let length = length.min(data.len() - from.max(to));
            data.copy_within(from..from + length, to);
        }
        hostile::recover(&data);
    }
}
