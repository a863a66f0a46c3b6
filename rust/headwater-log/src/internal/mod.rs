//! Internal topics (`__consumer_offsets`, `__transaction_state`): reading one from its start to its end, as a state is rebuilt
//! from it, and the `fields` of its records. Nothing is made up for what cannot be read: whoever asks for what may lie there
//! is told.

use std::sync::Arc;

use headwater_record::RecordView;

use crate::{Error, Isolation, Partition, Result};

pub(crate) mod fields;

/// Shows every decided record to `see`, in order. Damaged bytes are passed over, and what lies behind a block that cannot be
/// read; returns the last such damage.
///
/// # Errors
/// Those of decoding, but for damage.
pub(crate) fn replay(log: &Arc<Partition>, mut see: impl FnMut(RecordView<'_>)) -> Result<Option<Error>> {
    if let Err(failure) = log.check_usable() {
        return Ok(Some(failure));
    }
    let (mut offset, mut damage) = (log.log_start_offset(), None);
    while offset < log.high_watermark() {
        let fetched = match log.read(offset, 1 << 20, Isolation::Committed) {
            Err(Error::Corrupt { topic, partition, offset: at, next_offset, path, position, what }) => {
                offset = next_offset;
                damage = Some(Error::Corrupt { topic, partition, offset: at, next_offset, path, position, what });
                continue;
            }
            Err(refused @ Error::Io { .. }) => return Ok(Some(refused)),
            fetched => fetched?,
        };
        for batch in &fetched.batches {
            for record in &batch.records()? {
                see(record?);
            }
        }
        if fetched.next_offset == offset {
            break;
        }
        offset = fetched.next_offset;
    }
    Ok(damage)
}
