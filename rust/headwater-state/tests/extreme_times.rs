//! Timestamps at both ends of what an i64 holds: windows and sessions neither overflow nor go on for ever.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use bytes::Bytes;
use headwater_state::kernel::{
    AssignWindows, Input, Kernel, Segment, SessionWindow, StreamJoin, Target, find_sessions,
};
use headwater_state::row::{Row, order_head};
use headwater_state::store::{JoinBuffer, JoinSettings, Shape, Store, Stores};

const EXTREMES: [i64; 6] = [i64::MIN, -1, 0, 1, i64::MAX - 1, i64::MAX];

fn row(seq: u32, timestamp: i64) -> Row {
    Row {
        order: [order_head(seq, 0)].into_iter().collect(),
        timestamp,
        key: Some(Bytes::from_static(b"k")),
        value: Some(Bytes::from_static(b"v")),
        ..Row::default()
    }
}

fn stores(kind: &str) -> Stores {
    let mut store = Store::new("s", Shape::of_kind(kind).unwrap());
    store.retention = Some(i64::MAX);
    Stores { stores: vec![store], ..Stores::default() }
}

fn run(kernel: Kernel, stores: &mut Stores, rows: Vec<Row>) -> Vec<Row> {
    let mut segment = Segment { ports: 1, ..Segment::default() };
    let node = segment.add(kernel);
    segment.nodes[node].children.push(Target::Port(0));
    segment.run(stores, vec![Input { node, input: 0, rows }], &[]).remove(0)
}

#[test]
fn a04_every_timestamp_lies_in_the_windows_that_hold_it() {
    for (size, advance) in [(1, 1), (1000, 1000), (1000, 300), (i64::MAX, i64::MAX)] {
        for timestamp in EXTREMES {
            for grace in [0, i64::MAX] {
                let window = AssignWindows { store: 0, size, advance, grace };
                let rows = run(Kernel::AssignWindows(window), &mut stores("window"), vec![row(0, timestamp)]);
                let starts: Vec<i64> = rows.iter().map(|row| row.window_start).collect();
                assert!(starts.iter().all(|start| *start <= timestamp && timestamp - start < size), "{starts:?}");
                assert!(starts.is_sorted() && starts.iter().all(|start| start % advance == 0), "{starts:?}");
                assert_eq!(starts.is_empty(), timestamp < 0, "{timestamp} in {size} by {advance}");
            }
        }
    }
}

#[test]
fn a04_sessions_and_joins_take_every_timestamp() {
    for size in [0, 1000, i64::MAX] {
        let bound = size / 4;
        let settings = JoinSettings {
            before: bound,
            after: bound,
            grace: bound,
            is_left_outer: true,
            is_right_outer: true,
            is_compatible: false,
        };
        for timestamp in EXTREMES {
            // Stream time begins at -1, behind which the least of all timestamps is late unless everything is in time.
            let is_least = timestamp == i64::MIN;
            let window = SessionWindow { store: 0, gap: size, grace: size };
            let merged = find_sessions(&mut stores("session"), window, &row(0, timestamp));
            let found = merged.map(|merged| (merged.start, merged.end));
            assert_eq!(found, (!is_least || size == i64::MAX).then_some((timestamp, timestamp)), "{size}");
            let buffer = JoinBuffer::new(["l".into(), "r".into()], settings);
            let mut joins = Stores { joins: vec![buffer], ..Stores::default() };
            run(Kernel::StreamJoin(StreamJoin { join: 0 }), &mut joins, vec![row(0, timestamp)]);
            assert_eq!(joins.joins[0].len(), usize::from(!is_least), "{timestamp} within {size}");
        }
    }
}
