//! JSON numbers: skipped, or read as a whole number or a double.

/// Skips a number.
#[inline]
pub(super) fn skip(text: &[u8], at: usize) -> Option<usize> {
    scan(text, at).map(|parts| parts.end)
}

struct Parts {
    end: usize,
    is_negative: bool,
    is_whole: bool,
    // Decimal digits without the point, exact while there are at most 18 of them.
    mantissa: u64,
    digits: usize,
    exponent: i32,
}

// Longer numbers are left to a complete decoder.
const MAX_LENGTH: usize = 40;

#[inline]
fn scan(text: &[u8], start: usize) -> Option<Parts> {
    let mut at = start;
    let is_negative = *text.get(at)? == b'-';
    at += usize::from(is_negative);
    let first = at;
    let mut mantissa = 0u64;
    while let Some(digit @ b'0'..=b'9') = text.get(at) {
        mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
        at += 1;
    }
    let mut digits = at - first;
    if digits == 0 || (digits > 1 && text[first] == b'0') {
        return None;
    }
    let mut is_whole = true;
    let mut exponent = 0i32;
    if text.get(at) == Some(&b'.') {
        at += 1;
        let fraction = at;
        while let Some(digit @ b'0'..=b'9') = text.get(at) {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            at += 1;
        }
        if at == fraction {
            return None;
        }
        is_whole = false;
        digits += at - fraction;
        exponent -= (at - fraction).min(MAX_LENGTH) as i32;
    }
    if let Some(b'e' | b'E') = text.get(at) {
        at += 1;
        let is_small = text.get(at) == Some(&b'-');
        at += usize::from(matches!(text.get(at), Some(b'+' | b'-')));
        let first = at;
        let mut power = 0i32;
        while let Some(digit @ b'0'..=b'9') = text.get(at) {
            power = power.saturating_mul(10).saturating_add(i32::from(digit - b'0'));
            at += 1;
        }
        if at == first || power > 250 {
            return None;
        }
        is_whole = false;
        exponent += if is_small { -power } else { power };
    }
    (at - start <= MAX_LENGTH).then_some(Parts { end: at, is_negative, is_whole, mantissa, digits, exponent })
}

/// Reads a whole number of at most 18 digits.
#[inline]
pub(super) fn int(text: &[u8], at: usize) -> Option<(i64, usize)> {
    let parts = scan(text, at)?;
    if !parts.is_whole || parts.digits > 18 || (parts.is_negative && parts.mantissa == 0) {
        return None;
    }
    let magnitude = parts.mantissa as i64;
    Some((if parts.is_negative { -magnitude } else { magnitude }, parts.end))
}

const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// Reads any number as the nearest double.
#[inline]
pub(super) fn float(text: &[u8], at: usize) -> Option<(f64, usize)> {
    let parts = scan(text, at)?;
    if parts.is_whole && parts.is_negative && parts.mantissa == 0 {
        return None;
    }
    let power = parts.exponent.unsigned_abs() as usize;
    if parts.digits <= 18 && parts.mantissa < 1 << 53 && power < POWERS.len() {
        // Both are exact doubles, so that one operation rounds once, to the nearest.
        let mantissa = parts.mantissa as f64;
        let value = if parts.exponent < 0 { mantissa / POWERS[power] } else { mantissa * POWERS[power] };
        return Some((if parts.is_negative { -value } else { value }, parts.end));
    }
    let value: f64 = std::str::from_utf8(&text[at..parts.end]).ok()?.parse().ok()?;
    (value.is_finite() && value != 0.0).then_some((value, parts.end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers() {
        assert_eq!(int(b"0", 0), Some((0, 1)));
        assert_eq!(int(b"-17,", 0), Some((-17, 3)));
        assert_eq!(int(b"999999999999999999", 0), Some((999_999_999_999_999_999, 18)));
        for text in ["-0", "1.0", "1e3", "01", "-", "", "1000000000000000000", "9223372036854775808", "a"] {
            assert_eq!(int(text.as_bytes(), 0), None, "{text}");
        }
    }

    #[test]
    fn doubles_are_the_nearest() {
        for text in [
            "0.1",
            "1",
            "-2.5",
            "1e22",
            "9007199254740993",
            "123456789.123456789123",
            "1.7976931348623157e200",
            "4.35",
            "-0.0",
        ] {
            let expected: f64 = text.parse().unwrap();
            let (value, end) = float(text.as_bytes(), 0).unwrap();
            assert_eq!((value.to_bits(), end), (expected.to_bits(), text.len()), "{text}");
        }
        for text in ["1.", ".5", "1e", "1e400", "-0", "00.1", "--1", "1e-400"] {
            assert_eq!(float(text.as_bytes(), 0), None, "{text}");
        }
    }
}
