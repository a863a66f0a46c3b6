//! `Task`: the stores and kernel segments of one task, built and run from `headwater.runtime`.

use bytes::Bytes;
use headwater_state::changelog;
use headwater_state::kernel::{
    AggregateUpdate, AssignWindows, Fold, Input, Kernel, Lookup, Merged, Segment, SessionUpdate, SessionWindow,
    StreamJoin, TablePut, Target, find_sessions, flush_sessions, store_key, write_session,
};
use headwater_state::row::{PHASE_FLUSH, Row, order_head};
use headwater_state::store::{
    AggColumn, AggSpec, Cell, Clocks, FoldKind, JoinBuffer, JoinSettings, Shape, Slot, Store, StoreKey, Stores,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::gate::Gate;
use crate::rows::{Rows, emitted};

/// See the module.
#[pyclass(module = "headwater._core")]
#[derive(Default)]
pub struct Task {
    stores: Stores,
    segments: Vec<Segment>,
    // A session fold that is user code, between its two halves.
    sessions: Option<SessionRound>,
}

struct SessionRound {
    window: SessionWindow,
    rows: Vec<(Row, Option<Merged>)>,
}

fn parameter<'py, T>(parameters: &Bound<'py, PyDict>, name: &str) -> PyResult<T>
where
    T: for<'a> FromPyObject<'a, 'py, Error = PyErr>,
{
    match parameters.get_item(name)? {
        Some(value) => value.extract(),
        None => Err(PyValueError::new_err(format!("expected the kernel parameter '{name}', got none"))),
    }
}

fn fold_named(name: &str) -> PyResult<Fold> {
    Ok(match name {
        "count" => Fold::Count,
        "table_count" => Fold::TableCount,
        "columns" => Fold::Columns,
        "external" => Fold::External,
        "table_external" => Fold::TableExternal,
        _ => return Err(PyValueError::new_err(format!("expected a fold, got '{name}'"))),
    })
}

fn kernel_named(kind: &str, p: &Bound<'_, PyDict>) -> PyResult<Kernel> {
    Ok(match kind {
        "pass" => Kernel::Pass { drops_old: parameter(p, "drops_old")? },
        "drop_null" => Kernel::DropNull {
            key: parameter(p, "key")?,
            value: parameter(p, "value")?,
            is_counted: parameter(p, "is_counted")?,
        },
        "table_put" => Kernel::TablePut(TablePut {
            store: parameter(p, "store")?,
            drops_null_key: parameter(p, "drops_null_key")?,
            sends_old: parameter(p, "sends_old")?,
            keeps_old: parameter(p, "keeps_old")?,
            suppresses_null: parameter(p, "suppresses_null")?,
        }),
        "assign_windows" => Kernel::AssignWindows(AssignWindows {
            store: parameter(p, "store")?,
            size: parameter(p, "size")?,
            advance: parameter(p, "advance")?,
            grace: parameter(p, "grace")?,
        }),
        "aggregate" => Kernel::AggregateUpdate(AggregateUpdate {
            store: parameter(p, "store")?,
            fold: fold_named(&parameter::<String>(p, "fold")?)?,
            is_windowed: parameter(p, "is_windowed")?,
            sends_old: parameter(p, "sends_old")?,
            initial: parameter::<Option<Vec<u8>>>(p, "initial")?.map(Bytes::from),
        }),
        "session" => Kernel::SessionUpdate(SessionUpdate {
            window: SessionWindow {
                store: parameter(p, "store")?,
                gap: parameter(p, "gap")?,
                grace: parameter(p, "grace")?,
            },
            fold: fold_named(&parameter::<String>(p, "fold")?)?,
            sends_old: parameter(p, "sends_old")?,
        }),
        "stream_join" => Kernel::StreamJoin(StreamJoin { join: parameter(p, "join")? }),
        "lookup" => Kernel::Lookup(Lookup {
            stores: parameter(p, "stores")?,
            uses_other: parameter(p, "uses_other")?,
            drops_null_key: parameter(p, "drops_null_key")?,
            drops_null_value: parameter(p, "drops_null_value")?,
        }),
        _ => return Err(PyValueError::new_err(format!("expected a kernel, got '{kind}'"))),
    })
}

/// A store's entry for Python: key, window start, window end, visible value, timestamp.
type Entry<'py> = (Bound<'py, PyBytes>, i64, i64, Bound<'py, PyBytes>, i64);

#[pymethods]
impl Task {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Adds a store; returns its index. `columns`: (name, fold, argument, is_int) of a named aggregation.
    #[pyo3(signature = (name, kind, *, retention=None, reach=0, is_cached=false, keeps_history=false, is_logged=false, columns=None, keeps_rows=false))]
    fn add_store(
        &mut self,
        name: &str,
        kind: &str,
        retention: Option<i64>,
        reach: i64,
        is_cached: bool,
        keeps_history: bool,
        is_logged: bool,
        columns: Option<Vec<(String, String, usize, bool)>>,
        keeps_rows: bool,
    ) -> PyResult<usize> {
        let shape = Shape::of_kind(kind)
            .ok_or_else(|| PyValueError::new_err(format!("expected a kind of store, got '{kind}'")))?;
        let mut store = Store::new(name, shape);
        store.retention = retention;
        store.reach = reach;
        store.is_cached = is_cached;
        store.keeps_history = keeps_history;
        store.is_logged = is_logged;
        if let Some(columns) = columns {
            let columns: Option<Vec<AggColumn>> = columns
                .into_iter()
                .map(|(name, kind, argument, is_int)| {
                    Some(AggColumn { name, kind: FoldKind::parse(&kind)?, argument, is_int })
                })
                .collect();
            let columns = columns.ok_or_else(|| PyValueError::new_err("expected known folds"))?;
            store.spec = Some(Arc::new(AggSpec { columns, keeps_rows }));
        }
        self.stores.stores.push(store);
        Ok(self.stores.stores.len() - 1)
    }

    /// Says that a reader needs the store as of an order key.
    fn keep_history(&mut self, store: usize) {
        self.stores.stores[store].keeps_history = true;
    }

    /// Says that nothing after a store's writes can fail, so that no batch will be rolled back.
    fn never_roll_back(&mut self) {
        self.stores.undo.is_off = true;
    }

    /// Adds the buffer of a stream-stream join; returns its index.
    #[pyo3(signature = (left, right, *, before, after, grace, is_left_outer, is_right_outer, is_compatible, is_logged))]
    fn add_join(
        &mut self,
        left: String,
        right: String,
        before: i64,
        after: i64,
        grace: i64,
        is_left_outer: bool,
        is_right_outer: bool,
        is_compatible: bool,
        is_logged: bool,
    ) -> usize {
        let settings = JoinSettings { before, after, grace, is_left_outer, is_right_outer, is_compatible };
        let mut buffer = JoinBuffer::new([left, right], settings);
        buffer.is_logged = is_logged;
        self.stores.joins.push(buffer);
        self.stores.joins.len() - 1
    }

    /// Adds an empty segment; returns its index.
    fn add_segment(&mut self) -> usize {
        self.segments.push(Segment::default());
        self.segments.len() - 1
    }

    /// Adds a kernel to a segment; returns its node.
    fn add_kernel(&mut self, segment: usize, kind: &str, parameters: &Bound<'_, PyDict>) -> PyResult<usize> {
        Ok(self.segments[segment].add(kernel_named(kind, parameters)?))
    }

    /// Adds a way out of a segment; returns its index.
    fn add_port(&mut self, segment: usize) -> usize {
        self.segments[segment].ports += 1;
        self.segments[segment].ports - 1
    }

    /// Makes a kernel the next child of `node`.
    fn connect(&mut self, segment: usize, node: usize, child: usize, input: u8) {
        self.segments[segment].nodes[node].children.push(Target::Node(child, input));
    }

    /// Makes a port the next child of `node`; with `late`, the way of its late records.
    fn connect_port(&mut self, segment: usize, node: usize, port: usize, late: bool) {
        let node = &mut self.segments[segment].nodes[node];
        if late {
            node.late = Some(Target::Port(port));
        } else {
            node.children.push(Target::Port(port));
        }
    }

    /// Says that `node` forwards the flushes of a cached store, as number `rank` of a flush.
    fn add_flush(&mut self, segment: usize, store: usize, node: usize, rank: u32) {
        self.segments[segment].flushes.push((store, node, rank));
    }

    /// Runs rows through a segment: (node, input, rows) each; one `Rows` a port comes back.
    fn run(
        &mut self,
        py: Python<'_>,
        segment: usize,
        inputs: Vec<(usize, u8, PyRefMut<'_, Rows>)>,
        marks: Vec<u32>,
    ) -> PyResult<Vec<Rows>> {
        let inputs: Vec<Input> = inputs
            .into_iter()
            .map(|(node, input, mut rows)| Input { node, input, rows: std::mem::take(&mut rows.rows) })
            .collect();
        let (stores, segments) = (&mut self.stores, &mut self.segments);
        let ports = py.enter(|| Ok::<_, PyErr>(segments[segment].run(stores, inputs, &marks)))?;
        Ok(ports.into_iter().map(|rows| Rows { rows }).collect())
    }

    /// Emits what joins of a segment hold back.
    fn close(&mut self, segment: usize, seq: u32) -> Vec<Rows> {
        self.segments[segment].close(&mut self.stores, seq).into_iter().map(|rows| Rows { rows }).collect()
    }

    /// Slot numbers of rows in a store, from 0 in order of first touch, and what each slot holds before the batch.
    fn slots<'py>(
        &self,
        py: Python<'py>,
        store: usize,
        rows: &Rows,
        is_windowed: bool,
    ) -> (Vec<usize>, Vec<Option<Bound<'py, PyBytes>>>) {
        let store = &self.stores.stores[store];
        let mut known: HashMap<StoreKey, usize> = HashMap::new();
        let mut held = Vec::new();
        let mut slots = Vec::with_capacity(rows.rows.len());
        for row in &rows.rows {
            let start = if is_windowed { row.window_start } else { 0 };
            let key = StoreKey { key: row.key.clone().unwrap_or_default(), start, end: 0 };
            let next = known.len();
            slots.push(*known.entry(key.clone()).or_insert_with(|| {
                held.push(store.get(&key).map(|slot| PyBytes::new(py, &store.visible(&slot.cell))));
                next
            }));
        }
        (slots, held)
    }

    /// First half of a session fold in Python: takes rows from `first` until a key repeats.
    ///
    /// Returns the next row and, a row taken, None (dropped) or the values of the sessions it merges.
    fn begin_sessions<'py>(
        &mut self,
        py: Python<'py>,
        store: usize,
        gap: i64,
        grace: i64,
        rows: &Rows,
        first: usize,
        end: usize,
    ) -> (usize, Vec<Option<Vec<Bound<'py, PyBytes>>>>) {
        let window = SessionWindow { store, gap, grace };
        let mut round = SessionRound { window, rows: Vec::new() };
        let mut seen: HashSet<Bytes> = HashSet::new();
        let mut values = Vec::new();
        let mut next = first;
        while let Some(row) = rows.rows.get(next).filter(|_| next < end) {
            let key = row.key.clone().unwrap_or_default();
            if !seen.insert(key) {
                break;
            }
            let merged = find_sessions(&mut self.stores, window, row);
            let store = &self.stores.stores[store];
            values.push(merged.as_ref().map(|merged| {
                merged.sessions.iter().map(|(_, slot)| PyBytes::new(py, &store.visible(&slot.cell))).collect()
            }));
            round.rows.push((row.clone(), merged));
            next += 1;
        }
        self.sessions = Some(round);
        (next, values)
    }

    /// Second half: the new aggregates of the rows that were not dropped. Returns the rows to forward.
    fn finish_sessions(&mut self, results: Vec<Option<Bound<'_, PyBytes>>>, sends_old: bool) -> Rows {
        let mut out = Vec::new();
        let mut results = results.into_iter();
        let Some(round) = self.sessions.take() else { return Rows::default() };
        for (row, merged) in round.rows {
            let Some(merged) = merged else { continue };
            let cell = results.next().flatten().map(|bytes| Cell::Bytes(Bytes::copy_from_slice(bytes.as_bytes())));
            let written = write_session(&mut self.stores, round.window, &row, 0, &merged, cell, sends_old);
            for (emission, row) in written.into_iter().enumerate() {
                out.push(Row { order: emitted(&row.order, emission as u32), ..row });
            }
        }
        Rows { rows: out }
    }

    /// Flushes a cached session store whose fold is Python's.
    fn flush_sessions(&mut self, store: usize, seq: u32, rank: u32, sends_old: bool) -> Rows {
        Rows { rows: flush_sessions(&mut self.stores, store, &[order_head(seq, PHASE_FLUSH), rank], sends_old) }
    }

    /// Rolls back every write of source records from `seq` on.
    fn roll_back(&mut self, seq: u32) {
        self.stores.roll_back(seq);
    }

    /// Ends the batch: nothing of it can be rolled back any more, and what has expired goes.
    fn end_batch(&mut self) {
        self.stores.end_batch();
    }

    /// Everything visible in a store, by key bytes and window.
    fn entries<'py>(&self, py: Python<'py>, store: usize) -> Vec<Entry<'py>> {
        let store = &self.stores.stores[store];
        let entry = |(key, slot): (StoreKey, Slot)| {
            let value = PyBytes::new(py, &store.visible(&slot.cell));
            (PyBytes::new(py, &key.key), key.start, key.end, value, slot.timestamp)
        };
        store.entries().into_iter().map(entry).collect()
    }

    /// The value and timestamp under serialised key bytes (windowed keys in Kafka's layout).
    fn get<'py>(&self, py: Python<'py>, store: usize, key: &[u8]) -> Option<(Bound<'py, PyBytes>, i64)> {
        let store = &self.stores.stores[store];
        let slot = store.get(&store_key(store, &Bytes::copy_from_slice(key)))?;
        Some((PyBytes::new(py, &store.visible(&slot.cell)), slot.timestamp))
    }

    /// Puts (or deletes) a value outside of any batch: a global table's update, a restored slot of plain bytes.
    #[pyo3(signature = (store, key, value, timestamp))]
    fn put(&mut self, store: usize, key: &[u8], value: Option<&[u8]>, timestamp: i64) {
        let store = &mut self.stores.stores[store];
        let slot = value.map(|value| Slot { cell: Cell::Bytes(Bytes::copy_from_slice(value)), timestamp });
        store.restore(store_key(store, &Bytes::copy_from_slice(key)), slot);
    }

    /// Number of slots of a store.
    fn store_size(&self, store: usize) -> usize {
        self.stores.stores[store].len()
    }

    /// A store's clocks: (operator's stream time, largest window put).
    fn clocks(&self, store: usize) -> (i64, i64) {
        let clocks = self.stores.stores[store].clocks;
        (clocks.stream_time, clocks.observed)
    }

    /// Sets restored clocks.
    fn set_clocks(&mut self, store: usize, stream_time: i64, observed: i64) {
        self.stores.stores[store].restore_clocks(Clocks { stream_time, observed });
    }

    /// A join's clocks: stream time, gate, largest left and right timestamp.
    fn join_clocks(&self, join: usize) -> [i64; 4] {
        self.stores.joins[join].clocks()
    }

    /// Sets restored clocks of a join.
    fn set_join_clocks(&mut self, join: usize, clocks: [i64; 4]) {
        self.stores.joins[join].set_clocks(clocks);
    }

    /// Lets a store's changelog get every slot anew.
    fn rewrite(&mut self, store: usize) {
        self.stores.stores[store].mark_all_changed();
    }

    /// Lets a join's changelog get every record anew.
    fn rewrite_join(&mut self, join: usize) {
        self.stores.joins[join].mark_all_changed();
    }

    /// Number of records that a join holds.
    fn join_size(&self, join: usize) -> usize {
        self.stores.joins[join].len()
    }

    /// The rows that a store's changelog gets since the last call.
    fn take_changes(&mut self, store: usize) -> Rows {
        Rows { rows: changelog::take_store(&mut self.stores.stores[store]) }
    }

    /// Puts rows of a store's changelog back.
    fn restore(&mut self, store: usize, rows: &Rows) -> PyResult<()> {
        restored(changelog::restore_store(&mut self.stores.stores[store], &rows.rows))
    }

    /// The rows that a join's changelog gets since the last call.
    fn take_join_changes(&mut self, join: usize) -> Rows {
        Rows { rows: changelog::take_join(&mut self.stores.joins[join]) }
    }

    /// Puts rows of a join's changelog back.
    fn restore_join(&mut self, join: usize, rows: &Rows) -> PyResult<()> {
        restored(changelog::restore_join(&mut self.stores.joins[join], &rows.rows))
    }

    /// (processed, dropped, late) of every node of a segment.
    fn node_metrics(&self, segment: usize) -> Vec<(u64, u64, u64)> {
        self.segments[segment].nodes.iter().map(|node| (node.processed, node.dropped, node.late_records)).collect()
    }

    /// Records dropped and counted so far, in all segments.
    fn dropped(&self) -> u64 {
        self.segments.iter().flat_map(|segment| &segment.nodes).map(|node| node.dropped).sum()
    }
}

fn restored(is_good: bool) -> PyResult<()> {
    if is_good {
        return Ok(());
    }
    Err(PyValueError::new_err("expected rows of this store's changelog, got others"))
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Rows>()?;
    m.add_function(wrap_pyfunction!(crate::rows::split_rows, m)?)?;
    m.add_class::<Task>()
}
