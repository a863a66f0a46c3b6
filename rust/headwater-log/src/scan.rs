//! A log file, batch by batch from its front, without believing anything: for those who look at files and not at a log.
//!
//! What does not parse stays where it is until the caller says how to go on: nothing is skipped in silence. The file is
//! read up to the size it has at the start; a batch is in memory as a whole, and no more than it and a few megabytes are.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use headwater_record::{Batch, Error, HEADER_BYTES, Header};

use crate::segment::next_good;
use crate::storage::File;

/// How much is read at a time.
const CHUNK_BYTES: u64 = 4 << 20;

/// See the module.
#[derive(Debug)]
pub(crate) struct Scan {
    file: Arc<dyn File>,
    position: u64,
    size: u64,
    /// What has been read from `position` on.
    buffer: Bytes,
}

impl Scan {
    /// Begins at a position.
    pub(crate) fn new(file: Arc<dyn File>, position: u64) -> io::Result<Self> {
        let size = file.size()?;
        Ok(Self { file, position, size, buffer: Bytes::new() })
    }

    /// Where the next batch should be.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Size of the file.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The next batch and its position, its checksum not looked at; None at the end. After an error it is still there.
    pub(crate) fn next(&mut self) -> io::Result<Option<(u64, headwater_record::Result<Batch>)>> {
        if self.position >= self.size {
            return Ok(None);
        }
        self.fill(HEADER_BYTES as u64)?;
        let (at, left) = (self.position, self.size - self.position);
        let header = match Header::parse(&self.buffer) {
            Ok(header) if header.size_bytes as u64 > left => {
                let got = usize::try_from(left).unwrap_or(usize::MAX);
                return Ok(Some((at, Err(Error::Short { expected: header.size_bytes, got }))));
            }
            Ok(header) => header,
            Err(error) => return Ok(Some((at, Err(error)))),
        };
        self.fill(header.size_bytes as u64)?;
        Ok(Some(match Batch::split(&self.buffer) {
            Ok((batch, rest)) => {
                self.buffer = rest;
                self.position += header.size_bytes as u64;
                (at, Ok(batch))
            }
            Err(error) => (at, Err(error)),
        }))
    }

    /// Goes on behind the bad bytes at a position: at the next good batch of an offset of at least `expected`, or at the end
    /// of the file. Returns that batch's offset.
    pub(crate) fn skip(&mut self, position: u64, expected: u64, base: u64) -> io::Result<Option<u64>> {
        self.move_to(position);
        self.fill(self.size - position)?;
        let found = next_good(&self.buffer, expected, base, u64::MAX);
        self.move_to(found.map_or(self.size, |(at, _)| position + at as u64));
        Ok(found.map(|(_, offset)| offset))
    }

    fn move_to(&mut self, position: u64) {
        self.position = position;
        self.buffer = Bytes::new();
    }

    /// Has at least so many bytes in the buffer, or all there are.
    fn fill(&mut self, wanted: u64) -> io::Result<()> {
        let wanted = wanted.min(self.size - self.position);
        if self.buffer.len() as u64 >= wanted {
            return Ok(());
        }
        let length = wanted.max(CHUNK_BYTES).min(self.size - self.position);
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        let read = self.file.read_at(&mut bytes, self.position)?;
        bytes.truncate(read);
        self.buffer = bytes.into();
        Ok(())
    }
}
