//! State of stream processing: stores, windows, joins, and the kernels that run records through them.
//!
//! It is not: a scheduler, a log or a query engine. Tasks and vector stages are Python's, in `headwater.runtime`; records
//! come from and go to `headwater-log`.
//!
//! # Layout
//!
//! * [`row`]: a record on its way, and its order key;
//! * [`store`]: what operators remember;
//! * [`kernel`]: the operators, and the segments they form;
//! * [`json`]: fields out of JSON values, and values out of columns;
//! * [`changelog`]: stores as rows of a topic, and back.

pub mod changelog;
pub mod json;
pub mod kernel;
pub mod row;
pub mod store;
