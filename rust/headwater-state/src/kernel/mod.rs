//! Kernel segments: everything with state or routing between two vector stages, run one record at a time, depth first.
//!
//! A segment is a small graph. Rows enter at nodes, each is processed wholly (every child before the next sibling)
//! before the next row starts, and rows that leave through a *port* get the entering row's order key plus the number
//! of the emission: so a segment's own order is Kafka Streams' by construction, and rows that took different ways
//! around can be merged again by their keys. Flushes of caches are events between rows, at the marked seqs, store by
//! store, with order keys of their own.
//!
//! Kernels hold no state: it is all in [`Stores`](crate::store::Stores), where undo and checkpoint see it.

mod aggregate;
mod join;
mod session;
mod table;

pub use aggregate::{AggregateUpdate, AssignWindows, Fold};
pub use join::{Lookup, StreamJoin, serialised_key, store_key};
pub use session::{
    Merged, SessionUpdate, SessionWindow, find as find_sessions, flush as flush_sessions, write as write_session,
};
pub use table::TablePut;

use crate::row::{PHASE_FLUSH, Row, descend, order_head};
use crate::store::{Flushed, Stores};

/// One step of a segment.
#[derive(Debug)]
pub enum Kernel {
    /// Merge, fan-out, table to stream (`drops_old`).
    Pass {
        /// Whether the old value ends here.
        drops_old: bool,
    },
    /// Drops rows whose key (value) is null.
    DropNull {
        /// Whether the key must be there.
        key: bool,
        /// Whether the value must be there.
        value: bool,
        /// Whether Kafka counts the drop.
        is_counted: bool,
    },
    /// A table source or a materialised table.
    TablePut(TablePut),
    /// One row for every open window of a record.
    AssignWindows(AssignWindows),
    /// The update of an aggregate.
    AggregateUpdate(AggregateUpdate),
    /// The update of a session aggregate.
    SessionUpdate(SessionUpdate),
    /// A stream-stream join.
    StreamJoin(StreamJoin),
    /// Reads tables for a row.
    Lookup(Lookup),
}

/// Where a row goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Input `.1` of node `.0` of the same segment.
    Node(usize, u8),
    /// Out of the segment.
    Port(usize),
}

/// A kernel and its successors.
#[derive(Debug)]
pub struct Node {
    /// What it does.
    pub kernel: Kernel,
    /// Its children, in the order in which they were added.
    pub children: Vec<Target>,
    /// Where late records go, if they are routed.
    pub late: Option<Target>,
    /// Records that reached it.
    pub processed: u64,
    /// Records it dropped and counted, as Kafka's `dropped-records-total`.
    pub dropped: u64,
    /// Those of them that came after their window had closed.
    pub late_records: u64,
}

/// A graph of kernels.
#[derive(Debug, Default)]
pub struct Segment {
    /// The kernels.
    pub nodes: Vec<Node>,
    /// Number of ports.
    pub ports: usize,
    /// Cached stores of this segment with the node that forwards their flushes and the rank of the store in a flush.
    pub flushes: Vec<(usize, usize, u32)>,
}

/// A list of rows that enter a segment at one place, sorted by order key.
pub struct Input {
    /// Node they enter.
    pub node: usize,
    /// Which of its inputs.
    pub input: u8,
    /// The rows.
    pub rows: Vec<Row>,
}

struct Run<'a> {
    nodes: &'a mut [Node],
    stores: &'a mut Stores,
    ports: Vec<Vec<Row>>,
    // Emissions of the entering row so far.
    emissions: u32,
}

impl Segment {
    /// Adds a kernel; returns its index.
    pub fn add(&mut self, kernel: Kernel) -> usize {
        self.nodes.push(Node { kernel, children: Vec::new(), late: None, processed: 0, dropped: 0, late_records: 0 });
        self.nodes.len() - 1
    }

    /// Runs rows through the graph. `marks`: seqs, ascending, after which caches flush.
    pub fn run(&mut self, stores: &mut Stores, inputs: Vec<Input>, marks: &[u32]) -> Vec<Vec<Row>> {
        let flushes = std::mem::take(&mut self.flushes);
        let mut run = Run { nodes: &mut self.nodes, stores, ports: vec![Vec::new(); self.ports], emissions: 0 };
        // (order head, rank, store, node) of every flush, in order.
        let mut events: Vec<(u32, u32, usize, usize)> = marks
            .iter()
            .flat_map(|seq| {
                flushes.iter().map(|(store, node, rank)| (order_head(*seq, PHASE_FLUSH), *rank, *store, *node))
            })
            .collect();
        events.sort_unstable();
        let mut events = events.into_iter().peekable();
        let mut enter = |run: &mut Run<'_>, node: usize, input: u8, row: &mut Row| {
            while let Some((head, rank, store, flushing)) =
                events.next_if(|(head, rank, ..)| [*head, *rank].as_slice() < &row.order[..])
            {
                run.flush(head, rank, store, flushing);
            }
            run.emissions = 0;
            run.process(node, input, row);
        };
        in_order(inputs, |node, input, row| enter(&mut run, node, input, row));
        for (head, rank, store, node) in events {
            run.flush(head, rank, store, node);
        }
        let ports = run.ports;
        self.flushes = flushes;
        ports
    }

    /// Emits what joins still hold back: the input is complete. Rows get the flush phase of `seq`.
    pub fn close(&mut self, stores: &mut Stores, seq: u32) -> Vec<Vec<Row>> {
        let mut run = Run { nodes: &mut self.nodes, stores, ports: vec![Vec::new(); self.ports], emissions: 0 };
        for node in 0..run.nodes.len() {
            if let Kernel::StreamJoin(StreamJoin { join, .. }) = run.nodes[node].kernel {
                for pair in run.stores.joins[join].close() {
                    let order = [order_head(seq, PHASE_FLUSH), node as u32].into_iter().collect();
                    run.forward(node, &mut join::row_of(pair, order, None, bytes::Bytes::new()));
                }
            }
        }
        run.ports
    }
}

// Visits all rows in order, where they are: rows are large, and moving one costs as much as counting it. Of rows with equal
// order keys, those of the first input come first.
fn in_order(mut inputs: Vec<Input>, mut visit: impl FnMut(usize, u8, &mut Row)) {
    if let [input] = &mut inputs[..] {
        return input.rows.iter_mut().for_each(|row| visit(input.node, input.input, row));
    }
    let mut heads: Vec<_> = inputs.iter_mut().map(|input| (input.node, input.input, input.rows.iter_mut())).collect();
    loop {
        let order = |at: usize| heads[at].2.as_slice().first().map(|row| &row.order);
        let left = (0..heads.len()).filter(|at| order(*at).is_some());
        let Some(at) = left.min_by(|a, b| order(*a).cmp(&order(*b))) else { return };
        let (node, input, rows) = &mut heads[at];
        rows.next().into_iter().for_each(|row| visit(*node, *input, row));
    }
}

impl Run<'_> {
    // The row is the last child's to change and to take; whoever forwards it is done with it.
    fn forward(&mut self, node: usize, row: &mut Row) {
        let count = self.nodes[node].children.len();
        for child in 0..count {
            let target = self.nodes[node].children[child];
            if child + 1 == count {
                self.send(target, row);
                return;
            }
            self.send(target, &mut row.clone());
        }
    }

    fn send(&mut self, target: Target, row: &mut Row) {
        match target {
            Target::Node(node, input) => self.process(node, input, row),
            Target::Port(port) => {
                let order = descend(&row.order, self.emissions);
                self.emissions += 1;
                self.ports[port].push(Row { order, ..std::mem::take(row) });
            }
        }
    }

    fn process(&mut self, node: usize, input: u8, row: &mut Row) {
        self.nodes[node].processed += 1;
        match &self.nodes[node].kernel {
            Kernel::Pass { drops_old } => {
                if *drops_old {
                    row.old = None;
                }
                self.forward(node, row);
            }
            Kernel::DropNull { key, value, is_counted } => {
                if (*key && row.key.is_none()) || (*value && row.value.is_none()) {
                    self.nodes[node].dropped += u64::from(*is_counted);
                } else {
                    self.forward(node, row);
                }
            }
            Kernel::TablePut(kernel) => {
                let kernel = *kernel;
                self.table_put(node, kernel, row);
            }
            Kernel::AssignWindows(kernel) => {
                let kernel = *kernel;
                self.assign_windows(node, kernel, row);
            }
            Kernel::AggregateUpdate(kernel) => {
                let kernel = kernel.clone();
                self.aggregate_update(node, &kernel, row);
            }
            Kernel::SessionUpdate(kernel) => {
                let kernel = *kernel;
                self.session_update(node, kernel, row);
            }
            Kernel::StreamJoin(kernel) => {
                let kernel = *kernel;
                self.stream_join(node, kernel, input, row);
            }
            Kernel::Lookup(kernel) => {
                let kernel = kernel.clone();
                self.lookup(node, &kernel, row);
            }
        }
    }

    // A record after its window's close: counted, and routed if somebody wants it.
    fn drop_late(&mut self, node: usize, row: &Row) {
        self.nodes[node].dropped += 1;
        self.nodes[node].late_records += 1;
        if let Some(target) = self.nodes[node].late {
            self.send(target, &mut row.clone());
        }
    }

    fn flush(&mut self, head: u32, rank: u32, store: usize, node: usize) {
        self.emissions = 0;
        let stores = &mut *self.stores;
        for (key, dirty) in stores.stores[store].take_dirty(store, head >> 2, &mut stores.undo) {
            if let Some(change) = self.stores.stores[store].flushed(key, dirty) {
                let mut row = self.flushed_row(node, change, &[head, rank]);
                self.forward(node, &mut row);
            }
        }
    }

    fn flushed_row(&self, node: usize, change: Flushed, order: &[u32]) -> Row {
        let sends_old = match &self.nodes[node].kernel {
            Kernel::TablePut(kernel) => kernel.sends_old,
            Kernel::AggregateUpdate(kernel) => kernel.sends_old,
            Kernel::SessionUpdate(kernel) => kernel.sends_old,
            _ => false,
        };
        let key = match &self.nodes[node].kernel {
            Kernel::AggregateUpdate(kernel) if kernel.is_windowed => {
                aggregate::window_key(&change.key.key, change.key.start)
            }
            Kernel::SessionUpdate(_) => session::session_key(&change.key),
            _ => change.key.key,
        };
        Row {
            order: order.iter().copied().collect(),
            timestamp: change.timestamp,
            key: Some(key),
            value: change.new,
            old: if sends_old { change.old } else { None },
            headers: change.headers,
            ..Row::default()
        }
    }
}
