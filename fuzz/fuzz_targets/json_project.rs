//! Any bytes as JSON lines: what the projector claims to know is what a complete decoder says.
#![no_main]

#[path = "../../rust/headwater-state/tests/support/hostile.rs"]
mod hostile;

libfuzzer_sys::fuzz_target!(|data: &[u8]| hostile::project(data));
