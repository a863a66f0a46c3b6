//! Any bytes as a record batch: no panic, no allocation beyond the bound, no record outside of its batch.
#![no_main]

#[path = "../../rust/headwater-record/tests/support/hostile.rs"]
mod hostile;

libfuzzer_sys::fuzz_target!(|data: &[u8]| hostile::decode(data));
