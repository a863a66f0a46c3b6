//! The copy of some segments in the making: what is kept of them, in a file that takes their place when it is synced.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use headwater_record::{HEADER_BYTES, Header};

use crate::segment::Segment;
use crate::storage::Storage;
use crate::swap::cleaned_path;
use crate::{Error, Result};

/// How much is read, and written, at a time.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;

/// See the module.
pub(crate) struct Copy<'a> {
    storage: &'a dyn Storage,
    segment: Segment,
    interval: u64,
    /// Batches that are not written yet.
    buffer: Vec<u8>,
    written: u64,
    /// Not as long as everything is as it was: most segments of a log that grows stay as they are.
    pub(crate) is_writing: bool,
}

impl<'a> Copy<'a> {
    /// Makes the file, for the segment of this name.
    pub(crate) fn create(storage: &'a dyn Storage, first: &Segment, interval: u64) -> Result<Self> {
        let path = cleaned_path(&first.stem);
        let file = storage.open(&path, true).and_then(|file| file.truncate(0).map(|()| file));
        let file = file.map_err(Error::io("create a segment", storage.describe(&path)))?;
        let segment = Segment::over(file, first.base_offset, first.stem.clone());
        Ok(Self { storage, segment, interval, buffer: Vec::new(), written: 0, is_writing: false })
    }

    /// Adds a batch.
    pub(crate) fn push(&mut self, batch: &[u8]) -> Result<()> {
        let header = Header::parse(&batch[..HEADER_BYTES])?;
        self.segment.index(&header, self.written + self.buffer.len() as u64, self.interval);
        if !self.is_writing {
            self.written += batch.len() as u64;
            return Ok(());
        }
        self.buffer.extend_from_slice(batch);
        if self.buffer.len() >= CHUNK_BYTES { self.flush() } else { Ok(()) }
    }

    /// Writes what was pushed so far, which is how the segment begins, and from now on what is pushed.
    pub(crate) fn catch_up(&mut self, segment: &Segment) -> Result<()> {
        self.is_writing = true;
        let end = std::mem::take(&mut self.written);
        while self.written < end {
            let length = (end - self.written).min(CHUNK_BYTES as u64) as usize;
            self.buffer.resize(length, 0);
            let read = segment.file.read_at(&mut self.buffer, self.written);
            let read = read.map_err(Error::io("read a segment", self.storage.describe(&segment.path())))?;
            if read < length {
                let error = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
                return Err(Error::io("read a segment", self.storage.describe(&segment.path()))(error));
            }
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let path = cleaned_path(&self.segment.stem);
        let written = self.segment.file.write_at(&self.buffer, self.written);
        written.map_err(Error::io("write", self.storage.describe(&path)))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Syncs it; its last offset is before `next_offset`.
    pub(crate) fn finish(mut self, next_offset: u64) -> Result<Arc<Segment>> {
        self.flush()?;
        let path = cleaned_path(&self.segment.stem);
        self.segment.file.sync().map_err(Error::io("sync a segment", self.storage.describe(&path)))?;
        self.segment.size.store(self.written, Ordering::Release);
        self.segment.next_offset.store(next_offset, Ordering::Release);
        Ok(Arc::new(self.segment))
    }
}
