//! What must hold for any bytes at all that are offered as rows of a changelog: the fuzz target and its stable twin share it.
#![allow(clippy::unwrap_used, reason = "a panic is what it looks for")]

use std::sync::Arc;

use bytes::Bytes;
use headwater_state::changelog::{restore_join, restore_store, take_join, take_store};
use headwater_state::row::Row;
use headwater_state::store::{AggColumn, AggSpec, FoldKind, JoinBuffer, JoinSettings, Shape, Store};

/// A row as it lies in a topic: key, value, timestamp.
type Written = (Option<Bytes>, Option<Bytes>, i64);

/// Restores rows of a changelog: the first byte says into what, the rest is cut into rows. What is restored twice is the same
/// twice; what passes for a row is one that would be written; and what was restored would be restored again.
pub(crate) fn restore(data: &[u8]) {
    let Some((which, rest)) = data.split_first() else { return };
    let rows = rows(rest);
    if which % 10 == 9 {
        check(&rows, restored_join);
    } else {
        check(&rows, |rows| restored_store(*which, rows));
    }
}

fn check(rows: &[Row], restored: impl Fn(&[Row]) -> Option<Vec<Written>>) {
    let once = restored(rows);
    assert_eq!(once, restored(rows), "restored twice");
    for row in rows {
        // A null value leaves nothing behind; any other is found as it was.
        if let Some(found) = restored(std::slice::from_ref(row))
            && row.value.is_some()
        {
            assert_eq!(found, written(vec![row.clone()]), "not what would be written");
        }
    }
    if let Some(once) = once {
        let row = |(key, value, timestamp): &Written| Row {
            key: key.clone(),
            value: value.clone(),
            timestamp: *timestamp,
            ..Row::default()
        };
        let again: Vec<Row> = once.iter().map(row).collect();
        assert_eq!(restored(&again), Some(once), "restored from what was restored");
    }
}

fn written(rows: Vec<Row>) -> Vec<Written> {
    let mut rows: Vec<Written> = rows.into_iter().map(|row| (row.key, row.value, row.timestamp)).collect();
    rows.sort_unstable();
    rows
}

/// An empty store: its shape, and what it aggregates.
pub(crate) fn store(which: u8) -> Store {
    let shape = ["key_value", "window", "session"][usize::from(which % 10 % 3)];
    let mut store = Store::new("s", Shape::of_kind(shape).unwrap());
    store.spec = (which % 10 / 3 > 0).then(|| Arc::new(aggregation(which % 10 / 3 == 2)));
    store
}

/// Everything that a store holds after these rows; None if one of them was refused.
fn restored_store(which: u8, rows: &[Row]) -> Option<Vec<Written>> {
    let mut store = store(which);
    let is_right = restore_store(&mut store, rows);
    store.mark_all_changed();
    let found = written(take_store(&mut store));
    assert_eq!(found.len(), store.len());
    is_right.then_some(found)
}

fn aggregation(keeps_rows: bool) -> AggSpec {
    let column = |kind| AggColumn { name: "c".to_owned(), kind, argument: 0, is_int: false };
    AggSpec { columns: [FoldKind::Sum, FoldKind::Last].map(column).to_vec(), keeps_rows }
}

/// Everything that a join holds after these rows; None if one of them was refused.
fn restored_join(rows: &[Row]) -> Option<Vec<Written>> {
    let (is_left_outer, is_right_outer) = (true, true);
    let settings =
        JoinSettings { before: 10, after: 20, grace: 5, is_left_outer, is_right_outer, is_compatible: false };
    let mut join = JoinBuffer::new(["left".to_owned(), "right".to_owned()], settings);
    let is_right = restore_join(&mut join, rows);
    join.mark_all_changed();
    is_right.then(|| written(take_join(&mut join)))
}

/// Rows of `key length, value length (255: null), timestamp, key, value`; what is not there ends them.
fn rows(mut rest: &[u8]) -> Vec<Row> {
    let mut rows = Vec::new();
    while let Some((head, tail)) = rest.split_first_chunk::<10>() {
        let timestamp = i64::from_be_bytes(head[2..].try_into().unwrap());
        let value_length = if head[1] == 255 { 0 } else { usize::from(head[1]) };
        let Some((key, tail)) = tail.split_at_checked(usize::from(head[0])) else { break };
        let Some((value, tail)) = tail.split_at_checked(value_length) else { break };
        let value = (head[1] != 255).then(|| Bytes::copy_from_slice(value));
        rows.push(Row { key: Some(Bytes::copy_from_slice(key)), value, timestamp, ..Row::default() });
        rest = tail;
    }
    rows
}

/// Key, value and timestamp of a row in the making.
#[allow(dead_code, reason = "seeds are made of it")]
pub(crate) type Entry = (Vec<u8>, Option<Vec<u8>>, i64);

/// The bytes that are cut into these rows.
#[allow(dead_code, reason = "seeds are made of it")]
pub(crate) fn to_bytes(which: u8, rows: &[Entry]) -> Vec<u8> {
    let mut out = vec![which];
    for (key, value, timestamp) in rows {
        out.push(key.len() as u8);
        out.push(value.as_ref().map_or(255, |value| value.len() as u8));
        out.extend_from_slice(&timestamp.to_be_bytes());
        out.extend_from_slice(key);
        out.extend_from_slice(value.as_deref().unwrap_or_default());
    }
    out
}
