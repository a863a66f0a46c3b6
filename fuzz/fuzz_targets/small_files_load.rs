//! Any bytes as a checkpoint, a mark, a list of topics or a snapshot: no panic, and no record that is not there.
#![no_main]

#[path = "../../rust/headwater-log/tests/support/hostile.rs"]
mod hostile;

libfuzzer_sys::fuzz_target!(|data: &[u8]| hostile::load_small_files(data));
