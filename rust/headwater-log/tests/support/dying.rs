//! A process that dies at some operation on its storage.
#![allow(dead_code, reason = "each test uses a part of it")]

use headwater_log::storage::{Failure, Fault, Image, Kind, SimulatedStorage};

/// A directory in which operation number `at` (from 1) is the first that does not happen any more.
pub(crate) fn from(image: &Image, at: Option<u64>) -> SimulatedStorage {
    let storage = SimulatedStorage::new(image);
    let death = |first| Fault::Change { kinds: Kind::ALL, failure: Failure::Dead, first, is_lasting: true };
    storage.fail(at.map(death));
    storage
}

/// A new directory; the same.
pub(crate) fn anew(at: u64) -> SimulatedStorage {
    from(&Image::default(), Some(at))
}

/// Lets the operation `after` more from now fail, once: there is no space, or only for half of a write.
pub(crate) fn fail_once(storage: &SimulatedStorage, after: u64) {
    let (kinds, failure) = (Kind::ALL, Failure::ShortWrite);
    storage.fail(Some(Fault::Change { kinds, failure, first: after, is_lasting: false }));
}
