//! A batch of some records of any bytes: those records as they were, in the same place.
#![no_main]

#[path = "../../rust/headwater-record/tests/support/hostile.rs"]
mod hostile;

libfuzzer_sys::fuzz_target!(|data: &[u8]| hostile::filter(data));
