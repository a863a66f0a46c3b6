//! A crash at every storage operation, at every level of what it may leave: what was acknowledged is there afterwards, in
//! order, once; and the same when recovery crashes, too.
//!
//! `HEADWATER_SOAK=N` with `--include-ignored` looks at more than 100,000 images (`make soak`).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]
#![allow(clippy::print_stdout, reason = "how much was looked at belongs to what a run shows")]

mod enumeration;
mod oracle;
mod promises;
#[path = "../support/workload.rs"]
mod workload;
mod workloads;

use headwater_log::storage::{Failure, Fault, Kind};

use enumeration::{Effort, Seen, Workload, enumerate, enumerate_fault};

fn survives(workload: &dyn Workload) {
    let mut seen = Seen::default();
    enumerate(workload, Effort::QUICK, &mut seen);
    seen.report(workload.name());
    assert!(seen.recoveries >= 10, "too few recoveries were crashed");
    assert!(seen.operations > 50 && seen.images.len() > 600, "too little was looked at");
}

#[test]
fn appending_survives_every_crash() {
    survives(&workloads::Appending { durability: "fsync" });
    survives(&workloads::Appending { durability: "os" });
}

#[test]
fn committing_survives_every_crash() {
    survives(&workloads::Committing);
}

#[test]
fn compacting_survives_every_crash() {
    survives(&workloads::Compacting);
}

#[test]
fn transacting_survives_every_crash() {
    survives(&workloads::Transacting);
}

#[test]
fn deleting_survives_every_crash() {
    survives(&workloads::Deleting);
}

#[test]
fn reopening_survives_every_crash() {
    survives(&workloads::Reopening);
}

#[test]
fn sharing_a_sync_survives_every_crash() {
    survives(&workloads::Sharing);
}

#[test]
fn topics_survive_every_crash() {
    survives(&workloads::Topics);
}

/// A sync that fails loses for good what it should have written, though reads go on showing it until the restart.
#[test]
fn a_sync_that_fails_takes_nothing_acknowledged_with_it() {
    let mut seen = Seen::default();
    for workload in workloads::ALL {
        for first in 1.. {
            let fault = Fault::Change { kinds: &[Kind::Sync], failure: Failure::Device, first, is_lasting: false };
            if !enumerate_fault(workload, &fault, Effort::QUICK, &mut seen) {
                break;
            }
        }
    }
    seen.report("failed syncs");
    assert!(seen.images.len() > 500, "too little was looked at");
}

/// The proof that the tests above can fail: storage that lies about its syncs loses what was acknowledged.
#[test]
fn storage_that_lies_is_found_out() {
    for (kind, path, least) in [
        (Kind::Sync, ".log", 5),
        (Kind::Sync, "headwater.json.tmp", 6),
        (Kind::Sync, "headwater.checkpoint.tmp", 1),
        (Kind::SyncFolder, "", 6),
    ] {
        let fault = Fault::Ignored { kind, path };
        let found = workloads::ALL.iter().filter(|workload| enumeration::is_found_out(**workload, &fault)).count();
        assert!(found >= least, "{fault:?}: only {found} workloads notice");
    }
}

#[test]
#[ignore = "a long loop: more than 100,000 images (make soak)"]
fn more_than_a_hundred_thousand_images_lose_nothing() {
    let mut seen = Seen::default();
    let least = std::env::var("HEADWATER_SOAK_IMAGES").ok().and_then(|count| count.parse().ok()).unwrap_or(100_000);
    for seed in 1.. {
        for workload in workloads::ALL {
            enumerate(workload, Effort::soak(seed), &mut seen);
        }
        seen.report(&format!("seed {seed}"));
        if seen.images.len() >= least {
            break;
        }
    }
}
