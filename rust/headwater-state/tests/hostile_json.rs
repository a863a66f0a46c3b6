//! The stable twin of the fuzz target `json_project`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "support/hostile.rs"]
mod hostile;

use proptest::prelude::*;

#[test]
fn the_seeds_are_projected_as_a_decoder_reads_them() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/json_project");
    let mut seeds = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        hostile::project(&std::fs::read(file.unwrap().path()).unwrap());
        seeds += 1;
    }
    assert!(seeds > 3, "{seeds} seeds");
}

/// Pieces of which objects, and what is nearly one, are made.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "{",
            "}",
            ",",
            ":",
            "\"a\":",
            "\"b\":",
            "\"c\":",
            "\"d\":",
            "\"e\":",
            "1",
            "-0",
            "9223372036854775807",
            "1e3",
            "0.5",
            "1E400",
            "-1.5e-7",
            "true",
            "false",
            "null",
            "\"x\"",
            "\"\\u00e9\"",
            "\"é\"",
            "[",
            "]",
            "[1,{}]",
            " ",
            "\n",
            "\t",
            "{\"a\":1}",
            "{\"a\":1,\"b\":2.5}",
            "01",
            "1.",
            "+1",
            "\"a\"",
            "\"",
            "\\",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 1..3),
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn whatever_looks_like_json_is_read_as_a_decoder_reads_it(data in pieces()) {
        hostile::project(&data);
    }

    #[test]
    fn objects_with_a_changed_byte(a in any::<i64>(), b in any::<f64>(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut line = format!("{{\"a\":{a},\"b\":{b:?},\"c\":\"text\",\"e\":[{{}},\"\\n\"],\"d\":true}}").into_bytes();
        let mut data = line.clone();
        let at = at.index(line.len());
        line[at] = byte;
        data.push(b'\n');
        data.extend_from_slice(&line);
        hostile::project(&data);
    }
}
