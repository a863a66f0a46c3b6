//! The stable twins of the fuzz targets `index_load`, `segment_recovery`, `offsets_load`, `small_files_load`,
//! `transactions_load` and `producers_load`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "../../headwater-record/tests/support/fixtures.rs"]
mod fixtures;
#[path = "support/hostile.rs"]
mod hostile;
#[path = "support/hostile_producers.rs"]
mod hostile_producers;
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

/// The files that the fuzz target of that name begins with.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = format!("{}/../../fuzz/seeds/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no seeds of {target}");
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

#[test]
fn the_seeds_are_loaded() {
    seeds("index_load").iter().for_each(|seed| hostile::load_indexes(seed));
    seeds("segment_recovery").iter().for_each(|seed| hostile::recover(seed));
    seeds("offsets_load").iter().for_each(|seed| hostile::load_offsets(seed));
    seeds("small_files_load").iter().for_each(|seed| hostile::load_small_files(seed));
    seeds("transactions_load").iter().for_each(|seed| hostile_producers::load_transactions(seed));
    seeds("producers_load").iter().for_each(|seed| hostile_producers::load_producers(seed));
}

/// A seed of a target with some bytes changed, and perhaps cut.
fn changed(target: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<u8>());
    let changes = proptest::collection::vec(change, 0..5);
    (prop::sample::select(seeds(target)), changes, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(mut data, changes, keep, cuts)| {
            for (at, byte) in changes {
                let at = at.index(data.len());
                data[at] = byte;
            }
            if cuts {
                data.truncate(1 + keep.index(data.len()));
            }
            data
        },
    )
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

#[test]
fn every_changed_byte_beside_a_segment_leaves_what_is_known_of_producers_as_it_is() {
    // Found by `producers_load`: a snapshot that is good in itself, but not the one that was written here, was believed.
    for is_closed in [false, true] {
        let log = hostile_producers::numbered(is_closed);
        for (which, path) in log.beside.iter().enumerate() {
            for position in 0..log.files[path].len() {
                let flags = u8::from(is_closed);
                hostile_producers::load_producers(&[flags, which as u8, position as u8, 1]);
                if path.ends_with(".snapshot") {
                    hostile_producers::load_producers(&[flags | 4, which as u8, position as u8, 1]);
                }
            }
        }
    }
}

#[test]
fn of_two_ids_with_one_producer_the_later_decides_and_the_largest_id_is_the_last() {
    // Found by `transactions_load`: which of two it was taken for was chance; behind the largest id came a negative one.
    let (_, value) = hostile_producers::decision(true);
    let key = [&[0, 0, 0, 5][..], b"other"].concat();
    let record = |value: &[u8]| [&[key.len() as u8, value.len() as u8], &key[..], value].concat();
    for commits in [0, 1] {
        for status in 0..8 {
            let mut claimed = value.clone();
            claimed[16] = status;
            for epoch in [0, 1, 9] {
                claimed[11] = epoch;
                hostile_producers::load_transactions(&[&[commits][..], &record(&claimed)].concat());
            }
            claimed[2..10].copy_from_slice(&i64::MAX.to_be_bytes());
            hostile_producers::load_transactions(&[&[commits][..], &record(&claimed)].concat());
        }
    }
}

/// Writes the seeds, when a format has changed:
/// `HEADWATER_WRITE_SEEDS=1 cargo test -p headwater-log --test hostile_files write_the_seeds -- --ignored`.
#[test]
#[ignore = "writes into the repository"]
fn write_the_seeds() {
    if std::env::var_os("HEADWATER_WRITE_SEEDS").is_none() {
        return;
    }
    let write = |target: &str, name: &str, bytes: Vec<u8>| {
        let folder = format!("{}/../../fuzz/seeds/{target}", env!("CARGO_MANIFEST_DIR"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(format!("{folder}/{name}"), bytes).unwrap();
    };
    let [ours, kafka] = corpus().try_into().unwrap();
    write("segment_recovery", "ours", ours);
    write("segment_recovery", "kafka", kafka);
    let (_, index) = fixtures::files("java-none", ".index").remove(0);
    write("index_load", "kafka", index);
    write(
        "index_load",
        "times",
        [5_i64.to_be_bytes().as_slice(), &0_u32.to_be_bytes(), &9_i64.to_be_bytes(), &3_u32.to_be_bytes()].concat(),
    );
    let storage = std::sync::Arc::new(headwater_log::storage::MemoryStorage::default());
    let broker = workload::open(&storage).unwrap();
    let topic = broker.create_topic("t", 1, workload::settings(&[("segment.bytes", "1024")])).unwrap();
    for number in 0..8 {
        topic.partitions[0].append(workload::batch(number * 3, 3, Codec::None)).unwrap();
    }
    broker.commit_offsets("group", &[("t".into(), 0, 12, "metadata".into())]).unwrap();
    let log = broker.partition(headwater_log::OFFSETS_TOPIC, 0).unwrap();
    let fetched = log.read(0, 1 << 20, headwater_log::Isolation::Uncommitted).unwrap();
    for record in &fetched.batches[0].records().unwrap() {
        let record = record.unwrap();
        let (key, value) = (record.key.unwrap(), record.value.unwrap());
        let cut = (key.len() * 255).div_ceil(key.len() + value.len()) as u8;
        write("offsets_load", "ours", [&[cut], key, value].concat());
    }
    broker.close().unwrap();
    for (which, name) in ["t-0/headwater.checkpoint", "t-0/headwater.mark", "headwater.json"].iter().enumerate() {
        let bytes = storage.contents()[*name].clone();
        write("small_files_load", &name.replace(['/', '.'], "_"), [vec![which as u8], bytes].concat());
    }
    for commits in [true, false] {
        let (key, mut value) = hostile_producers::decision(!commits);
        let sizes = [key.len() as u8, value.len() as u8];
        let own = [&[u8::from(!commits)], &sizes[..], &key, &value].concat();
        write("transactions_load", if commits { "committed" } else { "aborted" }, own);
        // Another id that claims the same producer.
        let key = [&[0, 0, 0, 5][..], b"other"].concat();
        value[11] = 9;
        let sizes = [key.len() as u8, value.len() as u8];
        write(
            "transactions_load",
            &format!("claimed_{commits}"),
            [&[u8::from(!commits)], &sizes[..], &key, &value].concat(),
        );
    }
    for (closed, name) in [(0, "killed"), (1, "closed")] {
        let log = hostile_producers::numbered(closed == 1);
        for end in ["snapshot", "txnindex"] {
            let which = log.beside.iter().rposition(|path| path.ends_with(end)).unwrap();
            let bytes = &log.files[&log.beside[which]];
            write("producers_load", &format!("{name}_{end}"), [&[closed | 2, which as u8, 0], &bytes[..]].concat());
        }
    }
    if let Some((_, bytes)) = storage.contents().into_iter().find(|(path, _)| path.ends_with(".snapshot")) {
        write("small_files_load", "snapshot", [vec![3], bytes].concat());
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
    fn changed_offsets(data in changed("offsets_load")) {
        hostile::load_offsets(&data);
    }

    #[test]
    fn changed_small_files(data in changed("small_files_load")) {
        hostile::load_small_files(&data);
    }

    #[test]
    fn changed_transactions(data in changed("transactions_load")) {
        hostile_producers::load_transactions(&data);
    }

    #[test]
    fn changed_producers(data in changed("producers_load")) {
        hostile_producers::load_producers(&data);
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
