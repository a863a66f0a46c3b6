//! `SimulatedDisk`: a directory in memory that crashes on demand, so that a program can be shown what it leaves behind.

use std::sync::Arc;

use headwater_log::storage::{Failure, Fault, Image, Kind, Level, SimulatedStorage};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::gate::Gate;

/// See the module.
#[pyclass(frozen, module = "headwater._core")]
pub(crate) struct SimulatedDisk {
    pub(crate) storage: Arc<SimulatedStorage>,
}

/// An operation that never comes: until then they are counted.
const NEVER: u64 = u64::MAX;

fn death(first: u64) -> Fault {
    Fault::Change { kinds: Kind::ALL, failure: Failure::Dead, first, is_lasting: true }
}

impl SimulatedDisk {
    fn over(storage: SimulatedStorage) -> Self {
        storage.fail(Some(death(NEVER)));
        Self { storage: Arc::new(storage) }
    }
}

fn level(name: &str) -> Option<Level> {
    Some(match name {
        "killed" => Level::Killed,
        "power_loss" => Level::PowerLoss,
        "prefixes" => Level::Prefixes,
        "torn" => Level::Torn,
        "reordered" => Level::Reordered,
        _ => return None,
    })
}

#[pymethods]
impl SimulatedDisk {
    #[new]
    fn new() -> Self {
        Self::over(SimulatedStorage::default())
    }

    /// Lets operation number `operation`, counted from now and from 1, and all behind it, not happen; None: all do.
    #[pyo3(signature = (operation))]
    fn fail_at(&self, operation: Option<u64>) {
        self.storage.fail(Some(death(operation.unwrap_or(NEVER))));
    }

    /// Operations that were tried since the last `fail_at`.
    fn operations(&self) -> u64 {
        self.storage.tried()
    }

    /// The directory that a restart may find: one of a level, drawn by a seed.
    fn crash(&self, py: Python<'_>, level_name: &str, seed: u64) -> PyResult<Self> {
        let level =
            level(level_name).ok_or_else(|| PyValueError::new_err(format!("no level of a crash: {level_name}")))?;
        let image = py.enter(|| -> Result<Image, crate::errors::Failure> {
            let mut crashes = self.storage.crashes();
            while crashes.advance() {}
            let drawn = crashes.images(level, seed, 1).pop();
            // Where nothing is unsynced a level may have no directory of its own.
            Ok(drawn.unwrap_or_else(|| self.storage.image(Level::PowerLoss)))
        })?;
        Ok(Self::over(SimulatedStorage::new(&image)))
    }
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<SimulatedDisk>()
}
