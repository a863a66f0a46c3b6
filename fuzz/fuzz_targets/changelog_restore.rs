//! Any bytes as rows of a changelog: restored twice alike, and only what would be written.
#![no_main]

#[path = "../../rust/headwater-state/tests/support/hostile_changelog.rs"]
mod hostile_changelog;

libfuzzer_sys::fuzz_target!(|data: &[u8]| hostile_changelog::restore(data));
