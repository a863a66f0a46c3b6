//! Takes some fields out of JSON objects, by remembered shapes first; see the module above for what it promises.

use std::ops::Range;

use super::{number, scan};

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// A whole number of 64 bits.
    Int64,
    /// A double; whole numbers fit.
    Float64,
    /// A text.
    Text,
    /// true or false.
    Boolean,
}

/// A wanted field.
#[derive(Clone, Debug)]
pub struct FieldSpec {
    /// Its key in the objects.
    pub name: String,
    /// Its type.
    pub kind: FieldKind,
    /// Whether null fits.
    pub is_nullable: bool,
    /// Whether an object without it has null there (else such an object is [`Outcome::Unsure`]).
    pub is_optional: bool,
}

/// What one object has for one field.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub enum Slot {
    /// Null, or absent where that means null.
    #[default]
    Null,
    /// A whole number.
    Int(i64),
    /// A double.
    Float(f64),
    /// A text without escapes: its range in the object's bytes.
    Text(usize, usize),
    /// true or false.
    Bool(bool),
}

/// Whether an object was understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The slots hold its fields.
    Known,
    /// Ask a complete decoder; the slots are meaningless.
    Unsure,
}

const SKIPPED: usize = usize::MAX;
const MAX_SHAPES: usize = 4;
const MAX_KEYS: usize = 256;

// The text between the values of an object, and which values are wanted.
#[derive(Debug, Default)]
struct Shape {
    literals: Vec<u8>,
    // The text before a value, and the slot that the value goes to.
    steps: Vec<(Range<usize>, usize)>,
    // The text after the last value.
    last: Vec<u8>,
    absent: Vec<usize>,
}

impl Shape {
    #[inline]
    fn read(&self, fields: &[FieldSpec], text: &[u8], out: &mut [Slot]) -> Option<()> {
        let mut at = 0;
        for (range, slot) in &self.steps {
            let literal = &self.literals[range.clone()];
            let end = at + literal.len();
            if text.get(at..end)? != literal {
                return None;
            }
            at = if *slot == SKIPPED {
                scan::skip(text, end, 1)?
            } else {
                value(text, end, &fields[*slot], &mut out[*slot])?
            };
        }
        if text.get(at..)? != self.last {
            return None;
        }
        for slot in &self.absent {
            out[*slot] = Slot::Null;
        }
        Some(())
    }
}

#[inline]
fn value(text: &[u8], at: usize, field: &FieldSpec, out: &mut Slot) -> Option<usize> {
    if text.get(at) == Some(&b'n') && field.is_nullable {
        *out = Slot::Null;
        return scan::literal(text, at, b"null");
    }
    match field.kind {
        FieldKind::Int64 => {
            let (value, end) = number::int(text, at)?;
            *out = Slot::Int(value);
            Some(end)
        }
        FieldKind::Float64 => {
            let (value, end) = number::float(text, at)?;
            *out = Slot::Float(value);
            Some(end)
        }
        FieldKind::Text => {
            let end = scan::string(text, at, false)?;
            *out = Slot::Text(at + 1, end - 1);
            Some(end)
        }
        FieldKind::Boolean => {
            let is_true = *text.get(at)? == b't';
            *out = Slot::Bool(is_true);
            scan::literal(text, at, if is_true { b"true" } else { b"false" })
        }
    }
}

/// Takes the same fields out of many objects.
///
/// ```
/// use headwater_state::json::{FieldKind, FieldSpec, Outcome, Projector, Slot};
///
/// let fare = FieldSpec { name: "fare".into(), kind: FieldKind::Float64, is_nullable: false, is_optional: false };
/// let mut projector = Projector::new(vec![fare]);
/// let mut slots = [Slot::Null];
/// assert_eq!(projector.project(br#"{"zone":74,"fare":9.5}"#, &mut slots), Outcome::Known);
/// assert_eq!(slots[0], Slot::Float(9.5));
/// ```
#[derive(Debug)]
pub struct Projector {
    fields: Vec<FieldSpec>,
    shapes: Vec<Shape>,
    last_hit: usize,
    next_replaced: usize,
    slots: Vec<Slot>,
}

impl Projector {
    /// A projector without shapes yet.
    pub fn new(fields: Vec<FieldSpec>) -> Self {
        let slots = vec![Slot::Null; fields.len()];
        Self { fields, shapes: Vec::new(), last_hit: 0, next_replaced: 0, slots }
    }

    /// The wanted fields.
    pub fn fields(&self) -> &[FieldSpec] {
        &self.fields
    }

    /// Takes the fields out of one object into `out`, a slot a field.
    ///
    /// # Panics
    ///
    /// If `out` is shorter than the fields.
    #[inline]
    pub fn project(&mut self, text: &[u8], out: &mut [Slot]) -> Outcome {
        if let Some(shape) = self.shapes.get(self.last_hit)
            && shape.read(&self.fields, text, out).is_some()
        {
            return Outcome::Known;
        }
        self.project_other(text, out)
    }

    #[inline(never)]
    fn project_other(&mut self, text: &[u8], out: &mut [Slot]) -> Outcome {
        for (index, shape) in self.shapes.iter().enumerate() {
            if index != self.last_hit && shape.read(&self.fields, text, out).is_some() {
                self.last_hit = index;
                return Outcome::Known;
            }
        }
        let Some(shape) = self.scan(text, out) else { return Outcome::Unsure };
        if shape.steps.len() <= MAX_KEYS {
            if self.shapes.len() < MAX_SHAPES {
                self.last_hit = self.shapes.len();
                self.shapes.push(shape);
            } else {
                self.last_hit = self.next_replaced;
                self.shapes[self.next_replaced] = shape;
                self.next_replaced = (self.next_replaced + 1) % MAX_SHAPES;
            }
        }
        Outcome::Known
    }

    // The general scanner: reads an object and returns its shape.
    fn scan(&self, text: &[u8], out: &mut [Slot]) -> Option<Shape> {
        let mut shape = Shape::default();
        let mut is_found = vec![false; self.fields.len()];
        let mut from = 0;
        let mut at = scan::blank(text, scan::byte(text, scan::blank(text, 0), b'{')?);
        let mut has_more = text.get(at) != Some(&b'}');
        while has_more {
            let key = at;
            at = scan::string(text, at, false)?;
            let name = &text[key + 1..at - 1];
            let slot = self.fields.iter().position(|field| field.name.as_bytes() == name).unwrap_or(SKIPPED);
            at = scan::blank(text, scan::byte(text, scan::blank(text, at), b':')?);
            let start = shape.literals.len();
            shape.literals.extend_from_slice(&text[from..at]);
            shape.steps.push((start..shape.literals.len(), slot));
            if slot == SKIPPED {
                at = scan::skip(text, at, 1)?;
            } else {
                at = value(text, at, &self.fields[slot], &mut out[slot])?;
                is_found[slot] = true;
            }
            from = at;
            at = scan::blank(text, at);
            match text.get(at)? {
                b',' => at = scan::blank(text, at + 1),
                b'}' => has_more = false,
                _ => return None,
            }
        }
        if scan::blank(text, at + 1) != text.len() {
            return None;
        }
        shape.last.extend_from_slice(&text[from..]);
        for (index, field) in self.fields.iter().enumerate() {
            if !is_found[index] {
                if !field.is_optional {
                    return None;
                }
                out[index] = Slot::Null;
                shape.absent.push(index);
            }
        }
        Some(shape)
    }

    /// Takes numeric fields (booleans are 0 and 1) out of one object; a text counts as missing.
    ///
    /// # Panics
    ///
    /// If `out` is shorter than the fields.
    pub fn numbers(&mut self, text: &[u8], out: &mut [Option<f64>]) -> Outcome {
        let mut slots = std::mem::take(&mut self.slots);
        let outcome = self.project(text, &mut slots);
        for (slot, number) in slots.iter().zip(out.iter_mut()) {
            *number = match *slot {
                Slot::Int(value) => Some(value as f64),
                Slot::Float(value) => Some(value),
                Slot::Bool(value) => Some(f64::from(u8::from(value))),
                Slot::Null | Slot::Text(..) => None,
            };
        }
        self.slots = slots;
        outcome
    }

    /// Builds columns from many objects, `None` being a row without a value.
    pub fn columns<'a>(&mut self, values: impl ExactSizeIterator<Item = Option<&'a [u8]>>) -> Columns {
        let rows = values.len();
        let mut columns: Vec<Column> =
            self.fields.iter().map(|field| Column::with_capacity(field.kind, rows)).collect();
        let mut present = Vec::with_capacity(rows);
        let mut unsure = Vec::new();
        let mut slots = std::mem::take(&mut self.slots);
        for (index, text) in values.enumerate() {
            let known = match text {
                Some(text) if self.project(text, &mut slots) == Outcome::Known => Some(text),
                Some(_) => {
                    unsure.push(index);
                    None
                }
                None => None,
            };
            present.push(known.is_some());
            for (column, slot) in columns.iter_mut().zip(&slots) {
                match known {
                    Some(text) => column.push(*slot, text),
                    None => column.push(Slot::Null, b""),
                }
            }
        }
        self.slots = slots;
        Columns { columns, present, unsure }
    }
}

/// The entries of a column; an entry that is null is a default there.
#[derive(Clone, Debug, PartialEq)]
pub enum ColumnData {
    /// Whole numbers.
    Int64(Vec<i64>),
    /// Doubles.
    Float64(Vec<f64>),
    /// Texts, one after the other, and where each starts (one more than there are texts).
    Text(Vec<u8>, Vec<i64>),
    /// Booleans.
    Boolean(Vec<bool>),
}

/// A field of many objects.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// The entries.
    pub data: ColumnData,
    /// Which entries are not null.
    pub valid: Vec<bool>,
}

impl Column {
    fn with_capacity(kind: FieldKind, rows: usize) -> Self {
        let data = match kind {
            FieldKind::Int64 => ColumnData::Int64(Vec::with_capacity(rows)),
            FieldKind::Float64 => ColumnData::Float64(Vec::with_capacity(rows)),
            FieldKind::Text => {
                let mut starts = Vec::with_capacity(rows + 1);
                starts.push(0);
                ColumnData::Text(Vec::with_capacity(rows * 8), starts)
            }
            FieldKind::Boolean => ColumnData::Boolean(Vec::with_capacity(rows)),
        };
        Self { data, valid: Vec::with_capacity(rows) }
    }

    #[inline]
    fn push(&mut self, slot: Slot, text: &[u8]) {
        self.valid.push(slot != Slot::Null);
        match (&mut self.data, slot) {
            (ColumnData::Int64(entries), Slot::Int(value)) => entries.push(value),
            (ColumnData::Int64(entries), _) => entries.push(0),
            (ColumnData::Float64(entries), Slot::Float(value)) => entries.push(value),
            (ColumnData::Float64(entries), _) => entries.push(0.0),
            (ColumnData::Boolean(entries), Slot::Bool(value)) => entries.push(value),
            (ColumnData::Boolean(entries), _) => entries.push(false),
            (ColumnData::Text(bytes, starts), slot) => {
                if let Slot::Text(start, end) = slot {
                    bytes.extend_from_slice(&text[start..end]);
                }
                starts.push(bytes.len() as i64);
            }
        }
    }
}

/// Columns of many objects.
#[derive(Clone, Debug, PartialEq)]
pub struct Columns {
    /// A column a field.
    pub columns: Vec<Column>,
    /// Which rows have a value that was understood; the others are null in every column.
    pub present: Vec<bool>,
    /// Rows for a complete decoder, ascending.
    pub unsure: Vec<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, kind: FieldKind) -> FieldSpec {
        FieldSpec { name: name.into(), kind, is_nullable: false, is_optional: false }
    }

    fn projector() -> Projector {
        let note = FieldSpec { is_nullable: true, is_optional: true, ..field("note", FieldKind::Text) };
        Projector::new(vec![field("a", FieldKind::Int64), field("b", FieldKind::Float64), note])
    }

    fn read(projector: &mut Projector, text: &str) -> Option<Vec<Slot>> {
        let mut slots = vec![Slot::Null; projector.fields().len()];
        (projector.project(text.as_bytes(), &mut slots) == Outcome::Known).then_some(slots)
    }

    #[test]
    fn shapes_alternate_and_are_still_checked() {
        let mut projector = projector();
        for _ in 0..3 {
            assert_eq!(
                read(&mut projector, r#"{"a":1,"x":[1,{"y":"z"}],"b":2.5,"note":"hi"}"#),
                Some(vec![Slot::Int(1), Slot::Float(2.5), Slot::Text(41, 43)])
            );
            assert_eq!(
                read(&mut projector, "{ \"b\": 2, \"a\": -1 }\n"),
                Some(vec![Slot::Int(-1), Slot::Float(2.0), Slot::Null])
            );
            assert_eq!(
                read(&mut projector, r#"{"a":1,"a":2,"b":1,"note":null}"#),
                Some(vec![Slot::Int(2), Slot::Float(1.0), Slot::Null])
            );
        }
    }

    #[test]
    fn what_is_wrong_or_rare_is_unsure() {
        let mut projector = projector();
        assert!(read(&mut projector, r#"{"a":1,"b":2.5}"#).is_some());
        for text in [
            r#"{"a":1}"#,
            r#"{"a":1,"b":2.5"#,
            r#"{"a":1,"b":2.5}x"#,
            r#"{"a":1.0,"b":2.5}"#,
            r#"{"a":"1","b":2.5}"#,
            r#"{"a":null,"b":2.5}"#,
            r#"{"a":1,"b":2.5,}"#,
            r#"{"a":1,"b":2.5,"c":01}"#,
            r#"{"a":1,"b":2.5,"note":"\n"}"#,
            r#"{"\u0061":1,"b":2.5}"#,
            "[]",
            "",
            "{",
            "{}",
            r#"{"a":1"b":2.5}"#,
        ] {
            assert_eq!(read(&mut projector, text), None, "{text}");
        }
    }

    #[test]
    fn columns_keep_their_rows() {
        let rows: [Option<&[u8]>; 4] =
            [Some(br#"{"a":1,"b":2,"note":"x"}"#), None, Some(b"{"), Some(br#"{"a":2,"b":3,"note":"yz"}"#)];
        let found = projector().columns(rows.into_iter());
        assert_eq!(found.present, [true, false, false, true]);
        assert_eq!(found.unsure, [2]);
        assert_eq!(found.columns[0].data, ColumnData::Int64(vec![1, 0, 0, 2]));
        assert_eq!(found.columns[2].data, ColumnData::Text(b"xyz".to_vec(), vec![0, 1, 1, 1, 3]));
        assert_eq!(found.columns[2].valid, [true, false, false, true]);
    }
}
