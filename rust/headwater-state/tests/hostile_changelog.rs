//! The stable twin of the fuzz target `changelog_restore`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "support/hostile_changelog.rs"]
mod hostile;

use hostile::Entry;
use proptest::prelude::*;

/// Rows that are written, of every kind of store: a value, a count, an aggregation with and without its group's rows, a join.
fn good() -> Vec<(&'static str, Vec<u8>)> {
    let bytes = [&[0][..], b"value"].concat();
    let count = [&[1][..], &7_i64.to_be_bytes()].concat();
    let folded = [&[2, 0, 2][..], &[0; 33], &[1; 33]].concat();
    let grouped = [&folded[..], &[0, 0, 0, 3], b"row", &[0, 0, 0, 0]].concat();
    let window = |key: &str, words: &[i64]| {
        [key.as_bytes(), &words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>()].concat()
    };
    let entries = |key: &dyn Fn(&str) -> Vec<u8>, value: &[u8]| -> Vec<Entry> {
        vec![(key("a"), Some(value.to_vec()), 5), (key("b"), Some(bytes.clone()), 6), (key("a"), None, 0)]
    };
    let plain = |key: &str| key.as_bytes().to_vec();
    let start = |key: &str| window(key, &[60_000]);
    let session = |key: &str| window(key, &[90, 60]);
    let joined: Vec<Entry> = vec![
        (b"b\x01k".to_vec(), Some(b"left".to_vec()), 5),
        (b"b\x00k".to_vec(), Some(b"right".to_vec()), 25),
        (window("u\x01k", &[5]), Some([&[0, 0, 0, 4][..], b"left"].concat()), 5),
        (window("u\x00k", &[25]), None, 25),
    ];
    vec![
        ("values", hostile::to_bytes(0, &entries(&plain, &bytes))),
        ("windows", hostile::to_bytes(1, &entries(&start, &count))),
        ("sessions", hostile::to_bytes(2, &entries(&session, &count))),
        ("aggregations", hostile::to_bytes(4, &entries(&start, &folded))),
        ("groups", hostile::to_bytes(6, &entries(&plain, &grouped))),
        ("join", hostile::to_bytes(9, &joined)),
    ]
}

fn folder() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/changelog_restore").to_owned()
}

#[test]
fn the_seeds_are_restored() {
    let seeds: Vec<_> = std::fs::read_dir(folder()).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(seeds.len() >= good().len(), "{seeds:?}");
    seeds.iter().for_each(|path| hostile::restore(&std::fs::read(path).unwrap()));
}

/// Writes the seeds, when a format has changed:
/// `HEADWATER_WRITE_SEEDS=1 cargo test -p headwater-state --test hostile_changelog write_the_seeds -- --ignored`.
#[test]
#[ignore = "writes into the repository"]
fn write_the_seeds() {
    if std::env::var_os("HEADWATER_WRITE_SEEDS").is_none() {
        return;
    }
    std::fs::create_dir_all(folder()).unwrap();
    for (name, bytes) in good() {
        std::fs::write(format!("{}/{name}", folder()), bytes).unwrap();
    }
}

#[test]
fn every_changed_byte_and_every_cut_is_refused_or_is_what_would_be_written() {
    for (_, good) in good() {
        for at in 0..good.len() {
            hostile::restore(&good[..at]);
            for bit in 0..8 {
                let mut changed = good.clone();
                changed[at] ^= 1 << bit;
                hostile::restore(&changed);
            }
        }
    }
}

#[test]
fn what_is_restored_keeps_no_read_buffer() {
    use bytes::Bytes;
    use headwater_state::row::Row;
    for (which, key_bytes) in [(0_u8, 1), (1, 9), (2, 17), (6, 1)] {
        let mut store = hostile::store(which);
        let value =
            if which == 6 { [&[2, 0, 2][..], &[0; 66], &[0, 0, 0, 3], b"row"].concat() } else { b"\0value".to_vec() };
        let buffer = Bytes::from([&vec![0; key_bytes][..], &value].concat());
        let (key, value) = (Some(buffer.slice(..key_bytes)), Some(buffer.slice(key_bytes..)));
        let rows = [Row { key, value, ..Row::default() }];
        assert!(headwater_state::changelog::restore_store(&mut store, &rows));
        drop(rows);
        assert_eq!(store.len(), 1);
        assert!(buffer.is_unique(), "a store of kind {which} holds on to what it was restored from");
    }
}

proptest! {
    #[test]
    fn any_bytes_as_rows(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        hostile::restore(&data);
    }

    #[test]
    fn rows_of_one_store_in_another(which in any::<u8>(), seed in 0_usize..6, more in 0_usize..6) {
        let mut data = good()[seed].1.clone();
        data.extend_from_slice(&good()[more].1[1..]);
        data[0] = which;
        hostile::restore(&data);
    }
}
