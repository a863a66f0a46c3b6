//! `Transaction`: a transactional id of this process, whose records count together or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use headwater_log::TransactionalProducer;
use pyo3::prelude::*;

use crate::errors::{Failure, InvalidArgumentError};
use crate::gate::Gate;
use crate::log::{Liveness, Log};
use crate::wal::{Entry, TransactionEntry};

/// See the module.
#[pyclass(frozen, module = "headwater._core")]
pub(crate) struct Transaction {
    pub(crate) producer: Arc<TransactionalProducer>,
    log: Arc<Liveness>,
    /// What `is_open` answers, without waiting for a batch that is being written.
    is_open: AtomicBool,
    /// Whether records may be sent: not any more once somebody has asked for the end.
    accepts: AtomicBool,
}

impl Transaction {
    fn step(
        &self,
        py: Python<'_>,
        step: impl FnOnce(&TransactionalProducer) -> Result<(), headwater_log::Error> + Send,
    ) -> PyResult<()> {
        self.log.check()?;
        py.enter(|| step(&self.producer).map_err(Failure::from))
    }

    /// Whether records may be sent now.
    #[inline]
    pub(crate) fn accepts(&self) -> bool {
        self.accepts.load(Ordering::Relaxed)
    }

    /// Why they may not, out of the way of those that may.
    #[cold]
    pub(crate) fn refusal(&self) -> PyErr {
        InvalidArgumentError::new_err(if self.is_open() {
            "expected an open transaction, got one that is being ended - at a transactional producer; send before commit()"
        } else {
            "expected an open transaction, got none - at a transactional producer; begin one with producer.begin()"
        })
    }
}

#[pymethods]
impl Transaction {
    /// Takes the transactional id over: whoever has it is fenced, and what he left open is aborted.
    #[new]
    fn new(py: Python<'_>, log: &Bound<'_, Log>, id: &str, timeout_ms: i32) -> PyResult<Self> {
        let log = log.get();
        log.liveness.check()?;
        let producer = py.enter(|| log.broker.transactional_producer(id, timeout_ms).map_err(Failure::from))?;
        let (is_open, accepts) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self { producer: Arc::new(producer), log: Arc::clone(&log.liveness), is_open, accepts })
    }

    fn begin(&self, py: Python<'_>) -> PyResult<()> {
        self.step(py, TransactionalProducer::begin)?;
        self.is_open.store(true, Ordering::Relaxed);
        self.accepts.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Takes no more records: those sent so far are flushed next, then the transaction ends.
    fn seal(&self) {
        self.accepts.store(false, Ordering::Relaxed);
    }

    /// Commits a group's offsets with the transaction: (topic, partition, next offset, metadata).
    fn send_offsets(&self, py: Python<'_>, group: &str, offsets: Vec<Entry>) -> PyResult<()> {
        self.step(py, |producer| producer.send_offsets(group, &offsets))
    }

    /// Durable, and visible to who reads committed records, when it returns. What fails may be tried again.
    fn commit(&self, py: Python<'_>) -> PyResult<()> {
        self.step(py, TransactionalProducer::commit)?;
        self.is_open.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// What was written will never count. What fails may be tried again.
    fn abort(&self, py: Python<'_>) -> PyResult<()> {
        self.step(py, TransactionalProducer::abort)?;
        self.is_open.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Whether a transaction has begun and not ended.
    fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }
}

/// Every transactional id: id, producer id, epoch, state, time-out ms, begin ms or -1, where it has written.
#[pyfunction]
fn list_transactions(log: &Log) -> PyResult<Vec<TransactionEntry>> {
    log.liveness.check()?;
    Ok(crate::wal::transactions(&log.broker))
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Transaction>()?;
    m.add_function(wrap_pyfunction!(list_transactions, m)?)
}
