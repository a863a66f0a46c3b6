//! Any bytes as index files: refused, or exactly what would be written.
#![no_main]

#[path = "../../rust/headwater-log/tests/support/hostile.rs"]
mod hostile;

libfuzzer_sys::fuzz_target!(|data: &[u8]| hostile::load_indexes(data));
