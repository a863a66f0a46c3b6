//! Any bytes as a partition's folder: recovered without a panic, twice with the same result, read to the end.
#![no_main]

#[path = "../../rust/headwater-log/tests/support/hostile.rs"]
mod hostile;

libfuzzer_sys::fuzz_target!(|data: &[u8]| hostile::recover(data));
