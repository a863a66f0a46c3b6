//! The records of a batch: views into its bytes, decoded one by one, nothing allocated from a count that was read.

use bytes::Bytes;

use crate::batch::{Header, TimestampType};
use crate::{Error, Result, varint};

/// One record, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Position in the partition.
    pub offset: u64,
    /// Event time in milliseconds.
    pub timestamp: i64,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; None is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers, encoded: a varint count and the entries.
    pub headers: &'a [u8],
}

/// One record that shares the batch's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Position in the partition.
    pub offset: u64,
    /// Event time in milliseconds.
    pub timestamp: i64,
    /// The key.
    pub key: Option<Bytes>,
    /// The value; None is a tombstone.
    pub value: Option<Bytes>,
    /// The headers, encoded: a varint count and the entries.
    pub headers: Bytes,
}

/// The records of one batch.
#[derive(Clone, Debug)]
pub struct Records {
    header: Header,
    bytes: Bytes,
}

impl Records {
    pub(crate) fn new(header: Header, bytes: Bytes) -> Self {
        Self { header, bytes }
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// One by one; after an error nothing follows.
    #[must_use]
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter { header: &self.header, rest: &self.bytes, left: self.header.records_count }
    }

    /// The bytes that all views of these records lie in.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Where in [`as_bytes`](Self::as_bytes) a part of a view of these records lies.
    #[must_use]
    pub fn position(&self, part: &[u8]) -> usize {
        (part.as_ptr() as usize).wrapping_sub(self.bytes.as_ptr() as usize)
    }

    /// Makes a view of these records own (share) their bytes.
    #[must_use]
    pub fn own(&self, view: RecordView<'_>) -> Record {
        let share = |bytes: &[u8]| if bytes.is_empty() { Bytes::new() } else { self.bytes.slice_ref(bytes) };
        Record {
            offset: view.offset,
            timestamp: view.timestamp,
            key: view.key.map(share),
            value: view.value.map(share),
            headers: share(view.headers),
        }
    }
}

impl<'a> IntoIterator for &'a Records {
    type Item = Result<RecordView<'a>>;
    type IntoIter = RecordIter<'a>;

    fn into_iter(self) -> RecordIter<'a> {
        self.iter()
    }
}

/// See [`Records::iter`].
#[derive(Clone, Debug)]
pub struct RecordIter<'a> {
    header: &'a Header,
    rest: &'a [u8],
    left: u32,
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<RecordView<'a>>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            if self.rest.is_empty() {
                return None;
            }
            self.rest = &[];
            return Some(Err(Error::Malformed { what: "bytes after the last record" }));
        }
        self.left -= 1;
        let found = self.decode();
        if found.is_err() {
            self.left = 0;
            self.rest = &[];
        }
        Some(found)
    }
}

fn number(rest: &mut &[u8]) -> Result<i64> {
    varint::take(rest).ok_or(Error::Malformed { what: "a torn number" })
}

fn part<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>> {
    let length = number(rest)?;
    if length == -1 {
        return Ok(None);
    }
    let length = usize::try_from(length).map_err(|_| Error::Malformed { what: "a negative length" })?;
    let (part, tail) = rest.split_at_checked(length).ok_or(Error::Malformed { what: "a length beyond the record" })?;
    *rest = tail;
    Ok(Some(part))
}

impl<'a> RecordIter<'a> {
    #[inline]
    fn decode(&mut self) -> Result<RecordView<'a>> {
        let mut body = part(&mut self.rest)?.ok_or(Error::Malformed { what: "a record without a length" })?;
        body = body.get(1..).ok_or(Error::Malformed { what: "an empty record" })?;
        let timestamp_delta = number(&mut body)?;
        let offset_delta = number(&mut body)?;
        let key = part(&mut body)?;
        let value = part(&mut body)?;
        check_headers(body)?;
        let timestamp = match self.header.timestamp_type() {
            TimestampType::CreateTime => self.header.base_timestamp.wrapping_add(timestamp_delta),
            TimestampType::LogAppendTime => self.header.max_timestamp,
        };
        let delta = u32::try_from(offset_delta).ok().filter(|delta| *delta <= self.header.last_offset_delta);
        let delta = delta.ok_or(Error::Malformed { what: "an offset outside of the batch" })?;
        Ok(RecordView { offset: self.header.base_offset + u64::from(delta), timestamp, key, value, headers: body })
    }
}

/// Walks over encoded headers, which must end exactly where the record does.
fn check_headers(mut rest: &[u8]) -> Result<()> {
    if rest == [0] {
        return Ok(());
    }
    let count = number(&mut rest)?;
    for _ in 0..count {
        part(&mut rest)?.ok_or(Error::Malformed { what: "a header without a name" })?;
        part(&mut rest)?;
    }
    if count < 0 || !rest.is_empty() {
        return Err(Error::Malformed { what: "headers that do not end with the record" });
    }
    Ok(())
}
