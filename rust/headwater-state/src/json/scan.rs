//! A strict scanner over JSON text: where a value ends, if it is well-formed.
//!
//! Each function takes the position of a value and returns the position after it, or `None` for whatever is malformed,
//! too deep, or rare enough to leave to a complete decoder.

use super::number;

const MAX_DEPTH: usize = 32;

/// Position of the next byte that is not white space.
#[inline]
pub(super) fn blank(text: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = text.get(at) {
        at += 1;
    }
    at
}

/// Skips a value of any type.
#[inline]
pub(super) fn skip(text: &[u8], at: usize, depth: usize) -> Option<usize> {
    match text.get(at)? {
        b'"' => string(text, at, true),
        b'{' | b'[' => skip_nested(text, at, depth),
        b't' => literal(text, at, b"true"),
        b'f' => literal(text, at, b"false"),
        b'n' => literal(text, at, b"null"),
        _ => number::skip(text, at),
    }
}

fn skip_nested(text: &[u8], at: usize, depth: usize) -> Option<usize> {
    if depth >= MAX_DEPTH {
        return None;
    }
    let is_object = text[at] == b'{';
    let end = if is_object { b'}' } else { b']' };
    let mut at = blank(text, at + 1);
    if *text.get(at)? == end {
        return Some(at + 1);
    }
    loop {
        if is_object {
            at = blank(text, string(text, at, true)?);
            at = blank(text, byte(text, at, b':')?);
        }
        at = blank(text, skip(text, at, depth + 1)?);
        match *text.get(at)? {
            b',' => at = blank(text, at + 1),
            other if other == end => return Some(at + 1),
            _ => return None,
        }
    }
}

/// Skips one given byte.
#[inline]
pub(super) fn byte(text: &[u8], at: usize, expected: u8) -> Option<usize> {
    (*text.get(at)? == expected).then_some(at + 1)
}

/// Skips a given word.
#[inline]
pub(super) fn literal(text: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    (text.get(at..at + word.len())? == word).then_some(at + word.len())
}

/// Skips a text: valid UTF-8 without control characters; with escapes only where the caller does not need its content.
#[inline]
pub(super) fn string(text: &[u8], at: usize, allows_escapes: bool) -> Option<usize> {
    let start = byte(text, at, b'"')?;
    let mut at = start;
    let mut is_ascii = true;
    loop {
        if let Some(word) = text.get(at..at + 8) {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(word);
            let plain = plain_prefix(u64::from_le_bytes(bytes));
            at += plain;
            if plain == 8 {
                continue;
            }
        }
        match *text.get(at)? {
            b'"' => break,
            b'\\' if allows_escapes => match text.get(at + 1)? {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at += 2,
                _ => return None,
            },
            b'\\' | 0..0x20 => return None,
            other => {
                is_ascii &= other < 0x80;
                at += 1;
            }
        }
    }
    if !is_ascii {
        std::str::from_utf8(&text[start..at]).ok()?;
    }
    Some(at + 1)
}

// How many of eight bytes, from the first on, are neither a quote nor a backslash, a control character or above ASCII.
#[inline]
fn plain_prefix(word: u64) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let zero_bytes = |x: u64| x.wrapping_sub(ONES) & !x;
    let quote = zero_bytes(word ^ (ONES * b'"' as u64));
    let backslash = zero_bytes(word ^ (ONES * b'\\' as u64));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    // Borrows can mark bytes after the first hit wrongly, never before it: the first mark is right.
    let special = (quote | backslash | control | word) & HIGH;
    (special.trailing_zeros() / 8) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_end_where_they_end() {
        for text in [
            "1",
            "-0.5e10",
            "\"a\\\"b\"",
            "\"\u{e9}\u{1f600}\"",
            "[]",
            "[1, [2,3] ]",
            "{ \"a\" : {} , \"b\":null}",
            "true",
        ] {
            assert_eq!(skip(text.as_bytes(), 0, 0), Some(text.len()), "{text}");
            assert_eq!(skip(format!("{text},").as_bytes(), 0, 0), Some(text.len()), "{text}");
        }
    }

    #[test]
    fn malformed_values_do_not_pass() {
        for text in [
            "",
            "\"",
            "\"\\x\"",
            "\"\n\"",
            "[1,]",
            "[,1]",
            "{\"a\"}",
            "{a:1}",
            "{\"a\":1,}",
            "nul",
            "[1 2]",
            "+1",
            "[01]",
        ] {
            assert_eq!(skip(text.as_bytes(), 0, 0), None, "{text}");
        }
        assert_eq!(skip(b"\"\xff\"", 0, 0), None);
        assert_eq!(skip("[".repeat(100).as_bytes(), 0, 0), None);
    }

    #[test]
    fn long_texts_stop_at_the_first_special_byte() {
        for length in 0..40 {
            let body = "x".repeat(length);
            for end in ["\"", "\"\"", "\",\"b\":1"] {
                let text = format!("\"{body}{end}");
                assert_eq!(string(text.as_bytes(), 0, false), Some(length + 2));
            }
            assert_eq!(string(format!("\"{body}\\n\"").as_bytes(), 0, true), Some(length + 4));
            assert_eq!(string(format!("\"{body}\\n\"").as_bytes(), 0, false), None);
            assert_eq!(string(format!("\"{body}\u{1}\"").as_bytes(), 0, false), None);
        }
    }
}
