//! Any bytes as records of `__transaction_state`: understood the same each time, and no decision is lost.
#![no_main]

#[path = "../../rust/headwater-log/tests/support/hostile_producers.rs"]
mod hostile_producers;

libfuzzer_sys::fuzz_target!(|data: &[u8]| hostile_producers::load_transactions(data));
