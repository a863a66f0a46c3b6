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

#[test]
fn a_wrong_offset_in_a_batch_that_is_otherwise_good_costs_that_batch_alone() {
    // Found by `changed_segments`: the batches behind one that claims a later offset were taken for a torn tail.
    let file = corpus().remove(1);
    for at in 1..9 {
        let mut data = file.clone();
        data[at] ^= 1;
        hostile::recover(&data);
        let storage = std::sync::Arc::new(headwater_log::storage::MemoryStorage::default());
        storage.put("t-0/00000000000000000000.log", data[1..].to_vec());
        let broker = workload::open(&storage).unwrap();
        let partition = broker.partition("t", 0).unwrap();
        // Batches of 50 records and a marker each; the last one is torn.
        assert_eq!(partition.next_offset(), 153, "byte {at}");
        assert!(partition.read(51, 1, headwater_log::Isolation::Uncommitted).is_ok());
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
