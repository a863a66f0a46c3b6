//! How a store lays its slots out: by key, by window start then key, or by key then session.
//!
//! Windows lie in buckets by start, so that a window expires with its bucket, whole, at no cost a slot.

use std::collections::BTreeMap;

use bytes::Bytes;
use hashbrown::HashMap;

use super::Slot;

/// What a slot lies under. `start` and `end` are 0 where the store has no windows; a time window has no `end`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreKey {
    /// Serialised key, without the window.
    pub key: Bytes,
    /// First instant of the window.
    pub start: i64,
    /// Last instant of a session.
    pub end: i64,
}

impl StoreKey {
    /// A key that owns its bytes.
    pub fn owned(key: &[u8], start: i64, end: i64) -> Self {
        Self { key: Bytes::copy_from_slice(key), start, end }
    }
}

/// The layout of a store.
#[derive(Debug)]
pub enum Shape {
    /// One slot a key.
    KeyValue(HashMap<Bytes, Slot>),
    /// One slot a window start and key.
    Window(BTreeMap<i64, HashMap<Bytes, Slot>>),
    /// Sessions of a key, by (end, start).
    Session(HashMap<Bytes, Vec<(i64, i64, Slot)>>),
}

impl Shape {
    /// An empty layout: "key_value", "window" or "session".
    pub fn of_kind(kind: &str) -> Option<Self> {
        match kind {
            "key_value" => Some(Self::KeyValue(HashMap::new())),
            "window" => Some(Self::Window(BTreeMap::new())),
            "session" => Some(Self::Session(HashMap::new())),
            _ => None,
        }
    }

    /// The instant that decides whether a slot has expired.
    pub(super) fn time_of(&self, key: &StoreKey) -> i64 {
        match self {
            Self::Session(_) => key.end,
            _ => key.start,
        }
    }

    pub(super) fn get(&self, key: &StoreKey) -> Option<&Slot> {
        match self {
            Self::KeyValue(map) => map.get(&key.key),
            Self::Window(buckets) => buckets.get(&key.start)?.get(&key.key),
            Self::Session(map) => {
                let sessions = map.get(&key.key)?;
                let at = sessions.binary_search_by_key(&(key.end, key.start), |s| (s.0, s.1)).ok()?;
                Some(&sessions[at].2)
            }
        }
    }

    /// Replaces a slot by what `make` makes of it, or deletes it (`None`); returns what was there.
    pub(super) fn update(&mut self, key: &StoreKey, make: impl FnOnce(Option<&Slot>) -> Option<Slot>) -> Option<Slot> {
        match self {
            Self::KeyValue(map) => update_in(map, &key.key, make),
            Self::Window(buckets) => {
                if let Some(bucket) = buckets.get_mut(&key.start) {
                    return update_in(bucket, &key.key, make);
                }
                let slot = make(None)?;
                buckets.entry(key.start).or_default().insert(Bytes::copy_from_slice(&key.key), slot);
                None
            }
            Self::Session(map) => {
                let sessions = match map.get_mut(&key.key) {
                    Some(sessions) => sessions,
                    None => map.entry(Bytes::copy_from_slice(&key.key)).or_default(),
                };
                let at = sessions.binary_search_by_key(&(key.end, key.start), |s| (s.0, s.1));
                let previous = match (at, make(at.ok().map(|at| &sessions[at].2))) {
                    (Ok(at), Some(slot)) => Some(std::mem::replace(&mut sessions[at].2, slot)),
                    (Ok(at), None) => Some(sessions.remove(at).2),
                    (Err(at), Some(slot)) => {
                        sessions.insert(at, (key.end, key.start, slot));
                        None
                    }
                    (Err(_), None) => None,
                };
                if sessions.is_empty() {
                    map.remove(&key.key);
                }
                previous
            }
        }
    }

    pub(super) fn sessions(&self, key: &[u8], earliest_end: i64, latest_start: i64) -> Vec<(StoreKey, Slot)> {
        let Self::Session(map) = self else { return Vec::new() };
        let Some((owned, sessions)) = map.get_key_value(key) else { return Vec::new() };
        sessions
            .iter()
            .filter(|(end, start, _)| *end >= earliest_end && *start <= latest_start)
            .map(|(end, start, slot)| (StoreKey { key: owned.clone(), start: *start, end: *end }, slot.clone()))
            .collect()
    }

    // `reach`: a session that an unexpired one of its key may still be merged with stays, see `Store::reach`.
    pub(super) fn expire(&mut self, at_or_before: i64, reach: i64) {
        match self {
            Self::KeyValue(_) => {}
            Self::Window(buckets) => {
                while let Some(entry) = buckets.first_entry() {
                    if *entry.key() > at_or_before {
                        break;
                    }
                    entry.remove();
                }
            }
            Self::Session(map) => map.retain(|_, sessions| {
                let mut anchor = i64::MAX;
                let mut first_kept = sessions.len();
                for (index, (end, start, _)) in sessions.iter().enumerate().rev() {
                    if *end > at_or_before || (reach > 0 && anchor.saturating_sub(2 * (reach - 1)) <= *end) {
                        anchor = anchor.min(*start);
                        first_kept = index;
                    } else {
                        break;
                    }
                }
                sessions.drain(..first_kept);
                !sessions.is_empty()
            }),
        }
    }

    pub(super) fn entries(&self) -> Vec<(StoreKey, Slot)> {
        match self {
            Self::KeyValue(map) => {
                map.iter().map(|(k, s)| (StoreKey { key: k.clone(), start: 0, end: 0 }, s.clone())).collect()
            }
            Self::Window(buckets) => buckets
                .iter()
                .flat_map(|(start, map)| {
                    map.iter().map(|(k, s)| (StoreKey { key: k.clone(), start: *start, end: 0 }, s.clone()))
                })
                .collect(),
            Self::Session(map) => map
                .iter()
                .flat_map(|(k, sessions)| {
                    sessions
                        .iter()
                        .map(|(end, start, s)| (StoreKey { key: k.clone(), start: *start, end: *end }, s.clone()))
                })
                .collect(),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::KeyValue(map) => map.len(),
            Self::Window(buckets) => buckets.values().map(HashMap::len).sum(),
            Self::Session(map) => map.values().map(Vec::len).sum(),
        }
    }
}

fn update_in(
    map: &mut HashMap<Bytes, Slot>,
    key: &Bytes,
    make: impl FnOnce(Option<&Slot>) -> Option<Slot>,
) -> Option<Slot> {
    match map.get_mut(key) {
        Some(held) => match make(Some(held)) {
            Some(slot) => Some(std::mem::replace(held, slot)),
            None => map.remove(key),
        },
        None => map.insert(Bytes::copy_from_slice(key), make(None)?),
    }
}
