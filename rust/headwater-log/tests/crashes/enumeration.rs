//! Runs a workload once, and then looks at what a crash at every moment of it may have left.
//!
//! The same image need not be looked at twice, unless more had been promised by then.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use headwater_log::storage::{Crashes, Fault, Image, Level, SimulatedStorage};

use crate::oracle;
use crate::promises::{Acknowledged, History};
use crate::workload;

/// Something that programs do to a log. To add one: a file in `workloads`, a line in `workloads::ALL`.
pub(crate) trait Workload: Sync {
    /// For messages.
    fn name(&self) -> &'static str;

    /// Does it, and says what was acknowledged when. Ends with the first error; without faults there is none.
    fn run(&self, storage: &Arc<SimulatedStorage>, history: &History) -> headwater_log::Result<()>;

    /// Checks what was recovered. More than this, or something else, is for workloads that do what others do not.
    fn check(&self, broker: &headwater_log::Broker, promised: &Acknowledged) {
        oracle::check_topics(broker, promised);
        for ((topic, number), log) in &promised.logs {
            let Ok(partition) = broker.partition(topic, *number) else { continue };
            oracle::check_log(&partition, log);
            oracle::check_lookups(&partition);
        }
        oracle::check_commits(broker, promised);
    }

    /// Whether records can be appended afterwards and read as everybody's are (`workload::value` of their offset).
    fn goes_on(&self) -> bool {
        true
    }
}

/// How much is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Images of one level at one moment.
    pub(crate) images: usize,
    /// One in so many images is recovered with crashes on the way.
    pub(crate) twice: usize,
    /// Images of one level at one moment of such a recovery.
    pub(crate) images_twice: usize,
    pub(crate) seed: u64,
}

impl Effort {
    pub(crate) const QUICK: Self = Self { images: 12, twice: 50, images_twice: 2, seed: 1 };

    pub(crate) fn soak(seed: u64) -> Self {
        Self { images: 64, twice: 40, images_twice: 4, seed }
    }
}

/// What was looked at.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Images, and what was promised when they were made.
    checked: HashSet<(u64, u64)>,
    /// Images alone.
    pub(crate) images: HashSet<u64>,
    /// Images of each level, with repetitions.
    pub(crate) by_level: [usize; Level::ALL.len()],
    pub(crate) operations: usize,
    /// Recoveries that were crashed at each of their operations.
    pub(crate) recoveries: usize,
}

impl Seen {
    pub(crate) fn report(&self, of: &str) {
        let Self { operations, images, by_level, recoveries, .. } = self;
        let images = images.len();
        println!(
            "{of}: {operations} operations, {images} images, {by_level:?} by level, {recoveries} crashed recoveries"
        );
    }
}

struct Enumeration<'a> {
    workload: &'a dyn Workload,
    effort: Effort,
    seen: &'a mut Seen,
}

/// Runs a workload without faults and checks every crash of it.
pub(crate) fn enumerate(workload: &dyn Workload, effort: Effort, seen: &mut Seen) {
    let storage = Arc::new(SimulatedStorage::default());
    let history = History::new(&storage);
    workload.run(&storage, &history).expect("nothing fails");
    let mut enumeration = Enumeration { workload, effort, seen };
    let mut crashes = storage.crashes();
    loop {
        enumeration.at(&crashes, &history.at(crashes.position()), "");
        if !crashes.advance() {
            break;
        }
    }
    seen.operations += storage.operations();
}

/// Whether a fault that a workload is not told of shows in what a power failure at the end of each operation leaves.
pub(crate) fn is_found_out(workload: &dyn Workload, fault: &Fault) -> bool {
    let storage = Arc::new(SimulatedStorage::default());
    let history = History::new(&storage);
    storage.fail(Some(fault.clone()));
    workload.run(&storage, &history).expect("nothing fails");
    let mut crashes = storage.crashes();
    while crashes.advance() {
        let promised = history.at(crashes.position());
        let image = crashes.images(Level::PowerLoss, 0, 1).swap_remove(0);
        let check = || workload.check(&oracle::recover(&image).1, &promised);
        if catch_unwind(AssertUnwindSafe(check)).is_err() {
            return true;
        }
    }
    false
}

/// Runs a workload until a fault ends it, if it does, and checks the crashes right then. Returns whether it ended it.
pub(crate) fn enumerate_fault(workload: &dyn Workload, fault: &Fault, effort: Effort, seen: &mut Seen) -> bool {
    let storage = Arc::new(SimulatedStorage::default());
    let history = History::new(&storage);
    storage.fail(Some(fault.clone()));
    let is_hit = workload.run(&storage, &history).is_err();
    let mut crashes = storage.crashes();
    while crashes.advance() {}
    let mut enumeration = Enumeration { workload, effort, seen };
    enumeration.at(&crashes, &history.at(crashes.position()), &format!("{fault:?}, then "));
    is_hit
}

impl Enumeration<'_> {
    /// All levels at one moment.
    fn at(&mut self, crashes: &Crashes, promised: &Acknowledged, before: &str) {
        for (number, level) in Level::ALL.into_iter().enumerate() {
            for image in crashes.images(level, self.effort.seed, self.effort.images) {
                self.seen.by_level[number] += 1;
                let place = || {
                    let (position, last) = (crashes.position(), crashes.last());
                    format!("{before}{level:?} at operation {position} ({last})")
                };
                if self.check(&image, promised, &place) && self.seen.images.len().is_multiple_of(self.effort.twice) {
                    self.twice(&image, promised, &place());
                }
            }
        }
    }

    /// Recovers the image with a crash at every operation of the recovery.
    fn twice(&mut self, image: &Image, promised: &Acknowledged, first: &str) {
        self.seen.recoveries += 1;
        let storage = Arc::new(SimulatedStorage::new(image));
        drop(workload::open(&storage).expect("it was opened before"));
        let mut crashes = storage.crashes();
        while crashes.advance() {
            for level in Level::ALL {
                for image in crashes.images(level, self.effort.seed, self.effort.images_twice) {
                    let place = || format!("{first}, then {level:?} at {} ({})", crashes.position(), crashes.last());
                    self.check(&image, promised, &place);
                }
            }
        }
    }

    /// Whether the image was new. Panics, saying what repeats it, if something is wrong with it.
    fn check(&mut self, image: &Image, promised: &Acknowledged, place: &dyn Fn() -> String) -> bool {
        let fingerprint = image.fingerprint();
        let is_new = self.seen.images.insert(fingerprint);
        if !self.seen.checked.insert((fingerprint, fingerprint_of(promised))) {
            return false;
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let (storage, broker) = oracle::recover(image);
            self.workload.check(&broker, promised);
            if self.workload.goes_on() {
                oracle::go_on(&storage, broker);
            }
        }));
        if let Err(panic) = outcome {
            let (name, effort) = (self.workload.name(), self.effort);
            eprintln!("workload {name}, {}; {effort:?}; promised: {promised:?}", place());
            resume_unwind(panic);
        }
        is_new
    }
}

fn fingerprint_of(promised: &Acknowledged) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    promised.hash(&mut hasher);
    hasher.finish()
}
