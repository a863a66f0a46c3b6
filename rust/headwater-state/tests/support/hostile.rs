//! What must hold for any bytes at all that are offered as JSON: the fuzz target and its stable twin share it.
#![allow(clippy::unwrap_used, reason = "a panic is what it looks for")]

use headwater_state::json::{FieldKind, FieldSpec, Outcome, Projector, Slot};

/// Lines as objects: what the projector claims to know is what a complete decoder says, whatever it saw before.
pub(crate) fn project(data: &[u8]) {
    let field =
        |name: &str, kind, is_nullable| FieldSpec { name: name.into(), kind, is_nullable, is_optional: is_nullable };
    let fields = || {
        vec![
            field("a", FieldKind::Int64, false),
            field("b", FieldKind::Float64, true),
            field("c", FieldKind::Text, true),
            field("d", FieldKind::Boolean, true),
        ]
    };
    let mut warm = Projector::new(fields());
    for text in data.split(|byte| *byte == b'\n') {
        let mut slots = [Slot::Null; 4];
        let outcome = warm.project(text, &mut slots);
        let mut fresh_slots = [Slot::Null; 4];
        let fresh = Projector::new(fields()).project(text, &mut fresh_slots);
        assert_eq!(outcome, fresh, "what was seen before makes a difference: {:?}", String::from_utf8_lossy(text));
        if outcome == Outcome::Unsure {
            continue;
        }
        assert_eq!(slots, fresh_slots);
        let value: serde_json::Value = serde_json::from_slice(text).expect("what is known is JSON");
        for (spec, slot) in fields().iter().zip(slots) {
            check(value.get(&spec.name), slot, text);
        }
    }
}

fn check(value: Option<&serde_json::Value>, slot: Slot, text: &[u8]) {
    let is_right = match slot {
        Slot::Null => value.is_none_or(serde_json::Value::is_null),
        Slot::Int(number) => value.and_then(serde_json::Value::as_i64) == Some(number),
        // The decoder may be off by the last bit.
        Slot::Float(number) => value
            .and_then(serde_json::Value::as_f64)
            .is_some_and(|other| (other - number).abs() <= f64::EPSILON * other.abs() || other == number),
        Slot::Text(start, end) => value.and_then(|value| Some(value.as_str()?.as_bytes())) == Some(&text[start..end]),
        Slot::Bool(truth) => value.and_then(serde_json::Value::as_bool) == Some(truth),
    };
    assert!(is_right, "{slot:?} instead of {value:?} in {:?}", String::from_utf8_lossy(text));
}
