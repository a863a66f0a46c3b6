//! Any bytes as a snapshot of producers or an index of aborted transactions: what is read is what the log says.
#![no_main]

#[path = "../../rust/headwater-log/tests/support/hostile_producers.rs"]
mod hostile_producers;

libfuzzer_sys::fuzz_target!(|data: &[u8]| hostile_producers::load_producers(data));
