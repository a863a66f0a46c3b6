//! JSON between bytes and typed columns: some fields of many objects in, one object a row out.
//!
//! [`Projector`] takes a few fields out of each object in one pass. Objects of a topic mostly have the same keys in the
//! same order, so it remembers the text between the values of the last few objects (a *shape*) and compares it instead
//! of parsing it; an object of another shape goes through the general scanner, which teaches it a new one.
//!
//! **Invariants**
//! 1. What is called [`Outcome::Known`] is what a strict decoder for the same fields accepts, with the same values: the
//!    whole text is checked, skipped parts included, and the last of several equal keys wins.
//! 2. What is rare or wrong is [`Outcome::Unsure`], never a guess: escapes in wanted texts, integers of more than 18
//!    digits, whole numbers written as reals, anything malformed. The caller asks a complete decoder, which also words
//!    the error.

mod encode;
mod number;
mod project;
mod scan;

pub use encode::{write_f64, write_i64, write_moment, write_text};
pub use project::{Column, ColumnData, Columns, FieldKind, FieldSpec, Outcome, Projector, Slot};
