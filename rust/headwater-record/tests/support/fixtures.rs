//! The segments that Kafka wrote (`tests/fixtures/segments`) and what is known to be in them.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::io::Read;
use std::path::PathBuf;

/// Every folder of the fixtures, without its `-0`.
pub(crate) const TOPICS: [&str; 12] = [
    "java-none",
    "java-gzip",
    "java-snappy",
    "java-lz4",
    "java-zstd",
    "java-append-time",
    "java-small-segments",
    "java-transactions",
    "librdkafka-gzip",
    "librdkafka-snappy",
    "librdkafka-lz4",
    "librdkafka-zstd",
];

/// A record as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) offset: u64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
    pub(crate) is_aborted: bool,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../headwater-record/tests/fixtures/segments")
}

/// The files of a partition folder with this ending, in order of name: name and contents.
pub(crate) fn files(topic: &str, ending: &str) -> Vec<(String, Vec<u8>)> {
    let folder = root().join(format!("{topic}-0"));
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .filter(|(name, _)| name.ends_with(ending))
        .collect();
    files.sort();
    files
}

/// What was sent to a topic, in order of offset.
pub(crate) fn sent(topic: &str) -> Vec<Sent> {
    let packed = std::fs::read(root().join(format!("{topic}.records.jsonl.gz"))).unwrap();
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(&packed[..]).read_to_string(&mut text).unwrap();
    text.lines().map(|line| record(&serde_json::from_str(line).unwrap())).collect()
}

fn record(line: &serde_json::Value) -> Sent {
    let headers = line["headers"].as_array().unwrap().iter();
    Sent {
        offset: line["offset"].as_u64().unwrap(),
        timestamp: line["timestamp"].as_i64().unwrap(),
        key: bytes(&line["key"]),
        value: bytes(&line["value"]),
        headers: headers.map(|pair| (pair[0].as_str().unwrap().to_owned(), bytes(&pair[1]))).collect(),
        is_aborted: line["aborted"].as_bool().unwrap_or(false),
    }
}

fn bytes(value: &serde_json::Value) -> Option<Vec<u8>> {
    let text = value.as_str()?;
    let digit = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => panic!("expected base64, got {text}"),
    };
    let mut out = Vec::new();
    for four in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits = four.iter().fold(0_u32, |bits, c| bits << 6 | u32::from(digit(*c))) << (6 * (4 - four.len()));
        out.extend_from_slice(&bits.to_be_bytes()[1..four.len()]);
    }
    Some(out)
}
