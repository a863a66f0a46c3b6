//! The last batch of each producer: it stays, even without records, because it says which sequence number comes next.

use std::collections::HashMap;

use headwater_record::{HEADER_BYTES, Header};

use crate::segment::Segment;

/// Headers are read so many bytes at a time; records between them are skipped when they are longer.
const READ_BYTES: usize = 64 << 10;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct LastBatches {
    /// Last offset of each producer's last batch of records.
    data: HashMap<i64, u64>,
    /// The same of its last marker.
    markers: HashMap<i64, u64>,
}

impl LastBatches {
    /// Whether a batch is the last of its producer; a marker is only if there are no batches of records.
    pub(crate) fn is_last(&self, header: &Header) -> bool {
        let last = if header.is_control() && !self.data.contains_key(&header.producer_id) {
            self.markers.get(&header.producer_id)
        } else {
            self.data.get(&header.producer_id)
        };
        last == Some(&header.last_offset())
    }

    fn see(&mut self, header: &Header) {
        if header.producer_id >= 0 {
            let batches = if header.is_control() { &mut self.markers } else { &mut self.data };
            batches.insert(header.producer_id, header.last_offset());
        }
    }

    /// Takes in the batches of a segment. What lies behind bytes that are no batch, and that nobody noted as damage, is not
    /// seen: then an earlier batch passes for the last, and stays.
    pub(crate) fn see_segment(&mut self, segment: &Segment) -> std::io::Result<()> {
        let end = segment.size.load(std::sync::atomic::Ordering::Acquire);
        let (mut position, mut buffer) = (0, vec![0; READ_BYTES]);
        while position < end {
            if let Some(damage) = segment.damage_at(position) {
                position = damage.end;
                continue;
            }
            let read = segment.file.read_at(&mut buffer, position)?;
            let mut at = 0;
            while at + HEADER_BYTES <= read && position + (at as u64) < end {
                let Ok(header) = Header::parse(&buffer[at..read]) else { break };
                self.see(&header);
                at += header.size_bytes;
            }
            if at == 0 {
                break;
            }
            position += at as u64;
        }
        Ok(())
    }
}
