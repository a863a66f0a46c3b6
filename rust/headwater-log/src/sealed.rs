//! Small JSON files that carry their own checksum: the list of topics and a partition's checkpoint.
//!
//! `{"format": 1, "checksum": "crc32c:1a2b3c4d", "body": ...}`: the checksum is that of the body as `serde_json` writes it
//! without spaces. People can read the file, and a flipped bit is not taken for a setting.

use serde_json::{Value, json};

/// Why a file is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Written by a later version.
    Format(u64),
    /// Not what was written.
    Damaged(String),
}

/// The bytes of a file.
pub(crate) fn seal(format: u64, body: &Value) -> Vec<u8> {
    let file = json!({"format": format, "checksum": checksum(body), "body": body});
    serde_json::to_vec_pretty(&file).expect("plain data")
}

/// The body of a file of a format that is known.
pub(crate) fn unseal(format: u64, bytes: &[u8]) -> Result<Value, Broken> {
    let mut file: Value = serde_json::from_slice(bytes).map_err(|error| Broken::Damaged(error.to_string()))?;
    match file.get("format").and_then(Value::as_u64) {
        Some(found) if found == format => {}
        Some(found) if found > format => return Err(Broken::Format(found)),
        _ => return Err(Broken::Damaged("no known format".into())),
    }
    let body = file.get_mut("body").map(Value::take).unwrap_or_default();
    let (expected, got) = (file["checksum"].as_str().unwrap_or_default(), checksum(&body));
    if got == expected { Ok(body) } else { Err(Broken::Damaged(format!("checksum {got} instead of {expected:?}"))) }
}

fn checksum(body: &Value) -> String {
    format!("crc32c:{:08x}", crc32c::crc32c(body.to_string().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_read_and_nothing_else() {
        let body = json!({"name": "zürich", "numbers": [1, 2, u64::MAX], "nothing": null});
        let bytes = seal(1, &body);
        assert_eq!(unseal(1, &bytes), Ok(body.clone()));
        assert_eq!(unseal(0, &bytes), Err(Broken::Format(1)));
        for at in 0..bytes.len() {
            assert!(unseal(1, &bytes[..at]).is_err());
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                // Spaces and the like may change; what is read may not.
                assert!(unseal(1, &flipped).is_err() || unseal(1, &flipped) == Ok(body.clone()), "{at} {bit}");
            }
        }
    }
}
