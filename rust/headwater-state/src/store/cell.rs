//! What a slot holds: serialised bytes, a count, or the accumulators of a named aggregation.
//!
//! Accumulators fold one record at a time in f64 (integers in i64), so every batch size gives the same bits. What does
//! not decompose keeps the group's values (`rows`); these are append-only and shared by every version of the cell, of
//! which each knows only its own length, so that copying a cell for undo does not copy the group.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{BufMut, Bytes, BytesMut};

/// An argument of a fold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Argument {
    /// Missing: skipped by every fold but `len`, `first` and `last`.
    Null,
    /// A whole number.
    Int(i64),
    /// A real number.
    Float(f64),
}

const ARGUMENT_SIZE: usize = 9;

impl Argument {
    /// Appends the packed form, 9 bytes.
    pub fn pack(self, out: &mut BytesMut) {
        match self {
            Self::Null => {
                out.put_u8(0);
                out.put_i64(0);
            }
            Self::Int(value) => {
                out.put_u8(1);
                out.put_i64(value);
            }
            Self::Float(value) => {
                out.put_u8(2);
                out.put_f64(value);
            }
        }
    }

    /// Argument number `index` of a packed row.
    pub fn unpack(packed: &[u8], index: usize) -> Self {
        let at = index * ARGUMENT_SIZE;
        let Some(bytes) = packed.get(at..at + ARGUMENT_SIZE) else { return Self::Null };
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[1..]);
        match bytes[0] {
            1 => Self::Int(i64::from_be_bytes(word)),
            2 => Self::Float(f64::from_be_bytes(word)),
            _ => Self::Null,
        }
    }

    fn as_f64(self) -> Option<f64> {
        match self {
            Self::Null => None,
            Self::Int(value) => Some(value as f64),
            Self::Float(value) => Some(value),
        }
    }
}

/// How a column of an aggregation folds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoldKind {
    /// Number of records.
    Len,
    /// Number of values that are not null.
    Count,
    /// Sum; 0 over nothing.
    Sum,
    /// Smallest value.
    Min,
    /// Largest value.
    Max,
    /// Mean; null over nothing.
    Mean,
    /// First value in order of arrival, null included.
    First,
    /// Last value in order of arrival, null included.
    Last,
    /// Sample variance (one degree of freedom); null under two values.
    Var,
    /// Sample standard deviation.
    Std,
}

impl FoldKind {
    /// By polars' name.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "len" => Self::Len,
            "count" => Self::Count,
            "sum" => Self::Sum,
            "min" => Self::Min,
            "max" => Self::Max,
            "mean" => Self::Mean,
            "first" => Self::First,
            "last" => Self::Last,
            "var" => Self::Var,
            "std" => Self::Std,
            _ => return None,
        })
    }
}

/// One named column of an aggregation.
#[derive(Clone, Debug)]
pub struct AggColumn {
    /// Name in the resulting value.
    pub name: String,
    /// How it folds.
    pub kind: FoldKind,
    /// Which argument it folds.
    pub argument: usize,
    /// Whether a sum, minimum or maximum is whole.
    pub is_int: bool,
}

/// What an aggregation computes.
#[derive(Clone, Debug, Default)]
pub struct AggSpec {
    /// Columns that fold.
    pub columns: Vec<AggColumn>,
    /// Whether the group's values are kept for expressions that do not decompose.
    pub keeps_rows: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Accumulator {
    count: u64,
    int: i64,
    // Sum, minimum, maximum, first or last; the running mean of Var and Std.
    real: f64,
    // Sum of squared differences from the running mean.
    squares: f64,
    is_null: bool,
}

const EMPTY: Accumulator = Accumulator { count: 0, int: 0, real: 0.0, squares: 0.0, is_null: true };

impl Accumulator {
    fn add(&mut self, kind: FoldKind, argument: Argument) {
        match kind {
            FoldKind::Len => self.count += 1,
            FoldKind::First if self.count > 0 => {}
            FoldKind::First | FoldKind::Last => {
                self.count += 1;
                self.is_null = argument == Argument::Null;
                self.keep(argument);
            }
            _ => {
                let Some(real) = argument.as_f64() else { return };
                self.count += 1;
                let is_first = self.is_null;
                self.is_null = false;
                match kind {
                    FoldKind::Sum | FoldKind::Mean => {
                        self.real += real;
                        if let Argument::Int(value) = argument {
                            self.int = self.int.wrapping_add(value);
                        }
                    }
                    FoldKind::Min if is_first || real < self.real || self.real.is_nan() => self.keep(argument),
                    FoldKind::Max if is_first || real > self.real || self.real.is_nan() => self.keep(argument),
                    FoldKind::Var | FoldKind::Std => {
                        let delta = real - self.real;
                        self.real += delta / self.count as f64;
                        self.squares += delta * (real - self.real);
                    }
                    _ => {}
                }
            }
        }
    }

    fn keep(&mut self, argument: Argument) {
        if let Argument::Int(value) = argument {
            self.int = value;
        }
        self.real = argument.as_f64().unwrap_or(0.0);
    }

    // `self` came before `later`.
    fn merge(&mut self, kind: FoldKind, later: &Self) {
        match kind {
            FoldKind::Len | FoldKind::Count => self.count += later.count,
            FoldKind::First if self.count > 0 => {}
            FoldKind::First => *self = *later,
            FoldKind::Last if later.count > 0 => *self = *later,
            _ if later.count == 0 => {}
            _ if self.count == 0 => *self = *later,
            FoldKind::Sum | FoldKind::Mean => {
                self.count += later.count;
                self.real += later.real;
                self.int = self.int.wrapping_add(later.int);
                self.is_null &= later.is_null;
            }
            FoldKind::Min | FoldKind::Max => {
                let takes = if kind == FoldKind::Min { later.real < self.real } else { later.real > self.real };
                let count = self.count + later.count;
                if takes {
                    *self = *later;
                }
                self.count = count;
            }
            FoldKind::Var | FoldKind::Std => {
                let (n, m) = (self.count as f64, later.count as f64);
                let delta = later.real - self.real;
                self.squares += later.squares + delta * delta * n * m / (n + m);
                self.real += delta * m / (n + m);
                self.count += later.count;
            }
            FoldKind::Last => {}
        }
    }

    fn value(&self, column: &AggColumn) -> Argument {
        let number = |real: f64| if column.is_int { Argument::Int(self.int) } else { Argument::Float(real) };
        match column.kind {
            FoldKind::Len | FoldKind::Count => Argument::Int(self.count as i64),
            FoldKind::Sum => number(self.real),
            FoldKind::Min | FoldKind::Max | FoldKind::First | FoldKind::Last if self.is_null => Argument::Null,
            FoldKind::Min | FoldKind::Max | FoldKind::First | FoldKind::Last => number(self.real),
            FoldKind::Mean if self.count == 0 => Argument::Null,
            FoldKind::Mean => Argument::Float(self.real / self.count as f64),
            FoldKind::Var | FoldKind::Std if self.count < 2 => Argument::Null,
            FoldKind::Var => Argument::Float(self.squares / (self.count - 1) as f64),
            FoldKind::Std => Argument::Float((self.squares / (self.count - 1) as f64).sqrt()),
        }
    }
}

/// The values of a group so far: shared storage, own length.
#[derive(Clone, Debug, Default)]
struct GroupRows {
    shared: Arc<Mutex<Vec<Bytes>>>,
    length: usize,
}

impl GroupRows {
    fn push(&mut self, value: &Bytes) {
        let mut rows = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        rows.truncate(self.length);
        rows.push(Bytes::copy_from_slice(value));
        self.length += 1;
    }

    fn to_vec(&self) -> Vec<Bytes> {
        let rows = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        rows[..self.length].to_vec()
    }
}

/// The state of one group under an [`AggSpec`].
#[derive(Clone, Debug)]
pub struct Accumulators {
    columns: Vec<Accumulator>,
    rows: Option<GroupRows>,
}

impl PartialEq for Accumulators {
    fn eq(&self, other: &Self) -> bool {
        let rows = |cell: &Self| cell.rows.as_ref().map(GroupRows::to_vec);
        self.columns == other.columns && rows(self) == rows(other)
    }
}

impl Accumulators {
    /// A group without records.
    pub fn new(spec: &AggSpec) -> Self {
        Self { columns: vec![EMPTY; spec.columns.len()], rows: spec.keeps_rows.then(GroupRows::default) }
    }

    /// Folds one record in: its arguments and, where rows are kept, its value.
    pub fn add(&mut self, spec: &AggSpec, argument: impl Fn(usize) -> Argument, value: Option<&Bytes>) {
        for (accumulator, column) in self.columns.iter_mut().zip(&spec.columns) {
            accumulator.add(column.kind, argument(column.argument));
        }
        if let (Some(rows), Some(value)) = (&mut self.rows, value) {
            rows.push(value);
        }
    }

    /// Appends another group whose records came later.
    pub fn merge(&mut self, spec: &AggSpec, later: &Self) {
        for ((accumulator, other), column) in self.columns.iter_mut().zip(&later.columns).zip(&spec.columns) {
            accumulator.merge(column.kind, other);
        }
        if let (Some(rows), Some(other)) = (&self.rows, &later.rows) {
            let mut all = rows.to_vec();
            all.extend(other.to_vec());
            let length = all.len();
            self.rows = Some(GroupRows { shared: Arc::new(Mutex::new(all)), length });
        }
    }

    /// The value as JSON, `{"name":number,...}`; with kept rows, their frames follow (see [`split_rows`]).
    fn visible(&self, spec: &AggSpec) -> Bytes {
        let mut out = BytesMut::with_capacity(32 * spec.columns.len() + 8);
        out.put_u8(b'{');
        for (index, (accumulator, column)) in self.columns.iter().zip(&spec.columns).enumerate() {
            if index > 0 {
                out.put_u8(b',');
            }
            out.put_u8(b'"');
            out.put_slice(column.name.as_bytes());
            out.put_slice(b"\":");
            match accumulator.value(column) {
                Argument::Int(value) => out.put_slice(itoa::Buffer::new().format(value).as_bytes()),
                Argument::Float(value) if value.is_finite() => {
                    out.put_slice(ryu::Buffer::new().format_finite(value).as_bytes());
                }
                _ => out.put_slice(b"null"),
            }
        }
        out.put_u8(b'}');
        if let Some(rows) = &self.rows {
            for row in rows.to_vec() {
                out.put_u32(row.len() as u32);
                out.put_slice(&row);
            }
        }
        out.freeze()
    }

    fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u16(self.columns.len() as u16);
        for column in &self.columns {
            out.put_u64(column.count);
            out.put_i64(column.int);
            out.put_f64(column.real);
            out.put_f64(column.squares);
            out.put_u8(u8::from(column.is_null));
        }
        for row in self.rows.as_ref().map(GroupRows::to_vec).unwrap_or_default() {
            out.put_u32(row.len() as u32);
            out.put_slice(&row);
        }
        out.freeze()
    }

    fn decode(spec: &AggSpec, bytes: &Bytes) -> Option<Self> {
        let count = u16::from_be_bytes(bytes.get(..2)?.try_into().ok()?) as usize;
        if count != spec.columns.len() {
            return None;
        }
        let mut columns = Vec::with_capacity(count);
        let mut at = 2;
        for _ in 0..count {
            let raw = bytes.get(at..at + 33)?;
            columns.push(Accumulator {
                count: u64::from_be_bytes(raw[..8].try_into().ok()?),
                int: i64::from_be_bytes(raw[8..16].try_into().ok()?),
                real: f64::from_be_bytes(raw[16..24].try_into().ok()?),
                squares: f64::from_be_bytes(raw[24..32].try_into().ok()?),
                is_null: flag(raw[32])?,
            });
            at += 33;
        }
        let rows = if spec.keeps_rows {
            let rows = read_frames(&Bytes::copy_from_slice(&bytes[at..]))?;
            Some(GroupRows { length: rows.len(), shared: Arc::new(Mutex::new(rows)) })
        } else if at == bytes.len() {
            None
        } else {
            return None;
        };
        Some(Self { columns, rows })
    }
}

fn flag(byte: u8) -> Option<bool> {
    (byte <= 1).then_some(byte == 1)
}

/// Splits a visible value of kept rows into its folded JSON object and the rows.
pub fn split_rows(visible: &Bytes) -> Option<(Bytes, Vec<Bytes>)> {
    // The object holds names without braces or escapes, and numbers: its first `}` is its end.
    let end = visible.iter().position(|byte| *byte == b'}')? + 1;
    Some((visible.slice(..end), read_frames(&visible.slice(end..))?))
}

fn read_frames(bytes: &Bytes) -> Option<Vec<Bytes>> {
    let mut rows = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let length = u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize;
        at += 4;
        bytes.get(at..at + length)?;
        rows.push(bytes.slice(at..at + length));
        at += length;
    }
    Some(rows)
}

/// What a slot holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// A serialised value.
    Bytes(Bytes),
    /// A count, visible as Kafka's Long.
    Int(i64),
    /// A named aggregation.
    Accumulators(Box<Accumulators>),
}

impl Cell {
    /// The bytes that the topology sees.
    pub fn visible(&self, spec: Option<&AggSpec>) -> Bytes {
        match (self, spec) {
            (Self::Bytes(bytes), _) => bytes.clone(),
            (Self::Int(value), _) => Bytes::copy_from_slice(&value.to_be_bytes()),
            (Self::Accumulators(cell), Some(spec)) => cell.visible(spec),
            (Self::Accumulators(_), None) => Bytes::new(),
        }
    }

    /// The bytes that the changelog keeps: a tag, then the whole state.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::Bytes(bytes) => {
                out.put_u8(0);
                out.put_slice(bytes);
            }
            Self::Int(value) => {
                out.put_u8(1);
                out.put_i64(*value);
            }
            Self::Accumulators(cell) => {
                out.put_u8(2);
                out.put_slice(&cell.encode());
            }
        }
        out.freeze()
    }

    /// The inverse of [`Cell::encode`]; `None` if the bytes do not fit.
    pub fn decode(spec: Option<&AggSpec>, bytes: &Bytes) -> Option<Self> {
        match bytes.first()? {
            0 => Some(Self::Bytes(Bytes::copy_from_slice(&bytes[1..]))),
            1 => Some(Self::Int(i64::from_be_bytes(bytes[1..].try_into().ok()?))),
            2 => Some(Self::Accumulators(Box::new(Accumulators::decode(spec?, &bytes.slice(1..))?))),
            _ => None,
        }
    }
}
