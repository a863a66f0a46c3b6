//! The fields that Kafka's internal topics are made of: big-endian numbers, strings with an i16 length, and their compact
//! kind, whose length plus one is an unsigned varint. Nothing is allocated from a length that was read.

/// Longest string that the schemas can hold.
pub(crate) const STRING_MAX: usize = i16::MAX as usize;

/// Appends a string; None when it is too long.
pub(crate) fn put_string(out: &mut Vec<u8>, text: &str) -> Option<()> {
    out.extend_from_slice(&i16::try_from(text.len()).ok()?.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
    Some(())
}

/// What is left of some bytes; every step answers None where they end too early.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl Reader<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn i8(&mut self) -> Option<i8> {
        self.take().map(i8::from_be_bytes)
    }

    pub(crate) fn i16(&mut self) -> Option<i16> {
        self.take().map(i16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }

    pub(crate) fn string(&mut self) -> Option<String> {
        let length = self.i16()?;
        self.text(usize::try_from(length).ok()?)
    }

    pub(crate) fn compact_string(&mut self) -> Option<String> {
        let length = self.varint()?.checked_sub(1)?;
        self.text(length as usize)
    }

    pub(crate) fn varint(&mut self) -> Option<u32> {
        let mut number = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.take()?;
            number |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// Passes over tagged fields, which are of no use to us.
    pub(crate) fn skip_tags(&mut self) -> Option<()> {
        for _ in 0..self.varint()? {
            let (_, length) = (self.varint()?, self.varint()? as usize);
            self.0 = self.0.get(length..)?;
        }
        Some(())
    }

    fn text(&mut self, length: usize) -> Option<String> {
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }
}
