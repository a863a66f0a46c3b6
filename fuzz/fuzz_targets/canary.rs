//! Crashes by design, four bytes deep: a set-up that does not find that within seconds finds nothing else either.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // One byte after the other, so that only a fuzzer that is guided by what it has reached gets there.
    let mark = b"HWMK";
    let alike = mark.iter().zip(data).take_while(|(one, other)| one == other).count();
    assert!(alike < mark.len(), "the canary: found, as it must be");
});
