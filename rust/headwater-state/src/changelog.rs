//! What a changelog topic holds: rows from which a store is rebuilt.
//!
//! * a store: serialised key (with its window) to the slot's cell, encoded, at the slot's timestamp; null deletes;
//! * a join: `b`, side and key to a buffered value at its timestamp (these add up);
//!   `u`, timestamp, side and key to the values that still wait for a partner (these replace each other).
//!
//! A changelog holds full values, so replaying a part of it twice changes nothing, except for the adding `b` rows: which
//! parts count is the checkpoint's to say, never the changelog's own end.

use bytes::{BufMut, Bytes, BytesMut};

use crate::kernel::{serialised_key, store_key};
use crate::row::Row;
use crate::store::{Cell, JoinBuffer, Side, Slot, Store};

fn row(key: Bytes, value: Option<Bytes>, timestamp: i64) -> Row {
    Row { key: Some(key), value, timestamp, ..Row::default() }
}

/// The slots of a store that were written since the last call.
pub fn take_store(store: &mut Store) -> Vec<Row> {
    let changed = store.take_changed();
    changed
        .into_iter()
        .map(|(key, slot)| {
            let key = serialised_key(store, &key);
            match slot {
                Some(slot) => row(key, Some(slot.cell.encode()), slot.timestamp),
                None => row(key, None, 0),
            }
        })
        .collect()
}

/// Puts rows of a changelog back; false if one is not what [`take_store`] writes.
pub fn restore_store(store: &mut Store, rows: &[Row]) -> bool {
    rows.iter().all(|row| {
        let Some(key) = row.key.as_ref().filter(|key| key.len() >= store.key_suffix()) else { return false };
        let slot = match &row.value {
            None => None,
            Some(value) => match Cell::decode(store.spec.as_deref(), value) {
                Some(cell) => Some(Slot { cell, timestamp: row.timestamp }),
                None => return false,
            },
        };
        let key = store_key(store, &Bytes::copy_from_slice(key));
        store.restore(key, slot);
        true
    })
}

fn tagged(tag: u8, side: Side, key: &[u8]) -> BytesMut {
    let mut out = BytesMut::with_capacity(key.len() + 10);
    out.put_u8(tag);
    out.put_u8(u8::from(side == Side::Left));
    out.put_slice(key);
    out
}

/// The records of a join that were buffered or changed their being unmatched since the last call.
pub fn take_join(join: &mut JoinBuffer) -> Vec<Row> {
    let mut rows: Vec<Row> = join
        .take_inserted()
        .into_iter()
        .map(|(side, key, timestamp, value)| row(tagged(b'b', side, &key).freeze(), Some(value), timestamp))
        .collect();
    for (timestamp, side, key, values) in join.take_unmatched_changes() {
        let value = values.map(|values| {
            let mut out = BytesMut::new();
            for value in values {
                out.put_u32(value.len() as u32);
                out.put_slice(&value);
            }
            out.freeze()
        });
        let mut tag = tagged(b'u', side, &key);
        tag.put_i64(timestamp);
        rows.push(row(tag.freeze(), value, timestamp));
    }
    rows
}

/// Puts rows of a join's changelog back; false if one is not what [`take_join`] writes.
pub fn restore_join(join: &mut JoinBuffer, rows: &[Row]) -> bool {
    rows.iter().all(|row| restore_join_row(join, row).is_some())
}

fn restore_join_row(join: &mut JoinBuffer, row: &Row) -> Option<()> {
    let key = row.key.as_ref()?;
    let side = match key.get(1)? {
        0 => Side::Right,
        1 => Side::Left,
        _ => return None,
    };
    match key.first()? {
        b'b' => join.restore(side, &key.slice(2..), row.timestamp, row.value.as_ref()?),
        b'u' if key.len() >= 10 => {
            let end = key.len() - 8;
            let timestamp = i64::from_be_bytes(key[end..].try_into().ok()?);
            if timestamp != row.timestamp || row.value.as_ref().is_some_and(Bytes::is_empty) {
                return None;
            }
            let mut values = Vec::new();
            let mut rest = row.value.clone().unwrap_or_default();
            while !rest.is_empty() {
                let length = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?) as usize;
                values.push(Bytes::copy_from_slice(rest.get(4..4 + length)?));
                rest = rest.slice(4 + length..);
            }
            join.restore_unmatched(side, &Bytes::copy_from_slice(&key[2..end]), timestamp, values);
        }
        _ => return None,
    }
    Some(())
}
