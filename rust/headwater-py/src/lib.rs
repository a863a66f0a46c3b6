//! The thin binding of headwater's core to Python: module `headwater._core`, the only crate that names pyo3.
//!
//! Each subject has a file with a `register` function; this file is their list.

mod admin;
mod arrow;
mod clock;
mod encoder;
mod errors;
mod feed;
mod frames;
mod gate;
mod handle;
mod headers;
mod inspect;
mod json;
mod log;
mod producer;
mod read_ahead;
mod rows;
mod sender;
mod simulated;
mod task;
mod transaction;
mod untracked;
mod wal;

use pyo3::prelude::*;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[pymodule]
fn _core(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("__version__", env!("CARGO_PKG_VERSION"))?;
    log::register(m)?;
    admin::register(m)?;
    inspect::register(m)?;
    handle::register(m)?;
    producer::register(m)?;
    headers::register(m)?;
    task::register(m)?;
    transaction::register(m)?;
    simulated::register(m)?;
    feed::register(m)?;
    read_ahead::register(m)?;
    frames::register(m)?;
    json::register(m)?;
    Ok(())
}
