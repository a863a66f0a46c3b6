//! Any bytes as operations on a log, and failures of its storage: it holds what a naive list holds.
#![no_main]

#[path = "../../rust/headwater-log/tests/support/compacted.rs"]
mod compacted;
#[path = "../../rust/headwater-log/tests/support/operations.rs"]
mod operations;

libfuzzer_sys::fuzz_target!(|data: &[u8]| operations::run(data));
