//! Any bytes as a committed offset: understood the same each time, or passed over.
#![no_main]

#[path = "../../rust/headwater-log/tests/support/hostile.rs"]
mod hostile;

libfuzzer_sys::fuzz_target!(|data: &[u8]| hostile::load_offsets(data));
