//! The stable twin of the fuzz target `log_operations`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "support/compacted.rs"]
mod compacted;
#[path = "support/operations.rs"]
mod operations;

use proptest::prelude::*;

#[test]
fn the_seeds_are_done() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/log_operations");
    let seeds: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(seeds.len() >= 3, "{seeds:?}");
    seeds.iter().for_each(|path| operations::run(&std::fs::read(path).unwrap()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn whatever_is_done_to_a_log_it_holds_what_a_naive_list_holds(data in proptest::collection::vec(any::<u8>(), 0..96)) {
        operations::run(&data);
    }
}
