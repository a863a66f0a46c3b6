//! JSON values as msgspec writes them: numbers, texts with the escapes that must be, and moments (RFC 3339).

/// Appends a whole number.
pub fn write_i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends a double in its shortest form; what JSON cannot say (NaN, infinities) is null.
pub fn write_f64(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
    } else {
        out.extend_from_slice(b"null");
    }
}

/// Appends a text in quotes.
pub fn write_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let short = match byte {
            b'"' | b'\\' => *byte,
            8 => b'b',
            9 => b't',
            10 => b'n',
            12 => b'f',
            13 => b'r',
            0..0x20 => b'u',
            _ => continue,
        };
        out.extend_from_slice(&bytes[from..at]);
        out.extend_from_slice(&[b'\\', short]);
        if short == b'u' {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            out.extend_from_slice(&[b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        from = at + 1;
    }
    out.extend_from_slice(&bytes[from..]);
    out.push(b'"');
}

const DAY: i64 = 86_400_000_000;

/// Appends a moment given in microseconds since 1970, in quotes: `"2013-01-01T10:00:00Z"`, without the `Z` if `is_utc` is
/// false. Returns false, and appends nothing, outside the years 1 to 9999.
pub fn write_moment(out: &mut Vec<u8>, micros: i64, is_utc: bool) -> bool {
    let (year, month, day) = civil(micros.div_euclid(DAY));
    if !(1..=9999).contains(&year) {
        return false;
    }
    let rest = micros.rem_euclid(DAY);
    let (seconds, fraction) = (rest / 1_000_000, rest % 1_000_000);
    out.push(b'"');
    digits(out, year, 4);
    for (mark, number) in
        [(b'-', month), (b'-', day), (b'T', seconds / 3600), (b':', seconds / 60 % 60), (b':', seconds % 60)]
    {
        out.push(mark);
        digits(out, number, 2);
    }
    if fraction > 0 {
        out.push(b'.');
        digits(out, fraction, 6);
    }
    if is_utc {
        out.push(b'Z');
    }
    out.push(b'"');
    true
}

fn digits(out: &mut Vec<u8>, mut number: i64, width: usize) {
    let start = out.len();
    out.resize(start + width, b'0');
    for at in (start..start + width).rev() {
        out[at] = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

// (year, month, day) of a day since 1970 in the Gregorian calendar. Years are counted from March, so that the leap day is
// the last of one, in eras of 400 years, which all have the same number of days.
fn civil(day: i64) -> (i64, i64, i64) {
    const ERA: i64 = 146_097;
    let since = day + 719_468;
    let (era, of_era) = (since.div_euclid(ERA), since.rem_euclid(ERA));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year + era * 400 + i64::from(month <= 2), month, of_year - (153 * from_march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_rfc_3339() {
        for (micros, is_utc, expected) in [
            (0, true, "\"1970-01-01T00:00:00Z\""),
            (1_357_034_400_000_000, true, "\"2013-01-01T10:00:00Z\""),
            (-1, false, "\"1969-12-31T23:59:59.999999\""),
            (951_782_400_000_500, true, "\"2000-02-29T00:00:00.000500Z\""),
            (-62_135_596_800_000_000, false, "\"0001-01-01T00:00:00\""),
            (253_402_300_799_999_999, false, "\"9999-12-31T23:59:59.999999\""),
        ] {
            let mut out = Vec::new();
            assert!(write_moment(&mut out, micros, is_utc));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
        assert!(!write_moment(&mut Vec::new(), i64::MIN, true));
        assert!(!write_moment(&mut Vec::new(), 253_402_300_800_000_000, true));
    }

    #[test]
    fn texts_are_escaped_where_they_must_be() {
        let mut out = Vec::new();
        write_text(&mut out, "a\"\\/\n\u{1}\u{7f}\u{e9}");
        assert_eq!(String::from_utf8(out).unwrap(), "\"a\\\"\\\\/\\n\\u0001\u{7f}\u{e9}\"");
    }
}
