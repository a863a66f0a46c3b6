//! `Rows`: the rows of a micro-batch between two stages, as Python sees them.
//!
//! Columns go out as lists and come back as lists; a whole stage is one call each way, never one a row. `Task.run`
//! *takes* the rows it is given: a `Rows` handed to a segment is empty afterwards.

use bytes::Bytes;
use headwater_state::row::{OrderKey, PHASE_RECORD, Row, descend, order_head};
use headwater_state::store::Argument;
use headwater_state::store::split_rows as split;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};

/// See the module.
#[pyclass(module = "headwater._core")]
#[derive(Default)]
pub struct Rows {
    pub rows: Vec<Row>,
}

fn own(bytes: Option<&[u8]>) -> Option<Bytes> {
    bytes.map(Bytes::copy_from_slice)
}

fn column<'py>(py: Python<'py>, rows: &[Row], get: impl Fn(&Row) -> Option<&Bytes>) -> PyResult<Bound<'py, PyList>> {
    PyList::new(py, rows.iter().map(|row| get(row).map(|bytes| PyBytes::new(py, bytes))))
}

fn same_length(rows: usize, column: usize) -> PyResult<()> {
    if rows == column {
        return Ok(());
    }
    Err(PyValueError::new_err(format!("expected a column of {rows} entries, one a row, got {column}")))
}

#[pymethods]
impl Rows {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Rows of source records; `seqs` ascending.
    #[staticmethod]
    fn source(
        seqs: Vec<u32>,
        keys: Vec<Option<Bound<'_, PyBytes>>>,
        values: Vec<Option<Bound<'_, PyBytes>>>,
        timestamps: Vec<i64>,
        headers: Vec<Bound<'_, PyBytes>>,
    ) -> PyResult<Self> {
        for length in [keys.len(), values.len(), timestamps.len(), headers.len()] {
            same_length(seqs.len(), length)?;
        }
        let mut rows = Vec::with_capacity(seqs.len());
        for (index, seq) in seqs.into_iter().enumerate() {
            rows.push(Row {
                order: [order_head(seq, PHASE_RECORD)].into_iter().collect(),
                timestamp: timestamps[index],
                key: own(keys[index].as_ref().map(|key| key.as_bytes())),
                value: own(values[index].as_ref().map(|value| value.as_bytes())),
                headers: Bytes::copy_from_slice(headers[index].as_bytes()),
                ..Row::default()
            });
        }
        Ok(Self { rows })
    }

    /// All rows of several, by order key.
    #[staticmethod]
    fn merge(parts: Vec<PyRefMut<'_, Self>>) -> Self {
        let mut rows: Vec<Row> = Vec::new();
        for mut part in parts {
            rows.append(&mut part.rows);
        }
        rows.sort_by(|a, b| a.order.cmp(&b.order));
        Self { rows }
    }

    fn __len__(&self) -> usize {
        self.rows.len()
    }

    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        column(py, &self.rows, |row| row.key.as_ref())
    }

    fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        column(py, &self.rows, |row| row.value.as_ref())
    }

    fn olds<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        column(py, &self.rows, |row| row.old.as_ref())
    }

    fn others<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        column(py, &self.rows, |row| row.other.as_ref())
    }

    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        column(py, &self.rows, |row| Some(&row.headers))
    }

    fn timestamps(&self) -> Vec<i64> {
        self.rows.iter().map(|row| row.timestamp).collect()
    }

    fn seqs(&self) -> Vec<u32> {
        self.rows.iter().map(Row::seq).collect()
    }

    fn orders<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        self.rows.iter().map(|row| PyTuple::new(py, &row.order)).collect()
    }

    /// What lookup number `index` found: (value, timestamp) or None, a row.
    fn lookups<'py>(&self, py: Python<'py>, index: usize) -> PyResult<Bound<'py, PyList>> {
        let found = self.rows.iter().map(|row| {
            let (bytes, timestamp) = row.lookups.get(index)?.as_ref()?;
            Some((PyBytes::new(py, bytes), *timestamp))
        });
        PyList::new(py, found)
    }

    /// The folded JSON object and the kept rows of aggregates with kept rows, a row.
    fn groups<'py>(&self, py: Python<'py>, old: bool) -> PyResult<Bound<'py, PyList>> {
        let groups = self.rows.iter().map(|row| {
            let (folded, rows) = split(if old { row.old.as_ref()? } else { row.value.as_ref()? })?;
            let rows: Vec<_> = rows.iter().map(|row| PyBytes::new(py, row)).collect();
            Some((PyBytes::new(py, &folded), rows))
        });
        PyList::new(py, groups)
    }

    /// The rows where `mask` is true.
    fn filter(&self, mask: Vec<bool>) -> PyResult<Self> {
        same_length(self.rows.len(), mask.len())?;
        let rows = self.rows.iter().zip(mask).filter(|(_, keep)| *keep).map(|(row, _)| row.clone()).collect();
        Ok(Self { rows })
    }

    /// The first `count` rows.
    fn head(&self, count: usize) -> Self {
        Self { rows: self.rows.iter().take(count).cloned().collect() }
    }

    /// A copy whose order keys say that it goes to child number `child`.
    fn fan(&self, child: u32) -> Self {
        let rows = self.rows.iter().map(|row| Row { order: descend(&row.order, child), ..row.clone() }).collect();
        Self { rows }
    }

    /// Several rows of one: row `parents[i]` with the i-th entry of each column given. `parents` ascending.
    #[pyo3(signature = (parents, keys=None, values=None, olds=None))]
    fn expand(
        &self,
        parents: Vec<usize>,
        keys: Option<Vec<Option<Bound<'_, PyBytes>>>>,
        values: Option<Vec<Option<Bound<'_, PyBytes>>>>,
        olds: Option<Vec<Option<Bound<'_, PyBytes>>>>,
    ) -> PyResult<Self> {
        for given in [&keys, &values, &olds].into_iter().flatten() {
            same_length(parents.len(), given.len())?;
        }
        let entry = |given: &Option<Vec<Option<Bound<'_, PyBytes>>>>, index: usize| {
            given.as_ref().map(|list| own(list[index].as_ref().map(|bytes| bytes.as_bytes())))
        };
        let mut rows: Vec<Row> = Vec::with_capacity(parents.len());
        let (mut last, mut emission) = (usize::MAX, 0);
        for (index, parent) in parents.into_iter().enumerate() {
            emission = if parent == last { emission + 1 } else { 0 };
            last = parent;
            let source =
                self.rows.get(parent).ok_or_else(|| PyValueError::new_err("expected a parent within the rows"))?;
            let mut row = Row { order: descend(&source.order, emission), ..source.clone() };
            row.key = entry(&keys, index).unwrap_or(row.key);
            row.value = entry(&values, index).unwrap_or(row.value);
            row.old = entry(&olds, index).unwrap_or(row.old);
            rows.push(row);
        }
        Ok(Self { rows })
    }

    fn copy(&self) -> Self {
        Self { rows: self.rows.clone() }
    }

    /// Each row by itself.
    fn split(&self) -> Vec<Self> {
        self.rows.iter().map(|row| Self { rows: vec![row.clone()] }).collect()
    }

    /// Makes these the rows of source records from `seq` on, in their order.
    fn resequence(&mut self, seq: u32) {
        for (row, seq) in self.rows.iter_mut().zip(seq..) {
            row.order = [order_head(seq, PHASE_RECORD)].into_iter().collect();
        }
    }

    /// Row numbers whose key (value) does not fit a serde: "text" is UTF-8, "fixed8" eight bytes, "any" everything.
    fn misfits(&self, key: &str, value: &str) -> Vec<usize> {
        let fits = |bytes: Option<&Bytes>, form: &str| match (bytes, form) {
            (Some(bytes), "text") => std::str::from_utf8(bytes).is_ok(),
            (Some(bytes), "fixed8") => bytes.len() == 8,
            _ => true,
        };
        let misfit = |row: &Row| !fits(row.key.as_ref(), key) || !fits(row.value.as_ref(), value);
        self.rows.iter().enumerate().filter(|(_, row)| misfit(row)).map(|(index, _)| index).collect()
    }

    fn set_keys(&mut self, keys: Vec<Option<Bound<'_, PyBytes>>>) -> PyResult<()> {
        self.set(&keys, |row, bytes| row.key = bytes)
    }

    fn set_values(&mut self, values: Vec<Option<Bound<'_, PyBytes>>>) -> PyResult<()> {
        self.set(&values, |row, bytes| row.value = bytes)
    }

    fn set_olds(&mut self, olds: Vec<Option<Bound<'_, PyBytes>>>) -> PyResult<()> {
        self.set(&olds, |row, bytes| row.old = bytes)
    }

    fn set_others(&mut self, others: Vec<Option<Bound<'_, PyBytes>>>) -> PyResult<()> {
        self.set(&others, |row, bytes| row.other = bytes)
    }

    fn set_timestamps(&mut self, timestamps: Vec<i64>) -> PyResult<()> {
        same_length(self.rows.len(), timestamps.len())?;
        self.rows.iter_mut().zip(timestamps).for_each(|(row, timestamp)| row.timestamp = timestamp);
        Ok(())
    }

    /// Packs the arguments of an aggregation, a list (of int, float or None) each, into the rows.
    fn set_arguments(&mut self, columns: Vec<Bound<'_, PyList>>) -> PyResult<()> {
        for column in &columns {
            same_length(self.rows.len(), column.len())?;
        }
        for (index, row) in self.rows.iter_mut().enumerate() {
            let mut packed = bytes::BytesMut::with_capacity(9 * columns.len());
            for column in &columns {
                argument_of(&column.get_item(index)?)?.pack(&mut packed);
            }
            row.other = Some(packed.freeze());
        }
        Ok(())
    }
}

fn argument_of(object: &Bound<'_, PyAny>) -> PyResult<Argument> {
    if object.is_none() {
        return Ok(Argument::Null);
    }
    match object.extract::<i64>() {
        Ok(value) => Ok(Argument::Int(value)),
        Err(_) => Ok(Argument::Float(object.extract()?)),
    }
}

impl Rows {
    fn set(&mut self, column: &[Option<Bound<'_, PyBytes>>], write: impl Fn(&mut Row, Option<Bytes>)) -> PyResult<()> {
        same_length(self.rows.len(), column.len())?;
        for (row, bytes) in self.rows.iter_mut().zip(column) {
            write(row, own(bytes.as_ref().map(|bytes| bytes.as_bytes())));
        }
        Ok(())
    }
}

/// The order key that a Python stage's emission number `emission` of a row gets.
pub(crate) fn emitted(order: &OrderKey, emission: u32) -> OrderKey {
    descend(order, emission)
}

/// Splits a visible aggregate with kept rows into its folded JSON object and the rows.
#[pyfunction]
pub(crate) fn split_rows<'py>(
    py: Python<'py>,
    visible: &[u8],
) -> PyResult<(Bound<'py, PyBytes>, Vec<Bound<'py, PyBytes>>)> {
    let (folded, rows) = split(&Bytes::copy_from_slice(visible))
        .ok_or_else(|| PyValueError::new_err("expected an aggregate with kept rows, got other bytes"))?;
    Ok((PyBytes::new(py, &folded), rows.iter().map(|row| PyBytes::new(py, row)).collect()))
}
